//! Append-only tables of events with a time index, read through SQLite.

// The derives write `::bygone_store::…`, also in this crate's own tests.
extern crate self as bygone_store;

pub mod row;
pub mod schema;
pub mod table;

pub use bygone_store_derive::{EventTable, StateTable};

pub use crate::schema::TableSchema;
pub use crate::table::{Computed, EventTable, StateTable, ValueRef};
