//! The program `bygone`: arguments → one command → an exit code.

use std::process::ExitCode;

use bygone::cli::Arguments;
use clap::Parser;

fn main() -> ExitCode {
    // Wrong usage ends here, with the exit code 2.
    match Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
