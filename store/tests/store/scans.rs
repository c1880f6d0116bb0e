//! Scans against a plain evaluation in memory: whatever range, filters, order and columns are asked
//! for, a scan yields the rows that a walk over a vector finds.
//!
//! The rows are those of `mixed`: written by two versions of a table, in segments and in journals.

use std::ops::{Bound, RangeInclusive};
use std::sync::atomic::{AtomicUsize, Ordering};

use bygone_store::limits::FRAME_ROWS_MAX;
use bygone_store::{
    EventTable, Filter, FilterColumn, Order, ReadError, Reader, RowParts, ScanBatch, ScanRequest,
    Snapshot, Test, ValueRef, Writer, WriterOptions,
};
use proptest::prelude::*;
use rusqlite::Connection;

use crate::fixture::{BOOT_ID, SampleEvents, TABLES, files, samples};
use crate::mixed::{BIG, Row, SCHEMA, SIGNED, SMALL, Spread, Stretch, texts, write};

/// Whether a row passes a filter, as plainly as it can be said.
fn passes(sqlite: &Connection, row: &Row, filter: &Filter) -> bool {
    let value = match filter.column {
        FilterColumn::Stored(index) => row.value(index),
        FilterColumn::Eid => ValueRef::I64(row.eid),
        FilterColumn::BootId => ValueRef::Blob(&row.boot_id),
    };
    let value = match value {
        ValueRef::F64(real) if real.is_nan() => ValueRef::Null,
        other => other,
    };
    let integer = match value {
        ValueRef::Bool(value) => Some(i64::from(value)),
        ValueRef::I32(value) => Some(i64::from(value)),
        ValueRef::I64(value) => Some(value),
        ValueRef::U32(value) => Some(i64::from(value)),
        ValueRef::U64(value) => Some(value as i64),
        _ => None,
    };
    let text = match value {
        ValueRef::Text(text) => Some(text),
        _ => None,
    };
    let asked = |operator: &str, pattern: &str| {
        text.is_some_and(|text| {
            let sql = format!("SELECT ?1 {operator} ?2");
            sqlite.query_row(&sql, (text, pattern), |row| row.get(0)).unwrap()
        })
    };
    match &filter.test {
        Test::IsNull => value == ValueRef::Null,
        Test::IsNotNull => value != ValueRef::Null,
        Test::Integers(all) => integer.is_some_and(|integer| all.contains(&integer)),
        Test::IntegerRange(from, to) => {
            integer.is_some_and(|integer| *from <= integer && integer <= *to)
        }
        Test::Texts(all) => text.is_some_and(|text| all.iter().any(|known| **known == *text)),
        Test::TextRange(from, to) => text.is_some_and(|text| {
            let from_holds = match from {
                Bound::Included(from) => **from <= *text,
                Bound::Excluded(from) => **from < *text,
                Bound::Unbounded => true,
            };
            let to_holds = match to {
                Bound::Included(to) => *text <= **to,
                Bound::Excluded(to) => *text < **to,
                Bound::Unbounded => true,
            };
            from_holds && to_holds
        }),
        Test::Like(pattern) => asked("LIKE", pattern),
        Test::Glob(pattern) => asked("GLOB", pattern),
        Test::BootPrefix(prefix) => row.boot_id.starts_with(prefix),
    }
}

/// What the scan must yield, in the order asked for, by number where there is none.
fn expected(sqlite: &Connection, model: &[Row], request: &ScanRequest) -> Vec<String> {
    let wanted = |row: &&Row| {
        request.time.contains(&row.row.time_ns)
            && request.filters.iter().all(|filter| passes(sqlite, row, filter))
    };
    let mut rows: Vec<&Row> = model.iter().filter(wanted).collect();
    match request.order {
        Order::Any => rows.sort_by_key(|row| row.eid),
        Order::Ascending => rows.sort_by_key(|row| (row.row.time_ns, row.eid)),
        Order::Descending => {
            rows.sort_by_key(|row| std::cmp::Reverse((row.row.time_ns, row.eid)));
        }
    }
    let line = |row: &&Row| {
        let columns: Vec<_> = request.columns.iter().map(|index| row.value(*index)).collect();
        let boot = request.parts.boot.then_some(row.boot_id);
        let time = request.parts.time_ns.then_some(row.row.time_ns);
        format!("{} {time:?} {boot:?} {columns:?}", row.eid)
    };
    rows.iter().map(line).collect()
}

