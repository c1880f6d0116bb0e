//! Which package a file belongs to.
//!
//! The files of all packages are an index, made anew when the package manager's database has changed,
//! once a minute at most: an upgrade changes it again and again. That takes seconds, and is done on a
//! thread of its own; a file that is in no package until then is to be asked for later. Version and checksum are taken from
//! the database itself when they are asked for, so that they are never those of before.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, Statement, TransactionBehavior, params};

use crate::events::{ContentDigest, PackageOwner};
use crate::host::dpkg::{Dpkg, Version, spellings};
use crate::publish::executable::Ownership;

/// The manager's name.
const DPKG: &str = "dpkg";

/// How long the index is left as it is at least.
const REBUILD_AFTER: Duration = Duration::from_secs(60);

/// How long the index waits for what else is written.
const BUSY: Duration = Duration::from_secs(10);

/// Folders of files that are not executed, half of all; they are left out of the index.
const LEFT_OUT: [&str; 4] =
    ["/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/include/"];

/// The packages of the host.
pub(super) struct Packages {
    dpkg: Dpkg,
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
    pub(super) fn new(dpkg: Dpkg, database: PathBuf, niceness: i32) -> Self {
        Self { dpkg, database, niceness, rebuilding: None, rebuilt: None, stop: Arc::default() }
    }

    /// The package of the file at a path, and whether a content is as in it.
    pub(super) fn owner(
        &mut self,
        connection: &Connection,
        path: &str,
        digest: Option<&ContentDigest>,
    ) -> rusqlite::Result<Ownership> {
        let Some(version) = self.dpkg.version() else { return Ok(Ownership::Nobody) };
        let is_current = indexed(connection)? == Some(version);
        if !is_current {
            self.rebuild();
        }
        for path in spellings(path) {
            let Some(package) = package_of(connection, &path)? else { continue };
            let Some(version) = self.dpkg.package_version(&package) else { continue };
            let md5 = digest.map(|digest| text(&digest.md5));
            let intact = md5.and_then(|md5| Some(self.dpkg.md5(&package, &path)? == md5));
            let owner = PackageOwner { manager: DPKG, name: package, version, intact };
            return Ok(Ownership::Of(owner));
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
        let (dpkg, database, stop) =
            (self.dpkg.clone(), self.database.clone(), Arc::clone(&self.stop));
        let niceness = self.niceness;
        let thread = std::thread::Builder::new().name("packages".to_owned());
        let begun = thread.spawn(move || {
            let started = Instant::now();
            // On Linux the priority is that of the thread.
            if let Err(error) = rustix::process::setpriority_process(None, niceness) {
                tracing::debug!(error = %error, "Packages are indexed at the usual priority");
            }
            match rebuild(&database, &dpkg, &stop) {
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

/// The version of the database that was indexed.
fn indexed(connection: &Connection) -> rusqlite::Result<Option<Version>> {
    let statement = "SELECT mtime_ns, size FROM package_database WHERE manager = ?";
    connection
        .query_row(statement, [DPKG], |row| {
            Ok(Version { mtime_ns: row.get(0)?, size: row.get(1)? })
        })
        .optional()
}

fn package_of(connection: &Connection, path: &str) -> rusqlite::Result<Option<String>> {
    let Some((folder, name)) = path.rsplit_once('/') else { return Ok(None) };
    let mut statement = connection.prepare(
        "SELECT p.name FROM folders d JOIN package_files f ON f.folder = d.id AND f.name = ?2 \
         JOIN packages p ON p.id = f.package WHERE d.path = ?1 ORDER BY p.id LIMIT 1",
    )?;
    statement.query_row([folder, name], |row| row.get(0)).optional()
}

/// Makes the index anew, and says how many files it has. A package whose list cannot be read is left
/// out.
fn rebuild(database: &Path, dpkg: &Dpkg, stop: &AtomicBool) -> rusqlite::Result<u64> {
    // Of before the lists are read: a change meanwhile makes the index an old one.
    let Some(version) = dpkg.version() else { return Ok(0) };
    let mut connection = super::try_open(database)?;
    connection.busy_timeout(BUSY)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction
        .execute_batch("DELETE FROM package_files; DELETE FROM packages; DELETE FROM folders")?;
    let mut index = Index::new(&transaction)?;
    for package in dpkg.packages().unwrap_or_default() {
        if stop.load(Ordering::Acquire) {
            return Ok(0);
        }
        index.begin(&package)?;
        let mut added = Ok(());
        let read = dpkg.files(&package, |path| {
            if added.is_ok() && !is_left_out(path) {
                added = index.add(path);
            }
        });
        added?;
        if let Err(error) = read {
            tracing::debug!(error = %error, package, "The files of a package are unknown");
        }
    }
    let files = index.files;
    drop(index);
    transaction.execute(
        "INSERT OR REPLACE INTO package_database (manager, mtime_ns, size) VALUES (?, ?, ?)",
        params![DPKG, version.mtime_ns, version.size],
    )?;
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

    fn begin(&mut self, package: &str) -> rusqlite::Result<()> {
        self.package += 1;
        self.add_package.execute(params![self.package, DPKG, package]).map(drop)
    }

    fn add(&mut self, path: &str) -> rusqlite::Result<()> {
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
        let mut packages = Packages::new(Dpkg::new(folder.path()), database, 0);
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
}
