//! State tables, a store with rows in segments and in a journal, and short ways to ask it.

use std::path::Path;

use bygone_store::sql::{ScanFailure, Session, SessionOptions, StateTableEntry};
use bygone_store::{Computed, EventTable, StateTable, TableSchema, Writer, WriterOptions, guid};
use rusqlite::types::Value;
use tempfile::TempDir;

pub(crate) use crate::control::{BOOT_ID, CLOCK_OFFSET_NS, Collect, Others, Samples, run};

/// A state table.
#[derive(Clone, Debug, StateTable)]
#[expect(dead_code, reason = "computed fields hold nothing to be read")]
pub(crate) struct Letters {
    /// Number of the letter.
    pub(crate) id: u32,
    /// Name of the letter.
    pub(crate) name: String,
    /// A number that all letters have.
    pub(crate) start_ns: u64,
    /// Identity.
    #[column(guid(id, start_ns))]
    pub(crate) guid: Computed,
    /// Not shown.
    #[column(hidden)]
    pub(crate) secret: Option<i32>,
}

/// A state table that cannot be read.
#[derive(Debug, StateTable)]
pub(crate) struct Broken {
    /// Never seen.
    pub(crate) id: u32,
}

pub(crate) static EVENTS: &[&TableSchema] =
    &[Samples::SCHEMA, Others::SCHEMA, crate::events::Wide::SCHEMA];

pub(crate) static STATES: &[StateTableEntry] = &[
    StateTableEntry::new::<Letters>(letters),
    StateTableEntry::new::<Broken>(|| Err("the file is locked".into())),
];

#[expect(clippy::unnecessary_wraps, reason = "the type of every scan")]
fn letters() -> Result<Vec<Letters>, ScanFailure> {
    let names = ["alpha", "beta", "gamma", "alpha"];
    let letter = |(id, name): (u32, &str)| Letters {
        id,
        name: name.to_owned(),
        start_ns: 7,
        guid: Computed,
        secret: (id % 2 == 0).then_some(-1),
    };
    Ok((0..).zip(names).map(letter).collect())
}

/// A folder with a store in it and the store's writer.
pub(crate) struct Store {
    pub(crate) dir: TempDir,
    pub(crate) writer: Writer,
}

impl Store {
    /// A store whose journals are sealed once they hold this many bytes.
    pub(crate) fn new(journal_bytes_max: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let mut options = WriterOptions::new(BOOT_ID);
        options.journal_bytes_max = journal_bytes_max;
        let (mut writer, _) = Writer::open(dir.path(), EVENTS, options).unwrap();
        writer.set_clock_offset(CLOCK_OFFSET_NS);
        Self { dir, writer }
    }

    pub(crate) fn append<T: EventTable>(&mut self, rows: Vec<T>) {
        self.writer.append(rows).unwrap();
    }

    pub(crate) fn session(&self) -> Session {
        session(self.dir.path())
    }
}

/// A session on a folder.
pub(crate) fn session(dir: &Path) -> Session {
    let options = SessionOptions { data_dir: dir.to_owned(), events: EVENTS, states: STATES };
    Session::open(options).unwrap()
}

/// A row, to be changed where a test cares.
pub(crate) fn sample(time_ns: i64, pid: u32) -> Samples {
    Samples {
        pid,
        start_ns: u64::from(pid) * 10,
        guid: Computed,
        name: format!("name {pid}"),
        label: None,
        score: 0.5,
        level: None,
        flag: pid.is_multiple_of(2),
        big: 0,
        data: None,
        time_ns,
        uptime: Computed,
    }
}

/// Likewise.
pub(crate) fn other(time_ns: i64, pid: u32) -> Others {
    Others {
        time_ns,
        pid: Some(pid),
        start_ns: Some(u64::from(pid) * 10),
        guid: Computed,
        name: format!("name {pid}"),
        level: None,
    }
}

/// The guid that `sample(_, pid)` has.
pub(crate) fn sample_guid(pid: u32) -> String {
    guid(&BOOT_ID, pid, u64::from(pid) * 10)
}

/// The rows of a statement.
pub(crate) fn rows(session: &Session, sql: &str) -> Vec<Vec<Value>> {
    run(session, sql).unwrap_or_else(|error| panic!("{sql}: {error}")).0.rows
}

/// The rows of a statement of one integer column.
pub(crate) fn integers(session: &Session, sql: &str) -> Vec<i64> {
    let integer = |row: Vec<Value>| match row.as_slice() {
        [Value::Integer(value)] => *value,
        other => panic!("{sql}: {other:?}"),
    };
    rows(session, sql).into_iter().map(integer).collect()
}

/// The lines of `EXPLAIN QUERY PLAN` that tell of scans.
pub(crate) fn plan(session: &Session, sql: &str) -> Vec<String> {
    let detail = |row: Vec<Value>| match row.last() {
        Some(Value::Text(text)) => text.clone(),
        other => panic!("{sql}: {other:?}"),
    };
    let all = rows(session, &format!("EXPLAIN QUERY PLAN {sql}")).into_iter().map(detail);
    all.filter(|line| line.contains("VIRTUAL TABLE")).collect()
}
