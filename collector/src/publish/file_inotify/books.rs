//! What became of each event, per ten seconds of its own time.

use std::collections::BTreeMap;

use super::SOURCE;
use crate::events::LedgerEntry;

/// Length of one row of the ledger.
const BUCKET_NS: i64 = 10_000_000_000;

/// How long after its end a bucket may still get events: those whose outcome waits for the
/// writer's close.
const SETTLED_NS: i64 = 3_000_000_000;

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It became a file event.
    Stored,
    /// No configured path covers it.
    Filtered,
    /// Another event tells the same.
    Merged,
}

#[derive(Debug, Default)]
struct Counts {
    stored: u64,
    filtered: u64,
    merged: u64,
}

/// The open buckets.
#[derive(Debug, Default)]
pub(super) struct Books {
    buckets: BTreeMap<i64, Counts>,
}

impl Books {
    /// Counts one event that was seen at `time_ns`.
    pub(super) fn record(&mut self, time_ns: i64, outcome: Outcome) {
        let start = time_ns.div_euclid(BUCKET_NS) * BUCKET_NS;
        let counts = self.buckets.entry(start).or_default();
        match outcome {
            Outcome::Stored => counts.stored += 1,
            Outcome::Filtered => counts.filtered += 1,
            Outcome::Merged => counts.merged += 1,
        }
    }

    /// Closes the buckets to which nothing can be added any more.
    pub(super) fn close_settled(&mut self, now_ns: i64) -> Vec<LedgerEntry> {
        let open = self.buckets.split_off(&(now_ns - BUCKET_NS - SETTLED_NS));
        std::mem::replace(&mut self.buckets, open).into_iter().map(entry).collect()
    }

    /// Closes all buckets: the source ends.
    pub(super) fn close_all(&mut self) -> Vec<LedgerEntry> {
        std::mem::take(&mut self.buckets).into_iter().map(entry).collect()
    }
}

fn entry((time_ns, counts): (i64, Counts)) -> LedgerEntry {
    LedgerEntry {
        time_ns,
        source: SOURCE.to_owned(),
        class: "file".to_owned(),
        seen: counts.stored + counts.filtered + counts.merged,
        stored: counts.stored,
        filtered: counts.filtered,
        excluded: 0,
        merged: counts.merged,
        // What an overflow throws away is not counted by the kernel; it is a gap.
        lost: 0,
        missed: None,
        late: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_close_when_settled() {
        let mut books = Books::default();
        books.record(9_999_999_999, Outcome::Stored);
        books.record(10_000_000_000, Outcome::Merged);
        books.record(10_000_000_001, Outcome::Filtered);
        assert_eq!(books.close_settled(12_999_999_999), []);
        let closed = books.close_settled(13_000_000_001);
        assert_eq!(closed.len(), 1);
        assert_eq!((closed[0].time_ns, closed[0].seen, closed[0].stored), (0, 1, 1));
        let rest = books.close_all();
        assert_eq!((rest[0].seen, rest[0].merged, rest[0].filtered), (2, 1, 1));
        assert_eq!(books.close_all(), []);
    }
}
