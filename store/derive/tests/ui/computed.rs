//! Mistakes of computed fields.

extern crate self as bygone_store;
#[path = "../../../src/schema.rs"]
pub mod schema;
#[path = "../../../src/table.rs"]
pub mod table;
pub use schema::TableSchema;
pub use table::{Computed, EventTable, StateTable, ValueRef};

use bygone_store_derive::EventTable;

/// Every computed field has a mistake.
#[derive(EventTable)]
pub struct Fields {
    /// When.
    #[column(time)]
    pub time_ns: i64,
    /// Process id.
    pub pid: u32,
    /// Parent.
    pub parent: i64,
    /// Start.
    pub start_ns: u64,
    /// Not said how.
    pub how: Computed,
    /// Two ways.
    #[column(uptime, boot_ns)]
    pub both: Computed,
    /// Not computed.
    #[column(uptime)]
    pub stored: u64,
    /// No such part.
    #[column(guid(pid, started))]
    pub guid: Computed,
    /// A part of another type.
    #[column(guid(parent, start_ns))]
    pub parent_guid: Computed,
    /// No parts.
    #[column(guid)]
    pub bare_guid: Computed,
    /// No filter.
    #[column(guid(pid, start_ns), bloom)]
    pub bloom_guid: Computed,
}

fn is_a_table<T: EventTable>() {}

fn main() {
    is_a_table::<Fields>();
}
