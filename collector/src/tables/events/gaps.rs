//! `gaps`, from every publisher and the daemon.

use bygone_store::EventTable;

use crate::events::CollectorEvent;
use crate::tables::Subscriber;

/// Stretches of time in which events were lost, each with its reason.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct Gaps {
    /// Start of the gap, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub time_ns: i64,
    /// End of the gap, in nanoseconds since the Unix epoch.
    pub end_ns: i64,
    /// The source that lost them; `*` for all.
    pub source: String,
    /// Why: `ring_full`, `queue_full`, `publisher_stalled`, `source_overflow`, `decode_error`,
    /// `audit_failed`, `publisher_down`, `daemon_down`, `disk_full`, `corrupt` or `expired`.
    pub reason: String,
    /// How many events; null when that cannot be known.
    pub lost: Option<u64>,
    /// More, in words.
    pub detail: Option<String>,
}

impl Subscriber for Gaps {
    type Event = CollectorEvent;

    const CLASSES: &'static [&'static str] = &[];

    fn row(event: &CollectorEvent) -> Option<Self> {
        match event {
            CollectorEvent::Gap(gap) => Some(Self {
                time_ns: gap.time_ns,
                end_ns: gap.end_ns,
                source: gap.source.clone(),
                reason: gap.reason.name().to_owned(),
                lost: gap.lost,
                detail: gap.detail.clone(),
            }),
            CollectorEvent::Ledger(_)
            | CollectorEvent::Capability(_)
            | CollectorEvent::Audit(_) => None,
        }
    }
}
