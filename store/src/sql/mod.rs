//! SQL over the store: SQLite, with a virtual table for every table.
//!
//! [`Session`] is the way in. It holds one SQLite connection that has no database of its own: the
//! tables of events read the store's snapshot, those of state call a function. Statements may read
//! and nothing else (`authorizer`).
//!
//! A statement moves through these modules: SQLite asks `vtab` what a scan with certain
//! comparisons and in a certain order would cost (`cost`); `plan` and `order` choose what the scan
//! takes over and write it down as the text that `EXPLAIN QUERY PLAN` shows; `walk` runs the scan,
//! with time ranges from `bounds`, filters from `values` and rows from `event` or `state`;
//! `statement` holds what all scans of one statement share: the snapshot, `now`, and the rows kept
//! (`kept`) for scans that are repeated (`repeated`). Where SQLite would only pass a scan's rows on,
//! they go past it (`direct`). What a program adds of views and functions is `extension`.
//!
//! **Invariants:** all cursors of a statement see one snapshot. A scan may yield rows that do not
//! match, never miss one that does; SQLite checks again what is not exact whatever the row. Nothing
//! here panics on what the store or a statement holds: a panic would end the process.

mod authorizer;
mod bounds;
mod budget;
mod clock;
mod cost;
mod direct;
mod error;
mod event;
mod extension;
mod function_table;
mod functions;
mod grouped;
mod groups;
mod hash;
mod kept;
mod math;
mod operator;
mod order;
mod plan;
mod repeated;
mod rows;
mod script;
mod session;
mod state;
mod statement;
mod time;
mod values;
mod vtab;
mod walk;

pub use error::SqlError;
pub use extension::{Extensions, History, ScalarFunction, TableFunction, TableFunctionEntry, View};
pub use script::{ScriptStatement, statements};
pub use session::{Executed, InterruptHandle, ResultColumn, ResultSink, Session, SessionOptions};
pub use state::{ScanFailure, StateTableEntry};
pub use time::{TimeError, parse_time};
