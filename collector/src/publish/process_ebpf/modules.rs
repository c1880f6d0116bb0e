//! The files of modules: kept from the call that hands one to the kernel until the kernel says that
//! the module is there, and read for the name of who signed it.
//!
//! **Invariants:** at most [`WAITING_MAX`] wait; of a file no more is read than the signature at its
//! end, within the bound of [`signature`]; a file counts only when it is what was loaded.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags, fstatfs, openat};

use crate::events::{ModuleFile, ProcessKey};
use crate::host::file_systems::is_elsewhere;
use crate::host::module_signature as signature;
use crate::host::text::bytes;

/// Calls whose module the kernel has not announced: those on their way, and those that failed.
const WAITING_MAX: usize = 64;

/// The files of modules that are being loaded.
#[derive(Debug, Default)]
pub(super) struct Modules {
    waiting: VecDeque<(ProcessKey, u32, Box<ModuleFile>)>,
}

impl Modules {
    /// Notes the file that a thread hands to the kernel.
    pub(super) fn begins(&mut self, process: ProcessKey, tid: u32, file: Box<ModuleFile>) {
        // A thread does one thing at a time: what it handed over before was refused.
        self.waiting.retain(|(other, thread, _)| (*other, *thread) != (process, tid));
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((process, tid, file));
    }

    /// The file of the module that a thread has loaded, and who signed it.
    pub(super) fn loaded(&mut self, process: ProcessKey, tid: u32) -> Option<Box<ModuleFile>> {
        let is_it = |(other, thread, _): &(ProcessKey, u32, _)| (*other, *thread) == (process, tid);
        let at = self.waiting.iter().position(is_it)?;
        let (_, _, mut file) = self.waiting.remove(at)?;
        file.signer = open(process.pid, &file).and_then(|opened| signature::signer(&opened));
        Some(file)
    }
}

/// Opens the file of a module where it is reached from here, if it is still the same.
fn open(pid: u32, module: &ModuleFile) -> Option<File> {
    if module.elsewhere {
        return None;
    }
    let path = bytes(module.path.as_deref().filter(|path| path.starts_with('/'))?);
    // The process lives as long as it waits for more to be loaded; without it the path is tried here.
    [format!("/proc/{pid}/root"), String::new()].into_iter().find_map(|root| {
        let mut place = PathBuf::from(root);
        place.as_mut_os_string().push(OsStr::from_bytes(&path));
        // What is there by now is looked at before it is opened for reading, without waiting.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = openat(CWD, &place, flags, Mode::empty()).ok()?;
        let found_at = format!("/proc/self/fd/{}", found.as_raw_fd());
        if !std::fs::metadata(&found_at).ok()?.is_file()
            || is_elsewhere(fstatfs(&found).ok()?.f_type)
        {
            return None;
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(found_at).ok()?;
        let stat = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let is_same = stat.ino() == module.file.inode
            && Some(stat.size()) == module.file.size
            && module.file.ctime.is_none_or(|ctime| ctime == stat.ctime());
        is_same.then_some(file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::ProgramFile;

    /// The end of a signed module.
    const SIGNED: &[u8] = include_bytes!("../../host/fixtures/module_signature.bin");

    const PROCESS: ProcessKey = ProcessKey { pid: u32::MAX, start_ns: 1 };

    fn module(path: &str, file: ProgramFile) -> Box<ModuleFile> {
        let path = Some(path.to_owned());
        let (mount_namespace, elsewhere, signer) = (None, false, None);
        Box::new(ModuleFile { path, file, mount_namespace, elsewhere, signer })
    }

    #[test]
    fn the_signer_is_read_from_the_file_that_was_loaded_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("module.ko");
        std::fs::write(&path, SIGNED).unwrap();
        let path = path.to_str().unwrap();
        let stat = std::fs::metadata(path).unwrap();
        let (inode, size, ctime) = (stat.ino(), Some(stat.size()), Some(stat.ctime()));
        let file = ProgramFile { inode, size, ctime, ..ProgramFile::default() };
        let mut modules = Modules::default();
        let mut signer = |file, elsewhere| {
            modules.begins(PROCESS, 7, module("/refused", file));
            modules.begins(PROCESS, 7, Box::new(ModuleFile { elsewhere, ..*module(path, file) }));
            assert_eq!(modules.loaded(PROCESS, 8), None, "of another thread");
            let loaded = modules.loaded(PROCESS, 7).unwrap();
            assert_eq!(modules.loaded(PROCESS, 7), None, "it has been told");
            assert_eq!(loaded.path.as_deref(), Some(path));
            loaded.signer.clone()
        };
        assert_eq!(signer(file, false).as_deref(), Some("Build time autogenerated kernel key"));
        assert_eq!(signer(file, true), None);
        for other in [
            ProgramFile { inode: inode + 1, ..file },
            ProgramFile { size: Some(1), ..file },
            ProgramFile { ctime: Some(1), ..file },
        ] {
            assert_eq!(signer(other, false), None);
        }
    }

    #[test]
    fn of_many_that_are_refused_few_are_kept() {
        let mut modules = Modules::default();
        for tid in 0..200 {
            modules.begins(PROCESS, tid, module("/module.ko", ProgramFile::default()));
        }
        assert_eq!(modules.waiting.len(), WAITING_MAX);
        assert!(modules.loaded(PROCESS, 0).is_none() && modules.loaded(PROCESS, 199).is_some());
    }
}
