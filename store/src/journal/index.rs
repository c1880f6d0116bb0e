//! Finding the frames of a journal.
//!
//! [`FrameIndex`] walks from header to header. After a damaged header it looks byte by byte for
//! the next valid one, which the salt makes unmistakable. It can be extended when the file has
//! grown; it never reads beyond the end it was given, and payloads not at all.

use std::io;

use crate::disk::{self, DiskFile};
use crate::journal::frame::{FrameHeader, HEADER_BYTES, JournalKey, MAGIC};

/// Bytes read at a time while walking.
const WINDOW_BYTES: usize = 64 << 10;

/// A frame and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameAt {
    /// Offset of the header in the file.
    pub(crate) offset: u64,
    pub(crate) header: FrameHeader,
}

/// A stretch of a journal that holds no valid frame, with valid frames after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Frames that are missing.
    pub(crate) frames: u64,
    /// Bounds of their times as far as the neighbours tell, in nanoseconds since the Unix epoch.
    pub(crate) time_ns: (i64, i64),
}

/// The frames of one journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FrameIndex {
    pub(crate) frames: Vec<FrameAt>,
    pub(crate) holes: Vec<Hole>,
    /// Offset behind the last valid frame: here the walk goes on.
    pub(crate) end: u64,
    /// Offset up to which the file was looked at.
    pub(crate) seen: u64,
    next_number: u64,
}

impl FrameIndex {
    /// An index of nothing; frames begin at `offset`.
    pub(crate) const fn new(offset: u64) -> Self {
        Self { frames: Vec::new(), holes: Vec::new(), end: offset, seen: offset, next_number: 0 }
    }

    /// Adds the frames that lie whole before `limit`.
    pub(crate) fn extend(
        &mut self,
        file: &dyn DiskFile,
        key: &JournalKey,
        limit: u64,
    ) -> io::Result<()> {
        let mut window = Window { file, limit, start: 0, bytes: Vec::new() };
        let mut offset = self.end;
        loop {
            match self.frame_at(&mut window, key, offset)? {
                Some(header) => {
                    self.push(offset, header);
                    offset = self.end;
                }
                None => match self.find(&mut window, key, offset + 1)? {
                    Some(next) => offset = next,
                    None => break,
                },
            }
        }
        self.seen = self.seen.max(limit);
        Ok(())
    }

    fn push(&mut self, offset: u64, header: FrameHeader) {
        if offset > self.end {
            self.holes.push(Hole {
                offset: self.end,
                bytes: offset - self.end,
                frames: header.number.saturating_sub(self.next_number),
                time_ns: (
                    self.frames.last().map_or(header.min_time_ns, |last| last.header.max_time_ns),
                    header.min_time_ns,
                ),
            });
        }
        self.next_number = header.number.saturating_add(1);
        self.end = offset + header.frame_bytes();
        self.frames.push(FrameAt { offset, header });
    }

    /// The frame at `offset` if it is valid, not an earlier one, and lies whole before the limit.
    fn frame_at(
        &self,
        window: &mut Window<'_>,
        key: &JournalKey,
        offset: u64,
    ) -> io::Result<Option<FrameHeader>> {
        let bytes = window.at(offset, HEADER_BYTES)?;
        let header = FrameHeader::decode(bytes, key).filter(|header| {
            let end = offset.checked_add(header.frame_bytes());
            header.number >= self.next_number && end.is_some_and(|end| end <= window.limit)
        });
        Ok(header)
    }

    /// The offset of the next valid frame from `offset` on.
    fn find(
        &self,
        window: &mut Window<'_>,
        key: &JournalKey,
        mut offset: u64,
    ) -> io::Result<Option<u64>> {
        loop {
            let bytes = window.at(offset, HEADER_BYTES)?;
            if bytes.len() < HEADER_BYTES {
                return Ok(None);
            }
            let hit = bytes.windows(MAGIC.len()).position(|four| four == MAGIC);
            let Some(skip) = hit else {
                offset += (bytes.len() - MAGIC.len() + 1) as u64;
                continue;
            };
            offset += skip as u64;
            if self.frame_at(window, key, offset)?.is_some() {
                return Ok(Some(offset));
            }
            offset += 1;
        }
    }
}

/// A part of the file in memory.
struct Window<'a> {
    file: &'a dyn DiskFile,
    limit: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes from `offset` on, at least `count` of them unless the limit comes before.
    fn at(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        let wanted_end = offset.saturating_add(count as u64).min(self.limit);
        if offset < self.start || wanted_end > end {
            let length = self.limit.saturating_sub(offset).min(WINDOW_BYTES as u64) as usize;
            self.bytes.resize(length, 0);
            let filled = disk::read_at(self.file, offset, &mut self.bytes)?;
            self.bytes.truncate(filled);
            self.start = offset;
        }
        let skip = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(skip..).unwrap_or_default())
    }
}
