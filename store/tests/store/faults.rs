//! A disk that fails at any one call, or for a while: what was appended stays, what was refused is
//! said, and the writer goes on when the disk does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bygone_store::disk::Disk;
use bygone_store::{AppendError, Reader, VerifyRequest, Writer, WriterOptions};

use crate::disks::{Fault, FaultyDisk, MemoryDisk};
use crate::fixture::{BOOT_ID, SampleEvents, TABLES, read_snapshot, sample};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

const DIR: &str = "/store";

/// With no grace, files that others replace go at once, which is only for runs without readers.
fn open(disk: Arc<dyn Disk>, reader_grace: Duration) -> Option<Writer> {
    let mut options = WriterOptions::new(BOOT_ID);
    options.journal_bytes_max = 1_200;
    options.disk = disk;
    options.seal_wait = Duration::ZERO;
    options.reader_grace = reader_grace;
    Writer::open(Path::new(DIR), TABLES, options).ok().map(|(writer, _)| writer)
}

/// Rows by number.
fn read(disk: &MemoryDisk) -> BTreeMap<i64, SampleEvents> {
    let reader = Reader::open_on(Arc::new(disk.clone()), Path::new(DIR)).unwrap();
    let snapshot = reader.snapshot().unwrap();
    let rows = read_snapshot(&snapshot, i64::MIN, i64::MAX);
    let count = rows.len();
    let by_number: BTreeMap<i64, SampleEvents> = rows.into_iter().collect();
    assert_eq!(by_number.len(), count, "a number twice");
    by_number
}

/// What became of the rows of a run.
#[derive(Debug, Default)]
struct Run {
    /// The writer said that they were appended.
    appended: BTreeMap<i64, SampleEvents>,
    /// Rows by their own number, of calls that failed, which said that these were appended.
    partly: Vec<SampleEvents>,
    /// Calls that failed.
    refused: usize,
    /// Whether rows were appended after a call had failed.
    resumed: bool,
}

/// Opens the store twice and appends twenty batches of five rows each time, with syncs, rotations,
/// seals and heartbeats.
fn run(disk: &FaultyDisk) -> Run {
    let mut run = Run::default();
    let mut next = 0;
    for _ in 0..2 {
        let Some(mut writer) = open(Arc::new(disk.clone()), Duration::ZERO) else {
            run.refused += 1;
            continue;
        };
        for batch in 0..20 {
            let rows: Vec<SampleEvents> = (next..next + 5).map(sample).collect();
            next += 5;
            match writer.append(rows.clone()) {
                Ok(appended) => {
                    let first = appended.unwrap().first_eid;
                    let before = run.appended.last_key_value().map_or(0, |(last, _)| *last);
                    assert!(first > before, "eid {first} after {before}");
                    run.appended.extend((first..).zip(rows));
                    run.resumed |= run.refused > 0;
                }
                Err(AppendError::Write { appended, .. } | AppendError::Leases { appended, .. }) => {
                    run.partly.extend(rows.into_iter().take(appended as usize));
                    run.refused += 1;
                }
                Err(error) => panic!("{error}"),
            }
            if batch % 2 == 0 {
                let synced = writer.sync();
                let noted = synced.is_ok() && writer.heartbeat(&[("test", next)]).is_ok();
                run.refused += usize::from(!noted);
            }
            run.refused += usize::from(writer.tick().is_err());
            // Seals and merges on the other thread, where calls fail as well.
            if batch % 3 == 0 && writer.settle(Duration::from_secs(5)).is_err() {
                run.refused += 1;
            }
        }
        run.refused += usize::from(writer.close().is_err());
    }
    run
}

/// Runs with a fault and checks the store by a healthy disk afterwards.
fn check(fault: Fault) -> Run {
    check_with(fault, |_| {})
}

/// Likewise, after something else was done to the disk.
fn check_with(fault: Fault, disturb: impl Fn(&MemoryDisk)) -> Run {
    let memory = MemoryDisk::with_folder(Path::new("/"));
    let run = run(&FaultyDisk::new(Arc::new(memory.clone()), fault));
    disturb(&memory);
    let Some(writer) = open(Arc::new(memory.clone()), Duration::from_secs(600)) else {
        panic!("{fault:?}: the store cannot be opened any more");
    };
    let found = read(&memory);
    writer.close().unwrap();
    assert!(read(&memory) == found, "{fault:?}: sealing has changed the rows");
    let expected = run.appended.len() + run.partly.len();
    for (eid, row) in &run.appended {
        assert_eq!(found.get(eid), Some(row), "{fault:?}: row {eid}");
    }
    for row in &run.partly {
        assert!(found.values().any(|found| found == row), "{fault:?}: {row:?}");
    }
    assert_eq!(found.len(), expected, "{fault:?}: a refused row is there");
    run
}

/// The history is whole: what failed was taken back.
fn verify(memory: &MemoryDisk, fault: Fault) {
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    if let Ok(reader) = Reader::open_on(disk, Path::new(DIR)) {
        let verified = reader.verify(&VerifyRequest::default(), |_, _| {}).unwrap();
        assert_eq!(verified.faults, [], "{fault:?}");
    }
}

/// Flips a bit in the middle of every manifest file.
fn damage_manifest(memory: &MemoryDisk) {
    let folder = Path::new(DIR).join("manifest");
    for path in memory.files().iter().filter(|path| path.starts_with(&folder)) {
        memory.damage(path, |content| {
            let middle = content.len() / 2;
            content[middle] ^= 1;
        });
    }
}

#[test]
fn one_failing_call_loses_nothing() {
    let memory = MemoryDisk::with_folder(Path::new("/"));
    let healthy = FaultyDisk::new(Arc::new(memory.clone()), Fault::NONE);
    let all = run(&healthy);
    assert_eq!((all.appended.len(), all.refused), (200, 0));
    let calls = healthy.calls();
    assert!(calls > 500, "{calls} calls are too few to tell");
    let is_merged = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.trim_start_matches("late-").starts_with("1-")
    };
    assert!(memory.files().iter().any(is_merged), "nothing was merged: {:?}", memory.files());
    let mut failures = 0;
    for from in 0..calls {
        let fault = Fault { from, calls: 1, errno: EIO };
        let run = check_with(fault, |memory| verify(memory, fault));
        failures += usize::from(run.refused > 0);
    }
    // Many calls have a second try, or their failure can wait; not all can.
    assert!(failures > 10, "{failures} of {calls}");
}

#[test]
fn a_disk_that_fails_for_a_while_is_outlived() {
    let mut resumed = 0;
    for from in (0..300).step_by(4) {
        for (errno, calls) in [(ENOSPC, 40), (EROFS, 15), (EIO, 25)] {
            resumed += usize::from(check(Fault { from, calls, errno }).resumed);
        }
    }
    assert!(resumed > 30, "the writer went on in {resumed} runs only");
}

/// Neither the journals nor segments of a seal that failed count beside those of the next attempt.
#[test]
fn a_damaged_manifest_after_failing_calls_loses_and_doubles_nothing() {
    for from in (0..500).step_by(3) {
        for calls in [1, 3, 12] {
            check_with(Fault { from, calls, errno: ENOSPC }, damage_manifest);
        }
    }
}
