//! An open journal, for readers, the sealer and recovery alike.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{self, DiskFile, Folder};
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
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) header: JournalHeader,
    /// Offset of the first frame.
    pub(crate) frames_start: u64,
    /// Length of the file when it was opened.
    pub(crate) length: u64,
}

impl Journal {
    /// Opens journal `number` of the store in `dir`.
    pub(crate) fn open(dir: &Folder, number: u64) -> Result<Self, JournalError> {
        let path = layout::journal_path(dir.path(), number);
        let file =
            dir.open(&path).map_err(|source| JournalError::Open { path: path.clone(), source })?;
        let read = |source| JournalError::Read { path: path.clone(), source };
        let length = file.info().map_err(read)?.bytes;
        let mut bytes = vec![0; PREFIX_BYTES];
        let filled = disk::read_at(file.as_ref(), 0, &mut bytes).map_err(read)?;
        bytes.truncate(filled);
        let refuse = |error: HeaderError| match error {
            HeaderError::Newer(format) => JournalError::Newer { path: path.clone(), format },
            error => JournalError::Header { path: path.clone(), reason: words(&error) },
        };
        let body_bytes = JournalHeader::body_bytes(&bytes).map_err(refuse)?;
        bytes.resize(PREFIX_BYTES + body_bytes, 0);
        let filled = disk::read_at(file.as_ref(), 0, &mut bytes).map_err(read)?;
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
                .extend(self.file.as_ref(), &self.key(), limit)
                .map_err(|source| JournalError::Read { path: self.path.clone(), source })?;
        }
        Ok(index)
    }

    /// The encoded rows of a frame; `None` when they are damaged.
    pub(crate) fn payload(&self, frame: &FrameAt) -> Result<Option<Vec<u8>>, JournalError> {
        let mut payload = Vec::new();
        let whole = self.read_payload(frame, &mut payload)?;
        Ok(whole.then_some(payload))
    }

    /// Fills a buffer with the encoded rows of a frame; `false` when they are damaged.
    pub(crate) fn read_payload(
        &self,
        frame: &FrameAt,
        payload: &mut Vec<u8>,
    ) -> Result<bool, JournalError> {
        let offset = frame.offset + HEADER_BYTES as u64;
        let length = frame.header.payload_bytes as usize;
        // What was there is overwritten, so it need not be zero.
        payload.resize(length, 0);
        let filled = disk::read_at(self.file.as_ref(), offset, payload)
            .map_err(|source| JournalError::Read { path: self.path.clone(), source })?;
        Ok(filled == length && crc32c::crc32c(payload) == frame.header.payload_crc)
    }
}

fn words(error: &HeaderError) -> String {
    match error {
        HeaderError::Malformed(source) => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::expect;

    use super::*;
    use crate::fixture::{SMALL, Small};
    use crate::journal::frame::FrameHeader;
    use crate::table::EventTable;
    use crate::wire::WireTable;

    /// A journal of format 1 with two frames, as the first version wrote it.
    const GOLDEN: &str = "tests/fixtures/journal-format-1.bj";

    fn rows(numbers: std::ops::Range<i64>) -> Vec<Small> {
        let row = |number: i64| Small {
            time_ns: 1_764_000_000_000_000_000 + number,
            pid: 70_000 + number as u32,
            path: (number != 2).then(|| format!("/bin/{number}")),
        };
        numbers.map(row).collect()
    }

    fn frame(number: u64, first_eid: i64, rows: &[Small], key: &JournalKey) -> Vec<u8> {
        let mut payload = Vec::new();
        rows.iter().for_each(|row| row.encode(&mut payload));
        let header = FrameHeader {
            payload_bytes: payload.len() as u32,
            number,
            table: 0,
            rows: rows.len() as u32,
            first_eid,
            min_time_ns: rows[0].time_ns,
            max_time_ns: rows[rows.len() - 1].time_ns,
            clock_offset_ns: 1_763_990_000_000_000_000,
            payload_crc: crc32c::crc32c(&payload),
        };
        [header.encode(key).to_vec(), payload].concat()
    }

    fn golden() -> Vec<u8> {
        let key = JournalKey { number: 7, salt: *b"salt of a golden" };
        let header = JournalHeader {
            key,
            boot_id: *b"boot of a golden",
            created_ns: 1_764_000_000_000_000_000,
            previous_end: u64::MAX,
            tables: vec![WireTable::of(SMALL).unwrap()],
        };
        let frames = [frame(0, 1, &rows(0..3), &key), frame(1, 4, &rows(3..5), &key)];
        [header.encode(), frames.concat()].concat()
    }

    /// Bytes on disk never change their meaning: a new format gets a new number and a new fixture.
    #[test]
    fn the_golden_journal_is_still_written_byte_for_byte() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
        assert_eq!(std::fs::read(path).unwrap(), golden());
    }

    #[test]
    fn the_golden_journal_is_still_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = layout::journal_path(dir.path(), 7);
        std::fs::create_dir(layout::journal_dir(dir.path())).unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
        std::fs::copy(golden, &path).unwrap();
        let journal = Journal::open(&Folder::real(dir.path()), 7).unwrap();
        let index = journal.index(None, u64::MAX).unwrap();
        let mut lines = format!("{:?}\n", index.holes);
        for frame in &index.frames {
            let payload = journal.payload(frame).unwrap().unwrap();
            let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
            lines += &format!(
                "{} at {}: {} rows {hex}\n",
                frame.header.number, frame.offset, frame.header.rows
            );
        }
        expect![[r#"
            []
            0 at 122: 3 rows fd000094cf4ef9f530fc7011010001062f62696e2f30fd020094cf4ef9f530fc7111010001062f62696e2f31fd040094cf4ef9f530fc7211010000
            1 at 245: 2 rows fd060094cf4ef9f530fc7311010001062f62696e2f33fd080094cf4ef9f530fc7411010001062f62696e2f34
        "#]].assert_eq(&lines);
    }

    /// The index goes on where it was when the file has grown, and finds the same frames.
    #[test]
    fn an_index_grows_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(layout::journal_dir(dir.path())).unwrap();
        let bytes = golden();
        let mut known = None;
        for length in 0..=bytes.len() {
            std::fs::write(layout::journal_path(dir.path(), 7), &bytes[..length]).unwrap();
            let Ok(journal) = Journal::open(&Folder::real(dir.path()), 7) else {
                continue;
            };
            let grown = journal.index(known.take(), u64::MAX).unwrap();
            let fresh = journal.index(None, u64::MAX).unwrap();
            assert_eq!(grown, fresh, "at {length}");
            known = Some(grown);
        }
        assert_eq!(known.unwrap().frames.len(), 2);
    }
}
