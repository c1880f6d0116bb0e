//! Scans: the rows of one table and range, batch by batch.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::damage::DamageKind;
use crate::guard::{Unreadable, guarded};
use crate::manifest::entry::SegmentEntry;
use crate::read::batch::ScanBatch;
use crate::read::filter::{Filter, FilterColumn, Order};
use crate::read::journals::JournalPart;
use crate::read::merge;
use crate::read::predicate::Predicate;
use crate::read::reader::ReadError;
use crate::read::segments::SegmentPart;
use crate::read::snapshot::Inner;
use crate::rows::Wanted;
use crate::schema::{ColumnSource, TableSchema};

/// Which rows and columns a scan is to read.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanRequest {
    /// Bounds of the rows' times, in nanoseconds since the Unix epoch.
    pub time: RangeInclusive<i64>,
    /// Stored columns, as indices into [`TableSchema::columns`]. None is enough to count.
    pub columns: Vec<usize>,
    /// What else is wanted of each row.
    pub parts: RowParts,
    /// What must hold of each row.
    pub filters: Vec<Filter>,
    /// The order of the rows.
    pub order: Order,
}

/// What the store knows of a row beside its columns. What is not wanted is not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowParts {
    /// The time, also when its column is not requested.
    pub time_ns: bool,
    /// The number in its table.
    pub eid: bool,
    /// Boot id and clock offset.
    pub boot: bool,
}

impl ScanRequest {
    /// A request for some columns and all else that the store knows of a row.
    #[must_use]
    pub const fn new(time: RangeInclusive<i64>, columns: Vec<usize>) -> Self {
        let parts = RowParts { time_ns: true, eid: true, boot: true };
        Self { time, columns, parts, filters: Vec::new(), order: Order::Any }
    }
}

/// A request made ready.
#[derive(Debug)]
pub(super) struct Projection {
    pub(super) table: &'static TableSchema,
    pub(super) time: RangeInclusive<i64>,
    pub(super) parts: RowParts,
    /// The time column, then the requested ones and those that filters look at, each once.
    pub(super) slots: Vec<Wanted<'static>>,
    /// Per requested column, the index into `slots`.
    pub(super) requested: Vec<usize>,
    /// What must hold of each row, with the index into `slots` where it looks at a column.
    pub(super) predicates: Vec<(Option<usize>, Predicate)>,
    pub(super) order: Order,
}

impl Projection {
    fn new(table: &'static TableSchema, request: &ScanRequest) -> Result<Self, ReadError> {
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
        Ok(Self { table, time, parts, slots: slots.wanted, requested, predicates, order })
    }

    /// Whether the time is to be decoded. It must be where rows may be out of range.
    pub(super) fn with_time(&self, partial: bool) -> bool {
        partial
            || self.parts.time_ns
            || self.order != Order::Any
            || self.requested.contains(&0)
            || self.predicates.iter().any(|(slot, _)| *slot == Some(0))
    }

    /// Whether the rows' numbers are to be decoded.
    pub(super) fn with_eid(&self) -> bool {
        self.parts.eid || self.order != Order::Any || self.tests(FilterColumn::Eid)
    }

    /// Whether boot ids and clock offsets are to be decoded.
    pub(super) fn with_boot(&self) -> bool {
        self.parts.boot || self.tests(FilterColumn::BootId)
    }

    fn tests(&self, column: FilterColumn) -> bool {
        self.predicates.iter().any(|(_, predicate)| predicate.column == column)
    }

    /// The columns to decode.
    pub(super) fn wanted(&self, with_time: bool) -> Vec<Wanted<'static>> {
        self.slots.iter().skip(usize::from(!with_time)).copied().collect()
    }

    /// Whether all times from `min` to `max` are in range.
    pub(super) fn covers(&self, min: i64, max: i64) -> bool {
        self.time.contains(&min) && self.time.contains(&max)
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

/// Rows of one table, batch by batch, in the requested order. Holds what it needs open.
#[derive(Debug)]
pub struct Scan {
    snapshot: Arc<Inner>,
    projection: Projection,
    segments: VecDeque<SegmentEntry>,
    segment: Option<SegmentPart>,
    journals: VecDeque<JournalPart>,
    /// All rows in order, once they are read.
    sorted: Option<VecDeque<ScanBatch>>,
}

impl Scan {
    pub(super) fn new(
        snapshot: Arc<Inner>,
        table: &'static TableSchema,
        request: &ScanRequest,
    ) -> Result<Self, ReadError> {
        let projection = Projection::new(table, request)?;
        let journals = snapshot.journals.iter().enumerate();
        let parts =
            journals.filter_map(|(index, journal)| JournalPart::new(index, journal, &projection));
        let journals: VecDeque<_> = parts.collect();
        let mut segments: VecDeque<_> =
            snapshot.segments(table.name, &projection.time).cloned().collect();
        segments.make_contiguous().sort_by_key(|segment| segment.min_time_ns);
        Ok(Self { snapshot, projection, segments, segment: None, journals, sorted: None })
    }

    /// The next rows of a segment; `None` when all segments are read.
    fn next_of_segments(&mut self) -> Option<Result<ScanBatch, ReadError>> {
        loop {
            if let Some(part) = &mut self.segment {
                match guarded(|| part.next(&self.projection)) {
                    Ok(Some(batch)) if batch.is_empty() => continue,
                    Ok(Some(batch)) => return Some(Ok(batch)),
                    Ok(None) => {}
                    Err(error) => {
                        let detail = error.to_string();
                        self.snapshot.report_segment(DamageKind::Segment, &part.entry, &detail);
                    }
                }
            }
            let entry = self.segments.pop_front();
            if entry.is_none() {
                self.segment = None;
            }
            match self.snapshot.open(entry.as_ref()?) {
                Ok(segment) => {
                    self.segment = entry.zip(segment).and_then(|(entry, segment)| {
                        let begun = guarded(|| {
                            let part = SegmentPart::new(entry.clone(), segment, &self.projection);
                            Ok::<_, Unreadable>(part)
                        });
                        begun.map_err(|error| self.report(&entry, &error)).ok()
                    });
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn report(&self, entry: &SegmentEntry, error: &Unreadable) {
        self.snapshot.report_segment(DamageKind::Segment, entry, &error.to_string());
    }

    /// The next rows of a journal; `None` when all journals are read.
    fn next_of_journals(&mut self) -> Option<Result<ScanBatch, ReadError>> {
        loop {
            let part = self.journals.front_mut()?;
            match part.next(&self.snapshot, &self.projection) {
                Ok(Some(batch)) if batch.is_empty() => {}
                Ok(None) => drop(self.journals.pop_front()),
                other => return other.transpose(),
            }
        }
    }
}

impl Scan {
    fn next_unordered(&mut self) -> Option<Result<ScanBatch, ReadError>> {
        self.next_of_segments().or_else(|| self.next_of_journals())
    }

    fn next_ordered(&mut self) -> Option<Result<ScanBatch, ReadError>> {
        if self.sorted.is_none() {
            let batches = std::iter::from_fn(|| self.next_unordered()).collect::<Result<_, _>>();
            let sorted = batches.map(|batches| merge::sorted(batches, self.projection.order));
            match sorted {
                Ok(sorted) => self.sorted = Some(sorted),
                Err(error) => return Some(Err(error)),
            }
        }
        self.sorted.as_mut()?.pop_front().map(Ok)
    }
}

impl Iterator for Scan {
    type Item = Result<ScanBatch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.projection.order {
            Order::Any => self.next_unordered(),
            Order::Ascending | Order::Descending => self.next_ordered(),
        }
    }
}
