//! The books: what the kernel counted against what became of it, per class and ten seconds.
//!
//! The kernel's counters are never reset, and a bucket's counter is used again after eight buckets;
//! so the differences of two readings are taken, and what was stored is kept by the same counter.
//! A record that comes after its bucket was closed is booked, seen and stored alike, with the next
//! use of its counter.
//!
//! **Invariant:** in every entry seen = stored + filtered + merged + lost.

use bygone_probe_abi::{BUCKET_NS, BUCKETS, CLASSES};

use super::decode::real_ns;
use crate::events::{CollectorEvent, Gap, GapReason, LedgerEntry};

/// How long after its end a bucket is closed, for records still on their way to the ring.
const CLOSE_AFTER_NS: u64 = 1_000_000_000;

const BUCKET_COUNT: usize = BUCKETS as usize;

/// Per class, per counter: events seen and lost since the probes were loaded, all CPUs together.
pub(crate) type Counts = [[[u64; 2]; BUCKET_COUNT]; CLASSES.len()];

/// What is not yet in an entry, of one counter.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    /// The kernel's counts when the counter was last booked.
    booked: [u64; 2],
    /// Losses already told as a gap.
    lost_told: u64,
    stored: u64,
    filtered: u64,
    late: u64,
}

/// The open books of one source.
#[derive(Debug)]
pub(crate) struct Ledger {
    source: &'static str,
    open: [[Open; BUCKET_COUNT]; CLASSES.len()],
    /// Number of the bucket that is closed next.
    next: u64,
    skipped_booked: [Option<u64>; CLASSES.len()],
}

impl Ledger {
    /// Opens the books in the bucket of `boot_ns`. `skipped` is what the kernel counted so far.
    pub(crate) fn new(
        source: &'static str,
        boot_ns: u64,
        skipped: [Option<u64>; CLASSES.len()],
    ) -> Self {
        Self {
            source,
            open: Default::default(),
            next: boot_ns / BUCKET_NS,
            skipped_booked: skipped,
        }
    }

    /// Books one event as stored.
    pub(crate) fn stored(&mut self, class: usize, boot_ns: u64, late: bool) {
        if let Some(open) = self.open_mut(class, counter_of(boot_ns / BUCKET_NS)) {
            open.stored += 1;
            open.late += u64::from(late);
        }
    }

    /// Books one event as left out.
    pub(crate) fn filtered(&mut self, class: usize, boot_ns: u64) {
        if let Some(open) = self.open_mut(class, counter_of(boot_ns / BUCKET_NS)) {
            open.filtered += 1;
        }
    }

    /// Whether a bucket can be closed now that everything before `watermark_ns` was read.
    pub(crate) fn is_due(&self, watermark_ns: u64) -> bool {
        (self.next + 1) * BUCKET_NS + CLOSE_AFTER_NS <= watermark_ns
    }

    /// Tells losses that were not told yet, each as a gap over the bucket it happened in.
    pub(crate) fn losses(
        &mut self,
        counts: &Counts,
        now_ns: u64,
        offset_ns: i64,
        detail: Option<&str>,
    ) -> Vec<CollectorEvent> {
        let mut gaps = Vec::new();
        for (class, of_class) in counts.iter().enumerate() {
            for (counter, [_, lost]) in of_class.iter().enumerate() {
                let Some(open) = self.open_mut(class, counter) else {
                    continue;
                };
                let untold = lost.saturating_sub(open.lost_told);
                if untold == 0 {
                    continue;
                }
                open.lost_told = *lost;
                let start_ns = latest_bucket(counter, now_ns) * BUCKET_NS;
                let end_ns = now_ns.min(start_ns + BUCKET_NS);
                let mut words = format!("{} records", class_name(class));
                if let Some(detail) = detail {
                    words = format!("{words}; {detail}");
                }
                gaps.push(CollectorEvent::Gap(Gap {
                    time_ns: real_ns(start_ns, offset_ns),
                    end_ns: real_ns(end_ns, offset_ns),
                    source: self.source.to_owned(),
                    reason: GapReason::RingFull,
                    lost: Some(untold),
                    detail: Some(words),
                }));
            }
        }
        gaps
    }

    /// Whether all that was seen since it was last booked was stored, left out, or counted as lost.
    pub(crate) fn is_balanced(&self, counts: &Counts) -> bool {
        let open = self.open.iter().flatten();
        counts.iter().flatten().zip(open).all(|([seen, lost], open)| {
            let [seen_before, lost_before] = open.booked;
            let lost = lost.saturating_sub(lost_before);
            seen.saturating_sub(seen_before) <= open.stored + open.filtered + lost
        })
    }

    /// Whether anything was lost that was not told yet.
    pub(crate) fn has_losses(&self, counts: &Counts) -> bool {
        let told = self.open.iter().flatten().map(|open| open.lost_told);
        counts.iter().flatten().zip(told).any(|([_, lost], told)| *lost > told)
    }

