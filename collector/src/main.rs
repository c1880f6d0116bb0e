//! The program `bygone`: arguments → one command → an exit code.

use std::process::ExitCode;

use bygone::cli::Arguments;
use clap::Parser;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    {
        use bygone::publish::process_ebpf::audit;
        // The collector started itself to see whether it notices.
        if std::env::args_os().nth(1).is_some_and(|word| word == audit::WORD) {
            return audit::stimulate();
        }
    }
    // Wrong usage ends here, with the exit code 2.
    match Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
