//! Reading the row groups of a segment: which rows may be wanted, and then those rows.
//!
//! # How
//! A row group is left out by its statistics, then by its bloom filters. Its rows are in order of
//! time, so that those in range are one stretch, found by the page index and a binary search in the
//! two pages where it begins and ends. The page index may leave out more.
//!
//! What is left is decoded in two passes: the columns that predicates look at first, all others for
//! the rows that passed. With no predicate there is only the second pass.

use std::ops::Range;
use std::slice;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, filter};
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;

use crate::columns::{self, ColumnArray};
use crate::guard::{Unreadable, guarded};
use crate::limits::BATCH_ROWS;
use crate::manifest::entry::SegmentEntry;
use crate::read::batch::{Eids, LateEids, Positions, ScanBatch, boot_ids, int64};
use crate::read::filter::FilterColumn;
use crate::read::predicate::Predicate;
use crate::read::projection::{Decoded, Slot, Task};
use crate::read::prune::{self, Tested};
use crate::read::segment::OpenSegment;
use crate::read::snapshot::overlaps;
use crate::schema::ColumnType;
use crate::segment::{BOOT_ID, CLOCK_OFFSET, EID};

/// A segment as one scan sees it.
#[derive(Debug)]
pub(super) struct SegmentPart {
    task: Arc<Task>,
    pub(super) entry: SegmentEntry,
    segment: Arc<OpenSegment>,
    /// Per slot of the projection, the column in the file.
    slots: Vec<Option<usize>>,
    time: usize,
    eid: usize,
    boot_id: usize,
    clock_offset: usize,
    /// The predicates that are to be tested, as indices: those on columns that the file lacks hold
    /// for all rows, or for none.
    tested: Vec<usize>,
    /// Columns that predicates look at, ascending.
    first: Vec<usize>,
    /// Columns that are yielded, ascending.
    yielded: Vec<usize>,
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
    pub(super) fn new(
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
    fn tested(&self) -> impl Iterator<Item = Tested<'_>> {
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

    /// The row groups that may hold wanted rows, by their statistics.
    pub(super) fn groups(self: &Arc<Self>) -> Vec<Group> {
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
        snapshot.report_group(&self.part.entry, self.times, self.rows as u64, &error.to_string());
    }

    /// Whether no row is out of range.
    pub(super) fn is_covered(&self) -> bool {
        self.part.task.projection.covers(self.times.0, self.times.1)
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
    fn numbers(&self, column: usize, rows: Range<usize>) -> Result<Int64Array, Unreadable> {
        let count = rows.len().max(1);
        let mut reader =
            self.segment().read(self.index, &[column], slice::from_ref(&rows), count)?;
        let batch = reader.next().transpose().map_err(|error| Unreadable(error.to_string()))?;
        let numbers = batch.and_then(|batch| int64(batch.columns().first()?));
        numbers
            .filter(|numbers| numbers.len() == rows.len())
            .ok_or_else(|| Unreadable("a column of numbers is too short".to_owned()))
    }

    /// Decodes candidates, in batches of at most `batch_rows`.
    pub(super) fn read(
        &self,
        candidates: Vec<Range<usize>>,
        batch_rows: usize,
    ) -> Result<Stretch, Unreadable> {
        let part = &self.part;
        let bounds = candidates.first().map_or(0, |first| first.start)
            ..candidates.last().map_or(0, |last| last.end);
        let late = LateSegmentEids { group: self.clone(), rows: bounds, eids: OnceLock::new() };
        let mut stretch = Stretch {
            group: self.clone(),
            late: Arc::new(late),
            kept: Vec::new(),
            rest: Vec::new(),
            reader: None,
            positions: Positions::From(0),
            taken: 0,
            total: candidates.iter().map(ExactSizeIterator::len).sum(),
            whole: true,
        };
        let count = stretch.total;
        let candidates = match part.tested.is_empty() {
            true => candidates,
            false => stretch.test(&candidates)?,
        };
        stretch.whole = stretch.total == count;
        let rest = part.yielded.iter().copied();
        let is_kept = |column: &usize| stretch.kept.iter().any(|(kept, _)| kept == column);
        stretch.rest = rest.filter(|column| !is_kept(column)).collect();
        stretch.positions = match candidates.as_slice() {
            [only] => Positions::From(only.start),
            rows => {
                let each = rows.iter().cloned().flatten();
                Positions::Each(each.filter_map(|row| u32::try_from(row).ok()).collect())
            }
        };
        if stretch.total > 0 && !stretch.rest.is_empty() {
            let batch_rows = stretch.total.min(batch_rows);
            let reader = part.segment.read(self.index, &stretch.rest, &candidates, batch_rows)?;
            stretch.reader = Some(reader);
        }
        Ok(stretch)
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

/// Rows of a row group on their way.
pub(super) struct Stretch {
    group: Group,
    late: Arc<LateSegmentEids>,
    /// Columns that are decoded already, for all rows that passed.
    kept: Vec<(usize, ArrayRef)>,
    /// The other ones, in the order of the file.
    rest: Vec<usize>,
    reader: Option<ParquetRecordBatchReader>,
    positions: Positions,
    taken: usize,
    /// How many rows passed.
    total: usize,
    /// Whether all did.
    whole: bool,
}

impl std::fmt::Debug for Stretch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { group, taken, total, .. } = self;
        write!(f, "Stretch {{ group: {}, taken: {taken}, total: {total} }}", group.index)
    }
}

impl Stretch {
    /// Reads the columns that predicates look at and returns the rows that pass.
    fn test(&mut self, candidates: &[Range<usize>]) -> Result<Vec<Range<usize>>, Unreadable> {
        let part = Arc::clone(&self.group.part);
        let reader = part.segment.read(self.group.index, &part.first, candidates, BATCH_ROWS)?;
        let mut rows = candidates.iter().cloned().flatten();
        let mut passed: Vec<Range<usize>> = Vec::new();
        let mut kept: Vec<Vec<ArrayRef>> = vec![Vec::new(); part.first.len()];
        self.total = 0;
        for batch in reader {
            let batch = batch.map_err(|error| Unreadable(error.to_string()))?;
            let mask = self.mask(&batch)?;
            for (row, passes) in rows.by_ref().take(batch.num_rows()).zip(mask.values()) {
                match passed.last_mut() {
                    _ if !passes => {}
                    Some(last) if last.end == row => last.end += 1,
                    _ => passed.push(row..row + 1),
                }
            }
            let count = mask.true_count();
            self.total += count;
            let is_kept = |column: &usize| part.yielded.binary_search(column).is_ok();
            let columns = batch.columns().iter().zip(&part.first).zip(&mut kept);
            for ((array, _), kept) in
                columns.filter(|((_, column), _)| count > 0 && is_kept(column))
            {
                let all = count == array.len();
                kept.push(if all {
                    Arc::clone(array)
                } else {
                    filter(array, &mask).map_err(broken)?
                });
            }
        }
        for (column, arrays) in part.first.iter().zip(kept) {
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            if let [_, ..] = arrays.as_slice() {
                self.kept.push((*column, concat(&arrays).map_err(broken)?));
            }
        }
        Ok(passed)
    }

    /// Whether all rows that were looked at passed.
    pub(super) const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Which rows of a batch pass.
    fn mask(&self, batch: &RecordBatch) -> Result<BooleanArray, Unreadable> {
        let part = &self.group.part;
        let mut all = BooleanBuffer::new_set(batch.num_rows());
        for tested in part.tested() {
            let index = part.first.binary_search(&tested.column).ok();
            let array = index.and_then(|index| batch.columns().get(index));
            let passes = array.and_then(|array| match tested.predicate.column {
                FilterColumn::Eid => Some(tested.predicate.eids(&int64(array)?)),
                FilterColumn::BootId => {
                    Some(tested.predicate.boot_ids(&boot_ids(array)?, array.len()))
                }
                FilterColumn::Stored(_) => {
                    Some(tested.predicate.column(&ColumnArray::of(array, tested.column_type)?))
                }
            });
            let passes =
                passes.ok_or_else(|| Unreadable("a column has a wrong type".to_owned()))?;
            all = &all & &passes;
        }
        Ok(BooleanArray::new(all, None))
    }

    /// The next rows; `None` when there are no more. May panic when the segment is damaged.
    pub(super) fn next(&mut self) -> Result<Option<ScanBatch>, Unreadable> {
        let left = self.total - self.taken;
        if left == 0 {
            return Ok(None);
        }
        let batch = match &mut self.reader {
            Some(reader) => reader.next().transpose().map_err(broken)?,
            None => None,
        };
        let rows = match (&batch, self.kept.is_empty()) {
            (Some(batch), _) => batch.num_rows(),
            (None, _) if self.reader.is_some() => {
                return Err(Unreadable("a column is too short".to_owned()));
            }
            (None, false) => left.min(BATCH_ROWS),
            (None, true) => left,
        };
        let batch = self.batch(batch.as_ref(), rows)?;
        self.taken += rows;
        Ok(Some(batch))
    }

    fn batch(&self, batch: Option<&RecordBatch>, rows: usize) -> Result<ScanBatch, Unreadable> {
        let part = &self.group.part;
        let column = |column: usize| {
            if let Some((_, array)) = self.kept.iter().find(|(kept, _)| *kept == column) {
                return Some(array.slice(self.taken, rows));
            }
            let index = self.rest.binary_search(&column).ok()?;
            batch?.columns().get(index).map(Arc::clone)
        };
        let slot = |index: &Option<usize>| match index {
            Some(index) => column(*index).map_or(Slot::Unread, Slot::Read),
            None => Slot::Absent,
        };
        let eids = match column(part.eid).filter(|_| part.task.projection.yields_eid()) {
            Some(eids) => Eids::Read(int64(&eids).ok_or_else(wrong_eids)?),
            None => {
                let late = Arc::clone(&self.late);
                Eids::Unread(late, self.positions.slice(self.taken, rows))
            }
        };
        let parts = part.task.projection.parts;
        let decoded = Decoded {
            rows,
            slots: part.slots.iter().map(slot).collect(),
            eids,
            clock_offset_ns: column(part.clock_offset)
                .filter(|_| parts.boot)
                .as_ref()
                .and_then(int64),
            boot: column(part.boot_id).filter(|_| parts.boot).as_ref().and_then(boot_ids),
        };
        decoded.batch(&part.task.projection).map_err(|error| Unreadable(error.to_string()))
    }
}

fn wrong_eids() -> Unreadable {
    Unreadable("its numbers are no integers".to_owned())
}

fn broken(error: arrow::error::ArrowError) -> Unreadable {
    Unreadable(error.to_string())
}

/// The numbers of a stretch of a row group.
#[derive(Debug)]
struct LateSegmentEids {
    group: Group,
    rows: Range<usize>,
    eids: OnceLock<Option<Int64Array>>,
}

impl LateEids for LateSegmentEids {
    fn at(&self, position: usize) -> Option<i64> {
        let read = || {
            let read = guarded(|| self.group.numbers(self.group.part.eid, self.rows.clone()));
            read.map_err(|error| self.group.report(&error)).ok()
        };
        let eids = self.eids.get_or_init(read).as_ref()?;
        eids.values().get(position.checked_sub(self.rows.start)?).copied()
    }
}
