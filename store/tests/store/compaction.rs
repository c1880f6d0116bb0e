//! Merging of segments, seen from outside: rows, readers that pinned before, damage to the manifest,
//! and a loss of power at every step.
//!
//! The rows of these tests happened in 1970, so that all are far out of time: eight of their
//! segments are merged at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bygone_store::verify::VerifyRequest;
use bygone_store::{DamageKind, Reader, Snapshot, Writer, WriterOptions};

use crate::disks::{Chance, MemoryDisk};
use crate::fixture::{
    BOOT_ID, OtherEvents, TABLES, copy, files, read, read_snapshot, rows, samples,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn options(grace: Duration) -> WriterOptions {
    let mut options = WriterOptions::new(BOOT_ID);
    options.seal_wait = Duration::ZERO;
    options.reader_grace = grace;
    options
}

/// Appends rows in journals of ten, each sealed by itself when the writer has the time.
fn append(writer: &mut Writer, numbers: std::ops::Range<i64>) {
    for start in numbers.step_by(10) {
        writer.append(samples(start..start + 10)).unwrap();
        assert!(writer.settle(PATIENCE).unwrap());
    }
}

/// Twenty journals of ten rows, sealed and merged; returns the writer.
fn merged(dir: &Path, grace: Duration) -> Writer {
    let (mut writer, _) = Writer::open(dir, TABLES, options(grace)).unwrap();
    append(&mut writer, 0..200);
    writer
}

fn levels(dir: &Path) -> Vec<u32> {
    let snapshot = Reader::open(dir).unwrap().snapshot().unwrap();
    let mut levels: Vec<u32> = snapshot.segments().map(|file| file.level).collect();
    levels.sort_unstable();
    levels
}

fn numbers(snapshot: &Snapshot) -> Vec<u32> {
    let rows = read_snapshot(snapshot, i64::MIN, i64::MAX);
    rows.into_iter().map(|(_, row)| row.pid).collect()
}

/// What `verify` finds wrong.
fn faults(dir: &Path) -> Vec<String> {
    let reader = Reader::open(dir).unwrap();
    let verified = reader.verify(&VerifyRequest::default(), |_, _| {}).unwrap();
    verified.faults.iter().map(ToString::to_string).collect()
}

#[test]
fn merged_segments_hold_the_same_rows() {
    let dir = tempfile::tempdir().unwrap();
    let writer = merged(dir.path(), Duration::ZERO);
    assert_eq!(rows(dir.path()), samples(0..200));
    writer.close().unwrap();
    assert_eq!(levels(dir.path()), [0, 0, 0, 0, 1, 1]);
    assert_eq!(faults(dir.path()), [] as [String; 0], "what was deleted is not missed");
    let (writer, opened) = Writer::open(dir.path(), TABLES, options(Duration::ZERO)).unwrap();
    assert_eq!(opened.recovered, []);
    writer.close().unwrap();
    assert_eq!(rows(dir.path()), samples(0..200));
}

/// What was replaced stays for those who pinned it, also over a restart, and goes later.
#[test]
fn readers_of_replaced_segments_still_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let grace = Duration::from_secs(3_600);
    let (mut writer, _) = Writer::open(dir.path(), TABLES, options(grace)).unwrap();
    append(&mut writer, 0..70);
    let pinned = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    append(&mut writer, 70..80);
    assert_eq!(levels(dir.path()), [1], "the eighth has them merged");
    assert_eq!(files(dir.path(), "segments").len(), 9, "what it replaces is still there");
    assert_eq!(numbers(&pinned), (0..70).collect::<Vec<_>>());
    assert_eq!(pinned.damage(), []);
    writer.close().unwrap();
    let (writer, opened) = Writer::open(dir.path(), TABLES, options(grace)).unwrap();
    assert_eq!(opened.recovered, [], "files that wait are no strays");
    writer.close().unwrap();
    assert_eq!(files(dir.path(), "segments").len(), 9);
    assert_eq!(numbers(&pinned), (0..70).collect::<Vec<_>>());

    let (mut writer, _) = Writer::open(dir.path(), TABLES, options(Duration::ZERO)).unwrap();
    assert!(writer.settle(PATIENCE).unwrap());
    assert_eq!(files(dir.path(), "segments").len(), 1);
    assert_eq!(rows(dir.path()), samples(0..80));
}

/// Whatever of the manifest is damaged: no row is lost and none is there twice, whether what was
/// merged is still there or not.
#[test]
fn damage_to_the_manifest_after_merges_loses_and_doubles_no_row() {
    for grace in [Duration::ZERO, Duration::from_secs(3_600)] {
        let dir = tempfile::tempdir().unwrap();
        merged(dir.path(), grace).close().unwrap();
        let manifest = files(dir.path(), "manifest").remove(0);
        let whole = std::fs::read(&manifest).unwrap();
        let lines = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let ends: Vec<usize> = lines.map(|(offset, _)| offset + 1).collect();
        let flips = (0..whole.len()).step_by(997).map(|offset| (whole.len(), Some(offset)));
        let cuts = ends.iter().map(|end| (*end, None));
        for (length, flip) in flips.chain(cuts) {
            let copied = tempfile::tempdir().unwrap();
            copy(dir.path(), copied.path());
            let mut bytes = whole[..length].to_vec();
            if let Some(offset) = flip {
                bytes[offset] ^= 0x11;
            }
            let path = copied.path().join("manifest").join(manifest.file_name().unwrap());
            std::fs::write(path, &bytes).unwrap();
            let case = format!("cut at {length}, flipped at {flip:?}, grace {grace:?}");
            if flip.is_some() {
                let (found, _) = read(copied.path());
                assert_eq!(found.len(), 200, "a reader: {case}");
            }
            for _ in 0..2 {
                let opened = Writer::open(copied.path(), TABLES, options(grace));
                let (writer, opened) = opened.unwrap();
                let lost = opened.recovered.iter().filter(|damage| damage.kind.loses_rows());
                assert_eq!(lost.collect::<Vec<_>>(), [] as [&bygone_store::Damage; 0], "{case}");
                writer.close().unwrap();
                let (found, damage) = read(copied.path());
                let found: Vec<_> = found.into_iter().map(|(_, row)| row).collect();
                assert_eq!(found, samples(0..200), "{case}");
                assert_eq!(damage, [], "{case}");
            }
        }
    }
}

