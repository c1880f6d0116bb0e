//! `capabilities`, from every publisher and the daemon.

use bygone_store::EventTable;

use crate::events::CollectorEvent;
use crate::tables::Subscriber;

/// What the collector can see: one row per kind of event whenever it starts or its tier changes.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct Capabilities {
    /// From when on this holds, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub time_ns: i64,
    /// Kind of event: `exec`, `fork`, `exit` or `file`.
    pub kind: String,
    /// The source in use; null when there is none.
    pub source: Option<String>,
    /// The tier in use; null when there is none.
    pub tier: Option<String>,
    /// What it cannot see, in words; empty when it sees every route.
    pub blind_to: String,
    /// Why better tiers are not in use; null when this is the best.
    pub reason: Option<String>,
}

impl Subscriber for Capabilities {
    type Event = CollectorEvent;

    const CLASSES: &'static [&'static str] = &[];

    fn row(event: &CollectorEvent) -> Option<Self> {
        match event {
            CollectorEvent::Capability(capability) => Some(Self {
                time_ns: capability.time_ns,
                kind: capability.kind.clone(),
                source: capability.source.clone(),
                tier: capability.tier.clone(),
                blind_to: capability.blind_to.clone(),
                reason: capability.reason.clone(),
            }),
            CollectorEvent::Gap(_) | CollectorEvent::Ledger(_) | CollectorEvent::Audit(_) => None,
        }
    }
}
