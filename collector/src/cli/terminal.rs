//! What is at the other end: a terminal or a pipe. Results go to standard output, words to
//! standard error.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use thiserror::Error;

use super::visible::visible;

/// Size of the buffer before standard output, in bytes.
const STDOUT_BUFFER_BYTES: usize = 64 * 1024;

/// Where results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Screen {
    /// A terminal of this many columns.
    Terminal(u16),
    /// A pipe or a file: nothing is fitted, nothing is decorative.
    Pipe,
}

impl Screen {
    /// What standard output is.
    pub(super) fn of_stdout() -> Self {
        if !io::stdout().is_terminal() {
            return Self::Pipe;
        }
        let size = terminal_size::terminal_size_of(io::stdout());
        Self::Terminal(size.map_or(80, |(width, _)| width.0))
    }
}

/// Nobody reads standard output any more. It is the payload of an [`io::Error`], so that it is
/// told apart from other broken pipes.
#[derive(Debug, Error)]
#[error("standard output is closed")]
struct StdoutClosed;

/// Standard output, whose closing is reported as [`StdoutClosed`].
pub(super) struct Stdout(StdoutLock<'static>);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(name_closed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(name_closed)
    }
}

fn name_closed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, StdoutClosed),
        _ => error,
    }
}

/// Standard output, buffered. Whoever writes to it flushes it.
pub(super) fn stdout() -> BufWriter<Stdout> {
    BufWriter::with_capacity(STDOUT_BUFFER_BYTES, Stdout(io::stdout().lock()))
}

/// Writes `text` to standard output.
///
/// # Errors
/// When it cannot be written.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes one line to standard error.
pub(super) fn say(line: &str) {
    // There is no further place to report that standard error is gone.
    writeln!(io::stderr(), "{line}").unwrap_or_default();
}

/// A line on standard error that tells how far something is, when that is a terminal.
#[derive(Debug, Default)]
pub(super) struct Progress {
    shown: bool,
}

impl Progress {
    /// Shows this text in place of the one before.
    pub(super) fn show(&mut self, text: &str) {
        if io::stderr().is_terminal() {
            self.shown = true;
            write!(io::stderr(), "\r\x1b[K{text}").unwrap_or_default();
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            write!(io::stderr(), "\r\x1b[K").unwrap_or_default();
        }
    }
}

/// Whether standard error may be coloured: it is a terminal and `NO_COLOR` is not set.
pub(super) fn stderr_has_color() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints an error and its causes as one line on standard error. Says whether the command has
/// failed: a reader of standard output that went away is no failure.
#[must_use]
pub(super) fn report(error: &anyhow::Error) -> bool {
    if is_stdout_closed(error) {
        return false;
    }
    say(&format!("bygone: {}", visible(&format!("{error:#}"))));
    true
}

/// Whether an error comes from writing to a standard output that nobody reads any more.
fn is_stdout_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let payload = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        payload.is_some_and(|payload| payload.is::<StdoutClosed>())
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn only_a_closed_standard_output_is_no_failure() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        let closed = Err::<(), _>(name_closed(pipe())).context("printing").unwrap_err();
        assert!(is_stdout_closed(&closed));
        let other = Err::<(), _>(pipe()).context("collecting").unwrap_err();
        assert!(!is_stdout_closed(&other));
    }
}
