//! What a store takes on disk, and what of it would go under some retention.
//!
//! Who writes to it is told by its lock, which is asked for, shared, for a moment: all else that reads
//! takes none.

use std::time::SystemTime;

use crate::disk::Folder;
use crate::layout;
use crate::lock::Holder;
use crate::manifest::entry::State;
use crate::manifest::read as manifest;
use crate::read::reader::ReadError;
use crate::retention::{self, Expired, Retention, Space};

/// What one table holds in segments. What is not sealed yet does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableUsage {
    /// The table.
    pub table: String,
    /// Segments.
    pub segments: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of the segments.
    pub bytes: u64,
    /// Time of the oldest row, in nanoseconds since the Unix epoch.
    pub oldest_ns: i64,
    /// Time of the newest row, in nanoseconds since the Unix epoch.
    pub newest_ns: i64,
}

/// What a store takes on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The tables that hold anything, by name.
    pub tables: Vec<TableUsage>,
    /// Journals that are not sealed yet.
    pub journals: u64,
    /// Bytes of those.
    pub journal_bytes: u64,
    /// Files that no longer count and wait for their readers to end.
    pub waiting: u64,
    /// Bytes of those.
    pub waiting_bytes: u64,
    /// Bytes that are free on the disk; `None` when that is unknown.
    pub free_bytes: Option<u64>,
    /// Who may write to it; `None` when that cannot be told.
    pub holder: Option<Holder>,
    /// When a writer noted its heartbeat last; `None` when none has.
    pub heartbeat: Option<SystemTime>,
    /// What would go now, a record per table.
    pub goes: Vec<Expired>,
}

/// Looks at the store in `dir` at the instant `now_ns`, in nanoseconds since the Unix epoch.
pub(super) fn usage(dir: &Folder, retention: &Retention, now_ns: i64) -> Result<Usage, ReadError> {
    let state = manifest::read(dir).map_err(ReadError::Manifest)?.state;
    let folder = layout::journal_dir(dir.path());
    let names =
        dir.names(&folder).map_err(|source| ReadError::List { path: folder.clone(), source })?;
    let mut usage = Usage {
        tables: tables(&state),
        free_bytes: dir.free_bytes().ok(),
        holder: Holder::on(dir).ok(),
        heartbeat: dir.modified(&layout::heartbeat_path(dir.path())),
        ..Usage::default()
    };
    for name in names {
        usage.journals += 1;
        usage.journal_bytes += dir.bytes(&folder.join(name)).unwrap_or(0);
    }
    for file in state.removed.iter().filter(|file| dir.exists(&dir.join(&file.path))) {
        usage.waiting += 1;
        usage.waiting_bytes += file.bytes;
    }
    let space = Space { journal_bytes: usage.journal_bytes, free_bytes: usage.free_bytes };
    let goes = retention::plan(&state, space, retention, now_ns);
    Expired::add(&mut usage.goes, &goes);
    Ok(usage)
}

fn tables(state: &State) -> Vec<TableUsage> {
    let mut tables: Vec<TableUsage> = Vec::new();
    for file in state.files.values() {
        let (oldest_ns, newest_ns) = (file.min_time_ns, file.max_time_ns);
        match tables.iter_mut().find(|known| known.table == file.table) {
            Some(known) => {
                known.segments += 1;
                known.rows += file.rows;
                known.bytes += file.bytes;
                known.oldest_ns = known.oldest_ns.min(oldest_ns);
                known.newest_ns = known.newest_ns.max(newest_ns);
            }
            None => tables.push(TableUsage {
                table: file.table.clone(),
                segments: 1,
                rows: file.rows,
                bytes: file.bytes,
                oldest_ns,
                newest_ns,
            }),
        }
    }
    tables.sort_by(|left, right| left.table.cmp(&right.table));
    tables
}
