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
    /// Real user id; 4294967295 when it is not known, as the group id.
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
    /// Start of the caller, in nanoseconds since boot; 0 when it is not known.
    pub caller_start_ns: u64,
    /// Identity of the process that called fork.
    #[column(guid(caller, caller_start_ns))]
    pub caller_guid: Computed,
    /// Flags of `clone(2)` without the exit signal; null on macOS.
    pub clone_flags: Option<u64>,
    /// Inode of the pid namespace of the new process; null on macOS.
    pub pid_namespace: Option<u32>,
    /// Inode of its mount namespace; null on macOS.
    pub mnt_namespace: Option<u32>,
    /// Inode of its network namespace; null on macOS.
    pub net_namespace: Option<u32>,
    /// Inode of its user namespace; null on macOS.
    pub user_namespace: Option<u32>,
    /// The namespaces that it does not share with its creator, separated by commas: `mnt`, `uts`, `ipc`,
    /// `user`, `pid`, `net`, `cgroup`, `time`; null when it shares all, and on macOS.
    pub new_namespaces: Option<String>,
}

/// Flags of `clone(2)` that make a namespace (`include/uapi/linux/sched.h`).
const NEW_NAMESPACES: &[(u64, &str)] = &[
    (0x0002_0000, "mnt"),
    (0x0400_0000, "uts"),
    (0x0800_0000, "ipc"),
    (0x1000_0000, "user"),
    (0x2000_0000, "pid"),
    (0x4000_0000, "net"),
    (0x0200_0000, "cgroup"),
    (0x0000_0080, "time"),
];

fn new_namespaces(flags: u64) -> Option<String> {
    let made = NEW_NAMESPACES.iter().filter(|(flag, _)| flags & flag != 0);
    let names: Vec<&str> = made.map(|(_, name)| *name).collect();
    (!names.is_empty()).then(|| names.join(","))
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
                pid_namespace: fork.namespaces.map(|namespaces| namespaces.pid),
                mnt_namespace: fork.namespaces.map(|namespaces| namespaces.mount),
                net_namespace: fork.namespaces.map(|namespaces| namespaces.network),
                user_namespace: fork.namespaces.map(|namespaces| namespaces.user),
                new_namespaces: fork.clone_flags.and_then(new_namespaces),
            }),
            ProcessEvent::Exec(_) | ProcessEvent::Exit(_) => None,
        }
    }
}