    /// Closes every bucket that ended long enough before `watermark_ns`; with `all`, the bucket
    /// that `watermark_ns` lies in as well. Events read but not recognised count as lost.
    pub(crate) fn close(
        &mut self,
        counts: &Counts,
        skipped: [Option<u64>; CLASSES.len()],
        watermark_ns: u64,
        offset_ns: i64,
        all: bool,
    ) -> Vec<CollectorEvent> {
        let mut entries = Vec::new();
        while self.is_due(watermark_ns) || (all && self.next <= watermark_ns / BUCKET_NS) {
            for (class, of_class) in counts.iter().enumerate() {
                let skipped = skipped.get(class).copied().flatten();
                entries.push(self.close_class(class, of_class, skipped, offset_ns));
            }
            self.next += 1;
        }
        entries
    }

    fn close_class(
        &mut self,
        class: usize,
        counts: &[[u64; 2]; BUCKET_COUNT],
        skipped: Option<u64>,
        offset_ns: i64,
    ) -> CollectorEvent {
        let counter = counter_of(self.next);
        let now = counts.get(counter).copied().unwrap_or_default();
        let open = self.open_mut(class, counter).map(std::mem::take).unwrap_or_default();
        let [seen, _] = [now[0].saturating_sub(open.booked[0]), now[1]];
        let lost_told = open.lost_told;
        if let Some(entry) = self.open_mut(class, counter) {
            *entry = Open { booked: now, lost_told, ..Open::default() };
        }
        let before = self.skipped_booked.get_mut(class);
        let missed = before.and_then(|before| {
            let missed = skipped?.checked_sub((*before)?);
            *before = skipped;
            missed
        });
        // More stored than seen cannot be, but the entry must add up whatever the kernel says.
        let known = open.stored + open.filtered;
        let seen = seen.max(known);
        CollectorEvent::Ledger(LedgerEntry {
            time_ns: real_ns(self.next * BUCKET_NS, offset_ns),
            source: self.source.to_owned(),
            class: class_name(class).to_owned(),
            seen,
            stored: open.stored,
            filtered: open.filtered,
            merged: 0,
            lost: seen - known,
            missed,
            late: open.late,
        })
    }

    fn open_mut(&mut self, class: usize, counter: usize) -> Option<&mut Open> {
        self.open.get_mut(class)?.get_mut(counter)
    }
}

/// Records that could not be decoded, until they are told as one gap.
#[derive(Debug, Default)]
pub(crate) struct Undecodable {
    count: u64,
    first_ns: u64,
    last: Option<String>,
}

impl Undecodable {
    /// Counts one.
    pub(crate) fn add(&mut self, now_ns: u64, error: String) {
        if self.count == 0 {
            self.first_ns = now_ns;
        }
        self.count += 1;
        self.last = Some(error);
    }

    /// The gap that tells them, and none next time.
    pub(crate) fn take(
        &mut self,
        source: &str,
        now_ns: u64,
        offset_ns: i64,
    ) -> Option<CollectorEvent> {
        let Self { count, first_ns, last } = std::mem::take(self);
        // The records lay in the ring since the last reading at most.
        (count > 0).then(|| {
            CollectorEvent::Gap(Gap {
                time_ns: real_ns(first_ns.saturating_sub(CLOSE_AFTER_NS), offset_ns),
                end_ns: real_ns(now_ns, offset_ns),
                source: source.to_owned(),
                reason: GapReason::DecodeError,
                lost: Some(count),
                detail: last,
            })
        })
    }
}

fn counter_of(bucket: u64) -> usize {
    usize::try_from(bucket % u64::from(BUCKETS)).unwrap_or(0)
}

/// The latest bucket up to now that uses `counter`.
fn latest_bucket(counter: usize, now_ns: u64) -> u64 {
    let now = now_ns / BUCKET_NS;
    let back =
        (now % u64::from(BUCKETS) + u64::from(BUCKETS) - counter as u64) % u64::from(BUCKETS);
    now.saturating_sub(back)
}

