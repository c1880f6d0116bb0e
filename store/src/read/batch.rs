//! What a scan yields.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::filter;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::error::ArrowError;

use crate::columns::ColumnArray;

/// Some rows of a table.
#[derive(Clone, Debug)]
pub struct ScanBatch {
    pub(super) rows: usize,
    pub(super) columns: Vec<ColumnArray>,
    pub(super) time_ns: Option<Int64Array>,
    pub(super) eids: Eids,
    pub(super) clock_offset_ns: Option<Int64Array>,
    pub(super) boot: Option<BootIds>,
}

/// The rows' numbers.
#[derive(Clone, Debug)]
pub(super) enum Eids {
    Read(Int64Array),
    /// They are read when the first one is asked for.
    Unread(Arc<dyn LateEids>, Positions),
}

/// Numbers of a stretch of rows, read on demand and kept.
pub(super) trait LateEids: fmt::Debug + Send + Sync {
    /// The number at a position; `None` when it cannot be read.
    fn at(&self, position: usize) -> Option<i64>;
}

impl LateEids for Int64Array {
    fn at(&self, position: usize) -> Option<i64> {
        self.values().get(position).copied()
    }
}

/// Which rows of a row group a batch has.
#[derive(Clone, Debug)]
pub(super) enum Positions {
    /// As many as the batch has rows, from this one on.
    From(usize),
    Each(ScalarBuffer<u32>),
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

    /// When each event happened, in nanoseconds since the Unix epoch; may be `None` unless
    /// [`crate::RowParts::time_ns`] was requested.
    #[must_use]
    pub const fn time_ns(&self) -> Option<&Int64Array> {
        self.time_ns.as_ref()
    }

    /// Each row's number in its table; `None` unless [`crate::RowParts::eid`] or an order was
    /// requested.
    #[must_use]
    pub const fn eid(&self) -> Option<&Int64Array> {
        match &self.eids {
            Eids::Read(eids) => Some(eids),
            Eids::Unread(..) => None,
        }
    }

    /// A row's number in its table, whether it was requested or not: where it was not, all of its
    /// surroundings are read when the first one is asked for. `None` for a row out of range, and
    /// when it cannot be read, which is noted as damage.
    #[must_use]
    pub fn eid_at(&self, row: usize) -> Option<i64> {
        match &self.eids {
            Eids::Read(eids) => eids.values().get(row).copied(),
            Eids::Unread(all, positions) => {
                let position = positions.at(row).filter(|_| row < self.rows)?;
                all.at(position)
            }
        }
    }

    /// Per row, what boot-time nanoseconds plus it is real time; may be `None` unless
    /// [`crate::RowParts::boot`] was requested.
    #[must_use]
    pub const fn clock_offset_ns(&self) -> Option<&Int64Array> {
        self.clock_offset_ns.as_ref()
    }

    /// The boot id of the host that a row was recorded on; `None` for a row out of range, and may
    /// be unless [`crate::RowParts::boot`] was requested.
    #[must_use]
    pub fn boot_id(&self, row: usize) -> Option<[u8; 16]> {
        let boot = self.boot.as_ref().filter(|_| row < self.rows)?;
        let index = match &boot.keys {
            Some(keys) => usize::try_from(keys.value(row)).ok()?,
            None => 0,
        };
        boot.ids.get(index).copied()
    }

    /// Some of its rows, in the same memory. The range must be within its rows.
    pub(super) fn slice(&self, rows: Range<usize>) -> Self {
        let (start, count) = (rows.start, rows.len());
        if count == self.rows {
            return self.clone();
        }
        let int64 = |array: &Option<Int64Array>| array.as_ref().map(|of| of.slice(start, count));
        let keys = |boot: &BootIds| boot.keys.as_ref().map(|keys| keys.slice(start, count));
        Self {
            rows: count,
            columns: self.columns.iter().map(|column| column.slice(start, count)).collect(),
            time_ns: int64(&self.time_ns),
            eids: match &self.eids {
                Eids::Read(eids) => Eids::Read(eids.slice(start, count)),
                Eids::Unread(all, at) => Eids::Unread(Arc::clone(all), at.slice(start, count)),
            },
            clock_offset_ns: int64(&self.clock_offset_ns),
            boot: self
                .boot
                .as_ref()
                .map(|boot| BootIds { ids: boot.ids.clone(), keys: keys(boot) }),
        }
    }

