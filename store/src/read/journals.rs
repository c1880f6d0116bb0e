//! Reading the frames of a journal.

use std::fmt::Display;
use std::sync::Arc;

use arrow::array::BooleanArray;

use crate::damage::Damage;
use crate::guard::{Unreadable, guarded};
use crate::journal::index::FrameAt;
use crate::limits::{BATCH_BYTES, BATCH_ROWS};
use crate::read::batch::{BootIds, Eids, Positions, ScanBatch};
use crate::read::filter::FilterColumn;
use crate::read::projection::{Decoded, Projection, Slot, Task};
use crate::read::prune;
use crate::read::reader::ReadError;
use crate::read::snapshot::Pinned;
use crate::rows::{self, RowDecoder, Wanted};
use crate::wire::WireTable;

/// A journal as one scan sees it.
#[derive(Debug)]
pub(super) struct JournalPart {
    task: Arc<Task>,
    /// Index into the snapshot's journals.
    journal: usize,
    /// What tells whether a row is wanted.
    tested: Columns,
    /// What is yielded of it.
    yielded: Columns,
}

/// Columns that are decoded together.
#[derive(Debug)]
struct Columns {
    decoder: RowDecoder<'static>,
    /// Per slot of the projection, its place among what the decoder builds.
    slots: Vec<Option<usize>>,
}

impl Columns {
    fn new(table: &WireTable, projection: &Projection, needed: impl Fn(usize) -> bool) -> Self {
        let mut wanted: Vec<Wanted<'static>> = Vec::new();
        let slots = projection.slots.iter().enumerate().map(|(slot, column)| {
            needed(slot).then(|| {
                wanted.push(*column);
                wanted.len() - 1
            })
        });
        let slots = slots.collect();
        Self { decoder: RowDecoder::new(table, wanted), slots }
    }

    /// Whether all of another's columns are among these.
    fn include(&self, other: &Self) -> bool {
        self.slots.iter().zip(&other.slots).all(|(own, other)| own.is_some() || other.is_none())
    }
}

/// Frames of one journal that are read together.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    part: Arc<JournalPart>,
    frames: Vec<FrameAt>,
    /// Smallest and largest time.
    pub(super) times: (i64, i64),
    pub(super) rows: usize,
}

impl JournalPart {
    /// The frames of a journal, given by its index, whose times overlap the request; together up to
    /// `rows_max` rows.
    pub(super) fn frames(task: &Arc<Task>, index: usize, rows_max: usize) -> Vec<Frames> {
        let projection = &task.projection;
        let Some(journal) = task.snapshot.journals.get(index) else {
            return Vec::new();
        };
        let frames = journal.frames(projection.table.name, &projection.time);
        let frames: Vec<&FrameAt> = frames.filter(|frame| may_pass(projection, frame)).collect();
        let table = frames.first().map(|frame| usize::from(frame.header.table));
        let table = table.and_then(|table| journal.journal.header.tables.get(table));
        let Some(table) = table else {
            return Vec::new();
        };
        let cut = !frames.iter().all(|frame| covers(task, frame));
        let tested = Columns::new(table, projection, |slot| {
            (slot == 0 && cut)
                || projection.predicates.iter().any(|(tested, _)| *tested == Some(slot))
        });
        let yielded = Columns::new(table, projection, |slot| {
            (slot == 0 && projection.yields_time()) || projection.requested.contains(&slot)
        });
        let part = Arc::new(Self { task: Arc::clone(task), journal: index, tested, yielded });
        together(&part, frames.into_iter(), rows_max)
    }

    fn pinned(&self) -> Option<&Pinned> {
        self.task.snapshot.journals.get(self.journal)
    }

    fn report(&self, journal: &Pinned, frame: &FrameAt, why: &str) {
        let table = self.task.projection.table.name;
        self.task.snapshot.report(Damage::frame(journal.name(), table, &frame.header, why));
    }
}

