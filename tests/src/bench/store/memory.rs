//! Private memory: what a process has for itself, anonymous and file pages alike.
//!
//! Each figure comes from a process of its own, which looks at itself every few milliseconds while
//! it works, so that nothing of the benchmark's own stands in it.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bygone_store::sql::{Session, SessionOptions};

use super::digest::Digest;
use super::queries;
use super::stored::TABLES;
use super::{CHILD, fill};
use crate::bench::{print, quantile};

/// How often a process looks at itself.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Private memory over the second half of the work, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) median: f64,
    pub(super) most: f64,
}

/// Memory of a writer that appends `rows` rows at full speed.
pub(super) fn of_writer(dir: &Path, rows: u64) -> anyhow::Result<Memory> {
    in_child(&["write", &dir.to_string_lossy(), &rows.to_string()])
}

/// Memory of a statement that streams all rows.
pub(super) fn of_stream(dir: &Path) -> anyhow::Result<Memory> {
    in_child(&["stream", &dir.to_string_lossy()])
}

fn in_child(arguments: &[&str]) -> anyhow::Result<Memory> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.arg(CHILD).args(arguments).output().context("start a child")?;
    anyhow::ensure!(
        output.status.success(),
        "{arguments:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [median, most] = figures[..] else { anyhow::bail!("a child said {text:?}") };
    Ok(Memory { median, most })
}

/// What the child does; it prints median and maximum.
pub(super) fn child(arguments: &[String]) -> anyhow::Result<()> {
    let mut samples = match arguments {
        [work, dir, rows] if work == "write" => {
            let rows = rows.parse()?;
            watched(|| fill::write_all(Path::new(dir), rows))?
        }
        [work, dir] if work == "stream" => watched(|| stream(Path::new(dir)))?,
        _ => anyhow::bail!("no such work: {arguments:?}"),
    };
    samples.drain(..samples.len() / 2);
    samples.sort_by(f64::total_cmp);
    print(format_args!("{} {}", quantile(&samples, 0.5), quantile(&samples, 1.0)));
    Ok(())
}

fn stream(dir: &Path) -> anyhow::Result<()> {
    let session =
        Session::open(SessionOptions { data_dir: dir.to_owned(), events: TABLES, states: &[] })?;
    let executed = session.execute(&queries::stream(), &mut Digest::default())?;
    anyhow::ensure!(executed.damage.is_empty(), "damaged: {:?}", executed.damage);
    Ok(())
}

/// Does the work and says what memory was in use meanwhile.
fn watched(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Vec<f64>> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut samples = Vec::new();
            while !done.load(Ordering::Acquire) {
                samples.extend(private_bytes());
                std::thread::park_timeout(LOOK_EVERY);
            }
            samples
        });
        let worked = work();
        done.store(true, Ordering::Release);
        watcher.thread().unpark();
        let samples = watcher.join().ok().context("the watcher has failed")?;
        worked.map(|()| samples)
    })
}

/// Private memory of this process in bytes.
fn private_bytes() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let kilobytes = text.lines().filter_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let private = matches!(name, "Private_Clean" | "Private_Dirty");
        private.then(|| rest.trim().trim_end_matches(" kB").parse::<f64>().ok()).flatten()
    });
    Some(kilobytes.sum::<f64>() * 1024.0)
}
