//! Events that the store refused, for instance while the disk is full.
//!
//! They are counted, and become one `disk_full` gap when rows can be written again. What
//! publishers say about themselves meanwhile (gaps, ledger rows, capabilities) is kept and written
//! then, too. A publisher books an event as stored when it sends it; so a refused event is moved
//! from `stored` to `lost` in the ledger row of its time, which always comes after it.

use std::collections::BTreeMap;

use crate::events::{CollectorEvent, Gap, GapReason, LedgerEntry};
use crate::publish::{Batch, Event, Events};

/// Publishers' own events that are kept; about a day of ledger rows. More are lost.
const HELD_MAX: usize = 50_000;

/// Times of refused events that are told apart per source and class, some 10 MB; more count for
/// the latest of them.
const TIMES_MAX: usize = 200_000;

/// Length of a ledger row's time.
const LEDGER_NS: i64 = 10_000_000_000;

/// What was refused and is not yet told.
#[derive(Debug, Default)]
pub(super) struct Losses {
    gap: Option<Gap>,
    held: Vec<CollectorEvent>,
    /// Per source and class, how many events of each time. A ledger row takes its times out, so that
    /// this holds little more than ten seconds. Rows do not begin at whole seconds, so nothing
    /// coarser would tell on which side of their ends an event lies.
    counts: BTreeMap<(&'static str, &'static str), BTreeMap<i64, u64>>,
    /// Events refused since the start.
    pub(super) total: u64,
}

impl Losses {
    /// Whether nothing waits to be told.
    pub(super) const fn is_empty(&self) -> bool {
        self.gap.is_none() && self.held.is_empty()
    }

    /// Books the events of `batch` with these indices as refused. Its source was complete up to
    /// `complete_ns`.
    pub(super) fn refuse(&mut self, batch: Batch, refused: &[usize], complete_ns: i64) {
        let source = batch.source;
        let lost = match batch.events {
            Events::Process(events) => self.count(source, &events, refused),
            // The ledger goes on to say that they were merged: the gap says that it is not known of what.
            Events::Summary(summaries) => {
                refused.iter().filter_map(|index| summaries.get(*index)).map(|of| of.count).sum()
            }
            Events::Action(events) => self.count(source, &events, refused),
            Events::File(events) => self.count(source, &events, refused),
            Events::Executable(events) => self.count(source, &events, refused),
            Events::Collector(events) => {
                self.hold(events, refused);
                return;
            }
        };
        let now_ns = super::time::now_ns();
        let gap = self.gap.get_or_insert_with(|| Gap {
            time_ns: now_ns,
            end_ns: now_ns,
            source: "*".to_owned(),
            reason: GapReason::DiskFull,
            lost: Some(0),
            detail: None,
        });
        gap.time_ns = gap.time_ns.min(complete_ns);
        gap.end_ns = now_ns;
        gap.lost = gap.lost.map(|before| before.saturating_add(lost));
        self.total = self.total.saturating_add(lost);
    }

    fn count(&mut self, source: &'static str, events: &[impl Event], refused: &[usize]) -> u64 {
        let events = refused.iter().filter_map(|index| events.get(*index));
        for (class, time_ns) in events.filter_map(Event::counted) {
            let times = self.counts.entry((source, class)).or_default();
            let latest = times.last_key_value().map(|(latest, _)| *latest);
            let time_ns = latest.filter(|_| times.len() >= TIMES_MAX).unwrap_or(time_ns);
            *times.entry(time_ns).or_default() += 1;
        }
        refused.len() as u64
    }

    fn hold(&mut self, events: Vec<CollectorEvent>, refused: &[usize]) {
        for (index, event) in events.into_iter().enumerate() {
            if !refused.contains(&index) {
                continue;
            }
            match event {
                CollectorEvent::Gap(gap) if gap.reason == GapReason::DiskFull => {
                    self.gap = Some(gap);
                }
                event if self.held.len() < HELD_MAX => self.held.push(event),
                event => tracing::error!(?event, "Too much is held back; this is lost"),
            }
        }
    }

