//! What a session refuses, how it says so, and its functions.

use std::io;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bygone_store::sql::{ResultColumn, ResultSink, SqlError};
use rusqlite::types::{Value, ValueRef};
use tempfile::TempDir;

use crate::fixture::{Samples, Store, rows, run, sample, session};

fn error(sql: &str) -> String {
    let dir = TempDir::new().unwrap();
    let session = session(dir.path());
    run(&session, sql).map(|_| ()).expect_err(sql).to_string()
}

#[test]
fn only_reading_is_allowed() {
    let refused = [
        "CREATE TABLE t (x)",
        "CREATE TEMP TABLE t (x)",
        "CREATE TEMP VIEW v AS SELECT 1",
        "CREATE VIRTUAL TABLE t USING samples",
        "DROP TABLE letters",
        "INSERT INTO letters (id) VALUES (1)",
        "DELETE FROM letters",
        "UPDATE letters SET id = 1",
        "ATTACH ':memory:' AS other",
        "DETACH main",
        "VACUUM",
        "VACUUM INTO '/nonexistent/copy.db'",
        "BEGIN",
        "SAVEPOINT s",
        "ANALYZE",
        "PRAGMA query_only = 0",
        "PRAGMA temp_store = FILE",
        "PRAGMA journal_mode",
        "PRAGMA writable_schema = 1",
        "PRAGMA case_sensitive_like = 1",
        "PRAGMA reverse_unordered_selects = 1",
        "SELECT load_extension('x')",
        "SELECT sqlite_log(1, 'x')",
        "SELECT total_changes()",
        "WITH w AS (SELECT 1) INSERT INTO letters (id) SELECT * FROM w",
    ];
    let dir = TempDir::new().unwrap();
    let session = session(dir.path());
    for sql in refused {
        let error = run(&session, sql).map(|_| ()).expect_err(sql);
        let message = error.to_string();
        assert!(
            message.contains("read-only") || message.contains("may not be"),
            "{sql}: {message}"
        );
    }
    assert_eq!(rows(&session, "SELECT 1"), [[Value::Integer(1)]], "the session goes on");
}

#[test]
fn refusals_name_what_was_refused() {
    let cases = [
        ("PRAGMA query_only = 0", "PRAGMA query_only is not allowed: the session is read-only"),
        ("ATTACH ':memory:' AS x", "ATTACH and DETACH is not allowed: the session is read-only"),
    ];
    for (sql, message) in cases {
        assert_eq!(error(sql), message);
    }
}

#[test]
fn schema_can_be_asked() {
    let dir = TempDir::new().unwrap();
    let session = session(dir.path());
    let sql = "SELECT name, type, \"notnull\", hidden FROM pragma_table_xinfo('letters')";
    let text = |text: &str| Value::Text(text.to_owned());
    let (no, yes) = (Value::Integer(0), Value::Integer(1));
    let column = |name, kind, not_null: &Value, hidden: &Value| {
        vec![text(name), text(kind), not_null.clone(), hidden.clone()]
    };
    assert_eq!(
        rows(&session, sql),
        [
            column("id", "BIGINT", &yes, &no),
            column("name", "TEXT", &yes, &no),
            column("start_ns", "BIGINT", &yes, &no),
            column("guid", "TEXT", &no, &no),
            column("secret", "INTEGER", &no, &yes),
        ]
    );
}

#[test]
fn errors_name_the_thing_and_the_mend() {
    let cases = [
        ("SELECT * FROM leters", "no such table: leters; did you mean letters?"),
        ("SELECT * FROM nothing_like_it", "no such table: nothing_like_it; see `bygone tables`"),
        ("SELECT nam FROM letters", "no such column: nam; did you mean name?"),
        (
            "SELECT l.identity FROM letters l",
            "no such column: l.identity; see `bygone schema TABLE`",
        ),
        ("-- one\nSELEC 2", "near \"SELEC\": syntax error, at line 2, column 1"),
        ("SELECT (1", "incomplete input"),
        ("SELECT * FROM broken", "cannot read the table broken"),
    ];
    for (sql, message) in cases {
        let error = error(sql);
        assert!(error.starts_with(message), "{sql}: {error}");
    }
}

