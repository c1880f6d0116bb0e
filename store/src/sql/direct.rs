//! Statements whose rows SQLite would only pass on.
//!
//! For `SELECT a, b FROM t WHERE …` with conditions that the scan takes over, SQLite asks the cursor
//! for each value, copies it into a register, and hands it out from there. Of whole rows of some
//! fifty columns that is four fifths of the time. So where the loop of SQLite's program for a
//! statement does nothing else, SQLite runs the program up to the scan, which then gives no row to
//! SQLite, and all of them to the sink.
//!
//! What the program does is read from `EXPLAIN`. Its form may change with SQLite's version
//! (<https://sqlite.org/opcode.html>). One that is not exactly of the form known here is left to
//! SQLite; a test tells when none is any more.
//!
//! **Invariant:** the rows and their values are those that SQLite would have given.

use std::io;
use std::sync::Arc;

use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Row};

use crate::schema::TableSchema;
use crate::sql::error::SqlError;
use crate::sql::event::{EventBlock, Layout};
use crate::sql::repeated::owned;
use crate::sql::rows::{Block as _, Cell, stored_value};
use crate::sql::statement::Context;
use crate::sql::walk::next_block;
use crate::{ColumnArray, Scan};

/// One instruction of a program of SQLite.
struct Instruction {
    address: i64,
    name: String,
    operands: [i64; 3],
}

impl Instruction {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let operands = [row.get(2)?, row.get(3)?, row.get(4)?];
        Ok(Self { address: row.get(0)?, name: row.get(1)?, operands })
    }
}

/// The columns of the table that are the columns of the result of a statement; `None` when its rows
/// are more than those of one scan passed on.
pub(super) fn columns(connection: &Connection, sql: &str) -> rusqlite::Result<Option<Vec<usize>>> {
    let mut explained = connection.prepare(&format!("EXPLAIN {sql}"))?;
    let program = explained.query_map([], Instruction::read)?;
    Ok(passed_on(&program.collect::<Result<Vec<_>, _>>()?))
}

fn passed_on(program: &[Instruction]) -> Option<Vec<usize>> {
    let mut starts = program.iter().enumerate().filter(|(_, step)| step.name == "VFilter");
    let (Some((start, filter)), None) = (starts.next(), starts.next()) else { return None };
    let [cursor, end, _] = filter.operands;
    let after = program.get(start + 1..)?;
    let count = after.iter().take_while(|step| step.name == "VColumn").count();
    let (reads, rest) = after.split_at(count);
    let [result, next, halt, ..] = rest else { return None };
    let [from, values, _] = result.operands;
    let [of, back, _] = next.operands;
    let is_loop = (result.name.as_str(), next.name.as_str(), halt.name.as_str())
        == ("ResultRow", "VNext", "Halt")
        && (of, back, end) == (cursor, filter.address + 1, halt.address);
    if !is_loop || reads.iter().any(|read| read.operands[0] != cursor) {
        return None;
    }
    let column_in = |register: i64| {
        let read = reads.iter().rev().find(|read| read.operands[2] == register)?;
        usize::try_from(read.operands[1]).ok()
    };
    (from..from.checked_add(values)?).map(column_in).collect()
}

/// The rows of a scan, past SQLite.
pub(super) struct Stream {
    pub(super) schema: &'static TableSchema,
    pub(super) scan: Scan,
    pub(super) block: EventBlock,
    pub(super) layout: Arc<Layout>,
}

impl Stream {
    /// Gives each row of the current block, with these columns.
    pub(super) fn each(
        &self,
        columns: &[usize],
        mut take: impl FnMut(&[ValueRef<'_>]) -> io::Result<()>,
    ) -> io::Result<()> {
        let stored: Vec<Option<&ColumnArray>> =
            columns.iter().map(|column| self.block.stored_column(*column)).collect();
        let others = columns.iter().zip(&stored).filter(|(_, stored)| stored.is_none());
        let others: Vec<usize> = others.map(|(column, _)| *column).collect();
        for row in 0..self.block.len() {
            let computed: Vec<Value> =
                others.iter().map(|column| value(self.block.cell(*column, row))).collect();
            let mut computed = computed.iter().map(ValueRef::from);
            let mut values = Vec::with_capacity(columns.len());
            values.extend(stored.iter().map(|stored| match stored {
                Some(column) => stored_value(column, row),
                None => computed.next().unwrap_or(ValueRef::Null),
            }));
            take(&values)?;
        }
        Ok(())
    }

    /// Goes to the next block; false when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or the statement was interrupted.
    pub(super) fn advance(&mut self, context: &Context) -> Result<bool, SqlError> {
        let next = next_block(context, self.schema, &mut self.scan, &self.layout)?;
        let found = next.is_some();
        if let Some(block) = next {
            self.block = block;
        }
        Ok(found)
    }
}

/// A computed value as SQLite would have it.
fn value(cell: Cell<'_>) -> Value {
    match cell.to_sql() {
        Ok(ToSqlOutput::Owned(value)) => value,
        Ok(ToSqlOutput::Borrowed(value)) => owned(value),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(steps: &[(&str, [i64; 3])]) -> Vec<Instruction> {
        let step = |(address, (name, operands)): (i64, &(&str, [i64; 3]))| Instruction {
            address,
            name: (*name).to_owned(),
            operands: *operands,
        };
        (0..).zip(steps).map(step).collect()
    }

    const LOOP: [(&str, [i64; 3]); 7] = [
        ("Init", [0, 0, 0]),
        ("VFilter", [3, 6, 1]),
        ("VColumn", [3, 9, 5]),
        ("VColumn", [3, 2, 6]),
        ("ResultRow", [5, 2, 0]),
        ("VNext", [3, 2, 0]),
        ("Halt", [0, 0, 0]),
    ];

    #[test]
    fn a_loop_that_passes_rows_on_is_known() {
        assert_eq!(passed_on(&program(&LOOP)), Some(vec![9, 2]));
    }

    #[test]
    fn whatever_else_a_program_does_is_left_to_sqlite() {
        for (place, step) in [
            (0, ("VFilter", [1, 6, 1])),
            (2, ("VColumn", [1, 9, 5])),
            (2, ("VColumn", [3, 9, 7])),
            (2, ("Rowid", [3, 5, 0])),
            (3, ("Ne", [5, 5, 6])),
            (4, ("MakeRecord", [5, 2, 0])),
            (4, ("ResultRow", [5, 3, 0])),
            (5, ("VNext", [1, 2, 0])),
            (5, ("VNext", [3, 1, 0])),
            (5, ("Next", [3, 2, 0])),
            (6, ("VNext", [1, 0, 0])),
            (1, ("VFilter", [3, 5, 1])),
        ] {
            let mut steps = LOOP;
            steps[place] = step;
            assert_eq!(passed_on(&program(&steps)), None, "{step:?} at {place}");
        }
        assert_eq!(passed_on(&program(&LOOP[..6])), None);
        assert_eq!(passed_on(&[]), None);
    }
}
