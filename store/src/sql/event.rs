//! Rows of a table of events, as the store's scans yield them.

use std::sync::Arc;

use arrow::array::{Array, Int64Array};

use crate::schema::{ColumnSource, Computation, TableSchema};
use crate::sql::bounds::{SECOND_NS, TimeRange};
use crate::sql::rows::{Block, Cell};
use crate::table::ValueRef;
use crate::{ColumnArray, Filter, Order, RowParts, ScanBatch, ScanRequest};

/// Where the columns of a table are found in a batch.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Per column of the table, how its value is had; `None` for one that is not read.
    sources: Vec<Option<Source>>,
    /// Stored columns to request.
    columns: Vec<usize>,
    parts: RowParts,
}

/// How the value of a column is had. Numbers are indices into the batch's columns.
#[derive(Clone, Copy, Debug)]
enum Source {
    Stored(usize),
    Seconds,
    Uptime,
    BootNs,
    BootId,
    Eid,
    Guid { pid: usize, start_ns: usize },
}

impl Layout {
    /// The layout of scans that read these columns.
    pub(super) fn new(schema: &TableSchema, reads: &[usize]) -> Self {
        let mut layout = Self {
            sources: vec![None; schema.columns.len()],
            columns: Vec::new(),
            parts: RowParts::default(),
        };
        for &index in reads {
            let Some(column) = schema.columns.get(index) else {
                continue;
            };
            let source = layout.source(index, column.source);
            if let Some(slot) = layout.sources.get_mut(index) {
                *slot = Some(source);
            }
        }
        layout
    }

    fn source(&mut self, index: usize, source: ColumnSource) -> Source {
        let ColumnSource::Computed(computation) = source else {
            return Source::Stored(self.place(index));
        };
        match computation {
            Computation::Seconds => {
                self.parts.time_ns = true;
                Source::Seconds
            }
            Computation::Uptime => {
                self.request_boot();
                Source::Uptime
            }
            Computation::BootNs => {
                self.request_boot();
                Source::BootNs
            }
            Computation::BootId => {
                self.parts.boot = true;
                Source::BootId
            }
            Computation::Eid => {
                self.parts.eid = true;
                Source::Eid
            }
            Computation::Guid { pid, start_ns } => {
                self.parts.boot = true;
                Source::Guid { pid: self.place(pid), start_ns: self.place(start_ns) }
            }
        }
    }

    const fn request_boot(&mut self) {
        self.parts.time_ns = true;
        self.parts.boot = true;
    }

    fn place(&mut self, column: usize) -> usize {
        let known = self.columns.iter().position(|known| *known == column);
        known.unwrap_or_else(|| {
            self.columns.push(column);
            self.columns.len() - 1
        })
    }

    /// What to ask the store for.
    pub(super) fn request(
        &self,
        range: TimeRange,
        filters: Vec<Filter>,
        order: Order,
    ) -> ScanRequest {
        let (time, columns) = (range.inclusive(), self.columns.clone());
        ScanRequest { time, columns, parts: self.parts, filters, order }
    }

    /// The layout that has each row's time as well.
    pub(super) fn with_times(&self) -> Self {
        let parts = RowParts { time_ns: true, ..self.parts };
        Self { parts, ..self.clone() }
    }
}

/// A batch and where its columns are.
#[derive(Debug)]
pub(super) struct EventBlock {
    batch: ScanBatch,
    layout: Arc<Layout>,
}

impl EventBlock {
    pub(super) const fn new(batch: ScanBatch, layout: Arc<Layout>) -> Self {
        Self { batch, layout }
    }

    /// Memory that the block holds and the one before it does not.
    pub(super) fn bytes(&self, before: Option<&Self>) -> usize {
        let parts = [self.batch.time_ns(), self.batch.eid(), self.batch.clock_offset_ns()];
        let parts: usize = parts.into_iter().flatten().map(|part| array_bytes(part)).sum();
        let before = before.map_or(&[][..], |before| before.batch.columns());
        let columns = self.batch.columns().iter().enumerate();
        parts + columns.map(|(at, column)| column_bytes(column, before.get(at))).sum::<usize>()
    }

