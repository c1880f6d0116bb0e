//! What `/proc/PID` says of a process.
//!
//! All files of one process are opened below one descriptor of its folder, so that they belong to
//! one process even when it ends and its pid is given to another: reads then fail. The buffer is
//! reused from file to file.
//!
//! Only `stat` is needed for a process to exist; what else cannot be read, because the process has
//! just ended or belongs to somebody else, is `None`.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use procfs::process::Io;
use procfs::{FromRead, ProcessCGroups};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::{Errno, read};

use super::text::lossless;
use crate::events::{CapabilitySets, ProgramFile};

/// Nanoseconds in a clock tick as `/proc` counts: the kernel's `USER_HZ` is 100 on every architecture
/// that Bygone runs on.
pub const TICK_NS: u64 = 10_000_000;

/// The flag of kernel threads in the field `flags` of `/proc/PID/stat`,
/// <https://github.com/torvalds/linux/blob/v6.12/include/linux/sched.h#L1713>.
const PF_KTHREAD: u32 = 0x0020_0000;

/// Most bytes of one file that are read: the kernel allows 6 MiB of arguments.
const FILE_BYTES_MAX: usize = 8 << 20;

/// Fields of `/proc/PID/stat`, in its units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Name of the program, at most 15 bytes, with bytes that are not UTF-8 as `\xHH`.
    pub name: String,
    /// State of the main thread: one letter.
    pub state: char,
    /// Process id of the parent.
    pub parent: u32,
    /// Process group.
    pub group: u32,
    /// POSIX session.
    pub session: u32,
    /// CPU time in user mode, in clock ticks.
    pub user_ticks: u64,
    /// CPU time in the kernel, in clock ticks.
    pub system_ticks: u64,
    /// Niceness.
    pub nice: i32,
    /// How many threads there are.
    pub threads: i32,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
    /// Device number of the controlling terminal, 0 when there is none: the minor number's high bits
    /// above the major one (`new_encode_dev` of the kernel).
    pub terminal: u32,
    /// Whether it is a thread of the kernel's own (`PF_KTHREAD`).
    pub is_kernel_thread: bool,
    /// Address of the bottom of its stack, which every exec sets anew; 0 when the kernel does not
    /// show it to this user, and for kernel threads.
    pub stack_start: u64,
}

impl Stat {
    /// Takes a line of `/proc/PID/stat` apart; `None` when it is not one.
    ///
    /// The name stands in parentheses and may hold any bytes, parentheses too: it ends at the last
    /// one.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|&byte| byte == b'(')?;
        let close = line.iter().rposition(|&byte| byte == b')')?;
        let name = line.get(open + 1..close)?;
        let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        // Fields as numbered by proc(5), from the third on; each call skips to a later one.
        let mut at = 2;
        let mut field = |number: usize| {
            let skipped = number - at - 1;
            at = number;
            fields.nth(skipped)
        };
        Some(Self {
            name: lossless(name),
            state: field(3)?.chars().next()?,
            parent: field(4)?.parse().ok()?,
            group: field(5)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
            // Signed in the kernel's output.
            terminal: field(7)?.parse::<i64>().ok()? as u32,
            is_kernel_thread: field(9)?.parse::<u32>().ok()? & PF_KTHREAD != 0,
            user_ticks: field(14)?.parse().ok()?,
            system_ticks: field(15)?.parse().ok()?,
            nice: field(19)?.parse().ok()?,
            threads: field(20)?.parse().ok()?,
            start_ticks: field(22)?.parse().ok()?,
            stack_start: field(28).and_then(|address| address.parse().ok()).unwrap_or(0),
        })
    }

    /// Start of the process in nanoseconds since boot, to the tick.
    #[must_use]
    pub const fn start_ns(&self) -> u64 {
        self.start_ticks.saturating_mul(TICK_NS)
    }

    /// Name of the controlling terminal, as below `/dev`; `None` when there is none or it is of a kind
    /// whose names are not known.
    #[must_use]
    pub fn terminal_name(&self) -> Option<String> {
        let major = self.terminal >> 8 & 0xfff;
        let minor = self.terminal & 0xff | self.terminal >> 12 & 0xf_ff00;
        // Documentation/admin-guide/devices.txt of the kernel.
        match (major, minor) {
            (136..=143, _) => Some(format!("pts/{}", ((major - 136) << 20) + minor)),
            (4, 1..64) => Some(format!("tty{minor}")),
            (4, 64..) => Some(format!("ttyS{}", minor - 64)),
            (5, 1) => Some("console".to_owned()),
            _ => None,
        }
    }

    /// Whether nothing of it runs any more: it only waits to be reaped.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x') && self.threads <= 1
    }
}

