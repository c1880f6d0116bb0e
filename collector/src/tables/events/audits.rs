//! `audits`, from publishers that see whether their probes still catch what happens.

use bygone_store::EventTable;

use crate::events::CollectorEvent;
use crate::tables::Subscriber;

/// Self-audits: one row each time the collector did something of every class of event that allows a
/// harmless deed, to see whether it is recorded. What it did is in no table; the ledger counts it as
/// filtered. A class that failed is a gap until it passes again.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct Audits {
    /// When it was begun, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub time_ns: i64,
    /// The source.
    pub source: String,
    /// Classes of event of which the collector's own came, separated by commas.
    pub passed: String,
    /// Those of which it did not come; null when there are none. What could not be tried, or may have
    /// been lost or left out by configuration, is neither.
    pub failed: Option<String>,
}

impl Subscriber for Audits {
    type Event = CollectorEvent;

    const CLASSES: &'static [&'static str] = &[];

    fn row(event: &CollectorEvent) -> Option<Self> {
        match event {
            CollectorEvent::Audit(audit) => Some(Self {
                time_ns: audit.time_ns,
                source: audit.source.clone(),
                passed: audit.passed.join(","),
                failed: Some(audit.failed.join(",")).filter(|failed| !failed.is_empty()),
            }),
            CollectorEvent::Gap(_) | CollectorEvent::Ledger(_) | CollectorEvent::Capability(_) => {
                None
            }
        }
    }
}
