//! `cargo xtask bench [NAME…]`: builds the release program and measures it.

use anyhow::ensure;
use std::process::Command;

/// Runs the named benchmarks, or all.
///
/// # Errors
/// When the build fails or a benchmark does.
pub fn run(names: &[String]) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(&cargo).args(["build", "--release", "-p", "bygone"]).status()?;
    ensure!(built.success(), "the release build failed");
    let measured = Command::new(&cargo)
        .args(["run", "--release", "-p", "bygone-tests", "--bin", "bygone-bench", "--"])
        .args(names)
        .status()?;
    ensure!(measured.success(), "a benchmark failed");
    Ok(())
}
