//! `cargo xtask test`: the program is built, then every test of the workspace runs.
//!
//! The tests in `tests/` run the built program, which they look for beside their own executable.
//! It is built together with all tests, so that cargo picks the same features of the dependencies
//! for both and compiles nothing twice. cargo-nextest runs the tests where it is installed,
//! cargo's own runner elsewhere.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::process::{Outcome, cargo, run, run_keeping};
use crate::python;

/// Builds everything and runs the tests; `args` go to the test runner.
///
/// # Errors
/// When the build or a test fails.
pub(crate) fn run_all(args: &[String]) -> Result<()> {
    let start = Instant::now();
    run(cargo().args(["build", "--workspace", "--lib", "--bins", "--tests"])).context("build")?;
    let build_s = start.elapsed().as_secs();

    let packages = packages()?;
    let mut outcomes = vec![run_tests(args, packages.as_deref())?];
    if args.is_empty() {
        let mut doc = cargo();
        doc.args(["test", "--workspace", "--doc", "--no-fail-fast"]);
        outcomes.push(run_keeping(&mut doc, is_summary)?);
    }

    // `.ci/run` repeats what follows this line.
    println!("\n== test summary");
    for line in outcomes.iter().flat_map(|outcome| &outcome.lines) {
        println!("{line}");
    }
    println!("tests: built in {build_s} s, all done in {} s", start.elapsed().as_secs());
    if !outcomes.iter().all(|outcome| outcome.success) {
        bail!("tests failed");
    }
    Ok(())
}

/// The Python packages of the tests that need some. In CI they are installed; elsewhere the tests
/// use them where they are, or say that they are not.
fn packages() -> Result<Option<PathBuf>> {
    if env::var_os("CI").is_some() {
        return python::packages().context("Python packages for the tests").map(Some);
    }
    python::installed()
}

fn run_tests(args: &[String], packages: Option<&Path>) -> Result<Outcome> {
    let mut command = cargo();
    if let Some(packages) = packages {
        command.env(python::PACKAGES, packages);
    }
    if has_nextest() {
        command.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
    } else {
        command.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]);
    }
    run_keeping(command.args(args), is_summary)
}

fn has_nextest() -> bool {
    cargo()
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether a line is the sum of a test run: nextest's `Summary [ 1.2s] 3 tests run: …` or
/// libtest's `test result: …`. The latter is indented where nextest shows a test's own output.
/// Runs of nothing are left out.
fn is_summary(line: &str) -> bool {
    let libtest = line.starts_with("test result: ") && !line.contains("ok. 0 passed; 0 failed");
    libtest || line.trim_start().starts_with("Summary [")
}

#[cfg(test)]
mod tests {
    use super::is_summary;

    #[test]
    fn summaries_of_both_runners_are_known() {
        assert!(is_summary("     Summary [   0.012s] 5 tests run: 5 passed, 0 skipped"));
        assert!(is_summary("test result: ok. 5 passed; 0 failed; 0 ignored"));
        assert!(!is_summary("        PASS [   0.012s] xtask tidy::tests::summary"));
    }
}
