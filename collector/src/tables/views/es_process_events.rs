//! `es_process_events`: osquery's name for execs, forks and exits on macOS.

use bygone_store::StateTable;

use crate::tables::ViewTable;

/// Execs, forks and exits under osquery's name for its source with EndpointSecurity. Columns of
/// osquery's that are not recorded are null.
#[derive(StateTable)]
pub struct EsProcessEvents {
    /// Version of the message: null.
    pub version: Option<i32>,
    /// Number of the message: null.
    pub seq_num: Option<i64>,
    /// Number of the message among all: null.
    pub global_seq_num: Option<i64>,
    /// Process id: of an exec and an exit the process, of a fork the parent.
    pub pid: u32,
    /// Version of the process id: null.
    pub pidversion: Option<i64>,
    /// Path of the program's file.
    pub path: Option<String>,
    /// Process id of the parent.
    pub parent: Option<u32>,
    /// Process id of the parent at the start: null.
    pub original_parent: Option<i64>,
    /// POSIX session id; null for a fork and an exit.
    pub session_id: Option<u32>,
    /// Process id of the responsible process: null.
    pub responsible_pid: Option<i64>,
    /// Its version: null.
    pub responsible_pidversion: Option<i64>,
    /// Version of the parent's process id: null.
    pub parent_pidversion: Option<i64>,
    /// The arguments, joined by spaces.
    pub cmdline: Option<String>,
    /// Number of arguments.
    pub cmdline_count: Option<i64>,
    /// Environment; null: not collected.
    pub env: Option<String>,
    /// Number of environment variables; null: not collected.
    pub env_count: Option<u64>,
    /// Working directory.
    pub cwd: Option<String>,
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: Option<u32>,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: Option<u32>,
    /// Name of the user: null.
    pub username: Option<String>,
    /// Signing identifier: null.
    pub signing_id: Option<String>,
    /// Team of the signature: null.
    pub team_id: Option<String>,
    /// Hash of the code directory: null.
    pub cdhash: Option<String>,
    /// Whether the program belongs to the system: null.
    pub platform_binary: Option<i32>,
    /// What an ended process passed to exit.
    pub exit_code: Option<u32>,
    /// Process id of the new process of a fork.
    pub child_pid: Option<u32>,
    /// When, in seconds since the Unix epoch.
    pub time: i64,
    /// `exec`, `fork` or `exit`.
    pub event_type: String,
    /// The row's number in its own table.
    pub eid: String,
    /// Flags of the signature: null.
    pub codesigning_flags: Option<String>,
    /// When, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Identity of the process that `pid` is.
    pub guid: Option<String>,
}

impl ViewTable for EsProcessEvents {
    const CLASSES: &'static [&'static str] = &["exec", "fork", "exit"];

    const SQL: &'static str = "
    SELECT NULL, NULL, NULL, pid, NULL, path, parent, NULL, session_id, NULL, NULL, NULL,
        cmdline, json_array_length(argv), env, env_count, cwd, uid, euid, gid, egid, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, time, 'exec', CAST(eid AS TEXT), NULL, time_ns, guid
    FROM process_events WHERE syscall <> 'snapshot'
    UNION ALL
    SELECT NULL, NULL, NULL, caller, NULL, path, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, uid, NULL, gid, NULL, NULL, NULL, NULL, NULL, NULL, NULL, pid,
        time, 'fork', CAST(eid AS TEXT), NULL, time_ns, caller_guid
    FROM process_fork_events
    UNION ALL
    SELECT NULL, NULL, NULL, pid, NULL, path, parent, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, uid, NULL, gid, NULL, NULL, NULL, NULL, NULL, NULL, exit_code,
        NULL, time, 'exit', CAST(eid AS TEXT), NULL, time_ns, guid
    FROM process_exit_events";
}
