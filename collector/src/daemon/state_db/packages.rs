//! Which package a file belongs to.
//!
//! The files of all packages are an index, made anew when a package manager's database has changed,
//! once a minute at most: an upgrade changes it again and again. That takes seconds, and is done on a
//! thread of its own; a file that is in no package until then is to be asked for later. Version and
//! checksum are taken from the database itself when they are asked for, so that they are never those of
//! before.
//!
//! A host may have databases of several managers; the index is one, of all of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, Statement, TransactionBehavior, params};

use crate::events::{ContentDigest, PackageOwner};
use crate::host::dpkg::{Dpkg, Version, spellings};
use crate::host::rpm::{Described, Expected, Rpm};
use crate::publish::executable::Ownership;

/// How long the index is left as it is at least.
const REBUILD_AFTER: Duration = Duration::from_secs(60);

/// How long the index waits for what else is written.
const BUSY: Duration = Duration::from_secs(10);

/// Packages of one file that are looked at.
const OWNERS_MAX: u32 = 8;

/// Folders of files that are not executed, half of all; they are left out of the index.
const LEFT_OUT: [&str; 4] =
    ["/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/include/"];

/// A package manager's database.
#[derive(Clone, Debug)]
pub(super) enum Manager {
    /// Of which a package has its name in the index.
    Dpkg(Dpkg),
    /// Of which it has its number: several of one name may be installed.
    Rpm(Rpm),
}

impl Manager {
    const fn name(&self) -> &'static str {
        match self {
            Self::Dpkg(_) => "dpkg",
            Self::Rpm(_) => "rpm",
        }
    }

    fn version(&self) -> Option<Version> {
        match self {
            Self::Dpkg(dpkg) => dpkg.version(),
            Self::Rpm(rpm) => rpm.version(),
        }
    }

    /// The owner of a file, by what the index calls its package, and whether a content is as in it.
    fn owner(
        &self,
        package: &str,
        path: &str,
        digest: Option<&ContentDigest>,
    ) -> Option<PackageOwner> {
        let (name, version, intact) = match self {
            Self::Dpkg(dpkg) => {
                let md5 = digest.map(|digest| text(&digest.md5));
                let intact = md5.and_then(|md5| Some(dpkg.md5(package, path)? == md5));
                (package.to_owned(), dpkg.package_version(package)?, intact)
            }
            Self::Rpm(rpm) => {
                let Described { name, version, expected } =
                    rpm.describe(package.parse().ok()?, path)?;
                let intact = digest.zip(expected).map(|(digest, expected)| match expected {
                    Expected::Md5(md5) => text(&digest.md5) == md5,
                    Expected::Sha256(sha256) => text(&digest.sha256) == sha256,
                });
                (name, version, intact)
            }
        };
        Some(PackageOwner { manager: self.name(), name, version, intact })
    }

    /// Adds all packages and their files to an index, unless told to stop. What cannot be read is left
    /// out.
    fn index(&self, index: &mut Index<'_>, stop: &AtomicBool) -> rusqlite::Result<()> {
        match self {
            Self::Dpkg(dpkg) => {
                for package in dpkg.packages().unwrap_or_default() {
                    if stop.load(Ordering::Acquire) {
                        break;
                    }
                    index.begin(self.name(), &package)?;
                    let mut added = Ok(());
                    let read = dpkg.files(&package, |path| {
                        if added.is_ok() {
                            added = index.add(path);
                        }
                    });
                    added?;
                    if let Err(error) = read {
                        tracing::debug!(error = %error, package, "The files of a package are unknown");
                    }
                }
            }
            Self::Rpm(rpm) => {
                let mut added = Ok(());
                let read = rpm.packages(|number, paths| {
                    added = index.begin(self.name(), &number.to_string());
                    for path in paths {
                        if added.is_ok() {
                            added = index.add(path);
                        }
                    }
                    added.is_ok() && !stop.load(Ordering::Acquire)
                });
                added?;
                if let Err(error) = read {
                    tracing::debug!(error = %error, "Not all packages of rpm can be read");
                }
            }
        }
        Ok(())
    }
}

