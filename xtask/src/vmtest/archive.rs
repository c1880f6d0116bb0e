//! An initial file system as the kernel unpacks it: a cpio archive in the "newc" format,
//! <https://www.kernel.org/doc/html/latest/driver-api/early-userspace/buffer-format.html>.
//!
//! It is written here and not by cpio(1) so that everything in it belongs to root and device nodes
//! can be in it, without rights. A system of Debian has `/bin` as a link to `/usr/bin` and so on;
//! packages that still have files there are put right.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

/// Folders that are links to the same under `usr`.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// File types, `S_IFMT` of stat(2).
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive that is being written.
pub(super) struct Archive<W: Write> {
    output: W,
    entries: u32,
    folders: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    /// Starts an archive that has the links of [`MERGED`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn new(output: W) -> io::Result<Self> {
        let mut archive = Self { output, entries: 0, folders: BTreeSet::new() };
        for name in MERGED {
            let target = Path::new("usr").join(name);
            archive.folder(&target)?;
            archive.link(Path::new(name), &target)?;
        }
        Ok(archive)
    }

    /// Adds a folder, and those above it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn folder(&mut self, path: &Path) -> io::Result<()> {
        let path = merged(path);
        if path.as_os_str().is_empty() || !self.folders.insert(path.clone()) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        self.entry(&path, FOLDER | 0o755, &[], 0)
    }

    /// Adds a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn file(&mut self, path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.with_parents(path, FILE | mode & 0o7777, bytes)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        // The links of [`MERGED`] themselves are not below them.
        if path.components().count() == 1 {
            return self.entry(path, LINK | 0o777, target.as_os_str().as_bytes(), 0);
        }
        self.with_parents(path, LINK | 0o777, target.as_os_str().as_bytes())
    }

    /// Adds `/dev/console`, to which the first process writes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn console(&mut self) -> io::Result<()> {
        self.folder(Path::new("dev"))?;
        self.entry(Path::new("dev/console"), CHARACTER_DEVICE | 0o600, &[], 5 << 8 | 1)
    }

    /// Adds all files and links below a folder, except those whose path starts with one of
    /// `without`.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub(super) fn tree(&mut self, root: &Path, without: &[&str]) -> Result<()> {
        for entry in WalkDir::new(root).sort_by_file_name() {
            let entry = entry.context("list the packages' files")?;
            let path = entry.path();
            let place = path.strip_prefix(root).context("a file lies below its root")?;
            if without.iter().any(|left_out| merged(place).starts_with(left_out)) {
                continue;
            }
            let kind = entry.file_type();
            if kind.is_symlink() {
                let target = std::fs::read_link(path).context("read a link")?;
                if place.components().count() > 1 {
                    self.link(place, &target)?;
                }
            } else if kind.is_file() {
                let bytes =
                    std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
                let mode = entry.metadata().context("look at a file")?.permissions().mode();
                self.file(place, mode, &bytes)?;
            }
        }
        Ok(())
    }

    /// Writes the end.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.entry(Path::new("TRAILER!!!"), 0, &[], 0)?;
        self.output.flush()
    }

    fn with_parents(&mut self, path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
        let path = merged(path);
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        self.entry(&path, mode, bytes, 0)
    }

    fn entry(&mut self, path: &Path, mode: u32, bytes: &[u8], device: u32) -> io::Result<()> {
        self.entries += 1;
        let too_long = |_| io::Error::new(io::ErrorKind::FileTooLarge, "more than 4 GiB");
        let size = u32::try_from(bytes.len()).map_err(too_long)?;
        let name = path.as_os_str().as_bytes();
        let name_size = u32::try_from(name.len() + 1).map_err(too_long)?;
        // Inode, mode, owner, group, links, time, size, the file's device (2), the node's device
        // (2), size of the name, checksum.
        let (major, minor) = (device >> 8, device & 0xff);
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        self.output.write_all(header.as_bytes())?;
        self.output.write_all(name)?;
        // The zero at the name's end is one more.
        self.output.write_all(padding(header.len() + name.len() + 1, 1))?;
        self.output.write_all(bytes)?;
        self.output.write_all(padding(bytes.len(), 0))
    }
}

/// Zeros: `more` of them, and those up to the next multiple of four.
fn padding(written: usize, more: usize) -> &'static [u8] {
    let needed = more + written.next_multiple_of(4) - written;
    [0; 4].get(..needed).unwrap_or_default()
}

/// The path as it is where `/bin` is `/usr/bin`.
fn merged(path: &Path) -> PathBuf {
    let path = path.strip_prefix("/").unwrap_or(path);
    let first = path.iter().next().and_then(|name| name.to_str()).unwrap_or_default();
    if MERGED.contains(&first) { Path::new("usr").join(path) } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_old_packages_are_put_right() {
        assert_eq!(merged(Path::new("/bin/sh")), Path::new("usr/bin/sh"));
        assert_eq!(merged(Path::new("lib64/ld.so")), Path::new("usr/lib64/ld.so"));
        assert_eq!(merged(Path::new("usr/bin/env")), Path::new("usr/bin/env"));
        assert_eq!(merged(Path::new("binary")), Path::new("binary"));
    }

    #[test]
    fn padding_goes_to_the_next_multiple_of_four() {
        let lengths = |more| (0..5).map(|written| padding(written, more).len()).collect::<Vec<_>>();
        assert_eq!(lengths(0), [0, 3, 2, 1, 0]);
        assert_eq!(lengths(1), [1, 4, 3, 2, 1]);
    }

    #[test]
    fn an_archive_has_headers_at_multiples_of_four_and_each_folder_once() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes).unwrap();
        archive.file(Path::new("/bin/a"), 0o755, b"12345").unwrap();
        archive.file(Path::new("usr/bin/b"), 0o644, b"").unwrap();
        archive.console().unwrap();
        archive.finish().unwrap();
        let mut names = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            assert!(rest.starts_with(b"070701"), "{names:?}");
            let field = |index: usize| {
                let digits = std::str::from_utf8(&rest[6 + 8 * index..14 + 8 * index]).unwrap();
                usize::from_str_radix(digits, 16).unwrap()
            };
            let name = &rest[110..110 + field(11) - 1];
            names.push(String::from_utf8(name.to_vec()).unwrap());
            let data = (110 + field(11)).next_multiple_of(4);
            rest = &rest[(data + field(6)).next_multiple_of(4)..];
        }
        let expected = [
            "usr",
            "usr/bin",
            "bin",
            "usr/sbin",
            "sbin",
            "usr/lib",
            "lib",
            "usr/lib64",
            "lib64",
            "usr/bin/a",
            "usr/bin/b",
            "dev",
            "dev/console",
            "TRAILER!!!",
        ];
        assert_eq!(names, expected);
    }
}
