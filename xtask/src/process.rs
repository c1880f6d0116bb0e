//! Running other programs, cargo above all, from the root of the workspace.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context as _, Result, bail};

/// Lines of a program's output that may wait to be printed.
const LINES_MAX: usize = 1024;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest_dir.parent().unwrap_or(manifest_dir).to_owned()
}

/// The cargo that runs this program, to be run in the root of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root());
    command
}

/// Runs a command with this program's own output.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {}", line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// What a command left behind: whether it succeeded, and chosen lines of its output.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether it ended with status 0.
    pub(crate) success: bool,
    /// The lines that were asked for.
    pub(crate) lines: Vec<String>,
}

/// Runs a command, passes its output on line by line, and keeps the lines that `keep` picks.
///
/// # Errors
/// When it cannot be started. Its failure is told in the [`Outcome`].
pub(crate) fn run_keeping(command: &mut Command, keep: fn(&str) -> bool) -> Result<Outcome> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", line(command)))?;
    let (sender, receiver) = mpsc::sync_channel(LINES_MAX);
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|stream| Box::new(stream) as _),
        child.stderr.take().map(|stream| Box::new(stream) as _),
    ];
    for stream in streams.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || forward(stream, &sender));
    }
    drop(sender);
    let mut lines = Vec::new();
    for text in receiver {
        println!("{text}");
        if keep(&text) {
            lines.push(text);
        }
    }
    let status = child.wait().with_context(|| format!("wait for {}", line(command)))?;
    Ok(Outcome { success: status.success(), lines })
}

/// Sends a stream's lines until it ends, cannot be read or nobody listens.
fn forward(stream: Box<dyn Read + Send>, sender: &mpsc::SyncSender<String>) {
    for bytes in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        if sender.send(String::from_utf8_lossy(&bytes).into_owned()).is_err() {
            return;
        }
    }
}

/// The command as one would type it, for messages.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Command, run, run_keeping};

    #[test]
    fn kept_lines_come_from_both_streams_and_failure_is_told() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo keep 1; echo drop; echo keep 2 >&2; exit 3"]);
        let mut outcome = run_keeping(&mut shell, |text| text.starts_with("keep")).unwrap();
        outcome.lines.sort();
        assert_eq!(outcome.lines, ["keep 1", "keep 2"]);
        assert!(!outcome.success);
    }

    #[test]
    fn a_failing_command_is_named_without_its_folder() {
        let error = run(Command::new("/bin/sh").args(["-c", "exit 4"])).unwrap_err();
        assert_eq!(error.to_string(), "sh -c exit 4 ended with exit status: 4");
    }
}
