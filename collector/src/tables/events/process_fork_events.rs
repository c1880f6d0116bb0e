//! `process_fork_events`, from the process publishers.

use bygone_store::{Computed, EventTable};

use crate::events::ProcessEvent;
use crate::tables::Subscriber;

/// Processes created on this host: one row per fork, vfork or clone that made a process. Threads
/// are left out.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct ProcessForkEvents {
    /// Process id of the new process, in the initial pid namespace.
    pub pid: u32,
    /// Path of the program that it runs until it calls exec; null when the source does not tell.
    #[column(bloom)]
    pub path: Option<String>,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Process id of the parent; null when it was already gone.
    pub parent: Option<u32>,
    /// Whole seconds between boot and the fork.
    #[column(uptime)]
    pub uptime: Computed,
    /// When it was created, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub time_ns: i64,
    /// Start of the new process, in nanoseconds since boot.
    #[column(bloom)]
    pub start_ns: u64,
    /// Identity of the new process.
    #[column(guid(pid, start_ns))]
    pub guid: Computed,
    /// Start of the parent, in nanoseconds since boot.
    pub parent_start_ns: Option<u64>,
    /// Identity of the parent: the caller, or the caller's parent under `CLONE_PARENT`.
    #[column(guid(parent, parent_start_ns))]
    pub parent_guid: Computed,
    /// Process id of the caller.
    pub caller: u32,
    /// Start of the caller, in nanoseconds since boot.
    pub caller_start_ns: u64,
    /// Identity of the process that called fork.
    #[column(guid(caller, caller_start_ns))]
    pub caller_guid: Computed,
    /// Flags of `clone(2)` without the exit signal; null on macOS.
    pub clone_flags: Option<u64>,
}

impl Subscriber for ProcessForkEvents {
    type Event = ProcessEvent;

    const CLASSES: &'static [&'static str] = &["fork"];

    fn row(event: &ProcessEvent) -> Option<Self> {
        match event {
            ProcessEvent::Fork(fork) => Some(Self {
                pid: fork.process.pid,
                path: fork.path.clone(),
                uid: fork.uid,
                gid: fork.gid,
                parent: fork.parent.map(|parent| parent.pid),
                uptime: Computed,
                time_ns: fork.time_ns,
                start_ns: fork.process.start_ns,
                guid: Computed,
                parent_start_ns: fork.parent.map(|parent| parent.start_ns),
                parent_guid: Computed,
                caller: fork.caller.pid,
                caller_start_ns: fork.caller.start_ns,
                caller_guid: Computed,
                clone_flags: fork.clone_flags,
            }),
            ProcessEvent::Exec(_) | ProcessEvent::Exit(_) => None,
        }
    }
}
