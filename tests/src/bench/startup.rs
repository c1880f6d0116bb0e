//! How long `bygone sql 'select 1'` takes, and how large the program is.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context;
use tempfile::TempDir;

use super::{Options, print, print_quantiles};
use crate::bygone;

const RUNS: u32 = 100;

pub(super) fn run(_: &Options) -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let mut ours = Vec::new();
    let mut floor = Vec::new();
    for _ in 0..RUNS {
        let mut command = bygone();
        command.args(["sql", "--data-dir"]).arg(folder.path()).arg("select 1");
        ours.push(milliseconds(&mut command)?);
        floor.push(milliseconds(&mut Command::new("/bin/true"))?);
    }
    print_quantiles("bygone sql 'select 1'", "ms", ours);
    print_quantiles("/bin/true, for comparison", "ms", floor);
    let program = std::fs::metadata(bygone().get_program()).context("the program's size")?;
    print(format_args!("{:<44} {:.1} MB", "size of the program", program.len() as f64 / 1e6));
    Ok(())
}

fn milliseconds(command: &mut Command) -> anyhow::Result<f64> {
    let started = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    anyhow::ensure!(status.success(), "{command:?} failed");
    Ok(started.elapsed().as_secs_f64() * 1e3)
}
