//! Rows of event tables by the names of their columns.

use std::ops::{ControlFlow, RangeInclusive};

use bygone_store::sql::History;
use bygone_store::{
    Filter, FilterColumn, GuidParts, Order, RowParts, Scan, ScanBatch, ScanRequest, TableSchema,
    Test, ValueRef,
};

use super::Failure;

/// Every time.
pub(super) const ALWAYS: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// One row of a scan. Columns are named by their place among those that were asked for.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    batch: &'a ScanBatch,
    row: usize,
}

impl<'a> Row<'a> {
    fn value(self, column: usize) -> ValueRef<'a> {
        self.batch.columns().get(column).map_or(ValueRef::Null, |column| column.value(self.row))
    }

    pub(super) fn u32(self, column: usize) -> Option<u32> {
        match self.value(column) {
            ValueRef::U32(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn u64(self, column: usize) -> Option<u64> {
        match self.value(column) {
            ValueRef::U64(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn i64(self, column: usize) -> Option<i64> {
        match self.value(column) {
            ValueRef::I64(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn text(self, column: usize) -> Option<&'a str> {
        match self.value(column) {
            ValueRef::Text(value) => Some(value),
            _ => None,
        }
    }

    /// When it happened.
    pub(super) fn time_ns(self) -> i64 {
        self.batch.time_ns().and_then(|times| times.values().get(self.row)).copied().unwrap_or(0)
    }

    /// When it happened by the clock that nobody sets.
    pub(super) fn boot_ns(self) -> i64 {
        let offsets = self.batch.clock_offset_ns();
        let offset = offsets.and_then(|offsets| offsets.values().get(self.row)).copied();
        self.time_ns().saturating_sub(offset.unwrap_or(0))
    }

    /// Its number in its table.
    pub(super) fn eid(self) -> i64 {
        self.batch.eid_at(self.row).unwrap_or(0)
    }

    /// The process whose pid and start are in these columns.
    pub(super) fn process(self, pid: usize, start_ns: usize) -> Option<GuidParts> {
        let [a, b, c, d, ..] = self.batch.boot_id(self.row)?;
        let (pid, start_ns) = (self.u32(pid)?, self.u64(start_ns)?);
        Some(GuidParts { boot: [a, b, c, d], pid, start_ns })
    }
}

/// What to read of a table.
pub(super) struct Asked {
    pub(super) table: &'static TableSchema,
    pub(super) columns: &'static [&'static str],
    pub(super) time: RangeInclusive<i64>,
    pub(super) filters: Vec<Filter>,
    pub(super) order: Order,
}

impl Asked {
    /// All rows with these columns.
    pub(super) const fn all(table: &'static TableSchema, columns: &'static [&'static str]) -> Self {
        Self { table, columns, time: ALWAYS, filters: Vec::new(), order: Order::Any }
    }

    /// Only the rows with a column that passes.
    pub(super) fn with(mut self, column: &str, test: Test) -> Self {
        if let Some(index) = self.table.column(column) {
            self.filters.push(Filter { column: FilterColumn::Stored(index), test });
        }
        self
    }

    /// Only the rows of one boot.
    pub(super) fn of_boot(mut self, boot: [u8; 4]) -> Self {
        let test = Test::BootPrefix(boot.to_vec());
        self.filters.push(Filter { column: FilterColumn::BootId, test });
        self
    }

    /// Only the rows about a process.
    pub(super) fn about(self, process: GuidParts) -> Self {
        let start = Test::Integers(vec![process.start_ns.cast_signed()]);
        let pid = Test::Integers(vec![process.pid.into()]);
        self.with("start_ns", start).with("pid", pid).of_boot(process.boot)
    }

    /// Starts to read.
    ///
    /// # Errors
    /// When there is no history, or it cannot be read.
    pub(super) fn scan(self, history: &History<'_>) -> Result<Scan, Failure> {
        let columns = self.columns.iter().filter_map(|name| self.table.column(name)).collect();
        let parts = RowParts { time_ns: true, eid: false, boot: true };
        let Self { time, filters, order, .. } = self;
        history.scan(self.table, &ScanRequest { time, columns, parts, filters, order })
    }

    /// Gives each row to `take` until that breaks.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub(super) fn each(
        self,
        history: &History<'_>,
        mut take: impl FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        for batch in self.scan(history)? {
            let batch = batch?;
            for row in 0..batch.len() {
                if take(Row { batch: &batch, row }).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// The rows of a scan one by one, with the next one in sight.
pub(super) struct Rows {
    scan: Scan,
    batch: Option<ScanBatch>,
    row: usize,
}

impl Rows {
    pub(super) fn new(scan: Scan) -> Result<Self, Failure> {
        let mut rows = Self { scan, batch: None, row: 0 };
        rows.settle()?;
        Ok(rows)
    }

    /// The next row; `None` at the end.
    pub(super) fn peek(&self) -> Option<Row<'_>> {
        self.batch.as_ref().map(|batch| Row { batch, row: self.row })
    }

    /// Goes past the next row.
    pub(super) fn advance(&mut self) -> Result<(), Failure> {
        self.row += 1;
        self.settle()
    }

    fn settle(&mut self) -> Result<(), Failure> {
        while self.batch.as_ref().is_none_or(|batch| self.row >= batch.len()) {
            self.row = 0;
            self.batch = self.scan.next().transpose()?;
            if self.batch.is_none() {
                break;
            }
        }
        Ok(())
    }
}
