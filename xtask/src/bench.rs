//! `cargo xtask bench [NAME…]`: builds the release program and measures it.

use anyhow::{Context as _, Result};

use crate::process::{cargo, run};

/// Runs the named benchmarks, or all.
///
/// # Errors
/// When the build fails or a benchmark does.
pub(crate) fn run_named(names: &[String]) -> Result<()> {
    run(cargo().args(["build", "--release", "--package", "bygone"]))
        .context("the release build failed")?;
    run(cargo()
        .args(["run", "--release", "--package", "bygone-tests", "--bin", "bygone-bench", "--"])
        .args(names))
    .context("a benchmark failed")
}
