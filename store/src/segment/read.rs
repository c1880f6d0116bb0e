//! Opening segments.
//!
//! The Parquet decoder returns errors for most damage and panics for some; both end as
//! [`Unreadable`].

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use sha2::{Digest, Sha256};

use crate::disk::{self, DiskFile, Folder};
use crate::guard::{Unreadable, guarded};
use crate::manifest::entry::hex;

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

    /// Reads the footer and the page index.
    pub(crate) fn metadata_with_pages(&self) -> Result<ArrowReaderMetadata, Unreadable> {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        guarded(|| ArrowReaderMetadata::load(self, options))
    }

    /// Its size in bytes.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
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
