//! One writer per data folder.
//!
//! The lock is `flock(2)` on the file `lock`, which the kernel gives up when the process ends, in
//! whatever way. The file's content, the holder's pid, is only for the message.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::files;
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
    file: File,
}

impl Lock {
    pub(crate) fn take(dir: &Path) -> Result<Self, LockError> {
        let file = files::open_in_place(&layout::lock_path(dir))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = [0; 16];
                let filled = files::read_at(&file, 0, &mut text)?;
                let text = text.get(..filled).and_then(|text| std::str::from_utf8(text).ok());
                return Err(LockError::Held {
                    pid: text.and_then(|text| text.trim().parse().ok()),
                });
            }
            Err(errno) => return Err(LockError::Io(errno.into())),
        }
        file.set_len(0)?;
        files::write_all_at(&file, 0, format!("{}\n", std::process::id()).as_bytes())?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    /// Gives the lock up at once. Closing the file would not do: a child process that is being
    /// started has a copy of it until it runs its program, and the lock belongs to both.
    fn drop(&mut self) {
        if let Err(errno) = flock(&self.file, FlockOperation::Unlock) {
            tracing::warn!(error = %errno, "The lock is given up only when the file is closed");
        }
    }
}
