//! Reaching the file that was executed, and seeing that it is still the one.
//!
//! By the time an exec is known here, the process may have ended and the file may have been replaced,
//! or hidden by a mount. The ways to it, in this order: `/proc/PID/exe`, which is the very file as
//! long as the process runs the program; then its path from a root of its mount namespace: that of
//! the collector when the namespace is its own, else that of the process, or of any other that lives
//! in it. What is found is accepted when inode, change time, size, and the device as its mount has it
//! are those of the exec, before it is read and after. A file on btrfs or overlayfs shows `stat(2)`
//! another device than its mount does, which is what the kernel's probe sees.
//!
//! Files are opened in two steps, so that no file that is not to be read is ever opened for reading:
//! pipes would block, and FUSE file systems would be told.
//!
//! A script is not in the exec's record, and its path may go over links. It is looked up as its process
//! would, from that one's root and without links of `/proc`, which are others here. What is found counts
//! as what ran when it has not changed since, by its change time: content, names, owner and mode cannot
//! change without that one. Of a change within the kernel's tick of the exec it would not tell, so that
//! a script that was written so shortly before is called unproven. What lacks the right to be executed is
//! not it, nor what a younger link leads to. A folder above that was put in place of another one, or a
//! link in the middle of the path, does not show.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstatfs, openat, openat2};

use super::inbox::Request;
use crate::events::{ContentKey, ExecutableKind, ProgramFile};
use crate::host::file_systems::is_elsewhere;
use crate::host::text::bytes;

/// Processes that are looked at for one in a mount namespace.
const PROCESSES_MAX: usize = 4096;

/// The longest time between two values of the clock that file systems take times from: a tick of 100 Hz.
const TICK_NS: i64 = 10_000_000;

/// Bytes of `/proc/PID/mountinfo` that are read.
const MOUNTINFO_BYTES_MAX: u64 = 4 << 20;

/// An executed file, found again.
#[derive(Debug)]
pub(super) struct Found {
    /// Opened only as a place.
    place: OwnedFd,
    /// What it is, with the device that its mount has.
    pub(super) content: ContentKey,
    /// The device that `stat(2)` shows.
    device: u64,
    pub(super) mtime: i64,
    pub(super) mode: u32,
    pub(super) owner_uid: u32,
    pub(super) owner_gid: u32,
    links: u64,
    /// Whether it has lost its last name since the exec, and with that its change time.
    pub(super) is_deleted: bool,
    /// Whether it would look the same had it changed just after the exec.
    pub(super) is_unproven: bool,
    /// Of a script: whether it cannot be what was executed, whatever its change time.
    is_another: bool,
    /// Whether it is on a file system that is not read by default.
    pub(super) elsewhere: bool,
}

/// Why there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Another file or content is there.
    Changed,
    /// Nothing can be reached.
    Gone,
}

/// Finds the file of a request.
pub(super) fn find(request: &Request, own_namespace: Option<u32>) -> Result<Found, Missing> {
    let pid = request.process.pid;
    // The link may be to the process's next program by now, which says nothing of this one.
    if request.kind == ExecutableKind::Program
        && let Some(file) = &request.file
        && let Some(mut found) = look(&PathBuf::from(format!("/proc/{pid}/exe")), pid)
    {
        found.is_deleted = is_deleted(&found, file);
        if found.is_deleted || is_it(&found, request) {
            return Ok(found);
        }
    }
    let mut missing = Missing::Gone;
    let path = request.namespace_path.as_deref().or(request.path.as_deref());
    let Some(path) = path.filter(|path| path.starts_with('/')) else {
        return Err(Missing::Gone);
    };
    let is_script = request.kind == ExecutableKind::Script;
    for root in roots(pid, request.mount_namespace, own_namespace) {
        let found = match is_script {
            true => look_script(&root, path, request),
            false => look(&below(&root, path), pid),
        };
        match found {
            Some(found) if is_it(&found, request) => return Ok(found),
            Some(_) => missing = Missing::Changed,
            None => {}
        }
    }
    Err(missing)
}

