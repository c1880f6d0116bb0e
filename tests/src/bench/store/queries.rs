//! The questions that are asked of all stores.

use bygone::tables::events::process_events::ProcessEvents;
use bygone_store::EventTable;

use super::marks::Marks;
use crate::bench::generator::{NEEDLE_FAR, NEEDLE_NEAR, NEEDLE_WORD};

/// What a measure is to reach.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// Milliseconds at most, with this many rows in the table.
    Milliseconds(f64),
    /// Nanoseconds at most per row of the table.
    NanosecondsPerRow(f64),
    /// At most this part of SQLite's time.
    OfSqlite(f64),
    /// At most this part of the time of SQLite without an index.
    OfSqliteWithoutIndex(f64),
}

/// One question.
#[derive(Debug)]
pub(super) struct Query {
    /// What it is called in the report.
    pub(super) name: &'static str,
    /// The statement for Bygone and, unless they say otherwise, for the others.
    pub(super) sql: String,
    /// The statement for SQLite and DuckDB where it cannot be the same.
    pub(super) others: Option<String>,
    /// Whether SQLite is asked again once it has indexes made for the question.
    pub(super) indexed: bool,
    /// Rows of the table that it is about.
    pub(super) rows: usize,
    pub(super) targets: Vec<Target>,
}

impl Query {
    fn new(name: &'static str, sql: String, rows: usize, targets: &[Target]) -> Self {
        let targets = targets.to_vec();
        Self { name, sql, others: None, indexed: false, rows, targets }
    }

    /// The statement for stores other than Bygone.
    pub(super) fn other_sql(&self) -> &str {
        self.others.as_deref().unwrap_or(&self.sql)
    }
}

/// Execs and exits that are joined by guid, at most.
const JOINED: usize = 1_000_000;

/// All questions, for stores with the rows of `marks`.
pub(super) fn all(marks: &Marks) -> Vec<Query> {
    let rows = marks.execs.rows;
    let mut queries = vec![
        range(
            "range of 2,300 rows, all columns",
            marks,
            2_300,
            &[Target::OfSqlite(1.0), Target::Milliseconds(10.0)],
        ),
        range("range of 70,000 rows, all columns", marks, 70_000, &[Target::OfSqlite(1.0)]),
        needle("path = X, 10 rows together", NEEDLE_NEAR, rows, 20.0),
        needle("path = X, 10 rows far apart", NEEDLE_FAR, rows, 40.0),
        Query::new(
            "cmdline LIKE '%needle%'",
            format!("SELECT count(*) FROM process_events WHERE cmdline LIKE '%{NEEDLE_WORD}%'"),
            rows,
            &[Target::OfSqlite(1.0)],
        ),
        Query::new(
            "GROUP BY path",
            "SELECT path, count(*) FROM process_events GROUP BY path".to_owned(),
            rows,
            &[Target::OfSqlite(0.6)],
        ),
    ];
    queries.push(guid_join(marks));
    queries.push(time_join(marks));
    queries.push(Query::new(
        "ORDER BY time_ns DESC LIMIT 20",
        "SELECT time_ns, pid, path, cmdline FROM process_events ORDER BY time_ns DESC LIMIT 20"
            .to_owned(),
        rows,
        &[Target::Milliseconds(10.0)],
    ));
    queries.push(Query::new(
        "count(*)",
        "SELECT count(*) FROM process_events".to_owned(),
        rows,
        &[Target::NanosecondsPerRow(15.0)],
    ));
    queries
}

/// The statement that streams all rows of the largest table.
pub(super) fn stream() -> String {
    format!("SELECT {} FROM process_events", columns())
}

/// All columns of an exec that every store has.
fn columns() -> String {
    let stored = ProcessEvents::SCHEMA.stored().map(|(_, column, _)| column.name);
    stored.collect::<Vec<_>>().join(", ")
}

fn range(name: &'static str, marks: &Marks, rows: usize, targets: &[Target]) -> Query {
    let (from, to) = marks.execs.range(0.4, rows);
    let columns = columns();
    let sql = format!("SELECT {columns} FROM process_events WHERE time_ns BETWEEN {from} AND {to}");
    Query::new(name, sql, marks.execs.rows, targets)
}

fn needle(name: &'static str, path: &str, rows: usize, milliseconds: f64) -> Query {
    let from = "SELECT time_ns, pid, cmdline FROM process_events WHERE";
    let targets = [
        Target::Milliseconds(milliseconds),
        Target::OfSqlite(5.0),
        Target::OfSqliteWithoutIndex(0.1),
    ];
    let query = Query::new(name, format!("{from} path = '{path}'"), rows, &targets);
    Query { indexed: true, ..query }
}

fn guid_join(marks: &Marks) -> Query {
    let (from, to) = marks.execs.range(0.0, JOINED);
    let statement = |on: &str| {
        format!(
            "SELECT count(*), sum(x.exit_code) FROM process_events e JOIN process_exit_events x \
             ON {on} WHERE e.time_ns BETWEEN {from} AND {to} AND x.time_ns BETWEEN {from} AND {to}"
        )
    };
    let sql = statement("e.guid = x.guid");
    let others = Some(statement("e.pid = x.pid AND e.start_ns = x.start_ns"));
    let rows = marks.execs.rows.min(JOINED);
    let targets = [Target::Milliseconds(3_000.0)];
    let query = Query::new("exec JOIN exit by guid, up to 1 M each", sql, rows, &targets);
    Query { others, indexed: true, ..query }
}

fn time_join(marks: &Marks) -> Query {
    let (from, to) = marks.sockets.range(0.3, 10_000);
    let sql = format!(
        "SELECT count(*), sum(e.pid) FROM socket_events s JOIN process_events e ON e.time_ns \
         BETWEEN s.time_ns - 5000000000 AND s.time_ns + 5000000000 \
         WHERE s.time_ns BETWEEN {from} AND {to}"
    );
    let targets = [Target::Milliseconds(2_000.0)];
    Query::new("join on time within 5 s, 10,000 outer rows", sql, marks.execs.rows, &targets)
}
