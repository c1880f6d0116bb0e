//! Segments: sealed rows of one table in a Parquet file.
//!
//! A segment holds the table's stored columns under their own names and three more: `eid`,
//! `boot_id` (32 hexadecimal digits) and `clock_offset_ns` (boot-time nanoseconds plus it is real
//! time). Rows are sorted by time, then by eid. Any Parquet reader understands it; times are
//! plain 64-bit integers, nanoseconds since the Unix epoch.
//!
//! Columns are dictionary-encoded and compressed with zstd; each page has its smallest and largest
//! value in the page index, and the columns marked in the schema have a bloom filter. The file's
//! key-value metadata repeats what the manifest says of it (`bygone.*`), so that the manifest can
//! be rebuilt from the files.
//!
//! **Invariant:** a segment never changes under its name: it is written as `*.tmp`, synced and
//! renamed.

pub(crate) mod read;
pub(crate) mod write;

/// Column of the row's number.
pub(crate) const EID: &str = "eid";

/// Column of the boot id.
pub(crate) const BOOT_ID: &str = "boot_id";

/// Column of the clock offset.
pub(crate) const CLOCK_OFFSET: &str = "clock_offset_ns";

/// The format written, and the newest one read.
pub(crate) const FORMAT: u32 = 1;

/// Keys of the file's metadata.
pub(crate) mod key {
    pub(crate) const FORMAT: &str = "bygone.format";
    pub(crate) const TABLE: &str = "bygone.table";
    pub(crate) const LEVEL: &str = "bygone.level";
    pub(crate) const JOURNAL: &str = "bygone.journal";
    pub(crate) const ROWS: &str = "bygone.rows";
    pub(crate) const FIRST_EID: &str = "bygone.first_eid";
    pub(crate) const LAST_EID: &str = "bygone.last_eid";
    pub(crate) const MIN_TIME: &str = "bygone.min_time_ns";
    pub(crate) const MAX_TIME: &str = "bygone.max_time_ns";
}
