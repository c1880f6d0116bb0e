//! Tables of events that statements are made for.

use bygone_store::{Computed, EventTable};

/// The boot that rows are recorded in.
pub(crate) const BOOT_ID: [u8; 16] = *b"\xab\xcd\xef\x01 any boot id";

/// Boot-time nanoseconds plus this is real time.
pub(crate) const CLOCK_OFFSET_NS: i64 = 1_000_000_000;

/// One column of every type.
#[derive(Clone, Debug, EventTable)]
#[expect(dead_code, reason = "computed fields hold nothing to be read")]
pub(crate) struct Samples {
    /// Process id.
    pub(crate) pid: u32,
    /// Start of the process.
    pub(crate) start_ns: u64,
    /// Identity of the process.
    #[column(guid(pid, start_ns))]
    pub(crate) guid: Computed,
    /// Text.
    #[column(bloom)]
    pub(crate) name: String,
    /// Text that can be null.
    pub(crate) label: Option<String>,
    /// A real.
    pub(crate) score: f64,
    /// A number that can be null.
    pub(crate) level: Option<i32>,
    /// Yes or no.
    pub(crate) flag: bool,
    /// A large number.
    pub(crate) big: i64,
    /// Bytes.
    pub(crate) data: Option<Vec<u8>>,
    /// When.
    #[column(time)]
    pub(crate) time_ns: i64,
    /// When, in seconds since boot.
    #[column(uptime)]
    pub(crate) uptime: Computed,
}

/// The same again, for joins.
#[derive(Clone, Debug, EventTable)]
#[expect(dead_code, reason = "computed fields hold nothing to be read")]
pub(crate) struct Others {
    /// When.
    #[column(time)]
    pub(crate) time_ns: i64,
    /// Process id, null when it is unknown.
    pub(crate) pid: Option<u32>,
    /// Start of the process.
    pub(crate) start_ns: Option<u64>,
    /// Identity of the process.
    #[column(guid(pid, start_ns))]
    pub(crate) guid: Computed,
    /// Text.
    pub(crate) name: String,
    /// A number that can be null.
    pub(crate) level: Option<i32>,
}
