//! Scans in order of time.
//!
//! # How
//! What is still unread is a heap of sources, each with the earliest time (or, backwards, the
//! latest) that a row of it can have: whole segments, then their row groups, then what is left of a
//! row group; and frames of journals. What is read is a heap of runs, each a batch in order. A row
//! is released when it comes before every other run's next row and before all that is unread; else
//! the foremost source is opened. So a scan that stops early has opened little, whatever the store
//! holds.
//!
//! A row group is read in stretches, a short one first, each four times as long as the one before.
//!
//! **Invariant:** rows come by (`time_ns`, `eid`). A source never yields a row before its bound.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use crate::guard::{Unreadable, guarded};
use crate::limits::{BATCH_ROWS, STRETCH_CELLS_MAX};
use crate::manifest::entry::SegmentEntry;
use crate::read::batch::ScanBatch;
use crate::read::filter::Order;
use crate::read::journals::{Frames, JournalPart};
use crate::read::merge::{self, Place};
use crate::read::projection::Task;
use crate::read::reader::ReadError;
use crate::read::segments::{FIRST_ROWS, Group, SegmentPart, take_first};
use crate::read::stretch::Stretch;

/// Rows of the first batch that is yielded; then twice as many, and so on.
const FIRST_YIELD_ROWS: usize = 64;

/// Rows of frames that are read together.
const FRAMES_ROWS: usize = 512;

/// A row's place in the order asked for: smaller comes first, in both directions.
type Key = (i64, i64);

/// A scan in order of time.
#[derive(Debug)]
pub(super) struct Ordered {
    task: Arc<Task>,
    unread: BinaryHeap<Reverse<Unread>>,
    runs: BinaryHeap<Reverse<Run>>,
    yield_rows: usize,
    opened: u64,
}

/// Something to read, and the key that none of its rows comes before.
#[derive(Debug)]
struct Unread {
    bound: i64,
    /// Among equal bounds, the one that was found first.
    number: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Segment(SegmentEntry),
    /// Rows of a row group: those that may be wanted, unless that is still to be found out.
    Group {
        group: Group,
        rows: Option<Vec<Range<usize>>>,
        next_rows: usize,
    },
    Frames(Frames),
}

/// Rows in the order of the file, ascending, of which some are released.
#[derive(Debug)]
struct Run {
    head: Key,
    number: u64,
    batch: ScanBatch,
    left: Range<usize>,
}

impl Ordered {
    pub(super) fn new(task: &Arc<Task>) -> Self {
        let mut ordered = Self {
            task: Arc::clone(task),
            unread: BinaryHeap::new(),
            runs: BinaryHeap::new(),
            yield_rows: FIRST_YIELD_ROWS,
            opened: 0,
        };
        let projection = &task.projection;
        for entry in task.snapshot.segments(projection.table.name, &projection.time) {
            let times = (entry.min_time_ns, entry.max_time_ns);
            ordered.push(times, Source::Segment(entry.clone()));
        }
        for journal in 0..task.snapshot.journals.len() {
            for frames in JournalPart::frames(task, journal, FRAMES_ROWS) {
                ordered.push(frames.times, Source::Frames(frames));
            }
        }
        ordered
    }

    fn backwards(&self) -> bool {
        self.task.projection.order == Order::Descending
    }

    fn push(&mut self, times: (i64, i64), source: Source) {
        // The complement turns the order around and has no overflow.
        let bound = if self.backwards() { !times.1 } else { times.0 };
        self.opened += 1;
        self.unread.push(Reverse(Unread { bound, number: self.opened, source }));
    }

    fn key(&self, batch: &ScanBatch, row: usize) -> Option<Key> {
        let time = *batch.time_ns.as_ref()?.values().get(row)?;
        let eid = batch.eid_at(row)?;
        Some(if self.backwards() { (!time, !eid) } else { (time, eid) })
    }

