//! The database of dpkg: which package has which file, and what that should hold.
//!
//! `info/PACKAGE.list` names the files of a package, `info/PACKAGE.md5sums` has their sums as they
//! were packed, `status` the versions (`dpkg(1)`, *FILES*; `deb-md5sums(5)`). A package that can be
//! there for several architectures has its own after a colon in the names of files.
//!
//! **Invariant:** a database that is damaged or half written gives fewer answers, never an error.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

/// Where dpkg keeps it.
pub const ADMIN_DIR: &str = "/var/lib/dpkg";

/// Longest line that is read; what follows of a longer one is left out.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// A database.
#[derive(Clone, Debug)]
pub struct Dpkg {
    admin_dir: PathBuf,
}

/// By what a change of the database is noticed: dpkg writes its status anew at every change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Last change, in nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
    /// Size in bytes.
    pub size: i64,
}

impl Dpkg {
    /// The database in a folder, [`ADMIN_DIR`] on a host.
    #[must_use]
    pub fn new(admin_dir: &Path) -> Self {
        Self { admin_dir: admin_dir.to_owned() }
    }

    /// The version of the database, `None` when there is none.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        use std::os::unix::fs::MetadataExt as _;
        let stat = fs::metadata(self.admin_dir.join("status")).ok()?;
        Some(Version {
            mtime_ns: stat.mtime().saturating_mul(1_000_000_000).saturating_add(stat.mtime_nsec()),
            size: stat.size().cast_signed(),
        })
    }

    /// The packages that have lists of files, as `name` or `name:architecture`.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn packages(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.admin_dir.join("info"))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut packages: Vec<String> =
            names.filter_map(|name| name.strip_suffix(".list").map(str::to_owned)).collect();
        packages.sort_unstable();
        Ok(packages)
    }

    /// Gives the paths of a package's files, without those of folders, to `take`.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub fn files(&self, package: &str, mut take: impl FnMut(&str)) -> io::Result<()> {
        // A folder stands before what is in it.
        let mut before: Option<String> = None;
        self.lines(&format!("{package}.list"), |line| {
            let line = line.trim_end_matches('/');
            if let Some(path) = before.take().filter(|path| !is_below(path, line)) {
                take(&path);
            }
            before = (line.starts_with('/') && line != "/.").then(|| line.to_owned());
            true
        })?;
        before.iter().for_each(|path| take(path));
        Ok(())
    }

    /// The MD5 that a package says a file should have, in hexadecimal.
    #[must_use]
    pub fn md5(&self, package: &str, path: &str) -> Option<String> {
        let path = path.strip_prefix('/')?;
        let mut found = None;
        let read = self.lines(&format!("{package}.md5sums"), |line| {
            let sum = line.split_once("  ").filter(|(_, of)| *of == path);
            found = sum.map(|(sum, _)| sum.to_ascii_lowercase());
            found.is_none()
        });
        read.ok().and(found)
    }

    /// The version of an installed package.
    #[must_use]
    pub fn package_version(&self, package: &str) -> Option<String> {
        let (name, architecture) = match package.split_once(':') {
            Some((name, architecture)) => (name, Some(architecture)),
            None => (package, None),
        };
        let file = BufReader::new(File::open(self.admin_dir.join("status")).ok()?);
        let mut paragraph = Paragraph::default();
        for line in file.lines() {
            let line = line.ok()?;
            if line.is_empty() {
                if paragraph.is(name, architecture) {
                    return paragraph.version;
                }
                paragraph = Paragraph::default();
            }
            paragraph.take(&line);
        }
        paragraph.version.clone().filter(|_| paragraph.is(name, architecture))
    }

    /// Gives lines to `take` until it says that it has enough.
    fn lines(&self, name: &str, mut take: impl FnMut(&str) -> bool) -> io::Result<()> {
        let mut file = BufReader::new(File::open(self.admin_dir.join("info").join(name))?);
        let mut line = Vec::new();
        loop {
            line.clear();
            if file.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if line.len() > LINE_BYTES_MAX {
                continue;
            }
            let text = crate::host::text::lossless(line.trim_ascii_end());
            if !take(&text) {
                return Ok(());
            }
        }
    }
}

/// A package in `status`.
#[derive(Debug, Default)]
struct Paragraph {
    name: Option<String>,
    architecture: Option<String>,
    version: Option<String>,
}

