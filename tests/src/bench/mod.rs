//! What is measured, one file per question.
//!
//! Absolute figures vary with the machine and with what else runs on it: compare figures of one
//! run with each other.

pub mod exec;
pub mod generator;
mod latency;
mod rows;
mod spent;
mod startup;
pub mod store;
mod write;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// What the benchmarks are told.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Rows to measure the store with, once per entry; those of [`store::ROWS`] when empty.
    pub rows: Vec<u64>,
    /// What is measured of the recording of processes.
    pub exec: exec::Options,
}

/// A benchmark: it prints what it measured.
pub type Benchmark = fn(&Options) -> anyhow::Result<()>;

/// All benchmarks by name.
pub const ALL: &[(&str, Benchmark)] = &[
    ("write", write::run),
    ("latency", latency::run),
    ("startup", startup::run),
    ("store", store::run),
    ("exec", exec::run),
];

#[expect(clippy::print_stdout, reason = "the figures are the program's result")]
fn print(line: std::fmt::Arguments<'_>) {
    println!("{line}");
}

/// The value below which `share` (0 to 1) of `sorted` lies; 0 when it is empty.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let index = (share * last as f64).round() as usize;
    sorted.get(index).copied().unwrap_or(0.0)
}

fn print_quantiles(name: &str, unit: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    print(format_args!(
        "{name:<44} n {:>5}  p50 {:>8.2} {unit}  p99 {:>8.2} {unit}  max {:>8.2} {unit}",
        values.len(),
        quantile(&values, 0.5),
        quantile(&values, 0.99),
        quantile(&values, 1.0),
    ));
}

/// A figure with three digits that matter.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Waits, since what is measured is what happens meanwhile.
fn rest(duration: Duration) {
    let until = Instant::now() + duration;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// `target/bench`, created: beside the program, thus on a disk with room for data.
fn bench_folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("the program lies in target/release")?;
    let folder = target.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}

/// Bytes of all files in a folder and below.
fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // The sealer may remove a file between the listing and this.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
