//! Reading the row groups of a segment: which rows may be wanted, and then those rows.
//!
//! # How
//! A row group is left out by its statistics, then by its bloom filters. Its rows are in order of
//! time, so that those in range are one stretch, found by the page index and a binary search in the
//! two pages where it begins and ends. The page index may leave out more.
//!
//! What is left is decoded in two passes: the columns that predicates look at first, all others for
//! the rows that passed. With no predicate there is only the second pass.

use std::collections::VecDeque;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::DataType;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;

use crate::columns::{self, ColumnArray};
use crate::guard::{Unreadable, guarded};
use crate::limits::BATCH_ROWS;
use crate::manifest::entry::SegmentEntry;
use crate::read::batch::int64;
use crate::read::filter::FilterColumn;
use crate::read::predicate::Predicate;
use crate::read::projection::Task;
use crate::read::prune::{self, Tested};
use crate::read::reader::ReadError;
use crate::read::segment::OpenSegment;
use crate::read::snapshot::overlaps;
use crate::schema::ColumnType;
use crate::segment::{BOOT_ID, CLOCK_OFFSET, EID};

/// Rows of a row group that are read first, for those who want no more.
pub(super) const FIRST_ROWS: usize = 256;

/// A segment as one scan sees it.
#[derive(Debug)]
pub(super) struct SegmentPart {
    pub(super) task: Arc<Task>,
    pub(super) entry: SegmentEntry,
    pub(super) segment: Arc<OpenSegment>,
    /// Per slot of the projection, the column in the file.
    pub(super) slots: Vec<Option<usize>>,
    time: usize,
    pub(super) eid: usize,
    pub(super) boot_id: usize,
    pub(super) clock_offset: usize,
    /// The predicates that are to be tested, as indices: those on columns that the file lacks hold
    /// for all rows, or for none.
    pub(super) tested: Vec<usize>,
    /// Columns that predicates look at, ascending.
    pub(super) first: Vec<usize>,
    /// Columns that are yielded, ascending.
    pub(super) yielded: Vec<usize>,
}

/// A row group that is to be read.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) part: Arc<SegmentPart>,
    pub(super) index: usize,
    pub(super) rows: usize,
    /// Smallest and largest time.
    pub(super) times: (i64, i64),
}

impl SegmentPart {
    /// Looks at a segment; `None` when it holds no row that passes.
    fn new(
        task: &Arc<Task>,
        entry: &SegmentEntry,
        segment: &Arc<OpenSegment>,
    ) -> Result<Option<Arc<Self>>, Unreadable> {
        let projection = &task.projection;
        let column = |name: &str, data_type: &DataType| {
            let found = segment.column(name, data_type);
            found.ok_or_else(|| Unreadable(format!("it has no column {name}")))
        };
        let slots: Vec<_> = projection
            .slots
            .iter()
            .map(|slot| segment.column(slot.name, &columns::data_type(slot.column_type)))
            .collect();
        let mut part = Self {
            task: Arc::clone(task),
            entry: entry.clone(),
            segment: Arc::clone(segment),
            slots,
            time: column(projection.time_name(), &DataType::Int64)?,
            eid: column(EID, &DataType::Int64)?,
            boot_id: column(BOOT_ID, &DataType::Utf8)?,
            clock_offset: column(CLOCK_OFFSET, &DataType::Int64)?,
            tested: Vec::new(),
            first: Vec::new(),
            yielded: Vec::new(),
        };
        for (index, (slot, predicate)) in projection.predicates.iter().enumerate() {
            match part.tested_column(*slot, predicate) {
                Some(column) => {
                    part.tested.push(index);
                    part.first.push(column);
                }
                None if !part.absent_passes(*slot, predicate) => return Ok(None),
                None => {}
            }
        }
        part.yielded = part.yielded();
        part.first.sort_unstable();
        part.first.dedup();
        Ok(Some(Arc::new(part)))
    }

