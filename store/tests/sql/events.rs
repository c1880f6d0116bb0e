//! Tables of events: times, columns, joins, and what a statement sees while a writer appends.

use std::io;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use bygone_store::sql::{ResultColumn, ResultSink};
use bygone_store::{DamageKind, EventTable};
use rusqlite::types::{Value, ValueRef};

use crate::fixture::{
    BOOT_ID, CLOCK_OFFSET_NS, Collect, Store, integers, other, plan, rows, run, sample, sample_guid,
};

macro_rules! wide {
    ($($column:ident)*) => {
        /// More columns than SQLite tells apart; each is named after its index.
        #[derive(Clone, Debug, EventTable)]
        pub(crate) struct Wide {
            /// When.
            #[column(time)]
            pub(crate) time_ns: i64,
            $(
                /// A number.
                pub(crate) $column: i32,
            )*
        }

        impl Wide {
            /// Every column holds its index.
            fn indices() -> Self {
                let number = |name: &str| name.trim_start_matches('c').parse().unwrap();
                Self { time_ns: 1, $($column: number(stringify!($column)),)* }
            }
        }
    };
}

wide! {
    c02 c03 c04 c05 c06 c07 c08 c09 c10 c11 c12 c13 c14 c15
    c16 c17 c18 c19 c20 c21 c22 c23 c24 c25 c26 c27 c28 c29
    c30 c31 c32 c33 c34 c35 c36 c37 c38 c39 c40 c41 c42 c43
    c44 c45 c46 c47 c48 c49 c50 c51 c52 c53 c54 c55 c56 c57
    c58 c59 c60 c61 c62 c63 c64 c65 c66 c67 c68 c69
}

#[test]
fn columns_from_63_on_are_told_apart() {
    let mut store = Store::new(u64::MAX);
    store.append(vec![Wide::indices()]);
    let session = store.session();
    for column in 2..70_i64 {
        let sql = format!("SELECT c{column:02} FROM wide WHERE c{column:02} = {column}");
        assert_eq!(integers(&session, &sql), [column]);
    }
    assert_eq!(
        rows(&session, "SELECT c02, c62, c63, c64, c69, eid, boot_ns FROM wide"),
        [[2, 62, 63, 64, 69, 1, 1 - CLOCK_OFFSET_NS].map(Value::Integer)]
    );
    let all = rows(&session, "SELECT * FROM wide");
    assert_eq!(all, [(0..70).map(Value::Integer).collect::<Vec<_>>()]);
    let [low] = &*plan(&session, "SELECT c62 FROM wide") else { panic!("one scan") };
    assert!(low.ends_with(" READS c62"), "{low}");
    let [high] = &*plan(&session, "SELECT c64 FROM wide") else { panic!("one scan") };
    assert!(high.contains(" READS c63, c64, ") && high.ends_with("boot_id"), "{high}");
}

#[test]
fn computed_columns() {
    let mut store = Store::new(u64::MAX);
    store.append(vec![sample(-1, 7), sample(2_500_000_000, 8)]);
    let session = store.session();
    let text = |text: &str| Value::Text(text.to_owned());
    let boot_id = format!("{:032x}", u128::from_be_bytes(BOOT_ID));
    assert_eq!(
        rows(
            &session,
            "SELECT time, uptime, guid, eid, boot_ns, boot_id FROM samples ORDER BY eid"
        ),
        [
            vec![
                Value::Integer(-1),
                Value::Integer(-2),
                text(&sample_guid(7)),
                Value::Integer(1),
                Value::Integer(-1_000_000_001),
                text(&boot_id),
            ],
            vec![
                Value::Integer(2),
                Value::Integer(1),
                text(&sample_guid(8)),
                Value::Integer(2),
                Value::Integer(1_500_000_000),
                text(&boot_id),
            ],
        ]
    );
    let by_guid = format!("SELECT pid FROM samples WHERE guid = '{}'", sample_guid(8));
    assert_eq!(integers(&session, &by_guid), [8]);
    let other_boot = by_guid.replace("abcdef01", "abcdef02");
    assert_eq!(integers(&session, &other_boot), [0_i64; 0]);
}

/// Segments and a journal together.
fn mixed(rows: u32) -> Store {
    let mut store = Store::new(16 << 10);
    for first in (0..rows).step_by(100) {
        let pids = first..(first + 100).min(rows);
        store.append(pids.clone().map(|pid| sample(i64::from(pid) * 1_000, pid)).collect());
        store.append(pids.map(|pid| other(i64::from(pid) * 1_000, pid)).collect());
        store.writer.tick().unwrap();
    }
    store
}

#[test]
fn rows_of_segments_and_journals_are_each_seen_once() {
    let store = mixed(3000);
    let session = store.session();
    assert_eq!(
        rows(
            &session,
            "SELECT count(*), count(DISTINCT eid), min(pid), max(pid), sum(pid) FROM samples"
        ),
        [[3000, 3000, 0, 2999, 2999 * 1500].map(Value::Integer)]
    );
    let range = "SELECT count(*) FROM samples WHERE time_ns >= 1000000 AND time_ns < 2000000";
    assert_eq!(integers(&session, range), [1000]);
}

/// A thousand rows on each side of a join, and the time it may take when the inner side is not
/// read once per outer row: those reads alone would be a million rows of three columns each.
const JOIN_MAX: Duration = Duration::from_secs(10);

