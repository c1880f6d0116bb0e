//! The chain of the manifest's entries, from the first file to the last.

use std::collections::BTreeMap;

use crate::disk::Folder;
use crate::layout;
use crate::manifest::entry::{self, Entry, FORMAT, SegmentEntry, State};
use crate::manifest::read::{ManifestError, numbers};
use crate::read::ReadError;
use crate::verify::{EntryAt, Fault, Note};

/// How often a manifest whose last line is incomplete is read again: a writer may be at it.
const ATTEMPTS: usize = 3;

/// What is said of a whole line that is wrong.
const CHANGED: &str = "its hash is not that of its content";

/// What is said of a line that was cut off.
const INCOMPLETE: &str = "it is incomplete, as a loss of power leaves it";

/// What the chain says.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) head: String,
    pub(super) entries: u64,
    pub(super) faults: Vec<Fault>,
    pub(super) notes: Vec<Note>,
    /// The segments that count, each with the entry that added it.
    pub(super) live: BTreeMap<String, (EntryAt, SegmentEntry)>,
}

/// Reads all manifest files in order.
pub(super) fn walk(dir: &Folder, wanted: Option<&str>) -> Result<Chain, ReadError> {
    let mut walked = Walk::read(dir, wanted).map_err(ReadError::Manifest)?;
    for _ in 1..ATTEMPTS {
        if walked.torn.is_none() {
            break;
        }
        walked = Walk::read(dir, wanted).map_err(ReadError::Manifest)?;
    }
    Ok(walked.finish(wanted))
}

/// The walk from entry to entry.
struct Walk<'a> {
    chain: Chain,
    state: State,
    /// Where each live segment was added.
    added: BTreeMap<String, EntryAt>,
    wanted: Option<&'a str>,
    found: bool,
    /// The bytes after the last whole line of the file before, which its successor must account
    /// for.
    torn: Option<(EntryAt, Vec<u8>)>,
}

impl<'a> Walk<'a> {
    fn read(dir: &Folder, wanted: Option<&'a str>) -> Result<Self, ManifestError> {
        let mut walk = Self {
            chain: Chain { head: entry::genesis(), ..Chain::default() },
            state: State::default(),
            added: BTreeMap::new(),
            wanted,
            found: wanted.is_none(),
            torn: None,
        };
        let mut expected = 1;
        for number in numbers(dir)? {
            if number != expected {
                let at = EntryAt { file: expected, line: 1 };
                walk.fault(at, "this manifest file is missing".to_owned());
            }
            expected = number + 1;
            let path = layout::manifest_path(dir.path(), number);
            let content = dir.read(&path);
            let content =
                content.map_err(|source| ManifestError::Read { path: path.clone(), source })?;
            if let Some(format) = walk.file(number, &content) {
                return Err(ManifestError::Newer { path, format });
            }
        }
        if expected == 1 {
            walk.fault(EntryAt { file: 1, line: 1 }, "the manifest is missing".to_owned());
        }
        Ok(walk)
    }

    fn fault(&mut self, at: EntryAt, detail: String) {
        self.chain.faults.push(Fault { at: Some(at), detail });
    }

    fn note(&mut self, at: EntryAt, detail: String) {
        self.chain.notes.push(Note { at: Some(at), detail });
    }

    /// Walks through a file; returns its format, if it is newer than this program's.
    fn file(&mut self, number: u64, content: &[u8]) -> Option<u32> {
        let torn = self.torn.take();
        let mut offset = 0;
        for (line, text) in (1..).zip(content.split_inclusive(|byte| *byte == b'\n')) {
            let at = EntryAt { file: number, line };
            let rest = content.get(offset..).unwrap_or_default();
            offset += text.len();
            if !text.ends_with(b"\n") {
                // Whole but for its last byte, it was changed and not cut off.
                if text.split_last().is_some_and(|(_, whole)| self.parse(whole, line).is_some()) {
                    self.fault(at, "its end was changed".to_owned());
                }
                self.torn = Some((at, rest.to_vec()));
                break;
            }
            match self.parse(text.strip_suffix(b"\n").unwrap_or(text), line) {
                Some((_, Entry::Checkpoint { format, .. })) if format > FORMAT => {
                    return Some(format);
                }
                Some((hash, entry)) => {
                    if line == 1 {
                        self.begin(at, &entry);
                    }
                    self.apply(at, hash, &entry);
                }
                None => {
                    self.torn = Some((at, rest.to_vec()));
                    break;
                }
            }
        }
        if let Some((at, bytes)) = torn {
            self.account(at, &bytes);
        }
        None
    }

