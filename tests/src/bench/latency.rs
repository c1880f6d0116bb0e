//! How long after its exec a process's row is visible to another process's `SELECT`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde_json::Value;

use super::{Options, print_quantiles, rest};
use crate::{Daemon, Session};

const EVENTS: u32 = 300;

/// How long the reader rests between two looks; it is part of what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(1);

pub(super) fn run(_: &Options) -> anyhow::Result<()> {
    let daemon = Daemon::start();
    print_quantiles("exec until visible in SQL", "ms", measure(daemon.data_dir())?);
    Ok(())
}

/// Starts processes one after the other and says, in milliseconds, how long after the time in its
/// row each was first seen by the same `SELECT`, asked again and again in one open session of this
/// process.
pub(super) fn measure(data_dir: &Path) -> anyhow::Result<Vec<f64>> {
    let session = Session::open(data_dir)?;
    let mut latencies = Vec::new();
    for index in 0..EVENTS {
        let before_ns = now_ns()?;
        let marker = format!("latency-{before_ns}-{index}");
        let status = Command::new("/bin/true").arg(&marker).stdin(Stdio::null()).status()?;
        anyhow::ensure!(status.success(), "/bin/true failed");
        let statement = format!(
            "SELECT time_ns FROM process_events \
             WHERE time_ns >= {before_ns} AND cmdline = '/bin/true {marker}'"
        );
        let event_ns = loop {
            let rows = session.rows(&statement)?;
            if let Some(row) = rows.first() {
                break row.get("time_ns").and_then(Value::as_u64).context("time_ns is a number")?;
            }
            rest(LOOK_EVERY);
        };
        latencies.push((now_ns()? as f64 - event_ns as f64) / 1e6);
    }
    Ok(latencies)
}

/// Nanoseconds since the Unix epoch.
fn now_ns() -> anyhow::Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())
}
