//! Reading rows of an older version of a table.

use bygone_store::{EventTable, Reader, ScanRequest, TableSchema, ValueRef, Writer, WriterOptions};

use crate::fixture::{BOOT_ID, open, samples};

mod newer {
    use bygone_store::EventTable;

    /// The table as a later version has it.
    #[derive(Clone, Debug, PartialEq, EventTable)]
    pub(super) struct SampleEvents {
        /// A number.
        pub(super) pid: u32,
        /// When it happened, in nanoseconds since the Unix epoch.
        #[column(time)]
        pub(super) time_ns: i64,
        /// More text.
        pub(super) note: String,
        /// A column that was added and may be missing.
        pub(super) added: Option<u64>,
        /// A column that was added and is always there.
        pub(super) flag: bool,
    }
}

use newer::SampleEvents;

static TABLES: &[&TableSchema] = &[SampleEvents::SCHEMA];

#[test]
fn added_columns_are_null_or_zero_and_dropped_ones_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    writer.append(samples(1..3)).unwrap();
    writer.close().unwrap();
    let (mut writer, _) = open(dir.path());
    writer.append(samples(3..4)).unwrap();
    let check = |newest: &[(u32, Option<u64>, bool)]| {
        let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
        let schema = SampleEvents::SCHEMA;
        let columns = ["pid", "added", "flag"].map(|name| schema.column(name).unwrap()).to_vec();
        let mut found = Vec::new();
        for batch in snapshot.scan(schema, &ScanRequest::new(0..=i64::MAX, columns)).unwrap() {
            let batch = batch.unwrap();
            for row in 0..batch.len() {
                let value = |column: usize| batch.columns()[column].value(row);
                let (ValueRef::U32(pid), ValueRef::Bool(flag)) = (value(0), value(2)) else {
                    panic!("{:?} {:?}", value(0), value(2));
                };
                let added = match value(1) {
                    ValueRef::U64(added) => Some(added),
                    ValueRef::Null => None,
                    other => panic!("{other:?}"),
                };
                found.push((pid, added, flag));
            }
        }
        found.sort_unstable();
        let mut expected = vec![(1, None, false), (2, None, false), (3, None, false)];
        expected.extend_from_slice(newest);
        assert_eq!(found, expected);
        assert_eq!(snapshot.damage(), []);
    };
    check(&[]);
    drop(writer); // Its journal is left to the later version.
    let (mut writer, opened) =
        Writer::open(dir.path(), TABLES, WriterOptions::new(BOOT_ID)).unwrap();
    assert_eq!(opened.recovered, []);
    let row =
        SampleEvents { pid: 9, time_ns: 9, note: String::new(), added: Some(u64::MAX), flag: true };
    writer.append([row]).unwrap();
    check(&[(9, Some(u64::MAX), true)]);
    writer.close().unwrap();
    check(&[(9, Some(u64::MAX), true)]);
}

/// Puts the segment and manifest that the first version wrote into a data folder.
fn first_version(dir: &std::path::Path) {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for folder in ["journal", "manifest", "segments/sample_events"] {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
    }
    let segment = dir.join("segments/sample_events/0-1.parquet");
    std::fs::copy(fixtures.join("segment-format-1.parquet"), segment).unwrap();
    std::fs::copy(fixtures.join("manifest-format-1"), dir.join("manifest/1")).unwrap();
}

/// What the first version wrote: 1,000 rows whose numbers are not in the order of their times.
fn first_rows() -> Vec<crate::fixture::SampleEvents> {
    let row = |number: i64| crate::fixture::SampleEvents {
        time_ns: 1_764_000_000_000_000_000 + (number * 7919 % 1000) * 1_000_000,
        ..crate::fixture::sample(number)
    };
    (0..1_000).map(row).collect()
}

#[test]
fn a_store_of_format_1_is_read_and_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    first_version(dir.path());
    assert_eq!(crate::fixture::rows(dir.path()), first_rows());
    let (mut writer, opened) = open(dir.path());
    let kinds: Vec<_> = opened.recovered.iter().map(|damage| damage.kind).collect();
    assert_eq!(kinds, [bygone_store::DamageKind::Leases], "the fixture has none");
    writer.append(samples(0..3)).unwrap();
    writer.close().unwrap();
    let expected: Vec<_> = first_rows().into_iter().chain(samples(0..3)).collect();
    assert_eq!(crate::fixture::rows(dir.path()), expected);
}

/// Without a manifest the segment speaks for itself.
#[test]
fn a_segment_of_format_1_describes_itself() {
    let dir = tempfile::tempdir().unwrap();
    first_version(dir.path());
    std::fs::remove_file(dir.path().join("manifest/1")).unwrap();
    let (writer, opened) = open(dir.path());
    writer.close().unwrap();
    let kinds: Vec<_> = opened.recovered.iter().map(|damage| damage.kind).collect();
    assert_eq!(kinds, [bygone_store::DamageKind::Adopted, bygone_store::DamageKind::Leases]);
    assert_eq!(crate::fixture::rows(dir.path()), first_rows());
}

/// Segments of both versions of the table are merged: eight of rows far out of time are enough.
#[test]
fn segments_of_two_versions_are_merged_by_name() {
    let dir = tempfile::tempdir().unwrap();
    first_version(dir.path());
    let row = |number: u32| SampleEvents {
        pid: number,
        time_ns: i64::from(number),
        note: format!("new {number}"),
        added: Some(u64::from(number)),
        flag: true,
    };
    for number in 0..8 {
        let options = WriterOptions::new(BOOT_ID);
        let (mut writer, _) = Writer::open(dir.path(), TABLES, options).unwrap();
        writer.append([row(number)]).unwrap();
        writer.close().unwrap();
    }
    for number in 8..16 {
        let (mut writer, _) = open(dir.path());
        writer.append(samples(number..number + 1)).unwrap();
        writer.close().unwrap();
    }
    let options = WriterOptions::new(BOOT_ID);
    let (mut writer, _) = Writer::open(dir.path(), TABLES, options).unwrap();
    assert!(writer.settle(std::time::Duration::from_secs(60)).unwrap());
    writer.close().unwrap();
    let names = crate::fixture::files(dir.path(), "segments");
    let merged = names.iter().filter(|path| path.to_string_lossy().contains("late-1-")).count();
    assert!(merged >= 1, "{names:?}");

    // The older version reads its own columns, also of rows that the newer wrote.
    let mut paths: Vec<_> = crate::fixture::rows(dir.path());
    assert_eq!(paths.len(), 1_016);
    paths.retain(|row| row.note.starts_with("new"));
    assert!(paths.iter().all(|row| row.path.is_none()) && paths.len() == 8, "{paths:?}");
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    let schema = SampleEvents::SCHEMA;
    let columns = ["added", "flag"].map(|name| schema.column(name).unwrap()).to_vec();
    let mut added = Vec::new();
    for batch in snapshot.scan(schema, &ScanRequest::new(i64::MIN..=i64::MAX, columns)).unwrap() {
        let batch = batch.unwrap();
        for row in 0..batch.len() {
            match (batch.columns()[0].value(row), batch.columns()[1].value(row)) {
                (ValueRef::U64(number), ValueRef::Bool(true)) => added.push(number),
                (ValueRef::Null, ValueRef::Bool(false)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    added.sort_unstable();
    assert_eq!(added, (0..8).collect::<Vec<_>>());
    assert_eq!(snapshot.damage(), []);
}
