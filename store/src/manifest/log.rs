//! Appending to the manifest.

use std::io;

use crate::disk::{DiskFile, Folder};
use crate::layout;
use crate::limits::MANIFEST_BYTES;
use crate::manifest::entry::{self, Entry, FORMAT, State};
use crate::manifest::read::{Manifest, ManifestError};
use crate::manifest::reserve;
use crate::segment::series::discard;

/// The manifest, held by the one writer.
#[derive(Debug)]
pub(crate) struct ManifestLog {
    dir: Folder,
    number: u64,
    /// The newest manifest file; `None` after a failed write.
    file: Option<Box<dyn DiskFile>>,
    /// Where its last entry that is on disk ends.
    bytes: u64,
    /// Whether something of a failed entry may be behind that.
    overrun: bool,
    /// Size of the checkpoint that opens the file, or would open a new one.
    checkpoint_bytes: u64,
    head: String,
    pub(crate) state: State,
}

impl ManifestLog {
    /// Goes on with the manifest that was read. One that does not end whole, or has an older
    /// format, is left as it is, and a new file is begun.
    pub(crate) fn open(dir: &Folder, manifest: Manifest) -> Result<Self, ManifestError> {
        let whole = manifest.is_whole() && manifest.format == FORMAT;
        let mut log = Self {
            dir: dir.clone(),
            number: manifest.position.number,
            file: None,
            bytes: manifest.position.bytes,
            overrun: false,
            checkpoint_bytes: 0,
            head: manifest.head,
            state: manifest.state,
        };
        if whole {
            let path = layout::manifest_path(dir.path(), log.number);
            let file = dir.append(&path);
            log.file = Some(file.map_err(|source| ManifestError::Write { path, source })?);
            let checkpoint = log.state.checkpoint(log.number, &log.head);
            log.checkpoint_bytes = encode(&log.head, &checkpoint).0.len() as u64;
        } else {
            log.begin_file()?;
        }
        Ok(log)
    }

    /// Sees to it that there is a file to append to. After a failed append this begins a new one:
    /// what a sync says of a file is not to be relied on after it has failed once (fsync(2)).
    pub(crate) fn make_ready(&mut self) -> Result<(), ManifestError> {
        if self.file.is_none() || self.bytes >= self.checkpoint_bytes + MANIFEST_BYTES {
            self.begin_file()?;
        }
        Ok(())
    }

    /// Appends an entry; it is on disk on return. One that fails is taken back.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<(), ManifestError> {
        self.make_ready()?;
        let (line, hash) = encode(&self.head, entry);
        let written = self.file.as_mut().map(|file| write_synced(file.as_mut(), &line));
        if let Some(Err(source)) = written {
            self.file = None;
            self.overrun = true;
            self.take_back();
            let path = layout::manifest_path(self.dir.path(), self.number);
            return Err(ManifestError::Write { path, source });
        }
        self.bytes += line.len() as u64;
        self.head = hash;
        self.state.apply(entry);
        Ok(())
    }

    /// Appends an entry that adds segments, or removes them when it cannot be: their names may
    /// not come again. Those of an entry that cannot be taken back stay, since it may count.
    pub(crate) fn append_or_discard(&mut self, entry: &Entry) -> Result<(), ManifestError> {
        let appended = self.append(entry);
        if appended.is_err()
            && !self.overrun
            && let Entry::Seal { files, .. } | Entry::Compact { files, .. } = entry
        {
            discard(&self.dir, files);
        }
        appended
    }

    /// Appends an entry after which files can be deleted. When the disk is full, it goes to a new
    /// file in the space set aside for it.
    pub(crate) fn append_for_room(&mut self, entry: &Entry) -> Result<(), ManifestError> {
        match self.append(entry) {
            Err(ManifestError::Write { source, .. }) if is_full(&source) => {
                self.append_in_reserve(entry)
            }
            appended => appended,
        }
    }

    /// Sets space aside for [`Self::append_for_room`], as far as it is not.
    pub(crate) fn keep_reserve(&self) -> io::Result<()> {
        reserve::keep(&self.dir, self.bytes)
    }

    /// Cuts off what a failed append has left behind the last entry, so that it neither counts nor
    /// breaks the chain. On a disk where this fails too it is tried again before anything follows.
    fn take_back(&mut self) {
        if !self.overrun {
            return;
        }
        let path = layout::manifest_path(self.dir.path(), self.number);
        let cut = || {
            // Never made longer: it may have been changed by another hand.
            if self.dir.bytes(&path)? > self.bytes {
                let file = self.dir.open_in_place(&path)?;
                file.set_len(self.bytes)?;
                file.sync()?;
            }
            Ok::<(), io::Error>(())
        };
        match cut() {
            Ok(()) => self.overrun = false,
            Err(error) => {
                tracing::warn!(error = %error, "A manifest entry that failed may still be on disk");
            }
        }
    }

    fn append_in_reserve(&mut self, entry: &Entry) -> Result<(), ManifestError> {
        let (number, checkpoint, hash) = self.next_file();
        let (line, hash) = encode(&hash, entry);
        let lines = checkpoint.clone() + &line;
        let path = layout::manifest_path(self.dir.path(), number);
        match reserve::turn_into(&self.dir, &path, lines.as_bytes()) {
            Ok(file) => self.go_on_in(number, file, hash, lines.len(), checkpoint.len()),
            Err(source) => return Err(ManifestError::Write { path, source }),
        }
        self.state.apply(entry);
        Ok(())
    }

    /// Begins the next manifest file with a checkpoint of all that counts.
    fn begin_file(&mut self) -> Result<(), ManifestError> {
        let (number, checkpoint, hash) = self.next_file();
        let path = layout::manifest_path(self.dir.path(), number);
        match self.dir.create_durable(&path, checkpoint.as_bytes()) {
            Ok(file) => self.go_on_in(number, file, hash, checkpoint.len(), checkpoint.len()),
            Err(source) => return Err(ManifestError::Write { path, source }),
        }
        Ok(())
    }

    /// The number of the next manifest file, its checkpoint and the hash of that.
    fn next_file(&mut self) -> (u64, String, String) {
        self.take_back();
        let number = self.number + 1;
        let (line, hash) = encode(&self.head, &self.state.checkpoint(number, &self.head));
        (number, line, hash)
    }

    fn go_on_in(
        &mut self,
        number: u64,
        file: Box<dyn DiskFile>,
        head: String,
        bytes: usize,
        checkpoint_bytes: usize,
    ) {
        (self.number, self.file, self.head) = (number, Some(file), head);
        (self.bytes, self.checkpoint_bytes) = (bytes as u64, checkpoint_bytes as u64);
        self.overrun = false;
    }
}

