//! The watched directories and what was last known of their entries.
//!
//! inotify names a directory by its watch descriptor, which belongs to the inode: a renamed
//! directory keeps it, and one directory reached by two paths has one. The tree holds the path of
//! each descriptor, and follows renames as soon as they are known.
//!
//! A directory is opened first and watched through its file descriptor, so that descriptor, inode
//! and listing belong to the same directory even while somebody renames it. It is opened from the
//! directory above, which must be the one that is watched under that path: what the queue has not
//! told yet may have put another one there.
//!
//! **Invariants:** `by_path` and `by_descriptor` always hold the same directories. Paths are those
//! that the queue has told: only its events move or end a watch because of a rename, never a look
//! at the disk, which is ahead of the queue.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Bound;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use inotify::{WatchDescriptor, WatchMask, Watches};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat, openat2};
use rustix::io::Errno;

use super::stat::{Identity, Stat};
use crate::publish::path_pattern::Role;

/// What is asked of a directory whose entries are covered.
const CONTENT: WatchMask = WatchMask::CREATE
    .union(WatchMask::DELETE)
    .union(WatchMask::MODIFY)
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::ATTRIB)
    .union(WatchMask::MOVE)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF)
    .union(WatchMask::EXCL_UNLINK)
    .union(WatchMask::ONLYDIR);

/// What is asked of a directory that only leads to a covered path.
const ANCESTOR: WatchMask = WatchMask::CREATE
    .union(WatchMask::DELETE)
    .union(WatchMask::MOVE)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF)
    .union(WatchMask::EXCL_UNLINK)
    .union(WatchMask::ONLYDIR);

const OPEN_DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What the baseline keeps of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) identity: Identity,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime_ns: i64,
    pub(super) ctime_ns: i64,
    pub(super) directory: bool,
}

impl From<&Stat> for Entry {
    fn from(stat: &Stat) -> Self {
        Self {
            identity: stat.identity,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            size: stat.size,
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
            directory: stat.is_directory(),
        }
    }
}

/// The known entries of one directory by name.
pub(super) type Entries = HashMap<OsString, Entry>;

/// One watched directory.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: Arc<Path>,
    pub(super) identity: Identity,
    pub(super) role: Role,
    descriptor: WatchDescriptor,
    entries: Entries,
    /// Whether `entries` has all of them: false when the baseline was full.
    pub(super) complete: bool,
}

impl Directory {
    /// The number of its watch.
    pub(super) fn descriptor(&self) -> i32 {
        self.descriptor.get_watch_descriptor_id()
    }
}

/// A directory that is watched from now on.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) descriptor: i32,
    /// The directory, open for reading.
    pub(super) file: OwnedFd,
    /// Whether it was not watched before.
    pub(super) fresh: bool,
}

/// Why a directory is not watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotWatched {
    /// It is gone, or was never a directory.
    Gone,
    /// It is watched under another path that still leads to it.
    Alias,
    /// A rename that the queue has not told yet stands between the path and the disk.
    Moving,
    /// The user's limit of watches is reached.
    Limit,
    /// The collector may not read it.
    Denied,
    /// Any other failure.
    Failed(Errno),
}

/// All watched directories.
#[derive(Debug)]
pub(super) struct Tree {
    watches: Watches,
    by_descriptor: HashMap<i32, Directory>,
    by_path: BTreeMap<Arc<Path>, i32>,
    entries: usize,
    entries_max: usize,
}

impl Tree {
    pub(super) fn new(watches: Watches, entries_max: usize) -> Self {
        Self {
            watches,
            by_descriptor: HashMap::new(),
            by_path: BTreeMap::new(),
            entries: 0,
            entries_max,
        }
    }

