//! The virtual tables as SQLite calls them.
//!
//! One module per table, eponymous: the table is there under its name without `CREATE`. What is
//! asked and answered is decided elsewhere; here it only passes through rusqlite's traits.
//!
//! # The planner's contract
//!
//! Of a table of events:
//!
//! | comparison | column | taken as | checked again by SQLite |
//! | --- | --- | --- | --- |
//! | `=`, `<`, `<=`, `>`, `>=`, `IS`, `BETWEEN`, each value of `IN` | `time`, `time_ns` | time range (`bounds`) | no |
//! | `=` | guid | filter, and index once repeated | no |
//! | `=`, `IS`, `<`, `<=`, `>`, `>=`, `BETWEEN` | integers, `eid`, `rowid`, text, `boot_id` (equality), guid (`IS`) | filter (`values`); `=` also index once repeated | unless the value stands in the statement and is of the column's type |
//! | `IN` | integers, `eid`, text, guid, `boot_id` | filter, all values at once | yes |
//! | `LIKE`, `GLOB` without `ESCAPE` | text | filter | yes |
//! | `IS NULL`, `IS NOT NULL` | integers, text, blobs, guid (`IS NOT NULL`) | filter | no |
//! | `=` | `uptime`, `boot_ns` | index once repeated | yes |
//! | all | reals; text under a collation other than `BINARY`; others | | yes |
//! | `ORDER BY` `time`, `time_ns`, `eid` in that order, all in one direction; `GROUP BY`, `DISTINCT` of these | | order of the scan (`order`) | no |
//! | the same of stored integers and text, when SQLite reads little else | | rows counted per value (`grouped`) | no |
//! | `LIMIT`, `OFFSET` | | no: a scan in order reads a few rows at first, and more as it is asked | SQLite does it |
//!
//! Of a state table, `=` on integers, guids and text, and the values of `IN` on integers and guids
//! one by one, are looked up in an index.
//!
//! `idxStr` is the plan as text (`plan`); `idxNum` is for the reader of `EXPLAIN QUERY PLAN`:
//!
//! | bit | meaning |
//! | --- | --- |
//! | 1 | the time range has a start |
//! | 2 | the time range has an end |
//! | 4 | values are looked for |
//! | 8 | rows are tested otherwise |
//! | 16 | rows come in the order asked for |
//!
//! What a plan costs is guessed in `cost`. `colUsed` bit 63 means every column from 63 on. `count(*)`
//! reads no column.
//!
//! One thing SQLite does not tell: that an equality is a part of `(a, b) IN (SELECT …)`. It then
//! compares text with numbers as text, which on an ordinary table it does as numbers.
//!
//! **Invariant:** `omit` is set only where the range is exactly the comparison, whatever the row.

#![expect(
    unsafe_code,
    reason = "rusqlite's traits of virtual tables are unsafe: the structs must begin with SQLite's"
)]

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::sync::Arc;

use rusqlite::ffi::{sqlite3_vtab, sqlite3_vtab_cursor};
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef as Value};
use rusqlite::vtab::{
    Context as Cell, DistinctMode, Filters, IndexConstraintOp, IndexFlags, IndexInfo, Module, VTab,
    VTabConnection, VTabCursor,
};
use rusqlite::{Connection, Error};

use crate::columns::ColumnArray;
use crate::schema::{ColumnSchema, ColumnSource, ColumnType, Computation, TableSchema};
use crate::sql::cost;
use crate::sql::error::SqlError;
use crate::sql::operator::Operator;
use crate::sql::order::{OrderedBy, Wish};
use crate::sql::plan::{Offer, Plan, Taken, Term, column_index, name};
use crate::sql::repeated::owned;
use crate::sql::rows::stored_value;
use crate::sql::statement::Context;
use crate::sql::walk::{Shown, Walk};

/// Adds a table to a connection.
pub(super) fn register(
    connection: &Connection,
    shown: Shown,
    context: &Arc<Context>,
) -> rusqlite::Result<()> {
    const MODULE: Module<'_, Table> = Module::eponymous_only_module();
    let aux = Aux { shown, context: Arc::clone(context) };
    connection.create_module(shown.schema().name, &MODULE, Some(aux))
}

/// What every connection of a virtual table begins with.
pub(super) struct Aux {
    shown: Shown,
    context: Arc<Context>,
}

/// A connected table.
#[repr(C)]
pub(super) struct Table {
    /// SQLite's part; must be first.
    base: sqlite3_vtab,
    shown: Shown,
    context: Arc<Context>,
}

