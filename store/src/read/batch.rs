//! What a scan yields.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array};
use arrow::compute::filter;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;

use crate::columns::ColumnArray;
use crate::read::scan::Projection;

/// Some rows of a table.
#[derive(Clone, Debug)]
pub struct ScanBatch {
    rows: usize,
    columns: Vec<ColumnArray>,
    time_ns: Option<Int64Array>,
    eid: Option<Int64Array>,
    clock_offset_ns: Option<Int64Array>,
    boot: Option<BootIds>,
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
        if self.partial {
            self.keep_in_range(projection)?;
        }
        let skipped = usize::from(!self.with_time);
        let mut columns = Vec::with_capacity(projection.requested.len());
        for slot in &projection.requested {
            let array = slot.checked_sub(skipped).and_then(|index| self.columns.get(index));
            let column_type = projection.slots.get(*slot).map(|slot| slot.column_type);
            let column = array
                .zip(column_type)
                .and_then(|(array, column_type)| ColumnArray::of(array, column_type));
            let Some(column) = column else {
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

    fn keep_in_range(&mut self, projection: &Projection) -> Result<(), ArrowError> {
        let Some(times) = self.columns.first().and_then(int64) else {
            return Ok(());
        };
        let in_range = times.values().iter().map(|time| projection.time.contains(time));
        let mask: BooleanArray = in_range.map(Some).collect();
        if mask.true_count() == self.rows {
            return Ok(());
        }
        for column in &mut self.columns {
            *column = filter(column, &mask)?;
        }
        for column in [&mut self.eid, &mut self.clock_offset_ns].into_iter().flatten() {
            *column = filter(column, &mask)?;
        }
        if let Some(keys) = self.boot.as_mut().and_then(|boot| boot.keys.as_mut()) {
            let array: ArrayRef = Arc::new(keys.clone());
            *keys = filter(&array, &mask)?.as_primitive().clone();
        }
        self.rows = mask.true_count();
        Ok(())
    }
}

fn int64(array: &ArrayRef) -> Option<Int64Array> {
    array.as_primitive_opt::<Int64Type>().filter(|array| array.null_count() == 0).cloned()
}