    /// The values of a stored column that is read.
    #[inline]
    pub(super) fn stored_column(&self, column: usize) -> Option<&ColumnArray> {
        match self.layout.sources.get(column)?.as_ref()? {
            Source::Stored(index) => self.batch.columns().get(*index),
            _ => None,
        }
    }

    fn stored(&self, index: usize, row: usize) -> ValueRef<'_> {
        self.batch.columns().get(index).map_or(ValueRef::Null, |column| column.value(row))
    }

    fn time_ns(&self, row: usize) -> Option<i64> {
        value(self.batch.time_ns()?, row)
    }

    fn boot_ns(&self, row: usize) -> Option<i64> {
        let offset = value(self.batch.clock_offset_ns()?, row)?;
        Some(self.time_ns(row)?.wrapping_sub(offset))
    }

    fn guid(&self, pid: usize, start_ns: usize, row: usize) -> Option<Cell<'_>> {
        match (self.stored(pid, row), self.stored(start_ns, row)) {
            (ValueRef::U32(pid), ValueRef::U64(start_ns)) => {
                Some(Cell::Guid { boot_id: self.batch.boot_id(row)?, pid, start_ns })
            }
            _ => None,
        }
    }
}

impl Block for EventBlock {
    fn len(&self) -> usize {
        self.batch.len()
    }

    fn cell(&self, column: usize, row: usize) -> Cell<'_> {
        let source = self.layout.sources.get(column).copied().flatten();
        let cell = source.and_then(|source| match source {
            Source::Stored(index) => Some(Cell::Value(self.stored(index, row))),
            Source::Seconds => {
                self.time_ns(row).map(|time_ns| Cell::Integer(time_ns.div_euclid(SECOND_NS)))
            }
            Source::Uptime => {
                self.boot_ns(row).map(|boot_ns| Cell::Integer(boot_ns.div_euclid(SECOND_NS)))
            }
            Source::BootNs => self.boot_ns(row).map(Cell::Integer),
            Source::BootId => self.batch.boot_id(row).map(Cell::BootId),
            Source::Eid => Some(Cell::Integer(self.rowid(row))),
            Source::Guid { pid, start_ns } => self.guid(pid, start_ns, row),
        });
        cell.unwrap_or(Cell::Value(ValueRef::Null))
    }

    fn rowid(&self, row: usize) -> i64 {
        // SQLite may ask for it at any row, and hardly ever does.
        self.batch.eid_at(row).unwrap_or(0)
    }

    fn time_ns(&self, row: usize) -> Option<i64> {
        Self::time_ns(self, row)
    }
}

/// Memory of a column, without the dictionary that the block before shares with it.
fn column_bytes(column: &ColumnArray, before: Option<&ColumnArray>) -> usize {
    match column {
        ColumnArray::Bool(array) => array_bytes(array),
        ColumnArray::I32(array) => array_bytes(array),
        ColumnArray::I64(array) => array_bytes(array),
        ColumnArray::U32(array) => array_bytes(array),
        ColumnArray::U64(array) => array_bytes(array),
        ColumnArray::F64(array) => array_bytes(array),
        ColumnArray::Text(array) => array_bytes(array),
        ColumnArray::TextDictionary { keys, values } => {
            let shared = match before {
                Some(ColumnArray::TextDictionary { values: before, .. }) => {
                    before.values().ptr_eq(values.values())
                }
                _ => false,
            };
            array_bytes(keys) + if shared { 0 } else { array_bytes(values) }
        }
        ColumnArray::Blob(array) => array_bytes(array),
    }
}

/// The array's own part of its buffers, which several batches may share.
fn array_bytes(array: &dyn Array) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
}

fn value(array: &Int64Array, row: usize) -> Option<i64> {
    array.values().get(row).copied()
}
