//! The entries of the manifest, their hashes, and the state that they add up to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The format written, and the newest one read.
pub(crate) const FORMAT: u32 = 1;

/// A segment as the manifest knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// Path relative to the data folder.
    pub path: String,
    /// The table.
    pub table: String,
    /// How often its rows were merged; 0 for a sealed journal's.
    pub level: u32,
    /// The journal that it was sealed from.
    pub journal: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Rows in it.
    pub rows: u64,
    /// Smallest eid.
    pub first_eid: i64,
    /// Largest eid.
    pub last_eid: i64,
    /// Smallest time, in nanoseconds since the Unix epoch.
    pub min_time_ns: i64,
    /// Largest time, in nanoseconds since the Unix epoch.
    pub max_time_ns: i64,
}

/// One step of the store's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// Opens a manifest file: everything that counts.
    Checkpoint {
        format: u32,
        /// Number of this manifest file.
        number: u64,
        /// Hash of the last trusted entry of the manifest file before.
        previous_head: String,
        sealed_through: u64,
        files: Vec<SegmentEntry>,
    },
    /// A journal was replaced by segments.
    Seal { journal: u64, files: Vec<SegmentEntry> },
    /// Something was found wrong when the store was opened, and what was done about it.
    Recovered {
        what: String,
        /// Where the damaged bytes are kept, relative to the data folder.
        kept: Option<String>,
        /// SHA-256 of those bytes, in hexadecimal.
        sha256: Option<String>,
        /// Segments that were adopted.
        files: Vec<SegmentEntry>,
    },
}

/// What the entries add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Every journal up to this number is sealed, or was never there.
    pub(crate) sealed_through: u64,
    /// Segments by path.
    pub(crate) files: BTreeMap<String, SegmentEntry>,
}

impl State {
    pub(crate) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Checkpoint { sealed_through, files, .. } => {
                self.sealed_through = *sealed_through;
                self.files.clear();
                self.add(files);
            }
            Entry::Seal { journal, files } => {
                self.sealed_through = self.sealed_through.max(*journal);
                self.add(files);
            }
            Entry::Recovered { files, .. } => self.add(files),
        }
    }

    pub(crate) fn add(&mut self, files: &[SegmentEntry]) {
        for file in files {
            self.sealed_through = self.sealed_through.max(file.journal);
            self.files.insert(file.path.clone(), file.clone());
        }
    }

    pub(crate) fn checkpoint(&self, number: u64, previous_head: &str) -> Entry {
        Entry::Checkpoint {
            format: FORMAT,
            number,
            previous_head: previous_head.to_owned(),
            sealed_through: self.sealed_through,
            files: self.files.values().cloned().collect(),
        }
    }
}

/// The hash before the first entry of all.
pub(crate) fn genesis() -> String {
    "0".repeat(64)
}

/// Hash of an entry, from the hash before it and its JSON.
pub(crate) fn hash(previous: &str, json: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(previous);
    hasher.update(" ");
    hasher.update(json);
    hex(&hasher.finalize())
}

/// SHA-256 of bytes, in hexadecimal.
pub(crate) fn hash_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('?'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('?'));
        text
    })
}
