//! The books: what the kernel counted against what became of it, per class and ten seconds.
//!
//! The kernel's counters are never reset, and a bucket's counter is used again after eight buckets;
//! so the differences of two readings are taken, and what was stored is kept by the same counter.
//! What was counted and is neither here nor lost is on its way: it is booked, seen and stored alike,
//! with the next use of its counter, when it must have come. So is what came after its bucket was
//! closed, and all that lies in the ring when the reader was held up until the counter was in use
//! again.
//!
//! **Invariants:** in every entry seen = stored + filtered + merged + lost; the lost of all entries are
//! the lost of all gaps.

use bygone_probe_abi::{BUCKET_NS, BUCKETS, CLASSES};

use super::decode::real_ns;
use crate::events::{CollectorEvent, Gap, GapReason, LedgerEntry};

/// How long after its end a bucket is closed, for records still on their way to the ring.
const CLOSE_AFTER_NS: u64 = 1_000_000_000;

const BUCKET_COUNT: usize = BUCKETS as usize;

/// Per class, per counter: events seen and lost since the probes were loaded, all CPUs together.
pub(crate) type Counts = [[[u64; 2]; BUCKET_COUNT]; CLASSES.len()];

/// Likewise how many of the events seen the programs left out by rules.
pub(crate) type LeftOut = [[u64; BUCKET_COUNT]; CLASSES.len()];

/// What is not yet in an entry, of one counter.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    /// The kernel's counts when the counter was last booked.
    booked: [u64; 2],
    /// Losses already told as a gap.
    lost_told: u64,
    stored: u64,
    filtered: u64,
    /// Of those filtered, those that rules left out.
    excluded: u64,
    merged: u64,
    late: u64,
    /// What was on its way when the counter was last booked.
    awaited: u64,
}

/// The open books of one source.
#[derive(Debug)]
pub(crate) struct Ledger {
    source: &'static str,
    open: [[Open; BUCKET_COUNT]; CLASSES.len()],
    /// What rules had left out when that was last taken in.
    left_out: LeftOut,
    /// Number of the bucket that is closed next.
    next: u64,
    skipped_booked: [Option<u64>; CLASSES.len()],
    /// Records that could not be decoded and are in no entry yet: nobody knows of which class.
    undecodable: u64,
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
            left_out: LeftOut::default(),
            next: boot_ns / BUCKET_NS,
            skipped_booked: skipped,
            undecodable: 0,
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

    /// Books a record that came and could not be decoded as lost, in whichever class it lacks.
    pub(crate) fn undecodable(&mut self) {
        self.undecodable += 1;
    }

    /// Books one event as merged into others.
    pub(crate) fn merged(&mut self, class: usize, boot_ns: u64) {
        if let Some(open) = self.open_mut(class, counter_of(boot_ns / BUCKET_NS)) {
            open.merged += 1;
        }
    }

