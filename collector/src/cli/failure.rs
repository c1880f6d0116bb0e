//! How a command fails: with an error to print, and with the exit code that says what kind it is.

use std::process::ExitCode;

use super::terminal::report;

/// The exit code of a command that did not do what was asked.
const FAILED: u8 = 1;

/// The exit code of a command that was called wrongly, which the parser of arguments has, too.
const WRONG_USAGE: u8 = 2;

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// A failure with an exit code of its own.
    pub(super) const fn new(code: u8, error: anyhow::Error) -> Self {
        Self { code, error }
    }

    /// The command was called wrongly.
    pub(super) const fn usage(error: anyhow::Error) -> Self {
        Self::new(WRONG_USAGE, error)
    }

    /// Prints the error and its causes as one line on standard error, and gives the exit code. A
    /// reader of standard output that went away is no failure.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        if report(&self.error) { ExitCode::from(self.code) } else { ExitCode::SUCCESS }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(FAILED, error)
    }
}
