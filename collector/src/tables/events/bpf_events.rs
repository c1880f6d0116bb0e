//! `bpf_events`, from the kernel's probes.

use bygone_store::{Computed, EventTable};

use crate::events::{Action, ActionEvent};
use crate::tables::Subscriber;

/// BPF programs that were loaded or attached, but for those of Bygone itself.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct BpfEvents {
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
    /// The command of `bpf(2)`: `BPF_PROG_LOAD`, `BPF_PROG_ATTACH`, `BPF_RAW_TRACEPOINT_OPEN` or
    /// `BPF_LINK_CREATE`.
    pub command: String,
    /// Type of the program that is loaded, by its number in `enum bpf_prog_type`; null for other
    /// commands.
    pub program_type: Option<u32>,
    /// Name of the program that is loaded; null when it has none.
    pub name: Option<String>,
    /// What the system call returned: 0 or a file descriptor, or the negative error number.
    pub result: i64,
}

impl Subscriber for BpfEvents {
    type Event = ActionEvent;

    const CLASSES: &'static [&'static str] = &["bpf"];

    fn row(event: &ActionEvent) -> Option<Self> {
        let Action::Bpf(bpf) = &event.action else {
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
            command: bpf.command.to_owned(),
            program_type: bpf.program_type,
            name: bpf.name.clone(),
            result: bpf.result,
        })
    }
}
