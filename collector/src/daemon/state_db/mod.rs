//! `state.db`: what the collector remembers beyond its end and can do without.
//!
//! An SQLite database in the data folder. It holds which contents were executed, so that none is read
//! twice, and an index of the files of packages. It is no history: nothing is told from it, and when
//! it is lost or damaged it is made anew, at the cost of reading things again.
//!
//! It is opened when it is first used, by the thread that uses it, so that `bygone doctor` creates
//! none.
//!
//! **Invariants:** only the collector that holds the store's lock opens it. A failure costs what it
//! would have saved, never an event.

mod contents;
mod packages;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use crate::events::{ContentDigest, ContentKey};
use crate::host::dpkg::{ADMIN_DIR, Dpkg};
use crate::host::rpm::{DATABASES, Rpm};
use crate::publish::executable::{Memory, Ownership};
use packages::{Manager, Packages};

/// Name of the file.
const FILE: &str = "state.db";

/// Version of its tables: a database of another one is made anew.
const VERSION: i64 = 1;

/// SQLite's cache of its pages, in KiB.
const CACHE_KIB: i64 = 1024;

/// How long a writer waits for another one. The index is written in one transaction of some seconds:
/// what is to be remembered meanwhile is so later.
const BUSY: Duration = Duration::from_millis(50);

/// What is left of the write-ahead log once it is in the database, in bytes.
const WAL_BYTES_MAX: i64 = 1 << 20;

/// What follows when there is no database.
const WITHOUT: &str = "Executed files are read again after each start, and have no package";

const TABLES: &str = "\
    CREATE TABLE contents (device INTEGER, inode INTEGER, ctime_ns INTEGER, size INTEGER, \
    met_ns INTEGER NOT NULL, sha256 BLOB, PRIMARY KEY (device, inode, ctime_ns, size)) \
    WITHOUT ROWID;
    CREATE TABLE package_database (manager TEXT PRIMARY KEY, mtime_ns INTEGER, size INTEGER);
    CREATE TABLE packages (id INTEGER PRIMARY KEY, manager TEXT NOT NULL, name TEXT NOT NULL);
    CREATE TABLE folders (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
    CREATE TABLE package_files (folder INTEGER, name TEXT, package INTEGER, \
    PRIMARY KEY (folder, name, package)) WITHOUT ROWID;";

/// The database.
pub(super) struct StateDb {
    path: PathBuf,
    connection: Option<Connection>,
    /// Whether it could be neither opened nor made anew, so that it is left alone.
    failed: bool,
    packages: Packages,
}

impl StateDb {
    /// The database of a data folder, not opened yet; `niceness` is that of the thread which indexes
    /// packages.
    pub(super) fn new(data_dir: &Path, niceness: i32) -> Self {
        let managers = vec![
            Manager::Dpkg(Dpkg::new(Path::new(ADMIN_DIR))),
            Manager::Rpm(Rpm::new(&DATABASES.map(Path::new))),
        ];
        Self {
            path: data_dir.join(FILE),
            connection: None,
            failed: false,
            packages: Packages::new(managers, data_dir.join(FILE), niceness),
        }
    }

    /// Does something with the database; `None` when that fails, which is logged.
    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut Connection, &mut Packages) -> rusqlite::Result<T>,
    ) -> Option<T> {
        if self.connection.is_none() && !self.failed {
            self.connection = open(&self.path);
            self.failed = self.connection.is_none();
        }
        match act(self.connection.as_mut()?, &mut self.packages) {
            Ok(value) => Some(value),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => None,
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(error = %error, %path, "What is remembered of executed files is left");
                // A database that is damaged is made anew by the next one.
                self.connection = None;
                None
            }
        }
    }
}

/// Opens the database, or makes a new one in place of one that cannot be used.
fn open(path: &Path) -> Option<Connection> {
    let first = match try_open(path) {
        Ok(connection) => return Some(connection),
        Err(error) => error,
    };
    if !is_damage(&first) {
        tracing::warn!(error = %first, path = %path.display(), "{WITHOUT}");
        return None;
    }
    tracing::warn!(error = %first, path = %path.display(), "Making the database of state anew");
    for file in [path.to_owned(), path.with_extension("db-wal"), path.with_extension("db-shm")] {
        if let Err(error) = std::fs::remove_file(&file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(error = %error, path = %file.display(), "It cannot be removed");
        }
    }
    match try_open(path) {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::warn!(error = %error, path = %path.display(), "{WITHOUT}");
            None
        }
    }
}

/// Whether a database is one no more, or one of another version.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::ModuleError(_))
        || matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
        )
}

fn try_open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    // The index of packages is made by another connection, which others do not wait for.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_MAX)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        connection
            .execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT"))?;
    } else if version != VERSION {
        return Err(rusqlite::Error::ModuleError(format!("its version is {version}")));
    }
    Ok(connection)
}

impl Memory for StateDb {
    fn knows(&mut self, content: &ContentKey) -> bool {
        self.with(|connection, _| contents::knows(connection, content)).unwrap_or(false)
    }

    fn remember(
        &mut self,
        content: &ContentKey,
        time_ns: i64,
        digest: Option<&ContentDigest>,
    ) -> bool {
        let done = |connection: &mut Connection, _: &mut Packages| {
            contents::remember(connection, content, time_ns, digest)
        };
        self.with(done).is_some()
    }

    fn owner(&mut self, path: &str, digest: Option<&ContentDigest>) -> Ownership {
        let owner = self.with(|connection, packages| packages.owner(connection, path, digest));
        owner.unwrap_or(Ownership::Nobody)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: ContentKey =
        ContentKey { device: 1, inode: u64::MAX, ctime_ns: -5, size: 1 << 40 };

    #[test]
    fn what_was_met_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = StateDb::new(folder.path(), 0);
        assert!(!folder.path().join(FILE).exists(), "it is opened when it is used");
        assert!(!state.knows(&CONTENT));
        assert!(state.remember(&CONTENT, 7, None));
        assert!(state.knows(&CONTENT));
        let mut state = StateDb::new(folder.path(), 0);
        assert!(state.knows(&CONTENT));
        for other in [
            ContentKey { device: 2, ..CONTENT },
            ContentKey { inode: 2, ..CONTENT },
            ContentKey { ctime_ns: 2, ..CONTENT },
            ContentKey { size: 2, ..CONTENT },
        ] {
            assert!(!state.knows(&other), "{other:?}");
        }
    }

    #[test]
    fn a_damaged_database_and_one_of_another_version_are_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, vec![b'x'; 4096]).unwrap();
        let mut state = StateDb::new(folder.path(), 0);
        assert!(state.remember(&CONTENT, 7, None));
        assert!(state.knows(&CONTENT));
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let mut state = StateDb::new(folder.path(), 0);
        assert!(!state.knows(&CONTENT));
        assert!(state.remember(&CONTENT, 7, None));
        assert!(state.knows(&CONTENT));
    }

    #[test]
    fn without_a_folder_nothing_is_known_and_nothing_fails() {
        let mut state = StateDb::new(Path::new("/nonexistent/folder"), 0);
        assert!(!state.remember(&CONTENT, 7, None));
        assert!(!state.knows(&CONTENT));
        assert_eq!(state.owner("/bin/true", None), Ownership::Nobody);
    }
}
