//! Scans: the rows of one table and range, batch by batch.
//!
//! A scan reads on the thread that asks it for rows, until it has yielded many and has many more to
//! read. Then it goes on ahead, on a thread of its own, by a bounded number of batches.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use crate::limits::{AHEAD_BATCHES_MAX, BATCH_ROWS, ROW_GROUP_ROWS};
use crate::read::batch::ScanBatch;
use crate::read::filter::{Filter, Order};
use crate::read::kept;
use crate::read::ordered::Ordered;
use crate::read::projection::{Projection, Task};
use crate::read::reader::ReadError;
use crate::read::snapshot::Inner;
use crate::read::unordered::Unordered;
use crate::schema::TableSchema;

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
    /// The number in its table. For few rows of many, [`ScanBatch::eid_at`] is cheaper.
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

/// Rows of one table, batch by batch, in the requested order. Holds what it needs open.
#[derive(Debug)]
pub struct Scan {
    place: Place,
    /// Rows yielded so far.
    yielded: usize,
}

/// Where the reading is done.
#[derive(Debug)]
enum Place {
    /// On the thread that asks.
    Here(Reading),
    /// On a thread of its own. Both are taken on drop, the receiver first.
    Ahead(Option<Receiver<Item>>, Option<JoinHandle<()>>),
}

type Item = Result<ScanBatch, ReadError>;

#[derive(Debug)]
enum Reading {
    Unordered(Box<Unordered>),
    Ordered(Box<Ordered>),
    /// Rows of units that a snapshot keeps decoded.
    Kept(VecDeque<ScanBatch>),
}

/// Rows that a scan yields before it goes ahead.
const ROWS_BEFORE_AHEAD: usize = 4 * BATCH_ROWS;

/// Rows that must be left to read for it.
const ROWS_AHEAD_MIN: u64 = 2 * ROW_GROUP_ROWS as u64;

impl Scan {
    pub(super) fn new(
        snapshot: Arc<Inner>,
        table: &'static TableSchema,
        request: &ScanRequest,
    ) -> Result<Self, ReadError> {
        let projection = Projection::new(table, request)?;
        let task = Arc::new(Task { snapshot, projection });
        let reading = match (kept::scan(&task)?, request.order) {
            (Some(batches), _) => Reading::Kept(batches),
            (None, Order::Any) => Reading::Unordered(Box::new(Unordered::new(&task))),
            (None, _) => Reading::Ordered(Box::new(Ordered::new(&task))),
        };
        Ok(Self { place: Place::Here(reading), yielded: 0 })
    }

    /// Moves the reading to a thread of its own, if it pays.
    fn go_ahead(&mut self) {
        let Place::Here(reading) = &mut self.place else {
            return;
        };
        if self.yielded < ROWS_BEFORE_AHEAD || reading.rows_left() < ROWS_AHEAD_MIN {
            return;
        }
        let (sender, receiver) = sync_channel(AHEAD_BATCHES_MAX);
        let mut moved = std::mem::replace(reading, Reading::Kept(VecDeque::new()));
        let thread = std::thread::Builder::new().name("bygone-read-ahead".to_owned());
        // The thread is handed the reading after it has begun: if it does not, nothing is lost.
        let (hand_over, handed) = sync_channel::<Reading>(1);
        let begun = thread.spawn(move || {
            let Ok(mut reading) = handed.recv() else { return };
            while let Some(item) = reading.next() {
                let failed = item.is_err();
                if sender.send(item).is_err() || failed {
                    return;
                }
            }
        });
        match begun {
            Ok(thread) => {
                if let Err(refused) = hand_over.send(moved) {
                    moved = refused.0;
                    *reading = moved;
                    return;
                }
                self.place = Place::Ahead(Some(receiver), Some(thread));
            }
            Err(_no_thread) => *reading = moved,
        }
    }
}

impl Iterator for Scan {
    type Item = Result<ScanBatch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.go_ahead();
        let item = match &mut self.place {
            Place::Here(reading) => reading.next(),
            Place::Ahead(receiver, thread) => match receiver.as_ref()?.recv() {
                Ok(item) => Some(item),
                Err(_ended) => {
                    let ended = thread.take().map(JoinHandle::join);
                    matches!(ended, Some(Err(_panic))).then_some(Err(ReadError::Ahead))
                }
            },
        };
        if let Some(Ok(batch)) = &item {
            self.yielded = self.yielded.saturating_add(batch.len());
        }
        item
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        if let Place::Ahead(receiver, thread) = &mut self.place {
            // Without a receiver, the thread ends at its next batch.
            drop(receiver.take());
            if let Some(thread) = thread.take() {
                // A panic has no one left to be reported to.
                drop(thread.join());
            }
        }
    }
}

impl Reading {
    fn next(&mut self) -> Option<Item> {
        match self {
            Self::Unordered(scan) => scan.next().transpose(),
            Self::Ordered(scan) => scan.next().transpose(),
            Self::Kept(batches) => batches.pop_front().map(Ok),
        }
    }

    fn rows_left(&self) -> u64 {
        match self {
            Self::Unordered(scan) => scan.rows_left(),
            Self::Ordered(scan) => scan.rows_left(),
            Self::Kept(_) => 0,
        }
    }
}
