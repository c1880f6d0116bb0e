//! Bytes cut off and flipped at random places where a crash can leave them: the journal's tail, the
//! manifest's tail, and temporary files. What is lost is said, and nothing else is lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bygone_store::{Reader, Writer, WriterOptions};

use crate::disks::{Chance, MemoryDisk};
use crate::fixture::{BOOT_ID, SampleEvents, TABLES, read_snapshot, sample};

const DIR: &str = "/store";
const SEEDS: u64 = 200;

fn open(disk: &MemoryDisk, chance: &mut Chance) -> Writer {
    let mut options = WriterOptions::new(BOOT_ID);
    options.journal_bytes_max = 1_000 + chance.below(3_000);
    options.disk = Arc::new(disk.clone());
    Writer::open(Path::new(DIR), TABLES, options).unwrap().0
}

/// The rows by number, and whether the reader says that rows may be missing.
fn read(disk: &MemoryDisk) -> (BTreeMap<i64, SampleEvents>, bool) {
    let reader = Reader::open_on(Arc::new(disk.clone()), Path::new(DIR)).unwrap();
    let snapshot = reader.snapshot().unwrap();
    let rows = read_snapshot(&snapshot, i64::MIN, i64::MAX);
    let count = rows.len();
    let found: BTreeMap<i64, SampleEvents> = rows.into_iter().collect();
    assert_eq!(found.len(), count, "a number twice");
    (found, snapshot.damage().iter().any(|damage| damage.kind.loses_rows()))
}

/// Fills a store and leaves it as a killed writer does: journals unsealed, a manifest, and what
/// was being written.
fn fill(disk: &MemoryDisk, chance: &mut Chance) -> BTreeMap<i64, SampleEvents> {
    let mut appended = BTreeMap::new();
    let mut writer = open(disk, chance);
    for batch in 0..10 + chance.below(20) as i64 {
        let rows: Vec<SampleEvents> = (batch * 9..batch * 9 + 9).map(sample).collect();
        let first = writer.append(rows.clone()).unwrap().unwrap().first_eid;
        appended.extend((first..).zip(rows));
        if chance.below(4) == 0 {
            writer.sync().unwrap();
        }
        if chance.below(30) == 0 {
            writer.close().unwrap();
            writer = open(disk, chance);
        }
    }
    appended
}

/// The newest file of a folder: the one with the largest number.
fn newest(disk: &MemoryDisk, folder: &str) -> Option<PathBuf> {
    let folder = Path::new(DIR).join(folder);
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let files = disk.files().into_iter().filter(|path| path.parent() == Some(&folder));
    files.filter(|path| number(path).is_some()).max_by_key(number)
}

/// Cuts off or flips some of the last bytes of a file.
fn damage(disk: &MemoryDisk, path: &Path, chance: &mut Chance) {
    disk.damage(path, |content| {
        let tail = chance.below(content.len().min(400) as u64 + 1) as usize;
        let start = content.len() - tail;
        if tail == 0 || chance.below(2) == 0 {
            content.truncate(start);
        } else {
            content[start + chance.below(tail as u64) as usize] ^= 1 << chance.below(8);
        }
    });
}

#[test]
fn damage_to_the_journals_tail_is_said_and_takes_nothing_else() {
    for seed in 0..SEEDS {
        let mut chance = Chance(seed);
        let disk = MemoryDisk::with_folder(Path::new("/"));
        let appended = fill(&disk, &mut chance);
        let journal = newest(&disk, "journal").unwrap();
        damage(&disk, &journal, &mut chance);
        let (found, _) = read(&disk);
        assert!(found.iter().all(|(eid, row)| appended.get(eid) == Some(row)), "seed {seed}");
        // A damaged tail takes frames of that journal only, which are those appended last.
        let oldest_lost = appended.keys().find(|eid| !found.contains_key(eid)).copied();
        let lost = appended.len() - found.len();
        let mut options = WriterOptions::new(BOOT_ID);
        options.disk = Arc::new(disk.clone());
        let (mut writer, opened) = Writer::open(Path::new(DIR), TABLES, options).unwrap();
        let said = opened.recovered.iter().any(|damage| damage.kind.loses_rows());
        // Cut off exactly between frames, nothing shows that there were more; then only the end of
        // the journal is missing.
        let suffix = oldest_lost.is_none_or(|oldest| found.keys().all(|eid| *eid < oldest));
        assert!(said || suffix, "seed {seed}: {lost} rows are lost without a word");
        let next = writer.append([sample(0)]).unwrap().unwrap().first_eid;
        assert!(next > *appended.last_key_value().unwrap().0, "seed {seed}: {next} again");
        writer.close().unwrap();
        let (mut after, damaged) = read(&disk);
        after.remove(&next);
        assert!(after == found && !damaged, "seed {seed}: sealing has changed the rows");
    }
}

#[test]
fn damage_to_the_manifests_tail_loses_nothing() {
    for seed in 0..SEEDS {
        let mut chance = Chance(seed);
        let disk = MemoryDisk::with_folder(Path::new("/"));
        let appended = fill(&disk, &mut chance);
        let Some(manifest) = newest(&disk, "manifest") else {
            continue;
        };
        damage(&disk, &manifest, &mut chance);
        // A journal that was sealed without a row in it may be missed: nothing tells that it was.
        assert!(read(&disk).0 == appended, "seed {seed}: before recovery");
        open(&disk, &mut chance).close().unwrap();
        assert!(read(&disk) == (appended, false), "seed {seed}: after recovery");
    }
}

#[test]
fn temporary_files_are_never_taken_for_anything() {
    for seed in 0..SEEDS / 4 {
        let mut chance = Chance(seed);
        let disk = MemoryDisk::with_folder(Path::new("/"));
        let appended = fill(&disk, &mut chance);
        for file in disk.files() {
            if chance.below(3) > 0 {
                continue;
            }
            // As a write cut short leaves it, beside the whole file.
            let temporary = file.with_extension("tmp");
            disk.copy(&file, &temporary);
            damage(&disk, &temporary, &mut chance);
        }
        assert!(read(&disk) == (appended.clone(), false), "seed {seed}: before recovery");
        open(&disk, &mut chance).close().unwrap();
        assert!(read(&disk) == (appended, false), "seed {seed}: after recovery");
        let mut left = disk.files();
        // The reserve stays: the next start removes it when it needs the space most.
        left.retain(|path| {
            path.extension().is_some_and(|e| e == "tmp") && !path.ends_with("manifest/reserve.tmp")
        });
        assert!(left.is_empty(), "seed {seed}: {left:?}");
    }
}
