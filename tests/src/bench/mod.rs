//! What is measured, one file per question.
//!
//! Absolute figures vary with the machine and with what else runs on it: compare figures of one
//! run with each other.

pub mod generator;
mod latency;
mod rows;
mod spent;
mod startup;
pub mod store;
mod write;

use std::path::Path;

/// What the benchmarks are told.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Rows to measure the store with, once per entry; those of [`store::ROWS`] when empty.
    pub rows: Vec<u64>,
}

/// A benchmark: it prints what it measured.
pub type Benchmark = fn(&Options) -> anyhow::Result<()>;

/// All benchmarks by name.
pub const ALL: &[(&str, Benchmark)] = &[
    ("write", write::run),
    ("latency", latency::run),
    ("startup", startup::run),
    ("store", store::run),
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

/// Bytes of all files in a folder and below.
fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // The sealer may remove a file between the listing and this.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
