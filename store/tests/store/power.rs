//! A loss of power at any call: what was synced is there, once, and no number is given twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bygone_store::{DamageKind, ReadError, Reader, Writer, WriterOptions};

use crate::disks::{Chance, MemoryDisk};
use crate::fixture::{BOOT_ID, SampleEvents, TABLES, read_snapshot, sample};

/// A folder below one that is there: its own entry must be made durable too.
const DIR: &str = "/var/store";

const CYCLES: u64 = 300;

/// What is known of the rows, over all cycles.
#[derive(Debug, Default)]
struct Model {
    /// Every row that was appended, by number.
    appended: BTreeMap<i64, SampleEvents>,
    /// Those that must be there: they were synced, or were found after a loss of power.
    certain: BTreeMap<i64, SampleEvents>,
    /// Rows of the calls that failed for want of power: they may be there or not.
    in_flight: Vec<SampleEvents>,
    /// What the last heartbeat said.
    heartbeat: i64,
    /// Number of the next row's content.
    next: i64,
}

/// Works until the power is lost, or until a clean stop.
fn work(disk: &MemoryDisk, model: &mut Model, chance: &mut Chance) {
    let mut options = WriterOptions::new(BOOT_ID);
    options.journal_bytes_max = 1_000 + chance.below(4_000);
    options.disk = Arc::new(disk.clone());
    options.seal_wait = Duration::ZERO;
    options.reader_grace = Duration::ZERO;
    let Ok((mut writer, opened)) = Writer::open(Path::new(DIR), TABLES, options) else {
        assert!(disk.is_off(), "the store cannot be opened");
        return;
    };
    let noted = opened.last_heartbeat.first().map_or(0, |(_, at)| *at);
    assert!(noted >= model.heartbeat, "heartbeat {noted} after {}", model.heartbeat);
    let mut unsynced = BTreeMap::new();
    while !disk.is_off() {
        let count = 1 + chance.below(12) as i64;
        let rows: Vec<SampleEvents> = (model.next..model.next + count).map(sample).collect();
        model.next += count;
        model.in_flight.clone_from(&rows);
        if let Ok(Some(appended)) = writer.append(rows.clone()) {
            model.in_flight.clear();
            let before = model.appended.last_key_value().map_or(0, |(last, _)| *last);
            assert!(appended.first_eid > before, "{} after {before}", appended.first_eid);
            model.appended.extend((appended.first_eid..).zip(rows.iter().cloned()));
            unsynced.extend((appended.first_eid..).zip(rows));
        }
        if chance.below(3) == 0 && writer.sync().is_ok() {
            model.certain.append(&mut unsynced);
            if writer.heartbeat(&[("test", model.next)]).is_ok() {
                model.heartbeat = model.next;
            }
        }
        if chance.below(4) == 0 && writer.tick().is_err() {
            assert!(disk.is_off());
        }
        if chance.below(10) == 0 {
            // Merges what there is to be merged, on the other thread.
            let settled = writer.settle(Duration::from_millis(20));
            assert!(settled.is_ok() || disk.is_off());
        }
        if chance.below(40) == 0 {
            if writer.close().is_ok() {
                model.certain.append(&mut unsynced);
            }
            return;
        }
    }
}

/// Reads what is there after a loss of power, before any writer has seen it.
fn check(disk: &MemoryDisk, model: &mut Model, seed: u64) {
    let reader = match Reader::open_on(Arc::new(disk.clone()), Path::new(DIR)) {
        Ok(reader) => reader,
        Err(ReadError::NotAStore { .. }) if model.certain.is_empty() => return,
        Err(error) => panic!("seed {seed}: {error}"),
    };
    let rows = read_snapshot(&reader.snapshot().unwrap(), i64::MIN, i64::MAX);
    let count = rows.len();
    let found: BTreeMap<i64, SampleEvents> = rows.into_iter().collect();
    assert_eq!(found.len(), count, "seed {seed}: a number twice");
    for (eid, row) in &model.certain {
        assert_eq!(found.get(eid), Some(row), "seed {seed}: row {eid} was synced");
    }
    for (eid, row) in &found {
        let known = model.appended.get(eid).is_some_and(|known| known == row);
        assert!(known || model.in_flight.contains(row), "seed {seed}: row {eid} never was");
        model.appended.insert(*eid, row.clone());
    }
    model.certain = found;
}

/// One store through many losses of power.
fn live(seed: u64, cycles: u64) {
    let mut chance = Chance(seed);
    let mut disk = MemoryDisk::with_folder(Path::new("/var"));
    let mut model = Model::default();
    for _ in 0..cycles {
        disk.lose_power_after(chance.below(400));
        work(&disk, &mut model, &mut chance);
        disk = disk.survivors(&mut chance);
        check(&disk, &mut model, seed);
    }
    assert!(model.certain.len() > 100, "{} rows are too few to tell", model.certain.len());
}

#[test]
fn a_loss_of_power_takes_only_what_was_not_synced() {
    for seed in 1..=CYCLES / 20 {
        live(seed, 20);
    }
}

/// A disk with a store in which two segments, copies of others, are to be put aside, of which one
/// has the name of one that was put aside before.
fn with_strays() -> MemoryDisk {
    let disk = MemoryDisk::with_folder(Path::new("/var"));
    let open = || {
        let mut options = WriterOptions::new(BOOT_ID);
        options.disk = Arc::new(disk.clone());
        Writer::open(Path::new(DIR), TABLES, options).unwrap().0
    };
    for _ in 0..2 {
        let mut writer = open();
        writer.append((0..5).map(sample)).unwrap();
        writer.close().unwrap();
        let is_segment = |path: &PathBuf| path.starts_with("/var/store/segments");
        let segment = disk.files().into_iter().find(is_segment).unwrap();
        for name in ["0-900000.parquet", "0-900001.parquet"] {
            disk.copy(&segment, &segment.with_file_name(name));
        }
    }
    disk
}

/// A disk on which every call fails, as after a loss of power, must not be asked for ever.
#[test]
fn opening_ends_wherever_the_power_is_lost() {
    let mut calls = 0;
    loop {
        let disk = with_strays();
        disk.lose_power_after(calls);
        let mut options = WriterOptions::new(BOOT_ID);
        options.disk = Arc::new(disk.clone());
        let opened = Writer::open(Path::new(DIR), TABLES, options);
        if !disk.is_off() {
            let (_, opened) = opened.unwrap();
            let orphans = opened.recovered.iter().filter(|found| found.kind == DamageKind::Orphan);
            assert_eq!(orphans.count(), 2);
            break;
        }
        calls += 1;
    }
    assert!(calls > 40, "{calls} calls are too few to open a store");
}
