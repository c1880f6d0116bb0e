//! Closing and opening again.

use bygone_store::{
    DamageKind, EventTable, ReadError, Reader, RowParts, ScanRequest, ValueRef, VerifyRequest,
};

use crate::fixture::{
    OtherEvents, SampleEvents, count, files, open, open_small, read, read_snapshot, rows, sample,
    samples,
};

#[test]
fn rows_are_there_at_once_and_after_every_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let (mut writer, opened) = open(dir.path());
        assert_eq!(opened.first_start, round == 0);
        assert!(opened.recovered.is_empty(), "{:?}", opened.recovered);
        let appended = writer.append(samples(round * 100..round * 100 + 100)).unwrap().unwrap();
        let (first, last) = (round * 100 + 1, round * 100 + 100);
        assert_eq!((appended.first_eid, appended.last_eid, appended.rows), (first, last, 100));
        assert_eq!(rows(dir.path()), samples(0..round * 100 + 100), "before a sync");
        let synced = writer.sync().unwrap();
        assert_eq!(synced.last_eid, [("sample_events", last), ("other_events", 0)]);
        writer.close().unwrap();
        assert_eq!(rows(dir.path()), samples(0..round * 100 + 100), "sealed");
        assert_eq!(files(dir.path(), "journal"), [] as [std::path::PathBuf; 0]);
        assert_eq!(files(dir.path(), "segments").len() as i64, round + 1);
    }
    let (numbered, _) = read(dir.path());
    let eids: Vec<i64> = numbered.iter().map(|(eid, _)| *eid).collect();
    assert_eq!(eids, (1..=300).collect::<Vec<_>>(), "a clean stop skips no number");
}

#[test]
fn nothing_appended_is_nothing_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    assert_eq!(writer.append(samples(0..0)).unwrap(), None);
    writer.close().unwrap();
    assert_eq!(files(dir.path(), "segments"), [] as [std::path::PathBuf; 0]);
    assert_eq!(rows(dir.path()), []);
}

#[test]
fn a_folder_without_history_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let error = Reader::open(dir.path()).unwrap_err();
    assert!(matches!(error, ReadError::NotAStore { .. }), "{error}");
    let error = Reader::open(&dir.path().join("missing")).unwrap_err();
    assert!(matches!(error, ReadError::NotAStore { .. }), "{error}");
}

/// What the segments say of themselves is read, and a start makes a manifest of it.
#[test]
fn a_manifest_that_is_gone_is_told_and_its_segments_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    writer.append(samples(0..50)).unwrap();
    writer.close().unwrap();
    std::fs::remove_dir_all(dir.path().join("manifest")).unwrap();
    let (found, damage) = read(dir.path());
    assert_eq!(found.len(), 50);
    let kinds: Vec<_> = damage.iter().map(|damage| damage.kind).collect();
    assert_eq!(kinds, [DamageKind::ManifestBroken]);
    let verify = || {
        let reader = Reader::open(dir.path()).unwrap();
        reader.verify(&VerifyRequest::default(), |_, _| {}).unwrap().faults
    };
    let faults = verify();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].to_string(), "manifest/1, entry 1: the manifest is missing");
    let (writer, opened) = open(dir.path());
    let kinds: Vec<_> = opened.recovered.iter().map(|damage| damage.kind).collect();
    assert_eq!(kinds, [DamageKind::Adopted]);
    writer.close().unwrap();
    assert_eq!(rows(dir.path()), samples(0..50));
    assert_eq!(verify(), []);
}

/// From when on rows may be missing is then known by the files alone.
#[test]
fn a_damaged_heartbeat_says_when_was_written_last() {
    let dir = tempfile::tempdir().unwrap();
    let now_ns = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as i64
    };
    let (mut writer, _) = open(dir.path());
    writer.append(samples(0..50)).unwrap();
    writer.heartbeat(&[("test", 1)]).unwrap();
    let before = now_ns();
    writer.close().unwrap();
    std::fs::write(dir.path().join("heartbeat"), [7; 1000]).unwrap();
    let (writer, opened) = open(dir.path());
    writer.close().unwrap();
    let [damage] = opened.recovered.as_slice() else { panic!("{:?}", opened.recovered) };
    assert_eq!(damage.kind, DamageKind::Heartbeat);
    let (from, to) = damage.time_ns.unwrap();
    assert!((before..=to).contains(&from) && to <= now_ns(), "{from} {to}");
}

