//! Why the writer could not do what it was asked to.

use std::io;
use std::path::PathBuf;

use crate::journal::read::JournalError;
use crate::manifest::read::ManifestError;
use crate::slots::SlotsError;

/// Why a store cannot be opened to write.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes to it.
    #[error("{path} is in use by {}", holder(*.pid), path = .path.display())]
    Locked {
        /// The data folder.
        path: PathBuf,
        /// The other process, when it has said so.
        pid: Option<u32>,
    },
    /// The lock cannot be taken.
    #[error("cannot lock {path}", path = .path.display())]
    Lock {
        /// The data folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder cannot be created, listed or synced.
    #[error("cannot use the folder {path}", path = .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Two tables have one name, or one has no time column, or there are too many.
    #[error("table {table} cannot be stored: {reason}")]
    Table {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The manifest cannot be read or written.
    #[error("cannot use the manifest")]
    Manifest(#[source] ManifestError),
    /// A journal of an earlier run cannot be read.
    #[error("cannot recover a journal")]
    Recover(#[source] JournalError),
    /// The numbers for new rows cannot be leased.
    #[error("cannot lease row numbers")]
    Leases(#[source] SlotsError),
    /// The heartbeat cannot be read.
    #[error("cannot use the heartbeat")]
    Heartbeat(#[source] SlotsError),
    /// The first journal cannot be created.
    #[error("cannot create the journal in {path}", path = .path.display())]
    Journal {
        /// The data folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The sealer's thread cannot be started.
    #[error("cannot start the sealer")]
    Sealer(#[source] io::Error),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Why rows were not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The writer was not opened with this table.
    #[error("the store was not opened with table {table}")]
    UnknownTable {
        /// The table.
        table: &'static str,
    },
    /// Row numbers cannot be leased. The rows are not stored, save for the first ones.
    #[error("cannot lease row numbers")]
    Leases {
        /// How many rows of the call were appended before.
        appended: u64,
        /// Why not.
        source: SlotsError,
    },
    /// The rows cannot be written, nor can a new journal be begun for them. They are not stored,
    /// save for the first ones.
    #[error("cannot write rows")]
    Write {
        /// How many rows of the call were appended before.
        appended: u64,
        /// What the system said.
        source: io::Error,
    },
}

/// Why rows are not on disk for certain, or a journal was not rotated.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The journal cannot be synced, nor its unsynced rows be written to a new one. They are kept
    /// and tried again.
    #[error("cannot sync the journal")]
    Sync(#[source] io::Error),
    /// The next journal cannot be created. The old one is used on.
    #[error("cannot begin a new journal")]
    Rotate(#[source] io::Error),
    /// The row numbers left over cannot be given back; the next run skips them.
    #[error("cannot give back row numbers")]
    Leases(#[source] SlotsError),
    /// The sealer's thread has panicked. Journals stay unsealed and readable.
    #[error("the sealer has failed; journals stay unsealed")]
    Sealer,
}

/// Why a heartbeat was not noted. The one before it stands.
#[derive(Debug, thiserror::Error)]
#[error("cannot note the heartbeat")]
pub struct HeartbeatError(#[source] pub(crate) SlotsError);