/// Lines of `/proc/PID/status` that `stat` has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Real, effective, saved and file-system user ids.
    pub uids: [u32; 4],
    /// Real, effective, saved and file-system group ids.
    pub gids: [u32; 4],
    /// Locked memory in bytes; 0 for kernel threads, as the next two.
    pub locked_bytes: u64,
    /// Memory in RAM, in bytes.
    pub resident_bytes: u64,
    /// Address space in bytes.
    pub total_bytes: u64,
    /// Capabilities that it may take up, and those in effect.
    pub capabilities: CapabilitySets,
}

impl Status {
    /// Takes the text of `/proc/PID/status` apart; `None` when it has no ids.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut status = Self::default();
        let (mut has_uids, mut has_gids) = (false, false);
        for line in text.split(|&byte| byte == b'\n') {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else {
                continue;
            };
            let (key, value) = line.split_at(colon);
            let Ok(value) = std::str::from_utf8(value.get(1..).unwrap_or_default()) else {
                continue;
            };
            match key {
                b"Uid" => (status.uids, has_uids) = (four(value)?, true),
                b"Gid" => (status.gids, has_gids) = (four(value)?, true),
                b"CapPrm" => status.capabilities.permitted = hexadecimal(value)?,
                b"CapEff" => status.capabilities.effective = hexadecimal(value)?,
                b"VmLck" => status.locked_bytes = kibibytes(value)?,
                b"VmRSS" => status.resident_bytes = kibibytes(value)?,
                b"VmSize" => status.total_bytes = kibibytes(value)?,
                _ => {}
            }
        }
        (has_uids && has_gids).then_some(status)
    }
}

fn four(value: &str) -> Option<[u32; 4]> {
    let mut ids = value.split_ascii_whitespace().map(|id| id.parse().ok());
    Some([ids.next()??, ids.next()??, ids.next()??, ids.next()??])
}

fn hexadecimal(value: &str) -> Option<u64> {
    u64::from_str_radix(value.trim(), 16).ok()
}

fn kibibytes(value: &str) -> Option<u64> {
    value.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The file that a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// Its path; empty for kernel threads and for who has ended, which have none.
    pub path: String,
    /// Whether it still is at that path, `None` when there is none.
    pub on_disk: Option<bool>,
}

/// One process's folder below `/proc`, open.
#[derive(Debug)]
pub struct ProcessFolder<'a> {
    folder: OwnedFd,
    buffer: &'a mut Vec<u8>,
}

impl<'a> ProcessFolder<'a> {
    /// Opens `/proc/PID`. `buffer` is only working space.
    ///
    /// # Errors
    /// When there is no such process or `/proc` is not to be had.
    pub fn open(pid: u32, buffer: &'a mut Vec<u8>) -> rustix::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, format!("/proc/{pid}"), flags, Mode::empty())?;
        Ok(Self { folder, buffer })
    }

