//! Retention: how long and how much is kept, and what goes first.
//!
//! Whole segments go, the oldest first. A segment is as old as its newest row, counted from the
//! row's time or from its sealing, whichever is earlier, so that a row whose time lies in the
//! future is not kept for ever. Tables that tell what is known of the others (`keep_last`) go after
//! them: by age, counted from when they were written, only when no other table has rows of that time;
//! by size when nothing else is left.
//! Journals count, and are never given up.
//!
//! When a bound on size is passed, a little more goes than must, so that the next rows do not pass
//! it at once.

use std::time::Duration;

use crate::manifest::entry::{SegmentEntry, State};

/// How much is kept. The default keeps everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The age from which rows go.
    pub max_age: Option<Duration>,
    /// Bytes of the data folder's journals and segments.
    pub max_bytes: Option<u64>,
    /// Bytes of the disk that are to stay free; 0 to use it up. On a disk that is small for that,
    /// half of what is free or taken by the store.
    pub min_free: u64,
    /// Bounds of single tables, in place of or beside those of all.
    pub tables: Vec<TableRetention>,
    /// Names of tables that go last.
    pub keep_last: Vec<String>,
}

/// How much of one table is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableRetention {
    /// The table's name.
    pub table: String,
    /// The age from which its rows go, in place of the one for all.
    pub max_age: Option<Duration>,
    /// Bytes of its segments.
    pub max_bytes: Option<u64>,
}

impl Retention {
    fn table(&self, name: &str) -> Option<&TableRetention> {
        self.tables.iter().find(|table| table.table == name)
    }

    /// The age from which rows of a table go.
    #[must_use]
    pub fn age_of(&self, table: &str) -> Option<Duration> {
        self.table(table).and_then(|table| table.max_age).or(self.max_age)
    }

    fn keeps_last(&self, table: &str) -> bool {
        self.keep_last.iter().any(|name| name == table)
    }
}

/// What the disk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// Bytes of the journals.
    pub(crate) journal_bytes: u64,
    /// Bytes that are free on the disk; `None` when that is unknown.
    pub(crate) free_bytes: Option<u64>,
}

impl Space {
    /// By how much a bound on size is passed, with the files that wait to be deleted counted.
    pub(crate) fn excess(self, state: &State, retention: &Retention) -> u64 {
        let waiting: u64 = state.removed.iter().map(|file| file.bytes).sum();
        let used = live_bytes(state) + self.journal_bytes + waiting;
        let over = retention.max_bytes.map_or(0, |max| used.saturating_sub(max));
        over.max(self.lacking(used, 0, retention))
    }

    /// How many bytes too few are free, when `used` are taken by the store, `freed` of which go.
    fn lacking(self, used: u64, freed: u64, retention: &Retention) -> u64 {
        let Some(free) = self.free_bytes else { return 0 };
        let reserve = retention.min_free.min(free.saturating_add(used) / 2);
        reserve.saturating_sub(free.saturating_add(freed))
    }
}

fn live_bytes(state: &State) -> u64 {
    state.files.values().map(|file| file.bytes).sum()
}

/// The segments that are to go at the instant `now_ns`, in nanoseconds since the Unix epoch.
pub(crate) fn plan<'a>(
    state: &'a State,
    space: Space,
    retention: &Retention,
    now_ns: i64,
) -> Vec<&'a SegmentEntry> {
    let mut kept: Vec<&SegmentEntry> = state.files.values().collect();
    // The oldest first, those of the tables that are kept last after all others.
    let last = |file: &SegmentEntry| retention.keeps_last(&file.table);
    kept.sort_by_key(|file| (last(file), file.newest_ns(), file.min_time_ns));
    let mut gone = Vec::new();
    by_age(&mut kept, &mut gone, retention, now_ns);
    for table in &retention.tables {
        let Some(max) = table.max_bytes else { continue };
        let of_table = |file: &&SegmentEntry| file.table == table.table;
        let bytes: u64 = kept.iter().copied().filter(of_table).map(|file| file.bytes).sum();
        drop_bytes(&mut kept, &mut gone, surplus(bytes, max), &of_table);
    }
    let bytes = kept.iter().map(|file| file.bytes).sum::<u64>() + space.journal_bytes;
    let over = retention.max_bytes.map_or(0, |max| surplus(bytes, max));
    // What waits to be deleted goes first, and frees its space too.
    let waiting: u64 = state.removed.iter().map(|file| file.bytes).sum();
    let freed = waiting + gone.iter().map(|file| file.bytes).sum::<u64>();
    let used = live_bytes(state) + space.journal_bytes + waiting;
    let lacking = match space.lacking(used, freed, retention) {
        0 => 0,
        lacking => lacking + lacking / SLACK,
    };
    drop_bytes(&mut kept, &mut gone, over.max(lacking), &|_| true);
    gone
}