// SAFETY: `Table` is `repr(C)` and begins with `sqlite3_vtab`.
unsafe impl VTab<'_> for Table {
    type Aux = Aux;
    type Cursor = Cursor;

    fn connect(
        _: &mut VTabConnection,
        aux: Option<&Aux>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let aux = aux.ok_or_else(|| Error::ModuleError("a table without a schema".to_owned()))?;
        let declaration = CString::new(declaration(aux.shown.schema()))?;
        let context = Arc::clone(&aux.context);
        let table = Self { base: sqlite3_vtab::default(), shown: aux.shown, context };
        Ok((Cow::Owned(declaration), table))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let schema = self.shown.schema();
        self.context.note_planned(schema.name);
        let offers = offers(schema, info)?;
        let (plan, taken) = Plan::choose(schema, &offers, &wish(schema, info));
        if let Some((Term::Bound(column, _), value)) = cost::not_a_time(&offers, &taken) {
            let column = name(schema, column_index(schema, column));
            return Err(self.context.fail(SqlError::not_a_time(column, value)));
        }
        for (position, taken) in (1..).zip(&taken) {
            let mut usage = info.constraint_usage(taken.offer);
            usage.set_argv_index(position);
            usage.set_omit(taken.exact);
            if let Term::Test(_, Operator::In) = taken.term {
                info.set_in_constraint(taken.offer, true)?;
            }
        }
        let cost = cost::estimate(self.shown, &self.context, &plan, &offers, &taken);
        info.set_estimated_cost(cost.bytes);
        #[expect(clippy::cast_possible_truncation, reason = "an estimate; the cast saturates")]
        info.set_estimated_rows(cost.rows as i64);
        if is_unique(schema, &taken) {
            info.set_idx_flags(IndexFlags::SQLITE_INDEX_SCAN_UNIQUE);
        }
        info.set_order_by_consumed(plan.shape.is_ordered());
        info.set_idx_num(index_number(&plan));
        info.set_idx_str(&plan.to_text(schema));
        Ok(true)
    }

    fn open(&mut self) -> rusqlite::Result<Cursor> {
        let context = Arc::clone(&self.context);
        let walk = Walk::new(self.shown, Arc::clone(&context));
        Ok(Cursor { base: sqlite3_vtab_cursor::default(), walk, context })
    }
}

/// What `idxNum` tells the reader of a plan.
fn index_number(plan: &Plan) -> c_int {
    let ((from, to), (equal, other)) = (plan.is_bounded(), plan.is_tested());
    let ordered = plan.shape.is_ordered();
    let bits = [from, to, equal, other, ordered].into_iter().enumerate();
    bits.map(|(at, set)| c_int::from(set) << at).sum()
}

/// Whether a plan yields one row at most: it asks for a row's number.
fn is_unique(schema: &TableSchema, taken: &[Taken]) -> bool {
    let by_number = |column: usize| {
        let source = schema.columns.get(column).map(|column| column.source);
        source == Some(ColumnSource::Computed(Computation::Eid))
    };
    taken.iter().any(|taken| match taken.term {
        Term::Test(column, Operator::Equal) => by_number(column) && taken.exact,
        _ => false,
    })
}

/// What SQLite offers. The rowid of an event is its number.
fn offers(schema: &TableSchema, info: &IndexInfo) -> rusqlite::Result<Vec<Offer>> {
    let mut offers = Vec::new();
    for (index, constraint) in info.constraints().enumerate() {
        offers.push(Offer {
            column: column_of(schema, constraint.column()),
            operator: operator(&constraint.operator()),
            usable: constraint.is_usable(),
            binary: info.collation(index)?.eq_ignore_ascii_case("BINARY"),
            list: info.is_in_constraint(index)?,
            constant: info.rhs_value(index)?.map(owned),
        });
    }
    Ok(offers)
}

fn column_of(schema: &TableSchema, column: c_int) -> Option<usize> {
    let number = ColumnSource::Computed(Computation::Eid);
    match usize::try_from(column) {
        Ok(column) => Some(column),
        Err(_) => schema.columns.iter().position(|column| column.source == number),
    }
}

/// What SQLite would like beside the rows.
fn wish(schema: &TableSchema, info: &IndexInfo) -> Wish {
    let order = info.order_bys().map(|by| OrderedBy {
        column: column_of(schema, by.column()),
        descending: by.is_order_by_desc(),
    });
    let mode = info.distinct();
    Wish {
        columns_used: info.col_used(),
        order: order.collect(),
        grouped: matches!(mode, DistinctMode::Grouped | DistinctMode::Distinct),
        distinct: matches!(mode, DistinctMode::Distinct | DistinctMode::DistinctOrdered),
    }
}

