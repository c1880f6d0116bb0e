//! Merging segments of one table into others that hold the same rows, in bounded memory.
//!
//! A row group that is large and whose times overlap no other is moved whole: its bytes are copied.
//! The others are read, merged and encoded anew, a few thousand rows at a time; a segment's row
//! group is opened when the merge comes to its first row. A short run of rows between two large row
//! groups takes one of them along, so that no small row group stays.
//!
//! Segments of different versions of a table are merged by the names of their columns: one that a
//! segment lacks is null there, or zero, as readers show it; one that was dropped is kept.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::RowGroupMetaData;

use crate::columns;
use crate::disk::Folder;
use crate::guard::{Unreadable, guarded};
use crate::limits::{MERGE_ROWS, MERGE_ROWS_BYTES, MOVE_BYTES_MIN, MOVE_ROWS_MIN};
use crate::manifest::entry::SegmentEntry;
use crate::schema::ColumnType;
use crate::segment::moving::{MovableGroup, range};
use crate::segment::read::SegmentFile;
use crate::segment::series::Series;
use crate::segment::write::SegmentWriteError;
use crate::segment::{BOOT_ID, EID};
use crate::write::window::{keys, sort};

/// Why segments were not merged. They stay as they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    #[error("cannot open {path}", path = .path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot read {path}")]
    Read { path: String, source: Unreadable },
    #[error("{path} has column {column} with another type than the others")]
    Column { path: String, column: String },
    #[error("cannot put rows in order")]
    Order(#[source] ArrowError),
    #[error("cannot write a segment")]
    Write(#[source] SegmentWriteError),
    #[error("the writer is closing")]
    Stopped,
}

/// A segment to be merged.
pub(super) struct Input {
    path: String,
    file: SegmentFile,
    metadata: ArrowReaderMetadata,
}

impl Input {
    pub(super) fn open(dir: &Folder, entry: &SegmentEntry) -> Result<Self, MergeError> {
        let path = dir.join(&entry.path);
        let file =
            SegmentFile::open(dir, &path).map_err(|source| MergeError::Open { path, source })?;
        let read = |source| MergeError::Read { path: entry.path.clone(), source };
        // What was changed must not get a right hash by being merged.
        let sha256 = file.sha256().map_err(|error| read(Unreadable(error.to_string())))?;
        if sha256 != entry.sha256 {
            return Err(read(Unreadable("its content is not what the manifest says".to_owned())));
        }
        let metadata = file.metadata_with_pages().map_err(read)?;
        Ok(Self { path: entry.path.clone(), file, metadata })
    }

    /// What its footer and page index say.
    #[cfg(test)]
    pub(super) fn metadata(&self) -> &parquet::file::metadata::ParquetMetaData {
        self.metadata.metadata()
    }

    fn unreadable(&self, source: Unreadable) -> MergeError {
        MergeError::Read { path: self.path.clone(), source }
    }
}

/// The columns of the segments together: those of the last, then those that only others have.
pub(super) fn schema(inputs: &[Input]) -> Result<SchemaRef, MergeError> {
    let mut fields: Vec<Field> = Vec::new();
    for input in inputs.iter().rev() {
        for field in input.metadata.schema().fields() {
            match fields.iter_mut().find(|known| known.name() == field.name()) {
                Some(known) if known.data_type() != field.data_type() => {
                    let (path, column) = (input.path.clone(), field.name().clone());
                    return Err(MergeError::Column { path, column });
                }
                Some(known) if field.is_nullable() => known.set_nullable(true),
                Some(_) => {}
                None => fields.push(field.as_ref().clone()),
            }
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// A row group of an input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    input: usize,
    group: usize,
    rows: usize,
    /// Bytes of its columns, encoded and not compressed.
    bytes: u64,
    /// Rows that are decoded at a time.
    batch_rows: usize,
    /// Smallest and largest time, in nanoseconds since the Unix epoch.
    times: (i64, i64),
    first_eid: i64,
    /// Whether it is large and has the columns of the output.
    fit: bool,
}

/// The row groups of the inputs, in the order of their first rows.
pub(super) fn units(
    inputs: &[Input],
    schema: &SchemaRef,
    time: &str,
) -> Result<Vec<Unit>, MergeError> {
    let mut units = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        let same = input.metadata.schema().fields() == schema.fields();
        for (index, group) in input.metadata.metadata().row_groups().iter().enumerate() {
            let missing = || input.unreadable(Unreadable("it has no statistics".to_owned()));
            let times = range(group, time).ok_or_else(missing)?;
            let eids = range(group, EID).ok_or_else(missing)?;
            let rows = usize::try_from(group.num_rows()).unwrap_or(0);
            let bytes = u64::try_from(group.total_byte_size()).unwrap_or(0);
            let fit = same && is_large(rows, bytes);
            let first_eid = eids.0;
            let batch_rows = batch_rows(group);
            let unit = Unit {
                input: number,
                group: index,
                rows,
                bytes,
                batch_rows,
                times,
                first_eid,
                fit,
            };
            units.push(unit);
        }
    }
    units.sort_by_key(|unit| (unit.times.0, unit.first_eid));
    Ok(units)
}

/// How many rows of a row group are decoded at a time.
pub(super) fn batch_rows(group: &RowGroupMetaData) -> usize {
    let decoded: i64 = group
        .columns()
        .iter()
        .map(|column| {
            let encoded = column.uncompressed_size();
            column.unencoded_byte_array_data_bytes().unwrap_or(0).max(encoded)
        })
        .sum();
    let (decoded, rows) = (u64::try_from(decoded).unwrap_or(0), u64::try_from(group.num_rows()));
    let row = decoded.div_ceil(rows.unwrap_or(1).max(1)).max(1);
    usize::try_from(MERGE_ROWS_BYTES / row).unwrap_or(MERGE_ROWS).clamp(1, MERGE_ROWS)
}

/// Whether rows are enough for a row group of their own.
const fn is_large(rows: usize, bytes: u64) -> bool {
    rows >= MOVE_ROWS_MIN || bytes >= MOVE_BYTES_MIN
}

/// How many row groups at most have an instant in common.
pub(super) fn depth(units: &[Unit]) -> usize {
    let mut ends: Vec<i64> = Vec::new();
    let mut depth = 0;
    for unit in units {
        ends.retain(|end| *end >= unit.times.0);
        ends.push(unit.times.1);
        depth = depth.max(ends.len());
    }
    depth
}

/// What is done with row groups that follow each other.
#[derive(Debug)]
pub(super) enum Stretch {
    Move(Unit),
    Encode(Vec<Unit>),
}

/// Which row groups are moved whole and which are encoded anew.
pub(super) fn stretches(units: &[Unit]) -> Vec<Stretch> {
    let mut moved: Vec<bool> = Vec::with_capacity(units.len());
    let mut last_end = None;
    for (index, unit) in units.iter().enumerate() {
        let before = last_end.is_none_or(|end| end < unit.times.0);
        let after = units.get(index + 1).is_none_or(|next| unit.times.1 < next.times.0);
        moved.push(unit.fit && before && after);
        last_end = last_end.max(Some(unit.times.1));
    }
    while let Some(index) = taken_along(units, &moved) {
        if let Some(moved) = moved.get_mut(index) {
            *moved = false;
        }
    }
    let mut stretches = Vec::new();
    for (unit, moved) in units.iter().zip(moved) {
        match stretches.last_mut() {
            _ if moved => stretches.push(Stretch::Move(*unit)),
            Some(Stretch::Encode(units)) => units.push(*unit),
            _ => stretches.push(Stretch::Encode(vec![*unit])),
        }
    }
    stretches
}

/// A row group that would be moved, and is beside too few rows for one of their own.
fn taken_along(units: &[Unit], moved: &[bool]) -> Option<usize> {
    let mut start = 0;
    while start < units.len() {
        let run = moved.iter().skip(start).take_while(|moved| !**moved).count();
        let of_run = || units.iter().skip(start).take(run);
        let rows: usize = of_run().map(|unit| unit.rows).sum();
        let bytes: u64 = of_run().map(|unit| unit.bytes).sum();
        let end = start + run;
        if rows > 0 && !is_large(rows, bytes) {
            let beside = [Some(end).filter(|end| *end < units.len()), start.checked_sub(1)];
            let size = |index: &usize| units.get(*index).map_or(usize::MAX, |unit| unit.rows);
            if let Some(index) = beside.into_iter().flatten().min_by_key(size) {
                return Some(index);
            }
        }
        start = end + 1;
    }
    None
}

/// Merges row groups into a series. `stop` is asked between batches.
pub(super) fn merge(
    inputs: &[Input],
    stretches: Vec<Stretch>,
    time: &str,
    series: &mut Series,
    stop: &dyn Fn() -> bool,
) -> Result<(), MergeError> {
    for stretch in stretches {
        match stretch {
            Stretch::Move(unit) => {
                let Some(input) = inputs.get(unit.input) else { continue };
                let metadata = input.metadata.metadata();
                let load = || MovableGroup::load(&input.file, metadata, unit.group, time);
                let group = guarded(load).map_err(|source| input.unreadable(source))?;
                series.move_group(group).map_err(MergeError::Write)?;
            }
            Stretch::Encode(units) => {
                series.end_group().map_err(MergeError::Write)?;
                series.expect(units.iter().map(|unit| unit.rows).sum());
                let mut mix = Mix::new(inputs, units, SchemaRef::clone(series.schema()), time);
                while let Some(batch) = mix.next()? {
                    series.write(&batch).map_err(MergeError::Write)?;
                    if stop() {
                        return Err(MergeError::Stopped);
                    }
                }
            }
        }
        if stop() {
            return Err(MergeError::Stopped);
        }
    }
    Ok(())
}

/// Rows of several row groups on their way into one order.
struct Mix<'a> {
    inputs: &'a [Input],
    /// Row groups that are still to be opened, in the order of their first rows.
    units: VecDeque<Unit>,
    open: Vec<Cursor<'a>>,
    schema: SchemaRef,
    time: usize,
}

/// An open row group.
struct Cursor<'a> {
    input: &'a Input,
    reader: ParquetRecordBatchReader,
    batch: RecordBatch,
    /// Time and number of the rows of `batch`.
    keys: Vec<(i64, i64)>,
    /// Rows of `batch` that were taken.
    taken: usize,
}

