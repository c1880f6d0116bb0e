//! Reading one segment of a scan, a row group at a time.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use crate::columns;
use crate::guard::Unreadable;
use crate::limits::BATCH_ROWS;
use crate::manifest::entry::SegmentEntry;
use crate::read::batch::{BootIds, RawBatch, ScanBatch};
use crate::read::scan::Projection;
use crate::read::snapshot::overlaps;
use crate::rows::Wanted;
use crate::segment::read::SegmentFile;
use crate::segment::{BOOT_ID, CLOCK_OFFSET, EID};

/// An open segment with its footer.
#[derive(Clone, Debug)]
pub(super) struct OpenSegment {
    pub(super) file: SegmentFile,
    pub(super) metadata: ArrowReaderMetadata,
}

/// A row group that is still to be read.
#[derive(Clone, Copy, Debug)]
struct Group {
    index: usize,
    rows: usize,
    /// Whether rows may be out of range.
    partial: bool,
}

/// What is still to be read of a segment.
pub(super) struct SegmentPart {
    pub(super) entry: SegmentEntry,
    segment: OpenSegment,
    groups: VecDeque<Group>,
    current: Option<(Group, ParquetRecordBatchReader)>,
}

impl fmt::Debug for SegmentPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentPart").field("entry", &self.entry).finish_non_exhaustive()
    }
}

impl SegmentPart {
    pub(super) fn new(entry: SegmentEntry, segment: OpenSegment, projection: &Projection) -> Self {
        let mut groups = VecDeque::new();
        let name = projection.slots.first().map_or("", |time| time.name);
        for (index, group) in segment.metadata.metadata().row_groups().iter().enumerate() {
            let times = times(group, name).unwrap_or((i64::MIN, i64::MAX));
            if overlaps(&projection.time, times.0, times.1) {
                let rows = usize::try_from(group.num_rows()).unwrap_or(0);
                let partial = !projection.covers(times.0, times.1);
                groups.push_back(Group { index, rows, partial });
            }
        }
        Self { entry, segment, groups, current: None }
    }

    /// The next rows; `None` when there are no more. May panic when the segment is damaged.
    pub(super) fn next(
        &mut self,
        projection: &Projection,
    ) -> Result<Option<ScanBatch>, Unreadable> {
        loop {
            if let Some((group, reader)) = &mut self.current {
                let partial = group.partial;
                match reader.next().transpose().map_err(|error| Unreadable(error.to_string()))? {
                    Some(batch) => return finish(&batch, partial, projection).map(Some),
                    None => self.current = None,
                }
            }
            let Some(group) = self.groups.pop_front() else {
                return Ok(None);
            };
            let names = self.names(group, projection);
            if names.is_empty() {
                return without_columns(group, projection).map(Some);
            }
            self.current = Some((group, self.reader(group, &names)?));
        }
    }

    /// The columns to decode of a row group.
    fn names(&self, group: Group, projection: &Projection) -> Vec<&'static str> {
        let wanted = projection.wanted(projection.with_time(group.partial));
        let present = |wanted: &&Wanted<'static>| {
            let field = self.segment.metadata.schema().field_with_name(wanted.name);
            field.is_ok_and(|field| is_readable(field.data_type(), wanted))
        };
        let mut names: Vec<_> = wanted.iter().filter(present).map(|wanted| wanted.name).collect();
        if projection.with_eid() {
            names.push(EID);
        }
        if projection.with_boot() {
            names.extend([BOOT_ID, CLOCK_OFFSET]);
        }
        names
    }

    fn reader(&self, group: Group, names: &[&str]) -> Result<ParquetRecordBatchReader, Unreadable> {
        let OpenSegment { file, metadata } = self.segment.clone();
        let schema = metadata.schema();
        let roots: Vec<usize> =
            names.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
            .with_row_groups(vec![group.index])
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|error| Unreadable(error.to_string()))
    }
}

/// Whether a file's column can be read as the wanted one.
fn is_readable(found: &DataType, wanted: &Wanted<'_>) -> bool {
    let expected = columns::data_type(wanted.column_type);
    match found {
        DataType::Dictionary(_, values) => **values == expected,
        found => *found == expected,
    }
}

/// Smallest and largest time of a row group; `None` when the file does not say.
fn times(group: &RowGroupMetaData, time: &str) -> Option<(i64, i64)> {
    let mut chunks = group.columns().iter();
    let chunk = chunks.find(|chunk| chunk.column_path().string() == time)?;
    match chunk.statistics()? {
        Statistics::Int64(statistics) => {
            statistics.min_opt().copied().zip(statistics.max_opt().copied())
        }
        _ => None,
    }
}

/// A batch for which nothing has to be decoded.
fn without_columns(group: Group, projection: &Projection) -> Result<ScanBatch, Unreadable> {
    let wanted = projection.wanted(false);
    let columns =
        wanted.iter().map(|slot| columns::absent(slot.column_type, slot.nullable, group.rows));
    let raw = RawBatch { rows: group.rows, columns: columns.collect(), ..RawBatch::default() };
    settle(raw, projection)
}

fn finish(
    batch: &RecordBatch,
    partial: bool,
    projection: &Projection,
) -> Result<ScanBatch, Unreadable> {
    let rows = batch.num_rows();
    let with_time = projection.with_time(partial);
    let column = |slot: &Wanted<'static>| {
        let found = batch.column_by_name(slot.name).map(Arc::clone);
        found.unwrap_or_else(|| columns::absent(slot.column_type, slot.nullable, rows))
    };
    let part = |name: &str, wanted: bool| batch.column_by_name(name).filter(|_| wanted).cloned();
    let (with_eid, with_boot) = (projection.with_eid(), projection.with_boot());
    let raw = RawBatch {
        rows,
        columns: projection.wanted(with_time).iter().map(column).collect(),
        with_time,
        partial,
        eid: part(EID, with_eid),
        clock_offset_ns: part(CLOCK_OFFSET, with_boot),
        boot: part(BOOT_ID, with_boot).as_ref().and_then(boot_ids),
    };
    settle(raw, projection)
}

fn settle(raw: RawBatch, projection: &Projection) -> Result<ScanBatch, Unreadable> {
    let batch = raw.finish(projection).map_err(|error| Unreadable(error.to_string()))?;
    batch.ok_or_else(|| Unreadable("a column has another type than it must".to_owned()))
}

/// Takes apart the column of boot ids; `None` when it is not what it must be.
fn boot_ids(array: &ArrayRef) -> Option<BootIds> {
    let array = array.as_dictionary_opt::<Int32Type>().filter(|array| array.null_count() == 0)?;
    let values = array.values().as_string_opt::<i32>()?;
    let ids: Option<Vec<_>> = values.iter().map(|id| parse_boot_id(id?)).collect();
    Some(BootIds { ids: ids?, keys: Some(array.keys().clone()) })
}

fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u128::from_str_radix(text, 16).ok())?.map(u128::to_be_bytes)
}
