//! Reading one journal of a scan, a batch of frames at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::damage::Damage;
use crate::guard::{Unreadable, guarded};
use crate::journal::index::FrameAt;
use crate::limits::{BATCH_BYTES, BATCH_ROWS};
use crate::read::batch::{BootIds, RawBatch, ScanBatch};
use crate::read::reader::ReadError;
use crate::read::scan::Projection;
use crate::read::snapshot::{Inner, Pinned};
use crate::rows::{self, RowDecoder};

/// What is still to be read of a journal.
#[derive(Debug)]
pub(super) struct JournalPart {
    /// Index into the snapshot's journals.
    journal: usize,
    frames: VecDeque<FrameAt>,
}

impl JournalPart {
    /// The frames of the journal with this index that the scan needs; `None` when there are none.
    pub(super) fn new(index: usize, journal: &Pinned, projection: &Projection) -> Option<Self> {
        let frames = journal.frames(projection.table.name, &projection.time);
        let frames: VecDeque<_> = frames.copied().collect();
        (!frames.is_empty()).then_some(Self { journal: index, frames })
    }

    /// The next rows; `None` when there are no more. Damaged frames are reported and left out.
    pub(super) fn next(
        &mut self,
        snapshot: &Inner,
        projection: &Projection,
    ) -> Result<Option<ScanBatch>, ReadError> {
        let Some(journal) = snapshot.journals.get(self.journal) else {
            return Ok(None);
        };
        while !self.frames.is_empty() {
            let mut frames = self.load(journal, snapshot, projection)?;
            while !frames.is_empty() {
                let decoded = guarded(|| Ok::<_, Unreadable>(decode(journal, projection, &frames)));
                match decoded {
                    Ok(Ok(batch)) => return Ok(Some(batch)),
                    // Which frame it was is not known: none of them can be counted on.
                    Err(error) => {
                        for (frame, _) in frames.drain(..) {
                            let why = error.to_string();
                            snapshot.report(damaged(journal, projection, &frame, &why));
                        }
                    }
                    Ok(Err(Undecodable { index, reason })) => {
                        let (frame, _) = frames.remove(index);
                        snapshot.report(damaged(journal, projection, &frame, &reason));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Reads the next frames, up to the size of a batch.
    fn load(
        &mut self,
        journal: &Pinned,
        snapshot: &Inner,
        projection: &Projection,
    ) -> Result<Vec<Loaded>, ReadError> {
        let mut loaded = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        while rows < BATCH_ROWS
            && bytes < BATCH_BYTES
            && let Some(frame) = self.frames.pop_front()
        {
            let payload = journal.journal.payload(&frame).map_err(ReadError::Journal)?;
            match payload {
                Some(payload) => {
                    rows += frame.header.rows as usize;
                    bytes += payload.len();
                    loaded.push((frame, payload));
                }
                None => {
                    let why = "its checksum is wrong";
                    snapshot.report(damaged(journal, projection, &frame, why));
                }
            }
        }
        Ok(loaded)
    }
}

/// A frame and its payload, which matches its checksum.
type Loaded = (FrameAt, Vec<u8>);

/// A frame that matches its checksum and is wrong all the same.
struct Undecodable {
    index: usize,
    reason: String,
}

fn damaged(journal: &Pinned, projection: &Projection, frame: &FrameAt, why: &str) -> Damage {
    Damage::frame(journal.name(), projection.table.name, &frame.header, why)
}

/// Decodes frames of one table into one batch.
fn decode(
    journal: &Pinned,
    projection: &Projection,
    frames: &[Loaded],
) -> Result<ScanBatch, Undecodable> {
    let headers = || frames.iter().map(|(frame, _)| &frame.header);
    let undecodable = |index: usize, reason: String| Undecodable { index, reason };
    let id = headers().next().map_or(usize::MAX, |header| usize::from(header.table));
    let table = journal.journal.header.tables.get(id);
    let table = table.ok_or_else(|| undecodable(0, "its table is unknown".to_owned()))?;
    let partial =
        headers().any(|header| !projection.covers(header.min_time_ns, header.max_time_ns));
    let with_time = projection.with_time(partial);
    let decoder = RowDecoder::new(table, projection.wanted(with_time));
    let mut batch = decoder.batch();
    for (index, (frame, payload)) in frames.iter().enumerate() {
        let decoded = batch.decode(payload, frame.header.rows);
        decoded.map_err(|error| undecodable(index, error.to_string()))?;
    }
    let (with_eid, with_boot) = (projection.with_eid(), projection.with_boot());
    let ids = vec![journal.journal.header.boot_id];
    let raw = RawBatch {
        rows: batch.rows(),
        columns: batch.finish(),
        with_time,
        partial,
        eid: with_eid.then(|| Arc::new(rows::eids(headers())) as _),
        clock_offset_ns: with_boot.then(|| Arc::new(rows::clock_offsets(headers())) as _),
        boot: with_boot.then_some(BootIds { ids, keys: None }),
    };
    let finished = raw.finish(projection).map_err(|error| undecodable(0, error.to_string()))?;
    finished.ok_or_else(|| undecodable(0, "a column has another type than it must".to_owned()))
}
