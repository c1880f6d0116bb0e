//! What `stat(2)` says of one entry, without following it.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, StatxTimestamp, statx};

use crate::events::FileStat;

/// Device and inode: which file it is, whatever its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    pub(super) inode: u64,
}

/// The parts of `statx(2)` that are used, times in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) identity: Identity,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime_ns: i64,
    pub(super) ctime_ns: i64,
    atime: i64,
    /// Creation, where the file system keeps it.
    pub(super) btime_ns: Option<i64>,
}

impl Stat {
    /// Of a path; `None` when nothing is there that can be looked at.
    pub(super) fn of_path(path: &Path) -> Option<Self> {
        statx(CWD, path, FLAGS, WANTED).ok().map(|statx| Self::new(&statx))
    }

    /// Of an entry of an open directory; `None` when it is gone.
    pub(super) fn of_entry(directory: BorrowedFd<'_>, name: &CStr) -> Option<Self> {
        statx(directory, name, FLAGS, WANTED).ok().map(|statx| Self::new(&statx))
    }

    /// Of an open file.
    pub(super) fn of_file(file: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        statx(file, c"", AtFlags::EMPTY_PATH, WANTED).map(|statx| Self::new(&statx))
    }

    fn new(statx: &Statx) -> Self {
        let device = (u64::from(statx.stx_dev_major) << 32) | u64::from(statx.stx_dev_minor);
        let has_btime = statx.stx_mask & StatxFlags::BTIME.bits() != 0;
        Self {
            identity: Identity { device, inode: statx.stx_ino },
            mode: u32::from(statx.stx_mode),
            uid: statx.stx_uid,
            gid: statx.stx_gid,
            size: statx.stx_size,
            mtime_ns: nanoseconds(statx.stx_mtime),
            ctime_ns: nanoseconds(statx.stx_ctime),
            atime: statx.stx_atime.tv_sec,
            btime_ns: has_btime.then(|| nanoseconds(statx.stx_btime)),
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }

    /// The parts that events keep.
    pub(super) fn for_event(&self) -> FileStat {
        FileStat {
            inode: self.identity.inode,
            uid: self.uid,
            gid: self.gid,
            mode: self.mode,
            size: self.size,
            atime: self.atime,
            mtime: self.mtime_ns.div_euclid(1_000_000_000),
            ctime: self.ctime_ns.div_euclid(1_000_000_000),
        }
    }
}

/// A network file system answers from its cache: an event must not wait for another machine.
const FLAGS: AtFlags =
    AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT).union(AtFlags::STATX_DONT_SYNC);

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

fn nanoseconds(time: StatxTimestamp) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.tv_nsec))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn agrees_with_the_standard_library() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, b"twelve bytes").unwrap();
        let stat = Stat::of_path(&path).unwrap();
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let event = stat.for_event();
        assert_eq!(event.inode, metadata.ino());
        assert_eq!((event.uid, event.gid), (metadata.uid(), metadata.gid()));
        assert_eq!((event.mode, event.size), (metadata.mode(), 12));
        assert_eq!((event.mtime, event.ctime), (metadata.mtime(), metadata.ctime()));
        assert_eq!(stat.mtime_ns % 1_000_000_000, metadata.mtime_nsec());
        assert!(!stat.is_directory());
        assert_eq!(Stat::of_path(&folder.path().join("absent")), None);
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert!(!Stat::of_path(&link).unwrap().is_directory());
    }
}