    /// The working space, for another process.
    #[must_use]
    pub fn into_buffer(self) -> &'a mut Vec<u8> {
        self.buffer
    }

    /// Reads `stat`; `None` when the process has gone.
    pub fn stat(&mut self) -> Option<Stat> {
        Stat::parse(self.file("stat").ok()?)
    }

    /// Reads `status`; `None` when the process has gone.
    pub fn status(&mut self) -> Option<Status> {
        Status::parse(self.file("status").ok()?)
    }

    /// The arguments as bytes, each ended by a NUL; `None` when they cannot be read, empty for
    /// kernel threads and processes that have ended but are not reaped.
    pub fn arguments(&mut self) -> Option<&[u8]> {
        self.file("cmdline").ok()
    }

    /// The environment in the same form; `None` when it cannot be read.
    pub fn environment(&mut self) -> Option<&[u8]> {
        self.file("environ").ok()
    }

    /// Bytes read from and written to disks, without those that never had to be written; `None`
    /// when the process is another user's.
    pub fn disk_bytes(&mut self) -> Option<(u64, u64)> {
        let io = Io::from_read(self.file("io").ok()?).ok()?;
        Some((io.read_bytes, io.write_bytes.saturating_sub(io.cancelled_write_bytes)))
    }

    /// Path of the control group: in the unified hierarchy or, when it is at the root of that one, of
    /// `pids`, `memory` or systemd's own, the first in which it is not. `None` when it cannot be read.
    pub fn control_group(&mut self) -> Option<String> {
        let groups = ProcessCGroups::from_read(self.file("cgroup").ok()?).ok()?;
        let of = |controller: &str| {
            groups.0.iter().find(|group| group.controllers.iter().any(|of| of == controller))
        };
        let unified = groups.0.iter().find(|group| group.hierarchy == 0);
        let all = [unified, of("pids"), of("memory"), of("name=systemd")];
        let mut paths = all.into_iter().flatten().map(|group| group.pathname.as_str());
        let below = paths.clone().find(|path| *path != "/");
        below.or_else(|| paths.next()).map(str::to_owned)
    }

    /// What one of the links `cwd` and `root` leads to; `None` when it cannot be read.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<String> {
        let target = readlinkat(&self.folder, name, Vec::new()).ok()?;
        Some(lossless(target.as_bytes()))
    }

    /// The program's file; `None` when it cannot be read.
    #[must_use]
    pub fn executable(&self) -> Option<Executable> {
        const DELETED: &[u8] = b" (deleted)";
        let target = match readlinkat(&self.folder, "exe", Vec::new()) {
            Ok(target) => target,
            Err(Errno::NOENT) => {
                return Some(Executable { path: String::new(), on_disk: None });
            }
            Err(_) => return None,
        };
        let whole = target.as_bytes();
        let (path, on_disk) = match whole.strip_suffix(DELETED) {
            // A file's name can end so, too.
            Some(path) if !self.runs(Path::new(OsStr::from_bytes(whole))) => (path, false),
            _ => (whole, true),
        };
        Some(Executable { path: lossless(path), on_disk: Some(on_disk) })
    }

    /// The program's file as it is now; `None` when it cannot be read or there is none.
    #[must_use]
    pub fn program_file(&self) -> Option<ProgramFile> {
        let stat = statat(&self.folder, "exe", AtFlags::empty()).ok()?;
        let nanoseconds = i64::try_from(stat.st_ctime_nsec).unwrap_or(0);
        Some(ProgramFile {
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode,
            owner_uid: stat.st_uid,
            owner_gid: stat.st_gid,
            atime: Some(stat.st_atime),
            mtime: Some(stat.st_mtime),
            ctime: Some(stat.st_ctime),
            btime: None,
            ctime_ns: Some(stat.st_ctime.saturating_mul(1_000_000_000).saturating_add(nanoseconds)),
            size: u64::try_from(stat.st_size).ok(),
            links: u32::try_from(stat.st_nlink).ok(),
            in_memory: openat(&self.folder, "exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .and_then(rustix::fs::fstatfs)
                .is_ok_and(|system| is_in_memory(system.f_type as u32)),
        })
    }

    /// Inode number of a namespace, such as `mnt`; `None` when it cannot be read.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<u32> {
        let link = readlinkat(&self.folder, format!("ns/{name}"), Vec::new()).ok()?;
        let (_, number) = link.to_str().ok()?.split_once(":[")?;
        number.strip_suffix(']')?.parse().ok()
    }

    /// Login user id and audit session, each `None` when it is unset or not told.
    pub fn audit_ids(&mut self) -> (Option<u32>, Option<u32>) {
        let mut id = |name| {
            let text = std::str::from_utf8(self.file(name).ok()?).ok()?;
            text.trim().parse().ok().filter(|id| *id != u32::MAX)
        };
        (id("loginuid"), id("sessionid"))
    }

    /// Whether the program's file is the one at `path`, as the process itself sees it.
    fn runs(&self, path: &Path) -> bool {
        let identity = |path: &Path| {
            let stat = statat(&self.folder, path, AtFlags::empty()).ok()?;
            Some((stat.st_dev, stat.st_ino))
        };
        let seen = Path::new("root").join(path.strip_prefix("/").unwrap_or(path));
        identity(&seen).is_some_and(|at_path| identity(Path::new("exe")) == Some(at_path))
    }

    fn file(&mut self, name: &str) -> rustix::io::Result<&[u8]> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.folder, name, flags, Mode::empty())?;
        let mut length = 0;
        loop {
            if self.buffer.len() < length + 4096 {
                self.buffer.resize((length + 4096).next_power_of_two(), 0);
            }
            let free = self.buffer.get_mut(length..).unwrap_or_default();
            match read(file.as_fd(), free) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            if length >= FILE_BYTES_MAX {
                break;
            }
        }
        Ok(self.buffer.get(..length).unwrap_or_default())
    }
}

