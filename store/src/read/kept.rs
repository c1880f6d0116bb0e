//! Decoded rows that a snapshot keeps for scans over the same columns.
//!
//! A join may scan a table once per row of another one, each time for a few seconds around it. To
//! decode a page for each would cost a thousand times what the rows cost. So a snapshot can be told
//! to keep what it decodes: whole units (a row group; the rows of a table in a journal), in order of
//! time, with every column that a scan over them needs. Later scans cut their range out by binary
//! search, in the same memory.
//!
//! **Invariant:** what is kept stays within the bound that was given; the units used longest ago go
//! first. A scan that would need more than the bound is read as any other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;

use crate::guard::{Unreadable, guarded};
use crate::limits::BATCH_ROWS;
use crate::read::batch::{Eids, ScanBatch};
use crate::read::filter::{FilterColumn, Order};
use crate::read::journals::JournalPart;
use crate::read::merge;
use crate::read::projection::{Projection, Task};
use crate::read::reader::ReadError;
use crate::read::segments::{Group, SegmentPart, within};
use crate::read::stretch::Stretch;

/// Decoded units, within a bound.
#[derive(Debug)]
pub(super) struct Kept {
    bytes_max: usize,
    units: Mutex<Units>,
}

#[derive(Debug, Default)]
struct Units {
    bytes: usize,
    clock: u64,
    by_key: HashMap<Key, Unit>,
}

/// What a unit is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: Source,
    columns: Vec<&'static str>,
    boot: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    Group {
        path: String,
        group: usize,
    },
    /// Index into the snapshot's journals, and the table.
    Journal {
        journal: usize,
        table: &'static str,
    },
}

#[derive(Debug)]
struct Unit {
    bytes: usize,
    /// When it was used last, by the clock that counts uses.
    used: u64,
    /// Its rows by time, a column per slot of the projection; `None` when there are none.
    rows: Option<Arc<ScanBatch>>,
}

impl Kept {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, units: Mutex::default() }
    }

    /// A unit that is kept already.
    #[expect(clippy::option_option, reason = "the inner one is a unit without rows")]
    fn get(&self, key: &Key) -> Option<Option<Arc<ScanBatch>>> {
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        units.clock += 1;
        let clock = units.clock;
        let unit = units.by_key.get_mut(key)?;
        unit.used = clock;
        Some(unit.rows.clone())
    }

    fn insert(&self, key: Key, rows: Option<Arc<ScanBatch>>) {
        let bytes = 256 + rows.as_ref().map_or(0, |rows| bytes_of(rows));
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        let used = units.clock;
        if bytes > self.bytes_max {
            return;
        }
        if let Some(before) = units.by_key.insert(key, Unit { bytes, used, rows }) {
            units.bytes -= before.bytes;
        }
        units.bytes += bytes;
        while units.bytes > self.bytes_max {
            let oldest = units.by_key.iter().min_by_key(|(_, unit)| unit.used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            if let Some(unit) = units.by_key.remove(&oldest) {
                units.bytes -= unit.bytes;
            }
        }
    }
}

fn bytes_of(batch: &ScanBatch) -> usize {
    let parts = [&batch.time_ns, &batch.clock_offset_ns];
    let numbers = parts.into_iter().flatten().count() + usize::from(batch.eid().is_some());
    let keys = batch.boot.as_ref().map_or(0, |boot| boot.ids.len() * 16 + batch.rows * 4);
    numbers * batch.rows * 8
        + keys
        + batch.columns.iter().map(crate::ColumnArray::bytes).sum::<usize>()
}

/// The rows of a scan from decoded units; `None` when the snapshot keeps none, or the scan needs
/// more of them than may be kept.
pub(super) fn scan(task: &Arc<Task>) -> Result<Option<VecDeque<ScanBatch>>, ReadError> {
    let Some(kept) = task.snapshot.kept() else {
        return Ok(None);
    };
    let projection = &task.projection;
    let unit = Arc::new(Task {
        snapshot: Arc::clone(&task.snapshot),
        projection: projection.unfiltered(),
    });
    let Some(groups) = groups(&unit, projection, kept)? else {
        return Ok(None);
    };
    let mut batches = Vec::new();
    for group in groups {
        let source = Source::Group { path: group.part.entry.path.clone(), group: group.index };
        let key = key(&unit.projection, source);
        let rows = match kept.get(&key) {
            Some(rows) => rows,
            None => {
                unit.snapshot.check_stop()?;
                let rows = read_group(&group).map(Arc::new);
                kept.insert(key, rows.clone());
                rows
            }
        };
        batches.extend(rows.and_then(|rows| cut(&rows, projection)));
    }
    for journal in 0..task.snapshot.journals.len() {
        let key = key(&unit.projection, Source::Journal { journal, table: projection.table.name });
        let rows = match kept.get(&key) {
            Some(rows) => rows,
            None => {
                let rows = read_journal(&unit, journal)?.map(Arc::new);
                kept.insert(key, rows.clone());
                rows
            }
        };
        batches.extend(rows.and_then(|rows| cut(&rows, projection)));
    }
    Ok(Some(match projection.order {
        Order::Any => batches.into(),
        order => merge::sorted(batches, order, BATCH_ROWS).map_err(ReadError::Order)?,
    }))
}