/// One that is not there keeps its own table's others from nothing, nor those of other tables.
#[test]
fn a_missing_segment_does_not_stop_merging() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(dir.path(), TABLES, options(Duration::ZERO)).unwrap();
    let other = |number: i64| OtherEvents { time_ns: number, value: None };
    let mut append = |step: i64| {
        writer.append((step * 10..step * 10 + 10).map(other)).unwrap();
        writer.append(samples(step * 10..step * 10 + 10)).unwrap();
        assert!(writer.settle(PATIENCE).unwrap());
    };
    (0..7).for_each(&mut append);
    // Of the table whose turn comes first.
    std::fs::remove_file(files(dir.path(), "segments/other_events").remove(0)).unwrap();
    append(7);
    let of_table = |table: &str| {
        let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
        let files = snapshot.segments().filter(|file| file.table == table);
        let mut levels: Vec<u32> = files.map(|file| file.level).collect();
        levels.sort_unstable();
        levels
    };
    assert_eq!(of_table("sample_events"), [1]);
    assert_eq!(of_table("other_events"), [0; 8]);
    append(8);
    assert_eq!(of_table("other_events"), [0, 1], "the missing one is left out");
}

/// A segment that was taken away is missed, also when the manifest names nothing else.
#[test]
fn a_merged_segment_that_is_taken_away_is_told() {
    let dir = tempfile::tempdir().unwrap();
    merged(dir.path(), Duration::ZERO).close().unwrap();
    let merged = files(dir.path(), "segments");
    let path = merged.iter().find(|path| path.to_string_lossy().contains("late-1-")).unwrap();
    std::fs::remove_file(path).unwrap();
    for _ in 0..2 {
        let (found, damage) = read(dir.path());
        assert_eq!(found.len(), 120);
        assert_eq!(faults(dir.path()).len(), 1);
        let kinds: Vec<_> = damage.iter().map(|damage| damage.kind).collect();
        assert_eq!(kinds, [DamageKind::SegmentMissing]);
        let (writer, opened) = Writer::open(dir.path(), TABLES, options(Duration::ZERO)).unwrap();
        assert_eq!(opened.recovered, []);
        writer.close().unwrap();
    }
}

/// The power is lost at each call of a merge and of the deletions after it.
#[test]
fn a_merge_interrupted_anywhere_loses_and_doubles_nothing() {
    const DIR: &str = "/var/store";
    let on = |disk: &MemoryDisk| {
        let mut options = options(Duration::ZERO);
        options.disk = Arc::new(disk.clone());
        options
    };
    let mut chance = Chance(7);
    let base = MemoryDisk::with_folder(Path::new("/var"));
    for start in (0..90).step_by(10) {
        let (mut writer, _) = Writer::open(Path::new(DIR), TABLES, on(&base)).unwrap();
        writer.append(samples(start..start + 10)).unwrap();
        writer.close().unwrap();
    }
    let mut ended = false;
    for calls in 0..600 {
        let disk = base.survivors(&mut chance);
        disk.lose_power_after(calls);
        if let Ok((mut writer, _)) = Writer::open(Path::new(DIR), TABLES, on(&disk)) {
            let settled = writer.settle(Duration::from_millis(200));
            ended = !disk.is_off() && settled.is_ok_and(|settled| settled);
        }
        let disk = disk.survivors(&mut chance);
        for round in 0..2 {
            let reader = Reader::open_on(Arc::new(disk.clone()), Path::new(DIR)).unwrap();
            let snapshot = reader.snapshot().unwrap();
            assert_eq!(numbers(&snapshot), (0..90).collect::<Vec<_>>(), "{calls} calls, {round}");
            assert_eq!(snapshot.damage(), [], "{calls} calls, {round}");
            let (mut writer, opened) = Writer::open(Path::new(DIR), TABLES, on(&disk)).unwrap();
            let mut found = opened.recovered.iter().map(|damage| damage.kind);
            // What was being written when the power went: a segment, or the entry that names it.
            let unfinished = [DamageKind::Orphan, DamageKind::ManifestTorn];
            assert!(found.all(|kind| unfinished.contains(&kind)), "{:?}", opened.recovered);
            assert!(writer.settle(PATIENCE).unwrap());
            writer.close().unwrap();
        }
        if ended {
            break;
        }
    }
    assert!(ended, "the merge took more calls than were tried");
}
