//! The entries of the manifest, their hashes, and the state that they add up to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::layout;

/// The format written, and the newest one read. Format 1 knew neither `compact` nor `expire`.
pub(crate) const FORMAT: u32 = 2;

/// A segment as the manifest knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// Path relative to the data folder.
    pub path: String,
    /// The table.
    pub table: String,
    /// How far its rows were merged: 0 for those of sealed journals, 1 for about an hour's, 2 for
    /// about a day's.
    pub level: u32,
    /// Whether its rows are far out of time: they came long after, or before, they happened.
    #[serde(default, skip_serializing_if = "is_false")]
    pub late: bool,
    /// The first journal whose rows it may hold; 0 when that is `journal`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub first_journal: u64,
    /// The last journal whose rows it may hold.
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
    /// When the last of its rows was sealed, in nanoseconds since the Unix epoch; 0 when that is
    /// unknown.
    #[serde(default)]
    pub sealed_ns: i64,
}

impl SegmentEntry {
    /// What counts as the age of its newest row, in nanoseconds since the Unix epoch: a row whose
    /// time lies in the future is not kept for ever.
    #[must_use]
    pub fn newest_ns(&self) -> i64 {
        if self.sealed_ns == 0 { self.max_time_ns } else { self.max_time_ns.min(self.sealed_ns) }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A file that no longer counts and is still there, for readers that pinned it before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Removed {
    /// Path relative to the data folder.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// When it was removed, in nanoseconds since the Unix epoch.
    pub(crate) at_ns: i64,
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
        /// Number for the files of the next merge.
        #[serde(default)]
        next_number: u64,
        files: Vec<SegmentEntry>,
        /// Files that wait to be deleted.
        #[serde(default)]
        removed: Vec<Removed>,
    },
    /// Journals were replaced by segments.
    Seal {
        /// The first of them; 0 when it is the last.
        #[serde(default, skip_serializing_if = "is_zero")]
        first_journal: u64,
        /// The last of them.
        journal: u64,
        files: Vec<SegmentEntry>,
    },
    /// Segments were replaced by others that hold the same rows.
    Compact {
        /// When, in nanoseconds since the Unix epoch.
        at_ns: i64,
        /// Number that the new files have.
        number: u64,
        /// Paths of those that were replaced.
        removes: Vec<String>,
        files: Vec<SegmentEntry>,
    },
    /// Segments were given up, because of their age or for want of space.
    Expire {
        /// When, in nanoseconds since the Unix epoch.
        at_ns: i64,
        removes: Vec<String>,
    },
    /// Something was found wrong when the store was opened, and what was done about it.
    Recovered {
        what: String,
        /// Where the damaged bytes are kept, relative to the data folder.
        kept: Option<String>,
        /// SHA-256 of those bytes, in hexadecimal.
        sha256: Option<String>,
        /// Segments that were adopted.
        files: Vec<SegmentEntry>,
        /// Paths of segments that no longer count: they are gone, or adopted ones replace them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        removes: Vec<String>,
    },
}

/// What the entries add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Every journal up to this number is sealed, or was never there.
    pub(crate) sealed_through: u64,
    /// Number for the files of the next merge: greater than any that was used.
    pub(crate) next_number: u64,
    /// Segments by path.
    pub(crate) files: BTreeMap<String, SegmentEntry>,
    /// Files that wait to be deleted, in the order in which they were removed. Some may be gone.
    pub(crate) removed: Vec<Removed>,
}

impl State {
    pub(crate) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Checkpoint { sealed_through, next_number, files, removed, .. } => {
                self.sealed_through = *sealed_through;
                self.next_number = *next_number;
                self.files.clear();
                self.removed.clone_from(removed);
                self.add(files);
            }
            Entry::Seal { journal, files, .. } => {
                self.sealed_through = self.sealed_through.max(*journal);
                self.add(files);
            }
            Entry::Compact { at_ns, number, removes, files } => {
                self.next_number = self.next_number.max(number + 1);
                self.remove(removes, *at_ns);
                self.add(files);
            }
            Entry::Expire { at_ns, removes } => self.remove(removes, *at_ns),
            Entry::Recovered { files, removes, .. } => {
                for path in removes {
                    self.files.remove(path);
                }
                self.add(files);
            }
        }
    }

    pub(crate) fn add(&mut self, files: &[SegmentEntry]) {
        for file in files {
            self.sealed_through = self.sealed_through.max(file.journal);
            if let Some((1.., number)) = layout::segment_number(&file.path) {
                self.next_number = self.next_number.max(number.saturating_add(1));
            }
            self.files.insert(file.path.clone(), file.clone());
        }
    }

    /// The instant of an entry that removes files now: one that no other has, so that each entry's
    /// files can be told apart.
    pub(crate) fn next_removal(&self, now_ns: i64) -> i64 {
        let taken = |at_ns| self.removed.iter().any(|file| file.at_ns == at_ns);
        (now_ns..=i64::MAX).find(|at_ns| !taken(*at_ns)).unwrap_or(now_ns)
    }

    fn remove(&mut self, paths: &[String], at_ns: i64) {
        for path in paths {
            if let Some(SegmentEntry { path, bytes, .. }) = self.files.remove(path) {
                self.removed.push(Removed { path, bytes, at_ns });
            }
        }
    }

    pub(crate) fn checkpoint(&self, number: u64, previous_head: &str) -> Entry {
        Entry::Checkpoint {
            format: FORMAT,
            number,
            previous_head: previous_head.to_owned(),
            sealed_through: self.sealed_through,
            next_number: self.next_number,
            files: self.files.values().cloned().collect(),
            removed: self.removed.clone(),
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
