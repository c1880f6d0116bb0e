//! The project's own commands, run as `cargo xtask <command>`.
//!
//! Everything that CI does, a contributor can do with the same command: `test` runs the tests,
//! `ci` every other check. What a command needs beyond Rust and a C compiler it installs itself,
//! into a cache folder, at a pinned version (see [`tools`]).

#![expect(clippy::print_stdout, reason = "the commands speak to the one who runs them")]
#![allow(
    unreachable_pub,
    reason = "a program exports nothing, so its commands may say `pub` as a library's would"
)]

use std::process::ExitCode;

use clap::Parser;

mod apt;
mod bench;
mod build_ebpf;
mod check_macos;
mod ci;
mod fuzz;
mod process;
mod python;
mod rust_src;
mod test;
mod tidy;
mod tools;
mod vmtest;

/// Commands of the Bygone project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Build the program and run all tests
    Test {
        /// Arguments for the test runner, for instance a filter; with any, documentation tests
        /// are left out
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run every check except the tests
    Ci {
        /// Run only these steps
        #[arg(value_name = "STEP", value_parser = ci::step_names())]
        steps: Vec<String>,
    },
    /// Check what no other tool checks: sizes, banned forms, direction of dependencies
    Tidy,
    /// Install the tools that `ci` needs
    Tools,
    /// Build the kernel probes
    BuildEbpf {
        /// Only compare the committed object with a new build
        #[arg(long)]
        check: bool,
    },
    /// Type-check the workspace for macOS, with no SDK
    CheckMacos,
    /// Feed the store's decoders with hostile input
    Fuzz {
        /// Run only these targets
        #[arg(value_name = "TARGET", value_parser = fuzz::TARGETS)]
        targets: Vec<String>,
        /// How long each target runs, in seconds
        #[arg(long, default_value_t = 600)]
        seconds: u32,
    },
    /// Run the end-to-end tests of processes on other kernels, in virtual machines
    Vmtest {
        /// Boot only these kernels
        #[arg(value_name = "KERNEL", value_parser = vmtest::kernel_names())]
        kernels: Vec<String>,
        /// Boot them with this kind of preemption
        #[arg(long, value_name = "KIND", value_parser = ["full"])]
        preempt: Option<String>,
        /// Keep what the machines wrote also when all is well, in target/vmtest
        #[arg(long)]
        keep_log: bool,
        /// Do what `ci` does: smaller storms, and only scenarios about the kernel
        #[arg(long)]
        quick: bool,
    },
    /// Build the release program and measure it
    Bench {
        /// Run only these benchmarks
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        options: bench::Options,
    },
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Test { args } => test::run_all(&args),
        Command::Ci { steps } => ci::run_steps(&steps),
        Command::Tidy => tidy::run(),
        Command::Tools => tools::install_all(),
        Command::BuildEbpf { check } => build_ebpf::run(check),
        Command::CheckMacos => check_macos::run(),
        Command::Fuzz { targets, seconds } => fuzz::run_named(&targets, seconds),
        Command::Vmtest { kernels, preempt, keep_log, quick } => {
            let preempt_full = preempt.is_some();
            vmtest::run(&vmtest::Options { kernels, preempt_full, keep_log, quick, again: false })
        }
        Command::Bench { names, options } => bench::run_named(&names, &options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
