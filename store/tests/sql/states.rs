//! State tables: read once per statement, joined by index, with identity.

use std::sync::atomic::{AtomicU32, Ordering};

use bygone_store::sql::{Session, SessionOptions, StateTableEntry};
use bygone_store::{StateTable, guid};
use rusqlite::types::Value;
use tempfile::TempDir;

use crate::fixture::{BOOT_ID, STATES, integers, rows};

/// Counts how often it is read.
#[derive(StateTable)]
struct Counted {
    /// The number of the scan.
    scan: u32,
    /// The number of the row.
    row: i64,
}

static SCANS: AtomicU32 = AtomicU32::new(0);

static COUNTED: &[StateTableEntry] = &[StateTableEntry::new::<Counted>(|| {
    let scan = SCANS.fetch_add(1, Ordering::Relaxed);
    Ok((0..2000).map(|row| Counted { scan, row }).collect())
})];

fn session(states: &'static [StateTableEntry]) -> Session {
    let dir = TempDir::new().unwrap();
    Session::open(SessionOptions { data_dir: dir.path().to_owned(), events: &[], states }).unwrap()
}

#[test]
fn a_statement_reads_a_state_table_once() {
    let session = session(COUNTED);
    let before = SCANS.load(Ordering::Relaxed);
    let join = "SELECT count(*) FROM counted a JOIN counted b ON a.row = b.row AND a.scan = b.scan";
    assert_eq!(integers(&session, join), [2000]);
    assert_eq!(SCANS.load(Ordering::Relaxed), before + 1);
    let full = "SELECT count(*) FROM counted a FULL JOIN counted b ON a.row = b.row + 1000";
    assert_eq!(integers(&session, full), [3000]);
    assert_eq!(SCANS.load(Ordering::Relaxed), before + 2, "each statement reads anew");
}

#[test]
fn all_types_of_columns() {
    let session = session(STATES);
    let text = |text: &str| Value::Text(text.to_owned());
    assert_eq!(
        rows(&session, "SELECT *, secret FROM letters WHERE id = 2"),
        [[Value::Integer(2), text("gamma"), Value::Integer(7), Value::Null, Value::Integer(-1)]],
        "without a boot id there is no identity"
    );
    let nameless = "SELECT id FROM letters WHERE guid IS NULL ORDER BY id";
    assert_eq!(integers(&session, nameless), [0, 1, 2, 3]);
    let session = session.with_boot_id(BOOT_ID);
    let identity = guid(&BOOT_ID, 2, 7);
    let sql = format!("SELECT id, guid FROM letters WHERE guid = '{identity}'");
    assert_eq!(rows(&session, &sql), [[Value::Integer(2), text(&identity)]]);
    assert_eq!(integers(&session, "SELECT id FROM letters WHERE guid IS NULL"), [0_i64; 0]);
}

#[test]
fn equal_rows_stay_apart() {
    let session = session(STATES);
    let sql = "SELECT l.id FROM (SELECT 9 AS x) FULL JOIN letters l ON l.name = x ORDER BY 1";
    let ids: Vec<Value> = rows(&session, sql).into_iter().flatten().collect();
    let expected = [Value::Null, 0.into(), 1.into(), 2.into(), 3.into()];
    assert_eq!(ids, expected);
    let either = "SELECT id FROM letters WHERE name = 'alpha' OR id = 0 OR name = 'gamma' \
                  ORDER BY id";
    assert_eq!(integers(&session, either), [0, 2, 3]);
}