fn class_name(class: usize) -> &'static str {
    CLASSES.get(class).copied().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::{BUCKET_NS, CLASSES, Counts, Ledger, Undecodable, latest_bucket};
    use crate::events::{CollectorEvent, Gap, LedgerEntry};

    const SECOND: u64 = 1_000_000_000;

    /// Of exec, fork and exit, and none of the others.
    fn skipped(life: [Option<u64>; 3]) -> [Option<u64>; CLASSES.len()] {
        let mut all = [None; CLASSES.len()];
        all[..3].copy_from_slice(&life);
        all
    }

    fn ledger() -> Ledger {
        Ledger::new("process_ebpf", 3 * BUCKET_NS + 5, skipped([Some(7), None, Some(0)]))
    }

    fn entries(events: Vec<CollectorEvent>) -> Vec<LedgerEntry> {
        let entry = |event| match event {
            CollectorEvent::Ledger(entry) => entry,
            other => panic!("{other:?}"),
        };
        events.into_iter().map(entry).collect()
    }

    fn gaps(events: Vec<CollectorEvent>) -> Vec<Gap> {
        let gap = |event| match event {
            CollectorEvent::Gap(gap) => gap,
            other => panic!("{other:?}"),
        };
        events.into_iter().map(gap).collect()
    }

    #[test]
    fn a_bucket_closes_a_second_after_its_end_and_adds_up() {
        let mut ledger = ledger();
        let mut counts = Counts::default();
        counts[0][3] = [5, 2];
        for _ in 0..3 {
            ledger.stored(0, 3 * BUCKET_NS + 9, false);
        }
        let due = 4 * BUCKET_NS + SECOND;
        assert!(!ledger.is_due(due - 1));
        let closed =
            entries(ledger.close(&counts, skipped([Some(9), None, Some(0)]), due, 1000, false));
        assert_eq!(closed.len(), CLASSES.len());
        assert_eq!(closed[0].time_ns, 30_000_001_000);
        assert_eq!((closed[0].seen, closed[0].stored, closed[0].lost), (5, 3, 2));
        assert_eq!(
            (closed[0].missed, closed[1].missed, closed[2].missed),
            (Some(2), None, Some(0))
        );
        assert!(!ledger.is_due(due));
    }

    #[test]
    fn a_late_record_is_booked_with_the_next_use_of_its_counter() {
        let mut ledger = ledger();
        let mut counts = Counts::default();
        counts[1][3] = [1, 0];
        ledger.stored(1, 3 * BUCKET_NS, false);
        let none = skipped([None; 3]);
        assert_eq!(
            entries(ledger.close(&counts, none, 4 * BUCKET_NS + SECOND, 0, false))[1].seen,
            1
        );
        counts[1][3] = [2, 0];
        ledger.stored(1, 3 * BUCKET_NS, true);
        let all = entries(ledger.close(&counts, none, 12 * BUCKET_NS + SECOND, 0, false));
        let last = all.iter().rfind(|entry| entry.class == "fork").unwrap();
        assert_eq!(last.time_ns, 110 * 1_000_000_000);
        assert_eq!((last.seen, last.stored, last.late, last.lost), (1, 1, 1, 0));
    }

    #[test]
    fn at_the_stop_the_open_bucket_is_closed_too() {
        let mut ledger = ledger();
        let mut counts = Counts::default();
        counts[2][3] = [4, 0];
        for _ in 0..4 {
            ledger.stored(2, 3 * BUCKET_NS + 1, false);
        }
        let closed =
            entries(ledger.close(&counts, skipped([None; 3]), 3 * BUCKET_NS + SECOND, 0, true));
        assert_eq!(closed.len(), CLASSES.len());
        assert_eq!((closed[2].seen, closed[2].stored), (4, 4));
    }

    #[test]
    fn what_was_seen_and_has_not_come_is_told() {
        let mut ledger = ledger();
        let mut counts = Counts::default();
        assert!(ledger.is_balanced(&counts));
        counts[0][3] = [3, 1];
        ledger.stored(0, 3 * BUCKET_NS, false);
        assert!(!ledger.is_balanced(&counts));
        ledger.filtered(0, 3 * BUCKET_NS);
        assert!(ledger.is_balanced(&counts));
    }

    #[test]
    fn losses_are_told_once_within_their_bucket() {
        let mut ledger = ledger();
        let mut counts = Counts::default();
        counts[0][3] = [9, 4];
        let now = 4 * BUCKET_NS + 7;
        let told = gaps(ledger.losses(&counts, now, 0, Some("stalled")));
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].time_ns, told[0].end_ns), (30_000_000_000, 40_000_000_000));
        assert_eq!(told[0].lost, Some(4));
        assert_eq!(told[0].detail.as_deref(), Some("exec records; stalled"));
        assert!(ledger.losses(&counts, now, 0, None).is_empty());
        let closed = entries(ledger.close(&counts, skipped([None; 3]), 5 * BUCKET_NS, 0, false));
        assert_eq!((closed[0].seen, closed[0].lost), (9, 9));
        assert!(ledger.losses(&counts, now, 0, None).is_empty());
    }

    #[test]
    fn a_counter_belongs_to_the_latest_bucket_that_uses_it() {
        assert_eq!(latest_bucket(3, 3 * BUCKET_NS), 3);
        assert_eq!(latest_bucket(3, 4 * BUCKET_NS), 3);
        assert_eq!(latest_bucket(4, 11 * BUCKET_NS), 4);
        assert_eq!(latest_bucket(3, 11 * BUCKET_NS), 11);
        assert_eq!(latest_bucket(7, 2 * BUCKET_NS), 0);
    }

    #[test]
    fn undecodable_records_are_one_gap() {
        let mut bad = Undecodable::default();
        assert_eq!(bad.take("x", 5, 0), None);
        bad.add(4 * SECOND, "first".to_owned());
        bad.add(5 * SECOND, "second".to_owned());
        let gap = gaps(vec![bad.take("x", 6 * SECOND, 0).unwrap()]).remove(0);
        assert_eq!((gap.lost, gap.detail.as_deref()), (Some(2), Some("second")));
        assert_eq!(bad.take("x", 7 * SECOND, 0), None);
    }
}
