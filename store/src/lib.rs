//! Append-only tables of events with a time index, read through SQLite.
//!
//! A table is a struct with `#[derive(EventTable)]`. One [`Writer`] per data folder appends rows;
//! any number of [`Reader`]s, in other processes or on other machines, pin a [`Snapshot`] and scan
//! it by time. Neither waits for the other.
//!
//! ```text
//! Writer ─ append ─▶ journal/<n>.bj ─ sealer ─▶ segments/<table>/0-<n>.parquet
//!                          │                          │   manifest/<m> says which count
//! Reader ─ snapshot ───────┴──────────────────────────┘
//! ```
//! How each part works is said where it is: the journal in `journal/mod.rs`, the manifest in
//! `manifest/mod.rs`, snapshots in [`read`], the virtual tables in [`sql`].
//!
//! **Invariants:** the store knows no event and no operating system's API beyond files. A
//! file of rows or of the manifest is never changed in place: the newest only grow at their end.
//! No `Future`, and no lock between reader and writer.

// The derives write `::bygone_store::…`, also in this crate's own tests.
extern crate self as bygone_store;

mod bytes;
mod columns;
pub mod damage;
pub mod disk;
#[cfg(test)]
mod fixture;
mod guard;
pub mod guid;
mod journal;
mod layout;
mod lease;
pub mod limits;
mod lock;
mod manifest;
pub mod read;
mod retention;
pub mod row;
mod rows;
pub mod schema;
mod segment;
mod slots;
pub mod sql;
pub mod table;
pub mod verify;
mod wire;
pub mod write;

pub use bygone_store_derive::{EventTable, StateTable};

pub use crate::columns::ColumnArray;
pub use crate::damage::{Damage, DamageKind};
pub use crate::guid::{GuidParts, guid, parse_guid};
pub use crate::journal::read::JournalError;
pub use crate::lock::Holder;
pub use crate::manifest::entry::SegmentEntry;
pub use crate::manifest::read::ManifestError;
pub use crate::read::{
    Estimate, Filter, FilterColumn, Order, ReadError, Reader, RowParts, Scan, ScanBatch,
    ScanRequest, Snapshot, TableUsage, Test, Usage,
};
pub use crate::retention::{Expired, Retention, TableRetention};
pub use crate::schema::TableSchema;
pub use crate::slots::SlotsError;
pub use crate::table::{Computed, EventTable, StateTable, ValueRef};
pub use crate::verify::{Verified, VerifyRequest};
pub use crate::write::{
    AppendError, Appended, Clock, HeartbeatError, OpenError, Opened, Synced, WriteError, Writer,
    WriterOptions,
};
