//! `ptrace_events`, from the kernel's probes.

use bygone_store::{Computed, EventTable};

use crate::events::{Action, ActionEvent};
use crate::tables::Subscriber;

/// Access of a process to another: `ptrace(2)` by which it comes to control it or changes it, reading
/// or writing its memory, and opening that as a file (`/proc/PID/mem`), which is told when it succeeds.
/// A process that opens its own memory is left out.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct PtraceEvents {
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
    /// Process id of the process that it was done to; null when that is not known.
    pub target_pid: Option<u32>,
    /// Path of the program that that runs; null when it is not known.
    #[column(bloom)]
    pub target_path: Option<String>,
    /// Start of that, in nanoseconds since boot.
    #[column(bloom)]
    pub target_start_ns: Option<u64>,
    /// Identity of that.
    #[column(guid(target_pid, target_start_ns))]
    pub target_guid: Computed,
    /// The system call: `ptrace`, `process_vm_readv`, `process_vm_writev`, or the one that opened the
    /// memory: `open`, `openat` or `openat2`.
    pub syscall: String,
    /// The request of `ptrace`: `PTRACE_ATTACH`, `PTRACE_SEIZE`, `PTRACE_TRACEME`, `PTRACE_POKETEXT`,
    /// `PTRACE_POKEDATA`, `PTRACE_POKEUSER`, `PTRACE_SETREGS` or `PTRACE_SETREGSET`; null otherwise.
    pub request: Option<String>,
    /// What is done with the memory, or what it was opened for: `read`, `write` or `read_write`; null
    /// of `ptrace`.
    pub memory: Option<String>,
    /// Id of the other process or thread as it was given, in the pid namespace of who did it; of memory
    /// that was opened, the thread's in the initial one.
    pub requested_pid: u32,
    /// What the system call returned: 0 or a file descriptor, or the negative error number.
    pub result: i64,
}

impl Subscriber for PtraceEvents {
    type Event = ActionEvent;

    const CLASSES: &'static [&'static str] = &["ptrace"];

    fn row(event: &ActionEvent) -> Option<Self> {
        let Action::Access(access) = &event.action else {
            return None;
        };
        let target = &access.target;
        Some(Self {
            time_ns: event.time_ns,
            pid: event.actor.pid,
            path: event.path.as_deref().map(str::to_owned),
            uid: event.uid,
            tid: event.tid,
            start_ns: event.actor.start_ns,
            guid: Computed,
            target_pid: target.process.map(|process| process.pid),
            target_path: target.path.as_deref().map(str::to_owned),
            target_start_ns: target.process.map(|process| process.start_ns),
            target_guid: Computed,
            syscall: access.call.to_owned(),
            request: access.request.map(str::to_owned),
            memory: access.memory.map(|memory| memory.name().to_owned()),
            requested_pid: access.target_id,
            result: access.result,
        })
    }
}
