//! `file_events`, from the file publishers.

use bygone_store::EventTable;

use crate::events::FileEvent;
use crate::tables::{Subscriber, mode_text};

/// Changes to files under the configured paths.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct FileEvents {
    /// The path that changed.
    #[column(bloom)]
    pub target_path: String,
    /// Name of the configured category whose paths cover it.
    pub category: String,
    /// What happened: `CREATED`, `UPDATED`, `DELETED`, `ATTRIBUTES_MODIFIED`, `MOVED_FROM` or
    /// `MOVED_TO`.
    pub action: String,
    /// Pairs `MOVED_FROM` with `MOVED_TO`; 0 when the source gives none.
    pub transaction_id: u32,
    /// Inode number; null when the file was gone.
    pub inode: Option<u64>,
    /// Owner.
    pub uid: Option<u32>,
    /// Owning group.
    pub gid: Option<u32>,
    /// Type and permission bits, in octal.
    pub mode: Option<String>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Last access, in seconds since the Unix epoch.
    pub atime: Option<i64>,
    /// Last change of content, in seconds since the Unix epoch.
    pub mtime: Option<i64>,
    /// Last change of metadata, in seconds since the Unix epoch.
    pub ctime: Option<i64>,
    /// MD5 of the content; null: not collected.
    pub md5: Option<String>,
    /// SHA-1 of the content; null: not collected.
    pub sha1: Option<String>,
    /// SHA-256 of the content; null: not collected.
    pub sha256: Option<String>,
    /// Whether the content was hashed: 0, since it is not.
    pub hashed: i32,
    /// When the change was seen, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub time_ns: i64,
    /// Whether it was found by scanning rather than told by the kernel.
    pub found_by_scan: bool,
}

impl Subscriber for FileEvents {
    type Event = FileEvent;

    const CLASSES: &'static [&'static str] = &["file"];

    fn row(event: &FileEvent) -> Option<Self> {
        Some(Self {
            target_path: event.target_path.clone(),
            category: event.category.clone(),
            action: event.action.name().to_owned(),
            transaction_id: event.transaction_id,
            inode: event.stat.map(|stat| stat.inode),
            uid: event.stat.map(|stat| stat.uid),
            gid: event.stat.map(|stat| stat.gid),
            mode: event.stat.map(|stat| mode_text(stat.mode)),
            size: event.stat.map(|stat| stat.size),
            atime: event.stat.map(|stat| stat.atime),
            mtime: event.stat.map(|stat| stat.mtime),
            ctime: event.stat.map(|stat| stat.ctime),
            md5: None,
            sha1: None,
            sha256: None,
            hashed: 0,
            time_ns: event.time_ns,
            found_by_scan: event.found_by_scan,
        })
    }
}
