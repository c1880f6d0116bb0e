//! From an exec until a `SELECT` in an open session shows its row.

use std::path::Path;
use std::time::Duration;

use super::Options;
use super::monitor::{self, Monitor};
use super::report::Measure;
use super::storm::Kind;
use super::workload::Storm;
use crate::bench::{latency, quantile};

/// Longer than the measuring takes; the storm is stopped then.
const STORM_MAX: Duration = Duration::from_secs(60);

pub(super) fn run(_: &Options, folder: &Path) -> anyhow::Result<Vec<Measure>> {
    let monitor::Running::Bygone(daemon) = Monitor::Bygone.start(folder)? else {
        anyhow::bail!("Bygone was started");
    };
    let mut measures = measures("until visible", latency::measure(daemon.data_dir())?);
    let storm = Storm::start(Kind::Spawn, 1, STORM_MAX)?;
    measures
        .extend(self::measures("until visible, in a storm", latency::measure(daemon.data_dir())?));
    storm.stop()?;
    Ok(measures)
}

fn measures(name: &str, mut milliseconds: Vec<f64>) -> Vec<Measure> {
    milliseconds.sort_by(f64::total_cmp);
    let measure = |what: &str, share| {
        Measure::new(format!("{name}, {what}"), "ms", quantile(&milliseconds, share))
    };
    vec![measure("p50", 0.5).at_most(25.0), measure("p99", 0.99).at_most(50.0), measure("max", 1.0)]
}
