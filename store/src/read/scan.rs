//! Scans: the rows of one table and range, batch by batch.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::Int64Array;

use crate::columns;
use crate::damage::{Damage, DamageKind};
use crate::journal::index::FrameAt;
use crate::limits::BATCH_ROWS;
use crate::manifest::entry::SegmentEntry;
use crate::read::batch::{BootIds, RawBatch, ScanBatch};
use crate::read::reader::ReadError;
use crate::read::segments::SegmentPart;
use crate::read::snapshot::{Inner, Pinned};
use crate::rows::{RowDecoder, Wanted};
use crate::schema::{ColumnSource, ColumnType, TableSchema};

/// Which rows and columns a scan is to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanRequest {
    /// Bounds of the rows' times, in nanoseconds since the Unix epoch.
    pub time: RangeInclusive<i64>,
    /// Stored columns, as indices into [`TableSchema::columns`]. None is enough to count.
    pub columns: Vec<usize>,
    /// What else is wanted of each row.
    pub parts: RowParts,
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
        Self {
            time,
            columns,
            parts: RowParts {
                time_ns: true,
                eid: true,
                boot: true,
            },
        }
    }
}

/// A request made ready.
#[derive(Debug)]
pub(super) struct Projection {
    pub(super) table: &'static TableSchema,
    pub(super) time: RangeInclusive<i64>,
    pub(super) parts: RowParts,
    /// The time column, then the other requested ones, each once.
    pub(super) slots: Vec<Wanted<'static>>,
    /// Per requested column, the index into `slots`.
    pub(super) requested: Vec<usize>,
}

impl Projection {
    fn new(table: &'static TableSchema, request: &ScanRequest) -> Result<Self, ReadError> {
        let time = table
            .time
            .ok_or(ReadError::NotEvents { table: table.name })?;
        let mut indices = vec![time];
        let mut slots = vec![wanted(table, time)?];
        let mut requested = Vec::with_capacity(request.columns.len());
        for index in &request.columns {
            let known = indices.iter().position(|known| known == index);
            requested.push(known.unwrap_or(slots.len()));
            if known.is_none() {
                indices.push(*index);
                slots.push(wanted(table, *index)?);
            }
        }
        Ok(Self {
            table,
            time: request.time.clone(),
            parts: request.parts,
            slots,
            requested,
        })
    }

    /// Whether the time is to be decoded. It must be where rows may be out of range.
    pub(super) fn with_time(&self, partial: bool) -> bool {
        partial || self.parts.time_ns || self.requested.contains(&0)
    }

    /// The columns to decode.
    pub(super) fn wanted(&self, with_time: bool) -> Vec<Wanted<'static>> {
        self.slots
            .iter()
            .skip(usize::from(!with_time))
            .copied()
            .collect()
    }

    /// Whether all times from `min` to `max` are in range.
    pub(super) fn covers(&self, min: i64, max: i64) -> bool {
        self.time.contains(&min) && self.time.contains(&max)
    }
}

