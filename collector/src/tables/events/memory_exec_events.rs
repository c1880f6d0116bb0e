//! `memory_exec_events`, from the kernel's probes.

use bygone_store::{Computed, EventTable};

use crate::events::{Action, ActionEvent};
use crate::tables::Subscriber;

/// Memory that a process asked to be executable: anonymous memory mapped so, and any that is to become
/// so later. Whether the kernel granted it is not told.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct MemoryExecEvents {
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
    /// The system call: `mmap`, `mprotect` or `pkey_mprotect`.
    pub syscall: String,
    /// Where the memory is to begin; 0 where the kernel is to choose.
    pub address: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// Whether it is writable at the same time.
    pub writable: bool,
}

impl Subscriber for MemoryExecEvents {
    type Event = ActionEvent;

    const CLASSES: &'static [&'static str] = &["memory_exec"];

    fn row(event: &ActionEvent) -> Option<Self> {
        let Action::MemoryExec(memory) = &event.action else {
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
            syscall: memory.call.to_owned(),
            address: memory.address,
            bytes: memory.bytes,
            writable: memory.writable,
        })
    }
}
