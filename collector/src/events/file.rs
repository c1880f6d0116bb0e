//! Changes to files.

/// What happened to a file, in osquery's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileAction {
    /// The path came into being.
    Created,
    /// Content changed, or a writer closed it.
    Updated,
    /// The path is gone.
    Deleted,
    /// Mode, owner, times or extended attributes changed.
    AttributesModified,
    /// The file left this path for another.
    MovedFrom,
    /// The file came to this path from another.
    MovedTo,
    /// Opened.
    Opened,
    /// Read.
    Accessed,
}

impl FileAction {
    /// The value of the column `action`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Updated => "UPDATED",
            Self::Deleted => "DELETED",
            Self::AttributesModified => "ATTRIBUTES_MODIFIED",
            Self::MovedFrom => "MOVED_FROM",
            Self::MovedTo => "MOVED_TO",
            Self::Opened => "OPENED",
            Self::Accessed => "ACCESSED",
        }
    }
}

/// One change to one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEvent {
    /// When it was seen, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// The path.
    pub target_path: String,
    /// Name of the configured category whose paths cover it.
    pub category: String,
    /// What happened.
    pub action: FileAction,
    /// Pairs `MovedFrom` with `MovedTo`; 0 when the source gives none.
    pub transaction_id: u32,
    /// Whether it was found by scanning rather than told by the kernel.
    pub found_by_scan: bool,
    /// The file as `stat(2)` showed it just after; `None` when it was gone.
    pub stat: Option<FileStat>,
}

/// The parts of `stat(2)` that events keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStat {
    /// Inode number.
    pub inode: u64,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Type and permission bits.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Last access in whole seconds since the Unix epoch.
    pub atime: i64,
    /// Last change of content, likewise.
    pub mtime: i64,
    /// Last change of metadata, likewise.
    pub ctime: i64,
}