fn lines_of(batch: &ScanBatch, request: &ScanRequest) -> Vec<(i64, String)> {
    let line = |row: usize| {
        let columns: Vec<_> = batch.columns().iter().map(|column| column.value(row)).collect();
        let boot = request.parts.boot.then(|| batch.boot_id(row).unwrap());
        let time = request.parts.time_ns.then(|| batch.time_ns().unwrap().value(row));
        let eid = batch.eid_at(row).unwrap();
        if request.parts.eid {
            assert_eq!(batch.eid().unwrap().value(row), eid);
        }
        (eid, format!("{eid} {time:?} {boot:?} {columns:?}"))
    };
    assert_eq!(batch.eid_at(batch.len()), None);
    (0..batch.len()).map(line).collect()
}

fn found(snapshot: &Snapshot, request: &ScanRequest) -> Vec<String> {
    let batches = snapshot.scan(SCHEMA, request).unwrap().map(|batch| batch.unwrap());
    let mut lines: Vec<_> = batches.flat_map(|batch| lines_of(&batch, request)).collect();
    if request.order == Order::Any {
        lines.sort_by_key(|(eid, _)| *eid);
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

/// How many rows a scan yields that asks for nothing of them.
fn counted(snapshot: &Snapshot, request: &ScanRequest) -> usize {
    let parts = RowParts::default();
    let request = ScanRequest { columns: Vec::new(), parts, ..request.clone() };
    snapshot.scan(SCHEMA, &request).unwrap().map(|batch| batch.unwrap().len()).sum()
}

fn check(snapshot: &Snapshot, model: &[Row], requests: &[ScanRequest]) {
    let sqlite = Connection::open_in_memory().unwrap();
    for request in requests {
        let expected = expected(&sqlite, model, request);
        assert_eq!(counted(snapshot, request), expected.len(), "{request:?}");
        if request.filters.is_empty() {
            let count = snapshot.count(SCHEMA, &request.time).unwrap();
            assert_eq!(count, expected.len() as u64, "{request:?}");
        }
        let found = found(snapshot, request);
        let difference = found.iter().zip(&expected).position(|(found, wanted)| found != wanted);
        if let Some(at) = difference {
            panic!("row {at} of {request:?}: {} instead of {}", found[at], expected[at]);
        }
        assert_eq!(found.len(), expected.len(), "{request:?}");
    }
    assert_eq!(snapshot.damage(), []);
}

fn column(name: &str) -> FilterColumn {
    FilterColumn::Stored(SCHEMA.column(name).unwrap())
}

fn text() -> impl Strategy<Value = Box<str>> {
    let known = prop::sample::select(texts()).prop_map(String::into_boxed_str);
    prop_oneof![3 => known, 1 => "name [0-9]{1,3}".prop_map(String::into_boxed_str)]
}

fn text_bound() -> impl Strategy<Value = Bound<Box<str>>> {
    prop_oneof![
        text().prop_map(Bound::Included),
        text().prop_map(Bound::Excluded),
        Just(Bound::Unbounded),
    ]
}

fn text_test() -> impl Strategy<Value = Test> {
    let patterns = ["/usr%", "%bin%", "%SH", "%ä%", "name 1_", "", "%", "/very/long%zz", "name%9%"];
    let globs = ["/usr*", "*bin*", "*sh", "*ä*", "name 1?", "", "*", "/very/long*", "[a-n]*[0-4]"];
    prop_oneof![
        3 => prop::collection::btree_set(text(), 0..4)
            .prop_map(|texts| Test::Texts(texts.into_iter().collect())),
        2 => (text_bound(), text_bound()).prop_map(|(from, to)| Test::TextRange(from, to)),
        1 => prop::sample::select(patterns.to_vec()).prop_map(|like| Test::Like(like.into())),
        1 => prop::sample::select(globs.to_vec()).prop_map(|glob| Test::Glob(glob.into())),
    ]
}

fn integer_test(integers: Vec<i64>) -> impl Strategy<Value = Test> {
    let some = prop::sample::select(integers);
    let all = prop::collection::btree_set(some.clone(), 0..4);
    prop_oneof![
        all.prop_map(|all| Test::Integers(all.into_iter().collect())),
        (some.clone(), some).prop_map(|(from, to)| Test::IntegerRange(from, to)),
    ]
}

fn null_test() -> impl Strategy<Value = Test> {
    prop::sample::select(vec![Test::IsNull, Test::IsNotNull])
}

fn filter(rows: i64) -> impl Strategy<Value = Filter> {
    let integers =
        |name: &'static str, all: Vec<i64>| (Just(column(name)), integer_test(all)).boxed();
    let numbers = |max: i64| (0..20).map(|part| part * max / 20).collect::<Vec<i64>>();
    let of = prop_oneof![
        3 => (prop::sample::select(vec![column("path"), column("name")]), text_test()),
        2 => integers("pid", (0..12).collect()),
        1 => integers("pid", numbers(rows / 50 + 1)),
        1 => integers("signed", SIGNED.to_vec()),
        1 => integers("big", BIG.map(|big| big as i64).to_vec()),
        1 => integers("small", SMALL.map(i64::from).to_vec()),
        1 => integers("flag", vec![-1, 0, 1, 2]),
        1 => integers("time_ns", numbers(rows / 3 + 1)),
        2 => (Just(FilterColumn::Eid), integer_test(numbers(rows + 1))),
        1 => (Just(FilterColumn::BootId), prop::collection::vec(0u8..3, 0..2).prop_map(Test::BootPrefix)),
        1 => (prop::sample::select(vec![FilterColumn::Eid, FilterColumn::BootId]), null_test()),
        2 => (prop::sample::select(SCHEMA.stored().map(|(index, ..)| FilterColumn::Stored(index)).collect::<Vec<_>>()), null_test()),
    ];
    of.prop_map(|(column, test)| Filter { column, test })
}

fn times(rows: i64) -> impl Strategy<Value = RangeInclusive<i64>> {
    let end = rows / 3 + 10;
    prop_oneof![
        Just(i64::MIN..=i64::MAX),
        (-20..end, -20..end).prop_map(|(from, to)| from..=to),
        (-20..end, 0..30i64).prop_map(|(from, length)| from..=from + length),
    ]
}

fn request(rows: i64) -> impl Strategy<Value = ScanRequest> {
    let stored: Vec<usize> = SCHEMA.stored().map(|(index, ..)| index).collect();
    let columns = prop::sample::subsequence(stored.clone(), 0..=stored.len()).prop_shuffle();
    let orders = vec![Order::Any, Order::Ascending, Order::Descending];
    let filters = prop::collection::vec(filter(rows), 0..3);
    let parts = (any::<bool>(), any::<bool>()).prop_map(|(time_ns, boot)| RowParts {
        time_ns,
        eid: true,
        boot,
    });
    (times(rows), columns, parts, filters, prop::sample::select(orders)).prop_map(
        |(time, columns, parts, filters, order)| ScanRequest {
            time,
            columns,
            parts,
            filters,
            order,
        },
    )
}

fn stretch() -> impl Strategy<Value = Stretch> {
    (any::<bool>(), 0usize..1_500, any::<bool>()).prop_map(|(older, rows, sealed)| Stretch {
        older,
        rows,
        sealed,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn scans_find_what_a_walk_finds(
        seed in any::<u64>(),
        jitter in 0u64..400,
        stretches in prop::collection::vec(stretch(), 1..5),
        requests in prop::collection::vec(request(3_000), 1..12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let spread = Spread { per_step: 3, jitter, distinct: 12 };
        let model = write(dir.path(), seed, spread, &stretches);
        let reader = Reader::open(dir.path()).unwrap();
        check(&reader.snapshot().unwrap(), &model, &requests);
        // Again from rows that are kept: all of them, and so few that they displace each other.
        for bytes_max in [64 << 20, 300 << 10] {
            let snapshot = reader.snapshot().unwrap();
            snapshot.keep_decoded(bytes_max);
            check(&snapshot, &model, &requests);
            check(&snapshot, &model, &requests);
        }
    }
}

/// Enough rows for several pages and row groups, more different texts than a dictionary takes, and
/// journals beside them.
#[test]
fn scans_of_large_segments_find_what_a_walk_finds() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let dir = tempfile::tempdir().unwrap();
    let stretch = |older, rows, sealed| Stretch { older, rows, sealed };
    let stretches =
        [stretch(true, 3_000, true), stretch(false, 140_000, true), stretch(false, 9_000, false)];
    let spread = Spread { per_step: 3, jitter: 50, distinct: 100_000 };
    let model = write(dir.path(), 7, spread, &stretches);
    let reader = Reader::open(dir.path()).unwrap();
    let mut runner = TestRunner::deterministic();
    let requests = prop::collection::vec(request(150_000), 36);
    let requests = requests.new_tree(&mut runner).unwrap().current();
    check(&reader.snapshot().unwrap(), &model, &requests);
    let snapshot = reader.snapshot().unwrap();
    snapshot.keep_decoded(64 << 20);
    check(&snapshot, &model, &requests[..12]);
}

/// How often a snapshot asks whether to stop before `run` is through. Told to at any of these, it
/// stops.
fn asks<T>(reader: &Reader, run: impl Fn(&Snapshot) -> Result<T, ReadError>) -> usize {
    let stops = |asks: usize| {
        let (snapshot, left) = (reader.snapshot().unwrap(), AtomicUsize::new(asks));
        snapshot.stop_when(move || {
            let still = |left: usize| left.checked_sub(1);
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, still).is_err()
        });
        match run(&snapshot) {
            Ok(_) => false,
            Err(ReadError::Stopped) => true,
            Err(error) => panic!("{error}"),
        }
    };
    (0..).find(|asks| !stops(*asks)).unwrap()
}

/// Also where no batch is yielded: it is asked for each segment, row group and run of frames.
#[test]
fn counts_and_kept_rows_stop_when_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let stretch = |rows, sealed| Stretch { older: false, rows, sealed };
    let stretches = [stretch(3_000, true), stretch(3_000, true), stretch(40_000, false)];
    write(dir.path(), 7, Spread { per_step: 3, jitter: 50, distinct: 12 }, &stretches);
    let reader = Reader::open(dir.path()).unwrap();
    let segments = reader.snapshot().unwrap().segments().count();
    let frames = 40_000 / FRAME_ROWS_MAX as usize / 2;
    let all = asks(&reader, |snapshot| snapshot.count(SCHEMA, &(i64::MIN..=i64::MAX)));
    assert!(all >= segments + frames, "{all} for {segments} segments");
    let small = SCHEMA.column("small").unwrap();
    let request = ScanRequest::new(i64::MIN..=i64::MAX, vec![small]);
    let kept = asks(&reader, |snapshot| {
        snapshot.keep_decoded(64 << 20);
        snapshot.scan(SCHEMA, &request)
    });
    assert!(kept > 2 * segments, "{kept} for {segments} segments");
}

/// What is read ahead on another thread comes whole and in order, a scan may end early, and what is
/// damaged there is reported as anywhere.
#[test]
fn long_scans_read_ahead() {
    use std::os::unix::fs::FileExt;

    use parquet::file::reader::{FileReader, SerializedFileReader};

    const ROWS: i64 = 450_000;
    let dir = tempfile::tempdir().unwrap();
    let mut options = WriterOptions::new(BOOT_ID);
    options.journal_bytes_max = 1 << 30;
    let (mut writer, _) = Writer::open(dir.path(), TABLES, options).unwrap();
    for start in (0..ROWS).step_by(10_000) {
        writer.append(samples(start..start + 10_000)).unwrap();
    }
    writer.close().unwrap();
    let schema = SampleEvents::SCHEMA;
    let time = schema.time.unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let request = |order| ScanRequest {
        order,
        ..ScanRequest::new(i64::MIN..=i64::MAX, vec![time, schema.column("note").unwrap()])
    };
    for order in [Order::Any, Order::Ascending, Order::Descending] {
        let snapshot = reader.snapshot().unwrap();
        let mut times: Vec<i64> = Vec::new();
        for batch in snapshot.scan(schema, &request(order)).unwrap() {
            times.extend(batch.unwrap().time_ns().unwrap().values());
        }
        if order == Order::Descending {
            times.reverse();
        }
        assert_eq!(times, (0..ROWS).map(|number| number * 1_000).collect::<Vec<_>>());
        let mut scan = snapshot.scan(schema, &request(order)).unwrap();
        let some: usize = scan.by_ref().take(12).map(|batch| batch.unwrap().len()).sum();
        assert!(some < 100_000, "{some}");
        drop(scan);
        assert_eq!(snapshot.damage(), []);
    }

    // The second half of the third row group's notes, headers of pages included.
    let segment = files(dir.path(), "segments").remove(0);
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&segment).unwrap();
    let metadata = SerializedFileReader::new(file.try_clone().unwrap()).unwrap();
    let notes = metadata.metadata().row_group(2).columns().iter();
    let notes = notes.clone().find(|chunk| chunk.column_path().string() == "note").unwrap();
    let (start, bytes) = notes.byte_range();
    file.write_all_at(&vec![0xA5; bytes as usize / 2], start + bytes / 2).unwrap();
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    let batches = snapshot.scan(schema, &request(Order::Any)).unwrap();
    let rows: usize = batches.map(|batch| batch.unwrap().len()).sum();
    let damage = snapshot.damage();
    assert_eq!(damage.len(), 1, "{damage:?}");
    let lost = damage[0].rows.unwrap() as usize;
    // What was read of a row group before its damage was found stays.
    assert!(rows < ROWS as usize && rows + lost >= ROWS as usize, "{rows} and {lost}");
    assert!(lost < ROWS as usize / 2, "the other row groups are read");
}

#[test]
fn a_filter_that_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let spread = Spread { per_step: 1, jitter: 0, distinct: 1 };
    write(dir.path(), 1, spread, &[Stretch { older: false, rows: 1, sealed: false }]);
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    let refused = |column, test| {
        let filters = vec![Filter { column, test }];
        let request = ScanRequest { filters, ..ScanRequest::new(0..=9, Vec::new()) };
        snapshot.scan(SCHEMA, &request).err().map(|error| error.to_string())
    };
    let wrong_type = |name: &str| {
        Some(format!("column {name} of table mixed_events has another type than its filter"))
    };
    assert_eq!(refused(column("path"), Test::Integers(vec![1])), wrong_type("path"));
    assert_eq!(refused(column("pid"), Test::Texts(vec!["1".into()])), wrong_type("pid"));
    assert_eq!(refused(column("ratio"), Test::IntegerRange(0, 1)), wrong_type("ratio"));
    assert_eq!(refused(column("bytes"), Test::Glob("*".into())), wrong_type("bytes"));
    assert_eq!(refused(FilterColumn::Eid, Test::Like("1%".into())), wrong_type("eid"));
    assert_eq!(refused(FilterColumn::BootId, Test::Integers(vec![1])), wrong_type("boot_id"));
    assert_eq!(refused(column("pid"), Test::BootPrefix(vec![1])), wrong_type("pid"));
    let computed = SCHEMA.column("time").unwrap();
    for index in [computed, 1_000] {
        let request = ScanRequest {
            filters: vec![Filter { column: FilterColumn::Stored(index), test: Test::IsNull }],
            ..ScanRequest::new(0..=9, Vec::new())
        };
        let error = snapshot.scan(SCHEMA, &request).unwrap_err();
        assert!(matches!(error, ReadError::Column { index: refused, .. } if refused == index));
    }
    assert_eq!(refused(column("pid"), Test::Integers(vec![1])), None);
}
