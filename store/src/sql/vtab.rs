//! The virtual tables as SQLite calls them.
//!
//! One module per table, eponymous: the table is there under its name without `CREATE`. What is
//! asked and answered is decided elsewhere; here it only passes through rusqlite's traits.
//!
//! # The planner's contract
//!
//! | comparison | column | taken as | checked again by SQLite |
//! | --- | --- | --- | --- |
//! | `=`, `<`, `<=`, `>`, `>=`, `IS`, also `IN` and `BETWEEN` | `time`, `time_ns` of events | time range (`bounds`) | yes, unless the right side is an integer in the statement |
//! | `=`, `IN` | integers, guids, `eid` | key: filter, and index once repeated | yes |
//! | `=` | text under `BINARY` | key, likewise | yes |
//! | `IN` | text | no: SQLite would compare the list's numbers as text, unlike `IN` itself | yes |
//! | `=`, `IN` | reals, blobs, `boot_id`, text under another collation | no | yes |
//! | `IS`, `IS NULL`, `<>`, `LIKE`, `GLOB`, functions, `rowid` | all others | no | yes |
//! | `LIMIT`, `OFFSET`, `ORDER BY` | | no | SQLite does it |
//!
//! `idxStr` is the plan as text (`plan`); `idxNum` is for the reader of `EXPLAIN QUERY PLAN`:
//!
//! | bit | meaning |
//! | --- | --- |
//! | 1 | the time range has a start |
//! | 2 | the time range has an end |
//! | 4 | a value is looked for |
//!
//! Cost is in bytes to decode: what the snapshot says of the range, less the share of columns not
//! read. An equality that can be used makes a scan a thousand times cheaper, because its repetition
//! is answered from an index; so a plan that has it is always preferred to one that has not.
//! `colUsed` bit 63 means every column from 63 on. `count(*)` reads no column.
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
use rusqlite::types::ValueRef;
use rusqlite::vtab::{
    Context as Cell, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection,
    VTabCursor,
};
use rusqlite::{Connection, Error};

use crate::schema::{ColumnSchema, ColumnSource, ColumnType, Computation, TableSchema};
use crate::sql::bounds::{Operator, TimeRange};
use crate::sql::plan::{Offer, Plan, Taken, Term};
use crate::sql::statement::Context;
use crate::sql::walk::{Shown, Walk};

/// Rows that a state table is taken to have before it is read.
const STATE_ROWS: f64 = 1000.0;

/// Bytes that a row of a state table is taken to cost.
const STATE_ROW_BYTES: f64 = 256.0;

/// Rows that a table of events is taken to have when the store cannot be read.
const UNKNOWN_ROWS: f64 = 1e6;

/// What an equality leaves of the cost.
const KEY_SHARE: f64 = 1e-3;

/// What a bound of unknown value leaves of the rows.
const BOUND_SHARE: f64 = 0.25;

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
        let offers = offers(info)?;
        let (plan, taken) = Plan::choose(schema, &offers, info.col_used());
        for (position, taken) in (1..).zip(&taken) {
            let mut usage = info.constraint_usage(taken.offer);
            usage.set_argv_index(position);
            usage.set_omit(taken.exact);
        }
        let (rows, cost) = self.estimate(&plan, &offers, &taken);
        info.set_estimated_cost(cost);
        #[expect(clippy::cast_possible_truncation, reason = "an estimate; the cast saturates")]
        info.set_estimated_rows(rows as i64);
        let (from, to) = plan.is_bounded();
        let keyed = plan.keys().next().is_some();
        info.set_idx_num(c_int::from(from) | c_int::from(to) << 1 | c_int::from(keyed) << 2);
        info.set_idx_str(&plan.to_text(schema));
        Ok(true)
    }

    fn open(&mut self) -> rusqlite::Result<Cursor> {
        let context = Arc::clone(&self.context);
        let walk = Walk::new(self.shown, Arc::clone(&context));
        Ok(Cursor { base: sqlite3_vtab_cursor::default(), walk, context })
    }
}