/// Whether a frame can hold a row that passes, by its numbers.
fn may_pass(projection: &Projection, frame: &FrameAt) -> bool {
    let (first, last) = (frame.header.first_eid, frame.header.last_eid());
    projection.predicates.iter().all(|(_, predicate)| match predicate.column {
        FilterColumn::Eid => prune::integer_may_pass(&predicate.check, first, last),
        FilterColumn::Stored(_) | FilterColumn::BootId => true,
    })
}

fn covers(task: &Task, frame: &FrameAt) -> bool {
    task.projection.covers(frame.header.min_time_ns, frame.header.max_time_ns)
}

/// Puts frames that follow each other together.
fn together<'a>(
    part: &Arc<JournalPart>,
    frames: impl Iterator<Item = &'a FrameAt>,
    rows_max: usize,
) -> Vec<Frames> {
    let mut all: Vec<Frames> = Vec::new();
    let mut bytes = 0;
    for frame in frames {
        let header = &frame.header;
        let (rows, payload) = (header.rows as usize, header.payload_bytes as usize);
        bytes += payload;
        match all.last_mut() {
            Some(last) if last.rows + rows <= rows_max && bytes <= BATCH_BYTES => {
                last.frames.push(*frame);
                last.rows += rows;
                last.times.0 = last.times.0.min(header.min_time_ns);
                last.times.1 = last.times.1.max(header.max_time_ns);
            }
            _ => {
                let (part, frames) = (Arc::clone(part), vec![*frame]);
                let times = (header.min_time_ns, header.max_time_ns);
                all.push(Frames { part, frames, times, rows });
                bytes = payload;
            }
        }
    }
    all
}

/// Rows that are read together from a journal when their order does not matter.
pub(super) const FRAMES_ROWS: usize = BATCH_ROWS;

/// A frame and its payload, which matches its checksum.
type Loaded = (FrameAt, Vec<u8>);

/// A frame that matches its checksum and is wrong all the same.
struct Undecodable {
    index: usize,
    reason: String,
}

impl Frames {
    /// Their rows that are wanted, in the order of the journal. Damaged frames are reported and left
    /// out.
    pub(super) fn read(&self) -> Result<Option<ScanBatch>, ReadError> {
        let Some(journal) = self.part.pinned() else {
            return Ok(None);
        };
        let mut frames = self.load(journal)?;
        while !frames.is_empty() {
            match guarded(|| Ok::<_, Unreadable>(self.decode(journal, &frames))) {
                Ok(Ok(batch)) => return Ok(batch),
                // Which frame it was is not known: none of them can be counted on.
                Err(error) => {
                    for (frame, _) in frames.drain(..) {
                        self.part.report(journal, &frame, &error.to_string());
                    }
                }
                Ok(Err(Undecodable { index, reason })) => {
                    let (frame, _) = frames.remove(index);
                    self.part.report(journal, &frame, &reason);
                }
            }
        }
        Ok(None)
    }

    /// How many of their rows are in range. Frames that are whole in it are not read.
    pub(super) fn count(&self) -> Result<u64, ReadError> {
        let (whole, cut): (Vec<FrameAt>, Vec<FrameAt>) =
            self.frames.iter().partition(|frame| covers(&self.part.task, frame));
        let rows: u64 = whole.iter().map(|frame| u64::from(frame.header.rows)).sum();
        let cut = Self { frames: cut, ..self.clone() };
        Ok(rows + cut.read()?.map_or(0, |batch| batch.len() as u64))
    }

    /// The frames that may hold a wanted row.
    fn load(&self, journal: &Pinned) -> Result<Vec<Loaded>, ReadError> {
        let predicates = &self.part.task.projection.predicates;
        let (mut loaded, mut payload) = (Vec::new(), Vec::new());
        for frame in &self.frames {
            let read = journal.journal.read_payload(frame, &mut payload);
            if !read.map_err(ReadError::Journal)? {
                self.part.report(journal, frame, "its checksum is wrong");
            } else if predicates.iter().all(|(_, predicate)| predicate.may_be_in(&payload)) {
                loaded.push((*frame, std::mem::take(&mut payload)));
            }
        }
        Ok(loaded)
    }

