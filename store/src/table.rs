//! The two traits that a table's struct implements, always through a derive.
//!
//! ```
//! use bygone_store::{Computed, EventTable};
//!
//! /// Programs started on this host: one row per successful `execve(2)`.
//! #[derive(Debug, EventTable)]
//! pub struct ProcessEvents {
//!     /// Process id, in the initial pid namespace.
//!     pub pid: u32,
//!     /// Start of the process, in nanoseconds since boot.
//!     pub start_ns: u64,
//!     /// Identity of the process.
//!     #[column(guid(pid, start_ns))]
//!     pub guid: Computed,
//!     /// When the kernel finished the exec, in nanoseconds since the Unix epoch.
//!     #[column(time)]
//!     pub time_ns: i64,
//! }
//! ```

use crate::schema::TableSchema;

/// Stands in a row's struct for a column whose value is computed on read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Computed;

/// A borrowed value of one column of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// SQL `NULL`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A signed 32-bit integer.
    I32(i32),
    /// A signed 64-bit integer.
    I64(i64),
    /// An unsigned 32-bit integer.
    U32(u32),
    /// An unsigned 64-bit integer.
    U64(u64),
    /// A floating-point number.
    F64(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

/// A row of a table of events. Implemented by `#[derive(EventTable)]`.
///
/// The derive converts the struct's name to snake case for the table's name
/// (`ProcessEvents` → `process_events`).
pub trait EventTable: Sized + Send + 'static {
    /// The table.
    const SCHEMA: &'static TableSchema;

    /// When the event happened, in nanoseconds since the Unix epoch.
    fn time_ns(&self) -> i64;

    /// Appends the row's stored fields, in field order, to `out`.
    ///
    /// The encoding is bincode 2's standard configuration: variable-length integers, an `Option`
    /// tag byte before nullable fields, length-prefixed text and bytes. The journal's header
    /// carries the schema needed to read it back.
    fn encode(&self, out: &mut Vec<u8>);
}

/// A row of a table that shows the host's state at the moment it is read. Implemented by
/// `#[derive(StateTable)]`; the scan itself is a separate function.
pub trait StateTable: Sized + Send + 'static {
    /// The table.
    const SCHEMA: &'static TableSchema;

    /// The value of column `index` of [`TableSchema::columns`]; `Null` for an index out of range.
    fn value(&self, index: usize) -> ValueRef<'_>;
}