/// The packages of the host.
pub(super) struct Packages {
    managers: Vec<Manager>,
    /// Where the index is.
    database: PathBuf,
    /// That of the thread that makes it.
    niceness: i32,
    /// The thread that makes the index anew.
    rebuilding: Option<JoinHandle<()>>,
    rebuilt: Option<Instant>,
    stop: Arc<AtomicBool>,
}

impl Packages {
    pub(super) fn new(managers: Vec<Manager>, database: PathBuf, niceness: i32) -> Self {
        Self { managers, database, niceness, rebuilding: None, rebuilt: None, stop: Arc::default() }
    }

    /// The package of the file at a path, and whether a content is as in it.
    pub(super) fn owner(
        &mut self,
        connection: &Connection,
        path: &str,
        digest: Option<&ContentDigest>,
    ) -> rusqlite::Result<Ownership> {
        let mut is_current = true;
        for manager in &self.managers {
            is_current &= indexed(connection, manager.name())? == manager.version();
        }
        if !is_current {
            self.rebuild();
        }
        for path in spellings(path) {
            for (manager, package) in packages_of(connection, &path)? {
                let manager = self.managers.iter().find(|known| known.name() == manager);
                let owner = manager.and_then(|manager| manager.owner(&package, &path, digest));
                if let Some(owner) = owner {
                    return Ok(Ownership::Of(owner));
                }
            }
        }
        let later = !is_current && !is_left_out(path) && self.rebuilding.is_some();
        Ok(if later { Ownership::Later } else { Ownership::Nobody })
    }

    /// Starts to make the index anew, unless that is being done or was done lately.
    fn rebuild(&mut self) {
        if let Some(thread) = self.rebuilding.take_if(|thread| thread.is_finished()) {
            self.rebuilt = Some(Instant::now());
            if thread.join().is_err() {
                tracing::warn!("The thread that indexes packages panicked");
            }
        }
        let is_fresh = self.rebuilt.is_some_and(|at| at.elapsed() < REBUILD_AFTER);
        if is_fresh || self.rebuilding.is_some() {
            return;
        }
        let (managers, database, stop) =
            (self.managers.clone(), self.database.clone(), Arc::clone(&self.stop));
        let niceness = self.niceness;
        let thread = std::thread::Builder::new().name("packages".to_owned());
        let begun = thread.spawn(move || {
            let started = Instant::now();
            // On Linux the priority is that of the thread.
            if let Err(error) = rustix::process::setpriority_process(None, niceness) {
                tracing::debug!(error = %error, "Packages are indexed at the usual priority");
            }
            match rebuild(&database, &managers, &stop) {
                Ok(files) => {
                    let took_ms = started.elapsed().as_millis();
                    tracing::debug!(files, took_ms, "Indexed the files of packages");
                }
                Err(error) => {
                    tracing::warn!(error = %error, "The files of packages could not be indexed");
                }
            }
        });
        match begun {
            Ok(thread) => self.rebuilding = Some(thread),
            Err(error) => tracing::warn!(error = %error, "No thread to index packages"),
        }
    }
}

impl Drop for Packages {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.rebuilding.take() {
            // A panic has no one left to be reported to.
            drop(thread.join());
        }
    }
}

fn is_left_out(path: &str) -> bool {
    LEFT_OUT.iter().any(|folder| path.starts_with(folder))
}

/// The version of a manager's database that was indexed; `None` also when there was none.
fn indexed(connection: &Connection, manager: &str) -> rusqlite::Result<Option<Version>> {
    let statement = "SELECT mtime_ns, size FROM package_database WHERE manager = ?";
    connection
        .query_row(statement, [manager], |row| {
            Ok(Version { mtime_ns: row.get(0)?, size: row.get(1)? })
        })
        .optional()
}

