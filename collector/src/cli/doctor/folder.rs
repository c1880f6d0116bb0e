//! The folder of the data: whether it can be used, and whether a collector is using it.

use std::path::{Path, PathBuf};

use bygone_store::Holder;
use rustix::fs::{Access, access};
use serde::Serialize;

/// The state of the folder.
#[derive(Debug, Serialize)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) exists: bool,
    pub(super) writable: bool,
    /// The process that writes to it now, where there is one and it is known.
    pub(super) collector_pid: Option<u32>,
    /// The first three in words.
    pub(super) state: String,
    /// The last in words.
    pub(super) collector: String,
}

impl Folder {
    /// Looks at the folder.
    pub(super) fn examine(path: &Path) -> Self {
        let exists = path.is_dir();
        let writable = exists && access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        let state = match (exists, writable) {
            (true, true) => "exists, writable",
            (true, false) => "exists, not writable for this user",
            (false, _) if path.exists() => "is not a folder",
            (false, _) => "does not exist or cannot be seen by this user; bygone run makes it",
        };
        let holder = Holder::of(path);
        let collector = match &holder {
            Ok(Holder::Process(Some(pid))) => format!("running as process {pid}"),
            Ok(Holder::Process(None)) => "running".to_owned(),
            Ok(Holder::Nobody) => "not running".to_owned(),
            Err(error) => format!("not known: {}: {error}", path.join("lock").display()),
        };
        Self {
            path: path.to_owned(),
            exists,
            writable,
            collector_pid: if let Ok(Holder::Process(pid)) = holder { pid } else { None },
            state: state.to_owned(),
            collector,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_that_is_not_there() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::examine(&parent.path().join("none"));
        assert!(!folder.exists && !folder.writable);
        assert_eq!(folder.collector, "not running");
    }

    #[test]
    fn the_holder_of_the_lock_is_the_collector() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("lock");
        fs::write(&path, "7\n").unwrap();
        assert_eq!(Folder::examine(parent.path()).collector, "not running");

        let holder = fs::File::open(&path).unwrap();
        holder.lock().unwrap();
        let held = Folder::examine(parent.path());
        assert_eq!(held.collector, "running as process 7");
        assert_eq!((held.exists, held.writable, held.collector_pid), (true, true, Some(7)));

        holder.unlock().unwrap();
        assert_eq!(Folder::examine(parent.path()).collector_pid, None);
    }
}