#[test]
fn joins_are_not_quadratic() {
    let store = mixed(3000);
    let session = store.session();
    let joins = [
        "SELECT count(*) FROM samples s JOIN others o ON s.guid = o.guid",
        "SELECT count(*) FROM samples s LEFT JOIN others o ON o.guid = s.guid WHERE o.pid IS NOT NULL",
        "SELECT count(*) FROM samples s JOIN others o ON s.name = o.name AND s.pid = o.pid",
        "SELECT count(*) FROM samples s WHERE EXISTS (SELECT 1 FROM others o WHERE o.guid = s.guid)",
    ];
    for sql in joins {
        let begun = Instant::now();
        assert_eq!(integers(&session, sql), [3000], "{sql}");
        let took = begun.elapsed();
        assert!(took < JOIN_MAX, "{sql} took {took:?}");
    }
}

/// Appends a row at each row it is given.
struct Appending<'a> {
    store: &'a mut Store,
    seen: Collect,
}

impl ResultSink for Appending<'_> {
    fn start(&mut self, columns: &[ResultColumn]) -> io::Result<()> {
        self.seen.start(columns)
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        self.store.append(vec![sample(5, 1000)]);
        self.seen.row(values)
    }

    fn end(&mut self) -> io::Result<()> {
        self.seen.end()
    }
}

#[test]
fn a_statement_sees_one_snapshot() {
    let mut store = Store::new(2 << 10);
    store.append((0..50).map(|pid| sample(i64::from(pid), pid)).collect());
    let session = store.session();
    // The inner count is a scan per outer row; the last one begins after 49 appends and seals.
    let sql = "SELECT (SELECT count(*) FROM samples b WHERE b.eid + a.eid > 0) FROM samples a";
    let mut sink = Appending { store: &mut store, seen: Collect::default() };
    session.execute(sql, &mut sink).unwrap();
    let counts: Vec<Value> = sink.seen.rows.into_iter().flatten().collect();
    assert_eq!(counts, vec![Value::Integer(50); 50]);
    assert_eq!(integers(&session, "SELECT count(*) FROM samples"), [100], "the next sees more");
}

#[test]
fn what_was_read_is_told() {
    let store = mixed(10);
    let session = store.session();
    let scanned = |sql: &str| run(&session, sql).unwrap().1.scanned;
    let whole: RangeInclusive<i64> = i64::MIN..=i64::MAX;
    assert_eq!(scanned("SELECT 1"), []);
    assert_eq!(scanned("SELECT * FROM letters"), []);
    assert_eq!(scanned("SELECT count(*) FROM samples"), [("samples", whole.clone())]);
    assert_eq!(
        scanned("SELECT count(*) FROM samples WHERE time >= 3 AND time_ns < 9000000000"),
        [("samples", 3_000_000_000..=8_999_999_999)]
    );
    assert_eq!(scanned("SELECT count(*) FROM samples WHERE time = 1 AND time = 2"), []);
    assert_eq!(
        scanned("SELECT count(*) FROM samples WHERE time IN (1, 2, 7)"),
        [("samples", 1_000_000_000..=2_999_999_999), ("samples", 7_000_000_000..=7_999_999_999)]
    );
    assert_eq!(
        scanned("SELECT 1 FROM samples WHERE time = 1; SELECT 1 FROM others"),
        [("samples", 1_000_000_000..=1_999_999_999), ("others", whole)]
    );
}

#[test]
fn damage_is_told() {
    let mut store = Store::new(u64::MAX);
    for pid in 0..20 {
        store.append(vec![sample(i64::from(pid), pid)]);
    }
    let journals = std::fs::read_dir(store.dir.path().join("journal")).unwrap();
    let journal = journals.map(|entry| entry.unwrap().path()).next().unwrap();
    let mut bytes = std::fs::read(&journal).unwrap();
    let middle = bytes.windows(6).position(|window| window == b"name 9").unwrap();
    bytes[middle] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    let (sink, executed) = run(&store.session(), "SELECT pid FROM samples ORDER BY pid").unwrap();
    assert_eq!(sink.rows.len(), 19);
    assert!(!sink.rows.contains(&vec![Value::Integer(9)]));
    let [damage] = &*executed.damage else { panic!("{:?}", executed.damage) };
    assert_eq!(damage.table.as_deref(), Some("samples"));
}

/// Takes the segments away at the first row.
struct Vanishing<'a> {
    store: &'a Store,
    rows: usize,
}

impl ResultSink for Vanishing<'_> {
    fn start(&mut self, _: &[ResultColumn]) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, _: &[ValueRef<'_>]) -> io::Result<()> {
        if self.rows == 0 {
            std::fs::remove_dir_all(self.store.dir.path().join("segments/samples"))?;
        }
        self.rows += 1;
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn segments_that_vanish_are_told_and_the_rest_is_given() {
    let mut store = Store::new(4 << 10);
    for first in (0..1000_u32).step_by(100) {
        store.append((first..first + 100).map(|pid| sample(i64::from(pid), pid)).collect());
        store.writer.tick().unwrap();
    }
    store.append((0..10).map(|pid| other(0, pid)).collect());
    assert!(store.writer.settle(JOIN_MAX).unwrap(), "nothing is sealed");
    let session = store.session();
    let mut sink = Vanishing { store: &store, rows: 0 };
    // The snapshot is pinned by the first row, and the segments are opened after it.
    let sql = "SELECT pid FROM others UNION ALL SELECT pid FROM samples";
    let executed = session.execute(sql, &mut sink).unwrap();
    assert!(sink.rows >= 10 && sink.rows < 1010, "{}", sink.rows);
    assert!(!executed.damage.is_empty());
    for damage in &executed.damage {
        assert_eq!(damage.kind, DamageKind::SegmentMissing, "{damage}");
    }
}