impl Paragraph {
    fn take(&mut self, line: &str) {
        let value = |field: &str| line.strip_prefix(field).map(|value| value.trim().to_owned());
        if let Some(name) = value("Package:") {
            self.name = Some(name);
        } else if let Some(version) = value("Version:") {
            self.version = Some(version);
        } else if let Some(architecture) = value("Architecture:") {
            self.architecture = Some(architecture);
        }
    }

    fn is(&self, name: &str, architecture: Option<&str>) -> bool {
        self.name.as_deref() == Some(name)
            && architecture.is_none_or(|wanted| self.architecture.as_deref() == Some(wanted))
    }
}

/// Whether a path is in a folder.
fn is_below(folder: &str, path: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// A path and the other ones that it may have in a list: `/bin`, `/sbin` and `/lib` are links to
/// folders of `/usr` today, and packages name either.
pub fn spellings(path: &str) -> impl Iterator<Item = String> {
    let merged = |path: &str| {
        ["/bin/", "/sbin/", "/lib/", "/lib64/", "/lib32/"].iter().any(|top| path.starts_with(top))
    };
    let other = match path.strip_prefix("/usr") {
        Some(rest) if merged(rest) => Some(rest.to_owned()),
        _ if merged(path) => Some(format!("/usr{path}")),
        _ => None,
    };
    std::iter::once(path.to_owned()).chain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> (tempfile::TempDir, Dpkg) {
        let folder = tempfile::tempdir().unwrap();
        let info = folder.path().join("info");
        fs::create_dir(&info).unwrap();
        let write = |name: &str, text: &str| fs::write(info.join(name), text).unwrap();
        write(
            "a.list",
            "/.\n/usr\n/usr/bin\n/usr/bin/a\n/usr/bin/ab\n/usr/share\n/usr/share/doc\n",
        );
        write("a.md5sums", "0123456789ABCDEF0123456789abcdef  usr/bin/a\n");
        write("b:amd64.list", "/.\n/bin\n/bin/b\n");
        write("b:amd64.postinst", "#!/bin/sh\n");
        let status = "Package: a\nStatus: install ok installed\nVersion: 1.2-3\n\n\
                      Package: b\nArchitecture: i386\nVersion: 1\n\n\
                      Package: b\nArchitecture: amd64\nVersion: 2\n";
        fs::write(folder.path().join("status"), status).unwrap();
        let dpkg = Dpkg::new(folder.path());
        (folder, dpkg)
    }

    fn files(dpkg: &Dpkg, package: &str) -> Vec<String> {
        let mut all = Vec::new();
        dpkg.files(package, |path| all.push(path.to_owned())).unwrap();
        all
    }

    #[test]
    fn packages_have_files_sums_and_versions() {
        let (_folder, dpkg) = database();
        assert_eq!(dpkg.packages().unwrap(), ["a", "b:amd64"]);
        assert_eq!(files(&dpkg, "a"), ["/usr/bin/a", "/usr/bin/ab", "/usr/share/doc"]);
        assert_eq!(files(&dpkg, "b:amd64"), ["/bin/b"]);
        assert_eq!(
            dpkg.md5("a", "/usr/bin/a").as_deref(),
            Some("0123456789abcdef0123456789abcdef")
        );
        assert_eq!(dpkg.md5("a", "/usr/bin/ab"), None);
        assert_eq!(dpkg.md5("b:amd64", "/bin/b"), None, "it has no sums");
        assert_eq!(dpkg.package_version("a").as_deref(), Some("1.2-3"));
        assert_eq!(dpkg.package_version("b:amd64").as_deref(), Some("2"));
        assert_eq!(dpkg.package_version("c"), None);
        assert!(dpkg.version().is_some_and(|version| version.size > 0));
    }

    #[test]
    fn without_a_database_there_are_no_packages() {
        let dpkg = Dpkg::new(Path::new("/nonexistent"));
        assert!(dpkg.version().is_none() && dpkg.packages().is_err());
        assert_eq!(dpkg.package_version("a"), None);
    }

    #[test]
    fn a_path_is_looked_for_under_both_of_its_names() {
        let of = |path: &str| spellings(path).collect::<Vec<_>>();
        assert_eq!(of("/usr/bin/true"), ["/usr/bin/true", "/bin/true"]);
        assert_eq!(of("/lib/x.so"), ["/lib/x.so", "/usr/lib/x.so"]);
        assert_eq!(of("/usr/share/x"), ["/usr/share/x"]);
        assert_eq!(of("/opt/bin/x"), ["/opt/bin/x"]);
    }
}
