//! A request made ready: which columns to decode, and what must hold of each row.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::buffer::BooleanBuffer;

use crate::columns::{self, ColumnArray};
use crate::read::batch::{BootIds, Eids, ScanBatch, int64};
use crate::read::filter::{FilterColumn, Order};
use crate::read::predicate::Predicate;
use crate::read::reader::ReadError;
use crate::read::scan::{RowParts, ScanRequest};
use crate::read::snapshot::Inner;
use crate::rows::Wanted;
use crate::schema::{ColumnSource, TableSchema};

/// What a scan reads, and where.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) snapshot: Arc<Inner>,
    pub(super) projection: Projection,
}

/// A request made ready.
#[derive(Debug)]
pub(super) struct Projection {
    pub(super) table: &'static TableSchema,
    pub(super) time: RangeInclusive<i64>,
    pub(super) parts: RowParts,
    pub(super) order: Order,
    /// The time column, then the requested ones and those that filters look at, each once.
    pub(super) slots: Vec<Wanted<'static>>,
    /// Per requested column, the index into `slots`.
    pub(super) requested: Vec<usize>,
    /// What must hold of each row, with the index into `slots` where it looks at a column.
    pub(super) predicates: Vec<(Option<usize>, Predicate)>,
}

impl Projection {
    pub(super) fn new(
        table: &'static TableSchema,
        request: &ScanRequest,
    ) -> Result<Self, ReadError> {
        let time = table.time.ok_or(ReadError::NotEvents { table: table.name })?;
        let mut slots = Slots { indices: Vec::new(), wanted: Vec::new() };
        slots.of(table, time)?;
        let requested = request.columns.iter().map(|index| slots.of(table, *index));
        let requested = requested.collect::<Result<_, _>>()?;
        let mut predicates = Vec::with_capacity(request.filters.len());
        for filter in &request.filters {
            let predicate = Predicate::new(table, filter)?;
            let slot = match filter.column {
                FilterColumn::Stored(index) => Some(slots.of(table, index)?),
                FilterColumn::Eid | FilterColumn::BootId => None,
            };
            predicates.push((slot, predicate));
        }
        let (time, parts, order) = (request.time.clone(), request.parts, request.order);
        Ok(Self { table, time, parts, order, slots: slots.wanted, requested, predicates })
    }

    /// The same for whole units: all columns, in the order of the slots, of all rows.
    pub(super) fn unfiltered(&self) -> Self {
        let boot = self.parts.boot
            || self.predicates.iter().any(|(_, of)| of.column == FilterColumn::BootId);
        Self {
            table: self.table,
            time: i64::MIN..=i64::MAX,
            parts: RowParts { time_ns: true, eid: true, boot },
            order: Order::Any,
            slots: self.slots.clone(),
            requested: (0..self.slots.len()).collect(),
            predicates: Vec::new(),
        }
    }

    /// Whether the time is among what is yielded.
    pub(super) fn yields_time(&self) -> bool {
        self.parts.time_ns || self.order != Order::Any || self.requested.contains(&0)
    }

    /// Whether the rows' numbers are.
    pub(super) fn yields_eid(&self) -> bool {
        self.parts.eid || self.order != Order::Any
    }

    /// Whether all times from `min` to `max` are in range.
    pub(super) fn covers(&self, min: i64, max: i64) -> bool {
        self.time.contains(&min) && self.time.contains(&max)
    }

    /// The name of the time column.
    pub(super) fn time_name(&self) -> &'static str {
        self.slots.first().map_or("", |time| time.name)
    }
}

/// Columns to decode, each once.
struct Slots {
    indices: Vec<usize>,
    wanted: Vec<Wanted<'static>>,
}

