//! Writing the rows, and what that costs.
//!
//! Rows are made and appended in turn, and the making is taken out of both figures: CPU of the
//! appending thread by taking the time around each append, CPU of all threads by subtracting what
//! the making used.
//!
//! The store's clock shows the times of the rows, as if the days passed while they are written: so
//! hours and days end, are merged, and what they replace is deleted. Only journals do not end by
//! age.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bygone_store::disk::{Access, Disk, DiskFile, FileInfo, RealDisk};
use bygone_store::{Clock, Writer, WriterOptions};

use super::marks::Marks;
use super::sqlite::Sqlite;
use super::stored::TABLES;
use super::{BATCH, SEED};
use crate::bench::generator::{Batch, CLOCK_OFFSET_NS, Generator, START_NS};
use crate::bench::spent::{Spent, process_cpu, time};

/// The boot that rows are recorded in.
const BOOT_ID: [u8; 16] = *b"a boot, any boot";

/// Rows that are left in journals while queries are measured, at most a quarter of all: three
/// journals of 8 MiB, two of them full.
const LIVE_ROWS: u64 = 140_000;

/// How long sealing and merging may take once all is appended.
const SETTLE_MAX: Duration = Duration::from_secs(3_600);

/// How often the daemon syncs unless told otherwise.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What writing took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) rows: u64,
    /// Until the rows were with the kernel: the appending thread alone.
    pub(super) append: Spent,
    /// All threads, until everything was sealed, or in the database.
    pub(super) all_cpu: Duration,
}

/// Writes all rows but the last [`LIVE_ROWS`] to a new store and seals them, then those without
/// sealing. The time that has come then is returned too.
pub(super) fn bygone(dir: &Path, rows: u64, marks: &mut Marks) -> anyhow::Result<(Written, Now)> {
    let mut generator = Generator::new(rows, SEED);
    let now = Now::default();
    let mut writer = open(dir, Arc::new(RealDisk), &now)?;
    let begun = process_cpu();
    let (mut append, mut making) = (Spent::default(), Spent::default());
    let mut synced = Instant::now();
    let sealed = rows - LIVE_ROWS.min(rows / 4);
    let mut appended = 0;
    while appended < sealed {
        let size = (sealed - appended).min(BATCH as u64) as usize;
        let (batch, spent) = time(|| {
            let batch = generator.batch(size);
            marks.note(batch.as_ref().unwrap_or(&Batch::default()));
            Ok(batch)
        })?;
        making.add(spent);
        let Some(batch) = batch else { break };
        appended += batch.len() as u64;
        let ((), spent) = time(|| {
            append_to(&mut writer, batch, &now)?;
            writer.tick()?;
            if synced.elapsed() >= SYNC_EVERY {
                writer.sync()?;
                synced = Instant::now();
            }
            Ok(())
        })?;
        append.add(spent);
    }
    settle(&mut writer)?;
    writer.close()?;
    let all_cpu = process_cpu().saturating_sub(begun).saturating_sub(making.cpu);
    let mut writer = open(dir, Arc::new(Unsealing), &now)?;
    while let Some(batch) = generator.batch(BATCH) {
        marks.note(&batch);
        append_to(&mut writer, batch, &now)?;
    }
    writer.sync()?;
    Ok((Written { rows: sealed, append, all_cpu }, now))
}

/// Seals what [`bygone()`] left.
pub(super) fn seal(dir: &Path, now: &Now) -> anyhow::Result<()> {
    let mut writer = open(dir, Arc::new(RealDisk), now)?;
    settle(&mut writer)?;
    writer.close()?;
    Ok(())
}

/// Waits until all is sealed and merged that is to be.
fn settle(writer: &mut Writer) -> anyhow::Result<()> {
    anyhow::ensure!(writer.settle(SETTLE_MAX)?, "sealing and merging take too long");
    Ok(())
}

/// Writes the same rows to SQLite.
pub(super) fn sqlite(path: &Path, rows: u64) -> anyhow::Result<(Sqlite, Written)> {
    let mut generator = Generator::new(rows, SEED);
    let database = Sqlite::create(path)?;
    let begun = process_cpu();
    let (mut append, mut making) = (Spent::default(), Spent::default());
    loop {
        let (batch, spent) = time(|| Ok(generator.batch(BATCH)))?;
        making.add(spent);
        let Some(batch) = batch else { break };
        let ((), spent) = time(|| {
            database.append(&batch)?;
            // Freeing the rows is part of appending in Bygone, which takes them.
            drop(batch);
            Ok(())
        })?;
        append.add(spent);
    }
    database.checkpoint()?;
    let all_cpu = process_cpu().saturating_sub(begun).saturating_sub(making.cpu);
    Ok((database, Written { rows, append, all_cpu }))
}

/// Appends at full speed in batches of 512, as long as there are rows: for measuring memory.
pub(super) fn write_all(dir: &Path, rows: u64) -> anyhow::Result<()> {
    let mut generator = Generator::new(rows, SEED);
    let now = Now::default();
    let mut writer = open(dir, Arc::new(RealDisk), &now)?;
    let mut synced = Instant::now();
    while let Some(batch) = generator.batch(512) {
        append_to(&mut writer, batch, &now)?;
        writer.tick()?;
        if synced.elapsed() >= SYNC_EVERY {
            writer.sync()?;
            synced = Instant::now();
        }
    }
    settle(&mut writer)?;
    writer.close()?;
    Ok(())
}

/// The present, by the times of the rows that were made.
#[derive(Clone, Debug)]
pub(super) struct Now(Arc<AtomicI64>);

impl Default for Now {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(START_NS)))
    }
}

impl Now {
    /// Lets a time come, unless it is past.
    fn come(&self, time_ns: i64) {
        self.0.fetch_max(time_ns, Ordering::Relaxed);
    }
}

fn open(dir: &Path, disk: Arc<dyn Disk>, now: &Now) -> anyhow::Result<Writer> {
    let mut options = WriterOptions::new(BOOT_ID);
    options.disk = disk;
    let now = Arc::clone(&now.0);
    options.clock = Clock::new(move || now.load(Ordering::Relaxed));
    let (mut writer, _) = Writer::open(dir, TABLES, options)?;
    writer.set_clock_offset(CLOCK_OFFSET_NS);
    Ok(writer)
}

/// Appends rows. It is the time of the first before, so that a journal that is begun meanwhile is
/// not newer than its rows, and that of the last after.
fn append_to(writer: &mut Writer, batch: Batch, now: &Now) -> anyhow::Result<()> {
    let forks = batch.forks.first().zip(batch.forks.last());
    let times = forks.map(|(first, last)| (first.time_ns, last.time_ns));
    now.come(times.map_or(i64::MIN, |(first, _)| first));
    writer.append(batch.execs)?;
    writer.append(batch.forks)?;
    writer.append(batch.exits)?;
    writer.append(batch.files)?;
    writer.append(batch.sockets)?;
    now.come(times.map_or(i64::MIN, |(_, last)| last));
    Ok(())
}

/// A disk on which no segment can be created, so that full journals stay as they are.
struct Unsealing;

impl fmt::Debug for Unsealing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Unsealing")
    }
}

impl Disk for Unsealing {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.names(path)
    }

    fn info(&self, path: &Path) -> io::Result<FileInfo> {
        RealDisk.info(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let segment = path.components().any(|part| part.as_os_str() == "segments");
        if segment && access != Access::Read {
            return Err(io::ErrorKind::StorageFull.into());
        }
        RealDisk.open(path, access)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }
}