    /// Watches the directory at `path`, or makes sure that it still is.
    pub(super) fn watch(&mut self, path: &Path, role: Role) -> Result<Watched, NotWatched> {
        let file = self.open(path)?;
        let identity = Stat::of_file(file.as_fd()).map_err(not_watched)?.identity;
        let mask = match role {
            Role::Content => CONTENT,
            Role::Ancestor => ANCESTOR,
        };
        let by_file = format!("/proc/self/fd/{}", file.as_raw_fd());
        let added = match self.watches.add(by_file, mask) {
            // Without /proc there is only the path.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.watches.add(path, mask | WatchMask::DONT_FOLLOW)
            }
            added => added,
        };
        let descriptor = added.map_err(|error| refused(&error))?;
        let number = descriptor.get_watch_descriptor_id();
        let known = self.by_descriptor.get(&number).map(|known| Arc::clone(&known.path));
        let fresh = known.is_none();
        if let Some(old) = known
            && *old != *path
        {
            let alias = Stat::of_path(&old).is_some_and(|stat| stat.identity == identity);
            return Err(if alias { NotWatched::Alias } else { NotWatched::Moving });
        }
        if let Some(directory) = self.by_descriptor.get_mut(&number) {
            directory.role = role;
        } else {
            self.insert(path, identity, role, descriptor);
        }
        Ok(Watched { descriptor: number, file, fresh })
    }

    /// Opens a directory from the one above, when that one is what the tree holds there.
    fn open(&self, path: &Path) -> Result<OwnedFd, NotWatched> {
        let Some((parent, name)) = path.parent().zip(path.file_name()) else {
            return open_directory(path, OPEN_DIRECTORY).map_err(not_watched);
        };
        let above = self.at(parent).ok_or(NotWatched::Gone)?;
        let parent = open_directory(parent, OPEN_DIRECTORY | OFlags::PATH).map_err(not_watched)?;
        let identity = Stat::of_file(parent.as_fd()).map_err(not_watched)?.identity;
        if identity != above.identity {
            return Err(NotWatched::Moving);
        }
        openat(&parent, name, OPEN_DIRECTORY, Mode::empty()).map_err(not_watched)
    }

    fn insert(&mut self, path: &Path, identity: Identity, role: Role, descriptor: WatchDescriptor) {
        // What was watched here is another directory now.
        self.remove_below(path);
        let path: Arc<Path> = Arc::from(path);
        let number = descriptor.get_watch_descriptor_id();
        self.by_path.insert(Arc::clone(&path), number);
        let entries = Entries::new();
        let directory = Directory { path, identity, role, descriptor, entries, complete: true };
        self.by_descriptor.insert(number, directory);
    }

    pub(super) fn directory(&self, descriptor: i32) -> Option<&Directory> {
        self.by_descriptor.get(&descriptor)
    }

    pub(super) fn at(&self, path: &Path) -> Option<&Directory> {
        self.by_descriptor.get(self.by_path.get(path)?)
    }

    /// How many directories are watched.
    pub(super) fn count(&self) -> usize {
        self.by_descriptor.len()
    }

    /// How many watched directories have entries that the baseline had no room for.
    pub(super) fn incomplete_count(&self) -> usize {
        self.by_descriptor.values().filter(|directory| !directory.complete).count()
    }

    /// The paths of all watched directories, each after the one it lies in.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Arc<Path>> {
        self.by_path.keys()
    }

    /// Takes a directory's known entries, so that a scan can compare with them.
    pub(super) fn take_entries(&mut self, descriptor: i32) -> Entries {
        let Some(directory) = self.by_descriptor.get_mut(&descriptor) else {
            return Entries::new();
        };
        let entries = std::mem::take(&mut directory.entries);
        self.entries -= entries.len();
        entries
    }

    pub(super) fn entry(&self, descriptor: i32, name: &OsStr) -> Option<&Entry> {
        self.by_descriptor.get(&descriptor)?.entries.get(name)
    }

    /// Keeps what is now known of an entry, as far as there is room.
    pub(super) fn remember(&mut self, descriptor: i32, name: &OsStr, entry: Entry) {
        let Some(directory) = self.by_descriptor.get_mut(&descriptor) else {
            return;
        };
        if let Some(known) = directory.entries.get_mut(name) {
            *known = entry;
        } else if self.entries < self.entries_max {
            directory.entries.insert(name.to_owned(), entry);
            self.entries += 1;
        } else {
            directory.complete = false;
        }
    }

    pub(super) fn forget(&mut self, descriptor: i32, name: &OsStr) {
        if let Some(directory) = self.by_descriptor.get_mut(&descriptor)
            && directory.entries.remove(name).is_some()
        {
            self.entries -= 1;
        }
    }

    /// Marks a directory's baseline as whole or not.
    pub(super) fn set_complete(&mut self, descriptor: i32, complete: bool) {
        if let Some(directory) = self.by_descriptor.get_mut(&descriptor) {
            directory.complete = complete;
        }
    }

    /// Follows a rename of a directory with everything below it.
    pub(super) fn move_below(&mut self, from: &Path, to: &Path) {
        let moved = self.below(from);
        for (path, _) in &moved {
            self.by_path.remove(path);
        }
        self.remove_below(to);
        for (path, descriptor) in moved {
            let Ok(rest) = path.strip_prefix(from) else {
                continue;
            };
            // Joining an empty path would add a slash.
            let new: PathBuf = if rest.as_os_str().is_empty() { to.into() } else { to.join(rest) };
            let new: Arc<Path> = Arc::from(new);
            if let Some(directory) = self.by_descriptor.get_mut(&descriptor) {
                directory.path = Arc::clone(&new);
            }
            self.by_path.insert(new, descriptor);
        }
    }

    /// Ends the watches of a directory and everything below it; gives the known entries of each.
    pub(super) fn remove_below(&mut self, path: &Path) -> Vec<(Arc<Path>, Entries)> {
        let mut removed = Vec::new();
        for (path, descriptor) in self.below(path) {
            let Some(directory) = self.drop_record(descriptor) else {
                continue;
            };
            // It fails when the kernel has ended the watch already, which is as good.
            if let Err(error) = self.watches.remove(directory.descriptor) {
                tracing::trace!(%error, path = %path.display(), "The watch had ended already");
            }
            removed.push((path, directory.entries));
        }
        removed
    }

    /// The kernel has ended a watch.
    pub(super) fn ended(&mut self, descriptor: i32) {
        drop(self.drop_record(descriptor));
    }

    fn drop_record(&mut self, descriptor: i32) -> Option<Directory> {
        let directory = self.by_descriptor.remove(&descriptor)?;
        self.by_path.remove(&directory.path);
        self.entries -= directory.entries.len();
        Some(directory)
    }

    /// The directory at `path` and all below it, each after the one it lies in.
    fn below(&self, path: &Path) -> Vec<(Arc<Path>, i32)> {
        self.by_path
            .range::<Path, _>((Bound::Included(path), Bound::Unbounded))
            .take_while(|(below, _)| below.starts_with(path))
            .map(|(below, descriptor)| (Arc::clone(below), *descriptor))
            .collect()
    }
}

/// Opens a directory, refusing symbolic links in every component where the kernel can (5.6).
fn open_directory(path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::NO_SYMLINKS;
    match openat2(CWD, path, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => open(path, flags, Mode::empty()),
        opened => opened,
    }
}

fn not_watched(error: Errno) -> NotWatched {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => NotWatched::Gone,
        Errno::ACCESS | Errno::PERM => NotWatched::Denied,
        Errno::NOSPC => NotWatched::Limit,
        other => NotWatched::Failed(other),
    }
}

fn refused(error: &io::Error) -> NotWatched {
    not_watched(Errno::from_io_error(error).unwrap_or(Errno::IO))
}
