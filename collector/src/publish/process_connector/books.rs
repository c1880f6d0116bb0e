//! The books: which messages came, what became of each, and how many did not come.
//!
//! Each CPU numbers its messages, so that a number left out is a message lost. Which kind it was
//! nobody knows: lost ones are a class of their own, `unknown`. A CPU's first number is learned from a
//! message that the collector has every CPU make at the start (see `stimulus`); its last likewise.
//!
//! **Invariant:** in every entry seen = stored + filtered + merged + lost.

use std::collections::{BTreeMap, HashMap};

use super::SOURCE;
use crate::events::{CollectorEvent, Gap, GapReason, LedgerEntry};

/// Length of a row of the ledger.
const BUCKET_NS: i64 = 10_000_000_000;

/// How long after its end a bucket may still get events.
const SETTLED_NS: i64 = 2_000_000_000;

/// How long an overflow may wait for a number that tells how much it took.
const UNCOUNTED_NS: i64 = 3_000_000_000;

/// CPUs whose numbers are followed; what others lose is not counted.
const CPUS_MAX: usize = 8192;

/// A class of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Exec,
    Fork,
    Exit,
    /// What is not the start or end of a process: threads, ids, names.
    Other,
    /// Lost, so that nobody knows.
    Unknown,
}

impl Class {
    const fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Fork => "fork",
            Self::Exit => "exit",
            Self::Other => "other",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    stored: u64,
    filtered: u64,
    excluded: u64,
    merged: u64,
    lost: u64,
    late: u64,
}

/// Losses until they are told.
#[derive(Debug, Default)]
struct Loss {
    lost: u64,
    start_ns: i64,
    end_ns: i64,
    /// When the kernel said that there was no room, and no number tells of it yet.
    uncounted_ns: Option<i64>,
}

/// The open books.
#[derive(Debug, Default)]
pub(super) struct Books {
    buckets: BTreeMap<i64, BTreeMap<Class, Counts>>,
    /// Per CPU, the number that comes next, and the time of the last message.
    next: HashMap<u32, (u32, i64)>,
    loss: Loss,
    bad: u64,
    bad_error: Option<String>,
}

impl Books {
    /// Follows the numbers; says how many messages of this CPU were lost before this one, which is of
    /// `time_ns`, nanoseconds since the Unix epoch.
    pub(super) fn number(&mut self, cpu: u32, sequence: u32, time_ns: i64) -> u32 {
        /// A step back, not a hole: half of all numbers.
        const BACK: u32 = 1 << 31;
        if cpu == u32::MAX || !self.next.contains_key(&cpu) && self.next.len() >= CPUS_MAX {
            return 0;
        }
        let before = self.next.insert(cpu, (sequence.wrapping_add(1), time_ns));
        let Some((expected, before_ns)) = before else { return 0 };
        let lost = sequence.wrapping_sub(expected);
        if lost == 0 || lost >= BACK {
            return 0;
        }
        let loss = &mut self.loss;
        loss.uncounted_ns = None;
        loss.start_ns = if loss.lost == 0 { before_ns } else { loss.start_ns.min(before_ns) };
        loss.end_ns = loss.end_ns.max(time_ns);
        loss.lost += u64::from(lost);
        self.counts(time_ns, Class::Unknown).lost += u64::from(lost);
        lost
    }

    /// The kernel had no room, at `time_ns` at the latest.
    pub(super) fn overflow(&mut self, time_ns: i64) {
        self.loss.uncounted_ns.get_or_insert(time_ns);
    }

    /// Whether an overflow waits to be counted.
    pub(super) const fn is_uncounted(&self) -> bool {
        self.loss.uncounted_ns.is_some()
    }

    /// Counts an event that became a row.
    pub(super) fn stored(&mut self, class: Class, time_ns: i64, late: bool) {
        let counts = self.counts(time_ns, class);
        counts.stored += 1;
        counts.late += u64::from(late);
    }

    /// Counts a message that becomes no row.
    pub(super) fn filtered(&mut self, time_ns: i64) {
        self.counts(time_ns, Class::Other).filtered += 1;
    }

    /// Counts an event that the configuration leaves out.
    pub(super) fn excluded(&mut self, class: Class, time_ns: i64) {
        let counts = self.counts(time_ns, class);
        counts.filtered += 1;
        counts.excluded += 1;
    }

    /// Counts an event that is merged into others.
    pub(super) fn merged(&mut self, class: Class, time_ns: i64) {
        self.counts(time_ns, class).merged += 1;
    }

    /// Counts a datagram that is no message.
    pub(super) fn bad(&mut self, error: String) {
        self.bad += 1;
        self.bad_error = Some(error);
    }

    /// What was lost since the last time, as gaps. An overflow that no number told of within
    /// [`UNCOUNTED_NS`], or with `all`, is told without a count.
    pub(super) fn losses(&mut self, now_ns: i64, all: bool) -> Vec<CollectorEvent> {
        let mut gaps = Vec::new();
        let mut gap = |time_ns, end_ns, reason, lost, detail: &str| {
            gaps.push(CollectorEvent::Gap(Gap {
                time_ns,
                end_ns,
                source: SOURCE.to_owned(),
                reason,
                lost,
                detail: Some(detail.to_owned()),
            }));
        };
        let Loss { lost, start_ns, end_ns, uncounted_ns } = self.loss;
        if lost > 0 {
            let detail = "messages of any kind, threads and ids among them";
            gap(start_ns, end_ns, GapReason::SourceOverflow, Some(lost), detail);
            self.loss = Loss { uncounted_ns, ..Loss::default() };
        }
        if let Some(at_ns) = uncounted_ns
            && (all || now_ns - at_ns > UNCOUNTED_NS)
        {
            let detail = "the kernel had no room and no later number says for how many";
            gap(at_ns, now_ns, GapReason::SourceOverflow, None, detail);
            self.loss.uncounted_ns = None;
        }
        if self.bad > 0 {
            let detail = self.bad_error.take().unwrap_or_default();
            gap(now_ns - 1_000_000_000, now_ns, GapReason::DecodeError, Some(self.bad), &detail);
            self.bad = 0;
        }
        gaps
    }

