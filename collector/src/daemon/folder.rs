//! The folder of the data as the daemon found it: who else may read it, and whether it is still
//! the one when the daemon stops.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// The bits of a mode that let others than the owner in.
const OTHERS: u32 = 0o077;

/// The folder. As long as it is open no other has its inode, also when it was removed.
pub(super) struct DataFolder {
    path: PathBuf,
    opened: File,
}

impl DataFolder {
    /// Opens it, and warns when others may read it: arguments of programs can hold secrets. That
    /// may be on purpose, so that nothing is changed.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("opening the data folder {}", path.display());
        let opened = File::open(path).with_context(failed)?;
        let mode = opened.metadata().with_context(failed)?.mode();
        if let Some(mend) = mend_of(path, mode) {
            tracing::warn!(mend, "The data folder is open to others than its owner");
        }
        Ok(Self { path: path.to_owned(), opened })
    }

    /// Whether the folder is still the one at its path. Files of one that was removed can be
    /// written to without an error, and are gone when they are closed.
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn is_in_place(&self) -> anyhow::Result<()> {
        let is_the_same = match (self.opened.metadata(), fs::metadata(&self.path)) {
            (Ok(opened), Ok(found)) => (opened.dev(), opened.ino()) == (found.dev(), found.ino()),
            (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => false,
            // It cannot be told, and nothing says that it is gone.
            _ => true,
        };
        ensure!(
            is_the_same,
            "the data folder {} was removed or replaced while running: what was collected since \
             is lost",
            self.path.display()
        );
        Ok(())
    }
}

/// What would keep others from reading the folder; `None` when they may not.
fn mend_of(path: &Path, mode: u32) -> Option<String> {
    (mode & OTHERS != 0).then(|| format!("chmod 700 {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_that_others_may_read_is_warned_of() {
        let path = Path::new("/srv/bygone");
        assert_eq!(mend_of(path, 0o040_700), None);
        for mode in [0o040_755, 0o040_750, 0o040_701] {
            assert_eq!(mend_of(path, mode).as_deref(), Some("chmod 700 /srv/bygone"));
        }
    }

    #[test]
    fn a_folder_that_is_removed_or_replaced_is_noticed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        fs::create_dir(&path).unwrap();
        let folder = DataFolder::open(&path).unwrap();
        folder.is_in_place().unwrap();
        let gone = || folder.is_in_place().unwrap_err().to_string();
        fs::remove_dir(&path).unwrap();
        assert!(gone().contains("/data was removed or replaced while running"), "{}", gone());
        fs::create_dir(&path).unwrap();
        assert!(gone().contains("/data was removed or replaced while running"), "{}", gone());
    }
}
