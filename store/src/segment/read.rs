//! Opening segments.
//!
//! The Parquet decoder returns errors for most damage and panics for some; both end as
//! [`Unreadable`].

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use sha2::{Digest, Sha256};

use crate::disk::{self, DiskFile, Folder};
use crate::guard::{Unreadable, guarded};
use crate::manifest::entry::{SegmentEntry, hex};
use crate::segment::{FORMAT, key};

/// Bytes read at a time to hash a file.
const HASH_BYTES: usize = 256 << 10;

/// Bytes read at a time where it is not known how many are needed.
const STREAM_BYTES: usize = 8 << 10;

/// An open segment that any number of scans read at once.
#[derive(Clone, Debug)]
pub(crate) struct SegmentFile {
    file: Arc<dyn DiskFile>,
    bytes: u64,
}

impl SegmentFile {
    pub(crate) fn open(dir: &Folder, path: &Path) -> io::Result<Self> {
        let file = dir.open(path)?;
        let bytes = file.info()?.bytes;
        Ok(Self { file: file.into(), bytes })
    }

    /// Reads the footer, without the page index.
    pub(crate) fn metadata(&self) -> Result<Arc<ParquetMetaData>, Unreadable> {
        guarded(|| ParquetMetaDataReader::new().parse_and_finish(self).map(Arc::new))
    }

    /// SHA-256 of the whole file, in hexadecimal.
    pub(crate) fn sha256(&self) -> io::Result<String> {
        let mut hasher = Sha256::new();
        let mut offset = 0;
        let mut buffer = vec![0; HASH_BYTES];
        loop {
            let count = disk::read_at(self.file.as_ref(), offset, &mut buffer)?;
            if count == 0 {
                return Ok(hex(&hasher.finalize()));
            }
            hasher.update(buffer.get(..count).unwrap_or_default());
            offset += count as u64;
        }
    }
}

impl Length for SegmentFile {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for SegmentFile {
    type T = SegmentStream;

    fn get_read(&self, start: u64) -> Result<SegmentStream, ParquetError> {
        let file = Some(Arc::clone(&self.file));
        Ok(SegmentStream { file, offset: start, buffer: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.bytes) {
            return Err(ParquetError::EOF("it ends before its content does".to_owned()));
        }
        Ok(disk::read_exact_at(self.file.as_ref(), start, length)?.into())
    }
}

/// Reads on from some offset, independent of other readers of the file.
#[derive(Debug)]
pub(crate) struct SegmentStream {
    /// What follows the buffer; `None` when nothing does.
    file: Option<Arc<dyn DiskFile>>,
    offset: u64,
    buffer: Bytes,
}

impl SegmentStream {
    /// Reads bytes that are in memory.
    pub(crate) const fn loaded(bytes: Bytes) -> Self {
        Self { file: None, offset: 0, buffer: bytes }
    }
}

impl Read for SegmentStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty()
            && let Some(file) = &self.file
        {
            let mut buffer = vec![0; out.len().max(STREAM_BYTES)];
            let filled = disk::read_at(file.as_ref(), self.offset, &mut buffer)?;
            buffer.truncate(filled);
            self.offset += filled as u64;
            self.buffer = buffer.into();
        }
        let count = self.buffer.len().min(out.len());
        let part = self.buffer.split_to(count);
        if let Some(out) = out.get_mut(..count) {
            out.copy_from_slice(&part);
        }
        Ok(count)
    }
}

/// What a segment says of itself; `name` is its path relative to the data folder.
pub(crate) fn describe(dir: &Folder, name: &str) -> Result<SegmentEntry, Unreadable> {
    let failed = |error: io::Error| Unreadable(error.to_string());
    let file = SegmentFile::open(dir, &dir.join(name)).map_err(failed)?;
    let metadata = file.metadata()?;
    let pairs = metadata.file_metadata().key_value_metadata();
    let text = |key: &str| {
        let pair = pairs.into_iter().flatten().find(|pair| pair.key == key);
        pair.and_then(|pair| pair.value.clone())
            .ok_or_else(|| Unreadable(format!("its metadata has no {key}")))
    };
    let number = |key: &str| {
        let number = text(key)?.parse::<i64>();
        number.map_err(|error| Unreadable(format!("its {key} is no number: {error}")))
    };
    let format = number(key::FORMAT)?;
    if format > i64::from(FORMAT) {
        return Err(Unreadable(format!("its format {format} is newer than this program's")));
    }
    Ok(SegmentEntry {
        path: name.to_owned(),
        table: text(key::TABLE)?,
        level: u32::try_from(number(key::LEVEL)?).unwrap_or(u32::MAX),
        journal: number(key::JOURNAL)?.cast_unsigned(),
        sha256: file.sha256().map_err(failed)?,
        bytes: file.bytes,
        rows: number(key::ROWS)?.cast_unsigned(),
        first_eid: number(key::FIRST_EID)?,
        last_eid: number(key::LAST_EID)?,
        min_time_ns: number(key::MIN_TIME)?,
        max_time_ns: number(key::MAX_TIME)?,
    })
}
