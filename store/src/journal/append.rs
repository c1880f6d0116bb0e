//! The journal that is being written, and the rows in it that are not yet on disk for certain.

use std::io::{self, Write as _};
use std::time::Instant;

use crate::disk::{self, DiskFile, Folder};
use crate::journal::frame::{FrameHeader, HEADER_BYTES, JournalKey};
use crate::journal::header::JournalHeader;
use crate::layout;
use crate::limits::{FRAME_BYTES, FRAME_ROWS_MAX, ROW_BYTES_MAX, UNSYNCED_BYTES_KEPT};
use crate::table::EventTable;
use crate::wire::WireTable;

/// A journal open for appending.
#[derive(Debug)]
pub(crate) struct JournalWriter {
    file: Box<dyn DiskFile>,
    key: JournalKey,
    /// Length of what was written whole.
    pub(crate) bytes: u64,
    /// Length of what is on disk.
    pub(crate) synced_bytes: u64,
    /// Frames in it, which is the number of the next one.
    pub(crate) frames: u64,
    pub(crate) created: Instant,
    /// From this frame on, writes fail.
    #[cfg(test)]
    pub(crate) fail_from_frame: u64,
}

impl JournalWriter {
    /// Creates journal `number` with the frames of `replay`, all of it on disk on return.
    /// `previous_end` is where the journal before it ends, `created_ns` the present in nanoseconds
    /// since the Unix epoch.
    pub(crate) fn create(
        dir: &Folder,
        number: u64,
        boot_id: [u8; 16],
        tables: &[WireTable],
        previous_end: u64,
        replay: &Unsynced,
        created_ns: i64,
    ) -> io::Result<Self> {
        let key = JournalKey { number, salt: disk::random_16()? };
        let header =
            JournalHeader { key, boot_id, created_ns, previous_end, tables: tables.to_vec() };
        let mut content = header.encode();
        let frames = replay.write_again(&key, &mut content);
        let file = dir.create_durable(&layout::journal_path(dir.path(), number), &content)?;
        let bytes = content.len() as u64;
        Ok(Self {
            file,
            key,
            bytes,
            synced_bytes: bytes,
            frames,
            created: Instant::now(),
            #[cfg(test)]
            fail_from_frame: u64::MAX,
        })
    }

    pub(crate) const fn number(&self) -> u64 {
        self.key.number
    }

    /// Appends one encoded frame.
    pub(crate) fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if self.frames >= self.fail_from_frame {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all(frame)?;
        self.bytes += frame.len() as u64;
        self.frames += 1;
        Ok(())
    }

    /// Puts everything written so far on disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.synced_bytes = self.bytes;
        Ok(())
    }
}

/// Rows encoded into a frame that has no header yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    pub(crate) rows: u32,
    min_time_ns: i64,
    max_time_ns: i64,
}

/// The frames since the last sync, as written.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    bytes: Vec<u8>,
    /// Each frame's offset in `bytes`, and its header.
    frames: Vec<(usize, FrameHeader)>,
    /// Where the frame under construction begins.
    draft: usize,
}

impl Unsynced {
    pub(crate) const fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Encodes rows into a new frame until it is full or there are no more; `None` when there were
    /// none. Adds the rows that are too long to `refused`.
    pub(crate) fn draft<T: EventTable>(
        &mut self,
        rows: &mut impl Iterator<Item = T>,
        refused: &mut u64,
    ) -> Option<Draft> {
        self.draft = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
        let mut draft = Draft { rows: 0, min_time_ns: i64::MAX, max_time_ns: i64::MIN };
        while draft.rows < FRAME_ROWS_MAX && self.bytes.len() - self.draft < FRAME_BYTES {
            let Some(row) = rows.next() else { break };
            let start = self.bytes.len();
            row.encode(&mut self.bytes);
            if self.bytes.len() - start > ROW_BYTES_MAX {
                self.bytes.truncate(start);
                *refused += 1;
                continue;
            }
            let time_ns = row.time_ns();
            draft.rows += 1;
            draft.min_time_ns = draft.min_time_ns.min(time_ns);
            draft.max_time_ns = draft.max_time_ns.max(time_ns);
        }
        if draft.rows == 0 {
            self.discard();
            return None;
        }
        Some(draft)
    }

    /// Gives up the frame under construction, or the one just finished.
    pub(crate) fn discard(&mut self) {
        self.bytes.truncate(self.draft);
        self.frames.truncate(self.frames.partition_point(|(start, _)| *start < self.draft));
    }

    /// Writes the header of the frame under construction and returns the whole frame.
    pub(crate) fn finish(
        &mut self,
        draft: Draft,
        table: u16,
        first_eid: i64,
        clock_offset_ns: i64,
        journal: &JournalWriter,
    ) -> &[u8] {
        let start = self.draft;
        let (header, payload) = self.bytes[start..].split_at_mut(HEADER_BYTES);
        let fields = FrameHeader {
            payload_bytes: payload.len() as u32,
            number: journal.frames,
            table,
            rows: draft.rows,
            first_eid,
            min_time_ns: draft.min_time_ns,
            max_time_ns: draft.max_time_ns,
            clock_offset_ns,
            payload_crc: crc32c::crc32c(payload),
        };
        header.copy_from_slice(&fields.encode(&journal.key));
        self.frames.push((start, fields));
        &self.bytes[start..]
    }

    /// Appends all frames to `out` as those of another journal; says how many.
    fn write_again(&self, key: &JournalKey, out: &mut Vec<u8>) -> u64 {
        for (number, (start, header)) in (0u64..).zip(&self.frames) {
            out.extend_from_slice(&FrameHeader { number, ..*header }.encode(key));
            let payload = start + HEADER_BYTES;
            out.extend_from_slice(&self.bytes[payload..payload + header.payload_bytes as usize]);
        }
        self.frames.len() as u64
    }

    /// Forgets everything, because it is on disk.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.bytes.clear();
        self.bytes.shrink_to(UNSYNCED_BYTES_KEPT);
    }
}
