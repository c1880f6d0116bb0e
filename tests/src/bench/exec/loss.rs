//! Losses against the rate of events, up to what the machine can do: storms by one, two and four
//! processes that make others as fast as it goes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::Options;
use super::monitor::{self, Monitor};
use super::report::Measure;
use super::storm::Kind;
use super::workload::Storm;
use crate::Session;
use crate::bench::print;

const SPAWNERS: [usize; 3] = [1, 2, 4];

/// The ledger's sums.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Books {
    pub(super) seen: u64,
    pub(super) stored: u64,
    pub(super) other: u64,
    pub(super) lost: u64,
}

impl Books {
    /// Reads the sums of a stopped collector over the events of processes, and checks that they are
    /// closed.
    pub(super) fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let statement = "SELECT sum(seen) AS seen, sum(stored) AS stored, \
                         sum(filtered + merged) AS other, sum(lost) AS lost FROM ledger \
                         WHERE class IN ('exec', 'fork', 'exit')";
        let rows = Session::open(data_dir)?.rows(statement)?;
        let sum = |name: &str| {
            let value = rows.first().and_then(|row| row.get(name)).and_then(Value::as_u64);
            value.with_context(|| format!("the ledger's sum of {name}"))
        };
        let books = Self {
            seen: sum("seen")?,
            stored: sum("stored")?,
            other: sum("other")?,
            lost: sum("lost")?,
        };
        let booked = books.stored + books.other + books.lost;
        anyhow::ensure!(books.seen == booked, "the books are not closed: {books:?}");
        Ok(books)
    }
}

pub(super) fn run(options: &Options, folder: &Path) -> anyhow::Result<Vec<Measure>> {
    let lasts = Duration::from_secs(options.storm_seconds);
    let mut measures = Vec::new();
    for kind in [Kind::Spawn, Kind::Vfork] {
        for spawners in SPAWNERS {
            let data = folder.join(format!("{}-{spawners}", kind.name()));
            fs::create_dir(&data)?;
            measures.push(step(kind, spawners, lasts, &data)?);
            fs::remove_dir_all(&data)?;
        }
    }
    Ok(measures)
}

fn step(kind: Kind, spawners: usize, lasts: Duration, data: &Path) -> anyhow::Result<Measure> {
    let monitor::Running::Bygone(daemon) = Monitor::Bygone.start(data)? else {
        anyhow::bail!("Bygone was started");
    };
    let started = Instant::now();
    let lives = Storm::start(kind, spawners, lasts)?.lives()?;
    let rate = (lives * kind.events()) as f64 / started.elapsed().as_secs_f64();
    let stopped = daemon.stop();
    let books = Books::read(&stopped.data_dir)?;
    let made = lives * kind.events();
    anyhow::ensure!(books.seen >= made, "{made} events were made, {books:?}");
    let percent = books.lost as f64 / books.seen as f64 * 100.0;
    print(format_args!(
        "{} by {spawners}: {rate:.0} events/s, {books:?}, {percent:.2} % lost",
        kind.name()
    ));
    let name = format!("lost at {rate:.0} events/s ({} by {spawners})", kind.name());
    let measure = Measure::new(name, "%", percent);
    let measure = if kind == Kind::Spawn { measure.at_most(0.0) } else { measure };
    Ok(measure.details(json!({
        "events_per_second": rate, "seen": books.seen, "stored": books.stored, "lost": books.lost,
    })))
}
