//! Content that was executed.

use super::ProcessKey;

/// What kind of file was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutableKind {
    /// The file that the kernel loaded.
    Program,
    /// The script that it was loaded for.
    Script,
    /// A file that a process mapped to be executed, such as a shared object.
    Image,
}

impl ExecutableKind {
    /// The value of the column `kind`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Script => "script",
            Self::Image => "image",
        }
    }
}

/// What came of reading a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashStatus {
    /// It was read whole, and was what had been executed before and after that.
    Hashed,
    /// It was read whole through the process that runs it, after its last name had been taken away,
    /// which changes its change time: inode, size and time of content were those of the exec.
    HashedDeleted,
    /// It was read whole and did not change meanwhile, but it was written so shortly before the exec
    /// that one more change right after that would not show in its times.
    HashedUnproven,
    /// What is at its place now is another file or content.
    Changed,
    /// It could not be reached any more.
    Gone,
    /// It is larger than what is read.
    TooLarge,
    /// It is on a file system that is not read: FUSE or another machine's.
    NotRead,
    /// Reading it failed.
    Unreadable,
}

impl HashStatus {
    /// The value of the column `hash_status`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hashed => "hashed",
            Self::HashedDeleted => "hashed_deleted",
            Self::HashedUnproven => "hashed_unproven",
            Self::Changed => "changed",
            Self::Gone => "gone",
            Self::TooLarge => "too_large",
            Self::NotRead => "not_read",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether another look would find the same as long as the file does not change.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Hashed | Self::HashedDeleted | Self::TooLarge | Self::NotRead)
    }
}

/// Which content of which file: a file that is written to has another change time, and one in its
/// place another inode or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentKey {
    /// Device, as the kernel has it.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Last change of metadata, in nanoseconds since the Unix epoch.
    pub ctime_ns: i64,
    /// Size in bytes.
    pub size: u64,
}

/// What was computed of some content.
#[derive(Clone, Debug, PartialEq)]
pub struct ContentDigest {
    /// SHA-256.
    pub sha256: [u8; 32],
    /// MD5.
    pub md5: [u8; 16],
    /// Shannon entropy of its bytes, 0 to 8 bits per byte.
    pub entropy: f64,
    /// Its first bytes, at most 32.
    pub head: Vec<u8>,
}

/// The package that a file belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageOwner {
    /// The package manager: `dpkg` or `rpm`.
    pub manager: &'static str,
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether the file is as in the package, `None` when the package does not say what it should
    /// be, or the file was not hashed.
    pub intact: Option<bool>,
}

/// Some content was executed for the first time.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutableEvent {
    /// When, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// The process that was the first.
    pub process: ProcessKey,
    /// Real user id of it.
    pub uid: u32,
    /// Whether the process was found running rather than seen to start.
    pub snapshot: bool,
    /// What kind of file.
    pub kind: ExecutableKind,
    /// Its path.
    pub path: Option<String>,
    /// Of a script, the path of its interpreter.
    pub interpreter: Option<String>,
    /// Which content; `None` when the file could not be looked at and the source does not tell.
    pub content: Option<ContentKey>,
    /// Last change of content, in seconds since the Unix epoch.
    pub mtime: Option<i64>,
    /// Type and permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub owner_uid: Option<u32>,
    /// Owning group.
    pub owner_gid: Option<u32>,
    /// What came of reading it.
    pub status: HashStatus,
    /// What was computed of it, when it was hashed.
    pub digest: Option<ContentDigest>,
    /// The package that it belongs to; `None` when there is none or it is not known.
    pub package: Option<PackageOwner>,
    /// The beginning of a script, when that is asked for, without the values that are masked.
    pub script_content: Option<Vec<u8>>,
    /// Whether values in `script_content` or the digest's first bytes were replaced, as configured.
    pub masked: bool,
}
