//! A journal's header: who wrote it, when, and what the rows look like.
//!
//! Little-endian: magic `BYGONE-J` (8 bytes), format (4), length of the body (4), CRC-32C of the
//! twelve bytes from the format on with the CRC left out and of the body (4); then the body:
//! journal number (8), salt (16), boot id (16), creation in nanoseconds since the Unix epoch (8),
//! end of the journal before (8), and the schema of every table ([`crate::wire`]).
//!
//! The twenty bytes before the body stay as they are in every format, so that a newer format is
//! told from damage.

use crate::bytes::{Bytes, Malformed};
use crate::journal::frame::JournalKey;
use crate::limits::JOURNAL_HEADER_BYTES_MAX;
use crate::wire::{self, WireTable};

/// The first bytes of a journal.
const MAGIC: [u8; 8] = *b"BYGONE-J";

/// The format written, and the newest one read.
const FORMAT: u32 = 1;

/// Bytes before the header's body.
pub(crate) const PREFIX_BYTES: usize = 20;

/// The header of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JournalHeader {
    pub(crate) key: JournalKey,
    pub(crate) boot_id: [u8; 16],
    /// Creation, in nanoseconds since the Unix epoch.
    pub(crate) created_ns: i64,
    /// Where the journal before this one ends: what follows there was written again to this one.
    /// `u64::MAX` when all of it counts.
    pub(crate) previous_end: u64,
    pub(crate) tables: Vec<WireTable>,
}

/// Why a journal's header cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("it is not a journal")]
    Magic,
    #[error("its format {0} is newer than this program's {FORMAT}")]
    Newer(u32),
    #[error("its header is {0} bytes long, which is over the limit")]
    Length(usize),
    #[error("its header is damaged")]
    Checksum,
    #[error("its header cannot be decoded")]
    Malformed(#[source] Malformed),
}

impl From<Malformed> for HeaderError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl JournalHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&self.key.number.to_le_bytes());
        body.extend_from_slice(&self.key.salt);
        body.extend_from_slice(&self.boot_id);
        body.extend_from_slice(&self.created_ns.to_le_bytes());
        body.extend_from_slice(&self.previous_end.to_le_bytes());
        wire::encode_tables(&self.tables, &mut body);

        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&checksum(FORMAT, &body).to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// Length of the body, from the first [`PREFIX_BYTES`] of the file.
    pub(crate) fn body_bytes(prefix: &[u8]) -> Result<usize, HeaderError> {
        Ok(Prefix::decode(&mut Bytes(prefix))?.body_bytes)
    }

    /// Reads a header from the start of `bytes`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut cursor = Bytes(bytes);
        let prefix = Prefix::decode(&mut cursor)?;
        let body = cursor.take(prefix.body_bytes)?;
        if checksum(prefix.format, body) != prefix.crc {
            return Err(HeaderError::Checksum);
        }
        if prefix.format > FORMAT {
            return Err(HeaderError::Newer(prefix.format));
        }
        let mut body = Bytes(body);
        Ok(Self {
            key: JournalKey { number: body.u64()?, salt: body.array()? },
            boot_id: body.array()?,
            created_ns: body.i64()?,
            previous_end: body.u64()?,
            tables: wire::decode_tables(body)?,
        })
    }
}

struct Prefix {
    format: u32,
    body_bytes: usize,
    crc: u32,
}

impl Prefix {
    fn decode(cursor: &mut Bytes<'_>) -> Result<Self, HeaderError> {
        if cursor.array()? != MAGIC {
            return Err(HeaderError::Magic);
        }
        let format = cursor.u32()?;
        let body_bytes = cursor.u32()? as usize;
        if body_bytes > JOURNAL_HEADER_BYTES_MAX {
            return Err(HeaderError::Length(body_bytes));
        }
        Ok(Self { format, body_bytes, crc: cursor.u32()? })
    }
}

fn checksum(format: u32, body: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&format.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &(body.len() as u32).to_le_bytes());
    crc32c::crc32c_append(crc, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::SMALL;

    fn header() -> JournalHeader {
        JournalHeader {
            key: JournalKey { number: 3, salt: [7; 16] },
            boot_id: [1; 16],
            created_ns: 1_764_000_000_000_000_000,
            previous_end: u64::MAX,
            tables: vec![WireTable::of(SMALL).unwrap()],
        }
    }

    #[test]
    fn comes_back_and_any_damage_is_an_error() {
        let encoded = header().encode();
        assert_eq!(JournalHeader::decode(&encoded).unwrap(), header());
        assert_eq!(JournalHeader::body_bytes(&encoded).unwrap(), encoded.len() - PREFIX_BYTES);
        for index in 0..encoded.len() {
            let mut damaged = encoded.clone();
            damaged[index] ^= 0x10;
            assert!(JournalHeader::decode(&damaged).is_err(), "byte {index}");
            assert!(JournalHeader::decode(&encoded[..index]).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_in_words() {
        let mut encoded = header().encode();
        encoded[8] = 2;
        let crc = checksum(2, &encoded[PREFIX_BYTES..]);
        encoded[PREFIX_BYTES - 4..PREFIX_BYTES].copy_from_slice(&crc.to_le_bytes());
        let error = JournalHeader::decode(&encoded).unwrap_err();
        assert_eq!(error.to_string(), "its format 2 is newer than this program's 1");
    }
}