/// Whether a file system, by its magic number (`include/uapi/linux/magic.h`), keeps nothing on a disk:
/// tmpfs, ramfs and hugetlbfs.
#[must_use]
pub const fn is_in_memory(magic: u32) -> bool {
    matches!(magic, 0x0102_1994 | 0x8584_58f6 | 0x9584_58f6)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let line =
            b"42 (a) R 1 (\xff\n) S 7 8 9 0 -1 4194304 99 0 0 0 11 12 0 0 20 -5 3 0 236071 1 2";
        let stat = Stat::parse(line).unwrap();
        let expected = Stat {
            name: "a) R 1 (\\xff\n".to_owned(),
            state: 'S',
            parent: 7,
            group: 8,
            session: 9,
            terminal: 0,
            is_kernel_thread: false,
            user_ticks: 11,
            system_ticks: 12,
            nice: -5,
            threads: 3,
            start_ticks: 236_071,
            stack_start: 0,
        };
        assert_eq!(stat, expected);
        let terminal = |terminal| Stat { terminal, ..Stat::default() }.terminal_name();
        let named = [0x8803, 0x0401, 0x0440, 0x0501, 0].map(terminal);
        let expected = [Some("pts/3"), Some("tty1"), Some("ttyS0"), Some("console"), None];
        assert_eq!(named, expected.map(|name| name.map(str::to_owned)));
        assert_eq!(Stat::parse(b"42 (a) R 1 2"), None);
        assert_eq!(Stat::parse(b"nothing"), None);
    }

    #[test]
    fn status_needs_its_ids() {
        let text =
            b"Name:\t\xff\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nVmLck:\t 4 kB\nVmRSS:\t 12 kB\n";
        let status = Status::parse(text).unwrap();
        assert_eq!((status.uids, status.gids), ([1, 2, 3, 4], [5, 6, 7, 8]));
        assert_eq!((status.locked_bytes, status.resident_bytes), (4096, 12_288));
        assert_eq!(Status::parse(b"Name:\ta\nUid:\t1\t2\t3\t4\n"), None);
    }

    #[test]
    fn long_arguments_are_read_whole() {
        let mut buffer = Vec::new();
        let long = "x".repeat(100_000);
        let mut child = Command::new("sh")
            .args(["-c", "read line", "name", &long])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // The kernel closes our end of the pipe, which `spawn` waits for, before the arguments stand.
        let arguments = loop {
            let mut folder = ProcessFolder::open(child.id(), &mut buffer).unwrap();
            let arguments = folder.arguments().unwrap().to_vec();
            if arguments.starts_with(b"sh\0") {
                break arguments;
            }
            std::thread::yield_now();
        };
        child.kill().unwrap();
        child.wait().unwrap();
        let given = [b"sh\0-c\0read line\0name\0", long.as_bytes(), b"\0"].concat();
        assert!(arguments == given, "{} of {} bytes", arguments.len(), given.len());
    }

    #[test]
    fn a_deleted_program_is_not_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("odd (deleted)");
        std::fs::copy("/bin/cat", &path).unwrap();
        let mut child = Command::new(&path).stdin(Stdio::piped()).spawn().unwrap();
        let mut buffer = Vec::new();
        let process = ProcessFolder::open(child.id(), &mut buffer).unwrap();
        let path = path.display().to_string();
        let before = process.executable();
        std::fs::remove_file(&path).unwrap();
        let after = process.executable();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(before, Some(Executable { path: path.clone(), on_disk: Some(true) }));
        assert_eq!(after, Some(Executable { path, on_disk: Some(false) }));
    }

    #[test]
    fn who_has_gone_is_not_read() {
        let mut child = Command::new("true").spawn().unwrap();
        let mut buffer = Vec::new();
        let mut folder = ProcessFolder::open(child.id(), &mut buffer).unwrap();
        child.wait().unwrap();
        assert_eq!(folder.stat(), None);
        assert_eq!(folder.status(), None);
        assert_eq!(folder.arguments(), None);
        assert_eq!(folder.link("cwd"), None);
    }
}
