//! `cargo xtask bench [NAME…]`: builds the release program and measures it.

use anyhow::{Context as _, Result};

use crate::process::{cargo, run};
use crate::python;

/// What is measured how long. What is not given is the benchmark's to choose.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// store: rows to measure with, instead of 1 M and 10 M; may be given several times
    #[arg(long, value_name = "N")]
    rows: Vec<u64>,
    /// exec: only this part; may be given several times
    #[arg(long, value_name = "NAME", value_parser = EXEC_PARTS)]
    part: Vec<String>,
    /// exec: pairs of work with and without each program that records [default: 60]
    #[arg(long, value_name = "N")]
    pairs: Option<u64>,
    /// exec: processes that one side of a pair starts [default: 2000]
    #[arg(long, value_name = "N")]
    spawns: Option<u64>,
    /// exec: events after which memory is measured [default: 1000000]
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// exec: how long the collector is watched idle [default: 60]
    #[arg(long, value_name = "N")]
    idle_seconds: Option<u64>,
    /// exec: how long each step of the loss curve lasts [default: 5]
    #[arg(long, value_name = "N")]
    storm_seconds: Option<u64>,
}

const EXEC_PARTS: [&str; 6] = ["idle", "memory", "latency", "cost", "loss", "overhead"];

impl Options {
    /// As the benchmarks' program takes them.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
        for rows in &self.rows {
            add("rows", rows.to_string());
        }
        for part in &self.part {
            add("part", part.clone());
        }
        let numbers = [
            ("pairs", self.pairs),
            ("spawns", self.spawns),
            ("events", self.events),
            ("idle-seconds", self.idle_seconds),
            ("storm-seconds", self.storm_seconds),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                add(name, number.to_string());
            }
        }
        arguments
    }
}

/// Runs the named benchmarks, or all.
///
/// # Errors
/// When the build fails or a benchmark does.
pub(crate) fn run_named(names: &[String], options: &Options) -> Result<()> {
    run(cargo().args(["build", "--release", "--package", "bygone"]))
        .context("the release build failed")?;
    let mut bench = cargo();
    bench.args(["run", "--release", "--package", "bygone-tests", "--bin", "bygone-bench", "--"]);
    if names.is_empty() || names.iter().any(|name| name == "store") {
        match python::packages() {
            Ok(packages) => drop(bench.env(python::PACKAGES, packages)),
            Err(error) => println!("DuckDB will be left out: {error:#}"),
        }
    }
    run(bench.args(options.arguments()).args(names)).context("a benchmark failed")
}