impl<'a> Mix<'a> {
    fn new(inputs: &'a [Input], units: Vec<Unit>, schema: SchemaRef, time: &str) -> Self {
        let time = schema.index_of(time).unwrap_or(usize::MAX);
        Self { inputs, units: units.into(), open: Vec::new(), schema, time }
    }

    /// The next rows in order; `None` when there are no more.
    fn next(&mut self) -> Result<Option<RecordBatch>, MergeError> {
        loop {
            if self.open.is_empty() && !self.open_next()? {
                return Ok(None);
            }
            let batch = self.take()?;
            if batch.as_ref().is_some_and(|batch| batch.num_rows() > 0) {
                return Ok(batch);
            }
            if batch.is_none() {
                // What is open waits for the first row of the next row group.
                self.open_next()?;
            }
        }
    }

    /// Takes the rows that come before all that are not loaded; `None` when there are none.
    fn take(&mut self) -> Result<Option<RecordBatch>, MergeError> {
        let unopened = self.units.front().map(|unit| (unit.times.0, unit.first_eid));
        let loaded = self.open.iter().filter_map(|cursor| cursor.keys.last().copied()).min();
        let ready = |key: &(i64, i64)| {
            unopened.is_none_or(|bound| *key < bound) && loaded.is_none_or(|bound| *key <= bound)
        };
        let mut parts = Vec::new();
        for cursor in &mut self.open {
            let count = cursor.keys.partition_point(ready).saturating_sub(cursor.taken);
            if count > 0 {
                parts.push(cursor.batch.slice(cursor.taken, count));
                cursor.taken += count;
            }
        }
        if parts.is_empty() {
            return Ok(None);
        }
        for mut cursor in std::mem::take(&mut self.open) {
            if cursor.taken < cursor.keys.len() || cursor.load(&self.schema, self.time)? {
                self.open.push(cursor);
            }
        }
        let mixed = match parts.as_slice() {
            [part] => Ok(part.clone()),
            parts => concat_batches(&self.schema, parts).and_then(|batch| sort(&batch, self.time)),
        };
        mixed.map(Some).map_err(MergeError::Order)
    }