#[test]
fn heartbeats_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, opened) = open(dir.path());
    assert_eq!(opened.last_heartbeat, []);
    writer.heartbeat(&[("process_ebpf", 1), ("file_inotify", 2)]).unwrap();
    writer.heartbeat(&[("process_ebpf", 3), ("file_inotify", 4)]).unwrap();
    let expected = [("process_ebpf".to_owned(), 3), ("file_inotify".to_owned(), 4)];
    assert_eq!(Reader::open(dir.path()).unwrap().heartbeat().unwrap(), expected);
    drop(writer);
    let (_, opened) = open(dir.path());
    assert_eq!(opened.last_heartbeat, expected);
}

#[test]
fn ranges_are_exact_in_journals_and_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open_small(dir.path(), 4 << 10);
    let mut shuffled = samples(0..1_000);
    shuffled.sort_by_key(|row| row.pid.wrapping_mul(2_654_435_761));
    for rows in shuffled.chunks(17) {
        writer.append(rows.to_vec()).unwrap();
    }
    let check = |from: i64, to: i64| {
        let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
        let mut found: Vec<_> =
            read_snapshot(&snapshot, from, to).into_iter().map(|(_, row)| row).collect();
        found.sort_by_key(|row| row.time_ns);
        let expected: Vec<_> = samples(0..1_000)
            .into_iter()
            .filter(|row| (from..=to).contains(&row.time_ns))
            .collect();
        assert_eq!(found, expected, "{from}..={to}");
        assert_eq!(count(&snapshot, from, to), expected.len(), "{from}..={to}");
        let estimate = snapshot.estimate(SampleEvents::SCHEMA, &(from..=to));
        assert!(estimate.rows as usize >= expected.len(), "{estimate:?}");
    };
    let bounds = [i64::MIN, -1, 0, 999, 1_000, 1_001, 500_000, 998_999, 999_000, 999_001, i64::MAX];
    let check_all =
        || bounds.iter().for_each(|from| bounds.iter().for_each(|to| check(*from, *to)));
    check_all();
    writer.close().unwrap();
    check_all();
}

#[test]
fn any_selection_of_columns_is_read_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    let rows: Vec<_> =
        (0..10).map(|n| OtherEvents { time_ns: n, value: (n % 2 == 0).then_some(0.5) }).collect();
    writer.append(rows).unwrap();
    writer.set_clock_offset(-77);
    writer.append([OtherEvents { time_ns: 10, value: None }]).unwrap();
    let check = || {
        let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
        let schema = OtherEvents::SCHEMA;
        let time = schema.column("time_ns").unwrap();
        let value = schema.column("value").unwrap();
        for columns in [vec![], vec![value], vec![time], vec![value, time], vec![time, time]] {
            for range in [0..=10, 3..=7, 10..=10] {
                let request = ScanRequest {
                    parts: RowParts { time_ns: false, eid: false, boot: true },
                    ..ScanRequest::new(range.clone(), columns.clone())
                };
                let mut rows = 0;
                for batch in snapshot.scan(schema, &request).unwrap() {
                    let batch = batch.unwrap();
                    rows += batch.len();
                    assert_eq!(batch.columns().len(), columns.len());
                    assert!(batch.eid().is_none());
                    for (column, index) in batch.columns().iter().zip(&columns) {
                        assert_eq!(column.len(), batch.len());
                        let first = column.value(0);
                        let of_time = matches!(first, ValueRef::I64(_));
                        assert_eq!(of_time, *index == time, "{first:?}");
                    }
                    let offsets = batch.clock_offset_ns().unwrap();
                    let last = offsets.value(batch.len() - 1);
                    assert_eq!(last, if range.contains(&10) { -77 } else { 0 });
                }
                assert_eq!(rows as i64, range.end() - range.start() + 1, "{columns:?}");
            }
        }
        let computed = schema.column("eid").unwrap();
        let error = snapshot.scan(schema, &ScanRequest::new(0..=1, vec![computed])).unwrap_err();
        assert!(matches!(error, ReadError::Column { .. }), "{error}");
    };
    check();
    writer.close().unwrap();
    check();
}

/// A batch is bounded by bytes as well as by rows.
#[test]
fn a_batch_of_long_rows_has_few() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open_small(dir.path(), 64 << 20);
    let note = "x".repeat(1 << 20);
    let long = (0..12).map(|number| SampleEvents { note: note.clone(), ..sample(number) });
    writer.append(long).unwrap();
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    let schema = SampleEvents::SCHEMA;
    let request = ScanRequest::new(i64::MIN..=i64::MAX, vec![schema.column("note").unwrap()]);
    let batches = snapshot.scan(schema, &request).unwrap();
    let rows: Vec<usize> = batches.map(|batch| batch.unwrap().len()).collect();
    assert_eq!(rows.iter().sum::<usize>(), 12);
    assert!(rows.iter().all(|rows| *rows <= 4), "{rows:?}");
}