    /// The rows of a mask.
    pub(super) fn keep(&self, mask: &BooleanArray) -> Result<Self, ArrowError> {
        let int64 = |array: Option<&Int64Array>| {
            let kept = array.map(|array| filter(array, mask)).transpose()?;
            Ok::<_, ArrowError>(kept.map(|array| array.as_primitive().clone()))
        };
        let columns = self.columns.iter().map(|column| column.keep(mask));
        let boot = match &self.boot {
            Some(BootIds { ids, keys: Some(keys) }) => {
                let keys = Some(filter(keys, mask)?.as_primitive().clone());
                Some(BootIds { ids: ids.clone(), keys })
            }
            boot => boot.clone(),
        };
        let eids = match &self.eids {
            Eids::Read(eids) => Eids::Read(filter(eids, mask)?.as_primitive().clone()),
            Eids::Unread(all, positions) => Eids::Unread(Arc::clone(all), positions.keep(mask)),
        };
        Ok(Self {
            rows: mask.true_count(),
            columns: columns.collect::<Result<_, _>>()?,
            time_ns: int64(self.time_ns.as_ref())?,
            eids,
            clock_offset_ns: int64(self.clock_offset_ns.as_ref())?,
            boot,
        })
    }
}

impl Positions {
    pub(super) fn at(&self, row: usize) -> Option<usize> {
        match self {
            Self::From(start) => start.checked_add(row),
            Self::Each(each) => each.get(row).map(|position| *position as usize),
        }
    }

    pub(super) fn slice(&self, start: usize, count: usize) -> Self {
        match self {
            Self::From(first) => Self::From(first.saturating_add(start)),
            Self::Each(each) => Self::Each(each.slice(start, count)),
        }
    }

    /// The positions of a mask's rows.
    fn keep(&self, mask: &BooleanArray) -> Self {
        let rows = mask.values().set_indices();
        let kept = rows.filter_map(|row| u32::try_from(self.at(row)?).ok());
        Self::Each(kept.collect())
    }
}

/// Takes apart a column of boot ids; `None` when it is not what it must be.
pub(super) fn boot_ids(array: &ArrayRef) -> Option<BootIds> {
    if let Some(plain) = array.as_string_opt::<i32>() {
        let mut ids: Vec<[u8; 16]> = Vec::new();
        let keys = plain.iter().map(|text| {
            let id = parse_boot_id(text?)?;
            let known = ids.iter().position(|known| *known == id);
            let key = known.unwrap_or(ids.len());
            if known.is_none() {
                ids.push(id);
            }
            i32::try_from(key).ok()
        });
        let keys: Option<Vec<i32>> = keys.collect();
        return Some(BootIds { keys: Some(Int32Array::from(keys?)), ids });
    }
    let array = array.as_dictionary_opt::<Int32Type>().filter(|array| array.null_count() == 0)?;
    let values = array.values().as_string_opt::<i32>()?;
    let ids: Option<Vec<_>> = values.iter().map(|id| parse_boot_id(id?)).collect();
    Some(BootIds { ids: ids?, keys: Some(array.keys().clone()) })
}

fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u128::from_str_radix(text, 16).ok())?.map(u128::to_be_bytes)
}

/// Numbers without a null; `None` for any other array.
pub(super) fn int64(array: &ArrayRef) -> Option<Int64Array> {
    array.as_primitive_opt::<Int64Type>().filter(|array| array.null_count() == 0).cloned()
}
