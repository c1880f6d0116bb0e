//! Writing one segment, in bounded memory.
//!
//! Rows come in batches and in order. They are encoded at once, column by column; what waits in
//! memory is one row group in its encoded and compressed form. A row group of another segment can
//! be moved in whole: its bytes are copied and its bloom filters, column indexes and offset indexes
//! are handed over.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use sha2::{Digest, Sha256};

use crate::disk::{DiskFile, Folder};
use crate::layout;
use crate::limits::GROUP_BYTES_MAX;
use crate::manifest::entry::hex;
use crate::segment::EID;
use crate::segment::moving::MovableGroup;

/// Why a segment was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentWriteError {
    #[error("cannot write {path}", path = .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot encode {path}", path = .path.display())]
    Encode { path: PathBuf, source: ParquetError },
    #[error("{path} does not have the columns of its table", path = .path.display())]
    Columns { path: PathBuf },
}

/// What is known of the rows written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) rows: u64,
    pub(super) min_time_ns: i64,
    pub(super) max_time_ns: i64,
    pub(super) first_eid: i64,
    pub(super) last_eid: i64,
}

impl Extent {
    const NOTHING: Self = Self {
        rows: 0,
        min_time_ns: i64::MAX,
        max_time_ns: i64::MIN,
        first_eid: i64::MAX,
        last_eid: i64::MIN,
    };

    fn add(&mut self, rows: u64, times: (i64, i64), eids: (i64, i64)) {
        self.rows += rows;
        self.min_time_ns = self.min_time_ns.min(times.0);
        self.max_time_ns = self.max_time_ns.max(times.1);
        self.first_eid = self.first_eid.min(eids.0);
        self.last_eid = self.last_eid.max(eids.1);
    }
}

/// A segment that is on disk under its temporary name.
pub(super) struct Finished {
    pub(super) extent: Extent,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// A segment under construction.
pub(super) struct SegmentWriter {
    path: PathBuf,
    time: usize,
    eid: usize,
    schema: SchemaRef,
    file: SerializedFileWriter<Hashed>,
    factory: ArrowRowGroupWriterFactory,
    /// The row group that is being encoded.
    group: Vec<ArrowColumnWriter>,
    group_rows: usize,
    extent: Extent,
}

impl SegmentWriter {
    /// Begins the segment that is to have the path `path`. `time` is the name of the time column.
    pub(super) fn create(
        dir: &Folder,
        path: PathBuf,
        schema: SchemaRef,
        time: &str,
        properties: WriterProperties,
    ) -> Result<Self, SegmentWriteError> {
        let columns = schema.index_of(time).and_then(|time| Ok((time, schema.index_of(EID)?)));
        let Ok((time, eid)) = columns else {
            return Err(SegmentWriteError::Columns { path });
        };
        let failed = |source| SegmentWriteError::File { path: path.clone(), source };
        if let Some(parent) = path.parent()
            && !dir.exists(parent)
        {
            dir.create_dir_private(parent).map_err(failed)?;
            dir.sync_dir(&layout::segments_dir(dir.path())).map_err(failed)?;
        }
        let file = dir.create(&temporary(&path)).map_err(failed)?;
        let hashed = Hashed { file, hasher: Sha256::new(), bytes: 0 };
        let begun = ArrowWriter::try_new(hashed, Arc::clone(&schema), Some(properties))
            .and_then(ArrowWriter::into_serialized_writer);
        let (file, factory) =
            begun.map_err(|source| SegmentWriteError::Encode { path: path.clone(), source })?;
        Ok(Self {
            path,
            time,
            eid,
            schema,
            file,
            factory,
            group: Vec::new(),
            group_rows: 0,
            extent: Extent::NOTHING,
        })
    }

    /// Bytes in the file so far; the row group being encoded is not counted.
    pub(super) fn bytes(&self) -> u64 {
        self.file.bytes_written() as u64
    }

