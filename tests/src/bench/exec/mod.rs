//! What recording processes costs, beside bpftrace's `execsnoop` and auditd where they can be had.
//!
//! Each part answers one question and can be run alone (`PARTS`). All start `bygone run` with its
//! default configuration, in a data folder of its own. The figures are to be taken on a quiet machine:
//! what other processes do is recorded too, and counted with the rest.

mod cost;
mod idle;
mod latency;
mod loss;
mod memory;
pub mod monitor;
mod overhead;
mod process;
mod report;
mod statistics;
mod storm;
#[cfg(target_os = "linux")]
mod vfork;
mod workload;

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use tempfile::TempDir;

use super::{bench_folder, print};
use report::Measure;

/// The first argument of the processes that the benchmark starts to make others.
pub const CHILD: &str = "exec-child";

/// What is measured how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of the parts to run; all when empty.
    pub parts: Vec<String>,
    /// Pairs, with and without, of each program that records.
    pub pairs: usize,
    /// Processes that one side of a pair starts one after the other.
    pub spawns: u32,
    /// Events after which memory is measured.
    pub events: u64,
    /// Seconds for which the collector is watched while nothing happens.
    pub idle_seconds: u64,
    /// Seconds that each step of the loss curve lasts.
    pub storm_seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            pairs: 60,
            spawns: 2_000,
            events: 1_000_000,
            idle_seconds: 60,
            storm_seconds: 5,
        }
    }
}

/// A part: it measures in the folder, which is empty, and says what.
type Part = fn(&Options, &Path) -> anyhow::Result<Vec<Measure>>;

/// All parts by name. The pairs come last: once auditd has run, the kernel keeps a context for each
/// new process, whether or not anybody listens.
const PARTS: &[(&str, Part)] = &[
    ("idle", idle::run),
    ("memory", memory::run),
    ("latency", latency::run),
    ("cost", cost::run),
    ("loss", loss::run),
    ("overhead", overhead::run),
];

/// Measures and keeps the figures in `target/bench/exec.json`.
pub(super) fn run(options: &super::Options) -> anyhow::Result<()> {
    let options = &options.exec;
    for part in &options.parts {
        let known = PARTS.iter().any(|(name, _)| name == part);
        let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        anyhow::ensure!(known, "no part `{part}`; known: {}", names.join(", "));
    }
    anyhow::ensure!(rustix::process::geteuid().is_root(), "recording processes needs root");
    let folder = bench_folder()?;
    let mut measures = Vec::new();
    for (name, part) in PARTS {
        if options.parts.is_empty() || options.parts.iter().any(|wanted| wanted == name) {
            print(format_args!("\n{name}"));
            let data = TempDir::new_in(&folder).context("a folder for the data")?;
            measures.extend(part(options, data.path()).with_context(|| format!("part {name}"))?);
        }
    }
    print(format_args!(""));
    report::print_all(&measures);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let measures: Vec<_> = measures.iter().map(Measure::json).collect();
    let kept = json!({ "cores": cores, "options": format!("{options:?}"), "measures": measures });
    fs::write(folder.join("exec.json"), serde_json::to_string_pretty(&kept)?)
        .context("keep the figures")
}

/// What a process started by the benchmark does.
///
/// # Errors
/// When it cannot.
pub fn child(arguments: &[String]) -> anyhow::Result<()> {
    storm::child(arguments)
}
