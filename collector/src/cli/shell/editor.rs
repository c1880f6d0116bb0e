//! Reading lines and running them.
//!
//! While a line is edited the editor owns the keys, and Ctrl-C clears the line. While a statement
//! runs, a thread waits for SIGINT and interrupts it; the shell goes on.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bygone_store::sql::Session;
use rustyline::config::{CompletionType, Configurer};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};
use tokio::signal::unix::{SignalKind, signal};

use super::command::{Command, HELP};
use super::complete::SqlHelper;
use crate::cli::output::Format;
use crate::cli::sql::{Printing, execute};
use crate::cli::terminal::{print, report, say, stdout};
use crate::cli::{schema, tables};
use crate::config::state_home;

const PROMPT: &str = "bygone> ";

/// Lines kept in the history.
const HISTORY_LINES_MAX: usize = 10_000;

/// Reads and runs statements until the end of input or `.quit`.
///
/// # Errors
/// When the terminal cannot be read or nobody reads standard output. A statement that fails is
/// reported and does not end the shell.
pub(in crate::cli) fn run(session: &Session, mut printing: Printing) -> anyhow::Result<()> {
    interrupt_on_sigint(session)?;
    let mut editor = open_editor().context("cannot use the terminal")?;
    let history = history_file();
    if let Some(history) = &history {
        // At the first start there is none.
        editor.load_history(history).unwrap_or_default();
    }
    say(&format!("bygone {}; .help for help, .quit to leave", env!("CARGO_PKG_VERSION")));
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).context("cannot read the terminal"),
        };
        if line.trim().is_empty() {
            continue;
        }
        editor.add_history_entry(line.as_str()).context("cannot keep the line")?;
        match run_line(session, &mut printing, &line) {
            Ok(Next::Line) => {}
            Ok(Next::Quit) => break,
            Err(error) if report(&error) => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(history) = history
        && let Err(error) = save_history(&mut editor, &history)
    {
        say(&format!("bygone: warning: {error:#}"));
    }
    Ok(())
}

/// What follows a line.
enum Next {
    Line,
    Quit,
}

fn run_line(session: &Session, printing: &mut Printing, line: &str) -> anyhow::Result<Next> {
    match Command::parse(line)? {
        None => execute(session, line, *printing)?,
        Some(Command::Help) => print(HELP)?,
        Some(Command::Quit) => return Ok(Next::Quit),
        Some(Command::Tables(part)) => {
            let mut sink = printing.format.sink(stdout(), printing.screen);
            tables::list(sink.as_mut(), part.as_deref())?;
        }
        Some(Command::Schema(name)) => print(&schema::of_table(&name)?)?,
        Some(Command::Mode(format)) => printing.format = format,
        Some(Command::Expand) => {
            printing.format = match printing.format {
                Format::Line => Format::Table,
                _ => Format::Line,
            };
        }
    }
    Ok(Next::Line)
}

fn open_editor() -> rustyline::Result<Editor<SqlHelper, FileHistory>> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_LINES_MAX)?
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(SqlHelper::new()));
    editor.set_history_ignore_dups(true)?;
    Ok(editor)
}

/// Where the history is kept: the data may be recorded by root, the history is the user's.
fn history_file() -> Option<PathBuf> {
    state_home().map(|state| state.join("bygone/history"))
}

/// Adds this session's lines to the history. The folder can be the one of the data, so it is made
/// for its owner only.
fn save_history(editor: &mut Editor<SqlHelper, FileHistory>, file: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot keep the history in {}", file.display());
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(failed)?;
    }
    editor.append_history(file).with_context(failed)
}

/// Starts a thread that interrupts the running statement at each SIGINT. It ends with the process.
fn interrupt_on_sigint(session: &Session) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot watch for Ctrl-C")?;
    let mut interrupts = {
        let _context = runtime.enter();
        signal(SignalKind::interrupt()).context("cannot watch for Ctrl-C")?
    };
    let handle = session.interrupt_handle();
    let watch = move || {
        runtime.block_on(async {
            while interrupts.recv().await.is_some() {
                handle.interrupt();
            }
        });
    };
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(watch)
        .context("cannot watch for Ctrl-C")?;
    Ok(())
}
