//! `process_summary_events`, from the process publishers.

use bygone_store::{Computed, EventTable};

use crate::events::ProcessSummaryEvent;
use crate::tables::Subscriber;

/// Events of processes that came faster than `rate_limit` of `[process]` allows: a row per executable,
/// kind of event and second, in place of rows in `process_events` and its like.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct ProcessSummaryEvents {
    /// What was merged: `exec`, starts of the executable; `fork`, forks by processes that run it; `exit`,
    /// ends of processes that ran it and of which no other row tells.
    pub kind: String,
    /// How many events.
    pub count: u64,
    /// Path of the executable; null when the source does not tell.
    #[column(bloom)]
    pub path: Option<String>,
    /// Path of the script, when the executable is a script's interpreter.
    #[column(bloom)]
    pub script_path: Option<String>,
    /// Device of the executable's file, as `st_dev`.
    pub exe_dev: u64,
    /// Its inode number.
    pub exe_inode: u64,
    /// Real user id; null when they were several.
    pub uid: Option<u32>,
    /// Process id of the parent, of forks that of the caller; null when they were several.
    pub parent: Option<u32>,
    /// Start of the parent, in nanoseconds since boot; null likewise.
    pub parent_start_ns: Option<u64>,
    /// Identity of the parent.
    #[column(guid(parent, parent_start_ns))]
    pub parent_guid: Computed,
    /// Path of the program that the parent runs; null when it is not known, or they were several.
    #[column(bloom)]
    pub parent_path: Option<String>,
    /// When the first happened, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub time_ns: i64,
    /// When the last did.
    pub end_ns: i64,
}

impl Subscriber for ProcessSummaryEvents {
    type Event = ProcessSummaryEvent;

    const CLASSES: &'static [&'static str] = &["exec", "fork", "exit"];

    fn row(event: &ProcessSummaryEvent) -> Option<Self> {
        Some(Self {
            kind: event.kind.name().to_owned(),
            count: event.count,
            path: event.path.clone(),
            script_path: event.script_path.clone(),
            exe_dev: event.device,
            exe_inode: event.inode,
            uid: event.uid,
            parent: event.parent.map(|parent| parent.pid),
            parent_start_ns: event.parent.map(|parent| parent.start_ns),
            parent_guid: Computed,
            parent_path: event.parent_path.clone(),
            time_ns: event.time_ns,
            end_ns: event.end_ns,
        })
    }
}
