//! One writer per data folder.
//!
//! The lock is `flock(2)` on the file `lock`, which the kernel gives up when the process ends, in
//! whatever way. The file's content, the holder's pid, is only for the message.

use std::io;

use crate::disk::{self, DiskFile, Folder};
use crate::layout;

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
        if !file.try_lock()? {
            let mut text = [0; 16];
            let filled = disk::read_at(file.as_ref(), 0, &mut text)?;
            let text = text.get(..filled).and_then(|text| std::str::from_utf8(text).ok());
            return Err(LockError::Held { pid: text.and_then(|text| text.trim().parse().ok()) });
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
