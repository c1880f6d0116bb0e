//! `ledger`, from every publisher.

use bygone_store::EventTable;

use crate::events::CollectorEvent;
use crate::tables::Subscriber;

/// What became of the events of each class in ten seconds of their own time:
/// `seen = stored + filtered + merged + lost`.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct Ledger {
    /// Start of the ten seconds, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub time_ns: i64,
    /// The source.
    pub source: String,
    /// The class of event: `exec`, `fork`, `exit` or `file`; `other` for what no table is of, `unknown`
    /// for what was lost before its class was known.
    pub class: String,
    /// Events that the source produced.
    pub seen: u64,
    /// Events that became rows.
    pub stored: u64,
    /// Events that were left out: by configuration, or because no table is of them.
    pub filtered: u64,
    /// Events that were merged into others.
    pub merged: u64,
    /// Events lost.
    pub lost: u64,
    /// Times the kernel skipped the program; null when it does not tell.
    pub missed: Option<u64>,
    /// Events stored after the watermark had passed their time.
    pub late: u64,
    /// Of those filtered, events that would be rows but for `exclude_paths` and its like in `[process]`.
    pub excluded: u64,
}

impl Subscriber for Ledger {
    type Event = CollectorEvent;

    const CLASSES: &'static [&'static str] = &[];

    fn row(event: &CollectorEvent) -> Option<Self> {
        match event {
            CollectorEvent::Ledger(entry) => Some(Self {
                time_ns: entry.time_ns,
                source: entry.source.clone(),
                class: entry.class.clone(),
                seen: entry.seen,
                stored: entry.stored,
                filtered: entry.filtered,
                merged: entry.merged,
                lost: entry.lost,
                missed: entry.missed,
                late: entry.late,
                excluded: entry.excluded,
            }),
            CollectorEvent::Gap(_) | CollectorEvent::Capability(_) | CollectorEvent::Audit(_) => {
                None
            }
        }
    }
}