impl Slots {
    /// The slot of a column of the table.
    fn of(&mut self, table: &'static TableSchema, index: usize) -> Result<usize, ReadError> {
        if let Some(slot) = self.indices.iter().position(|known| *known == index) {
            return Ok(slot);
        }
        let column = table.columns.get(index);
        let stored = column.and_then(|column| match column.source {
            ColumnSource::Stored(column_type) => Some((column, column_type)),
            ColumnSource::Computed(_) => None,
        });
        let (column, column_type) = stored.ok_or(ReadError::Column { table: table.name, index })?;
        self.indices.push(index);
        self.wanted.push(Wanted { name: column.name, column_type, nullable: column.nullable });
        Ok(self.wanted.len() - 1)
    }
}

/// Rows as they were decoded, with what predicates look at beside what is yielded.
pub(super) struct Decoded {
    pub(super) rows: usize,
    /// Per slot, its values; `None` for one that is not needed, and zero or null for one that the
    /// file does not have.
    pub(super) slots: Vec<Slot>,
    pub(super) eids: Eids,
    pub(super) clock_offset_ns: Option<Int64Array>,
    pub(super) boot: Option<BootIds>,
}

/// The values of a slot.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// Not decoded.
    Unread,
    /// The file does not have the column.
    Absent,
    Read(ArrayRef),
}

/// A column has another type than it must.
#[derive(Debug, thiserror::Error)]
#[error("a column has another type than it must")]
pub(super) struct WrongType;

impl Decoded {
    /// Which rows are in range and pass the predicates; `None` when all do.
    pub(super) fn mask(
        &self,
        projection: &Projection,
        covered: bool,
    ) -> Result<Option<BooleanArray>, WrongType> {
        let mut passes = Vec::with_capacity(projection.predicates.len() + 1);
        if !covered {
            let Some(Slot::Read(times)) = self.slots.first() else {
                return Err(WrongType);
            };
            let times = int64(times).ok_or(WrongType)?;
            let in_range = times.values().iter().map(|time| projection.time.contains(time));
            passes.push(BooleanBuffer::from_iter(in_range));
        }
        for (slot, predicate) in &projection.predicates {
            passes.push(match (predicate.column, &self.eids, &self.boot) {
                (FilterColumn::Eid, Eids::Read(eids), _) => predicate.eids(eids),
                (FilterColumn::BootId, _, Some(boot)) => predicate.boot_ids(boot, self.rows),
                (FilterColumn::Stored(_), ..) => {
                    let slot = slot.ok_or(WrongType)?;
                    predicate.column(&self.column(projection, slot)?)
                }
                _ => return Err(WrongType),
            });
        }
        let Some(all) = passes.into_iter().reduce(|left, right| &left & &right) else {
            return Ok(None);
        };
        let mask = BooleanArray::new(all, None);
        Ok((mask.true_count() < mask.len()).then_some(mask))
    }

    /// The rows as they are yielded.
    pub(super) fn batch(self, projection: &Projection) -> Result<ScanBatch, WrongType> {
        let requested = projection.requested.iter();
        let columns = requested.map(|slot| self.column(projection, *slot));
        let columns = columns.collect::<Result<_, _>>()?;
        let time_ns = match self.slots.first() {
            Some(Slot::Read(times)) => Some(int64(times).ok_or(WrongType)?),
            _ => None,
        };
        let (rows, eids) = (self.rows, self.eids);
        let (clock_offset_ns, boot) = (self.clock_offset_ns, self.boot);
        Ok(ScanBatch { rows, columns, time_ns, eids, clock_offset_ns, boot })
    }

    fn column(&self, projection: &Projection, slot: usize) -> Result<ColumnArray, WrongType> {
        let wanted = projection.slots.get(slot).ok_or(WrongType)?;
        let absent;
        let array = match self.slots.get(slot) {
            Some(Slot::Read(array)) => array,
            Some(Slot::Absent) => {
                absent = columns::absent(wanted.column_type, wanted.nullable, self.rows);
                &absent
            }
            _ => return Err(WrongType),
        };
        ColumnArray::of(array, wanted.column_type).ok_or(WrongType)
    }
}
