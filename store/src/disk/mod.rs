//! The one way to the file system.
//!
//! Everything that the store reads, writes, lists, renames or removes goes through [`Disk`], so
//! that a test can put another one in its place: one that fails at any call, or that forgets what
//! was not synced, as a loss of power does. [`RealDisk`] is the operating system's.
//!
//! `Folder` is a data folder on a disk. The names of its methods say what is durable:
//! `create_durable` and `rename_durable` return only when the folder's entry is
//! on disk too.
//!
//! **Invariant:** no other module of the store names `std::fs`, tests apart.

mod folder;
mod names;
mod real;

use std::fmt;
use std::io;
use std::path::Path;
use std::time::SystemTime;

pub(crate) use folder::Folder;
pub(crate) use names::{missing, number, random_16};
pub use real::RealDisk;

/// What a file is opened for. One that is created may be read by its owner alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be read; it must be there.
    Read,
    /// To be written from its beginning; it is created, or emptied.
    Create,
    /// To be written at its end; it must be there.
    Append,
    /// To be read and written in place; it is created when it is missing.
    InPlace,
}

/// What is known of a file or folder by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Its length in bytes.
    pub bytes: u64,
    /// When its content last changed, where the system says so.
    pub modified: Option<SystemTime>,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// A file system, as far as the store needs one. Each method is one system call or a few that
/// belong together, and fails as they do.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Creates a folder and those above it, which only their owner may enter, unless they exist.
    ///
    /// # Errors
    /// As mkdir(2).
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder's entries durable: fsync(2) on it.
    ///
    /// # Errors
    /// As open(2) and fsync(2).
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder that are UTF-8, in no order.
    ///
    /// # Errors
    /// As opendir(3) and readdir(3).
    fn names(&self, path: &Path) -> io::Result<Vec<String>>;

    /// What is known of a file or folder.
    ///
    /// # Errors
    /// As stat(2).
    fn info(&self, path: &Path) -> io::Result<FileInfo>;

    /// Opens a file.
    ///
    /// # Errors
    /// As open(2).
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name in the same folder, in place of what has that name.
    ///
    /// # Errors
    /// As rename(2).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// As unlink(2).
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Bytes that an unprivileged process can still write to the file system of a folder.
    ///
    /// # Errors
    /// As statvfs(3).
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// An open file. [`io::Write`] writes at its end or, for one opened in place, is not used.
pub trait DiskFile: io::Write + fmt::Debug + Send + Sync {
    /// Reads into `buffer` from `offset`; says how many bytes, 0 at the end.
    ///
    /// # Errors
    /// As pread(2).
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As pwrite(2).
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Sets the length.
    ///
    /// # Errors
    /// As ftruncate(2).
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Makes content and length durable: fdatasync(2), which on macOS is `F_FULLFSYNC`.
    ///
    /// # Errors
    /// As fdatasync(2). What of the file is durable then is unknown.
    fn sync(&self) -> io::Result<()>;

    /// What is known of the file.
    ///
    /// # Errors
    /// As fstat(2).
    fn info(&self) -> io::Result<FileInfo>;

    /// Takes the file's lock for this process unless another has it; says whether it was taken.
    ///
    /// # Errors
    /// As flock(2).
    fn try_lock(&self) -> io::Result<bool>;

    /// Whether a process has the file's lock. It is taken for this, shared with others who ask,
    /// and given up at once: not to be asked of the very file that holds it.
    ///
    /// # Errors
    /// As flock(2).
    fn is_locked(&self) -> io::Result<bool>;

    /// Gives the file's lock up.
    ///
    /// # Errors
    /// As flock(2).
    fn unlock(&self) -> io::Result<()>;
}

/// Fills `buffer` from `offset` as far as the file goes; says how many bytes were there.
pub(crate) fn read_at(file: &dyn DiskFile, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(offset + filled as u64, rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads exactly `length` bytes from `offset`.
pub(crate) fn read_exact_at(
    file: &dyn DiskFile,
    offset: u64,
    length: usize,
) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    if read_at(file, offset, &mut buffer)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(buffer)
}
