//! Reading the frames of a journal.

use std::sync::Arc;

use crate::damage::Damage;
use crate::guard::{Unreadable, guarded};
use crate::journal::index::FrameAt;
use crate::limits::{BATCH_BYTES, BATCH_ROWS};
use crate::read::batch::{BootIds, Eids, Positions, ScanBatch};
use crate::read::filter::FilterColumn;
use crate::read::projection::{Decoded, Slot, Task};
use crate::read::reader::ReadError;
use crate::read::snapshot::Pinned;
use crate::rows::{self, RowDecoder, Wanted};

/// A journal as one scan sees it.
#[derive(Debug)]
pub(super) struct JournalPart {
    task: Arc<Task>,
    /// Index into the snapshot's journals.
    journal: usize,
    decoder: RowDecoder<'static>,
    /// Per slot of the projection, its place among what the decoder builds.
    slots: Vec<Option<usize>>,
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
        let mut found = journal.frames(projection.table.name, &projection.time).peekable();
        let Some(first) = found.peek() else {
            return Vec::new();
        };
        let table = usize::from(first.header.table);
        let Some(table) = journal.journal.header.tables.get(table) else {
            return Vec::new();
        };
        let with_time = projection.yields_time() || tests_time(task) || {
            let mut frames = journal.frames(projection.table.name, &projection.time);
            !frames.all(|frame| covers(task, frame))
        };
        let needed = |slot: usize| {
            (slot == 0 && with_time)
                || projection.requested.contains(&slot)
                || projection.predicates.iter().any(|(tested, _)| *tested == Some(slot))
        };
        let mut wanted: Vec<Wanted<'static>> = Vec::new();
        let slots = projection.slots.iter().enumerate().map(|(slot, column)| {
            needed(slot).then(|| {
                wanted.push(*column);
                wanted.len() - 1
            })
        });
        let slots = slots.collect();
        let decoder = RowDecoder::new(table, wanted);
        let task = Arc::clone(task);
        let part = Arc::new(Self { task, journal: index, decoder, slots });
        together(&part, found, rows_max)
    }

    fn pinned(&self) -> Option<&Pinned> {
        self.task.snapshot.journals.get(self.journal)
    }

    fn report(&self, journal: &Pinned, frame: &FrameAt, why: &str) {
        let table = self.task.projection.table.name;
        self.task.snapshot.report(Damage::frame(journal.name(), table, &frame.header, why));
    }
}

/// Whether a predicate looks at the time.
fn tests_time(task: &Task) -> bool {
    task.projection.predicates.iter().any(|(slot, _)| *slot == Some(0))
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
                Ok(Ok(batch)) => return Ok(Some(batch)),
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

    fn load(&self, journal: &Pinned) -> Result<Vec<Loaded>, ReadError> {
        let mut loaded = Vec::with_capacity(self.frames.len());
        for frame in &self.frames {
            match journal.journal.payload(frame).map_err(ReadError::Journal)? {
                Some(payload) => loaded.push((*frame, payload)),
                None => self.part.report(journal, frame, "its checksum is wrong"),
            }
        }
        Ok(loaded)
    }

    fn decode(&self, journal: &Pinned, frames: &[Loaded]) -> Result<ScanBatch, Undecodable> {
        let part = &self.part;
        let projection = &part.task.projection;
        let headers = || frames.iter().map(|(frame, _)| &frame.header);
        let mut batch = part.decoder.batch();
        for (index, (frame, payload)) in frames.iter().enumerate() {
            let decoded = batch.decode(payload, frame.header.rows);
            decoded.map_err(|error| Undecodable { index, reason: error.to_string() })?;
        }
        let tests_boot =
            projection.predicates.iter().any(|(_, of)| of.column == FilterColumn::BootId);
        let rows = batch.rows();
        let arrays = batch.finish();
        let slot = |place: &Option<usize>| {
            let array = place.and_then(|place| arrays.get(place));
            array.map_or(Slot::Unread, |array| Slot::Read(Arc::clone(array)))
        };
        let boot = projection.parts.boot || tests_boot;
        let decoded = Decoded {
            rows,
            slots: part.slots.iter().map(slot).collect(),
            eids: Eids::Read(rows::eids(headers())),
            clock_offset_ns: projection.parts.boot.then(|| rows::clock_offsets(headers())),
            boot: boot.then(|| BootIds { ids: vec![journal.journal.header.boot_id], keys: None }),
        };
        let covered = frames.iter().all(|(frame, _)| covers(&part.task, frame));
        let wrong =
            |error: &dyn std::fmt::Display| Undecodable { index: 0, reason: error.to_string() };
        let mask = decoded.mask(projection, covered).map_err(|error| wrong(&error))?;
        let mut batch = decoded.batch(projection).map_err(|error| wrong(&error))?;
        if let Some(mask) = mask {
            batch = batch.keep(&mask).map_err(|error| wrong(&error))?;
        }
        if !projection.yields_eid()
            && let Eids::Read(eids) = batch.eids
        {
            batch.eids = Eids::Unread(Arc::new(eids), Positions::From(0));
        }
        Ok(batch)
    }
}