    /// The rows that are wanted; `None` when there are none.
    fn decode(
        &self,
        journal: &Pinned,
        frames: &[Loaded],
    ) -> Result<Option<ScanBatch>, Undecodable> {
        let part = &self.part;
        let projection = &part.task.projection;
        let covered = frames.iter().all(|(frame, _)| covers(&part.task, frame));
        let mut passed: Vec<usize> = (0..frames.len()).collect();
        let mut mask = None;
        if !covered || !projection.predicates.is_empty() {
            let tested = self.decode_columns(&part.tested, journal, frames, &passed)?;
            mask = tested.mask(projection, covered).map_err(undecodable)?;
            if part.tested.include(&part.yielded) {
                let batch = tested.batch(projection).map_err(undecodable)?;
                return self.finish(batch, mask.as_ref());
            }
        }
        if let Some(all) = &mask {
            (passed, mask) = frames_of(frames, all);
            if passed.is_empty() {
                return Ok(None);
            }
        }
        let yielded = self.decode_columns(&part.yielded, journal, frames, &passed)?;
        let batch = yielded.batch(projection).map_err(undecodable)?;
        self.finish(batch, mask.as_ref())
    }

    /// Decodes some columns of some frames.
    fn decode_columns(
        &self,
        columns: &Columns,
        journal: &Pinned,
        frames: &[Loaded],
        which: &[usize],
    ) -> Result<Decoded, Undecodable> {
        let chosen = || which.iter().filter_map(|index| Some((*index, frames.get(*index)?)));
        let headers = || chosen().map(|(_, (frame, _))| &frame.header);
        let mut batch = columns.decoder.batch();
        for (index, (frame, payload)) in chosen() {
            let decoded = batch.decode(payload, frame.header.rows);
            decoded.map_err(|error| Undecodable { index, reason: error.to_string() })?;
        }
        let rows = batch.rows();
        let arrays = batch.finish();
        let slot = |place: &Option<usize>| {
            let array = place.and_then(|place| arrays.get(place));
            array.map_or(Slot::Unread, |array| Slot::Read(Arc::clone(array)))
        };
        let boot = self.part.task.projection.parts.boot;
        let ids = vec![journal.journal.header.boot_id];
        Ok(Decoded {
            rows,
            slots: columns.slots.iter().map(slot).collect(),
            eids: Eids::Read(rows::eids(headers())),
            clock_offset_ns: boot.then(|| rows::clock_offsets(headers())),
            boot: Some(BootIds { ids, keys: None }),
        })
    }

    /// Leaves out what a mask does not have, and the numbers if they are not wanted.
    fn finish(
        &self,
        mut batch: ScanBatch,
        mask: Option<&BooleanArray>,
    ) -> Result<Option<ScanBatch>, Undecodable> {
        if let Some(mask) = mask {
            batch = batch.keep(mask).map_err(undecodable)?;
        }
        let projection = &self.part.task.projection;
        batch.boot = batch.boot.filter(|_| projection.parts.boot);
        if !projection.yields_eid()
            && let Eids::Read(eids) = batch.eids
        {
            batch.eids = Eids::Unread(Arc::new(eids), Positions::From(0));
        }
        Ok((!batch.is_empty()).then_some(batch))
    }
}

fn undecodable(error: impl Display) -> Undecodable {
    Undecodable { index: 0, reason: error.to_string() }
}

/// The frames with rows in a mask over the rows of all, and the mask over the rows of those.
fn frames_of(frames: &[Loaded], mask: &BooleanArray) -> (Vec<usize>, Option<BooleanArray>) {
    let (mut with_rows, mut kept, mut start) = (Vec::new(), Vec::new(), 0);
    for (index, (frame, _)) in frames.iter().enumerate() {
        let rows = (frame.header.rows as usize).min(mask.len() - start);
        let part = mask.slice(start, rows);
        start += rows;
        if part.true_count() > 0 {
            with_rows.push(index);
            kept.extend(part.values());
        }
    }
    (with_rows, Some(BooleanArray::from(kept)))
}
