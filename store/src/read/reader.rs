//! The way into a store for those who only read it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::error::ArrowError;

use crate::damage::{Damage, DamageKind};
use crate::disk::{self, Disk, Folder, RealDisk};
use crate::journal::read::{Journal, JournalError};
use crate::layout;
use crate::limits::{JOURNALS_MAX, PIN_ATTEMPTS};
use crate::manifest::live;
use crate::manifest::read::{self as manifest, Ending, Manifest, ManifestError};
use crate::read::cache::{Cache, Known};
use crate::read::snapshot::{Pinned, Snapshot};
use crate::read::usage::{self, Usage};
use crate::retention::Retention;
use crate::slots::{self, SlotsError, Stored};
use crate::verify::{self, Verified, VerifyRequest};

/// Why a store cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The folder is not there or holds no store.
    #[error("{path} holds no recorded history", path = .path.display())]
    NotAStore {
        /// The folder.
        path: PathBuf,
    },
    /// A folder cannot be listed.
    #[error("cannot list {path}", path = .path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The manifest cannot be read.
    #[error("cannot read the manifest")]
    Manifest(#[source] ManifestError),
    /// A journal cannot be read.
    #[error("cannot read a journal")]
    Journal(#[source] JournalError),
    /// A segment cannot be opened or read.
    #[error("cannot read the segment {path}", path = .path.display())]
    Segment {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The heartbeat cannot be read.
    #[error("cannot read the heartbeat")]
    Heartbeat(#[source] SlotsError),
    /// The writer seals journals faster than they can be pinned.
    #[error("the store at {path} does not hold still", path = .path.display())]
    Unsettled {
        /// The folder.
        path: PathBuf,
    },
    /// More journals wait to be sealed than a reader opens at once.
    #[error(
        "{journals} journals of {path} are not sealed, over the limit of {JOURNALS_MAX}; start its \
         writer to seal them", path = .path.display()
    )]
    TooManyJournals {
        /// The folder.
        path: PathBuf,
        /// How many there are.
        journals: usize,
    },
    /// Rows cannot be put into one order.
    #[error("cannot put rows in order")]
    Order(#[source] ArrowError),
    /// The reader was told to stop.
    #[error("stopped")]
    Stopped,
    /// A requested column is not a stored one.
    #[error("table {table} has no stored column {index}")]
    Column {
        /// The table.
        table: &'static str,
        /// Index into its columns.
        index: usize,
    },
    /// A filter tests for what its column cannot hold.
    #[error("column {column} of table {table} has another type than its filter")]
    Filter {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// The thread that read ahead ended before its time.
    #[error("the thread that reads ahead has failed")]
    Ahead,
    /// The table has no time column.
    #[error("table {table} is not a table of events")]
    NotEvents {
        /// The table.
        table: &'static str,
    },
}

/// Reads a store, whether a writer is at work or not. Takes no lock and writes nothing.
///
/// ```no_run
/// let reader = bygone_store::Reader::open("/var/lib/bygone".as_ref())?;
/// let snapshot = reader.snapshot()?;
/// println!("{} segments", snapshot.segments().count());
/// # Ok::<(), bygone_store::ReadError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader {
    dir: Folder,
    cache: Arc<Cache>,
}

impl Reader {
    /// Opens the store in `dir`.
    ///
    /// # Errors
    /// When there is none, or when it may not be read.
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        Self::open_on(Arc::new(RealDisk), dir)
    }

    /// Opens the store in `dir` of another disk.
    ///
    /// # Errors
    /// Likewise.
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, ReadError> {
        let folder = Folder::new(dir, disk);
        let listed = folder
            .names(&layout::journal_dir(dir))
            .and_then(|journals| Ok((journals, folder.names(&layout::manifest_dir(dir))?)));
        let (journals, manifests) =
            listed.map_err(|source| ReadError::List { path: dir.to_path_buf(), source })?;
        // Where only these were taken away, what the segments say of themselves is left.
        if journals.is_empty() && manifests.is_empty() {
            let segments = folder.names(&layout::segments_dir(dir));
            if segments.map_or(true, |names| names.is_empty()) {
                return Err(ReadError::NotAStore { path: dir.to_path_buf() });
            }
        }
        Ok(Self { dir: folder, cache: Arc::default() })
    }

    /// The data folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Pins what the store holds now.
    ///
    /// # Errors
    /// When a file may not be read. What is damaged is left out and noted in
    /// [`Snapshot::damage`].
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        for _ in 0..PIN_ATTEMPTS {
            if let Some(snapshot) = self.pin(|| {})? {
                return Ok(snapshot);
            }
        }
        Err(ReadError::Unsettled { path: self.dir.to_path_buf() })
    }

    /// Pins what the store holds; `None` when the writer sealed a journal while it was pinned.
    /// `meanwhile` runs where that does harm, for the tests.
    fn pin(&self, meanwhile: impl FnOnce()) -> Result<Option<Snapshot>, ReadError> {
        let manifest = self.manifest()?;
        meanwhile();
        let mut damage = Vec::new();
        let journals = self.pin_journals(manifest.state.sealed_through, &mut damage)?;
        let Some(journals) = journals else {
            return Ok(None);
        };
        if manifest::position(&self.dir).map_err(ReadError::Manifest)? != manifest.position {
            return Ok(None);
        }
        let (dir, cache) = (self.dir.clone(), Arc::clone(&self.cache));
        Ok(Some(Snapshot::new(dir, manifest, journals, damage, cache)))
    }

    /// What the store takes on disk, and what would go under `retention` at the instant `now_ns`, in
    /// nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// When the manifest may not be read.
    pub fn usage(&self, retention: &Retention, now_ns: i64) -> Result<Usage, ReadError> {
        usage::usage(&self.dir, retention, now_ns)
    }

    /// Per source, the watermark up to which every event is stored and on disk: nanoseconds since
    /// the Unix epoch. Empty when no writer has noted one.
    ///
    /// # Errors
    /// When the file may not be read.
    pub fn heartbeat(&self) -> Result<Vec<(String, i64)>, ReadError> {
        let stored = slots::read_path(&self.dir, &layout::heartbeat_path(self.dir.path()));
        match stored.map_err(ReadError::Heartbeat)? {
            Stored::Value(watermarks) => Ok(watermarks),
            Stored::Nothing | Stored::Damaged => Ok(Vec::new()),
        }
    }

    /// Checks that nothing sealed was changed or taken away ([`crate::verify`]). `progress` is told
    /// the bytes read and the bytes to read, after each segment.
    ///
    /// # Errors
    /// When a file may not be read. What is wrong with the store is in the result.
    pub fn verify(
        &self,
        request: &VerifyRequest,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Verified, ReadError> {
        verify::verify(&self.dir, request, &mut progress)
    }

    /// Hash of the manifest's newest entry, to be kept elsewhere: [`Self::verify`] with it tells
    /// whether entries were cut off since.
    ///
    /// # Errors
    /// When the manifest may not be read.
    pub fn head(&self) -> Result<String, ReadError> {
        Ok(manifest::read(&self.dir).map_err(ReadError::Manifest)?.head)
    }

    /// The manifest as it stands now.
    fn manifest(&self) -> Result<Arc<Known>, ReadError> {
        let position = manifest::position(&self.dir).map_err(ReadError::Manifest)?;
        if let Some(known) = self.cache.manifest()
            && known.position == position
        {
            return Ok(known);
        }
        let manifest = manifest::read(&self.dir).map_err(ReadError::Manifest)?;
        let known = Arc::new(self.settle(manifest)?);
        self.cache.keep_manifest(&known);
        self.cache.drop_indexes(known.state.sealed_through);
        Ok(known)
    }

    /// Adds to a manifest that does not end whole, or that misses an entry, the segments that it
    /// must have named.
    fn settle(&self, manifest: Manifest) -> Result<Known, ReadError> {
        let (position, mut damage) = (manifest.position, Vec::new());
        let list = |source| ReadError::List { path: self.dir.to_path_buf(), source };
        let dir = layout::journal_dir(self.dir.path());
        let journals = self.dir.numbered(&dir, layout::JOURNAL_EXTENSION).map_err(list)?;
        // A journal that is gone without an entry: one may have been lost from the manifest's end.
        let gapless = disk::missing(manifest.state.sealed_through, &journals).is_empty();
        if manifest.is_whole() && gapless {
            return Ok(Known { position, state: manifest.state, damage });
        }
        if manifest.position.number == 0 {
            let detail = "it is not there; what the segments say of themselves is read";
            damage.push(Damage::new(DamageKind::ManifestBroken, "manifest", detail));
        }
        if let Ending::Broken(offset) = manifest.ending {
            let detail = format!("the entry at byte {offset} is wrong, and others follow");
            damage.push(Damage::new(DamageKind::ManifestBroken, "manifest", detail));
        }
        let whole = manifest.is_whole() && gapless;
        let mut state = manifest.state;
        let unnamed = live::unnamed(&self.dir, &state, &journals, whole).map_err(list)?;
        for (name, error) in &unnamed.unreadable {
            damage.push(Damage::new(DamageKind::Segment, name, error));
        }
        unnamed.settle(&mut state);
        for file in &unnamed.missing {
            damage.push(Damage::segment_missing(file));
        }
        Ok(Known { position, state, damage })
    }

    /// Opens the journals above `sealed_through`; `None` when one went away meanwhile.
    fn pin_journals(
        &self,
        sealed_through: u64,
        damage: &mut Vec<Damage>,
    ) -> Result<Option<Vec<Pinned>>, ReadError> {
        let dir = layout::journal_dir(self.dir.path());
        let numbers = self
            .dir
            .numbered(&dir, layout::JOURNAL_EXTENSION)
            .map_err(|source| ReadError::List { path: dir.clone(), source })?;
        // When the writer has sealed one meanwhile, the manifest has moved and the pin is void.
        let missing = disk::missing(sealed_through, &numbers);
        damage.extend(missing.into_iter().map(|(a, b)| Damage::journals_missing(a, b)));
        let numbers: Vec<u64> =
            numbers.into_iter().filter(|number| *number > sealed_through).collect();
        if numbers.len() > JOURNALS_MAX {
            let (path, journals) = (self.dir.to_path_buf(), numbers.len());
            return Err(ReadError::TooManyJournals { path, journals });
        }
        let mut journals = Vec::new();
        for number in numbers {
            match Journal::open(&self.dir, number) {
                Ok(journal) => journals.push(journal),
                Err(error) if error.is_missing() => return Ok(None),
                Err(error @ JournalError::Header { .. }) => {
                    let file = layout::journal_name(number);
                    damage.push(Damage::new(DamageKind::JournalHeader, file, error));
                }
                Err(error) => return Err(ReadError::Journal(error)),
            }
        }
        let ends: Vec<u64> = ends(&journals);
        let mut pinned = Vec::with_capacity(journals.len());
        for (journal, end) in journals.into_iter().zip(ends) {
            pinned.push(self.pin_journal(journal, end)?);
        }
        Ok(Some(pinned))
    }

    fn pin_journal(&self, journal: Journal, end: u64) -> Result<Pinned, ReadError> {
        let key = journal.key();
        let known = self.cache.index(key.number, &key.salt);
        let index = journal.index(known, end).map_err(ReadError::Journal)?;
        self.cache.keep_index(key.number, key.salt, &index);
        Ok(Pinned { journal, index })
    }
}

/// Where each journal ends: the next one says so when it holds the rest again.
fn ends(journals: &[Journal]) -> Vec<u64> {
    let next = journals.iter().skip(1).map(Some).chain([None]);
    journals.iter().zip(next).map(|(journal, next)| end(journal, next)).collect()
}

/// Where a journal ends, when `next` is the next one that can be used.
pub(crate) fn end(journal: &Journal, next: Option<&Journal>) -> u64 {
    let follows = next.filter(|next| next.key().number == journal.key().number + 1);
    follows.map_or(u64::MAX, |next| next.header.previous_end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{SMALL, Small};
    use crate::read::{RowParts, ScanRequest};
    use crate::schema::TableSchema;
    use crate::write::{Writer, WriterOptions};

    static TABLES: &[&TableSchema] = &[SMALL];

    fn count(snapshot: &Snapshot) -> usize {
        let all = ScanRequest::new(0..=i64::MAX, Vec::new());
        let request = ScanRequest { parts: RowParts::default(), ..all };
        let scan = snapshot.scan(SMALL, &request).unwrap();
        scan.map(|batch| batch.unwrap().len()).sum()
    }

    /// Sealing between the reading of the manifest and the listing of the journals would take rows
    /// from the reader's sight: neither the old manifest names their segment, nor is their journal
    /// there.
    #[test]
    fn a_seal_during_the_pin_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let options = WriterOptions::new([1; 16]);
        let (mut writer, _) = Writer::open(dir.path(), TABLES, options).unwrap();
        writer.append([Small { time_ns: 1, pid: 1, path: None }]).unwrap();
        let reader = Reader::open(dir.path()).unwrap();
        assert_eq!(reader.pin(|| {}).unwrap().map(|snapshot| count(&snapshot)), Some(1));
        let pinned = reader.pin(|| writer.close().unwrap()).unwrap();
        assert!(pinned.is_none(), "it counts {:?}", pinned.map(|snapshot| count(&snapshot)));
        assert_eq!(count(&reader.snapshot().unwrap()), 1);
    }
}
