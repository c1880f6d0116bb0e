//! More than one who wants to write.

use std::os::unix::fs::PermissionsExt;

use bygone_store::{
    EventTable, Holder, OpenError, Reader, Retention, TableSchema, Writer, WriterOptions,
};

use crate::fixture::{BOOT_ID, OtherEvents, SampleEvents, TABLES, open, rows, sample};

#[test]
fn a_second_writer_is_refused_with_the_first_ones_pid() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    writer.append([sample(1)]).unwrap();
    let error = Writer::open(dir.path(), TABLES, WriterOptions::new(BOOT_ID)).unwrap_err();
    let own = std::process::id();
    let OpenError::Locked { pid, .. } = &error else { panic!("{error}") };
    assert_eq!(*pid, Some(own));
    let expected = format!("{} is in use by process {own}", dir.path().display());
    assert_eq!(error.to_string(), expected);
    writer.append([sample(2)]).unwrap();
    drop(writer);
    open(dir.path()).0.close().unwrap();
    assert_eq!(rows(dir.path()), [sample(1), sample(2)]);
}

#[test]
fn readers_are_told_whether_someone_writes() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Holder::of(dir.path()).unwrap(), Holder::Nobody);
    let (writer, _) = open(dir.path());
    let holder =
        || Reader::open(dir.path()).unwrap().usage(&Retention::default(), 0).unwrap().holder;
    assert_eq!(holder(), Some(Holder::Process(Some(std::process::id()))));
    writer.close().unwrap();
    assert_eq!(holder(), Some(Holder::Nobody), "at once");
}

#[test]
fn the_folder_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("a/b");
    let (writer, _) = open(&store);
    writer.close().unwrap();
    for path in [store.clone(), store.join("journal"), store.join("manifest")] {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", path.display());
    }
}

#[test]
fn tables_that_cannot_be_told_apart_are_refused() {
    static TWICE: &[&TableSchema] = &[SampleEvents::SCHEMA, SampleEvents::SCHEMA];
    static ONE: &[&TableSchema] = &[SampleEvents::SCHEMA];
    let dir = tempfile::tempdir().unwrap();
    let error = Writer::open(dir.path(), TWICE, WriterOptions::new(BOOT_ID)).unwrap_err();
    assert!(matches!(error, OpenError::Table { table: "sample_events", .. }), "{error}");
    let (mut writer, _) = Writer::open(dir.path(), ONE, WriterOptions::new(BOOT_ID)).unwrap();
    let error = writer.append([OtherEvents { time_ns: 1, value: None }]).unwrap_err();
    assert_eq!(error.to_string(), "the store was not opened with table other_events");
}
