//! `image_events`, from the kernel's probes.

use bygone_store::{Computed, EventTable};

use crate::events::{Action, ActionEvent};
use crate::tables::{Subscriber, mode_text};

/// Files that a process asked to map so that they can be executed, such as shared objects: by default
/// the first mapping of each content since the collector started, known by device, inode, change time
/// and size; again when it was not mapped for so long that 8,192 others were; each mapping with
/// `[process] images = "all"`. The program itself and its loader are mapped by exec and are in
/// `process_events`. What the content is says the row of `executable_events` with the same `device`,
/// `inode`, `ctime_ns` and `size`. Whether the kernel granted the mapping is not told.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct ImageEvents {
    /// When, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub time_ns: i64,
    /// Process id of who did it, in the initial pid namespace.
    pub pid: u32,
    /// Path of the program that it runs; null when it is not known.
    #[column(bloom)]
    pub path: Option<String>,
    /// Its real user id.
    pub uid: u32,
    /// Its thread.
    pub tid: u32,
    /// Start of its process, in nanoseconds since boot.
    #[column(bloom)]
    pub start_ns: u64,
    /// Identity of its process, as in `process_events`.
    #[column(guid(pid, start_ns))]
    pub guid: Computed,
    /// Path of the file, from the root of the mount namespace of the process; the bare name of a file
    /// that hangs on no directory.
    #[column(bloom)]
    pub image_path: Option<String>,
    /// Whether the front of `image_path` is missing.
    pub image_path_truncated: bool,
    /// Device of the file, as in `executable_events`.
    pub device: u64,
    /// Inode of the file.
    pub inode: u64,
    /// Last change of the file's metadata, in nanoseconds since the Unix epoch.
    pub ctime_ns: Option<i64>,
    /// Size of the file in bytes.
    pub size: Option<u64>,
    /// Type and permission bits of the file, in octal.
    pub mode: String,
    /// Owner of the file.
    pub owner_uid: u32,
    /// Owning group of the file.
    pub owner_gid: u32,
    /// Whether the file has no name on a disk: made by `memfd_create(2)`, in `/dev/shm`, or deleted.
    pub fileless: bool,
    /// Whether the memory is to be writable at the same time.
    pub writable: bool,
    /// Inode of the mount namespace of the process.
    pub mnt_namespace: Option<u32>,
}

impl Subscriber for ImageEvents {
    type Event = ActionEvent;

    const CLASSES: &'static [&'static str] = &["image"];

    fn row(event: &ActionEvent) -> Option<Self> {
        let Action::Image(image) = &event.action else {
            return None;
        };
        let file = &image.file;
        Some(Self {
            time_ns: event.time_ns,
            pid: event.actor.pid,
            path: event.path.as_deref().map(str::to_owned),
            uid: event.uid,
            tid: event.tid,
            start_ns: event.actor.start_ns,
            guid: Computed,
            image_path: image.path.clone(),
            image_path_truncated: image.path_truncated,
            device: file.device,
            inode: file.inode,
            ctime_ns: file.ctime_ns,
            size: file.size,
            mode: mode_text(file.mode),
            owner_uid: file.owner_uid,
            owner_gid: file.owner_gid,
            fileless: file.in_memory || file.links == Some(0),
            writable: image.writable,
            mnt_namespace: image.mount_namespace,
        })
    }
}
