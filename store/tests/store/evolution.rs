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