/// The share of a bound that goes beyond what must.
const SLACK: u64 = 32;

/// By how much a bound is passed, and a little more when it is.
const fn surplus(bytes: u64, max: u64) -> u64 {
    if bytes > max { bytes - max + max / SLACK } else { 0 }
}

fn by_age<'a>(
    kept: &mut Vec<&'a SegmentEntry>,
    gone: &mut Vec<&'a SegmentEntry>,
    retention: &Retention,
    now_ns: i64,
) {
    let outlived = |file: &SegmentEntry| {
        retention.age_of(&file.table).is_some_and(|age| {
            let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
            // What tells that old rows have gone has their times, and is not as old.
            let told = if retention.keeps_last(&file.table) { file.sealed_ns } else { i64::MIN };
            file.newest_ns().max(told) < now_ns.saturating_sub(age)
        })
    };
    let oldest = kept.iter().filter(|file| !retention.keeps_last(&file.table) && !outlived(file));
    let oldest = oldest.map(|file| file.min_time_ns).min().unwrap_or(i64::MAX);
    let goes = |file: &SegmentEntry| {
        outlived(file) && (!retention.keeps_last(&file.table) || file.max_time_ns < oldest)
    };
    gone.extend(kept.extract_if(.., |file| goes(file)));
}

/// Drops the first segments of which `of` holds, until `bytes` are dropped.
fn drop_bytes<'a>(
    kept: &mut Vec<&'a SegmentEntry>,
    gone: &mut Vec<&'a SegmentEntry>,
    bytes: u64,
    of: &dyn Fn(&&SegmentEntry) -> bool,
) {
    let mut dropped = 0;
    gone.extend(kept.extract_if(.., |file| {
        let goes = dropped < bytes && of(file);
        dropped += if goes { file.bytes } else { 0 };
        goes
    }));
}

/// Rows of one table that were given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The table.
    pub table: String,
    /// Segments.
    pub segments: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of the segments.
    pub bytes: u64,
    /// Bounds of the rows' times, in nanoseconds since the Unix epoch.
    pub time_ns: (i64, i64),
}

