//! `memfd_events`, from the kernel's probes.

use bygone_store::{Computed, EventTable};

use crate::events::{Action, ActionEvent};
use crate::tables::Subscriber;

/// Files in memory, made by `memfd_create(2)`.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct MemfdEvents {
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
    /// The name it was given, which is not a path.
    #[column(bloom)]
    pub name: Option<String>,
    /// Flags of `memfd_create(2)`.
    pub flags: u64,
    /// What the system call returned: 0 or a file descriptor, or the negative error number.
    pub result: i64,
}

impl Subscriber for MemfdEvents {
    type Event = ActionEvent;

    const CLASSES: &'static [&'static str] = &["memfd"];

    fn row(event: &ActionEvent) -> Option<Self> {
        let Action::MemoryFile(file) = &event.action else {
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
            name: file.name.clone(),
            flags: file.flags,
            result: file.result,
        })
    }
}
