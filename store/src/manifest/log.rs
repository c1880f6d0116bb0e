//! Appending to the manifest.

use std::io;

use crate::disk::{DiskFile, Folder};
use crate::layout;
use crate::limits::MANIFEST_BYTES;
use crate::manifest::entry::{self, Entry, FORMAT, State};
use crate::manifest::read::{Manifest, ManifestError};

/// The manifest, held by the one writer.
#[derive(Debug)]
pub(crate) struct ManifestLog {
    dir: Folder,
    number: u64,
    /// The newest manifest file; `None` after a failed write, since its end is then unknown.
    file: Option<Box<dyn DiskFile>>,
    bytes: u64,
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

    /// Sees to it that there is a file to append to. After a failed append this begins a new one,
    /// so that the entry of which it is unknown whether it is on disk does not count.
    pub(crate) fn make_ready(&mut self) -> Result<(), ManifestError> {
        if self.file.is_none() || self.bytes >= self.checkpoint_bytes + MANIFEST_BYTES {
            self.begin_file()?;
        }
        Ok(())
    }

    /// Appends an entry; it is on disk on return.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<(), ManifestError> {
        self.make_ready()?;
        let (line, hash) = encode(&self.head, entry);
        let written = self.file.as_mut().map(|file| write_synced(file.as_mut(), &line));
        if let Some(Err(source)) = written {
            self.file = None;
            return Err(self.write_error(source));
        }
        self.bytes += line.len() as u64;
        self.head = hash;
        self.state.apply(entry);
        Ok(())
    }

    /// Begins the next manifest file with a checkpoint of all that counts.
    fn begin_file(&mut self) -> Result<(), ManifestError> {
        self.number += 1;
        let checkpoint = self.state.checkpoint(self.number, &self.head);
        let (line, hash) = encode(&self.head, &checkpoint);
        let path = layout::manifest_path(self.dir.path(), self.number);
        let file = self
            .dir
            .create_durable(&path, line.as_bytes())
            .map_err(|source| self.write_error(source))?;
        self.file = Some(file);
        self.bytes = line.len() as u64;
        self.checkpoint_bytes = self.bytes;
        self.head = hash;
        Ok(())
    }

    fn write_error(&self, source: io::Error) -> ManifestError {
        ManifestError::Write { path: layout::manifest_path(self.dir.path(), self.number), source }
    }
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