    /// How many rows there are to look at in what is not read yet.
    pub(super) fn rows_left(&self) -> u64 {
        let rows = |Reverse(unread): &Reverse<Unread>| match &unread.source {
            Source::Segment(entry) => entry.rows,
            Source::Group { group, rows: None, .. } => group.rows as u64,
            Source::Group { rows: Some(rows), .. } => {
                rows.iter().map(ExactSizeIterator::len).sum::<usize>() as u64
            }
            Source::Frames(_) => 0,
        };
        self.unread.iter().map(rows).sum()
    }

    /// The next rows; `None` when there are no more.
    pub(super) fn next(&mut self) -> Result<Option<ScanBatch>, ReadError> {
        let mut batches: Vec<ScanBatch> = Vec::new();
        // Which run each batch is of.
        let mut owners: Vec<u64> = Vec::new();
        let mut places: Vec<Place> = Vec::new();
        while places.len() < self.yield_rows {
            let bound = self.unread.peek().map(|Reverse(unread)| unread.bound);
            let head = self.runs.peek().map(|Reverse(run)| run.head.0);
            match (bound, head) {
                (None, None) => break,
                (bound, Some(head)) if bound.is_none_or(|bound| head < bound) => {
                    let Some(Reverse(run)) = self.runs.pop() else {
                        break;
                    };
                    let owner = owners.iter().rposition(|owner| *owner == run.number);
                    let index = owner.unwrap_or_else(|| {
                        owners.push(run.number);
                        batches.push(run.batch.clone());
                        batches.len() - 1
                    });
                    self.release(run, bound, index, &mut places);
                }
                // What is ready goes out before more is read.
                _ if places.len() * 4 >= self.yield_rows => break,
                _ => {
                    self.task.snapshot.check_stop()?;
                    self.open()?;
                }
            }
        }
        if places.is_empty() {
            return Ok(None);
        }
        self.yield_rows = (self.yield_rows * 2).min(BATCH_ROWS);
        merge::gather(&batches, &places).map(Some).map_err(ReadError::Order)
    }