/// Packages that have a file: their managers, and what these call them.
fn packages_of(connection: &Connection, path: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let Some((folder, name)) = path.rsplit_once('/') else { return Ok(Vec::new()) };
    let mut statement = connection.prepare(&format!(
        "SELECT p.manager, p.name FROM folders d \
         JOIN package_files f ON f.folder = d.id AND f.name = ?2 \
         JOIN packages p ON p.id = f.package WHERE d.path = ?1 ORDER BY p.id LIMIT {OWNERS_MAX}"
    ))?;
    let rows = statement.query_map([folder, name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Makes the index anew, and says how many files it has.
fn rebuild(database: &Path, managers: &[Manager], stop: &AtomicBool) -> rusqlite::Result<u64> {
    // Of before the lists are read: a change meanwhile makes the index an old one.
    let versions: Vec<_> =
        managers.iter().map(|manager| (manager.name(), manager.version())).collect();
    let mut connection = super::try_open(database)?;
    connection.busy_timeout(BUSY)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "DELETE FROM package_files; DELETE FROM packages; DELETE FROM folders; \
         DELETE FROM package_database",
    )?;
    let mut index = Index::new(&transaction)?;
    for manager in managers {
        manager.index(&mut index, stop)?;
    }
    if stop.load(Ordering::Acquire) {
        return Ok(0);
    }
    let files = index.files;
    drop(index);
    for (manager, version) in versions {
        let Some(version) = version else { continue };
        transaction.execute(
            "INSERT INTO package_database (manager, mtime_ns, size) VALUES (?, ?, ?)",
            params![manager, version.mtime_ns, version.size],
        )?;
    }
    transaction.commit()?;
    Ok(files)
}

/// An index in the making.
struct Index<'a> {
    add_package: Statement<'a>,
    add_folder: Statement<'a>,
    add_file: Statement<'a>,
    folders: HashMap<String, i64>,
    package: i64,
    files: u64,
}

impl<'a> Index<'a> {
    fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            add_package: connection
                .prepare("INSERT INTO packages (id, manager, name) VALUES (?, ?, ?)")?,
            add_folder: connection.prepare("INSERT INTO folders (id, path) VALUES (?, ?)")?,
            add_file: connection.prepare(
                "INSERT OR IGNORE INTO package_files (folder, name, package) VALUES (?, ?, ?)",
            )?,
            folders: HashMap::new(),
            package: 0,
            files: 0,
        })
    }

    fn begin(&mut self, manager: &str, package: &str) -> rusqlite::Result<()> {
        self.package += 1;
        self.add_package.execute(params![self.package, manager, package]).map(drop)
    }

    fn add(&mut self, path: &str) -> rusqlite::Result<()> {
        if is_left_out(path) {
            return Ok(());
        }
        let Some((folder, name)) = path.rsplit_once('/') else { return Ok(()) };
        let folder = match self.folders.get(folder) {
            Some(number) => *number,
            None => {
                let number = i64::try_from(self.folders.len()).unwrap_or(i64::MAX);
                self.folders.insert(folder.to_owned(), number);
                self.add_folder.execute(params![number, folder])?;
                number
            }
        };
        self.files += self.add_file.execute(params![folder, name, self.package])? as u64;
        Ok(())
    }
}