#[test]
fn a_time_beside_text_is_refused_with_the_mend() {
    let session = Store::new(u64::MAX).session();
    let message = "is a number and cannot be compared with the text 'yesterday'; write time_ns and \
                   ns('yesterday')";
    for (column, condition) in [
        ("time", "time > 'yesterday'"),
        ("time_ns", "time_ns BETWEEN 5 AND 'yesterday'"),
        ("time", "time = (SELECT 'yester' || 'day')"),
        ("time", "pid = 3 AND (name = 'x' OR time <= 'yesterday')"),
    ] {
        let sql = format!("SELECT pid FROM samples WHERE {condition}");
        let error = run(&session, &sql).map(|_| ()).expect_err(&sql);
        assert_eq!(error.to_string(), format!("{column} {message}"), "{sql}");
    }
    let numeric = "SELECT pid FROM samples WHERE time > '1700000000' AND time_ns < ' 5.5 '";
    assert!(rows(&session, numeric).is_empty());
}

#[test]
fn a_failed_scan_keeps_its_cause() {
    let dir = TempDir::new().unwrap();
    let error = run(&session(dir.path()), "SELECT * FROM broken").map(|_| ()).unwrap_err();
    let SqlError::State { table: "broken", source } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "the file is locked");
}

#[test]
fn without_a_store_state_tables_still_work() {
    let dir = TempDir::new().unwrap();
    for dir in [dir.path(), &dir.path().join("missing")] {
        let session = session(dir);
        assert_eq!(rows(&session, "SELECT count(*) FROM letters"), [[Value::Integer(4)]]);
        let error = run(&session, "SELECT count(*) FROM samples").map(|_| ()).unwrap_err();
        assert!(matches!(&error, SqlError::NoStore { path } if path == dir), "{error:?}");
    }
}

#[test]
fn a_store_that_appears_later_is_found() {
    let store = Store::new(u64::MAX);
    let moved = TempDir::new().unwrap();
    let later = moved.path().join("later");
    let session = session(&later);
    assert!(run(&session, "SELECT count(*) FROM samples").is_err());
    std::os::unix::fs::symlink(store.dir.path(), &later).unwrap();
    assert_eq!(rows(&session, "SELECT count(*) FROM samples"), [[Value::Integer(0)]]);
}

#[test]
fn the_one_of_several_statements_that_fails_is_named() {
    let dir = TempDir::new().unwrap();
    let session = session(dir.path());
    let failed = |sql: &str| match run(&session, sql).map(|_| ()).expect_err(sql) {
        SqlError::Statement { number, line, source } => (number, line, source.to_string()),
        error => panic!("{error:?}"),
    };
    let missing = |name: &str| format!("no such table: {name}; see `bygone tables`");
    let script = "-- all\nSELECT 1;;\nSELECT ';';\n/* ; */\n\nSELECT * FROM xyz;\nSELECT 4;";
    assert_eq!(failed(script), (3, 6, missing("xyz")));
    assert_eq!(failed("SELECT * FROM xyz; SELECT 2"), (1, 1, missing("xyz")));
    // What fails only when it runs, and what SQLite does not understand.
    let (number, line, message) = failed("SELECT 1;\nSELECT ns('soon')");
    assert_eq!((number, line), (2, 2), "{message}");
    let (number, line, message) = failed("SELECT 1;\n\n SELEC 2;");
    assert_eq!((number, line), (2, 3), "{message}");
    assert!(message.ends_with("at line 3, column 2"), "{message}");
    assert_eq!(error("SELECT * FROM xyz; -- no other"), missing("xyz"));
}

#[test]
fn several_statements_each_have_a_result() {
    let dir = TempDir::new().unwrap();
    let session = session(dir.path());
    let (sink, _) = run(&session, "SELECT 1; -- one\n ; SELECT 2 AS two;").unwrap();
    assert_eq!(sink.results, 2);
    assert_eq!(sink.rows, [[Value::Integer(1)], [Value::Integer(2)]]);
    let two = ResultColumn { name: "two".to_owned(), declared_type: None };
    assert_eq!(sink.columns, [two]);
    let (sink, _) = run(&session, " -- nothing\n").unwrap();
    assert_eq!(sink.results, 0);
}