const fn operator(operator: &IndexConstraintOp) -> Option<Operator> {
    match operator {
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => Some(Operator::Equal),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => Some(Operator::Greater),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => Some(Operator::GreaterOrEqual),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => Some(Operator::Less),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => Some(Operator::LessOrEqual),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_IS => Some(Operator::Is),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LIKE => Some(Operator::Like),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GLOB => Some(Operator::Glob),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_ISNULL => Some(Operator::IsNull),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_ISNOTNULL => Some(Operator::IsNotNull),
        _ => None,
    }
}

/// `CREATE TABLE`, as SQLite is told the columns.
pub(super) fn declaration(schema: &TableSchema) -> String {
    let columns: Vec<String> = schema
        .columns
        .iter()
        .map(|column| {
            let not_null = if can_be_null(schema, column) { "" } else { " NOT NULL" };
            let hidden = if column.hidden { " HIDDEN" } else { "" };
            format!("\"{}\" {}{hidden}{not_null}", column.name, sql_type(column.source))
        })
        .collect();
    format!("CREATE TABLE \"{}\" ({})", schema.name, columns.join(", "))
}

/// SQLite shows a real that is not a number as null. A guid is null where the boot id is unknown:
/// rows of events carry theirs, those of a state table need the session's.
fn can_be_null(schema: &TableSchema, column: &ColumnSchema) -> bool {
    let of_state = schema.time.is_none();
    column.nullable
        || column.source == ColumnSource::Stored(ColumnType::F64)
        || (of_state && matches!(column.source, ColumnSource::Computed(Computation::Guid { .. })))
}

const fn sql_type(source: ColumnSource) -> &'static str {
    match source {
        ColumnSource::Stored(stored) => stored.sql(),
        ColumnSource::Computed(computation) => computation.sql(),
    }
}

/// An open cursor.
#[repr(C)]
pub(super) struct Cursor {
    /// SQLite's part; must be first.
    base: sqlite3_vtab_cursor,
    walk: Walk,
    context: Arc<Context>,
}

// SAFETY: `Cursor` is `repr(C)` and begins with `sqlite3_vtab_cursor`.
unsafe impl VTabCursor for Cursor {
    fn filter(
        &mut self,
        _: c_int,
        plan: Option<&str>,
        arguments: &Filters<'_>,
    ) -> rusqlite::Result<()> {
        let started = self.walk.start(plan.unwrap_or_default(), arguments);
        started.map_err(|error| self.context.fail(error))?;
        self.context.offer(|| self.walk.take_stream());
        Ok(())
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.walk.advance().map_err(|error| self.context.fail(error))
    }

    fn eof(&self) -> bool {
        self.walk.is_at_end()
    }

    fn column(&self, cell: &mut Cell, index: c_int) -> rusqlite::Result<()> {
        let Ok(index) = usize::try_from(index) else { return Ok(()) };
        if let Some((column, row)) = self.walk.stored(index) {
            return set_stored(cell, column, row);
        }
        let set = self.walk.with_cell(index, |value| cell.set_result(value));
        set.map_err(|error| self.context.fail(error))?
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        self.walk.rowid().map_err(|error| self.context.fail(error))
    }
}

/// Hands over a stored value straight from its column. A cell that is not set is null.
///
/// Most values of most statements take this way, so it keeps to the three registers that SQLite's
/// own kind of value needs: values that are copied from one enum into the next cost twice as much.
#[inline]
fn set_stored(cell: &mut Cell, column: &ColumnArray, row: usize) -> rusqlite::Result<()> {
    match stored_value(column, row) {
        Value::Null => Ok(()),
        value => cell.set_result(Borrowed(value)),
    }
}

/// A value as it is handed over.
struct Borrowed<'a>(Value<'a>);

impl ToSql for Borrowed<'_> {
    #[inline]
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::declaration;
    use crate::StateTable;

    /// Things.
    #[derive(StateTable)]
    struct Things {
        /// A name that is a keyword.
        r#type: String,
        /// A number that can be null.
        size: Option<u64>,
        /// A number that is not shown; null when it is none.
        #[column(hidden)]
        load: f64,
    }

    #[test]
    fn columns_are_declared() {
        assert_eq!(
            declaration(Things::SCHEMA),
            "CREATE TABLE \"things\" (\"type\" TEXT NOT NULL, \"size\" BIGINT, \
             \"load\" DOUBLE HIDDEN)"
        );
    }
}