/// A path below a root, also when it begins with a slash.
fn below(root: &Path, path: &str) -> PathBuf {
    let mut place = root.to_owned();
    place.as_mut_os_string().push(OsStr::from_bytes(&bytes(path)));
    place
}

/// Looks for a script as its process would. Its root is that of the mount namespace and what the
/// process has in front of its paths; a live process in it is at its own root, which comes first.
fn look_script(root: &Path, path: &str, request: &Request) -> Option<Found> {
    let pid = request.process.pid;
    let (front, inside) = path.split_at_checked(request.root_len)?;
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let mut top = root.to_owned();
    if top != folder.join("root") {
        top.as_mut_os_string().push(OsStr::from_bytes(&bytes(front)));
    } else if namespace_of(&folder.join("ns/mnt")) != request.mount_namespace {
        // The id is another process's by now.
        return None;
    }
    let top = if top.as_os_str().is_empty() { Path::new("/") } else { &top };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let top = openat(CWD, top, flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
    let links = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let inside = bytes(inside);
    let place = openat2(&top, OsStr::from_bytes(&inside), flags, Mode::empty(), links).ok()?;
    let to_link = flags | OFlags::NOFOLLOW;
    let last = openat2(&top, OsStr::from_bytes(&inside), to_link, Mode::empty(), links).ok()?;
    let last = rustix::fs::fstat(&last).ok()?;
    let mut found = found(place, pid)?;
    // The kernel executes nothing that nobody may execute, and a link made since leads elsewhere.
    let nanoseconds = i64::try_from(last.st_ctime_nsec).unwrap_or(0);
    let linked_ns = last.st_ctime.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
    let is_link = FileType::from_raw_mode(last.st_mode) == FileType::Symlink;
    let is_new_link = is_link && linked_ns > request.time_ns.saturating_sub(TICK_NS);
    found.is_another = is_new_link || found.mode & 0o111 == 0;
    found.is_unproven = found.content.ctime_ns > request.time_ns.saturating_sub(TICK_NS);
    Some(found)
}

/// Roots of the mount namespace, without a slash at the end.
fn roots(pid: u32, namespace: Option<u32>, own: Option<u32>) -> Vec<PathBuf> {
    if namespace.is_none() || namespace == own {
        return vec![PathBuf::new()];
    }
    let mut roots = vec![PathBuf::from(format!("/proc/{pid}/root"))];
    roots.extend(in_namespace(namespace.unwrap_or_default()));
    roots
}

/// The root of some process that lives in a mount namespace.
fn in_namespace(namespace: u32) -> Option<PathBuf> {
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let folders = processes.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
        name.iter().all(u8::is_ascii_digit)
    });
    let of = |folder: &PathBuf| namespace_of(&folder.join("ns/mnt")) == Some(namespace);
    folders.take(PROCESSES_MAX).find(of).map(|folder| folder.join("root"))
}

/// The inode of the collector's own mount namespace.
pub(super) fn own_namespace() -> Option<u32> {
    namespace_of(Path::new("/proc/self/ns/mnt"))
}

fn namespace_of(link: &Path) -> Option<u32> {
    u32::try_from(fs::metadata(link).ok()?.ino()).ok()
}

/// Looks at what is at a place; `None` when nothing is, or it is no file.
fn look(place: &Path, pid: u32) -> Option<Found> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    found(openat(CWD, place, flags, Mode::empty()).ok()?, pid)
}

/// What is at an open place.
fn found(place: OwnedFd, pid: u32) -> Option<Found> {
    let stat = fs::metadata(format!("/proc/self/fd/{}", place.as_raw_fd())).ok()?;
    if !stat.is_file() {
        return None;
    }
    let kind = fstatfs(place.as_fd()).ok()?.f_type;
    Some(Found {
        content: ContentKey {
            device: mount_device(&place, pid).unwrap_or_else(|| stat.dev()),
            ..content(&stat)
        },
        device: stat.dev(),
        mtime: stat.mtime(),
        mode: stat.mode(),
        owner_uid: stat.uid(),
        owner_gid: stat.gid(),
        links: stat.nlink(),
        is_deleted: false,
        is_unproven: false,
        is_another: false,
        elsewhere: is_elsewhere(kind),
        place,
    })
}

