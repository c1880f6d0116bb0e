//! What a scan yields.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;

use crate::columns::ColumnArray;
use crate::read::filter::FilterColumn;
use crate::read::predicate;
use crate::read::scan::Projection;

/// Some rows of a table.
#[derive(Clone, Debug)]
pub struct ScanBatch {
    pub(super) rows: usize,
    pub(super) columns: Vec<ColumnArray>,
    pub(super) time_ns: Option<Int64Array>,
    pub(super) eid: Option<Int64Array>,
    pub(super) clock_offset_ns: Option<Int64Array>,
    pub(super) boot: Option<BootIds>,
}

/// The boot id of each row.
#[derive(Clone, Debug)]
pub(super) struct BootIds {
    pub(super) ids: Vec<[u8; 16]>,
    /// Per row, the index into `ids`; `None` when all rows have the first.
    pub(super) keys: Option<Int32Array>,
}

impl ScanBatch {
    /// How many rows it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows
    }

    /// Whether it has no rows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The requested columns, in the order of [`crate::ScanRequest::columns`].
    #[must_use]
    pub fn columns(&self) -> &[ColumnArray] {
        &self.columns
    }

    /// When each event happened, in nanoseconds since the Unix epoch; `None` unless
    /// [`crate::RowParts::time_ns`] was requested.
    #[must_use]
    pub const fn time_ns(&self) -> Option<&Int64Array> {
        self.time_ns.as_ref()
    }

    /// Each row's number in its table; `None` unless [`crate::RowParts::eid`] was requested.
    #[must_use]
    pub const fn eid(&self) -> Option<&Int64Array> {
        self.eid.as_ref()
    }

    /// A row's number in its table; `None` for a row out of range or unless
    /// [`crate::RowParts::eid`] was requested.
    #[must_use]
    pub fn eid_at(&self, row: usize) -> Option<i64> {
        self.eid.as_ref()?.values().get(row).copied()
    }

    /// Per row, what boot-time nanoseconds plus it is real time; `None` unless
    /// [`crate::RowParts::boot`] was requested.
    #[must_use]
    pub const fn clock_offset_ns(&self) -> Option<&Int64Array> {
        self.clock_offset_ns.as_ref()
    }

    /// The boot id of the host that a row was recorded on; `None` for a row out of range or unless
    /// [`crate::RowParts::boot`] was requested.
    #[must_use]
    pub fn boot_id(&self, row: usize) -> Option<[u8; 16]> {
        let boot = self.boot.as_ref().filter(|_| row < self.rows)?;
        let index = match &boot.keys {
            Some(keys) => usize::try_from(keys.value(row)).ok()?,
            None => 0,
        };
        boot.ids.get(index).copied()
    }
}

/// A batch as it was decoded, before the rows out of range are taken away.
#[derive(Default)]
pub(super) struct RawBatch {
    pub(super) rows: usize,
    /// What [`Projection::wanted`] asked for.
    pub(super) columns: Vec<ArrayRef>,
    /// Whether the first of `columns` is the time.
    pub(super) with_time: bool,
    /// Whether rows may be out of range; then `with_time` holds.
    pub(super) partial: bool,
    pub(super) eid: Option<ArrayRef>,
    pub(super) clock_offset_ns: Option<ArrayRef>,
    pub(super) boot: Option<BootIds>,
}

impl RawBatch {
    /// The batch that was requested; `None` when a column has another type than it must.
    pub(super) fn finish(
        mut self,
        projection: &Projection,
    ) -> Result<Option<ScanBatch>, ArrowError> {
        let Some(mask) = self.mask(projection) else {
            return Ok(None);
        };
        if let Some(mask) = mask {
            self.keep(&mask)?;
        }
        let mut columns = Vec::with_capacity(projection.requested.len());
        for slot in &projection.requested {
            let Some(column) = self.column(projection, *slot) else {
                return Ok(None);
            };
            columns.push(column);
        }
        let time_ns = self.columns.first().filter(|_| self.with_time);
        Ok(Some(ScanBatch {
            rows: self.rows,
            columns,
            time_ns: time_ns.and_then(int64),
            eid: self.eid.as_ref().and_then(int64),
            clock_offset_ns: self.clock_offset_ns.as_ref().and_then(int64),
            boot: self.boot,
        }))
    }

    /// The column in a slot of the projection.
    fn column(&self, projection: &Projection, slot: usize) -> Option<ColumnArray> {
        let array = self.columns.get(slot.checked_sub(usize::from(!self.with_time))?)?;
        ColumnArray::of(array, projection.slots.get(slot)?.column_type)
    }

    /// Which rows are in range and pass the filters; the inner `None` when all do, the outer one
    /// when a column has another type than it must.
    #[expect(clippy::option_option, reason = "the outer one is a failure")]
    fn mask(&self, projection: &Projection) -> Option<Option<BooleanArray>> {
        let mut passes = Vec::with_capacity(projection.predicates.len() + 1);
        if self.partial {
            let times = int64(self.columns.first()?)?;
            let in_range = times.values().iter().map(|time| projection.time.contains(time));
            passes.push(BooleanBuffer::from_iter(in_range));
        }
        for (slot, predicate) in &projection.predicates {
            passes.push(match (predicate.column, slot) {
                (FilterColumn::Eid, _) => predicate.eids(&int64(self.eid.as_ref()?)?),
                (FilterColumn::BootId, _) => predicate.boot_ids(self.boot.as_ref()?, self.rows),
                (_, slot) => predicate.column(&self.column(projection, (*slot)?)?),
            });
        }
        Some(predicate::mask_of(passes.into_iter()))
    }

    /// Keeps the rows of a mask.
    fn keep(&mut self, mask: &BooleanArray) -> Result<(), ArrowError> {
        for column in &mut self.columns {
            *column = filter(column, mask)?;
        }
        for column in [&mut self.eid, &mut self.clock_offset_ns].into_iter().flatten() {
            *column = filter(column, mask)?;
        }
        if let Some(keys) = self.boot.as_mut().and_then(|boot| boot.keys.as_mut()) {
            let array: ArrayRef = Arc::new(keys.clone());
            *keys = filter(&array, mask)?.as_primitive().clone();
        }
        self.rows = mask.true_count();
        Ok(())
    }
}

fn int64(array: &ArrayRef) -> Option<Int64Array> {
    array.as_primitive_opt::<Int64Type>().filter(|array| array.null_count() == 0).cloned()
}
