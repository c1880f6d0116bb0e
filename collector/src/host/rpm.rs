//! The database of rpm: which package has which file, and what that should hold.
//!
//! Since rpm 4.16 it is an SQLite database (`%_db_backend sqlite`); a row of `Packages` is the header of
//! a package as in its file, without the lead: numbers of entries and of bytes, the entries (tag, type,
//! offset, count), then what they point to, all big-endian (rpm's `docs/manual/format_header.md`). Older
//! backends (Berkeley DB, NDB) are not read.
//!
//! It is opened as one that nobody changes: else SQLite would lock it, and make files beside it. What a
//! transaction under way has not written into it yet is seen when its file has changed.
//!
//! **Invariant:** a database that is damaged or half written gives fewer answers, never an error or a
//! panic.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::dpkg::Version;
use super::text::{bytes, lossless};

/// Where distributions keep it.
pub const DATABASES: [&str; 2] =
    ["/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite"];

/// Headers that are larger are left out; rpm's own bound is 256 MiB.
const HEADER_BYTES_MAX: usize = 64 << 20;

// Tags (rpm's `include/rpm/rpmtag.h`).
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const FILE_STATES: u32 = 1029;
const FILE_MODES: u32 = 1030;
const FILE_DIGESTS: u32 = 1035;
const DIRECTORY_INDEXES: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const DIRECTORY_NAMES: u32 = 1118;
const FILE_DIGEST_ALGORITHM: u32 = 5011;

/// `S_IFMT` and `S_IFDIR`.
const KIND_OF_FILE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;

/// A database.
#[derive(Clone, Debug)]
pub struct Rpm {
    /// Where it may be; the first that is there is it.
    databases: Vec<PathBuf>,
}

/// What a package says that a file should hold, in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// MD5, which was the default up to rpm 4.13.
    Md5(String),
    /// SHA-256.
    Sha256(String),
}

/// A package, as far as one file of it is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// Its version and release, behind its epoch when it has one.
    pub version: String,
    /// What the file should hold; `None` for what has no content of its own, and for other sums.
    pub expected: Option<Expected>,
}

impl Rpm {
    /// The database at one of these places, [`DATABASES`] on a host.
    #[must_use]
    pub fn new(databases: &[&Path]) -> Self {
        Self { databases: databases.iter().map(|path| (*path).to_owned()).collect() }
    }

    /// The version of the database, `None` when there is none.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        use std::os::unix::fs::MetadataExt as _;
        let stat = self.databases.iter().find_map(|path| fs::metadata(path).ok())?;
        Some(Version {
            mtime_ns: stat.mtime().saturating_mul(1_000_000_000).saturating_add(stat.mtime_nsec()),
            size: stat.size().cast_signed(),
        })
    }

    /// Gives the number of each package and its files, without folders, to `take` until that says that
    /// it has enough.
    ///
    /// # Errors
    /// When the database cannot be read to its end.
    pub fn packages(&self, mut take: impl FnMut(i64, &[String]) -> bool) -> rusqlite::Result<()> {
        let connection = self.open()?;
        let mut statement = connection.prepare("SELECT hnum, blob FROM Packages ORDER BY hnum")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let Ok(blob) = row.get_ref(1)?.as_blob() else { continue };
            let Some(header) = Header::of(blob) else { continue };
            let files = header.files().into_iter().filter(|file| file.is_there);
            let paths: Vec<String> = files.map(|file| lossless(&file.path)).collect();
            if !take(number, &paths) {
                break;
            }
        }
        Ok(())
    }

    /// What the package with this number says of itself and of a file; `None` when it is not there.
    #[must_use]
    pub fn describe(&self, number: i64, path: &str) -> Option<Described> {
        let connection = self.open().ok()?;
        let statement = "SELECT blob FROM Packages WHERE hnum = ?";
        let blob = connection.query_row(statement, [number], |row| row.get(0)).optional();
        let blob: Vec<u8> = blob.ok()??;
        let header = Header::of(&blob)?;
        let text = |tag| header.texts(tag).next().map(lossless);
        let version = format!("{}-{}", text(VERSION)?, text(RELEASE)?);
        let version = match header.numbers(EPOCH).next() {
            Some(epoch) => format!("{epoch}:{version}"),
            None => version,
        };
        let path = bytes(path);
        let file = header.files().into_iter().find(|file| file.path == path);
        let algorithm = header.numbers(FILE_DIGEST_ALGORITHM).next();
        let expected = file.and_then(|file| expected(algorithm, file.digest));
        Some(Described { name: text(NAME)?, version, expected })
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let path = self.databases.iter().find(|path| path.exists());
        let path = path.map(|path| path.to_string_lossy()).unwrap_or_default();
        let path = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)
    }
}