fn content(stat: &fs::Metadata) -> ContentKey {
    ContentKey {
        device: stat.dev(),
        inode: stat.ino(),
        ctime_ns: stat.ctime().saturating_mul(1_000_000_000).saturating_add(stat.ctime_nsec()),
        size: stat.size(),
    }
}

/// Whether a file is the one of a request, as far as that says.
fn is_it(found: &Found, request: &Request) -> bool {
    let content = &found.content;
    match &request.file {
        Some(ProgramFile { device, inode, ctime, ctime_ns, size, .. }) => {
            let ctime_seconds = content.ctime_ns.div_euclid(1_000_000_000);
            *inode == content.inode
                && [content.device, found.device].contains(device)
                && ctime.is_none_or(|ctime| ctime == ctime_seconds)
                && ctime_ns.is_none_or(|ctime_ns| ctime_ns == content.ctime_ns)
                && size.is_none_or(|size| size == content.size)
        }
        None => !found.is_another && content.ctime_ns <= request.time_ns,
    }
}

/// Whether a file that is running is the one of an exec but for its name: taking the last one away
/// changes the change time, and nothing else. It cannot be opened any more to be written to.
fn is_deleted(found: &Found, file: &ProgramFile) -> bool {
    let content = &found.content;
    found.links == 0
        && file.links.is_some_and(|links| links > 0)
        && file.inode == content.inode
        && [content.device, found.device].contains(&file.device)
        && file.size == Some(content.size)
        && file.mtime == Some(found.mtime)
}

/// The device of the mount that a file was reached through, as `stat(2)` writes devices: that of the
/// process's mounts, or of the collector's.
fn mount_device(place: &OwnedFd, pid: u32) -> Option<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", place.as_raw_fd())).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
    let of = |process: &str| {
        use std::io::Read as _;
        let file = File::open(format!("/proc/{process}/mountinfo")).ok()?;
        let mut text = Vec::new();
        file.take(MOUNTINFO_BYTES_MAX).read_to_end(&mut text).ok()?;
        device_in(&String::from_utf8_lossy(&text), id)
    };
    of("self").or_else(|| of(&pid.to_string()))
}

/// The device of the mount with this id in the text of a `mountinfo` (`proc_pid_mountinfo(5)`).
fn device_in(text: &str, id: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split(' ').next() == Some(id))?;
    let (major, minor) = line.split(' ').nth(2)?.split_once(':')?;
    Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
}