impl Expired {
    /// Adds segments to what was given up before, a record per table.
    pub(crate) fn add(known: &mut Vec<Self>, files: &[&SegmentEntry]) {
        for file in files {
            let (from, to) = (file.min_time_ns, file.max_time_ns);
            let position = known.iter().position(|record| record.table == file.table);
            let record = match position.and_then(|position| known.get_mut(position)) {
                Some(record) => record,
                None => known.push_mut(Self {
                    table: file.table.clone(),
                    segments: 0,
                    rows: 0,
                    bytes: 0,
                    time_ns: (from, to),
                }),
            };
            record.segments += 1;
            record.rows += file.rows;
            record.bytes += file.bytes;
            record.time_ns = (record.time_ns.0.min(from), record.time_ns.1.max(to));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_NS: i64 = 24 * 3_600_000_000_000;

    fn file(table: &str, number: u64, day: i64, bytes: u64) -> SegmentEntry {
        SegmentEntry {
            path: format!("segments/{table}/0-{number}.parquet"),
            table: table.to_owned(),
            level: 0,
            late: false,
            first_journal: 0,
            journal: number,
            sha256: String::new(),
            bytes,
            rows: 10,
            first_eid: 1,
            last_eid: 1,
            min_time_ns: day * DAY_NS,
            max_time_ns: day * DAY_NS + 1,
            sealed_ns: day * DAY_NS + 2,
        }
    }

    fn state() -> State {
        let mut state = State::default();
        state.add(&[
            file("events", 1, 1, 100),
            file("events", 2, 2, 100),
            file("events", 3, 3, 100),
            file("other", 4, 1, 50),
            file("gaps", 5, 1, 10),
            file("gaps", 6, 3, 10),
        ]);
        state
    }

    fn retention() -> Retention {
        Retention { keep_last: vec!["gaps".to_owned()], ..Retention::default() }
    }

    /// Numbers of the segments that go on day 10, with 20 bytes of journals and 1,000 free.
    fn gone(state: &State, retention: &Retention) -> Vec<u64> {
        let space = Space { journal_bytes: 20, free_bytes: Some(1_000) };
        plan(state, space, retention, 10 * DAY_NS).iter().map(|file| file.journal).collect()
    }

    const fn days(days: u64) -> Option<Duration> {
        Some(Duration::from_secs(days * 24 * 3600))
    }

    #[test]
    fn without_bounds_everything_stays() {
        assert_eq!(gone(&state(), &retention()), [] as [u64; 0]);
    }

    #[test]
    fn age_takes_whole_segments_and_gaps_only_when_nothing_is_as_old() {
        let by_age = |days_max| Retention { max_age: days(days_max), ..retention() };
        assert_eq!(gone(&state(), &by_age(9)), [] as [u64; 0]);
        assert_eq!(gone(&state(), &by_age(8)), [1, 4, 5]);
        let mut held = by_age(8);
        let table =
            TableRetention { table: "other".to_owned(), max_age: days(100), max_bytes: None };
        held.tables.push(table);
        assert_eq!(gone(&state(), &held), [1], "a gap of the day of other rows stays");
        assert_eq!(gone(&state(), &by_age(1)), [1, 4, 2, 3, 5, 6]);
    }

    #[test]
    fn what_tells_of_old_rows_ages_from_its_sealing() {
        let mut state = State::default();
        let told =
            |number, day| SegmentEntry { sealed_ns: day * DAY_NS, ..file("gaps", number, 0, 10) };
        state.add(&[told(1, 1), told(2, 9)]);
        assert_eq!(gone(&state, &Retention { max_age: days(8), ..retention() }), [1]);
    }

    #[test]
    fn a_row_of_the_future_ages_from_its_sealing() {
        let mut state = State::default();
        state.add(&[SegmentEntry { max_time_ns: 1_000 * DAY_NS, ..file("events", 1, 1, 100) }]);
        let retention = Retention { max_age: days(8), ..retention() };
        assert_eq!(gone(&state, &retention), [1]);
    }

    #[test]
    fn bytes_take_the_oldest_first() {
        let by_bytes = |bytes| Retention { max_bytes: Some(bytes), ..retention() };
        assert_eq!(gone(&state(), &by_bytes(390)), [] as [u64; 0], "journals count");
        assert_eq!(gone(&state(), &by_bytes(389)), [1]);
        assert_eq!(gone(&state(), &by_bytes(250)), [1, 4]);
        assert_eq!(gone(&state(), &by_bytes(0)), [1, 4, 2, 3, 5, 6]);
        let mut table = retention();
        let bytes = Some(250);
        table.tables.push(TableRetention {
            table: "events".to_owned(),
            max_age: None,
            max_bytes: bytes,
        });
        assert_eq!(gone(&state(), &table), [1]);
    }

    #[test]
    fn want_of_space_takes_the_oldest_too() {
        let space = Space { journal_bytes: 30, free_bytes: Some(100) };
        let by_free = |bytes| Retention { min_free: bytes, ..retention() };
        let gone = |state: &State, min_free| -> Vec<u64> {
            let gone = plan(state, space, &by_free(min_free), 10 * DAY_NS);
            gone.iter().map(|file| file.journal).collect()
        };
        assert_eq!(gone(&state(), 100), [] as [u64; 0]);
        assert_eq!(gone(&state(), 150), [1]);
        assert_eq!(gone(&state(), 1 << 40), [1, 4, 2], "250 of the 500 bytes, and a little");
        let mut waiting = state();
        let (path, at_ns) = ("segments/events/1-1.parquet".to_owned(), 0);
        waiting.removed.push(crate::manifest::entry::Removed { path, bytes: 60, at_ns });
        assert_eq!(gone(&waiting, 150), [] as [u64; 0], "what waits frees space");
        assert_eq!(space.excess(&waiting, &by_free(150)), 50);
    }
}
