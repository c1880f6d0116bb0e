//! A table, a writer with small journals, and reading everything back.

use std::path::{Path, PathBuf};

use bygone_store::{
    Damage, EventTable, Opened, Reader, RowParts, ScanRequest, Snapshot, TableSchema, ValueRef,
    Writer, WriterOptions,
};

/// Rows of tests.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub(crate) struct SampleEvents {
    /// A number.
    pub(crate) pid: u32,
    /// Text that may be missing.
    #[column(bloom)]
    pub(crate) path: Option<String>,
    /// When it happened, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub(crate) time_ns: i64,
    /// More text.
    pub(crate) note: String,
}

/// Rows of tests, in another table.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub(crate) struct OtherEvents {
    /// When it happened, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub(crate) time_ns: i64,
    /// A number that may be missing.
    pub(crate) value: Option<f64>,
}

pub(crate) static TABLES: &[&TableSchema] = &[SampleEvents::SCHEMA, OtherEvents::SCHEMA];

pub(crate) const BOOT_ID: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef0123abcd";

/// A row that its number determines.
pub(crate) fn sample(number: i64) -> SampleEvents {
    SampleEvents {
        pid: number as u32,
        path: (number % 3 != 0).then(|| format!("/usr/bin/{}", number % 7)),
        time_ns: number * 1_000,
        note: format!("note {number}"),
    }
}

pub(crate) fn samples(numbers: std::ops::Range<i64>) -> Vec<SampleEvents> {
    numbers.map(sample).collect()
}

/// Opens a writer whose journals hold `journal_bytes` each.
pub(crate) fn open_small(dir: &Path, journal_bytes: u64) -> (Writer, Opened) {
    let mut options = WriterOptions::new(BOOT_ID);
    options.journal_bytes_max = journal_bytes;
    options.seal_wait = std::time::Duration::ZERO;
    Writer::open(dir, TABLES, options).unwrap()
}

pub(crate) fn open(dir: &Path) -> (Writer, Opened) {
    open_small(dir, 8 << 20)
}

/// All rows by number, and what was found damaged.
pub(crate) fn read(dir: &Path) -> (Vec<(i64, SampleEvents)>, Vec<Damage>) {
    let snapshot = Reader::open(dir).unwrap().snapshot().unwrap();
    let rows = read_snapshot(&snapshot, i64::MIN, i64::MAX);
    (rows, snapshot.damage())
}

pub(crate) fn rows(dir: &Path) -> Vec<SampleEvents> {
    let (rows, damage) = read(dir);
    assert_eq!(damage, []);
    rows.into_iter().map(|(_, row)| row).collect()
}

pub(crate) fn read_snapshot(snapshot: &Snapshot, from: i64, to: i64) -> Vec<(i64, SampleEvents)> {
    let schema = SampleEvents::SCHEMA;
    let columns: Vec<usize> = schema.stored().map(|(index, _, _)| index).collect();
    let mut rows = Vec::new();
    for batch in snapshot.scan(schema, &ScanRequest::new(from..=to, columns)).unwrap() {
        let batch = batch.unwrap();
        for row in 0..batch.len() {
            let value = |column: usize| batch.columns()[column].value(row);
            let ValueRef::U32(pid) = value(0) else { panic!("pid: {:?}", value(0)) };
            let path = match value(1) {
                ValueRef::Null => None,
                ValueRef::Text(path) => Some(path.to_owned()),
                other => panic!("path: {other:?}"),
            };
            let ValueRef::I64(time_ns) = value(2) else { panic!("time: {:?}", value(2)) };
            let ValueRef::Text(note) = value(3) else { panic!("note: {:?}", value(3)) };
            assert_eq!(batch.time_ns().unwrap().value(row), time_ns);
            assert_eq!(batch.boot_id(row), Some(BOOT_ID));
            let note = note.to_owned();
            rows.push((batch.eid().unwrap().value(row), SampleEvents { pid, path, time_ns, note }));
        }
    }
    rows.sort_by_key(|(eid, _)| *eid);
    rows
}

/// How many rows there are, without asking for a column.
pub(crate) fn count(snapshot: &Snapshot, from: i64, to: i64) -> usize {
    let parts = RowParts::default();
    let request = ScanRequest { parts, ..ScanRequest::new(from..=to, Vec::new()) };
    let batches = snapshot.scan(SampleEvents::SCHEMA, &request).unwrap();
    batches.map(|batch| batch.unwrap().len()).sum()
}

/// Files in a folder below the data folder, sorted; none when it is missing.
pub(crate) fn files(dir: &Path, folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// The one journal there is.
pub(crate) fn only_journal(dir: &Path) -> PathBuf {
    let journals = files(dir, "journal");
    assert_eq!(journals.len(), 1, "{journals:?}");
    journals[0].clone()
}

/// Copies a data folder as it is.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