/// Lower-case hexadecimal digits.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn digest(md5: [u8; 16]) -> ContentDigest {
        ContentDigest { sha256: [0; 32], md5, entropy: 0.0, head: Vec::new() }
    }

    #[test]
    fn a_file_has_its_package_and_another_content_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let info = folder.path().join("info");
        fs::create_dir(&info).unwrap();
        fs::write(info.join("base.list"), "/.\n/bin\n/bin/true\n/bin/new\n").unwrap();
        fs::write(info.join("base.md5sums"), format!("{}  bin/true\n", "ab".repeat(16))).unwrap();
        fs::write(folder.path().join("status"), "Package: base\nVersion: 3\n").unwrap();
        let database = folder.path().join("state.db");
        let connection = super::super::try_open(&database).unwrap();
        let managers = vec![
            Manager::Dpkg(Dpkg::new(folder.path())),
            Manager::Rpm(Rpm::new(&[Path::new("/nonexistent")])),
        ];
        let mut packages = Packages::new(managers, database, 0);
        let mut asked = |path: &str, md5: u8| {
            let digest = digest([md5; 16]);
            packages.owner(&connection, path, Some(&digest)).unwrap()
        };
        assert_eq!(asked("/bin/true", 0xab), Ownership::Later);
        let mut owner = |path: &str, md5: u8| {
            loop {
                match asked(path, md5) {
                    Ownership::Of(owner) => break Some((owner.name, owner.version, owner.intact)),
                    Ownership::Nobody => break None,
                    Ownership::Later => std::thread::yield_now(),
                }
            }
        };
        let of_base = |intact| Some(("base".to_owned(), "3".to_owned(), intact));
        assert_eq!(owner("/usr/bin/true", 0xab), of_base(Some(true)));
        assert_eq!(owner("/bin/true", 0xac), of_base(Some(false)));
        assert_eq!(owner("/bin/new", 0xab), of_base(None));
        assert_eq!(owner("/bin", 0xab), None);
        assert_eq!(owner("/opt/true", 0xab), None);
        // The index stays for a minute, the version is that of now.
        fs::write(folder.path().join("status"), "Package: base\nVersion: 4.0\n").unwrap();
        assert_eq!(owner("/bin/new", 0), Some(("base".to_owned(), "4.0".to_owned(), None)));
    }

    #[test]
    fn files_of_rpm_have_their_packages_beside_those_of_dpkg() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpmdb.sqlite");
        fs::write(&path, include_bytes!("../../host/fixtures/rpmdb.sqlite")).unwrap();
        let info = folder.path().join("info");
        fs::create_dir(&info).unwrap();
        fs::write(info.join("base.list"), "/.\n/bin\n/bin/true\n").unwrap();
        fs::write(folder.path().join("status"), "Package: base\nVersion: 3\n").unwrap();
        let database = folder.path().join("state.db");
        let connection = super::super::try_open(&database).unwrap();
        let dpkg = Manager::Dpkg(Dpkg::new(folder.path()));
        let managers = vec![dpkg, Manager::Rpm(Rpm::new(&[&path]))];
        let mut packages = Packages::new(managers, database, 0);
        let mut owner = |path: &str, digest: &ContentDigest| {
            loop {
                match packages.owner(&connection, path, Some(digest)).unwrap() {
                    Ownership::Of(of) => break Some((of.manager, of.name, of.version, of.intact)),
                    Ownership::Nobody => break None,
                    Ownership::Later => std::thread::yield_now(),
                }
            }
        };
        let of = |manager, name: &str, version: &str, intact| {
            Some((manager, name.to_owned(), version.to_owned(), intact))
        };
        let unhexed = |text: &str| -> Vec<u8> {
            let digits = text.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
            digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect()
        };
        let sha256 = unhexed("a5a301c60af0fd8cd3d77a140c73dd78dc87848025d499d5afcc1f2f7327572f");
        let md5 = unhexed("e1323552aeb9530184d07456a6ffa56a");
        let packaged =
            ContentDigest { sha256: sha256.try_into().unwrap(), ..digest(md5.try_into().unwrap()) };
        let other = digest([7; 16]);
        assert_eq!(owner("/usr/bin/demo", &packaged), of("rpm", "demo", "2:1.4-3", Some(true)));
        assert_eq!(owner("/usr/bin/demo", &other), of("rpm", "demo", "2:1.4-3", Some(false)));
        assert_eq!(owner("/usr/bin/old", &packaged), of("rpm", "old", "7-1", Some(true)));
        assert_eq!(owner("/usr/bin/old", &other), of("rpm", "old", "7-1", Some(false)));
        assert_eq!(owner("/usr/share/demo/made", &other), of("rpm", "demo", "2:1.4-3", None));
        assert_eq!(owner("/usr/share/demo", &other), None, "a folder");
        assert_eq!(owner("/usr/bin/true", &other), of("dpkg", "base", "3", None));
    }
}
