//! `process_events`, from the process publishers.

use bygone_store::{Computed, EventTable};

use crate::events::{ExecEvent, ProcessEvent};
use crate::host::text::lossless;
use crate::tables::Subscriber;
use crate::tables::mode_text;

/// Programs started on this host: one row per successful exec, and one per process that was
/// already running when the collector started.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct ProcessEvents {
    /// Process id, in the initial pid namespace.
    pub pid: u32,
    /// Absolute path of the program's file as seen from the host; null when it has none.
    #[column(bloom)]
    pub path: Option<String>,
    /// Type and permission bits of the program's file, in octal.
    pub mode: Option<String>,
    /// The arguments, joined by spaces.
    pub cmdline: Option<String>,
    /// Size of all arguments in bytes, also when not all were kept.
    #[column(hidden)]
    pub cmdline_size: u64,
    /// Environment of the program; null: not collected.
    #[column(hidden)]
    pub env: Option<String>,
    /// Number of environment variables; null: not collected.
    #[column(hidden)]
    pub env_count: Option<u64>,
    /// Size of the environment in bytes; null: not collected.
    #[column(hidden)]
    pub env_size: Option<u64>,
    /// Working directory.
    pub cwd: Option<String>,
    /// Login user id set by the audit system; 4294967295 when unset.
    pub auid: u32,
    /// Real user id, in the initial user namespace.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Owner of the program's file.
    pub owner_uid: Option<u32>,
    /// Owning group of the program's file.
    pub owner_gid: Option<u32>,
    /// Last access of the program's file, in seconds since the Unix epoch.
    pub atime: Option<i64>,
    /// Last change of the program's file, in seconds since the Unix epoch.
    pub mtime: Option<i64>,
    /// Last change of the program's file's metadata, in seconds since the Unix epoch.
    pub ctime: Option<i64>,
    /// Creation of the program's file, in seconds since the Unix epoch; null on Linux.
    pub btime: Option<i64>,
    /// Names of the columns that are cut short, separated by commas; null when none is.
    #[column(hidden)]
    pub overflows: Option<String>,
    /// Process id of the parent; null when it was already gone.
    pub parent: Option<u32>,
    /// Whole seconds between boot and the exec.
    #[column(uptime)]
    pub uptime: Computed,
    /// Result of the exec: 0, since only successful ones are recorded.
    pub status: i64,
    /// File-system user id; null on macOS.
    pub fsuid: Option<u32>,
    /// Saved user id.
    pub suid: u32,
    /// File-system group id; null on macOS.
    pub fsgid: Option<u32>,
    /// Saved group id.
    pub sgid: u32,
    /// `execve`, which stands for `execveat` too, or `snapshot` for a process found running.
    pub syscall: String,
    /// When the kernel finished the exec, in nanoseconds since the Unix epoch; for a snapshot,
    /// when the process started.
    #[column(time)]
    pub time_ns: i64,
    /// Thread id of the caller of exec.
    pub tid: u32,
    /// Start of the process, in nanoseconds since boot.
    #[column(bloom)]
    pub start_ns: u64,
    /// Identity of the process: boot, process id and start, unlike the process id never reused.
    #[column(guid(pid, start_ns))]
    pub guid: Computed,
    /// Start of the parent, in nanoseconds since boot.
    pub parent_start_ns: Option<u64>,
    /// Identity of the parent.
    #[column(guid(parent, parent_start_ns))]
    pub parent_guid: Computed,
    /// The arguments as a JSON array, exact; bytes that are not UTF-8 are written `\xHH`.
    pub argv: Option<String>,
    /// Size of all arguments in bytes, terminating NULs included.
    pub argv_bytes: u64,
    /// Whether `argv` and `cmdline` hold less than the program was given.
    pub argv_truncated: bool,
    /// Path of the script as it was given to exec, when the program is a script's interpreter.
    #[column(bloom)]
    pub script_path: Option<String>,
    /// POSIX session id.
    pub session_id: Option<u32>,
    /// Audit session id; 4294967295 when unset.
    pub audit_session_id: u32,
    /// Id of the cgroup in the default hierarchy; null on macOS.
    pub cgroup_id: Option<u64>,
    /// Inode of the pid namespace; null on macOS.
    pub pid_namespace: Option<u32>,
    /// Inode of the mount namespace; null on macOS.
    pub mnt_namespace: Option<u32>,
    /// Inode of the network namespace; null on macOS.
    pub net_namespace: Option<u32>,
    /// Inode of the user namespace; null on macOS.
    pub user_namespace: Option<u32>,
    /// Device of the program's file.
    pub exe_dev: Option<u64>,
    /// Inode of the program's file.
    pub exe_inode: Option<u64>,
    /// Whether `start_ns` is exact; otherwise it is the tick that `/proc` shows.
    pub start_exact: bool,
    /// Whether this is a kernel thread.
    pub kernel_thread: bool,
}

