//! Mistakes of single fields, all reported at once.

extern crate self as bygone_store;
#[path = "../../../src/schema.rs"]
pub mod schema;
#[path = "../../../src/table.rs"]
pub mod table;
pub use schema::TableSchema;
pub use table::{Computed, EventTable, StateTable, ValueRef};

use bygone_store_derive::EventTable;

/// Every field but the first has a mistake.
#[derive(EventTable)]
pub struct Fields {
    /// When.
    #[column(time)]
    pub time_ns: i64,
    pub pid: u32,
    /// A type that is not stored.
    pub count: usize,
    /// An optional type that is not stored.
    pub state: Option<Option<u32>>,
    /// A list of something else than bytes.
    pub words: Vec<String>,
    /// A borrowed type.
    pub name: &'static str,
    /// An unknown attribute.
    #[column(index)]
    pub path: String,
    /// A name that every event table has.
    pub eid: i64,
    /// An attribute with an argument it does not take.
    #[column(bloom(yes))]
    pub uid: u32,
    ///
    pub empty: u32,
}

/// The time is not a time.
#[derive(EventTable)]
pub struct TextTime {
    /// When.
    #[column(time)]
    pub time_ns: String,
}

/// The time can be null.
#[derive(EventTable)]
pub struct MaybeTime {
    /// When.
    #[column(time)]
    pub time_ns: Option<i64>,
}

fn is_a_table<T: EventTable>() {}

fn main() {
    is_a_table::<Fields>();
    is_a_table::<TextTime>();
    is_a_table::<MaybeTime>();
}