    /// Opens the next row group; says whether there was one.
    fn open_next(&mut self) -> Result<bool, MergeError> {
        let Some((unit, input)) = self
            .units
            .pop_front()
            .and_then(|unit| self.inputs.get(unit.input).map(|input| (unit, input)))
        else {
            return Ok(false);
        };
        let reader = guarded(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(
                input.file.clone(),
                input.metadata.clone(),
            )
            .with_row_groups(vec![unit.group])
            .with_batch_size(unit.batch_rows)
            .build()
        });
        let reader = reader.map_err(|source| input.unreadable(source))?;
        let batch = RecordBatch::new_empty(SchemaRef::clone(&self.schema));
        let mut cursor = Cursor { input, reader, batch, keys: Vec::new(), taken: 0 };
        if cursor.load(&self.schema, self.time)? {
            self.open.push(cursor);
        }
        Ok(true)
    }
}

impl Cursor<'_> {
    /// Loads the next rows; says whether there are any.
    fn load(&mut self, schema: &SchemaRef, time: usize) -> Result<bool, MergeError> {
        let input = self.input;
        let Some(batch) = guarded(|| self.reader.next().transpose())
            .map_err(|source| input.unreadable(source))?
        else {
            return Ok(false);
        };
        // A segment is sorted; one that is not is damaged, and sorting it does no harm.
        let batch = align(&batch, schema).and_then(|batch| sort(&batch, time));
        self.batch = batch.map_err(MergeError::Order)?;
        self.keys = keys(&self.batch, time);
        self.taken = 0;
        Ok(true)
    }
}

