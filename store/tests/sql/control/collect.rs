//! A sink that keeps the rows.

use std::io;

use bygone_store::sql::{Executed, ResultColumn, ResultSink, Session, SqlError};
use rusqlite::types::{Value, ValueRef};

/// Keeps what it is given.
#[derive(Default)]
pub(crate) struct Collect {
    pub(crate) columns: Vec<ResultColumn>,
    pub(crate) rows: Vec<Vec<Value>>,
    pub(crate) results: usize,
}

impl ResultSink for Collect {
    fn start(&mut self, columns: &[ResultColumn]) -> io::Result<()> {
        self.columns = columns.to_vec();
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        self.rows.push(values.iter().map(|value| Value::try_from(*value).unwrap()).collect());
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.results += 1;
        Ok(())
    }
}

/// All that a statement gives.
pub(crate) fn run(session: &Session, sql: &str) -> Result<(Collect, Executed), SqlError> {
    let mut sink = Collect::default();
    let executed = session.execute(sql, &mut sink)?;
    Ok((sink, executed))
}
