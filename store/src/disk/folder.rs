//! A data folder on a disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

#[cfg(test)]
use crate::disk::RealDisk;
use crate::disk::{Access, Disk, DiskFile, names, read_at};
use crate::layout;

/// A data folder and the disk that it is on. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: Arc<Path>,
    disk: Arc<dyn Disk>,
}

impl Folder {
    pub(crate) fn new(path: &Path, disk: Arc<dyn Disk>) -> Self {
        Self { path: path.into(), disk }
    }

    /// A folder of the operating system.
    #[cfg(test)]
    pub(crate) fn real(path: &Path) -> Self {
        Self::new(path, Arc::new(RealDisk))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn to_path_buf(&self) -> PathBuf {
        self.path.to_path_buf()
    }

    /// A path below the folder.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Creates a folder that only its owner may enter, unless it exists.
    pub(crate) fn create_dir_private(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    /// Makes a folder's entries durable.
    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    /// Opens a file to read it.
    pub(crate) fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(path, Access::Read)
    }

    /// Opens a file that is there to write at its end.
    pub(crate) fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(path, Access::Append)
    }

    /// Creates or empties a file to write to; only its owner may read it.
    pub(crate) fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(path, Access::Create)
    }

    /// Opens a file to read and write in place, creating it when it is missing.
    pub(crate) fn open_in_place(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(path, Access::InPlace)
    }

    /// All of a file.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let bytes = file.info()?.bytes;
        let mut content = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        let filled = read_at(file.as_ref(), 0, &mut content)?;
        content.truncate(filled);
        Ok(content)
    }

    /// Length of a file in bytes.
    pub(crate) fn bytes(&self, path: &Path) -> io::Result<u64> {
        Ok(self.disk.info(path)?.bytes)
    }

    /// When a file's content last changed; `None` when it is not there or that is unknown.
    pub(crate) fn modified(&self, path: &Path) -> Option<SystemTime> {
        self.disk.info(path).ok()?.modified
    }

    /// Whether there is something of this name. What cannot be looked at is taken to be there.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        !matches!(self.disk.info(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn is_dir(&self, path: &Path) -> bool {
        self.disk.info(path).is_ok_and(|info| info.is_dir)
    }

    /// Removes a file.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    /// Renames a file within one folder. That is durable once the folder is synced.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    /// Bytes that can still be written to the disk.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes(&self.path)
    }

    /// Renames a file within one folder and makes that durable. The file's content must be synced.
    pub(crate) fn rename_durable(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)?;
        self.sync_dir(to.parent().unwrap_or(Path::new(".")))
    }

    /// Creates `path` with `content` in one step: it is there whole or not at all, also after a
    /// loss of power. Returns the file, positioned at its end.
    pub(crate) fn create_durable(
        &self,
        path: &Path,
        content: &[u8],
    ) -> io::Result<Box<dyn DiskFile>> {
        let temporary = path.with_extension(layout::TEMPORARY_EXTENSION);
        let mut file = self.create(&temporary)?;
        let written = file.write_all(content).and_then(|()| file.sync());
        if let Err(error) = written.and_then(|()| self.rename_durable(&temporary, path)) {
            // It would take room that is short; one that cannot be removed goes at the next start.
            let _left = self.disk.remove(&temporary);
            return Err(error);
        }
        Ok(file)
    }

    /// The names in a folder that are UTF-8; a missing folder has none.
    pub(crate) fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        match self.disk.names(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed,
        }
    }

    /// The numbers of the files `<number>.<extension>` in a folder, ascending. Other names are
    /// left out; a missing folder has none.
    pub(crate) fn numbered(&self, path: &Path, extension: &str) -> io::Result<Vec<u64>> {
        Ok(names::numbered(&self.names(path)?, extension))
    }
}