/// The rows with the columns of the output.
fn align(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let rows = batch.num_rows();
    let column = |field: &Arc<Field>| -> Result<ArrayRef, ArrowError> {
        if let Some(found) = batch.column_by_name(field.name()) {
            return Ok(Arc::clone(found));
        }
        let column_type = column_type(field.data_type()).filter(|_| field.name() != BOOT_ID);
        let absent = column_type.map(|known| columns::absent(known, field.is_nullable(), rows));
        absent.ok_or_else(|| ArrowError::SchemaError(format!("column {} is missing", field.name())))
    };
    let arrays: Result<Vec<ArrayRef>, ArrowError> = schema.fields().iter().map(column).collect();
    let arrays = arrays?;
    debug_assert!(arrays.iter().all(|array| array.len() == rows), "columns have one length");
    RecordBatch::try_new(SchemaRef::clone(schema), arrays)
}

/// The type of a column by its type in a segment.
const fn column_type(data_type: &DataType) -> Option<ColumnType> {
    Some(match data_type {
        DataType::Boolean => ColumnType::Bool,
        DataType::Int32 => ColumnType::I32,
        DataType::Int64 => ColumnType::I64,
        DataType::UInt32 => ColumnType::U32,
        DataType::UInt64 => ColumnType::U64,
        DataType::Float64 => ColumnType::F64,
        DataType::Utf8 => ColumnType::Text,
        DataType::Binary => ColumnType::Blob,
        _ => return None,
    })
}
