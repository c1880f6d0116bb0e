//! Statements whose rows SQLite would only pass on.
//!
//! For `SELECT a, b FROM t WHERE …` with conditions that the scan takes over, SQLite asks the cursor
//! for each value, copies it into a register, and hands it out from there. Of whole rows of some
//! fifty columns that is four fifths of the time. So where the loop of SQLite's program for a
//! statement does nothing else, SQLite runs the program up to the scan, which then gives no row to
//! SQLite, and all of them to the sink. Likewise where the loop only counts rows.
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
    /// The fourth operand, where it is text.
    text: String,
}

/// What SQLite would do with a scan's rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// Pass them on: for each column of the result, the column of the table.
    Rows(Vec<usize>),
    /// Count them; the count is the one row of the result.
    Count,
}

impl Instruction {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let operands = [row.get(2)?, row.get(3)?, row.get(4)?];
        let text = row.get_ref(5)?.as_str().unwrap_or_default().to_owned();
        Ok(Self { address: row.get(0)?, name: row.get(1)?, operands, text })
    }
}

/// What a statement does with the rows of its one scan; `None` when that is more than is known here.
pub(super) fn passed(connection: &Connection, sql: &str) -> rusqlite::Result<Option<Passed>> {
    let mut explained = connection.prepare(&format!("EXPLAIN {sql}"))?;
    let program = explained.query_map([], Instruction::read)?;
    let program = program.collect::<Result<Vec<_>, _>>()?;
    let mut starts = program.iter().enumerate().filter(|(_, step)| step.name == "VFilter");
    let (Some((start, filter)), None) = (starts.next(), starts.next()) else { return Ok(None) };
    let after = program.get(start + 1..).unwrap_or_default();
    Ok(passed_on(filter, after).map(Passed::Rows).or_else(|| counted(filter, after)))
}

/// The columns, when all that comes after the scan's start is to pass its rows on.
fn passed_on(filter: &Instruction, after: &[Instruction]) -> Option<Vec<usize>> {
    let [cursor, end, _] = filter.operands;
    let count = after.iter().take_while(|step| step.name == "VColumn").count();
    let (reads, rest) = after.split_at(count);
    let [result, next, halt, ..] = rest else { return None };
    let [from, values, _] = result.operands;
    let is_loop = names([result, next, halt]) == ["ResultRow", "VNext", "Halt"]
        && is_back(next, filter)
        && end == halt.address;
    if !is_loop || reads.iter().any(|read| read.operands[0] != cursor) {
        return None;
    }
    let column_in = |register: i64| {
        let read = reads.iter().rev().find(|read| read.operands[2] == register)?;
        usize::try_from(read.operands[1]).ok()
    };
    (from..from.checked_add(values)?).map(column_in).collect()
}

/// When all that comes after the scan's start is to count its rows.
fn counted(filter: &Instruction, after: &[Instruction]) -> Option<Passed> {
    let [step, next, last, copy, result, halt, ..] = after else { return None };
    let expected = ["AggStep", "VNext", "AggFinal", "Copy", "ResultRow", "Halt"];
    let ([inverse, _, sum], [from, to, more]) = (step.operands, copy.operands);
    let is_count = names([step, next, last, copy, result, halt]) == expected
        && (step.text.as_str(), last.text.as_str()) == ("count(0)", "count(0)")
        && is_back(next, filter)
        && filter.operands[1] == last.address
        && (inverse, last.operands[0], from, more) == (0, sum, sum, 0)
        && result.operands == [to, 1, 0];
    is_count.then_some(Passed::Count)
}

fn names<const N: usize>(steps: [&Instruction; N]) -> [&str; N] {
    steps.map(|step| step.name.as_str())
}

/// Whether a step goes to the scan's next row, and back to what follows the scan's start.
fn is_back(next: &Instruction, filter: &Instruction) -> bool {
    next.operands[..2] == [filter.operands[0], filter.address + 1]
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

    /// How many rows there are from the current block on.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub(super) fn count(mut self, context: &Context) -> Result<i64, SqlError> {
        let mut rows = self.block.len();
        while self.advance(context)? {
            rows += self.block.len();
        }
        Ok(i64::try_from(rows).unwrap_or(i64::MAX))
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

    type Step = (&'static str, [i64; 3], &'static str);

    fn found(steps: &[Step]) -> Option<Passed> {
        let step = |(address, (name, operands, text)): (i64, &Step)| Instruction {
            address,
            name: (*name).to_owned(),
            operands: *operands,
            text: (*text).to_owned(),
        };
        let program: Vec<Instruction> = (0..).zip(steps).map(step).collect();
        let (filter, after) = program.split_first()?;
        passed_on(filter, after).map(Passed::Rows).or_else(|| counted(filter, after))
    }

    const ROWS: [Step; 6] = [
        ("VFilter", [3, 5, 1], ""),
        ("VColumn", [3, 9, 5], ""),
        ("VColumn", [3, 2, 6], ""),
        ("ResultRow", [5, 2, 0], ""),
        ("VNext", [3, 1, 0], ""),
        ("Halt", [0, 0, 0], ""),
    ];

    const COUNT: [Step; 7] = [
        ("VFilter", [3, 3, 1], ""),
        ("AggStep", [0, 0, 8], "count(0)"),
        ("VNext", [3, 1, 0], ""),
        ("AggFinal", [8, 0, 0], "count(0)"),
        ("Copy", [8, 9, 0], ""),
        ("ResultRow", [9, 1, 0], ""),
        ("Halt", [0, 0, 0], ""),
    ];

    #[test]
    fn loops_that_pass_rows_on_or_count_them_are_known() {
        assert_eq!(found(&ROWS), Some(Passed::Rows(vec![9, 2])));
        assert_eq!(found(&COUNT), Some(Passed::Count));
    }

    #[test]
    fn whatever_else_a_program_does_is_left_to_sqlite() {
        for (place, step) in [
            (0, ("VFilter", [3, 4, 1], "")),
            (1, ("VColumn", [1, 9, 5], "")),
            (1, ("VColumn", [3, 9, 7], "")),
            (1, ("Rowid", [3, 5, 0], "")),
            (2, ("Ne", [5, 5, 6], "")),
            (3, ("MakeRecord", [5, 2, 0], "")),
            (3, ("ResultRow", [5, 3, 0], "")),
            (4, ("VNext", [1, 1, 0], "")),
            (4, ("VNext", [3, 0, 0], "")),
            (4, ("Next", [3, 1, 0], "")),
            (5, ("VNext", [1, 0, 0], "")),
        ] {
            let mut steps = ROWS;
            steps[place] = step;
            assert_eq!(found(&steps), None, "{step:?} at {place}");
        }
        for (place, step) in [
            (0, ("VFilter", [3, 4, 1], "")),
            (1, ("AggStep", [0, 4, 8], "count(1)")),
            (1, ("AggStep", [1, 0, 8], "count(0)")),
            (1, ("AggStep", [0, 0, 8], "sum(1)")),
            (2, ("VNext", [3, 0, 0], "")),
            (3, ("AggFinal", [7, 0, 0], "count(0)")),
            (4, ("Copy", [8, 9, 1], "")),
            (4, ("Integer", [8, 9, 0], "")),
            (5, ("ResultRow", [9, 2, 0], "")),
            (6, ("Goto", [0, 1, 0], "")),
        ] {
            let mut steps = COUNT;
            steps[place] = step;
            assert_eq!(found(&steps), None, "{step:?} at {place}");
        }
        assert_eq!((found(&ROWS[..5]), found(&COUNT[..6]), found(&[])), (None, None, None));
    }
}