fn wanted(table: &'static TableSchema, index: usize) -> Result<Wanted<'static>, ReadError> {
    let column = table.columns.get(index);
    let stored = column.and_then(|column| match column.source {
        ColumnSource::Stored(column_type) => Some((column, column_type)),
        ColumnSource::Computed(_) => None,
    });
    let (column, column_type): (_, ColumnType) = stored.ok_or(ReadError::Column {
        table: table.name,
        index,
    })?;
    Ok(Wanted {
        name: column.name,
        column_type,
        nullable: column.nullable,
    })
}

/// Rows of one table, batch by batch, in no particular order. Holds what it needs open.
#[derive(Debug)]
pub struct Scan {
    snapshot: Arc<Inner>,
    projection: Projection,
    segments: VecDeque<SegmentEntry>,
    segment: Option<SegmentPart>,
    journals: VecDeque<JournalPart>,
}

/// What is still to be read of a journal.
#[derive(Debug)]
struct JournalPart {
    /// Index into the snapshot's journals.
    journal: usize,
    frames: VecDeque<FrameAt>,
}

impl Scan {
    pub(super) fn new(
        snapshot: Arc<Inner>,
        table: &'static TableSchema,
        request: &ScanRequest,
    ) -> Result<Self, ReadError> {
        let projection = Projection::new(table, request)?;
        let mut journals = VecDeque::new();
        for (index, journal) in snapshot.journals.iter().enumerate() {
            let frames: VecDeque<_> = journal
                .frames(table.name, &projection.time)
                .copied()
                .collect();
            if !frames.is_empty() {
                journals.push_back(JournalPart {
                    journal: index,
                    frames,
                });
            }
        }
        let mut segments: VecDeque<_> = snapshot
            .segments(table.name, &projection.time)
            .cloned()
            .collect();
        segments
            .make_contiguous()
            .sort_by_key(|segment| segment.min_time_ns);
        Ok(Self {
            snapshot,
            projection,
            segments,
            segment: None,
            journals,
        })
    }

    /// The next rows of a segment; `None` when all segments are read.
    fn next_of_segments(&mut self) -> Option<Result<ScanBatch, ReadError>> {
        loop {
            if let Some(part) = &mut self.segment {
                match part.next(&self.projection) {
                    Ok(Some(batch)) if batch.is_empty() => continue,
                    Ok(Some(batch)) => return Some(Ok(batch)),
                    Ok(None) => {}
                    Err(error) => {
                        let (kind, detail) = (DamageKind::Segment, error.to_string());
                        self.snapshot.report_segment(kind, &part.entry, &detail);
                    }
                }
            }
            let entry = self.segments.pop_front();
            if entry.is_none() {
                self.segment = None;
            }
            match self.snapshot.open(entry.as_ref()?) {
                Ok(segment) => {
                    self.segment = entry
                        .zip(segment)
                        .map(|(entry, segment)| SegmentPart::new(entry, segment, &self.projection));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next rows of a journal; `None` when all journals are read.
    fn next_of_journals(&mut self) -> Option<Result<ScanBatch, ReadError>> {
        loop {
            let part = self.journals.front_mut()?;
            let taken = take_frames(&mut part.frames);
            let journal = self.snapshot.journals.get(part.journal);
            let Some(journal) = journal.filter(|_| !taken.is_empty()) else {
                self.journals.pop_front();
                continue;
            };
            match read_frames(&self.snapshot, journal, &self.projection, taken) {
                Ok(batch) if batch.is_empty() => {}
                other => return Some(other),
            }
        }
    }
}

impl Iterator for Scan {
    type Item = Result<ScanBatch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_of_segments().or_else(|| self.next_of_journals())
    }
}

/// The next frames, up to the size of a batch.
fn take_frames(frames: &mut VecDeque<FrameAt>) -> Vec<FrameAt> {
    let mut taken = Vec::new();
    let mut rows = 0;
    while rows < BATCH_ROWS
        && let Some(frame) = frames.pop_front()
    {
        rows += frame.header.rows as usize;
        taken.push(frame);
    }
    taken
}

/// Decodes frames into one batch. Damaged ones are reported and left out.
fn read_frames(
    snapshot: &Inner,
    journal: &Pinned,
    projection: &Projection,
    frames: Vec<FrameAt>,
) -> Result<ScanBatch, ReadError> {
    let mut whole = Vec::with_capacity(frames.len());
    for frame in frames {
        match journal
            .journal
            .payload(&frame)
            .map_err(ReadError::Journal)?
        {
            Some(payload) => whole.push((frame, payload)),
            None => snapshot.report(damaged(
                journal,
                projection,
                &frame,
                "its checksum is wrong",
            )),
        }
    }
    loop {
        match decode_frames(journal, projection, &whole) {
            Ok(batch) => return Ok(batch),
            Err(Undecodable { index, reason }) => {
                let (frame, _) = whole.remove(index);
                snapshot.report(damaged(journal, projection, &frame, &reason));
            }
        }
    }
}

fn damaged(journal: &Pinned, projection: &Projection, frame: &FrameAt, reason: &str) -> Damage {
    let header = &frame.header;
    let detail = format!("frame {} cannot be read: {reason}", header.number);
    Damage::new(DamageKind::Frame, journal.name(), detail)
        .table(projection.table.name)
        .times(header.min_time_ns, header.max_time_ns)
        .rows(u64::from(header.rows))
}

/// A frame that matches its checksum and is wrong all the same.
struct Undecodable {
    index: usize,
    reason: String,
}

fn decode_frames(
    journal: &Pinned,
    projection: &Projection,
    frames: &[(FrameAt, Vec<u8>)],
) -> Result<ScanBatch, Undecodable> {
    let table = frames.first().and_then(|(frame, _)| {
        journal
            .journal
            .header
            .tables
            .get(usize::from(frame.header.table))
    });
    let Some(table) = table else {
        return Ok(empty(projection));
    };
    let partial = frames
        .iter()
        .any(|(frame, _)| !projection.covers(frame.header.min_time_ns, frame.header.max_time_ns));
    let with_time = projection.with_time(partial);
    let decoder = RowDecoder::new(table, projection.wanted(with_time));
    let mut batch = decoder.batch();
    for (index, (frame, payload)) in frames.iter().enumerate() {
        batch
            .decode(payload, frame.header.rows)
            .map_err(|error| Undecodable {
                index,
                reason: error.to_string(),
            })?;
    }
    let parts = projection.parts;
    let boot_id = journal.journal.header.boot_id;
    let raw = RawBatch {
        rows: batch.rows(),
        columns: batch.finish(),
        with_time,
        partial,
        eid: parts.eid.then(|| Arc::new(eids(frames)) as _),
        clock_offset_ns: parts.boot.then(|| Arc::new(offsets(frames)) as _),
        boot: parts.boot.then(|| BootIds {
            ids: vec![boot_id],
            keys: None,
        }),
    };
    #[expect(
        clippy::expect_used,
        reason = "the columns were just built with these types"
    )]
    let batch = raw
        .finish(projection)
        .expect("columns of one length can be filtered");
    #[expect(
        clippy::expect_used,
        reason = "the columns were just built with these types"
    )]
    let batch = batch.expect("the builders have the columns' types");
    Ok(batch)
}

fn empty(projection: &Projection) -> ScanBatch {
    let columns = projection
        .slots
        .iter()
        .map(|slot| columns::absent(slot.column_type, slot.nullable, 0));
    let raw = RawBatch {
        columns: columns.collect(),
        with_time: true,
        ..RawBatch::default()
    };
    #[expect(
        clippy::expect_used,
        reason = "the columns were just built with these types"
    )]
    let batch = raw
        .finish(projection)
        .ok()
        .flatten()
        .expect("the columns' types are right");
    batch
}

fn eids(frames: &[(FrameAt, Vec<u8>)]) -> Int64Array {
    let numbers = frames
        .iter()
        .flat_map(|(frame, _)| frame.header.first_eid..=frame.header.last_eid());
    Int64Array::from_iter_values(numbers)
}

fn offsets(frames: &[(FrameAt, Vec<u8>)]) -> Int64Array {
    let offsets = frames.iter().flat_map(|(frame, _)| {
        std::iter::repeat_n(frame.header.clock_offset_ns, frame.header.rows as usize)
    });
    Int64Array::from_iter_values(offsets)
}
