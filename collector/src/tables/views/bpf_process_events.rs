//! `bpf_process_events`: osquery's name for execs on Linux.

use bygone_store::StateTable;

use crate::tables::ViewTable;

/// `process_events` under osquery's name for its source with BPF.
#[derive(StateTable)]
pub struct BpfProcessEvents {
    /// Thread id of the caller of exec.
    pub tid: u32,
    /// Process id.
    pub pid: u32,
    /// Process id of the parent; null when it was already gone.
    pub parent: Option<u32>,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Id of the cgroup.
    pub cid: Option<i64>,
    /// Result of the exec: 0, since only successful ones are recorded.
    pub exit_code: String,
    /// Whether a part was cut short.
    pub probe_error: i32,
    /// The system call: `execve`.
    pub syscall: String,
    /// Path of the program's file.
    pub path: Option<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// The arguments, joined by spaces.
    pub cmdline: Option<String>,
    /// How long the system call took: null, it is not recorded.
    pub duration: Option<i32>,
    /// The arguments as a JSON array.
    pub json_cmdline: Option<String>,
    /// When, in nanoseconds since boot.
    pub ntime: String,
    /// When, in seconds since the Unix epoch.
    pub time: i64,
    /// The row's number in `process_events`.
    pub eid: i64,
    /// When, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Identity of the process.
    pub guid: String,
    /// Identity of the parent.
    pub parent_guid: Option<String>,
}

impl ViewTable for BpfProcessEvents {
    const CLASSES: &'static [&'static str] = &["exec"];

    const SQL: &'static str = "
    SELECT tid, pid, parent, uid, gid, cgroup_id, '0', overflows IS NOT NULL, syscall, path,
        cwd, cmdline, NULL, argv, CAST(boot_ns AS TEXT), time, eid, time_ns, guid, parent_guid
    FROM process_events WHERE syscall <> 'snapshot'";
}
