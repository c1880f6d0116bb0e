//! Memory of a collector after its start and after many events: lives of `/bin/true`, made as fast as
//! it goes by as many spawners as there are cores.

use std::path::Path;
use std::time::Duration;

use super::Options;
use super::loss::Books;
use super::monitor::{self, Monitor};
use super::process::{self, Memory};
use super::report::Measure;
use super::storm::Kind;
use super::workload::Storm;
use crate::Session;
use crate::bench::{print, rest};

const MEBIBYTE: f64 = 1_048_576.0;

/// How long a storm lasts until the events are counted again.
const STEP: Duration = Duration::from_secs(5);

pub(super) fn run(options: &Options, folder: &Path) -> anyhow::Result<Vec<Measure>> {
    let monitor::Running::Bygone(daemon) = Monitor::Bygone.start(folder)? else {
        anyhow::bail!("Bygone was started");
    };
    let session = Session::open(daemon.data_dir())?;
    let pid = daemon.pid();
    let started = process::memory(pid)?;
    let spawners = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut events, mut most) = (0, started);
    while events < options.events {
        let storm = Storm::start(Kind::Spawn, spawners, STEP)?;
        for _ in 0..5 {
            rest(STEP / 5);
            most = greater(most, process::memory(pid)?);
        }
        events += storm.lives()? * Kind::Spawn.events();
        most = greater(most, process::memory(pid)?);
    }
    process::settle(pid)?;
    let after = process::memory(pid)?;
    let counted = session.rows("SELECT count(*) AS n FROM process_events")?;
    print(format_args!(
        "{events} events, {counted:?} rows; at most {:.1} MiB private, {:.1} MiB proportional",
        most.private / MEBIBYTE,
        most.proportional / MEBIBYTE
    ));
    let stopped = daemon.stop();
    let books = Books::read(&stopped.data_dir)?;
    print(format_args!("{books:?}"));
    let measure = |name: String, bytes: f64| Measure::new(name, "MiB", bytes / MEBIBYTE);
    let (at_start, later) = ("after start", format!("after {events} events"));
    Ok(vec![
        measure(format!("private memory {at_start}"), started.private).at_most(30.0),
        measure(format!("proportional memory (PSS) {at_start}"), started.proportional),
        measure(format!("private memory {later}"), after.private).at_most(40.0),
        measure(format!("private memory, at most until {later}"), most.private),
        measure(format!("proportional memory (PSS) {later}"), after.proportional),
    ])
}

fn greater(one: Memory, other: Memory) -> Memory {
    Memory {
        private: one.private.max(other.private),
        proportional: one.proportional.max(other.proportional),
    }
}
