//! SQL through the command line.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use bygone::tables;
use bygone_store::TableSchema;
use bygone_store::sql::{ResultColumn, ResultSink, SessionOptions};
use rusqlite::types::ValueRef;
use serde_json::{Map, Value};

use crate::bygone;

/// What a command printed.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs `bygone sql -o json` over a data folder. The statement goes through standard input, so that
/// it is not itself part of a recorded command line.
///
/// # Panics
/// When the program cannot be started or prints something other than UTF-8.
#[must_use]
pub fn sql(data_dir: &Path, statement: &str) -> Output {
    let mut child = bygone()
        .args(["sql", "-o", "json", "--data-dir"])
        .arg(data_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bygone starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(statement.as_bytes()).expect("bygone reads its statement");
    drop(stdin);
    let output = child.wait_with_output().expect("bygone ends");
    Output {
        status: output.status,
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

/// The rows of a statement that must succeed, each a JSON object.
///
/// # Panics
/// When the statement fails or prints something other than a JSON array.
#[must_use]
pub fn sql_rows(data_dir: &Path, statement: &str) -> Vec<Value> {
    let output = sql(data_dir, statement);
    assert!(output.status.success(), "{statement}: {}", output.stderr);
    match serde_json::from_str(&output.stdout) {
        Ok(Value::Array(rows)) => rows,
        other => panic!("{statement}: not an array: {other:?}: {}", output.stdout),
    }
}

/// SQL over a data folder from within this process, which saves the start of another.
pub struct Session(bygone_store::sql::Session);

impl Session {
    /// Opens a session; the folder is read at the first statement.
    ///
    /// # Errors
    /// When SQLite cannot be set up.
    pub fn open(data_dir: &Path) -> anyhow::Result<Self> {
        Self::open_with(data_dir, tables::event_schemas())
    }

    /// The same with other tables of events.
    ///
    /// # Errors
    /// Likewise.
    pub fn open_with(
        data_dir: &Path,
        events: &'static [&'static TableSchema],
    ) -> anyhow::Result<Self> {
        let options = SessionOptions {
            data_dir: data_dir.to_owned(),
            events,
            states: tables::state_tables(),
        };
        Ok(Self(bygone_store::sql::Session::open(options)?.with_extensions(tables::extensions())?))
    }

    /// The rows of a statement, each a JSON object.
    ///
    /// # Errors
    /// When the statement fails.
    ///
    /// # Panics
    /// When it met damage, so that rows may be missing: no test's history is damaged unless it says
    /// so.
    pub fn rows(&self, statement: &str) -> anyhow::Result<Vec<Value>> {
        let mut rows = Rows::default();
        let executed = self.0.execute(statement, &mut rows)?;
        let damage: Vec<String> = executed.damage.iter().map(ToString::to_string).collect();
        assert!(damage.is_empty(), "{statement}: damaged: {}", damage.join("; "));
        Ok(rows.rows)
    }
}

#[derive(Default)]
struct Rows {
    columns: Vec<String>,
    rows: Vec<Value>,
}

impl ResultSink for Rows {
    fn start(&mut self, columns: &[ResultColumn]) -> io::Result<()> {
        self.columns = columns.iter().map(|column| column.name.clone()).collect();
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        let cells = self.columns.iter().cloned().zip(values.iter().map(json));
        self.rows.push(Value::Object(cells.collect::<Map<String, Value>>()));
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn json(value: &ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null | ValueRef::Blob(_) => Value::Null,
        ValueRef::Integer(number) => (*number).into(),
        ValueRef::Real(number) => (*number).into(),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use bygone::tables::events::gaps::Gaps;
    use bygone_store::{Writer, WriterOptions};

    use super::*;

    #[test]
    fn damage_is_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let options = WriterOptions::new([7; 16]);
        let (mut writer, _) =
            Writer::open(folder.path(), tables::event_schemas(), options).unwrap();
        let gap = |time_ns| Gaps {
            time_ns,
            end_ns: time_ns + 5,
            source: "process_ebpf".to_owned(),
            reason: "ring_full".to_owned(),
            lost: None,
            detail: None,
        };
        writer.append((0..100).map(gap)).unwrap();
        writer.close().unwrap();
        let statement = "SELECT sum(end_ns) FROM gaps";
        let rows = || Session::open(folder.path()).unwrap().rows(statement).unwrap();
        assert_eq!(rows().len(), 1);
        for segment in std::fs::read_dir(folder.path().join("segments/gaps")).unwrap() {
            std::fs::write(segment.unwrap().path(), "no segment").unwrap();
        }
        let failed = catch_unwind(AssertUnwindSafe(rows)).unwrap_err();
        let message = failed.downcast_ref::<String>().unwrap();
        assert!(message.contains("damaged: segments/gaps/"), "{message}");
    }
}
