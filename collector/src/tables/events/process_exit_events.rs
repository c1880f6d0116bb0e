//! `process_exit_events`, from the process publishers.

use bygone_store::{Computed, EventTable};

use crate::events::{Noticed, ProcessEvent};
use crate::tables::Subscriber;

/// Processes ended on this host: one row per process, when its last thread ended.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct ProcessExitEvents {
    /// Process id, in the initial pid namespace.
    pub pid: u32,
    /// Path of its program; null when the source does not tell.
    #[column(bloom)]
    pub path: Option<String>,
    /// Real user id; 4294967295 when it is not known, as the group id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Process id of the parent, which reaps it; null when it was already gone.
    pub parent: Option<u32>,
    /// Whole seconds between boot and the exit.
    #[column(uptime)]
    pub uptime: Computed,
    /// What it passed to exit, 0 to 255; null when a signal ended it or its end was not seen.
    pub exit_code: Option<u32>,
    /// The signal that ended it; null when it exited by itself or its end was not seen.
    pub signal: Option<u32>,
    /// Whether it dumped core; null when its end was not seen.
    pub core_dumped: Option<bool>,
    /// When its last thread ended, in nanoseconds since the Unix epoch; when its end was not seen,
    /// when it was found to be gone.
    #[column(time)]
    pub time_ns: i64,
    /// Start of the process, in nanoseconds since boot; 0 when it is not known.
    #[column(bloom)]
    pub start_ns: u64,
    /// Identity of the process, as in `process_events`.
    #[column(guid(pid, start_ns))]
    pub guid: Computed,
    /// Start of the parent, in nanoseconds since boot.
    pub parent_start_ns: Option<u64>,
    /// Identity of the parent.
    #[column(guid(parent, parent_start_ns))]
    pub parent_guid: Computed,
    /// CPU time of all its threads, in nanoseconds; null on macOS.
    pub cpu_ns: Option<u64>,
    /// How its end became known: `event` when the system told of it, `scan` when the source in use
    /// looks at intervals and found it gone, `reconciled` when the event was lost.
    pub source: String,
    /// When it was last known to be there, in nanoseconds since the Unix epoch: it ended between
    /// then and `time_ns`. Null when its end was told.
    pub alive_ns: Option<i64>,
    /// From its start to its end, in nanoseconds; null where the source does not tell.
    pub lifetime_ns: Option<u64>,
    /// CPU time in user mode, in nanoseconds; most kernels take it at ticks of 1 to 10 ms. Null on
    /// macOS.
    pub user_ns: Option<u64>,
    /// CPU time in the kernel, likewise.
    pub system_ns: Option<u64>,
    /// Largest resident set, in bytes; null on macOS.
    pub max_rss_bytes: Option<u64>,
    /// Bytes read from storage; null where the kernel does not count them.
    pub disk_bytes_read: Option<u64>,
    /// Bytes written to storage, likewise.
    pub disk_bytes_written: Option<u64>,
}

impl Subscriber for ProcessExitEvents {
    type Event = ProcessEvent;

    const CLASSES: &'static [&'static str] = &["exit"];

    fn row(event: &ProcessEvent) -> Option<Self> {
        match event {
            ProcessEvent::Exit(exit) => Some(Self {
                pid: exit.process.pid,
                path: exit.path.clone(),
                uid: exit.uid,
                gid: exit.gid,
                parent: exit.parent.map(|parent| parent.pid),
                uptime: Computed,
                exit_code: exit.exit_code,
                signal: exit.signal,
                core_dumped: exit.core_dumped,
                time_ns: exit.time_ns,
                start_ns: exit.process.start_ns,
                guid: Computed,
                parent_start_ns: exit.parent.map(|parent| parent.start_ns),
                parent_guid: Computed,
                cpu_ns: exit.cpu_ns,
                source: source(exit.noticed).to_owned(),
                alive_ns: match exit.noticed {
                    Noticed::Told => None,
                    Noticed::Missed { alive_ns } | Noticed::Reconciled { alive_ns } => {
                        Some(alive_ns)
                    }
                },
                lifetime_ns: exit.lifetime_ns,
                user_ns: exit.usage.map(|usage| usage.user_ns),
                system_ns: exit.usage.map(|usage| usage.system_ns),
                max_rss_bytes: exit.usage.map(|usage| usage.rss_bytes_max),
                disk_bytes_read: exit.usage.and_then(|usage| usage.read_bytes),
                disk_bytes_written: exit.usage.and_then(|usage| usage.written_bytes),
            }),
            ProcessEvent::Exec(_) | ProcessEvent::Fork(_) => None,
        }
    }
}

/// The value of the column `source`.
const fn source(noticed: Noticed) -> &'static str {
    match noticed {
        Noticed::Told => "event",
        Noticed::Missed { .. } => "scan",
        Noticed::Reconciled { .. } => "reconciled",
    }
}
