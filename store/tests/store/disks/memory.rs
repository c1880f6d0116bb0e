//! A disk in memory that knows what would survive a loss of power.
//!
//! It is as forgetful as POSIX allows. A file's content survives from its last sync on; of what was
//! written since, each write may survive or not, the last one in part. An entry of a folder
//! survives from the folder's last sync on; of the changes since, in each folder some first ones
//! survive. The sync of a file says nothing of its entry, nor the other way round.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bygone_store::disk::{Access, Disk, DiskFile, FileInfo};

use crate::disks::Chance;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

/// A change of a folder's entries.
#[derive(Clone, Debug)]
enum Change {
    Add(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

impl Change {
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Add(path, _) | Self::Remove(path) | Self::Rename(_, path, _) => path.parent(),
        }
    }

    fn apply(&self, entries: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Add(path, node) => drop(entries.insert(path.clone(), *node)),
            Self::Remove(path) => drop(entries.remove(path)),
            Self::Rename(from, to, node) => {
                entries.remove(from);
                entries.insert(to.clone(), *node);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Edit {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Edit {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Length(length) => content.resize(*length, 0),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    since: Vec<Edit>,
}

#[derive(Debug, Default)]
struct State {
    off: bool,
    /// Calls until the power is lost.
    calls_left: Option<u64>,
    entries: BTreeMap<PathBuf, Node>,
    synced: BTreeMap<PathBuf, Node>,
    since: Vec<Change>,
    files: Vec<Content>,
    /// Bytes of all files, once the disk is full.
    capacity: Option<u64>,
    /// The disk is full once a file below this folder is created.
    full_from: Option<PathBuf>,
}

/// A disk in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>);

impl MemoryDisk {
    /// A disk with one folder, which is there for certain.
    pub(crate) fn with_folder(path: &Path) -> Self {
        let disk = Self::default();
        let mut state = disk.0.lock().unwrap();
        for folder in path.ancestors() {
            state.entries.insert(folder.to_path_buf(), Node::Folder);
        }
        state.synced = state.entries.clone();
        drop(state);
        disk
    }

    /// Loses the power after so many further calls: from then on every call fails.
    pub(crate) fn lose_power_after(&self, calls: u64) {
        self.0.lock().unwrap().calls_left = Some(calls);
    }

    /// Has no more space once a file below a folder is created, until [`Self::enlarge`].
    pub(crate) fn full_from(&self, folder: &Path) {
        self.0.lock().unwrap().full_from = Some(folder.to_path_buf());
    }

    pub(crate) fn enlarge(&self) {
        let mut state = self.0.lock().unwrap();
        (state.capacity, state.full_from) = (None, None);
    }

    pub(crate) fn is_off(&self) -> bool {
        self.0.lock().unwrap().off
    }

    /// What a machine finds that is started again after the power was lost now.
    pub(crate) fn survivors(&self, chance: &mut Chance) -> Self {
        let mut state = self.0.lock().unwrap();
        state.off = true;
        let mut entries = state.synced.clone();
        // In each folder the first changes survive, up to some number.
        let mut kept: BTreeMap<&Path, u64> = BTreeMap::new();
        let all = chance.below(3);
        for change in &state.since {
            let folder = change.folder().unwrap_or(Path::new("/"));
            let left = kept.entry(folder).or_insert_with(|| match all {
                0 => 0,
                1 => u64::MAX,
                _ => chance.below(8),
            });
            if *left > 0 {
                *left -= 1;
                change.apply(&mut entries);
            }
        }
        let files: Vec<Content> =
            state.files.iter().map(|content| survive(content, chance)).collect();
        // An entry below a folder that is gone is gone too.
        let folders = entries.clone();
        entries.retain(|path, _| {
            path.ancestors().skip(1).all(|folder| folders.get(folder) == Some(&Node::Folder))
        });
        let synced = entries.clone();
        Self(Arc::new(Mutex::new(State { entries, synced, files, ..State::default() })))
    }

    /// Files by path, for looking at.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let state = self.0.lock().unwrap();
        let files = state.entries.iter().filter(|(_, node)| matches!(node, Node::File(_)));
        files.map(|(path, _)| path.clone()).collect()
    }

    /// Changes a file's content behind everyone's back.
    pub(crate) fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock().unwrap();
        let Some(Node::File(index)) = state.entries.get(path).copied() else {
            panic!("no file {}", path.display());
        };
        let content = &mut state.files[index];
        change(&mut content.now);
        content.synced = content.now.clone();
        content.since.clear();
    }

    /// Copies a file behind everyone's back.
    pub(crate) fn copy(&self, from: &Path, to: &Path) {
        let mut state = self.0.lock().unwrap();
        let Some(Node::File(index)) = state.entries.get(from).copied() else {
            panic!("no file {}", from.display());
        };
        let content = state.files[index].clone();
        state.files.push(content);
        let node = Node::File(state.files.len() - 1);
        state.change(Change::Add(to.to_path_buf(), node));
    }

    fn call(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.0.lock().unwrap();
        if state.calls_left == Some(0) {
            state.off = true;
        }
        if state.off {
            return Err(io::Error::from_raw_os_error(5));
        }
        state.calls_left = state.calls_left.map(|left| left - 1);
        Ok(state)
    }
}

/// What survives of a file: what was synced, and none, all or some of what was written since.
fn survive(content: &Content, chance: &mut Chance) -> Content {
    let mut now = content.synced.clone();
    let all = chance.below(3);
    for edit in &content.since {
        if all == 0 || (all == 2 && chance.below(2) == 0) {
            continue;
        }
        match edit {
            Edit::Write(offset, bytes) if all == 2 && !bytes.is_empty() => {
                let length = chance.below(bytes.len() as u64 + 1) as usize;
                Edit::Write(*offset, bytes[..length].to_vec()).apply(&mut now);
            }
            edit => edit.apply(&mut now),
        }
    }
    Content { synced: now.clone(), now, since: Vec::new() }
}

impl State {
    fn node(&self, path: &Path) -> io::Result<Node> {
        self.entries.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.entries);
        self.since.push(change);
    }

    /// Bytes of all files that have a name.
    fn used(&self) -> u64 {
        let files = self.entries.values().map(|node| match node {
            Node::Folder => 0,
            Node::File(index) => self.files[*index].now.len() as u64,
        });
        files.sum()
    }

    fn free(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    /// Fails when there is no space for a file to become so long.
    fn reserve(&self, index: usize, length: usize) -> io::Result<()> {
        let more = length.saturating_sub(self.files[index].now.len());
        if more as u64 > self.free() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn edit(&mut self, index: usize, edit: Edit) {
        let content = &mut self.files[index];
        edit.apply(&mut content.now);
        content.since.push(edit);
    }
}

impl Disk for MemoryDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        let missing: Vec<PathBuf> = path
            .ancestors()
            .take_while(|folder| state.node(folder).is_err())
            .map(Path::to_path_buf)
            .collect();
        for folder in missing.into_iter().rev() {
            state.change(Change::Add(folder, Node::Folder));
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        state.node(path)?;
        let since = std::mem::take(&mut state.since);
        for change in since {
            if change.folder() == Some(path) {
                change.apply(&mut state.synced);
            } else {
                state.since.push(change);
            }
        }
        Ok(())
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.call()?;
        if state.node(path)? != Node::Folder {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let children = state.entries.keys().filter(|entry| entry.parent() == Some(path));
        Ok(children.map(|child| child.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn info(&self, path: &Path) -> io::Result<FileInfo> {
        let state = self.call()?;
        Ok(match state.node(path)? {
            Node::Folder => FileInfo { bytes: 0, modified: None, is_dir: true },
            Node::File(index) => {
                let bytes = state.files[index].now.len() as u64;
                FileInfo { bytes, modified: None, is_dir: false }
            }
        })
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.call()?;
        let found = state.node(path);
        let create = matches!(access, Access::Create | Access::InPlace);
        let index = match found {
            Ok(Node::File(index)) => index,
            Ok(Node::Folder) => return Err(io::ErrorKind::IsADirectory.into()),
            Err(_) if create => {
                state.node(path.parent().unwrap())?;
                state.files.push(Content::default());
                let index = state.files.len() - 1;
                state.change(Change::Add(path.to_path_buf(), Node::File(index)));
                if state.full_from.as_ref().is_some_and(|folder| path.starts_with(folder)) {
                    state.full_from = None;
                    state.capacity = Some(state.used());
                }
                index
            }
            Err(error) => return Err(error),
        };
        if access == Access::Create {
            state.edit(index, Edit::Length(0));
        }
        Ok(Box::new(MemoryFile { disk: self.clone(), index }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        let node = state.node(from)?;
        state.change(Change::Rename(from.to_path_buf(), to.to_path_buf(), node));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        state.node(path)?;
        state.change(Change::Remove(path.to_path_buf()));
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.call()?.free())
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    index: usize,
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.call()?;
        let end = state.files[self.index].now.len();
        // As much as there is space for, as file systems do.
        let room = usize::try_from(state.free()).unwrap_or(usize::MAX).min(bytes.len());
        if room == 0 {
            state.reserve(self.index, end + bytes.len())?;
        }
        state.edit(self.index, Edit::Write(end, bytes[..room].to_vec()));
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.call()?;
        let content = &state.files[self.index].now;
        let rest = content.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.call()?;
        state.reserve(self.index, offset as usize + bytes.len())?;
        state.edit(self.index, Edit::Write(offset as usize, bytes.to_vec()));
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.call()?;
        state.reserve(self.index, bytes as usize)?;
        state.edit(self.index, Edit::Length(bytes as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.call()?;
        let content = &mut state.files[self.index];
        content.synced = content.now.clone();
        content.since.clear();
        Ok(())
    }

    fn info(&self) -> io::Result<FileInfo> {
        let state = self.disk.call()?;
        let bytes = state.files[self.index].now.len() as u64;
        Ok(FileInfo { bytes, modified: None, is_dir: false })
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.disk.call().map(|_| true)
    }

    fn is_locked(&self) -> io::Result<bool> {
        self.disk.call().map(|_| false)
    }

    fn unlock(&self) -> io::Result<()> {
        self.disk.call().map(drop)
    }
}
