//! A small file with two checksummed slots, for a value that is written again and again.
//!
//! Each write goes to the slot that holds the older value, so that a write cut short leaves the
//! other one. The file never grows.
//!
//! Slot: magic `BYS1` (4 bytes), CRC-32C of what follows (4), sequence number (8), length (4), the
//! value in JSON. Integers are little-endian.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bytes::{Bytes, Malformed};
use crate::disk::{self, DiskFile, Folder};
use crate::limits::SLOT_BYTES;

const MAGIC: [u8; 4] = *b"BYS1";

/// Bytes before the value.
const PREFIX_BYTES: usize = 20;

/// Why a two-slot file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SlotsError {
    /// The file cannot be opened.
    #[error("cannot open {path}", path = .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {path}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written or synced.
    #[error("cannot write {path}", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The value is too long for a slot.
    #[error("{path} cannot hold {bytes} bytes", path = .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Length of the value.
        bytes: usize,
    },
}

/// What a two-slot file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored<V> {
    /// The file is not there, or empty.
    Nothing,
    /// There is a file, but neither slot is valid.
    Damaged,
    /// The newest value.
    Value(V),
}

/// Writes a two-slot file.
#[derive(Debug)]
pub(crate) struct Slots {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    sequence: u64,
}

impl Slots {
    /// Opens the file, creating it when it is missing, and reads its value.
    pub(crate) fn open<V: DeserializeOwned>(
        dir: &Folder,
        path: &Path,
    ) -> Result<(Self, Stored<V>), SlotsError> {
        let path = path.to_path_buf();
        let file = dir
            .open_in_place(&path)
            .map_err(|source| SlotsError::Open { path: path.clone(), source })?;
        let (sequence, stored) = read(file.as_ref())
            .map_err(|source| SlotsError::Read { path: path.clone(), source })?;
        Ok((Self { path, file, sequence }, stored))
    }

    /// Replaces the value; it is on disk on return. After an error the value before it stands.
    pub(crate) fn write<V: Serialize>(&mut self, value: &V) -> Result<(), SlotsError> {
        let failed = |source| SlotsError::Write { path: self.path.clone(), source };
        let value = serde_json::to_vec(value).map_err(|error| failed(error.into()))?;
        if value.len() > SLOT_BYTES - PREFIX_BYTES {
            return Err(SlotsError::TooLong { path: self.path.clone(), bytes: value.len() });
        }
        let sequence = self.sequence + 1;
        let slot = encode(sequence, &value);
        self.file.write_all_at(slot_offset(sequence), &slot).map_err(failed)?;
        self.file.sync().map_err(failed)?;
        self.sequence = sequence;
        Ok(())
    }
}

/// Reads the value of a file that may be missing.
pub(crate) fn read_path<V: DeserializeOwned>(
    dir: &Folder,
    path: &Path,
) -> Result<Stored<V>, SlotsError> {
    let file = match dir.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::Nothing),
        Err(source) => {
            return Err(SlotsError::Open { path: path.to_path_buf(), source });
        }
    };
    match read(file.as_ref()) {
        Ok((_, stored)) => Ok(stored),
        Err(source) => Err(SlotsError::Read { path: path.to_path_buf(), source }),
    }
}

const fn slot_offset(sequence: u64) -> u64 {
    (sequence & 1) * SLOT_BYTES as u64
}

fn encode(sequence: u64, value: &[u8]) -> Vec<u8> {
    let mut covered = sequence.to_le_bytes().to_vec();
    covered.extend_from_slice(&(value.len() as u32).to_le_bytes());
    covered.extend_from_slice(value);
    let mut slot = MAGIC.to_vec();
    slot.extend_from_slice(&crc32c::crc32c(&covered).to_le_bytes());
    slot.extend_from_slice(&covered);
    slot
}

/// The newest valid value and its sequence number.
fn read<V: DeserializeOwned>(file: &dyn DiskFile) -> io::Result<(u64, Stored<V>)> {
    let mut newest = None;
    let mut bytes_seen = 0;
    for index in 0..2 {
        let mut slot = vec![0; SLOT_BYTES];
        bytes_seen += disk::read_at(file, slot_offset(index), &mut slot)?;
        if let Ok((sequence, value)) = decode(&slot)
            && newest.as_ref().is_none_or(|(newest, _)| sequence > *newest)
            && let Ok(value) = serde_json::from_slice(value)
        {
            newest = Some((sequence, value));
        }
    }
    Ok(match newest {
        Some((sequence, value)) => (sequence, Stored::Value(value)),
        None if bytes_seen == 0 => (0, Stored::Nothing),
        None => (0, Stored::Damaged),
    })
}

fn decode(slot: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let mut bytes = Bytes(slot);
    if bytes.array()? != MAGIC {
        return Err(Malformed::Range);
    }
    let crc = bytes.u32()?;
    let mut covered = bytes;
    let sequence = bytes.u64()?;
    let length = bytes.u32()? as usize;
    let value = bytes.take(length)?;
    if crc32c::crc32c(covered.take(length + 12)?) != crc {
        return Err(Malformed::Range);
    }
    Ok((sequence, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_value_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::real(dir.path());
        let path = dir.path().join("value");
        assert_eq!(read_path::<u32>(&folder, &path).unwrap(), Stored::Nothing);
        let (mut slots, stored) = Slots::open::<u32>(&folder, &path).unwrap();
        assert_eq!(stored, Stored::Nothing);
        for value in 1..=5u32 {
            slots.write(&value).unwrap();
            assert_eq!(read_path(&folder, &path).unwrap(), Stored::Value(value));
        }
        // A write cut short at any byte leaves the value before it.
        let whole = std::fs::read(&path).unwrap();
        let next = encode(6, b"6");
        for cut in 0..next.len() {
            let mut torn = whole.clone();
            torn[..cut].copy_from_slice(&next[..cut]);
            std::fs::write(&path, &torn).unwrap();
            let expected = Stored::Value(5u32);
            assert_eq!(read_path(&folder, &path).unwrap(), expected, "cut at {cut}");
        }
        let (mut slots, stored) = Slots::open::<u32>(&folder, &path).unwrap();
        assert_eq!(stored, Stored::Value(5));
        slots.write(&6u32).unwrap();
        assert_eq!(read_path(&folder, &path).unwrap(), Stored::Value(6u32));
    }

    #[test]
    fn damage_to_both_is_told_from_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::real(dir.path());
        let path = dir.path().join("value");
        std::fs::write(&path, b"BYS1 but no more").unwrap();
        assert_eq!(read_path::<u32>(&folder, &path).unwrap(), Stored::Damaged);
    }

    #[test]
    fn a_value_too_long_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::real(dir.path());
        let (mut slots, _) = Slots::open::<String>(&folder, &dir.path().join("value")).unwrap();
        let error = slots.write(&"x".repeat(SLOT_BYTES)).unwrap_err();
        assert!(matches!(error, SlotsError::TooLong { .. }), "{error}");
    }
}
