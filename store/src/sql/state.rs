//! State tables: rows made by a function at the moment they are read.

#![expect(
    unsafe_code,
    reason = "an entry stands in a `static`, so that the row's type is erased from a function \
              pointer rather than boxed"
)]

use std::error::Error;
use std::fmt;
use std::mem::transmute;

use crate::schema::{ColumnSource, Computation, TableSchema};
use crate::sql::rows::{Block, Cell};
use crate::table::{StateTable, ValueRef};

/// Why a state table could not be read.
pub type ScanFailure = Box<dyn Error + Send + Sync>;

/// Reads an entry's table; the boot id is this host's.
type Read = fn(&StateTableEntry, Option<[u8; 16]>) -> Result<Box<dyn Block>, ScanFailure>;

/// A state table: its schema and the function that reads it whole.
///
/// ```
/// use bygone_store::StateTable;
/// use bygone_store::sql::StateTableEntry;
///
/// /// Greek letters.
/// #[derive(StateTable)]
/// struct Letters {
///     /// The letter's name.
///     name: String,
/// }
///
/// static LETTERS: StateTableEntry =
///     StateTableEntry::new::<Letters>(|| Ok(vec![Letters { name: "alpha".to_owned() }]));
/// assert_eq!(LETTERS.schema().name, "letters");
/// ```
#[derive(Clone, Copy)]
pub struct StateTableEntry {
    schema: &'static TableSchema,
    /// A `fn() -> Result<Vec<T>, ScanFailure>` for the `T` of `read`.
    scan: fn(),
    read: Read,
}

impl StateTableEntry {
    /// The entry of a table.
    #[must_use]
    pub const fn new<T: StateTable + Sync>(scan: fn() -> Result<Vec<T>, ScanFailure>) -> Self {
        // SAFETY: function pointers have one size, and this one is only called as what it was,
        // in `read_as::<T>`.
        let scan = unsafe { transmute::<fn() -> Result<Vec<T>, ScanFailure>, fn()>(scan) };
        Self { schema: T::SCHEMA, scan, read: read_as::<T> }
    }

    /// The table.
    #[must_use]
    pub const fn schema(&self) -> &'static TableSchema {
        self.schema
    }

    /// All rows. `boot_id` is this host's, for columns that hold a process's identity.
    pub(super) fn read(&self, boot_id: Option<[u8; 16]>) -> Result<Box<dyn Block>, ScanFailure> {
        (self.read)(self, boot_id)
    }
}

impl fmt::Debug for StateTableEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("StateTableEntry").field(&self.schema.name).finish()
    }
}

fn read_as<T: StateTable + Sync>(
    entry: &StateTableEntry,
    boot_id: Option<[u8; 16]>,
) -> Result<Box<dyn Block>, ScanFailure> {
    // SAFETY: `read` and `scan` are set together in `StateTableEntry::new::<T>`, so this is the
    // pointer's own type.
    let scan = unsafe { transmute::<fn(), fn() -> Result<Vec<T>, ScanFailure>>(entry.scan) };
    Ok(Box::new(StateBlock { boot_id, ..StateBlock::new(scan()?) }))
}

/// Rows that a function made.
pub(super) struct StateBlock<T> {
    rows: Vec<T>,
    boot_id: Option<[u8; 16]>,
}

impl<T: StateTable> StateBlock<T> {
    /// Rows that belong to no boot.
    pub(super) const fn new(rows: Vec<T>) -> Self {
        Self { rows, boot_id: None }
    }

    /// The identity that the columns `pid` and `start_ns` make, when both are there.
    fn guid(&self, row: &T, pid: usize, start_ns: usize) -> Option<Cell<'_>> {
        match (row.value(pid), row.value(start_ns)) {
            (ValueRef::U32(pid), ValueRef::U64(start_ns)) => {
                Some(Cell::Guid { boot_id: self.boot_id?, pid, start_ns })
            }
            _ => None,
        }
    }
}

impl<T: StateTable + Sync> Block for StateBlock<T> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn cell(&self, column: usize, row: usize) -> Cell<'_> {
        let null = Cell::Value(ValueRef::Null);
        let (Some(row), Some(schema)) = (self.rows.get(row), T::SCHEMA.columns.get(column)) else {
            return null;
        };
        match schema.source {
            ColumnSource::Stored(_) => Cell::Value(row.value(column)),
            ColumnSource::Computed(Computation::Guid { pid, start_ns }) => {
                self.guid(row, pid, start_ns).unwrap_or(null)
            }
            ColumnSource::Computed(_) => null,
        }
    }

    /// The row's place in the scan. The scan is kept for the statement, so within it the number
    /// names the row in every cursor, and unlike a hash of the row it is never shared by two.
    fn rowid(&self, row: usize) -> i64 {
        i64::try_from(row).unwrap_or(i64::MAX)
    }

    fn time_ns(&self, _: usize) -> Option<i64> {
        None
    }
}
