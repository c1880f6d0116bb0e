//! Segments: sealed rows of one table in a Parquet file.
//!
//! A segment holds the table's stored columns under their own names and three more: `eid`,
//! `boot_id` (32 hexadecimal digits) and `clock_offset_ns` (boot-time nanoseconds plus it is real
//! time). Rows are sorted by time, then by eid. Any Parquet reader understands it; times are
//! plain 64-bit integers, nanoseconds since the Unix epoch.
//!
//! Row groups have up to 128 k rows, pages 8 k. Each column is encoded as suits its values
//! ([`encode`]) and compressed with zstd; each page has its smallest and largest value in the page
//! index, and the columns marked in the schema have a bloom filter. The file's key-value metadata
//! repeats what the manifest says of it and what it replaces (`bygone.*`), so that the manifest
//! can be rebuilt from the files:
//!
//! | key | value |
//! | --- | --- |
//! | `format` | of the segment: 1, or 2 with the keys below `max_time_ns` |
//! | `table`, `level`, `journal`, `rows`, `first_eid`, `last_eid`, `min_time_ns`, `max_time_ns` | as in the manifest |
//! | `first_journal`, `sealed_ns`, `late` | as in the manifest |
//! | `journals` | level 0: the journals that were sealed together, separated by commas |
//! | `replaces` | other levels: the segments that were merged, one a line |
//! | `path` | where it is, from the data folder |
//! | `part`, `last` | place among the files that were written together, from 0, and whether it is the last |
//!
//! **Invariant:** a segment never changes under its name: it is written as `*.tmp`, synced and
//! renamed.

pub(crate) mod describe;
pub(crate) mod encode;
pub(crate) mod moving;
pub(crate) mod read;
pub(crate) mod series;
pub(crate) mod write;

/// Column of the row's number.
pub(crate) const EID: &str = "eid";

/// Column of the boot id.
pub(crate) const BOOT_ID: &str = "boot_id";

/// Column of the clock offset.
pub(crate) const CLOCK_OFFSET: &str = "clock_offset_ns";

/// The format written, and the newest one read. Format 1 did not say what a segment replaces.
pub(crate) const FORMAT: u32 = 2;

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
    pub(crate) const FIRST_JOURNAL: &str = "bygone.first_journal";
    pub(crate) const SEALED: &str = "bygone.sealed_ns";
    pub(crate) const LATE: &str = "bygone.late";
    pub(crate) const JOURNALS: &str = "bygone.journals";
    pub(crate) const REPLACES: &str = "bygone.replaces";
    pub(crate) const PATH: &str = "bygone.path";
    pub(crate) const PART: &str = "bygone.part";
    pub(crate) const LAST: &str = "bygone.last";
}
