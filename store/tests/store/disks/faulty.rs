//! A disk that fails at chosen calls.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bygone_store::disk::{Access, Disk, DiskFile, FileInfo};

/// Which calls fail, counted from 0, and with which error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) from: u64,
    pub(crate) calls: u64,
    pub(crate) errno: i32,
}

impl Fault {
    pub(crate) const NONE: Self = Self { from: u64::MAX, calls: 0, errno: 0 };
}

#[derive(Debug)]
struct Plan {
    fault: Fault,
    calls: AtomicU64,
}

impl Plan {
    fn call(&self) -> io::Result<()> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let fault = self.fault;
        if number >= fault.from && number - fault.from < fault.calls {
            return Err(io::Error::from_raw_os_error(fault.errno));
        }
        Ok(())
    }
}

/// Another disk, some of whose calls fail. A write that fails has written half.
#[derive(Clone, Debug)]
pub(crate) struct FaultyDisk {
    disk: Arc<dyn Disk>,
    plan: Arc<Plan>,
}

impl FaultyDisk {
    pub(crate) fn new(disk: Arc<dyn Disk>, fault: Fault) -> Self {
        Self { disk, plan: Arc::new(Plan { fault, calls: AtomicU64::new(0) }) }
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> u64 {
        self.plan.calls.load(Ordering::Relaxed)
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.call()?;
        self.disk.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.call()?;
        self.disk.sync_dir(path)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        self.plan.call()?;
        self.disk.names(path)
    }

    fn info(&self, path: &Path) -> io::Result<FileInfo> {
        self.plan.call()?;
        self.disk.info(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        self.plan.call()?;
        let file = self.disk.open(path, access)?;
        Ok(Box::new(FaultyFile { file, plan: Arc::clone(&self.plan) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plan.call()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.plan.call()?;
        self.disk.remove(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.plan.call()?;
        self.disk.free_bytes(path)
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn DiskFile>,
    plan: Arc<Plan>,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.plan.call() {
            let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
            self.file.write_all(half)?;
            return Err(error);
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.plan.call()?;
        self.file.read_at(offset, buffer)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.plan.call() {
            let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
            self.file.write_all_at(offset, half)?;
            return Err(error);
        }
        self.file.write_all_at(offset, bytes)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.plan.call()?;
        self.file.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.plan.call()?;
        self.file.sync()
    }

    fn info(&self) -> io::Result<FileInfo> {
        self.plan.call()?;
        self.file.info()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.plan.call()?;
        self.file.try_lock()
    }

    fn is_locked(&self) -> io::Result<bool> {
        self.plan.call()?;
        self.file.is_locked()
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }
}
