//! What is measured, one file per question.
//!
//! Absolute figures vary with the machine and with what else runs on it: compare figures of one
//! run with each other.

mod latency;
mod rows;
mod startup;
mod write;

/// A benchmark: it prints what it measured.
pub type Benchmark = fn() -> anyhow::Result<()>;

/// All benchmarks by name.
pub const ALL: &[(&str, Benchmark)] =
    &[("write", write::run), ("latency", latency::run), ("startup", startup::run)];

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
