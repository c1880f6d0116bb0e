//! CPU time of a collector while nothing happens.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Options;
use super::monitor::{self, Monitor};
use super::process;
use super::report::Measure;
use crate::bench::{print, rest};

pub(super) fn run(options: &Options, folder: &Path) -> anyhow::Result<Vec<Measure>> {
    let monitor::Running::Bygone(daemon) = Monitor::Bygone.start(folder)? else {
        anyhow::bail!("Bygone was started");
    };
    let (started, before) = (Instant::now(), process::cpu(daemon.pid())?);
    rest(Duration::from_secs(options.idle_seconds));
    let cpu = process::cpu(daemon.pid())?.since(&before);
    let share = cpu.total().as_secs_f64() / started.elapsed().as_secs_f64();
    print(format_args!("{:?} of CPU time in {} s", cpu.total(), options.idle_seconds));
    Ok(vec![Measure::new("idle, share of a core", "%", share * 100.0).at_most(0.3)])
}
