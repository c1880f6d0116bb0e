//! Rows of one row group on their way: filtered, decoded, and put into batches.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, filter};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use crate::columns::ColumnArray;
use crate::guard::{Unreadable, guarded};
use crate::limits::BATCH_ROWS;
use crate::read::batch::{Eids, LateEids, Positions, ScanBatch, boot_ids, int64};
use crate::read::constant::repeated;
use crate::read::filter::FilterColumn;
use crate::read::projection::{Decoded, Slot};
use crate::read::segments::Group;

/// Rows of a row group on their way.
pub(super) struct Stretch {
    group: Group,
    late: Arc<LateSegmentEids>,
    /// Columns that are decoded already, for all rows that passed.
    kept: Vec<(usize, ArrayRef)>,
    /// Columns in which all rows have the same value, as many as a batch has.
    constants: Vec<(usize, ArrayRef)>,
    /// The other ones, in the order of the file.
    rest: Vec<usize>,
    reader: Option<ParquetRecordBatchReader>,
    positions: Positions,
    taken: usize,
    batch_rows: usize,
    /// How many rows passed.
    total: usize,
    /// Whether all did.
    whole: bool,
}

impl fmt::Debug for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, taken, total, .. } = self;
        write!(f, "Stretch {{ group: {}, taken: {taken}, total: {total} }}", group.index)
    }
}

impl Stretch {
    /// Decodes candidates of a row group, in batches of at most `batch_rows`.
    pub(super) fn new(
        group: &Group,
        candidates: Vec<Range<usize>>,
        batch_rows: usize,
    ) -> Result<Self, Unreadable> {
        let part = &group.part;
        let rows = candidates.first().map_or(0, |first| first.start)
            ..candidates.last().map_or(0, |last| last.end);
        let late = LateSegmentEids { group: group.clone(), rows, eids: OnceLock::new() };
        let count = candidates.iter().map(ExactSizeIterator::len).sum();
        let mut stretch = Self {
            group: group.clone(),
            late: Arc::new(late),
            kept: Vec::new(),
            constants: Vec::new(),
            rest: Vec::new(),
            reader: None,
            positions: Positions::From(0),
            taken: 0,
            batch_rows,
            total: count,
            whole: true,
        };
        let passed = match part.tested.is_empty() {
            true => candidates,
            false => stretch.test(&candidates)?,
        };
        stretch.whole = stretch.total == count;
        stretch.divide()?;
        stretch.positions = match passed.as_slice() {
            [only] => Positions::From(only.start),
            rows => {
                let each = rows.iter().cloned().flatten();
                Positions::Each(each.filter_map(|row| u32::try_from(row).ok()).collect())
            }
        };
        if stretch.total > 0 && stretch.total <= batch_rows {
            let rest = std::mem::take(&mut stretch.rest);
            let arrays = part.segment.read_at_once(group.index, &rest, &passed)?;
            stretch.kept.extend(rest.into_iter().zip(arrays));
        } else if stretch.total > 0 && !stretch.rest.is_empty() {
            let reader = part.segment.read(group.index, &stretch.rest, &passed, batch_rows)?;
            stretch.reader = Some(reader);
        }
        Ok(stretch)
    }

    /// Divides the columns that are not decoded yet into those of one value and the rest.
    fn divide(&mut self) -> Result<(), Unreadable> {
        let part = &self.group.part;
        let is_kept = |column: &usize| self.kept.iter().any(|(kept, _)| kept == column);
        let (mut constants, mut rest) = (Vec::new(), Vec::new());
        for column in part.yielded.iter().copied().filter(|column| !is_kept(column)) {
            match part.segment.constant(self.group.index, column) {
                Some(one) => {
                    let rows = self.total.min(self.batch_rows);
                    constants.push((column, repeated(&one, rows).map_err(broken)?));
                }
                None => rest.push(column),
            }
        }
        (self.constants, self.rest) = (constants, rest);
        Ok(())
    }

    /// Reads the columns that predicates look at and returns the rows that pass.
    fn test(&mut self, candidates: &[Range<usize>]) -> Result<Vec<Range<usize>>, Unreadable> {
        let part = Arc::clone(&self.group.part);
        let reader = part.segment.read(self.group.index, &part.first, candidates, BATCH_ROWS)?;
        let mut rows = candidates.iter().cloned().flatten();
        let mut passed: Vec<Range<usize>> = Vec::new();
        let mut kept: Vec<Vec<ArrayRef>> = vec![Vec::new(); part.first.len()];
        let mut seen = 0;
        self.total = 0;
        for batch in reader {
            let batch = batch.map_err(|error| Unreadable(error.to_string()))?;
            let mask = self.mask(&batch)?;
            seen += batch.num_rows();
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
        if seen != candidates.iter().map(ExactSizeIterator::len).sum::<usize>() {
            return Err(wrong_length());
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
        let none_decoded = self.kept.is_empty() && self.constants.is_empty();
        let rows = match (&batch, none_decoded) {
            (Some(batch), _) if batch.num_rows() > left => return Err(wrong_length()),
            (Some(batch), _) => batch.num_rows(),
            (None, _) if self.reader.is_some() => {
                return Err(wrong_length());
            }
            (None, false) => left.min(self.batch_rows),
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
            if let Some((_, array)) = self.constants.iter().find(|(known, _)| *known == column) {
                return Some(array.slice(0, rows));
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

fn wrong_length() -> Unreadable {
    Unreadable("a column has not as many values as there are rows".to_owned())
}

fn wrong_eids() -> Unreadable {
    Unreadable("its numbers are no integers".to_owned())
}

fn broken(error: ArrowError) -> Unreadable {
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