/// The sum of a file, by the number of its algorithm (RFC 9580).
fn expected(algorithm: Option<u32>, digest: &[u8]) -> Option<Expected> {
    let digest = String::from_utf8(digest.to_ascii_lowercase()).ok()?;
    match (algorithm.unwrap_or(1), digest.len()) {
        (1, 32) => Some(Expected::Md5(digest)),
        (8, 64) => Some(Expected::Sha256(digest)),
        _ => None,
    }
}

/// A file of a package.
#[derive(Debug)]
struct PackagedFile<'a> {
    path: Vec<u8>,
    /// Empty for what has no content.
    digest: &'a [u8],
    /// Whether it is a file, and this package's one.
    is_there: bool,
}

/// A header.
struct Header<'a> {
    entries: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    /// `None` when the bytes are none.
    fn of(blob: &'a [u8]) -> Option<Self> {
        if blob.len() > HEADER_BYTES_MAX {
            return None;
        }
        let count = number(blob, 0)? as usize;
        let bytes = number(blob, 4)? as usize;
        let (entries, data) = blob.get(8..)?.split_at_checked(count.checked_mul(16)?)?;
        Some(Self { entries, data: data.get(..bytes)? })
    }

    /// The type, data and count of a tag.
    fn entry(&self, tag: u32) -> Option<(u32, &'a [u8], usize)> {
        let entry = self.entries.chunks_exact(16).find(|entry| number(entry, 0) == Some(tag))?;
        let data = self.data.get(number(entry, 8)? as usize..)?;
        Some((number(entry, 4)?, data, number(entry, 12)? as usize))
    }

    /// The texts of a tag.
    fn texts(&self, tag: u32) -> impl Iterator<Item = &'a [u8]> {
        let texts = self.entry(tag).filter(|(kind, ..)| [6, 8, 9].contains(kind));
        let (_, data, count) = texts.unwrap_or((0, &[], 0));
        // Behind the last NUL comes nothing.
        data.split_inclusive(|byte| *byte == 0)
            .take(count)
            .filter_map(|text| text.strip_suffix(b"\0"))
    }

    /// The numbers of a tag.
    fn numbers(&self, tag: u32) -> impl Iterator<Item = u32> {
        let (kind, data, count) = self.entry(tag).unwrap_or((0, &[], 0));
        let width = match kind {
            1 | 2 => 1,
            3 => 2,
            4 => 4,
            _ => usize::MAX,
        };
        let wide = |bytes: &[u8]| bytes.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
        data.chunks_exact(width).take(count).map(wide)
    }

    fn files(&self) -> Vec<PackagedFile<'a>> {
        let folders: Vec<&[u8]> = self.texts(DIRECTORY_NAMES).collect();
        // What is not told is as usual.
        let mut digests = self.texts(FILE_DIGESTS);
        let mut modes = self.numbers(FILE_MODES);
        let mut states = self.numbers(FILE_STATES);
        let mut files = Vec::new();
        for (name, folder) in self.texts(BASE_NAMES).zip(self.numbers(DIRECTORY_INDEXES)) {
            let digest = digests.next().unwrap_or_default();
            let (mode, state) = (modes.next().unwrap_or(0), states.next().unwrap_or(0));
            let Some(folder) = folders.get(folder as usize) else { continue };
            files.push(PackagedFile {
                path: [folder, name].concat(),
                digest,
                // Another state is that of what was left out, or is another package's now.
                is_there: mode & KIND_OF_FILE != DIRECTORY && state == 0,
            });
        }
        files
    }
}

