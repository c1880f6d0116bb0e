//! How long after its exec a process's row is visible to another process's `SELECT`.

use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde_json::Value;

use super::{Options, print_quantiles};
use crate::{Daemon, Session};

const EVENTS: u32 = 300;

/// How long the reader rests between two looks; it is part of what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(1);

pub(super) fn run(_: &Options) -> anyhow::Result<()> {
    let daemon = Daemon::start();
    let session = Session::open(daemon.data_dir())?;
    let mut latencies = Vec::new();
    for index in 0..EVENTS {
        let marker = format!("latency-{index}");
        let status = Command::new("/bin/true").arg(&marker).stdin(Stdio::null()).status()?;
        anyhow::ensure!(status.success(), "/bin/true failed");
        let statement = format!(
            "SELECT time_ns FROM process_events \
             WHERE time >= unixepoch() - 60 AND cmdline = '/bin/true {marker}'"
        );
        let event_ns = loop {
            let rows = session.rows(&statement)?;
            if let Some(row) = rows.first() {
                break row.get("time_ns").and_then(Value::as_u64).context("time_ns is a number")?;
            }
            std::thread::park_timeout(LOOK_EVERY);
        };
        let seen_ns = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        latencies.push((seen_ns as f64 - event_ns as f64) / 1e6);
    }
    print_quantiles("exec until visible in SQL", "ms", latencies);
    Ok(())
}
