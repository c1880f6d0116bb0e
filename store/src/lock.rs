//! One writer per data folder.
//!
//! The lock is `flock(2)` on the file `lock`, which the kernel gives up when the process ends, in
//! whatever way. The file's content, the holder's pid, is only for the message.
//!
//! Whether someone has it can be told only by taking it, shared with others who ask, for a moment.
//! So one who wants to write and finds it taken asks as well, and tries again while nobody writes.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{self, DiskFile, Folder, RealDisk};
use crate::layout;
use crate::limits::{LOCK_ATTEMPTS, LOCK_PAUSE};

/// Who has the right to write to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// A process, with its id when it has said so. It may be one of another machine, or of another
    /// pid namespace.
    Process(Option<u32>),
}

impl Holder {
    /// Who may write to the store in `dir` at this moment. That needs the right to read it, and
    /// keeps no writer from starting; where there is no store, it is nobody.
    ///
    /// # Errors
    /// When the lock's file cannot be opened or the file system has no locks.
    pub fn of(dir: &Path) -> io::Result<Self> {
        Self::on(&Folder::new(dir, Arc::new(RealDisk)))
    }

    pub(crate) fn on(dir: &Folder) -> io::Result<Self> {
        let file = match dir.open(&layout::lock_path(dir.path())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Nobody),
            opened => opened?,
        };
        match file.is_locked()? {
            true => Ok(Self::Process(pid(file.as_ref())?)),
            false => Ok(Self::Nobody),
        }
    }
}

/// The id that a holder has written into the file.
fn pid(file: &dyn DiskFile) -> io::Result<Option<u32>> {
    let mut text = [0; 16];
    let filled = disk::read_at(file, 0, &mut text)?;
    let text = text.get(..filled).and_then(|text| std::str::from_utf8(text).ok());
    Ok(text.and_then(|text| text.trim().parse().ok()))
}

/// Why the lock was not taken.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process has it.
    Held { pid: Option<u32> },
    /// The file cannot be opened, locked or written.
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Held as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    file: Box<dyn DiskFile>,
}

impl Lock {
    pub(crate) fn take(dir: &Folder) -> Result<Self, LockError> {
        let file = dir.open_in_place(&layout::lock_path(dir.path()))?;
        let mut attempts = LOCK_ATTEMPTS;
        while !file.try_lock()? {
            attempts -= 1;
            if attempts == 0 || file.is_locked()? {
                return Err(LockError::Held { pid: pid(file.as_ref())? });
            }
            std::thread::park_timeout(LOCK_PAUSE);
        }
        file.set_len(0)?;
        file.write_all_at(0, format!("{}\n", std::process::id()).as_bytes())?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    /// Gives the lock up at once. Closing the file would not do: a child process that is being
    /// started has a copy of it until it runs its program, and the lock belongs to both.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!(error = %error, "The lock is given up only when the file is closed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn those_who_ask_keep_nobody_from_writing() {
        let parent = tempfile::tempdir().unwrap();
        let dir = &Folder::real(parent.path());
        assert_eq!(Holder::on(dir).unwrap(), Holder::Nobody, "there is no such file");
        drop(Lock::take(dir).unwrap());
        let asked = &AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while asked.fetch_add(1, Ordering::Relaxed) < 20_000 {
                        Holder::on(dir).unwrap();
                    }
                });
            }
            let mut refused = 0;
            while asked.load(Ordering::Relaxed) < 20_000 {
                let Ok(lock) = Lock::take(dir) else {
                    refused += 1;
                    continue;
                };
                assert_eq!(Holder::on(dir).unwrap(), Holder::Process(Some(std::process::id())));
                assert!(matches!(Lock::take(dir), Err(LockError::Held { pid: Some(_) })));
                drop(lock);
            }
            assert_eq!(refused, 0);
        });
        assert_eq!(Holder::on(dir).unwrap(), Holder::Nobody);
    }
}