    /// Takes the rows of a run that come before all others.
    fn release(&mut self, mut run: Run, bound: Option<i64>, index: usize, places: &mut Vec<Place>) {
        let other = self.runs.peek().map(|Reverse(run)| run.head);
        let room = self.yield_rows.saturating_sub(places.len()).max(1);
        let comes_first = |key: Key| {
            bound.is_none_or(|bound| key.0 < bound) && other.is_none_or(|other| key <= other)
        };
        let (mut low, mut high) = (0, run.left.len().min(room));
        // The first row goes in any case: it was the foremost.
        while low < high {
            let middle = low + (high - low) / 2;
            let key = self.key(&run.batch, self.row(&run, middle));
            if middle == 0 || key.is_some_and(comes_first) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        places.extend((0..low).map(|nth| (index, self.row(&run, nth))));
        if self.backwards() {
            run.left.end -= low;
        } else {
            run.left.start += low;
        }
        if !run.left.is_empty()
            && let Some(head) = self.key(&run.batch, self.row(&run, 0))
        {
            run.head = head;
            self.runs.push(Reverse(run));
        }
    }

    /// The row of a run that is the nth from here.
    fn row(&self, run: &Run, nth: usize) -> usize {
        if self.backwards() { run.left.end - 1 - nth } else { run.left.start + nth }
    }

    fn add_run(&mut self, batch: ScanBatch) {
        self.opened += 1;
        let mut run = Run { head: (0, 0), number: self.opened, left: 0..batch.len(), batch };
        if run.left.is_empty() {
            return;
        }
        if let Some(head) = self.key(&run.batch, self.row(&run, 0)) {
            run.head = head;
            self.runs.push(Reverse(run));
        }
    }

    /// Opens the foremost source.
    fn open(&mut self) -> Result<(), ReadError> {
        let Some(Reverse(unread)) = self.unread.pop() else {
            return Ok(());
        };
        match unread.source {
            Source::Segment(entry) => self.open_segment(&entry)?,
            Source::Group { group, rows, next_rows } => {
                let read = guarded(|| self.read_group(&group, rows, next_rows));
                match read {
                    Ok((batches, rest)) => {
                        batches.into_iter().for_each(|batch| self.add_run(batch));
                        if let Some((times, source)) = rest {
                            self.push(times, source);
                        }
                    }
                    Err(error) => group.report(&error),
                }
            }
            Source::Frames(frames) => {
                if let Some(batch) = frames.read()? {
                    let sorted = merge::sorted(vec![batch], Order::Ascending, usize::MAX);
                    sorted
                        .map_err(ReadError::Order)?
                        .into_iter()
                        .for_each(|batch| self.add_run(batch));
                }
            }
        }
        Ok(())
    }

    fn open_segment(&mut self, entry: &SegmentEntry) -> Result<(), ReadError> {
        for group in SegmentPart::open(&self.task, entry)? {
            let times = group.times;
            self.push(times, Source::Group { group, rows: None, next_rows: FIRST_ROWS });
        }
        Ok(())
    }

    /// Reads the next stretch of a row group, and says what is left of it.
    #[expect(clippy::type_complexity, reason = "used once")]
    fn read_group(
        &self,
        group: &Group,
        rows: Option<Vec<Range<usize>>>,
        next_rows: usize,
    ) -> Result<(Vec<ScanBatch>, Option<((i64, i64), Source)>), Unreadable> {
        let mut rest = match rows {
            Some(rows) => rows,
            None => group.candidates()?,
        };
        if rest.is_empty() {
            return Ok((Vec::new(), None));
        }
        let taken = if self.backwards() {
            take_last(&mut rest, next_rows)
        } else {
            take_first(&mut rest, next_rows)
        };
        let edge = match (taken.first(), taken.last()) {
            _ if rest.is_empty() => None,
            (Some(first), _) if self.backwards() => Some(first.start),
            (_, last) => last.map(|last| last.end.saturating_sub(1)),
        };
        let mut stretch = Stretch::new(group, taken, BATCH_ROWS)?;
        let mut batches = Vec::new();
        while let Some(batch) = stretch.next()? {
            ordered(&batch)?;
            batches.push(batch);
        }
        let Some(edge) = edge else {
            return Ok((batches, None));
        };
        let time = match edge_time(&batches, &stretch, self.backwards()) {
            Some(time) => time,
            None => group.time_at(edge)?,
        };
        let longest = (STRETCH_CELLS_MAX / group.columns().max(1)).max(BATCH_ROWS);
        let next_rows = next_rows.saturating_mul(4).min(longest);
        let source = Source::Group { group: group.clone(), rows: Some(rest), next_rows };
        Ok((batches, Some(((time, time), source))))
    }
}

/// The time at the edge of a stretch of which every row was yielded.
fn edge_time(batches: &[ScanBatch], stretch: &Stretch, backwards: bool) -> Option<i64> {
    if !stretch.is_whole() {
        return None;
    }
    if backwards {
        batches.first()?.time_ns.as_ref()?.values().first().copied()
    } else {
        batches.last()?.time_ns.as_ref()?.values().last().copied()
    }
}

fn ordered(batch: &ScanBatch) -> Result<(), Unreadable> {
    match &batch.time_ns {
        Some(times) if times.values().is_sorted() => Ok(()),
        _ => Err(Unreadable("its rows are not in order of time".to_owned())),
    }
}

/// Takes the last rows of a list of ranges; they stay ascending.
fn take_last(rows: &mut Vec<Range<usize>>, count: usize) -> Vec<Range<usize>> {
    let (mut taken, mut left) = (Vec::new(), count);
    while left > 0
        && let Some(mut range) = rows.pop()
    {
        let part = range.len().min(left);
        taken.push(range.end - part..range.end);
        left -= part;
        range.end -= part;
        if !range.is_empty() {
            rows.push(range);
        }
    }
    taken.reverse();
    taken
}

macro_rules! ordered_by {
    ($name:ident, |$of:ident| $key:expr) => {
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other) == Ordering::Equal
            }
        }

        impl Eq for $name {}

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                let key = |$of: &Self| $key;
                key(self).cmp(&key(other))
            }
        }
    };
}

ordered_by!(Unread, |of| (of.bound, of.number));
ordered_by!(Run, |of| (of.head, of.number));
