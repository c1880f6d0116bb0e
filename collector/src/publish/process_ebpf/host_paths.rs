//! Where the host sees a program that runs in another mount namespace, such as that of a container.
//!
//! The kernel tells a path from the root of the mount namespace, and how much of it lies within the
//! file system that the program is on. Where the host has the same file system mounted, that part of the
//! path behind the mount's is the host's path: so it is with the overlays that container engines make on
//! the host. What the host has not mounted, or only a part of, has no path there.
//!
//! The host's mounts are those of process 1. They are read again when the kernel says that they changed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::events::ExecEvent;
use crate::host::text::lossless;

/// Bytes of `mountinfo` that are read: some twenty thousand mounts.
const BYTES_MAX: u64 = 4 << 20;

/// The host's mounts, as far as a path can be told by them.
#[derive(Debug)]
pub(crate) struct HostPaths {
    /// Inode of the host's mount namespace.
    namespace: Option<u32>,
    mountinfo: Option<File>,
    /// Where file systems are mounted whole, by their device; the first place of several.
    places: HashMap<u64, String>,
}

impl HostPaths {
    /// Those of process 1, or of this process where that one may not be looked at.
    pub(crate) fn new() -> Self {
        let open = |process: &str| {
            let namespace = namespace(&format!("/proc/{process}/ns/mnt"))?;
            Some((namespace, File::open(format!("/proc/{process}/mountinfo")).ok()?))
        };
        let (namespace, mountinfo) = open("1").or_else(|| open("self")).unzip();
        let mut paths = Self { namespace, mountinfo, places: HashMap::new() };
        paths.read();
        paths
    }

    /// Puts the host's path in place of the namespace's, where there is one. `within` is how many names
    /// at the end of the path lie within its file system.
    pub(crate) fn complete(&mut self, exec: &mut ExecEvent, within: u32) {
        let namespace = exec.namespaces.map(|namespaces| namespaces.mount);
        if self.namespace.is_none() || namespace == self.namespace || namespace == Some(0) {
            return;
        }
        self.refresh();
        let (Some(path), Some(file)) = (&exec.path, &exec.file) else {
            return;
        };
        let Some(there) = self.places.get(&file.device).and_then(|place| join(place, path, within))
        else {
            return;
        };
        if there != *path {
            let inner = exec.path.replace(there);
            exec.container_path = exec.container_path.take().or_else(|| inner.clone());
            exec.namespace_path = inner;
        }
    }

    /// Reads the mounts when they have changed.
    fn refresh(&mut self) {
        let Some(file) = &self.mountinfo else {
            return;
        };
        let mut fds = [PollFd::new(file, PollFlags::PRI)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // An error is no news.
        if poll(&mut fds, Some(&now)).is_ok_and(|count| count > 0) {
            self.read();
        }
    }

    fn read(&mut self) {
        let Some(file) = &mut self.mountinfo else {
            return;
        };
        match text(file) {
            Ok(text) => self.places = places(&text),
            Err(error) => {
                tracing::debug!(%error, "cannot read the host's mounts");
                self.places.clear();
            }
        }
    }
}

fn text(file: &mut File) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut text = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// The inode in a link such as `mnt:[4026531841]`.
fn namespace(link: &str) -> Option<u32> {
    let target = fs::read_link(link).ok()?;
    target.to_str()?.strip_prefix("mnt:[")?.strip_suffix(']')?.parse().ok()
}

/// Whole mounts by device, from lines of `mountinfo` (`proc_pid_mountinfo(5)`).
fn places(text: &[u8]) -> HashMap<u64, String> {
    let mut places = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b' ').skip(2);
        let (Some(device), Some(b"/"), Some(place)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if let Some(device) = device_number(device) {
            places.entry(device).or_insert_with(|| lossless(&unescaped(place)));
        }
    }
    places
}

fn device_number(text: &[u8]) -> Option<u64> {
    let (major, minor) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
}

/// A name with its octal escapes (`\040` for a space) undone.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| byte == b'\\');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                plain.push(code);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

/// The last `within` names of a path behind another; `None` when it has not so many, or none.
fn join(place: &str, path: &str, within: u32) -> Option<String> {
    let within = usize::try_from(within).ok().filter(|&within| within > 0)?;
    let (start, _) = path.rmatch_indices('/').nth(within - 1)?;
    let place = if place == "/" { "" } else { place };
    Some(format!("{place}{}", path.get(start..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_within_the_file_system_follow_the_hosts_mount() {
        let there = |place, path, within| join(place, path, within);
        let merged = "/var/lib/docker/overlay2/0a/merged";
        assert_eq!(there(merged, "/usr/bin/true", 3).unwrap(), format!("{merged}/usr/bin/true"));
        assert_eq!(there("/mnt", "/srv/data/tool", 1).as_deref(), Some("/mnt/tool"));
        assert_eq!(there("/", "/usr/bin/true", 3).as_deref(), Some("/usr/bin/true"));
        assert_eq!(there("/", "true", 1), None);
        assert_eq!(there("/", "/true", 2), None);
        assert_eq!(there("/", "/true", 0), None);
    }

    #[test]
    fn the_first_whole_mount_of_a_device_counts() {
        let text = b"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            44 22 0:39 / /tmp/with\\040space rw - overlay overlay rw\n\
            45 22 0:39 / /tmp/second rw - overlay overlay rw\n\
            46 22 254:0 /srv /mnt rw - ext4 /dev/vda rw\n\
            47 22 0:x / /bad rw - tmpfs tmpfs rw\nshort\n";
        let places = places(text);
        assert_eq!(places.len(), 2);
        assert_eq!(places[&rustix::fs::makedev(254, 0)], "/");
        assert_eq!(places[&rustix::fs::makedev(0, 39)], "/tmp/with space");
        assert_eq!(unescaped(b"a\\134b\\9"), b"a\\b\\9");
    }
}
