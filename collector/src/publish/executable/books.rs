//! What became of each exec of new content, per ten seconds of its time.
//!
//! Every ten seconds have an entry, also those in which nothing was executed: so it can be told that
//! nothing was.

use std::collections::BTreeMap;

use super::SOURCE;
use crate::events::LedgerEntry;

/// Length of an entry's time.
const BUCKET_NS: i64 = 10_000_000_000;

/// Entries that are made at once: an hour, after which the clock was rather set than that nothing
/// was offered.
const ENTRIES_MAX: usize = 360;

/// What became of one exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Stored,
    /// Its content is known.
    Merged,
    Lost,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    stored: u64,
    merged: u64,
    lost: u64,
}

/// The open entries.
#[derive(Debug)]
pub(super) struct Books {
    buckets: BTreeMap<i64, Counts>,
    /// Start of the entry that is made next.
    next_ns: i64,
}

impl Books {
    pub(super) fn new(since_ns: i64) -> Self {
        Self { buckets: BTreeMap::new(), next_ns: floor(since_ns) }
    }

    /// Counts an exec. What happened before the next entry counts in that one.
    pub(super) fn record(&mut self, time_ns: i64, outcome: Outcome) {
        let counts = self.buckets.entry(floor(time_ns).max(self.next_ns)).or_default();
        match outcome {
            Outcome::Stored => counts.stored += 1,
            Outcome::Merged => counts.merged += 1,
            Outcome::Lost => counts.lost += 1,
        }
    }

    /// Makes the entries of all that ended before `watermark_ns`; with `all`, that of its time too.
    pub(super) fn close(&mut self, watermark_ns: i64, all: bool) -> Vec<LedgerEntry> {
        let end_ns = floor(watermark_ns) + if all { BUCKET_NS } else { 0 };
        let many = i64::try_from(ENTRIES_MAX).unwrap_or(i64::MAX).saturating_mul(BUCKET_NS);
        if end_ns.saturating_sub(self.next_ns) > many {
            let first = self.buckets.first_key_value().map(|(start, _)| *start);
            self.next_ns = first.unwrap_or(end_ns).max(end_ns.saturating_sub(many));
        }
        let mut entries = Vec::new();
        while self.next_ns < end_ns {
            let mut counts = Counts::default();
            while let Some(entry) = self.buckets.first_entry().filter(|e| *e.key() <= self.next_ns)
            {
                let more = entry.remove();
                counts.stored += more.stored;
                counts.merged += more.merged;
                counts.lost += more.lost;
            }
            entries.push(entry(self.next_ns, counts));
            self.next_ns += BUCKET_NS;
        }
        entries
    }
}

const fn floor(time_ns: i64) -> i64 {
    time_ns.div_euclid(BUCKET_NS) * BUCKET_NS
}

fn entry(time_ns: i64, counts: Counts) -> LedgerEntry {
    let Counts { stored, merged, lost } = counts;
    LedgerEntry {
        time_ns,
        source: SOURCE.to_owned(),
        class: SOURCE.to_owned(),
        seen: stored + merged + lost,
        stored,
        filtered: 0,
        excluded: 0,
        merged,
        lost,
        // There is no kernel's program here that could be skipped.
        missed: Some(0),
        late: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn every_ten_seconds_have_an_entry_that_adds_up() {
        let mut books = Books::new(25 * SECOND);
        books.record(31 * SECOND, Outcome::Stored);
        books.record(39 * SECOND, Outcome::Merged);
        books.record(5 * SECOND, Outcome::Lost);
        books.record(61 * SECOND, Outcome::Stored);
        let closed = books.close(59 * SECOND, false);
        let seen: Vec<(i64, u64, u64)> =
            closed.iter().map(|entry| (entry.time_ns / SECOND, entry.seen, entry.lost)).collect();
        assert_eq!(seen, [(20, 1, 1), (30, 2, 0), (40, 0, 0)]);
        assert!(books.close(59 * SECOND, false).is_empty());
        let last = books.close(61 * SECOND, true);
        assert_eq!(last.iter().map(|entry| entry.stored).collect::<Vec<_>>(), [0, 1]);
        let far = books.close(9_000_000 * SECOND, false);
        assert!(far.len() <= ENTRIES_MAX, "{}", far.len());
    }
}