fn key(projection: &Projection, source: Source) -> Key {
    let columns = projection.slots.iter().map(|slot| slot.name).collect();
    Key { source, columns, boot: projection.parts.boot }
}

/// The row groups with rows in range; `None` when they are too many to keep.
fn groups(
    unit: &Arc<Task>,
    projection: &Projection,
    kept: &Kept,
) -> Result<Option<Vec<Group>>, ReadError> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    for entry in unit.snapshot.segments(projection.table.name, &projection.time) {
        unit.snapshot.check_stop()?;
        for group in SegmentPart::open(unit, entry)? {
            let (min, max) = group.times;
            if min <= *projection.time.end() && max >= *projection.time.start() {
                bytes += group.decoded_bytes();
                found.push(group);
            }
        }
        if bytes > kept.bytes_max {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// All rows of a row group; `None` when it cannot be read, which is noted.
fn read_group(group: &Group) -> Option<ScanBatch> {
    let read = guarded(|| {
        let mut stretch =
            Stretch::new(group, std::iter::once(0..group.rows).collect(), group.rows)?;
        let batch = stretch.next()?;
        let times = batch.as_ref().and_then(|batch| batch.time_ns.as_ref());
        match times {
            Some(times) if times.len() == group.rows && times.values().is_sorted() => Ok(batch),
            _ => Err(Unreadable("its rows are not in order of time".to_owned())),
        }
    });
    read.unwrap_or_else(|error| {
        group.report(&error);
        None
    })
}

/// All rows of a table in a journal, by time.
fn read_journal(unit: &Arc<Task>, journal: usize) -> Result<Option<ScanBatch>, ReadError> {
    let mut batches = Vec::new();
    for frames in JournalPart::frames(unit, journal, usize::MAX) {
        unit.snapshot.check_stop()?;
        batches.extend(frames.read()?);
    }
    let sorted = merge::sorted(batches, Order::Ascending, usize::MAX);
    sorted.map(|mut batches| batches.pop_front()).map_err(ReadError::Order)
}

/// The rows of a unit that are wanted, with the requested columns; `None` when there are none.
fn cut(unit: &ScanBatch, projection: &Projection) -> Option<ScanBatch> {
    let (from, to) = projection.time.clone().into_inner();
    let range = within(unit.time_ns.as_ref()?.values(), from, to);
    if range.is_empty() {
        return None;
    }
    let mut batch = unit.slice(range);
    if let Some(mask) = mask(&batch, projection) {
        batch = batch.keep(&mask).ok()?;
    }
    let columns = projection.requested.iter().map(|slot| batch.columns.get(*slot).cloned());
    batch.columns = columns.collect::<Option<_>>()?;
    (!batch.is_empty()).then_some(batch)
}

/// Which rows pass the predicates; `None` when all do.
fn mask(batch: &ScanBatch, projection: &Projection) -> Option<BooleanArray> {
    let passes = projection.predicates.iter().map(|(slot, predicate)| {
        let passes = match (predicate.column, &batch.eids, &batch.boot) {
            (FilterColumn::Eid, Eids::Read(eids), _) => Some(predicate.eids(eids)),
            (FilterColumn::BootId, _, Some(boot)) => Some(predicate.boot_ids(boot, batch.rows)),
            (FilterColumn::Stored(_), ..) => {
                slot.and_then(|slot| Some(predicate.column(batch.columns.get(slot)?)))
            }
            _ => None,
        };
        passes.unwrap_or_else(|| BooleanBuffer::new_unset(batch.rows))
    });
    let mask = BooleanArray::new(passes.reduce(|left, right| &left & &right)?, None);
    (mask.true_count() < mask.len()).then_some(mask)
}
