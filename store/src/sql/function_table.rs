//! Functions that are tables, as SQLite calls them: an eponymous module whose hidden columns are the
//! arguments.
//!
//! **Invariant:** a scan runs only with every argument known; SQLite is told that it cannot
//! otherwise, so that it puts what the arguments come from outside.

#![expect(
    unsafe_code,
    reason = "rusqlite's traits of virtual tables are unsafe: the structs must begin with SQLite's"
)]

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::sync::Arc;

use rusqlite::ffi::{sqlite3_vtab, sqlite3_vtab_cursor};
use rusqlite::types::Value;
use rusqlite::vtab::{
    Context as Cell, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection,
    VTabCursor,
};
use rusqlite::{Connection, Error};

use crate::sql::error::SqlError;
use crate::sql::extension::{History, TableFunctionEntry};
use crate::sql::repeated::owned;
use crate::sql::rows::Block;
use crate::sql::statement::Context;
use crate::sql::vtab::declaration;

/// Rows that a function is taken to have, and what one costs. Few, so that SQLite asks it before
/// whatever its rows are joined with.
const ROWS: i64 = 20;
const COST: f64 = 1000.0;

/// Adds a function to a connection.
pub(super) fn register(
    connection: &Connection,
    entry: &'static TableFunctionEntry,
    context: &Arc<Context>,
) -> rusqlite::Result<()> {
    const MODULE: Module<'_, Table> = Module::eponymous_only_module();
    let aux = Aux { entry, context: Arc::clone(context) };
    connection.create_module(entry.schema().name, &MODULE, Some(aux))
}

/// What every connection of a function begins with.
pub(super) struct Aux {
    entry: &'static TableFunctionEntry,
    context: Arc<Context>,
}

/// A connected function.
#[repr(C)]
pub(super) struct Table {
    /// SQLite's part; must be first.
    base: sqlite3_vtab,
    entry: &'static TableFunctionEntry,
    context: Arc<Context>,
}

impl Table {
    /// The columns that are arguments.
    fn arguments(&self) -> Vec<usize> {
        let columns = self.entry.schema().columns.iter().enumerate();
        columns.filter(|(_, column)| column.hidden).map(|(index, _)| index).collect()
    }

    /// The function as it is to be called.
    fn usage(&self) -> String {
        let schema = self.entry.schema();
        let names = schema.columns.iter().filter(|column| column.hidden).map(|column| column.name);
        format!("{}({})", schema.name, names.collect::<Vec<_>>().join(", "))
    }
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
        let aux =
            aux.ok_or_else(|| Error::ModuleError("a function without a schema".to_owned()))?;
        let declaration = CString::new(declaration(aux.entry.schema()))?;
        let context = Arc::clone(&aux.context);
        let table = Self { base: sqlite3_vtab::default(), entry: aux.entry, context };
        Ok((Cow::Owned(declaration), table))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        self.context.note_planned(self.entry.schema().name);
        for (position, column) in (1..).zip(self.arguments()) {
            let equal = |constraint: &rusqlite::vtab::IndexConstraint<'_>| {
                usize::try_from(constraint.column()) == Ok(column)
                    && constraint.operator() == IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ
            };
            if !info.constraints().any(|constraint| equal(&constraint)) {
                let usage = self.usage();
                let name = self.entry.schema().name;
                return Err(self.context.fail(SqlError::NoArgument { name, usage }));
            }
            let usable = info
                .constraints()
                .position(|constraint| equal(&constraint) && constraint.is_usable());
            let Some(usable) = usable else { return Ok(false) };
            let mut usage = info.constraint_usage(usable);
            usage.set_argv_index(position);
            usage.set_omit(true);
        }
        info.set_estimated_cost(COST);
        info.set_estimated_rows(ROWS);
        Ok(true)
    }

    fn open(&mut self) -> rusqlite::Result<Cursor> {
        Ok(Cursor {
            base: sqlite3_vtab_cursor::default(),
            entry: self.entry,
            context: Arc::clone(&self.context),
            rows: None,
            row: 0,
        })
    }
}

/// An open cursor.
#[repr(C)]
pub(super) struct Cursor {
    /// SQLite's part; must be first.
    base: sqlite3_vtab_cursor,
    entry: &'static TableFunctionEntry,
    context: Arc<Context>,
    /// `None` before the first scan, and when an argument is null.
    rows: Option<Box<dyn Block>>,
    row: usize,
}

// SAFETY: `Cursor` is `repr(C)` and begins with `sqlite3_vtab_cursor`.
unsafe impl VTabCursor for Cursor {
    fn filter(
        &mut self,
        _: c_int,
        _: Option<&str>,
        arguments: &Filters<'_>,
    ) -> rusqlite::Result<()> {
        (self.rows, self.row) = (None, 0);
        self.context.check_interrupt().map_err(|error| self.context.fail(error))?;
        let arguments: Vec<Value> = arguments.iter().map(owned).collect();
        if arguments.contains(&Value::Null) {
            return Ok(());
        }
        let name = self.entry.schema().name;
        let rows = self.entry.read(&History::new(&self.context), &arguments);
        let failed = |source| self.context.fail(self.context.function_error(name, source));
        self.rows = Some(rows.map_err(failed)?);
        Ok(())
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.row += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.rows.as_ref().is_none_or(|rows| self.row >= rows.len())
    }

    fn column(&self, cell: &mut Cell, index: c_int) -> rusqlite::Result<()> {
        match (&self.rows, usize::try_from(index)) {
            (Some(rows), Ok(index)) => cell.set_result(rows.cell(index, self.row)),
            _ => Ok(()),
        }
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(i64::try_from(self.row).unwrap_or(i64::MAX))
    }
}
