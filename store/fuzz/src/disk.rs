//! A disk in memory.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bygone_store::WriterOptions;
use bygone_store::disk::{Access, Disk, DiskFile, FileInfo};

type Content = Arc<Mutex<Vec<u8>>>;

/// Files and folders by path; a folder has no content.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<BTreeMap<PathBuf, Option<Content>>>>);

impl MemoryDisk {
    /// The same files, each on its own.
    pub(crate) fn copied(&self) -> Self {
        let copy = |content: &Content| Arc::new(Mutex::new(content.lock().unwrap().clone()));
        let entries = self.entries();
        let copied = entries.iter().map(|(path, node)| (path.clone(), node.as_ref().map(copy)));
        Self(Arc::new(Mutex::new(copied.collect())))
    }

    /// To write on it.
    pub(crate) fn options(&self, boot_id: [u8; 16]) -> WriterOptions {
        let mut options = WriterOptions::new(boot_id);
        options.disk = Arc::new(self.clone());
        options
    }

    pub(crate) fn put(&self, path: &Path, content: Vec<u8>) {
        self.entries().insert(path.to_path_buf(), Some(Arc::new(Mutex::new(content))));
    }

    pub(crate) fn content(&self, path: &Path) -> Vec<u8> {
        self.file(path).unwrap().lock().unwrap().clone()
    }

    /// The files below a folder.
    pub(crate) fn below(&self, folder: &Path) -> Vec<PathBuf> {
        let entries = self.entries();
        let files =
            entries.iter().filter(|(path, node)| node.is_some() && path.starts_with(folder));
        files.map(|(path, _)| path.clone()).collect()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Option<Content>>> {
        self.0.lock().unwrap()
    }

    fn file(&self, path: &Path) -> io::Result<Content> {
        match self.entries().get(path) {
            Some(Some(content)) => Ok(Arc::clone(content)),
            Some(None) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn info(content: &Content) -> FileInfo {
    FileInfo { bytes: content.lock().unwrap().len() as u64, modified: None, is_dir: false }
}

impl Disk for MemoryDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        for folder in path.ancestors() {
            self.entries().entry(folder.to_path_buf()).or_insert(None);
        }
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = self.entries();
        match entries.get(path) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Some(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            Some(None) => {}
        }
        let children = entries.keys().filter(|entry| entry.parent() == Some(path));
        Ok(children.filter_map(|child| Some(child.file_name()?.to_str()?.to_owned())).collect())
    }

    fn info(&self, path: &Path) -> io::Result<FileInfo> {
        match self.entries().get(path) {
            Some(Some(content)) => Ok(info(content)),
            Some(None) => Ok(FileInfo { bytes: 0, modified: None, is_dir: true }),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let create = matches!(access, Access::Create | Access::InPlace);
        if create
            && matches!(self.file(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
        {
            self.put(path, Vec::new());
        }
        let content = self.file(path)?;
        if access == Access::Create {
            content.lock().unwrap().clear();
        }
        Ok(Box::new(MemoryFile(content)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut entries = self.entries();
        let node = entries.remove(from).ok_or(io::ErrorKind::NotFound)?;
        entries.insert(to.to_path_buf(), node);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.entries().remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[derive(Debug)]
struct MemoryFile(Content);

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let content = self.0.lock().unwrap();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = content.get(start..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.0.lock().unwrap();
        let start = offset as usize;
        if content.len() < start + bytes.len() {
            content.resize(start + bytes.len(), 0);
        }
        content[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.lock().unwrap().resize(bytes as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn info(&self) -> io::Result<FileInfo> {
        Ok(info(&self.0))
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn is_locked(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn unlock(&self) -> io::Result<()> {
        Ok(())
    }
}