    fn yielded(&self) -> Vec<usize> {
        let projection = &self.task.projection;
        let requested = projection.requested.iter();
        let mut columns: Vec<usize> =
            requested.filter_map(|slot| self.slots.get(*slot).copied().flatten()).collect();
        if projection.yields_time() {
            columns.push(self.time);
        }
        if projection.yields_eid() {
            columns.push(self.eid);
        }
        if projection.parts.boot {
            columns.extend([self.boot_id, self.clock_offset]);
        }
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    fn tested_column(&self, slot: Option<usize>, predicate: &Predicate) -> Option<usize> {
        match predicate.column {
            FilterColumn::Eid => Some(self.eid),
            FilterColumn::BootId => Some(self.boot_id),
            FilterColumn::Stored(_) => self.slots.get(slot?).copied().flatten(),
        }
    }

    /// Whether the value of a column that the file lacks passes.
    fn absent_passes(&self, slot: Option<usize>, predicate: &Predicate) -> bool {
        let slot = slot.and_then(|slot| self.task.projection.slots.get(slot));
        slot.is_some_and(|slot| {
            let absent = columns::absent(slot.column_type, slot.nullable, 1);
            let absent = ColumnArray::of(&absent, slot.column_type);
            absent.is_some_and(|absent| predicate.column(&absent).value(0))
        })
    }

    /// The predicates with the columns that they look at.
    pub(super) fn tested(&self) -> impl Iterator<Item = Tested<'_>> {
        let projection = &self.task.projection;
        let predicates = self.tested.iter().filter_map(|index| projection.predicates.get(*index));
        predicates.filter_map(|(slot, predicate)| {
            let column_type = match predicate.column {
                FilterColumn::Eid => ColumnType::I64,
                FilterColumn::BootId => ColumnType::Text,
                FilterColumn::Stored(_) => projection.slots.get((*slot)?)?.column_type,
            };
            let column = self.tested_column(*slot, predicate)?;
            Some(Tested { predicate, column_type, column })
        })
    }

    /// The row groups of a segment that may hold wanted rows, by their statistics. What cannot be
    /// read is noted as damage.
    pub(super) fn open(task: &Arc<Task>, entry: &SegmentEntry) -> Result<Vec<Group>, ReadError> {
        let Some(segment) = task.snapshot.open(entry)? else {
            return Ok(Vec::new());
        };
        let groups = guarded(|| {
            let part = Self::new(task, entry, &segment)?;
            Ok::<_, Unreadable>(part.map_or_else(Vec::new, |part| part.groups()))
        });
        Ok(groups.unwrap_or_else(|error| {
            task.snapshot.report_damaged(entry, &error);
            Vec::new()
        }))
    }

    /// The row groups that may hold wanted rows, by their statistics.
    fn groups(self: &Arc<Self>) -> Vec<Group> {
        let mut groups = Vec::new();
        for (index, group) in self.segment.groups().iter().enumerate() {
            let times = times(group, self.time).unwrap_or((i64::MIN, i64::MAX));
            let may_pass = |tested: Tested<'_>| {
                group.columns().get(tested.column).is_none_or(|chunk| tested.may_pass(chunk))
            };
            let rows = self.segment.rows(index);
            if rows > 0
                && overlaps(&self.task.projection.time, times.0, times.1)
                && self.tested().all(may_pass)
            {
                groups.push(Group { part: Arc::clone(self), index, rows, times });
            }
        }
        groups
    }
}

/// Smallest and largest time of a row group; `None` when the file does not say.
fn times(group: &RowGroupMetaData, time: usize) -> Option<(i64, i64)> {
    match group.columns().get(time)?.statistics()? {
        Statistics::Int64(of) => of.min_opt().copied().zip(of.max_opt().copied()),
        _ => None,
    }
}

impl Group {
    fn segment(&self) -> &Arc<OpenSegment> {
        &self.part.segment
    }

    /// Notes that it cannot be read.
    pub(super) fn report(&self, error: &Unreadable) {
        let snapshot = &self.part.task.snapshot;
        snapshot.report_group(&self.part.entry, self.times, self.rows as u64, error);
    }

    /// Whether no row is out of range.
    pub(super) fn is_covered(&self) -> bool {
        self.part.task.projection.covers(self.times.0, self.times.1)
    }

    /// Whether a few of its rows cost about as much as all: they are tested, or nothing of them is
    /// decoded.
    pub(super) fn tests_rows(&self) -> bool {
        !self.part.tested.is_empty() || self.part.yielded.is_empty()
    }

    /// Memory that its columns take when they are decoded, in bytes, roughly.
    pub(super) fn decoded_bytes(&self) -> usize {
        let chunks = self.segment().groups().get(self.index).map_or(&[][..], |of| of.columns());
        let yielded = self.part.yielded.iter().filter_map(|column| chunks.get(*column));
        let bytes = yielded.map(|chunk| usize::try_from(chunk.uncompressed_size()).unwrap_or(0));
        // A number or a key per row, and what the file holds: a dictionary, or the text itself.
        bytes.map(|bytes| bytes + self.rows * 8).sum()
    }