    pub(super) const fn group_rows(&self) -> usize {
        self.group_rows
    }

    /// Adds rows to the row group; ends it when its encoded form is long.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), SegmentWriteError> {
        let (Some(times), Some(eids)) = (bounds(batch, self.time), bounds(batch, self.eid)) else {
            return Err(SegmentWriteError::Columns { path: self.path.clone() });
        };
        self.encode(batch).map_err(|source| self.failed(source))?;
        self.group_rows += batch.num_rows();
        self.extent.add(batch.num_rows() as u64, times, eids);
        let memory: usize = self.group.iter().map(ArrowColumnWriter::memory_size).sum();
        if memory > GROUP_BYTES_MAX { self.end_group() } else { Ok(()) }
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        if self.group.is_empty() {
            let index = self.file.flushed_row_groups().len();
            self.group = self.factory.create_column_writers(index)?;
        }
        // No column is nested, so each has one writer.
        let columns = self.schema.fields().iter().zip(batch.columns());
        for ((field, array), writer) in columns.zip(&mut self.group) {
            for leaf in compute_leaves(field, array)? {
                writer.write(&leaf)?;
            }
        }
        Ok(())
    }

    /// Ends the row group that is being encoded, if there is one.
    pub(super) fn end_group(&mut self) -> Result<(), SegmentWriteError> {
        if self.group_rows == 0 {
            return Ok(());
        }
        self.group_rows = 0;
        let group = std::mem::take(&mut self.group);
        let append = || {
            let mut out = self.file.next_row_group()?;
            for writer in group {
                writer.close()?.append_to_row_group(&mut out)?;
            }
            out.close()
        };
        append().map_err(|source| self.failed(source))?;
        Ok(())
    }

    /// Copies a whole row group of another segment with the same columns.
    pub(super) fn move_group(&mut self, group: MovableGroup) -> Result<(), SegmentWriteError> {
        self.end_group()?;
        let MovableGroup { file, rows, times, eids, columns, .. } = group;
        let append = || {
            let mut out = self.file.next_row_group()?;
            for column in columns {
                out.append_column(&file, column)?;
            }
            out.close()
        };
        append().map_err(|source| self.failed(source))?;
        self.extent.add(rows, times, eids);
        Ok(())
    }

    /// Ends the file, which is synced under its temporary name. `metadata` says what its key-value
    /// metadata is to be.
    pub(super) fn finish(
        mut self,
        metadata: impl FnOnce(&Extent) -> Vec<KeyValue>,
    ) -> Result<Finished, SegmentWriteError> {
        self.end_group()?;
        for pair in metadata(&self.extent) {
            self.file.append_key_value_metadata(pair);
        }
        let Self { path, file, extent, .. } = self;
        let written = match file.into_inner() {
            Ok(written) => written,
            Err(source) => return Err(SegmentWriteError::Encode { path, source }),
        };
        if let Err(source) = written.file.sync() {
            return Err(SegmentWriteError::File { path, source });
        }
        Ok(Finished { extent, bytes: written.bytes, sha256: hex(&written.hasher.finalize()) })
    }

    fn failed(&self, source: ParquetError) -> SegmentWriteError {
        SegmentWriteError::Encode { path: self.path.clone(), source }
    }
}

/// The name of a file under construction.
pub(super) fn temporary(path: &Path) -> PathBuf {
    path.with_extension(layout::TEMPORARY_EXTENSION)
}

/// Smallest and largest value of a column of 64-bit integers.
fn bounds(batch: &RecordBatch, column: usize) -> Option<(i64, i64)> {
    let array = batch.columns().get(column)?.as_primitive_opt::<Int64Type>()?;
    let values = || array.values().iter().copied();
    values().min().zip(values().max())
}

/// A file that is hashed as it is written.
struct Hashed {
    file: Box<dyn DiskFile>,
    hasher: Sha256,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
