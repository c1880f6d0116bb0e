//! `process_lifetimes`: execs and forks joined with what ended them.
//!
//! A row is a program in a process: what users look for is "this command line, from here to there,
//! with this result", and a shell that becomes another program by exec is two of those. One row per
//! process would have to drop one of the two. A process that never called exec is one row, from its
//! fork, with the program that it shares with its parent: workers and subshells are processes too.
//! Rows of snapshots, of which each start of the collector makes new ones, count where nothing else
//! is known of the process.
//!
//! The joins are by guid, so that SQLite, which plans the view into the statement around it, hands
//! bounds of time and other comparisons on to the tables, and looks the rest up by identity.

use bygone_store::StateTable;

use crate::tables::ViewTable;

/// Programs that ran, from start to end: one row per exec of a process, and one per process that
/// never called exec. A row ends with the process, or with its next exec.
#[derive(StateTable)]
pub struct ProcessLifetimes {
    /// When it started, in seconds since the Unix epoch.
    pub time: i64,
    /// Likewise in nanoseconds.
    pub time_ns: i64,
    /// When it ended, in nanoseconds since the Unix epoch; null while it runs, and when its end was
    /// not recorded.
    pub end_ns: Option<i64>,
    /// How long it ran, in nanoseconds; null likewise.
    pub lasted_ns: Option<i64>,
    /// Process id.
    pub pid: u32,
    /// Path of the program's file.
    pub path: Option<String>,
    /// The arguments, joined by spaces; null for a process that never called exec.
    pub cmdline: Option<String>,
    /// Real user id it was started with.
    pub uid: u32,
    /// Process id of the parent at the start.
    pub parent: Option<u32>,
    /// What it passed to exit; null while it runs, when a signal ended it, and when an exec ended
    /// the row.
    pub exit_code: Option<u32>,
    /// The signal that ended it.
    pub signal: Option<u32>,
    /// CPU time of the process in nanoseconds, programs before this one included; null while it
    /// runs, and when an exec ended the row.
    pub cpu_ns: Option<u64>,
    /// What the row starts with: `execve`, `fork`, or `snapshot` for what was found running, whose
    /// start is that of the process.
    pub started_by: String,
    /// What the row ends with: `exit` or `execve`; null while it runs.
    pub ended_by: Option<String>,
    /// Start of the process, in nanoseconds since boot.
    pub start_ns: u64,
    /// Identity of the process.
    pub guid: String,
    /// Identity of the parent at the start.
    pub parent_guid: Option<String>,
}

impl ViewTable for ProcessLifetimes {
    const CLASSES: &'static [&'static str] = &["exec", "fork", "exit"];

    const SQL: &'static str = "
    SELECT e.time, e.time_ns, ifnull(n.time_ns, x.time_ns),
        ifnull(n.time_ns, x.time_ns) - e.time_ns,
        e.pid, e.path, e.cmdline, e.uid, e.parent, x.exit_code, x.signal, x.cpu_ns, e.syscall,
        CASE WHEN n.time_ns IS NOT NULL THEN 'execve' WHEN x.time_ns IS NOT NULL THEN 'exit' END,
        e.start_ns, e.guid, e.parent_guid
    FROM process_events e
    -- The next exec of the process.
    LEFT JOIN process_events n ON n.guid = e.guid AND n.time_ns > e.time_ns
        AND n.syscall <> 'snapshot' AND NOT EXISTS (
            SELECT 1 FROM process_events m WHERE m.guid = n.guid AND m.time_ns > e.time_ns
                AND m.time_ns < n.time_ns AND m.syscall <> 'snapshot')
    LEFT JOIN process_exit_events x ON x.guid = e.guid AND n.time_ns IS NULL
    WHERE e.syscall <> 'snapshot' OR NOT EXISTS (
        SELECT 1 FROM process_events p WHERE p.guid = e.guid AND p.eid < e.eid)
    UNION ALL
    SELECT f.time, f.time_ns, x.time_ns, x.time_ns - f.time_ns, f.pid, f.path, NULL, f.uid,
        f.parent, x.exit_code, x.signal, x.cpu_ns, 'fork',
        CASE WHEN x.time_ns IS NOT NULL THEN 'exit' END, f.start_ns, f.guid, f.parent_guid
    FROM process_fork_events f LEFT JOIN process_exit_events x ON x.guid = f.guid
    WHERE NOT EXISTS (SELECT 1 FROM process_events e WHERE e.guid = f.guid)";
}
