//! A disk without any space left: room is made by giving up what is oldest.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bygone_store::{Expired, Reader, Retention, VerifyRequest, Writer, WriterOptions};

use crate::disks::{Chance, MemoryDisk};
use crate::fixture::{BOOT_ID, TABLES, read_snapshot, samples};

const DIR: &str = "/store";
const PATIENCE: Duration = Duration::from_secs(60);

fn open(disk: &MemoryDisk) -> Writer {
    let mut options = WriterOptions::new(BOOT_ID);
    options.seal_wait = Duration::ZERO;
    options.reader_grace = Duration::ZERO;
    options.retention = Retention { min_free: 1, ..Retention::default() };
    options.disk = Arc::new(disk.clone());
    Writer::open(Path::new(DIR), TABLES, options).unwrap().0
}

fn wait_for_expired(writer: &mut Writer) -> Vec<Expired> {
    let begun = Instant::now();
    loop {
        let expired = writer.take_expired();
        if !expired.is_empty() {
            return expired;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing was given up");
        std::thread::yield_now();
    }
}

/// A store with a segment and a journal, whose disk is full when the journal is to become one too.
fn nearly_full() -> (MemoryDisk, Writer) {
    let disk = MemoryDisk::with_folder(Path::new("/"));
    let mut writer = open(&disk);
    writer.append(samples(0..20_000)).unwrap();
    assert!(writer.settle(PATIENCE).unwrap());
    writer.append(samples(20_000..20_500)).unwrap();
    writer.sync().unwrap();
    disk.full_from(&Path::new(DIR).join("segments"));
    (disk, writer)
}

/// The numbers of the rows. Each row must be what it was, and the history whole.
fn check(disk: &MemoryDisk) -> RangeInclusive<i64> {
    let reader = Reader::open_on(Arc::new(disk.clone()), Path::new(DIR)).unwrap();
    let verified = reader.verify(&VerifyRequest::default(), |_, _| {}).unwrap();
    assert_eq!(verified.faults, []);
    let snapshot = reader.snapshot().unwrap();
    let rows = read_snapshot(&snapshot, i64::MIN, i64::MAX);
    assert_eq!(snapshot.damage(), []);
    let (first, last) = (rows[0].0, rows[rows.len() - 1].0);
    let expected = (first..).zip(samples(first - 1..last));
    assert!(rows.into_iter().eq(expected), "rows {first} to {last}");
    first..=last
}

/// To delete a segment takes an entry in the manifest, for which there is no space but what was set
/// aside.
#[test]
fn room_is_made_on_a_full_disk() {
    let (disk, mut writer) = nearly_full();
    assert!(!writer.settle(PATIENCE).unwrap());
    let expired = wait_for_expired(&mut writer);
    let [expired] = expired.as_slice() else { panic!("{expired:?}") };
    assert_eq!((expired.rows, expired.segments), (20_000, 1));
    // With what became free the journal is sealed.
    writer.close().unwrap();
    assert!(!disk.files().iter().any(|path| path.extension().is_some_and(|e| e == "bj")));
    assert_eq!(check(&disk), 20_001..=20_500);
    disk.enlarge();
    open(&disk).close().unwrap();
    assert_eq!(check(&disk), 20_001..=20_500);
}

/// At any call on the way, also beyond the end.
#[test]
fn a_loss_of_power_leaves_the_segment_whole_or_given_up() {
    let mut found = BTreeSet::new();
    for calls in 0.. {
        let (disk, mut writer) = nearly_full();
        disk.lose_power_after(calls);
        let survived = writer.settle(PATIENCE).is_ok() && !disk.is_off();
        drop(writer);
        let disk = disk.survivors(&mut Chance(calls));
        found.insert(check(&disk).into_inner());
        open(&disk).close().unwrap();
        found.insert(check(&disk).into_inner());
        if survived {
            break;
        }
    }
    assert_eq!(found, BTreeSet::from([(1, 20_500), (20_001, 20_500)]));
}
