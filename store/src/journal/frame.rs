//! A frame: rows of one table behind a header of 64 bytes.
//!
//! All integers are little-endian:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | magic `BYFR` |
//! | 4 | 4 | payload length |
//! | 8 | 8 | frame number, from 0 |
//! | 16 | 2 | table, an index into the journal's schema |
//! | 18 | 2 | zero |
//! | 20 | 4 | row count |
//! | 24 | 8 | first eid; the others follow one by one |
//! | 32 | 8 | smallest `time_ns` |
//! | 40 | 8 | largest `time_ns` |
//! | 48 | 8 | clock offset: boot-time nanoseconds plus it is real time |
//! | 56 | 4 | CRC-32C of the payload |
//! | 60 | 4 | CRC-32C of (salt, journal number, the 60 bytes before) |

use crate::bytes::Bytes;
use crate::limits::{FRAME_ROWS_MAX, PAYLOAD_BYTES_MAX};

/// Bytes of a frame's header.
pub(crate) const HEADER_BYTES: usize = 64;

/// The first bytes of every frame.
pub(crate) const MAGIC: [u8; 4] = *b"BYFR";

/// What only the journal knows: a frame's header is valid in one journal alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JournalKey {
    pub(crate) number: u64,
    pub(crate) salt: [u8; 16],
}

impl JournalKey {
    fn header_crc(&self, header: &[u8]) -> u32 {
        let crc = crc32c::crc32c(&self.salt);
        let crc = crc32c::crc32c_append(crc, &self.number.to_le_bytes());
        crc32c::crc32c_append(crc, header)
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) payload_bytes: u32,
    pub(crate) number: u64,
    pub(crate) table: u16,
    pub(crate) rows: u32,
    pub(crate) first_eid: i64,
    pub(crate) min_time_ns: i64,
    pub(crate) max_time_ns: i64,
    pub(crate) clock_offset_ns: i64,
    pub(crate) payload_crc: u32,
}

impl FrameHeader {
    /// Bytes of the whole frame.
    pub(crate) const fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + self.payload_bytes as u64
    }

    /// The largest eid.
    pub(crate) fn last_eid(&self) -> i64 {
        self.first_eid.saturating_add(i64::from(self.rows) - 1)
    }

    pub(crate) fn encode(&self, key: &JournalKey) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&MAGIC);
        put(&self.payload_bytes.to_le_bytes());
        put(&self.number.to_le_bytes());
        put(&self.table.to_le_bytes());
        put(&[0, 0]);
        put(&self.rows.to_le_bytes());
        put(&self.first_eid.to_le_bytes());
        put(&self.min_time_ns.to_le_bytes());
        put(&self.max_time_ns.to_le_bytes());
        put(&self.clock_offset_ns.to_le_bytes());
        put(&self.payload_crc.to_le_bytes());
        let crc = key.header_crc(&out[..HEADER_BYTES - 4]);
        out[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header; `None` unless it is whole, of this journal and within the limits.
    pub(crate) fn decode(bytes: &[u8], key: &JournalKey) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let mut cursor = Bytes(bytes);
        if cursor.array().ok()? != MAGIC {
            return None;
        }
        let (covered, crc) = bytes.split_last_chunk()?;
        if key.header_crc(covered) != u32::from_le_bytes(*crc) {
            return None;
        }
        let header = Self::decode_fields(&mut cursor)?;
        let valid = header.rows > 0
            && header.rows <= FRAME_ROWS_MAX
            && header.payload_bytes as usize <= PAYLOAD_BYTES_MAX
            && header.min_time_ns <= header.max_time_ns
            && header.first_eid > 0
            && header.first_eid.checked_add(i64::from(header.rows)).is_some();
        valid.then_some(header)
    }

    fn decode_fields(cursor: &mut Bytes<'_>) -> Option<Self> {
        let payload_bytes = cursor.u32().ok()?;
        let number = cursor.u64().ok()?;
        let table = cursor.u16().ok()?;
        cursor.u16().ok()?;
        Some(Self {
            payload_bytes,
            number,
            table,
            rows: cursor.u32().ok()?,
            first_eid: cursor.i64().ok()?,
            min_time_ns: cursor.i64().ok()?,
            max_time_ns: cursor.i64().ok()?,
            clock_offset_ns: cursor.i64().ok()?,
            payload_crc: cursor.u32().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: JournalKey = JournalKey { number: 7, salt: *b"0123456789abcdef" };

    fn header() -> FrameHeader {
        FrameHeader {
            payload_bytes: 300,
            number: 5,
            table: 2,
            rows: 3,
            first_eid: 1_000_001,
            min_time_ns: -5,
            max_time_ns: 1_764_000_000_000_000_000,
            clock_offset_ns: -7,
            payload_crc: 0xdead_beef,
        }
    }

    #[test]
    fn comes_back() {
        assert_eq!(FrameHeader::decode(&header().encode(&KEY), &KEY), Some(header()));
        assert_eq!((header().frame_bytes(), header().last_eid()), (364, 1_000_003));
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let encoded = header().encode(&KEY);
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = encoded;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(&damaged, &KEY), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_journal_is_refused() {
        let encoded = header().encode(&KEY);
        let other_salt = JournalKey { salt: [9; 16], ..KEY };
        let other_number = JournalKey { number: 8, ..KEY };
        assert_eq!(FrameHeader::decode(&encoded, &other_salt), None);
        assert_eq!(FrameHeader::decode(&encoded, &other_number), None);
    }
}
