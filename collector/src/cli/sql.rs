//! `bygone sql`: statements from arguments, from standard input, or in a shell.

use std::io::{self, IsTerminal, Read};

use anyhow::{Context, bail};
use bygone_store::sql::Session;
use clap::Args;

use super::data::DataArguments;
use super::output::{Format, OutputArguments};
use super::terminal::{Screen, stdout};
use super::{log, shell, warnings};
use crate::config::LogLevel;

/// Statements read from standard input, in bytes.
const STDIN_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Ask in SQL: one statement, a script on standard input, or a shell
#[derive(Args, Debug)]
#[command(after_help = "\
The tables are read-only and can be read while bygone run writes, after it was killed, and from a \
copied folder. bygone tables lists them, bygone schema explains their columns. When the range of \
time that was read has gaps, a line on standard error says so.

Examples:
  bygone sql 'SELECT time, pid, cmdline FROM process_events ORDER BY time_ns DESC LIMIT 10'
  bygone sql -o json \"SELECT * FROM gaps WHERE reason = 'ring_full'\"
  bygone sql -o csv < report.sql > report.csv
  bygone sql                                        (a shell; .help inside it)")]
pub(super) struct SqlArguments {
    /// Statements, each one or several separated by semicolons
    #[arg(value_name = "STATEMENT")]
    statements: Vec<String>,
    #[command(flatten)]
    output: OutputArguments,
    /// Do not tell of gaps in the range read
    #[arg(long)]
    no_warnings: bool,
    #[command(flatten)]
    data: DataArguments,
}

/// How results are printed, and what is said beside them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Printing {
    pub(super) format: Format,
    pub(super) screen: Screen,
    pub(super) warn_of_gaps: bool,
}

pub(super) fn run(arguments: &SqlArguments) -> anyhow::Result<()> {
    log::init(LogLevel::Warn);
    let session = arguments.data.session()?;
    let printing = Printing {
        format: arguments.output.format(),
        screen: Screen::of_stdout(),
        warn_of_gaps: !arguments.no_warnings,
    };
    if !arguments.statements.is_empty() {
        return arguments.statements.iter().try_for_each(|sql| execute(&session, sql, printing));
    }
    if io::stdin().is_terminal() {
        return shell::run(&session, printing);
    }
    execute(&session, &script()?, printing)
}

/// Runs the statements of `sql` and prints their results, then what is to be known about them.
pub(super) fn execute(session: &Session, sql: &str, printing: Printing) -> anyhow::Result<()> {
    let mut sink = printing.format.sink(stdout(), printing.screen);
    let executed = session.execute(sql, sink.as_mut())?;
    drop(sink);
    warnings::print(session, &executed, printing.warn_of_gaps);
    Ok(())
}

/// All of standard input.
fn script() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut input = io::stdin().lock().take(STDIN_BYTES_MAX.saturating_add(1));
    input.read_to_end(&mut bytes).context("cannot read standard input")?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > STDIN_BYTES_MAX {
        bail!("the script on standard input is longer than {STDIN_BYTES_MAX} bytes");
    }
    String::from_utf8(bytes).context("the script on standard input is not UTF-8")
}