    /// Moves what was refused of a ledger row's events from `stored` to `lost`.
    pub(super) fn correct(&mut self, entry: &mut LedgerEntry) {
        let end_ns = entry.time_ns.saturating_add(LEDGER_NS);
        for ((source, class), times) in &mut self.counts {
            if *source != entry.source || *class != entry.class {
                continue;
            }
            let later = times.split_off(&end_ns);
            let refused: u64 = times.values().sum();
            let moved = refused.min(entry.stored);
            entry.stored -= moved;
            entry.lost += moved;
            *times = later;
            // The row of a neighbouring time, or a later row of this one, has the rest.
            if refused > moved {
                *times.entry(end_ns).or_default() += refused - moved;
            }
        }
    }

    /// All that waits to be told, the gap first.
    pub(super) fn take(&mut self) -> Vec<CollectorEvent> {
        let gap = self.gap.take().map(CollectorEvent::Gap);
        gap.into_iter().chain(self.held.drain(..)).collect()
    }

    /// Puts back what could not be told after all.
    pub(super) fn put_back(&mut self, events: Vec<CollectorEvent>, refused: &[usize]) {
        self.hold(events, refused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{FileAction, FileEvent};

    const SECOND_NS: i64 = 1_000_000_000;

    fn files(times_ns: &[i64]) -> Batch {
        let event = |time_ns: &i64| FileEvent {
            time_ns: *time_ns,
            target_path: "/etc/passwd".to_owned(),
            category: "configuration".to_owned(),
            action: FileAction::Updated,
            transaction_id: 0,
            found_by_scan: false,
            stat: None,
        };
        Batch {
            source: "file_inotify",
            watermark_ns: None,
            clock_offset_ns: 0,
            events: Events::File(times_ns.iter().map(event).collect()),
        }
    }

    fn entry(time_ns: i64, stored: u64) -> LedgerEntry {
        LedgerEntry {
            time_ns,
            source: "file_inotify".to_owned(),
            class: "file".to_owned(),
            seen: stored,
            stored,
            ..LedgerEntry::default()
        }
    }

    #[test]
    fn refused_events_are_lost_in_the_ledger_row_of_their_time() {
        let mut losses = Losses::default();
        let times = [SECOND_NS, 2 * SECOND_NS, 11 * SECOND_NS, 12 * SECOND_NS];
        losses.refuse(files(&times), &[0, 2, 3], 500);
        assert_eq!(losses.total, 3);
        let mut first = entry(0, 2);
        losses.correct(&mut first);
        assert_eq!((first.stored, first.lost), (1, 1));
        let mut other = entry(LEDGER_NS, 9);
        other.class = "exec".to_owned();
        losses.correct(&mut other);
        assert_eq!((other.stored, other.lost), (9, 0));
        let mut second = entry(LEDGER_NS, 2);
        losses.correct(&mut second);
        assert_eq!((second.stored, second.lost), (0, 2));
    }

    #[test]
    fn a_row_that_ends_within_a_second_takes_just_its_own() {
        let mut losses = Losses::default();
        let half = SECOND_NS / 2;
        let end = half + LEDGER_NS;
        losses.refuse(files(&[end - 2, end - 1, end, end + 1]), &[0, 1, 2, 3], 0);
        let mut first = entry(half, 2);
        losses.correct(&mut first);
        assert_eq!((first.stored, first.lost), (0, 2));
        let mut second = entry(end, 2);
        losses.correct(&mut second);
        assert_eq!((second.stored, second.lost), (0, 2));
    }

    #[test]
    fn what_waits_is_told_once_with_the_gap_first() {
        let mut losses = Losses::default();
        let mut own = files(&[]);
        own.events = Events::Collector(vec![CollectorEvent::Ledger(entry(0, 1))]);
        losses.refuse(own, &[0], 0);
        losses.refuse(files(&[5, 6]), &[0, 1], 3);
        let told = losses.take();
        assert!(losses.is_empty());
        let CollectorEvent::Gap(gap) = &told[0] else { panic!("{told:?}") };
        assert_eq!((gap.time_ns, gap.lost, gap.reason), (3, Some(2), GapReason::DiskFull));
        assert_eq!(told[1], CollectorEvent::Ledger(entry(0, 1)));
        losses.put_back(told, &[0]);
        assert_eq!(losses.take().len(), 1);
    }
}
