//! What a table is: its columns, their types, and what is computed rather than stored.
//!
//! A schema is a `static` that `#[derive(EventTable)]` or `#[derive(StateTable)]` writes from a
//! struct. Everything else follows from it: the SQL declaration, the virtual table, the journal
//! encoding, the segment's Arrow schema and the reference page.
//!
//! **Invariant:** a column's name is never reused with another type. Columns may be added at the
//! end or dropped; `tests/snapshots/schema.sql` shows every change in review.

/// The type of a stored value: its journal encoding, its Arrow type and its SQL type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `bool`; SQL `INTEGER` 0 or 1.
    Bool,
    /// `i32`; SQL `INTEGER`.
    I32,
    /// `i64`; SQL `BIGINT`.
    I64,
    /// `u32`; SQL `BIGINT`.
    U32,
    /// `u64`; SQL `BIGINT`, two's complement above `i64::MAX`.
    U64,
    /// `f64`; SQL `DOUBLE`.
    F64,
    /// `String`, UTF-8; SQL `TEXT`.
    Text,
    /// `Vec<u8>`; SQL `BLOB`.
    Blob,
}

impl ColumnType {
    /// The declared SQL type, in osquery's spelling.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Bool | Self::I32 => "INTEGER",
            Self::I64 | Self::U32 | Self::U64 => "BIGINT",
            Self::F64 => "DOUBLE",
            Self::Text => "TEXT",
            Self::Blob => "BLOB",
        }
    }
}

/// How a computed column gets its value when it is read. Indices are into
/// [`TableSchema::columns`] and name stored columns of the same row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Computation {
    /// Floor of the time column in whole seconds since the Unix epoch; `BIGINT`.
    Seconds,
    /// Whole seconds between boot and the row's time; `BIGINT`.
    Uptime,
    /// Nanoseconds since boot, suspended time included: the time less the clock offset; `BIGINT`.
    BootNs,
    /// The boot id of the host the row was recorded on, 32 hexadecimal digits; `TEXT`.
    BootId,
    /// The row's number in its table; `BIGINT`.
    Eid,
    /// A process's identity in text, `<boot, 8 hex>-<pid, hex>-<start_ns, hex>`; null when either
    /// stored part is null; `TEXT`. See [`crate::guid()`].
    Guid {
        /// Column of the process id (`U32`).
        pid: usize,
        /// Column of the start time in nanoseconds since boot (`U64`).
        start_ns: usize,
    },
}

impl Computation {
    /// The declared SQL type.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Seconds | Self::Uptime | Self::BootNs | Self::Eid => "BIGINT",
            Self::BootId | Self::Guid { .. } => "TEXT",
        }
    }
}

/// Where a column's values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnSource {
    /// A field of the row's struct, kept in the journal and in segments.
    Stored(ColumnType),
    /// Derived from the row's other columns on read.
    Computed(Computation),
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct ColumnSchema {
    /// The SQL name.
    pub name: &'static str,
    /// What it means: the field's doc comment, joined to one line.
    pub doc: &'static str,
    /// Where its values come from.
    pub source: ColumnSource,
    /// Whether it can be null (`Option<T>`).
    pub nullable: bool,
    /// Whether `SELECT *` leaves it out.
    pub hidden: bool,
    /// Whether segments carry a bloom filter on it (`#[column(bloom)]`).
    pub bloom: bool,
}

/// A table of events: rows with a time, appended and never changed.
///
/// `columns` is in SQL order: `time` first, then the struct's fields, then the hidden `eid`,
/// `boot_ns` and `boot_id`, which every event table has.
#[derive(Clone, Copy, Debug)]
pub struct TableSchema {
    /// The SQL name.
    pub name: &'static str,
    /// What a row is: the struct's doc comment, joined to one line.
    pub doc: &'static str,
    /// The columns in SQL order.
    pub columns: &'static [ColumnSchema],
    /// Index of the time column (`I64`, nanoseconds since the Unix epoch); `None` for state tables.
    pub time: Option<usize>,
}

impl TableSchema {
    /// The stored columns in field order, each with its index in [`Self::columns`].
    pub fn stored(&self) -> impl Iterator<Item = (usize, &'static ColumnSchema, ColumnType)> {
        self.columns.iter().enumerate().filter_map(|(index, column)| match column.source {
            ColumnSource::Stored(column_type) => Some((index, column, column_type)),
            ColumnSource::Computed(_) => None,
        })
    }

    /// The index of a column by its SQL name, or `None` when there is none such.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}
