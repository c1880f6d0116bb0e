//! `memory_exec_events`, from the kernel's probes.

use bygone_store::{Computed, EventTable};

use crate::events::{Action, ActionEvent};
use crate::tables::Subscriber;

/// Memory that was made executable: anonymous memory mapped so, and any that was made so later.
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
    /// Where the memory begins.
    pub address: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// Whether it is writable at the same time.
    pub writable: bool,
    /// What the system call returned: 0 or a file descriptor, or the negative error number.
    pub result: i64,
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
            result: memory.result,
        })
    }
}
