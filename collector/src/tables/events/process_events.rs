//! `process_events`, from the process publishers.

use bygone_store::{Computed, EventTable};
use serde::Serializer;

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
    /// Path of the program's file from the root of the mount namespace of the process (column
    /// `mnt_namespace`), whatever root the process itself has; without a leading slash for a file
    /// in memory or in a mount that was taken away; null when there is no file.
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
    /// Working directory, from the same root as `path`; null when it is the top of a mount that was
    /// taken away.
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
    /// POSIX session id; null for session 0, that of init and the kernel.
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

    const CLASSES: &'static [&'static str] = &["exec"];

    fn row(event: &ProcessEvent) -> Option<Self> {
        match event {
            ProcessEvent::Exec(exec) => Some(exec_row(exec)),
            ProcessEvent::Fork(_) | ProcessEvent::Exit(_) => None,
        }
    }
}

fn exec_row(exec: &ExecEvent) -> ProcessEvents {
    let credentials = exec.credentials;
    // Neither UTF-8 nor an escape reaches across a NUL: this is the text of each argument.
    let arguments = exec.arguments.as_deref().map(lossless);
    ProcessEvents {
        pid: exec.process.pid,
        path: exec.path.clone(),
        mode: exec.file.map(|file| mode_text(file.mode)),
        cmdline: arguments.as_deref().map(cmdline),
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
        argv: arguments.as_deref().map(argv),
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

/// The arguments, each ended by a NUL, on one line.
fn cmdline(arguments: &str) -> String {
    arguments.strip_suffix('\0').unwrap_or(arguments).replace('\0', " ")
}

/// A JSON array of the arguments; no bytes at all are no arguments.
fn argv(arguments: &str) -> String {
    let words = arguments.split_terminator('\0');
    let mut json = Vec::with_capacity(arguments.len() + arguments.len() / 2 + 8);
    let written = serde_json::Serializer::new(&mut json).collect_seq(words);
    written.expect("a vector takes all bytes, and strings are JSON");
    String::from_utf8(json).expect("JSON of text is text")
}

fn overflows(exec: &ExecEvent) -> Option<String> {
    match (exec.path_truncated, exec.arguments_truncated) {
        (true, true) => Some("path,cmdline".to_owned()),
        (true, false) => Some("path".to_owned()),
        (false, true) => Some("cmdline".to_owned()),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{argv, cmdline};
    use crate::host::text::lossless;

    #[test]
    fn arguments_are_split_at_their_ends() {
        let split = |bytes: &[u8]| {
            let text = lossless(bytes);
            (cmdline(&text), argv(&text))
        };
        let expected = |line: &str, json: &str| (line.to_owned(), json.to_owned());
        assert_eq!(split(b""), expected("", "[]"));
        assert_eq!(split(b"\0"), expected("", r#"[""]"#));
        assert_eq!(split(b"a\0\0b\0"), expected("a  b", r#"["a","","b"]"#));
        assert_eq!(split(b"a\0cut"), expected("a cut", r#"["a","cut"]"#));
        assert_eq!(split(b"a\0\0"), expected("a ", r#"["a",""]"#));
        assert_eq!(split(b"\xc3\0\xa9\0"), expected(r"\xc3 \xa9", r#"["\\xc3","\\xa9"]"#));
        assert_eq!(split(b"\\x4\x001\0"), expected(r"\x4 1", r#"["\\x4","1"]"#));
        assert_eq!(split(b"\"\n\0"), expected("\"\n", r#"["\"\n"]"#));
    }
}