/// Whether a write failed for want of space.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The line of an entry, and its hash.
fn encode(previous: &str, entry: &Entry) -> (String, String) {
    #[expect(clippy::expect_used, reason = "an entry is plain text and numbers")]
    let json = serde_json::to_string(entry).expect("an entry has only text keys");
    let hash = entry::hash(previous, &json);
    (format!("{hash} {json}\n"), hash)
}

fn write_synced(file: &mut dyn DiskFile, line: &str) -> io::Result<()> {
    file.write_all(line.as_bytes())?;
    file.sync()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::manifest::entry::SegmentEntry;
    use crate::manifest::read::{self, Ending};

    fn file(table: u64, level: u32, number: u64) -> SegmentEntry {
        let table = format!("table_{table}_events");
        let time = 1_764_000_000_000_000_000 + number as i64 * 1_000_000_000;
        SegmentEntry {
            path: layout::segment_name(&table, false, level, number, 0),
            table,
            level,
            late: false,
            first_journal: number,
            journal: number,
            sha256: "0123456789abcdef".repeat(4),
            bytes: 12_345_678,
            rows: 345_678,
            first_eid: number as i64 * 100_000,
            last_eid: number as i64 * 100_000 + 99_999,
            min_time_ns: time,
            max_time_ns: time + 999_999_999,
            sealed_ns: time + 2_000_000_000,
        }
    }

    /// Entries as a store of four tables has them: twelve seals, then merges; some 700 segments
    /// count at any time. Deletions are not part of the manifest.
    fn entries(log: &mut ManifestLog, count: u64) {
        let (mut written, mut journal) = (0, 0);
        while written < count {
            for _ in 0..12 {
                journal += 1;
                let files = (0..4).map(|table| file(table, 0, journal)).collect();
                log.append(&Entry::Seal { first_journal: journal, journal, files }).unwrap();
                written += 1;
            }
            for table in 0..4 {
                let old = (journal - 11..=journal).map(|number| file(table, 0, number).path);
                let entry = Entry::Compact {
                    at_ns: 1,
                    number: journal,
                    removes: old.collect(),
                    files: vec![file(table, 1, journal)],
                };
                log.append(&entry).unwrap();
                written += 1;
            }
            log.state.removed.clear();
            let over = log.state.files.len().saturating_sub(700);
            if over > 40 {
                let removes = log.state.files.keys().take(over).cloned().collect();
                log.append(&Entry::Expire { at_ns: 1, removes }).unwrap();
                written += 1;
            }
        }
    }

    /// Only the newest file is read, and it stays small: opening takes as long after many entries as
    /// after few. In an optimized build it took 6 ms.
    #[test]
    fn a_hundred_thousand_entries_are_as_quick_to_read_as_a_few() {
        // In memory where that is possible: each entry is synced.
        let memory = std::path::Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let dir = tempfile::tempdir_in(place).unwrap();
        let folder = Folder::real(dir.path());
        folder.create_dir_private(&layout::manifest_dir(dir.path())).unwrap();
        let manifest = read::read(&folder).unwrap();
        let mut log = ManifestLog::open(&folder, manifest).unwrap();
        entries(&mut log, 100_000);
        let begun = Instant::now();
        let manifest = read::read(&folder).unwrap();
        let took = begun.elapsed();
        assert_eq!((manifest.ending, &manifest.head), (Ending::Whole, &log.head));
        assert_eq!(manifest.state.files, log.state.files);
        assert!(manifest.number > 20, "file {}", manifest.number);
        let bytes = manifest.position.bytes;
        assert!(bytes < 2 * MANIFEST_BYTES, "{bytes} bytes");
        // A closer bound would fail on a busy machine.
        if !cfg!(debug_assertions) {
            assert!(took.as_millis() < 100, "{took:?}");
        }
    }
}