    /// How many columns are decoded.
    pub(super) fn columns(&self) -> usize {
        self.part.yielded.len() + self.part.first.len()
    }

    /// The rows that may be wanted, ascending.
    pub(super) fn candidates(&self) -> Result<Vec<Range<usize>>, Unreadable> {
        for tested in self.part.tested() {
            if !tested.may_be_in(self.segment(), self.index)? {
                return Ok(Vec::new());
            }
        }
        let located = self.located()?;
        let mut rows = if located.is_empty() { Vec::new() } else { vec![located] };
        for tested in self.part.tested() {
            if rows.is_empty() || self.rows <= BATCH_ROWS {
                break;
            }
            if let Some(pages) = self.segment().pages(self.index, tested.column)? {
                rows = prune::intersection(&rows, &tested.rows(&pages));
            }
        }
        Ok(rows)
    }

    /// The rows whose times are in range.
    pub(super) fn located(&self) -> Result<Range<usize>, Unreadable> {
        if self.is_covered() {
            return Ok(0..self.rows);
        }
        let (from, to) = self.part.task.projection.time.clone().into_inner();
        let Some(pages) = self.segment().pages(self.index, self.part.time)? else {
            let times = self.times_of(0..self.rows)?;
            return Ok(within(times.values(), from, to));
        };
        let ColumnIndexMetaData::INT64(index) = &pages.index else {
            return Err(Unreadable("its times are no integers".to_owned()));
        };
        let (smallest, largest) = (index.min_values(), index.max_values());
        if !smallest.is_sorted() || !largest.is_sorted() {
            return Err(out_of_order());
        }
        let begin = largest.partition_point(|max| *max < from);
        let end = smallest.partition_point(|min| *min <= to);
        let (Some(first), Some(last)) =
            (pages.rows.get(begin), end.checked_sub(1).and_then(|last| pages.rows.get(last)))
        else {
            return Ok(0..0);
        };
        let mut located = first.start..last.end;
        if begin < end && smallest.get(begin).is_some_and(|min| *min < from) {
            let times = self.times_of(first.clone())?;
            located.start += times.values().partition_point(|time| *time < from);
        }
        if begin < end && largest.get(end - 1).is_some_and(|max| *max > to) {
            let times = self.times_of(last.clone())?;
            located.end = last.start + times.values().partition_point(|time| *time <= to);
        }
        Ok(if begin < end && located.start < located.end { located } else { 0..0 })
    }

    fn times_of(&self, rows: Range<usize>) -> Result<Int64Array, Unreadable> {
        let times = self.numbers(self.part.time, rows)?;
        if times.values().is_sorted() { Ok(times) } else { Err(out_of_order()) }
    }

    /// The time of a row.
    pub(super) fn time_at(&self, row: usize) -> Result<i64, Unreadable> {
        let times = self.times_of(row..row + 1)?;
        times.values().first().copied().ok_or_else(out_of_order)
    }

    /// A column of numbers for some rows.
    pub(super) fn numbers(
        &self,
        column: usize,
        rows: Range<usize>,
    ) -> Result<Int64Array, Unreadable> {
        let read = self.segment().read_at_once(self.index, &[column], slice::from_ref(&rows))?;
        let numbers = read.first().and_then(int64);
        numbers.ok_or_else(|| Unreadable("a number is null".to_owned()))
    }
}

fn out_of_order() -> Unreadable {
    Unreadable("its rows are not in order of time".to_owned())
}

/// The stretch of ascending times that are in range.
pub(super) fn within(times: &[i64], from: i64, to: i64) -> Range<usize> {
    let start = times.partition_point(|time| *time < from);
    start..times.partition_point(|time| *time <= to).max(start)
}

/// Takes the first rows of a list of ranges.
pub(super) fn take_first(rows: &mut Vec<Range<usize>>, count: usize) -> Vec<Range<usize>> {
    let mut queue: VecDeque<_> = std::mem::take(rows).into();
    let (mut taken, mut left) = (Vec::new(), count);
    while left > 0
        && let Some(mut range) = queue.pop_front()
    {
        let part = range.len().min(left);
        taken.push(range.start..range.start + part);
        left -= part;
        range.start += part;
        if !range.is_empty() {
            queue.push_front(range);
        }
    }
    *rows = queue.into();
    taken
}