#[test]
fn declared_types_are_handed_on() {
    let dir = TempDir::new().unwrap();
    let (sink, _) = run(&session(dir.path()), "SELECT id, name, id + 1 FROM letters").unwrap();
    let types: Vec<_> = sink.columns.iter().map(|column| column.declared_type.as_deref()).collect();
    assert_eq!(types, [Some("BIGINT"), Some("TEXT"), None]);
}

#[test]
fn functions() {
    let dir = TempDir::new().unwrap();
    let session = session(dir.path());
    let text = |text: &str| Value::Text(text.to_owned());
    let cases = [
        ("SELECT iso(0)", text("1970-01-01T00:00:00Z")),
        ("SELECT iso(-1)", text("1969-12-31T23:59:59.999999999Z")),
        ("SELECT iso(1500000000)", text("1970-01-01T00:00:01.500Z")),
        ("SELECT iso(-9223372036854775808)", text("1677-09-21T00:12:43.145224192Z")),
        ("SELECT iso(NULL)", Value::Null),
        ("SELECT ns('1970-01-01T00:00:01.5Z')", Value::Integer(1_500_000_000)),
        ("SELECT ns('@7.25')", Value::Integer(7_250_000_000)),
        ("SELECT ns(NULL)", Value::Null),
        ("SELECT ns('-10m') - ns('10 minutes ago')", Value::Integer(0)),
        ("SELECT ns('now') - ns('-90s')", Value::Integer(90_000_000_000)),
        ("SELECT iso(ns('2026-11-24T03:12:05Z'))", text("2026-11-24T03:12:05Z")),
        ("SELECT sqrt(2)", Value::Real(std::f64::consts::SQRT_2)),
        ("SELECT sqrt(16)", Value::Real(4.0)),
        ("SELECT floor(log2(1024))", Value::Real(10.0)),
    ];
    for (sql, value) in cases {
        assert_eq!(rows(&session, sql), [[value]], "{sql}");
    }
    assert_eq!(
        error("SELECT iso('x')"),
        "iso() takes whole nanoseconds since 1970, not a value of type Text"
    );
    assert!(error("SELECT ns('soon')").starts_with("`soon` is no time; write 2026-11-24"));
}

#[test]
fn rows_are_counted_without_reading_them() {
    let mut store = Store::new(4 << 10);
    for first in 0..5 {
        store.append((0..100).map(|pid| sample(first * 100 + i64::from(pid), pid)).collect());
        store.writer.tick().unwrap();
    }
    let session = store.session();
    let cases = [
        ("row_count('samples', NULL, NULL)", 500),
        ("row_count('SAMPLES', 0, 500)", 500),
        ("row_count('samples', 7, 350)", 343),
        ("row_count('samples', 499, NULL)", 1),
        ("row_count('samples', 5, 5)", 0),
        ("row_count('samples', NULL, -9223372036854775808)", 0),
        ("row_count('others', NULL, NULL)", 0),
    ];
    for (expression, expected) in cases {
        let sql = format!("SELECT {expression}");
        assert_eq!(rows(&session, &sql), [[Value::Integer(expected)]], "{expression}");
    }
    let (_, executed) = run(&session, "SELECT row_count('samples', 7, 350)").unwrap();
    assert_eq!(executed.scanned, [("samples", 7..=349)]);
    let error = |sql: &str| run(&session, sql).map(|_| ()).unwrap_err().to_string();
    let unknown = error("SELECT row_count('sample', NULL, NULL)");
    assert_eq!(unknown, "no such table: sample; did you mean samples?");
    let state = error("SELECT row_count('letters', NULL, NULL)");
    let expected = "letters is a state table and has no history to count; \
                    write SELECT count(*) FROM letters";
    assert_eq!(state, expected);
    assert!(error("SELECT row_count('samples', 'x', NULL)").contains("whole nanoseconds"));
}