    /// Books as left out what the programs left out since the last time.
    pub(crate) fn take_in(&mut self, left_out: &LeftOut) {
        let before = std::mem::replace(&mut self.left_out, *left_out);
        let news = left_out.iter().flatten().zip(before.iter().flatten());
        for (open, (now, before)) in self.open.iter_mut().flatten().zip(news) {
            let new = now.saturating_sub(*before);
            open.filtered += new;
            open.excluded += new;
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
            let here = open.stored + open.filtered + open.merged + self.undecodable;
            seen.saturating_sub(seen_before) <= here + lost
        })
    }

    /// Whether anything was lost that was not told yet.
    pub(crate) fn has_losses(&self, counts: &Counts) -> bool {
        let told = self.open.iter().flatten().map(|open| open.lost_told);
        counts.iter().flatten().zip(told).any(|([_, lost], told)| *lost > told)
    }

    /// Closes every bucket that ended long enough before `watermark_ns`. With `all` nothing more will
    /// come: the bucket that `watermark_ns` lies in is closed as well, and what is on its way is lost.
    pub(crate) fn close(
        &mut self,
        counts: &Counts,
        skipped: [Option<u64>; CLASSES.len()],
        watermark_ns: u64,
        offset_ns: i64,
        all: bool,
    ) -> Vec<CollectorEvent> {
        let mut entries = Vec::new();
        let last = watermark_ns / BUCKET_NS;
        while self.is_due(watermark_ns) || (all && self.next <= last) {
            for class in 0..CLASSES.len() {
                let missed = self.missed(class, skipped.get(class).copied().flatten());
                // A counter that is in use again by `last` is booked once more there.
                let end = all && self.next + u64::from(BUCKETS) > last;
                self.close_counter(
                    (class, self.next),
                    counts,
                    (missed, end),
                    offset_ns,
                    &mut entries,
                );
            }
            self.next += 1;
        }
        if all {
            self.close_rest(counts, last, offset_ns, &mut entries);
        }
        entries
    }

    /// Books what came after the last closing of counters whose turn does not come again.
    fn close_rest(
        &mut self,
        counts: &Counts,
        last: u64,
        offset_ns: i64,
        entries: &mut Vec<CollectorEvent>,
    ) {
        for class in 0..CLASSES.len() {
            for counter in 0..BUCKET_COUNT {
                let now = count(counts, class, counter);
                let open = self.open_mut(class, counter).map(|open| *open).unwrap_or_default();
                if open.stored + open.filtered + open.merged > 0 || now[0] > open.booked[0] {
                    let bucket = latest_bucket(counter, last * BUCKET_NS);
                    self.close_counter((class, bucket), counts, (None, true), offset_ns, entries);
                }
            }
        }
    }

    /// How many events of a class the kernel skipped since this was last asked.
    fn missed(&mut self, class: usize, skipped: Option<u64>) -> Option<u64> {
        let before = self.skipped_booked.get_mut(class)?;
        let missed = skipped?.checked_sub((*before)?);
        *before = skipped;
        missed
    }

    /// Books the counter of a class and bucket: an entry, and a gap for what never came. With `end`
    /// nothing more is waited for.
    fn close_counter(
        &mut self,
        (class, bucket): (usize, u64),
        counts: &Counts,
        (missed, end): (Option<u64>, bool),
        offset_ns: i64,
        entries: &mut Vec<CollectorEvent>,
    ) {
        let counter = counter_of(bucket);
        let now = count(counts, class, counter);
        let open = self.open_mut(class, counter).map(std::mem::take).unwrap_or_default();
        let known = open.stored + open.filtered + open.merged;
        let mut rest = now[0].saturating_sub(open.booked[0]).saturating_sub(known);
        let mut take = |at_most: u64| {
            let taken = rest.min(at_most);
            rest -= taken;
            taken
        };
        let lost = take(now[1].saturating_sub(open.booked[1]));
        let undecodable = take(self.undecodable);
        let never_came = take(if end { u64::MAX } else { open.awaited.saturating_sub(open.late) });
        self.undecodable -= undecodable;
        // More than the kernel has seen cannot be here, but the entry must add up whatever it says.
        let seen = known + lost + undecodable + never_came;
        let [seen_before, lost_before] = open.booked;
        if let Some(entry) = self.open_mut(class, counter) {
            let booked = [seen_before + seen, lost_before + lost];
            let lost_told = open.lost_told;
            *entry = Open { booked, lost_told, awaited: rest, ..Open::default() };
        }
        let time_ns = real_ns(bucket * BUCKET_NS, offset_ns);
        entries.push(CollectorEvent::Ledger(LedgerEntry {
            time_ns,
            source: self.source.to_owned(),
            class: class_name(class).to_owned(),
            seen,
            stored: open.stored,
            filtered: open.filtered,
            excluded: open.excluded,
            merged: open.merged,
            lost: seen - known,
            missed,
            late: open.late,
        }));
        if never_came > 0 {
            entries.push(CollectorEvent::Gap(Gap {
                time_ns,
                end_ns: real_ns((bucket + 1) * BUCKET_NS, offset_ns),
                source: self.source.to_owned(),
                reason: GapReason::DecodeError,
                lost: Some(never_came),
                detail: Some(format!("{} records were counted and never came", class_name(class))),
            }));
        }
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

fn count(counts: &Counts, class: usize, counter: usize) -> [u64; 2] {
    counts.get(class).and_then(|of_class| of_class.get(counter)).copied().unwrap_or_default()
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
    use super::{BUCKET_NS, BUCKETS, CLASSES, Counts, Ledger, Undecodable, latest_bucket};
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
    fn what_rules_leave_out_is_booked_once_and_what_is_merged_too() {
        let mut ledger = ledger();
        let (mut counts, mut left_out) =
            (Counts::default(), [[0; BUCKETS as usize]; CLASSES.len()]);
        counts[0][3] = [9, 1];
        left_out[0][3] = 4;
        ledger.take_in(&left_out);
        ledger.take_in(&left_out);
        ledger.filtered(0, 3 * BUCKET_NS);
        ledger.merged(0, 3 * BUCKET_NS);
        assert!(!ledger.is_balanced(&counts));
        ledger.merged(0, 3 * BUCKET_NS);
        ledger.stored(0, 3 * BUCKET_NS, false);
        assert!(ledger.is_balanced(&counts));
        let none = skipped([None; 3]);
        let closed = entries(ledger.close(&counts, none, 4 * BUCKET_NS + SECOND, 0, false));
        let LedgerEntry { seen, stored, filtered, excluded, merged, lost, .. } = closed[0];
        assert_eq!((seen, stored, filtered, excluded, merged, lost), (9, 1, 5, 4, 2, 1));
        left_out[0][3] = 6;
        counts[0][3] = [11, 1];
        ledger.take_in(&left_out);
        let all = entries(ledger.close(&counts, none, 12 * BUCKET_NS + SECOND, 0, false));
        let last = all.iter().rfind(|entry| entry.class == "exec").unwrap();
        assert_eq!((last.seen, last.filtered, last.excluded, last.lost), (2, 2, 2, 0));
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
        assert_eq!((closed[0].seen, closed[0].lost), (4, 4));
        assert!(ledger.losses(&counts, now, 0, None).is_empty());
    }

    /// Sums of seen, stored and lost of the entries of exec, and what gaps say is lost.
    fn sums(events: &[CollectorEvent]) -> (u64, u64, u64, u64) {
        let mut sums = (0, 0, 0, 0);
        for event in events {
            match event {
                CollectorEvent::Ledger(entry) => {
                    assert_eq!(entry.seen, entry.stored + entry.filtered + entry.lost);
                    sums.0 += entry.seen;
                    sums.1 += entry.stored;
                    sums.2 += entry.lost;
                }
                CollectorEvent::Gap(gap) => sums.3 += gap.lost.unwrap(),
                other => panic!("{other:?}"),
            }
        }
        sums
    }

    #[test]
    fn what_a_counter_counts_for_a_later_bucket_is_not_lost() {
        let mut ledger = ledger();
        let none = skipped([None; 3]);
        let mut counts = Counts::default();
        // The reader was away until the counter of bucket 3 is in use again, by bucket 11.
        counts[0][3] = [20, 6];
        (0..5).for_each(|_| ledger.stored(0, 3 * BUCKET_NS, false));
        let mut told = ledger.losses(&counts, 11 * BUCKET_NS + 9, 0, None);
        told.extend(ledger.close(&counts, none, 11 * BUCKET_NS, 0, false));
        assert_eq!(sums(&told), (11, 5, 6, 6));
        (0..9).for_each(|_| ledger.stored(0, 11 * BUCKET_NS, false));
        told.extend(ledger.close(&counts, none, 13 * BUCKET_NS, 0, false));
        assert_eq!(sums(&told), (20, 14, 6, 6));
    }

    #[test]
    fn what_never_comes_is_lost_and_told() {
        let mut ledger = ledger();
        let none = skipped([None; 3]);
        let mut counts = Counts::default();
        counts[0][3] = [3, 0];
        ledger.stored(0, 3 * BUCKET_NS, false);
        let mut told = ledger.close(&counts, none, 5 * BUCKET_NS, 0, false);
        assert_eq!(sums(&told), (1, 1, 0, 0));
        // One of the two comes, late; the other never does.
        ledger.stored(0, 3 * BUCKET_NS, true);
        told.extend(ledger.close(&counts, none, 13 * BUCKET_NS, 0, false));
        assert_eq!(sums(&told), (3, 2, 1, 1));
        assert!(ledger.is_balanced(&counts));
    }

    #[test]
    fn at_the_stop_every_counter_is_booked() {
        let mut ledger = ledger();
        let none = skipped([None; 3]);
        let mut counts = Counts::default();
        counts[0][3] = [2, 0];
        let mut told = ledger.close(&counts, none, 5 * BUCKET_NS, 0, false);
        assert_eq!(sums(&told), (0, 0, 0, 0));
        ledger.stored(0, 3 * BUCKET_NS, true);
        counts[0][5] = [4, 1];
        ledger.stored(0, 5 * BUCKET_NS, false);
        ledger.undecodable();
        told.extend(ledger.losses(&counts, 5 * BUCKET_NS + 5, 0, None));
        told.extend(ledger.close(&counts, none, 5 * BUCKET_NS + 5, 0, true));
        // Lost in the kernel 1, not decoded 1, never came 1 of each counter.
        assert_eq!(sums(&told), (6, 2, 4, 3));
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
