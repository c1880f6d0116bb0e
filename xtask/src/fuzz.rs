//! `cargo xtask fuzz [TARGET…]`: the fuzz targets of the store and the collector, each for a while.
//!
//! They stand in workspaces of their own, `store/fuzz` and `collector/fuzz`, and are built with the
//! address sanitizer, which the stable compiler offers to those who set `RUSTC_BOOTSTRAP`. What a run
//! finds goes to `artifacts` there; new inputs go to `corpus`, of which only a small selection is
//! committed: `cargo fuzz cmin` makes it.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{root, run};
use crate::tools::CARGO_FUZZ;

/// The targets.
pub(crate) const TARGETS: [&str; 5] = ["journal", "manifest", "segment", "sql", "records"];

/// The workspace of a target.
fn folder(target: &str) -> &'static str {
    if target == "records" { "collector/fuzz" } else { "store/fuzz" }
}

/// Bytes of an input; the real files that the targets begin with are shorter.
const INPUT_BYTES_MAX: u32 = 16 << 10;

/// Megabytes that a target may use.
const MEMORY_MB_MAX: u32 = 4096;

/// Fuzzes the named targets, or all, for so many seconds each.
///
/// # Errors
/// When one cannot be built, or an input was found that it fails on.
pub(crate) fn run_named(names: &[String], seconds: u32) -> Result<()> {
    let cargo_fuzz = CARGO_FUZZ.ensure()?;
    let all = TARGETS.map(str::to_owned);
    let names = if names.is_empty() { &all[..] } else { names };
    for name in names {
        let mut command = Command::new(&cargo_fuzz);
        command
            .current_dir(root().join(folder(name)))
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["run", "--fuzz-dir", ".", "-O", name, "--"])
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
            // By default rarely reached code is sought after, at the price of half of the time: an
            // input reaches twenty thousand places.
            .arg("-entropic=0")
            .arg("-print_final_stats=1");
        run(&mut command).with_context(|| format!("the target {name} failed"))?;
    }
    Ok(())
}
