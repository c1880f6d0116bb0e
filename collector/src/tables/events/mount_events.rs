//! `mount_events`, from the kernel's probes.

use bygone_store::{Computed, EventTable};

use crate::events::{Action, ActionEvent};
use crate::tables::Subscriber;

/// File systems that were mounted, moved or unmounted, and attempts at it.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct MountEvents {
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
    /// The system call: `mount`, `umount2`, `move_mount` or `pivot_root`.
    pub syscall: String,
    /// Where, as the process gave it: its first 255 bytes.
    pub target: Option<String>,
    /// What, likewise: its first 63 bytes; of `pivot_root` where the old root is put.
    pub source: Option<String>,
    /// Type of the file system.
    pub fs_type: Option<String>,
    /// Flags, as the system call takes them.
    pub flags: u64,
    /// Where `target` comes from: `user_memory`, read from the process at the end of the call.
    pub path_source: String,
    /// What the system call returned: 0 or a file descriptor, or the negative error number.
    pub result: i64,
}

impl Subscriber for MountEvents {
    type Event = ActionEvent;

    const CLASSES: &'static [&'static str] = &["mount"];

    fn row(event: &ActionEvent) -> Option<Self> {
        let Action::Mount(mount) = &event.action else {
            return None;
        };
        Some(Self {
            time_ns: event.time_ns,
            pid: event.actor.pid,
            path: event.path.as_deref().map(str::to_owned),
            uid: event.uid,
            tid: event.tid,
            start_ns: event.actor.start_ns,
            guid: Computed,
            syscall: mount.call.to_owned(),
            target: mount.target.clone(),
            source: mount.source.clone(),
            fs_type: mount.file_system.clone(),
            flags: mount.flags,
            path_source: "user_memory".to_owned(),
            result: mount.result,
        })
    }
}
