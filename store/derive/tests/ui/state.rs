//! Mistakes of state tables.

extern crate self as bygone_store;
#[path = "../../../src/schema.rs"]
pub mod schema;
#[path = "../../../src/table.rs"]
pub mod table;
pub use schema::TableSchema;
pub use table::{Computed, EventTable, StateTable, ValueRef};

use bygone_store_derive::StateTable;

/// A state table has neither time nor segments.
#[derive(StateTable)]
pub struct Fields {
    /// When.
    #[column(time)]
    pub time_ns: i64,
    /// Path.
    #[column(bloom)]
    pub path: String,
    /// Time since boot.
    #[column(uptime)]
    pub uptime: Computed,
    pub name: String,
}

fn is_a_table<T: StateTable>() {}

fn main() {
    is_a_table::<Fields>();
}