#[test]
fn a_statement_that_runs_too_long_is_ended() {
    let mut store = Store::new(16 << 10);
    store.append((0..5000).map(|pid| sample(i64::from(pid), pid)).collect());
    let endless =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    // A join of all with all, none of which match.
    let silent =
        "SELECT 1 FROM samples a, samples b, samples c WHERE b.pid + c.pid = a.pid - 10000";
    let session = store.session().with_timeout(Duration::from_millis(250));
    for sql in [endless, silent] {
        let error = run(&session, sql).map(|_| ()).expect_err(sql);
        let expected =
            "the statement ran longer than 250ms; narrow its range of time or raise --timeout";
        assert_eq!(error.to_string(), expected, "{sql}");
    }
    assert_eq!(rows(&session, "SELECT 1"), [[Value::Integer(1)]], "the session goes on");
}

#[test]
fn a_scan_without_rows_is_ended_too() {
    let mut store = Store::new(u64::MAX);
    store.append((0..100).map(|pid| sample(i64::from(pid), pid)).collect());
    let session = store.session().with_timeout(Duration::ZERO);
    let error = run(&session, "SELECT 1 FROM samples WHERE name = 'none'").map(|_| ()).unwrap_err();
    assert!(matches!(error, SqlError::TimedOut { .. }), "{error:?}");
}

#[test]
fn a_statement_that_needs_too_much_memory_is_ended() {
    let mut store = Store::new(u64::MAX);
    for first in 0..40 {
        let long = |pid: u32| Samples {
            name: format!("{pid} {}", "long ".repeat(200)),
            ..sample(i64::from(pid), pid)
        };
        store.append((first * 250..(first + 1) * 250).map(long).collect());
    }
    let session = store.session().with_memory_max(6 << 20);
    let expected = "the statement needs more than 6 MiB of memory; narrow its range of time or \
                    raise --max-memory";
    let sorted = "SELECT name, start_ns FROM samples ORDER BY start_ns % 97";
    let error = run(&session, sorted).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), expected);
    // As many distinct values are counted in parts, which needs less.
    let (sink, _) = run(&session, "SELECT name, count(*) FROM samples GROUP BY name").unwrap();
    assert_eq!(sink.rows.len(), 10_000);
    let count = "SELECT count(*) FROM samples";
    assert_eq!(rows(&session, count), [[Value::Integer(10_000)]], "the session goes on");
}

#[test]
fn a_statement_can_be_interrupted() {
    let store = Store::new(u64::MAX);
    let session = store.session();
    let handle = session.interrupt_handle();
    handle.interrupt();
    assert_eq!(rows(&session, "SELECT 1"), [[Value::Integer(1)]], "nothing ran, nothing ends");
    let (started, wait) = sync_channel(1);
    let interrupter = std::thread::spawn(move || {
        wait.recv().unwrap();
        handle.interrupt();
    });
    let endless =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    let error = session.execute(endless, &mut Signal(Some(started))).unwrap_err();
    assert!(matches!(error, SqlError::Interrupted), "{error:?}");
    interrupter.join().unwrap();
    assert_eq!(rows(&session, "SELECT 1"), [[Value::Integer(1)]], "the session goes on");
}

/// Says when the first row has come.
struct Signal(Option<std::sync::mpsc::SyncSender<()>>);

impl ResultSink for Signal {
    fn start(&mut self, _: &[ResultColumn]) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, _: &[ValueRef<'_>]) -> io::Result<()> {
        if let Some(started) = self.0.take() {
            started.send(()).unwrap();
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes one row.
struct Full;

impl ResultSink for Full {
    fn start(&mut self, _: &[ResultColumn]) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, _: &[ValueRef<'_>]) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_ends_the_statement() {
    let mut store = Store::new(u64::MAX);
    store.append((0..10).map(|pid| sample(0, pid)).collect());
    let error = store.session().execute("SELECT * FROM samples", &mut Full).unwrap_err();
    let SqlError::Output(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