impl Found {
    /// Opens it for reading.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn open(&self) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt as _;
        // Whoever holds a lease of it would be waited for.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        let place = format!("/proc/self/fd/{}", self.place.as_raw_fd());
        File::options().read(true).custom_flags(flags).open(place)
    }

    /// Whether an open file is still the content that was found. A write changes the change time.
    pub(super) fn is_same(&self, file: &File) -> bool {
        let same = |now: ContentKey| ContentKey { device: self.content.device, ..now };
        file.metadata().is_ok_and(|stat| same(content(&stat)) == self.content)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::events::ProcessKey;
    use crate::publish::executable::inbox::Met;

    fn request(path: &Path, file: Option<ProgramFile>, time_ns: i64) -> Request {
        Request {
            time_ns,
            // No process has this id.
            process: ProcessKey { pid: u32::MAX, start_ns: 0 },
            uid: 0,
            snapshot: false,
            kind: if file.is_some() { ExecutableKind::Program } else { ExecutableKind::Script },
            path: Some(path.to_str().unwrap().to_owned()),
            namespace_path: None,
            root_len: 0,
            interpreter: None,
            mount_namespace: own_namespace(),
            file,
            met: Met::Program(0, 0, None, None),
        }
    }

    fn program(path: &Path) -> ProgramFile {
        let content = look(path, std::process::id()).unwrap().content;
        ProgramFile {
            device: content.device,
            inode: content.inode,
            ctime: Some(content.ctime_ns.div_euclid(1_000_000_000)),
            ctime_ns: Some(content.ctime_ns),
            size: Some(content.size),
            ..ProgramFile::default()
        }
    }

    #[test]
    fn a_file_is_found_by_its_path_and_refused_when_it_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, "one").unwrap();
        let file = program(&path);
        let find = |file| find(&request(&path, Some(file), 0), own_namespace());
        let found = find(file).unwrap();
        assert_eq!((found.content.inode, found.content.size), (file.inode, 3));
        let opened = found.open().unwrap();
        assert!(found.is_same(&opened));
        fs::write(&path, "other").unwrap();
        assert!(!found.is_same(&opened), "the size is another");
        for other in [
            ProgramFile { inode: file.inode + 1, ..file },
            ProgramFile { device: file.device + 1, ..file },
            ProgramFile { ctime: Some(5), ..file },
            ProgramFile { ctime_ns: file.ctime_ns.map(|ctime_ns| ctime_ns + 1), ..file },
            ProgramFile { size: Some(4), ..file },
        ] {
            assert_eq!(find(other).unwrap_err(), Missing::Changed);
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(find(file).unwrap_err(), Missing::Gone);
        fs::create_dir(&path).unwrap();
        assert_eq!(find(file).unwrap_err(), Missing::Gone, "a folder is no file");
    }

    #[test]
    fn a_script_is_what_has_not_changed_since() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script");
        script_file(&path);
        let ctime_ns = look(&path, 1).unwrap().content.ctime_ns;
        let find = |time_ns| find(&request(&path, None, time_ns), own_namespace());
        assert!(find(ctime_ns).unwrap().is_unproven);
        assert!(!find(ctime_ns + TICK_NS).unwrap().is_unproven);
        assert_eq!(find(ctime_ns - 1).unwrap_err(), Missing::Changed);
        // It makes its path a link to another one, which is older.
        let other = folder.path().join("other");
        fs::rename(&path, &other).unwrap();
        let older_ns = look(&other, 1).unwrap().content.ctime_ns;
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let linked_ns = content(&fs::symlink_metadata(&path).unwrap()).ctime_ns;
        assert!(find(linked_ns + TICK_NS).is_ok(), "it was a link when it was executed");
        assert!(older_ns <= linked_ns);
        assert_eq!(find(older_ns.max(linked_ns - 1)).unwrap_err(), Missing::Changed);
        // What nobody may execute was not.
        fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(find(i64::MAX).unwrap_err(), Missing::Changed);
    }

    fn script_file(path: &Path) {
        fs::write(path, "#!/bin/sh").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_script_is_found_as_its_process_would() {
        let folder = tempfile::tempdir().unwrap();
        let jail = folder.path().join("jail");
        fs::create_dir_all(jail.join("bin")).unwrap();
        script_file(&jail.join("bin/x"));
        // Outside of the jail there is no such file.
        std::os::unix::fs::symlink("/bin/x", jail.join("link")).unwrap();
        let inode = fs::metadata(jail.join("bin/x")).unwrap().ino();
        let found = |path: &Path, root_len| {
            let request = Request { root_len, ..request(path, None, i64::MAX) };
            find(&request, own_namespace()).map(|found| found.content.inode)
        };
        let root_len = jail.as_os_str().len();
        assert_eq!(found(&jail.join("link"), root_len).ok(), Some(inode));
        assert_eq!(found(&jail.join("bin/../../../bin/x"), root_len).ok(), Some(inode));
        // Descriptors are those of whoever looks.
        let own = File::open(jail.join("bin/x")).unwrap();
        for place in ["/proc/self/fd", "/dev/fd"] {
            let path = Path::new(place).join(own.as_raw_fd().to_string());
            assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
            assert_eq!(found(&path, 0), Err(Missing::Gone), "{place}");
        }
    }

    #[test]
    fn the_device_is_that_of_the_mount() {
        let text = "22 1 0:21 / /sys rw - sysfs sysfs rw\n\
                    222 1 8:17 / / rw,relatime shared:1 - ext4 /dev/sdb1 rw\n";
        assert_eq!(device_in(text, "222"), Some(rustix::fs::makedev(8, 17)));
        assert_eq!(device_in(text, "22"), Some(21));
        assert_eq!(device_in(text, "2"), None);
    }
}
