//! An open journal, for readers, the sealer and recovery alike.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files;
use crate::journal::frame::{HEADER_BYTES, JournalKey};
use crate::journal::header::{HeaderError, JournalHeader, PREFIX_BYTES};
use crate::journal::index::{FrameAt, FrameIndex};
use crate::layout;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be opened.
    #[error("cannot open the journal {path}", path = .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read the journal {path}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A newer program wrote it.
    #[error("{path} has format {format}, newer than this program's", path = .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The header is damaged, or not a journal's.
    #[error("cannot use {path}: {reason}", path = .path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl JournalError {
    /// Whether the file was not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// A journal with its header read and its frames not yet looked at.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) header: JournalHeader,
    /// Offset of the first frame.
    pub(crate) frames_start: u64,
    /// Length of the file when it was opened.
    pub(crate) length: u64,
}

impl Journal {
    /// Opens journal `number` of the store in `dir`.
    pub(crate) fn open(dir: &Path, number: u64) -> Result<Self, JournalError> {
        let path = layout::journal_path(dir, number);
        let file = File::open(&path)
            .map_err(|source| JournalError::Open { path: path.clone(), source })?;
        let read = |source| JournalError::Read { path: path.clone(), source };
        let length = file.metadata().map_err(read)?.len();
        let mut bytes = vec![0; PREFIX_BYTES];
        let filled = files::read_at(&file, 0, &mut bytes).map_err(read)?;
        bytes.truncate(filled);
        let refuse = |error: HeaderError| match error {
            HeaderError::Newer(format) => JournalError::Newer { path: path.clone(), format },
            error => JournalError::Header { path: path.clone(), reason: words(&error) },
        };
        let body_bytes = JournalHeader::body_bytes(&bytes).map_err(refuse)?;
        bytes.resize(PREFIX_BYTES + body_bytes, 0);
        let filled = files::read_at(&file, 0, &mut bytes).map_err(read)?;
        bytes.truncate(filled);
        let header = JournalHeader::decode(&bytes).map_err(refuse)?;
        if header.key.number != number {
            let reason = format!("its header says that it is number {}", header.key.number);
            return Err(JournalError::Header { path, reason });
        }
        Ok(Self { path, file, header, frames_start: bytes.len() as u64, length })
    }

    pub(crate) const fn key(&self) -> JournalKey {
        self.header.key
    }

    /// The frames up to `limit` bytes. `known` is an earlier index of the same journal.
    pub(crate) fn index(
        &self,
        known: Option<Arc<FrameIndex>>,
        limit: u64,
    ) -> Result<Arc<FrameIndex>, JournalError> {
        let limit = limit.min(self.length);
        let mut index = match known.filter(|index| index.seen <= limit) {
            Some(index) => index,
            None => Arc::new(FrameIndex::new(self.frames_start)),
        };
        if index.seen < limit {
            Arc::make_mut(&mut index)
                .extend(&self.file, &self.key(), limit)
                .map_err(|source| JournalError::Read { path: self.path.clone(), source })?;
        }
        Ok(index)
    }

    /// The encoded rows of a frame; `None` when they are damaged.
    pub(crate) fn payload(&self, frame: &FrameAt) -> Result<Option<Vec<u8>>, JournalError> {
        let offset = frame.offset + HEADER_BYTES as u64;
        let length = frame.header.payload_bytes as usize;
        let mut payload = vec![0; length];
        let filled = files::read_at(&self.file, offset, &mut payload)
            .map_err(|source| JournalError::Read { path: self.path.clone(), source })?;
        let whole = filled == length && crc32c::crc32c(&payload) == frame.header.payload_crc;
        Ok(whole.then_some(payload))
    }
}

fn words(error: &HeaderError) -> String {
    match error {
        HeaderError::Malformed(source) => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}
