//! Append-only tables of events with a time index, read through SQLite.

// The derives write `::bygone_store::…`, also in this crate's own tests.
extern crate self as bygone_store;

mod bytes;
mod columns;
pub mod damage;
mod files;
#[cfg(test)]
mod fixture;
pub mod guid;
mod journal;
mod layout;
mod lease;
pub mod limits;
mod lock;
mod manifest;
pub mod read;
pub mod row;
mod rows;
pub mod schema;
mod segment;
mod slots;
pub mod sql;
pub mod table;
mod wire;
pub mod write;

pub use bygone_store_derive::{EventTable, StateTable};

pub use crate::columns::ColumnArray;
pub use crate::damage::{Damage, DamageKind};
pub use crate::guid::{GuidParts, guid, parse_guid};
pub use crate::journal::read::JournalError;
pub use crate::manifest::entry::SegmentEntry;
pub use crate::manifest::read::ManifestError;
pub use crate::read::{
    Estimate, ReadError, Reader, RowParts, Scan, ScanBatch, ScanRequest, Snapshot,
};
pub use crate::schema::TableSchema;
pub use crate::slots::SlotsError;
pub use crate::table::{Computed, EventTable, StateTable, ValueRef};
pub use crate::write::{
    AppendError, Appended, HeartbeatError, OpenError, Opened, Synced, WriteError, Writer,
    WriterOptions,
};