/// Four bytes at a place.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    four.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by rpm 4.18: two packages, built by `rpmbuild -bb` and installed by `rpm --root --nodeps -i`;
    /// then rewritten by SQLite with pages of 1,024 bytes, for its size. `demo` is 2:1.4-3 with SHA-256
    /// sums, of `/usr/bin/demo`, a link to it, a folder, a text, a configuration and a ghost; `old` is 7-1
    /// with MD5 sums, of `/usr/bin/old`.
    const DATABASE: &[u8] = include_bytes!("fixtures/rpmdb.sqlite");

    fn database(content: &[u8]) -> (tempfile::TempDir, Rpm) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpm?db.sqlite");
        fs::write(&path, content).unwrap();
        let rpm = Rpm::new(&[Path::new("/nonexistent"), &path]);
        (folder, rpm)
    }

    fn packages(rpm: &Rpm) -> Vec<(i64, Vec<String>)> {
        let mut all = Vec::new();
        // A damaged one ends early.
        let _error = rpm.packages(|number, paths| {
            all.push((number, paths.to_vec()));
            true
        });
        all
    }

    #[test]
    fn packages_have_files_versions_and_sums() {
        let (folder, rpm) = database(DATABASE);
        let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let demo = paths(&[
            "/etc/demo.conf",
            "/usr/bin/demo",
            "/usr/bin/demo-link",
            "/usr/share/demo/made",
            "/usr/share/demo/text",
        ]);
        assert_eq!(packages(&rpm), [(1, demo), (2, paths(&["/usr/bin/old"]))]);
        // The sums are those of the two scripts, by sha256sum and md5sum.
        let demo = rpm.describe(1, "/usr/bin/demo").unwrap();
        assert_eq!((demo.name.as_str(), demo.version.as_str()), ("demo", "2:1.4-3"));
        let sum = "a5a301c60af0fd8cd3d77a140c73dd78dc87848025d499d5afcc1f2f7327572f";
        assert_eq!(demo.expected, Some(Expected::Sha256(sum.to_owned())));
        let old = rpm.describe(2, "/usr/bin/old").unwrap();
        assert_eq!((old.name.as_str(), old.version.as_str()), ("old", "7-1"));
        assert_eq!(
            old.expected,
            Some(Expected::Md5("e1323552aeb9530184d07456a6ffa56a".to_owned()))
        );
        assert_eq!(rpm.describe(1, "/usr/bin/demo-link").unwrap().expected, None, "a link");
        assert_eq!(rpm.describe(1, "/usr/bin/other").unwrap().expected, None);
        assert_eq!(rpm.describe(3, "/usr/bin/demo"), None);
        assert!(rpm.version().is_some_and(|version| version.size > 0));
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 1, "SQLite makes no files beside the database");
    }

    #[test]
    fn without_a_database_there_are_no_packages() {
        let rpm = Rpm::new(&[Path::new("/nonexistent")]);
        assert!(rpm.version().is_none() && packages(&rpm).is_empty());
        assert_eq!(rpm.describe(1, "/usr/bin/demo"), None);
    }

    #[test]
    fn what_is_damaged_gives_fewer_answers() {
        let whole = packages(&database(DATABASE).1).len();
        for at in (0..DATABASE.len()).step_by(97) {
            let mut damaged = DATABASE.to_vec();
            damaged[at] = !damaged[at];
            let (_folder, rpm) = database(&damaged);
            assert!(packages(&rpm).len() <= whole);
            // Whatever it says, it says something.
            let _described = rpm.describe(1, "/usr/bin/demo");
        }
        let blob = {
            let (_folder, rpm) = database(DATABASE);
            let connection = rpm.open().unwrap();
            let statement = "SELECT blob FROM Packages WHERE hnum = 1";
            connection.query_row(statement, [], |row| row.get::<_, Vec<u8>>(0)).unwrap()
        };
        assert_eq!(Header::of(&blob).unwrap().files().len(), 6);
        for at in 0..blob.len() {
            let mut damaged = blob.clone();
            damaged[at] = 0xff;
            for header in [Header::of(&damaged), Header::of(&blob[..at])].into_iter().flatten() {
                assert!(header.files().len() <= 6);
            }
        }
    }
}