    /// The hash and the entry of a line, if the hash is right.
    fn parse(&self, text: &[u8], line: u64) -> Option<(String, Entry)> {
        let (hash, json) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        let entry: Entry = serde_json::from_str(json).ok()?;
        let previous = match (&entry, line) {
            (Entry::Checkpoint { previous_head, .. }, 1) => previous_head,
            (Entry::Checkpoint { .. }, _) | (_, 1) => return None,
            _ => &self.chain.head,
        };
        (entry::hash(previous, json) == hash).then(|| (hash.to_owned(), entry))
    }

    /// Checks the checkpoint that opens a file against what came before it.
    fn begin(&mut self, at: EntryAt, entry: &Entry) {
        let Entry::Checkpoint { number, previous_head, .. } = entry else {
            return;
        };
        if *number != at.file {
            self.fault(at, format!("it says that it opens manifest/{number}"));
        }
        if *previous_head != self.chain.head {
            self.fault(at, "the entries before it are not those that it follows".to_owned());
            return;
        }
        let mut stated = State::default();
        stated.apply(entry);
        if stated.files != self.state.files {
            self.fault(at, "it names other segments than the entries before it".to_owned());
        }
    }

    fn apply(&mut self, at: EntryAt, hash: String, entry: &Entry) {
        self.state.apply(entry);
        let files = &self.state.files;
        self.added.retain(|path, _| files.contains_key(path));
        for path in files.keys() {
            if !self.added.contains_key(path) {
                self.added.insert(path.clone(), at);
            }
        }
        if let Entry::Recovered { what, kept: Some(kept), sha256: Some(sha256), .. } = entry {
            self.note(at, format!("{what}; {kept} holds the bytes, with SHA-256 {sha256}"));
        }
        self.found |= self.wanted == Some(hash.as_str());
        self.chain.head = hash;
        self.chain.entries += 1;
    }

    /// Judges what the file before this one ends with. An incomplete line that a `recovered` entry
    /// accounts for is what a crash leaves; a whole line that is wrong was changed, whatever came
    /// later.
    fn account(&mut self, at: EntryAt, bytes: &[u8]) {
        let sha256 = entry::hash_bytes(bytes);
        if bytes.contains(&b'\n') {
            self.fault(at, CHANGED.to_owned());
        } else if self.chain.notes.iter().any(|note| note.detail.contains(&sha256)) {
            // The note says where the bytes are kept.
        } else if self.torn.as_ref().is_some_and(|(_, rest)| rest.contains(&b'\n')) {
            // The entry that would account for it may be the broken one, which is told next.
            self.note(at, INCOMPLETE.to_owned());
        } else {
            self.fault(at, "it is incomplete, and no later entry accounts for that".to_owned());
        }
    }

    fn finish(mut self, wanted: Option<&str>) -> Chain {
        if let Some((at, bytes)) = self.torn.take() {
            if bytes.contains(&b'\n') {
                self.fault(at, CHANGED.to_owned());
            } else {
                self.note(at, INCOMPLETE.to_owned());
            }
        }
        if let Some(wanted) = wanted.filter(|_| !self.found) {
            let detail = format!(
                "the head {wanted} is not in the manifest: entries were cut off or changed since \
                 it was noted"
            );
            self.chain.faults.push(Fault { at: None, detail });
        }
        let mut live = BTreeMap::new();
        for (path, entry) in self.state.files {
            let at = self.added.get(&path).copied().unwrap_or(EntryAt { file: 0, line: 0 });
            live.insert(path, (at, entry));
        }
        self.chain.live = live;
        self.chain
    }
}
