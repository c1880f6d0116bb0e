//! `cargo xtask bench [NAME…]`: builds the release program and measures it.

use anyhow::{Context as _, Result};

use crate::process::{cargo, run};
use crate::python;

/// Runs the named benchmarks, or all; that of the store with so many rows, once per entry.
///
/// # Errors
/// When the build fails or a benchmark does.
pub(crate) fn run_named(names: &[String], rows: &[u64]) -> Result<()> {
    run(cargo().args(["build", "--release", "--package", "bygone"]))
        .context("the release build failed")?;
    let mut bench = cargo();
    bench.args(["run", "--release", "--package", "bygone-tests", "--bin", "bygone-bench", "--"]);
    for rows in rows {
        bench.args(["--rows", &rows.to_string()]);
    }
    match python::packages() {
        Ok(packages) => drop(bench.env(python::PACKAGES, packages)),
        Err(error) => println!("DuckDB will be left out: {error:#}"),
    }
    run(bench.args(names)).context("a benchmark failed")
}