impl Table {
    /// Rows and cost of a plan.
    fn estimate(&self, plan: &Plan, offers: &[Offer], taken: &[Taken]) -> (f64, f64) {
        let schema = self.shown.schema();
        let (mut rows, mut bytes) = match self.shown {
            Shown::State(_) => (STATE_ROWS, STATE_ROWS * STATE_ROW_BYTES),
            Shown::Events(_) => self.estimate_events(offers, taken),
        };
        #[expect(clippy::cast_precision_loss, reason = "columns are few")]
        let share = (plan.reads.len() + 1) as f64 / (schema.columns.len() + 1) as f64;
        bytes *= share;
        for _ in plan.keys() {
            rows *= KEY_SHARE;
            bytes *= KEY_SHARE;
        }
        (rows.max(1.0), bytes + rows + 1.0)
    }

    fn estimate_events(&self, offers: &[Offer], taken: &[Taken]) -> (f64, f64) {
        let schema = self.shown.schema();
        let (mut range, mut share, mut share_of_rows) = (TimeRange::ALL, 1.0, 1.0);
        for taken in taken {
            let Term::Bound(column, operator) = taken.term else {
                continue;
            };
            let equality = matches!(operator, Operator::Equal | Operator::Is);
            match offers.get(taken.offer).and_then(|offer| offer.constant) {
                Some(value) => {
                    range = range.narrow(column, operator, ValueRef::Integer(value));
                    // All of a frame or row group is decoded, few of its rows are in range.
                    share_of_rows *= if equality { KEY_SHARE } else { 1.0 };
                }
                None => share *= if equality { KEY_SHARE } else { BOUND_SHARE },
            }
        }
        if range.is_empty() {
            return (0.0, 0.0);
        }
        // A store that cannot be read is an error once it is read; a plan alone needs none.
        let Ok(snapshot) = self.context.snapshot(schema.name) else {
            return (UNKNOWN_ROWS * share, UNKNOWN_ROWS * share);
        };
        let estimate = snapshot.estimate(schema, &range.inclusive());
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let (rows, bytes) = (estimate.rows as f64, estimate.bytes as f64);
        (rows * share * share_of_rows, bytes * share)
    }
}

fn offers(info: &IndexInfo) -> rusqlite::Result<Vec<Offer>> {
    let mut offers = Vec::new();
    for (index, constraint) in info.constraints().enumerate() {
        let constant = match info.rhs_value(index) {
            Ok(Some(ValueRef::Integer(value))) => Some(value),
            _ => None,
        };
        offers.push(Offer {
            column: usize::try_from(constraint.column()).ok(),
            operator: operator(&constraint.operator()),
            usable: constraint.is_usable(),
            binary: info.collation(index)?.eq_ignore_ascii_case("BINARY"),
            list: info.is_in_constraint(index)?,
            constant,
        });
    }
    Ok(offers)
}

const fn operator(operator: &IndexConstraintOp) -> Option<Operator> {
    match operator {
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => Some(Operator::Equal),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => Some(Operator::Greater),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => Some(Operator::GreaterOrEqual),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => Some(Operator::Less),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => Some(Operator::LessOrEqual),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_IS => Some(Operator::Is),
        _ => None,
    }
}

/// `CREATE TABLE`, as SQLite is told the columns.
fn declaration(schema: &TableSchema) -> String {
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
        let started = self.walk.start(plan.unwrap_or_default(), arguments.iter());
        started.map_err(|error| self.context.fail(error))
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.walk.advance().map_err(|error| self.context.fail(error))
    }

    fn eof(&self) -> bool {
        self.walk.is_at_end()
    }

    fn column(&self, cell: &mut Cell, index: c_int) -> rusqlite::Result<()> {
        let value = usize::try_from(index).map(|index| self.walk.cell(index));
        value.map_or(Ok(()), |value| cell.set_result(value))
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.walk.rowid())
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