impl Subscriber for ProcessEvents {
    type Event = ProcessEvent;

    fn row(event: &ProcessEvent) -> Option<Self> {
        match event {
            ProcessEvent::Exec(exec) => Some(exec_row(exec)),
            ProcessEvent::Fork(_) | ProcessEvent::Exit(_) => None,
        }
    }
}

fn exec_row(exec: &ExecEvent) -> ProcessEvents {
    let credentials = exec.credentials;
    let arguments = exec.arguments.as_deref();
    ProcessEvents {
        pid: exec.process.pid,
        path: exec.path.clone(),
        mode: exec.file.map(|file| mode_text(file.mode)),
        cmdline: arguments.map(cmdline),
        cmdline_size: exec.arguments_bytes,
        env: None,
        env_count: None,
        env_size: None,
        cwd: exec.cwd.clone(),
        auid: credentials.auid.unwrap_or(u32::MAX),
        uid: credentials.uid,
        euid: credentials.euid,
        gid: credentials.gid,
        egid: credentials.egid,
        owner_uid: exec.file.map(|file| file.owner_uid),
        owner_gid: exec.file.map(|file| file.owner_gid),
        atime: exec.file.and_then(|file| file.atime),
        mtime: exec.file.and_then(|file| file.mtime),
        ctime: exec.file.and_then(|file| file.ctime),
        btime: exec.file.and_then(|file| file.btime),
        overflows: overflows(exec),
        parent: exec.parent.map(|parent| parent.pid),
        uptime: Computed,
        status: 0,
        fsuid: credentials.fsuid,
        suid: credentials.suid,
        fsgid: credentials.fsgid,
        sgid: credentials.sgid,
        syscall: if exec.snapshot { "snapshot" } else { "execve" }.to_owned(),
        time_ns: exec.time_ns,
        tid: exec.tid,
        start_ns: exec.process.start_ns,
        guid: Computed,
        parent_start_ns: exec.parent.map(|parent| parent.start_ns),
        parent_guid: Computed,
        argv: arguments.map(argv),
        argv_bytes: exec.arguments_bytes,
        argv_truncated: exec.arguments_truncated,
        script_path: exec.script_path.clone(),
        session_id: exec.session_id,
        audit_session_id: credentials.audit_session_id.unwrap_or(u32::MAX),
        cgroup_id: exec.cgroup_id,
        pid_namespace: exec.namespaces.map(|namespaces| namespaces.pid),
        mnt_namespace: exec.namespaces.map(|namespaces| namespaces.mount),
        net_namespace: exec.namespaces.map(|namespaces| namespaces.network),
        user_namespace: exec.namespaces.map(|namespaces| namespaces.user),
        exe_dev: exec.file.map(|file| file.device),
        exe_inode: exec.file.map(|file| file.inode),
        start_exact: exec.start_exact,
        kernel_thread: exec.kernel_thread,
    }
}

fn cmdline(arguments: &[Vec<u8>]) -> String {
    let words: Vec<String> = arguments.iter().map(|word| lossless(word)).collect();
    words.join(" ")
}

fn argv(arguments: &[Vec<u8>]) -> String {
    arguments.iter().map(|word| lossless(word)).collect::<serde_json::Value>().to_string()
}

fn overflows(exec: &ExecEvent) -> Option<String> {
    match (exec.path_truncated, exec.arguments_truncated) {
        (true, true) => Some("path,cmdline".to_owned()),
        (true, false) => Some("path".to_owned()),
        (false, true) => Some("cmdline".to_owned()),
        (false, false) => None,
    }
}