    /// Closes the buckets to which nothing is added any more; with `all`, every one.
    pub(super) fn close(&mut self, watermark_ns: i64, all: bool) -> Vec<CollectorEvent> {
        let limit = (watermark_ns - SETTLED_NS).div_euclid(BUCKET_NS);
        let open = if all { BTreeMap::new() } else { self.buckets.split_off(&limit) };
        let closed = std::mem::replace(&mut self.buckets, open);
        closed.into_iter().flat_map(|(bucket, classes)| entries(bucket, classes)).collect()
    }

    fn counts(&mut self, time_ns: i64, class: Class) -> &mut Counts {
        let bucket = self.buckets.entry(time_ns.div_euclid(BUCKET_NS)).or_default();
        bucket.entry(class).or_default()
    }
}

/// The rows of one bucket: those of processes always, the others when there is something to tell.
fn entries(
    bucket: i64,
    mut classes: BTreeMap<Class, Counts>,
) -> impl Iterator<Item = CollectorEvent> {
    for class in [Class::Exec, Class::Fork, Class::Exit] {
        classes.entry(class).or_default();
    }
    classes.into_iter().map(move |(class, counts)| {
        let Counts { stored, filtered, excluded, merged, lost, late } = counts;
        CollectorEvent::Ledger(LedgerEntry {
            time_ns: bucket * BUCKET_NS,
            source: SOURCE.to_owned(),
            class: class.name().to_owned(),
            seen: stored + filtered + merged + lost,
            stored,
            filtered,
            excluded,
            merged,
            lost,
            // The kernel skips no message; one that it cannot make is a number left out.
            missed: Some(0),
            late,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn gap(event: &CollectorEvent) -> &Gap {
        let CollectorEvent::Gap(gap) = event else { panic!("{event:?}") };
        gap
    }

    fn entry(event: &CollectorEvent) -> &LedgerEntry {
        let CollectorEvent::Ledger(entry) = event else { panic!("{event:?}") };
        assert_eq!(entry.seen, entry.stored + entry.filtered + entry.merged + entry.lost);
        entry
    }

    #[test]
    fn a_number_left_out_is_a_loss_of_its_cpu() {
        let mut books = Books::default();
        assert_eq!(books.number(0, u32::MAX, 1), 0);
        assert_eq!(books.number(1, 700, 2), 0);
        assert_eq!(books.number(0, 0, 3), 0, "numbers wrap");
        assert_eq!(books.number(0, 4, 9), 3);
        assert_eq!(books.number(1, 702, 7), 1);
        assert_eq!(books.number(1, 600, 8), 0, "a step back is no loss");
        let told = books.losses(9, false);
        let [told] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((gap(told).lost, gap(told).time_ns, gap(told).end_ns), (Some(4), 2, 9));
        assert_eq!(books.losses(9, true), []);
        let closed = books.close(0, true);
        let lost = closed.iter().map(entry).find(|entry| entry.class == "unknown").unwrap();
        assert_eq!((lost.seen, lost.lost, lost.stored), (4, 4, 0));
    }

    #[test]
    fn an_overflow_waits_for_its_count_and_then_goes_without() {
        let mut books = Books::default();
        assert_eq!(books.number(0, 1, SECOND), 0);
        books.overflow(2 * SECOND);
        assert!(books.is_uncounted());
        assert_eq!(books.losses(3 * SECOND, false), []);
        assert_eq!(books.number(0, 5, 3 * SECOND), 3);
        assert!(!books.is_uncounted());
        assert_eq!(gap(&books.losses(3 * SECOND, false)[0]).lost, Some(3));
        books.overflow(4 * SECOND);
        let told = books.losses(8 * SECOND, false);
        assert_eq!((gap(&told[0]).lost, gap(&told[0]).time_ns), (None, 4 * SECOND));
        books.overflow(9 * SECOND);
        assert_eq!(books.losses(9 * SECOND, true).len(), 1);
    }

    #[test]
    fn a_bucket_closes_when_it_is_settled_and_adds_up() {
        let mut books = Books::default();
        books.stored(Class::Exec, 9 * SECOND, false);
        books.stored(Class::Exec, 8 * SECOND, true);
        books.filtered(7 * SECOND);
        books.excluded(Class::Fork, 6 * SECOND);
        books.merged(Class::Fork, 6 * SECOND);
        books.stored(Class::Exit, 11 * SECOND, false);
        assert_eq!(books.close(12 * SECOND - 1, false), []);
        let closed = books.close(12 * SECOND, false);
        let of: Vec<_> = closed
            .iter()
            .map(entry)
            .map(|entry| (entry.class.as_str(), entry.time_ns, entry.seen, entry.late))
            .collect();
        let expected =
            [("exec", 0, 2, 1), ("fork", 0, 2, 0), ("exit", 0, 0, 0), ("other", 0, 1, 0)];
        assert_eq!(of, expected);
        assert_eq!(books.close(0, true).len(), 3);
    }

    #[test]
    fn what_is_no_message_is_told() {
        let mut books = Books::default();
        books.bad("cut short".to_owned());
        books.bad("cut shorter".to_owned());
        let told = books.losses(SECOND, false);
        assert_eq!((gap(&told[0]).lost, gap(&told[0]).reason), (Some(2), GapReason::DecodeError));
        assert_eq!(books.losses(SECOND, true), []);
    }
}
