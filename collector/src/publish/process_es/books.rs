//! What became of every message, per class and ten seconds of the events' own time.
//!
//! An event that arrives after its ten seconds were written makes one more entry for them, so the
//! entries of one class and time add up. When exactly a dropped message was made is not known; it
//! counts at the time of the message that revealed the loss.
//!
//! **Invariant:** `seen = stored + lost` in every entry: nothing is filtered or merged.

use std::collections::BTreeMap;

use bygone_macos::{EsClass, EsLoss, EsLossKind};

use super::SOURCE;
use super::translate::TranslateError;
use crate::events::{CollectorEvent, Gap, GapReason, LedgerEntry};

/// Length of one entry's time in nanoseconds.
const BUCKET_NS: i64 = 10_000_000_000;

/// Entries that may be open at once. Times that jump make more; then the oldest are written early.
const OPEN_MAX: usize = 64;

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    stored: u64,
    lost: u64,
    late: u64,
}

/// The entries not yet written.
#[derive(Debug, Default)]
pub(super) struct Books {
    open: BTreeMap<(i64, EsClass), Counts>,
}

impl Books {
    /// Counts an event that is sent on.
    pub(super) fn stored(&mut self, time_ns: i64, class: EsClass, late: bool) {
        let counts = self.at(time_ns, class);
        counts.stored += 1;
        counts.late += u64::from(late);
    }

    /// Counts events that are not.
    pub(super) fn lost(&mut self, time_ns: i64, class: EsClass, lost: u64) {
        let counts = self.at(time_ns, class);
        counts.lost = counts.lost.saturating_add(lost);
    }

    /// Counts what the source lost. [`EsLossKind::Dropped`] is left out because
    /// [`EsLossKind::DroppedOfClass`] tells the same by class.
    pub(super) fn loss(&mut self, loss: &EsLoss) {
        match (loss.kind, loss.class) {
            (
                EsLossKind::DroppedOfClass | EsLossKind::QueueFull | EsLossKind::Undecoded,
                Some(class),
            ) => self.lost(loss.end_ns, class, loss.lost),
            (EsLossKind::Dropped, _)
            | (EsLossKind::DroppedOfClass | EsLossKind::QueueFull | EsLossKind::Undecoded, None) => {
            }
        }
    }

    /// Takes the entries whose time has passed, and the oldest when there are too many.
    pub(super) fn close_before(
        &mut self,
        time_ns: i64,
    ) -> impl Iterator<Item = LedgerEntry> + use<> {
        let current = time_ns.div_euclid(BUCKET_NS);
        let passed = self.open.range(..(current, EsClass::Exec)).count();
        let count = passed.max(self.open.len().saturating_sub(OPEN_MAX));
        let mut closed = Vec::with_capacity(count);
        for _ in 0..count {
            closed.extend(self.open.pop_first());
        }
        closed.into_iter().map(entry)
    }

    /// Takes all entries.
    pub(super) fn close_all(&mut self) -> impl Iterator<Item = LedgerEntry> + use<> {
        std::mem::take(&mut self.open).into_iter().map(entry)
    }

    fn at(&mut self, time_ns: i64, class: EsClass) -> &mut Counts {
        self.open.entry((time_ns.div_euclid(BUCKET_NS), class)).or_default()
    }
}

fn entry(((bucket, class), counts): ((i64, EsClass), Counts)) -> LedgerEntry {
    LedgerEntry {
        time_ns: bucket.saturating_mul(BUCKET_NS),
        source: SOURCE.to_owned(),
        class: class.name().to_owned(),
        seen: counts.stored.saturating_add(counts.lost),
        stored: counts.stored,
        filtered: 0,
        excluded: 0,
        merged: 0,
        lost: counts.lost,
        missed: None,
        late: counts.late,
    }
}

/// The gap that a loss is, `None` for one told twice.
pub(super) fn gap(loss: &EsLoss) -> Option<Gap> {
    let (reason, detail) = match loss.kind {
        EsLossKind::Dropped => (GapReason::SourceOverflow, "dropped by EndpointSecurity"),
        EsLossKind::DroppedOfClass => return None,
        EsLossKind::QueueFull => (GapReason::QueueFull, "found the queue to the publisher full"),
        EsLossKind::Undecoded => (GapReason::DecodeError, "could not be decoded"),
    };
    let class = loss.class.map_or("messages", EsClass::name);
    let detail = match &loss.detail {
        Some(error) => format!("{class} {detail}: {error}"),
        None => format!("{class} {detail}"),
    };
    Some(Gap {
        time_ns: loss.start_ns,
        end_ns: loss.end_ns,
        source: SOURCE.to_owned(),
        reason,
        lost: Some(loss.lost),
        detail: Some(detail),
    })
}

/// The gap of one message that becomes no event.
pub(super) fn undecoded(time_ns: i64, error: &TranslateError) -> CollectorEvent {
    CollectorEvent::Gap(Gap {
        time_ns,
        end_ns: time_ns,
        source: SOURCE.to_owned(),
        reason: GapReason::DecodeError,
        lost: Some(1),
        detail: Some(error.to_string()),
    })
}
