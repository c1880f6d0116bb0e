//! Mistakes of the struct as a whole.

extern crate self as bygone_store;
#[path = "../../../src/schema.rs"]
pub mod schema;
#[path = "../../../src/table.rs"]
pub mod table;
pub use schema::TableSchema;
pub use table::{Computed, EventTable, StateTable, ValueRef};

use bygone_store_derive::EventTable;

#[derive(EventTable)]
pub struct NoDoc {
    /// When.
    #[column(time)]
    pub time_ns: i64,
}

/// No field is the time.
#[derive(EventTable)]
pub struct NoTime {
    /// When.
    pub time_ns: i64,
}

/// Two fields are the time.
#[derive(EventTable)]
pub struct TwoTimes {
    /// When it began.
    #[column(time)]
    pub start_ns: i64,
    /// When it ended.
    #[column(time)]
    pub end_ns: i64,
}

/// Not a struct.
#[derive(EventTable)]
pub enum Choice {
    /// One.
    One,
}

/// Generic.
#[derive(EventTable)]
pub struct Generic<T: Send + 'static> {
    /// When.
    #[column(time)]
    pub time_ns: i64,
    /// A value.
    pub value: T,
}

/// Tuple.
#[derive(EventTable)]
pub struct Tuple(i64);

fn is_a_table<T: EventTable>() {}

fn main() {
    is_a_table::<NoDoc>();
    is_a_table::<NoTime>();
    is_a_table::<TwoTimes>();
    is_a_table::<Choice>();
    is_a_table::<Generic<u32>>();
    is_a_table::<Tuple>();
}
