//! `process_events`, from the process publishers.

use bygone_store::{Computed, EventTable};

use crate::events::{ExecEvent, ProcessEvent};
use crate::host::text::{cmdline, lossless};
use crate::tables::Subscriber;
use crate::tables::mode_text;

/// Bytes of `cmdline`.
const CMDLINE_MAX: usize = 64 << 10;

/// Bytes of `env`.
const ENV_MAX: usize = 256 << 10;

/// Bytes of `argv`: with the rest of the row less than the store takes. The kernel's own limit for
/// arguments is 6 MiB, of which JSON makes more only where much of it has to be escaped.
const ARGV_MAX: usize = 7 << 20;

/// Bits of a file's mode.
const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;

/// Programs started on this host: one row per successful exec, and one per process that was
/// already running when the collector started.
#[derive(Clone, Debug, Default, PartialEq, EventTable)]
pub struct ProcessEvents {
    /// Process id, in the initial pid namespace.
    pub pid: u32,
    /// Path of the program's file as the host sees it, whatever root the process has; from the root of
    /// the mount namespace of the process (column `mnt_namespace`) where the host has not mounted that
    /// file system; without a leading slash for a file in memory or in a mount that was taken away; null
    /// when there is no file.
    #[column(bloom)]
    pub path: Option<String>,
    /// Type and permission bits of the program's file, in octal.
    pub mode: Option<String>,
    /// The arguments, joined by spaces: the first 64 KiB of them.
    pub cmdline: Option<String>,
    /// Size of all arguments in bytes, also when not all were kept.
    #[column(hidden)]
    pub cmdline_size: u64,
    /// Environment of the program, its variables joined by spaces: those that the setting `env` of
    /// `[process]` names; null when it names none.
    #[column(hidden)]
    pub env: Option<String>,
    /// Number of environment variables; null for a snapshot.
    #[column(hidden)]
    pub env_count: Option<u64>,
    /// Size of the environment in bytes, terminating NULs included; null for a snapshot.
    #[column(hidden)]
    pub env_size: Option<u64>,
    /// Working directory, from the root of the mount namespace of the process; null when it is the top
    /// of a mount that was taken away.
    pub cwd: Option<String>,
    /// Login user id set by the audit system; 4294967295 when unset.
    pub auid: u32,
    /// Real user id, in the initial user namespace; 4294967295 when it is not known, as the other ids.
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
    /// Start of the process, in nanoseconds since boot; 0 when it is not known.
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
    /// Whether `argv` holds less than the program was given.
    pub argv_truncated: bool,
    /// Why it does: `fault` (memory that could not be read), `budget` (the user's processes started
    /// programs with more than 4 MiB of long arguments in one second), `bulk_full` (the kernel's buffer
    /// for them was full), `size` (more than a row may hold); null when it does not, or for a snapshot.
    pub argv_loss: Option<String>,
    /// Whether values in `argv`, `cmdline` or `env` were replaced by `***`, as the setting `mask` of
    /// `[process]` says.
    pub masked: bool,
    /// Path of the parent's program, as it was at this moment; null when it is not known.
    #[column(bloom)]
    pub parent_path: Option<String>,
    /// Command line of the parent, likewise: its first 1,024 bytes.
    pub parent_cmdline: Option<String>,
    /// Path of the program as the process sees it; null when that is `path`, or the program lies outside
    /// of its root.
    pub container_path: Option<String>,
    /// Id of the container, or its name where the runtime has no ids; null outside of containers.
    #[column(bloom)]
    pub container_id: Option<String>,
    /// What runs the container: docker, containerd, cri-o, podman, lxc or systemd-nspawn; null where
    /// the cgroup does not tell.
    pub container_runtime: Option<String>,
    /// Path of the cgroup, from the root of the default hierarchy or, where that is not in use, of that
    /// of the controller `pids` or `memory`; null on macOS.
    pub cgroup_path: Option<String>,
    /// Name of the controlling terminal, such as `pts/0`; null when there is none, and on macOS.
    pub tty: Option<String>,
    /// Capabilities that the process may take up, as bits (`capabilities(7)`); null on macOS.
    pub cap_permitted: Option<u64>,
    /// Capabilities in effect, likewise.
    pub cap_effective: Option<u64>,
    /// Whether the program's file has the set-user-id bit and it took effect: the effective user is the
    /// file's owner, and another than the real one.
    pub setuid: bool,
    /// Likewise for the set-group-id bit and the group.
    pub setgid: bool,
    /// Whether the program's file has no name on a disk: made by `memfd_create(2)`, in `/dev/shm`, or
    /// deleted. Null when the file is not known.
    pub fileless: Option<bool>,
    /// Path of the script as it was given to exec, when the program is a script's interpreter; null for
    /// what was found running, and where the source does not tell.
    #[column(bloom)]
    pub script_path: Option<String>,
    /// POSIX session id; null for session 0, that of init and the kernel.
    pub session_id: Option<u32>,
    /// Audit session id; 4294967295 when unset.
    pub audit_session_id: u32,
    /// Id of the cgroup in the hierarchy of `cgroup_path`; null on macOS.
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
    /// Size of the program's file in bytes; null on macOS.
    pub exe_size: Option<u64>,
    /// Last change of the metadata of the program's file, in nanoseconds since the Unix epoch; null on
    /// macOS.
    pub exe_ctime: Option<i64>,
    /// Whether `start_ns` is exact; otherwise it is the tick that `/proc` shows.
    pub start_exact: bool,
    /// Whether this is a kernel thread.
    pub kernel_thread: bool,
    /// Path of the interpreter when a script was started (`script_path`), which is then also `path`: the
    /// file that the kernel loaded. Null for a program that was started itself.
    #[column(bloom)]
    pub interpreter: Option<String>,
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
    let arguments = exec.arguments.as_deref().map(argv);
    let oversized = arguments.as_ref().is_some_and(|(_, whole)| !whole);
    let row = ProcessEvents {
        pid: exec.process.pid,
        path: exec.path.clone(),
        cmdline: exec.arguments.as_deref().map(|words| cmdline(words, CMDLINE_MAX)),
        cmdline_size: exec.arguments_bytes,
        env: exec.environment.as_deref().map(|words| cmdline(words, ENV_MAX)),
        env_count: exec.environment_count,
        env_size: exec.environment_bytes,
        cwd: exec.cwd.clone(),
        auid: credentials.auid.unwrap_or(u32::MAX),
        uid: credentials.uid,
        euid: credentials.euid,
        gid: credentials.gid,
        egid: credentials.egid,
        overflows: overflows(exec, oversized),
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
        argv: arguments.map(|(json, _)| json),
        argv_bytes: exec.arguments_bytes,
        argv_truncated: exec.arguments_truncated || oversized,
        argv_loss: exec.arguments_loss.or(oversized.then_some("size")).map(str::to_owned),
        masked: exec.masked,
        audit_session_id: credentials.audit_session_id.unwrap_or(u32::MAX),
        start_exact: exec.start_exact,
        kernel_thread: exec.kernel_thread,
        ..ProcessEvents::default()
    };
    surroundings(exec, row)
}

/// Adds what tells about the program's file, the parent, and where the process is.
fn surroundings(exec: &ExecEvent, row: ProcessEvents) -> ProcessEvents {
    ProcessEvents {
        mode: exec.file.map(|file| mode_text(file.mode)),
        owner_uid: exec.file.map(|file| file.owner_uid),
        owner_gid: exec.file.map(|file| file.owner_gid),
        atime: exec.file.and_then(|file| file.atime),
        mtime: exec.file.and_then(|file| file.mtime),
        ctime: exec.file.and_then(|file| file.ctime),
        btime: exec.file.and_then(|file| file.btime),
        parent_path: exec.parent_path.as_deref().map(str::to_owned),
        parent_cmdline: exec.parent_cmdline.as_deref().map(str::to_owned),
        container_path: exec.container_path.clone(),
        container_id: exec.container.as_ref().map(|container| container.id.clone()),
        container_runtime: container_runtime(exec),
        cgroup_path: exec.cgroup_path.clone(),
        tty: exec.tty.clone(),
        cap_permitted: exec.capabilities.map(|sets| sets.permitted),
        cap_effective: exec.capabilities.map(|sets| sets.effective),
        setuid: takes_effect(exec, SET_USER_ID),
        setgid: takes_effect(exec, SET_GROUP_ID),
        fileless: exec.file.map(|file| file.in_memory || file.links == Some(0)),
        script_path: exec.script_path.clone(),
        interpreter: exec.path.clone().filter(|_| exec.script_path.is_some()),
        session_id: exec.session_id,
        cgroup_id: exec.cgroup_id,
        pid_namespace: exec.namespaces.map(|namespaces| namespaces.pid),
        mnt_namespace: exec.namespaces.map(|namespaces| namespaces.mount),
        net_namespace: exec.namespaces.map(|namespaces| namespaces.network),
        user_namespace: exec.namespaces.map(|namespaces| namespaces.user),
        exe_dev: exec.file.map(|file| file.device),
        exe_inode: exec.file.map(|file| file.inode),
        exe_size: exec.file.and_then(|file| file.size),
        exe_ctime: exec.file.and_then(|file| file.ctime_ns),
        ..row
    }
}

fn container_runtime(exec: &ExecEvent) -> Option<String> {
    exec.container.as_ref()?.runtime.map(str::to_owned)
}

/// Whether a set-id bit of the program's file gave the process another id than its real one.
fn takes_effect(exec: &ExecEvent, bit: u32) -> bool {
    let ids = &exec.credentials;
    exec.file.is_some_and(|file| {
        let (owner, real, effective) = match bit {
            SET_USER_ID => (file.owner_uid, ids.uid, ids.euid),
            _ => (file.owner_gid, ids.gid, ids.egid),
        };
        file.mode & bit != 0 && effective == owner && effective != real
    })
}

/// A JSON array of the arguments, each ended by a NUL, and whether it holds all of them; no bytes at
/// all are no arguments.
fn argv(arguments: &[u8]) -> (String, bool) {
    let text = lossless(arguments);
    let mut json = Vec::with_capacity(arguments.len() + arguments.len() / 2 + 8);
    let mut whole = true;
    json.push(b'[');
    // Neither UTF-8 nor an escape reaches across a NUL: this is the text of each argument.
    for word in text.split_terminator('\0') {
        let before = json.len();
        if before > 1 {
            json.push(b',');
        }
        serde_json::to_writer(&mut json, word).expect("a vector takes all bytes");
        if json.len() > ARGV_MAX {
            json.truncate(before);
            whole = false;
            break;
        }
    }
    json.push(b']');
    (String::from_utf8(json).expect("JSON of text is text"), whole)
}

fn overflows(exec: &ExecEvent, oversized: bool) -> Option<String> {
    let is_longer =
        |words: &Option<Vec<u8>>, max| words.as_ref().is_some_and(|all| all.len() > max);
    let arguments = exec.arguments_truncated || oversized;
    let columns = [
        ("path", exec.path_truncated),
        ("cmdline", arguments || is_longer(&exec.arguments, CMDLINE_MAX)),
        ("env", exec.environment_truncated || is_longer(&exec.environment, ENV_MAX)),
    ];
    let cut: Vec<&str> = columns.iter().filter(|(_, cut)| *cut).map(|(name, _)| *name).collect();
    (!cut.is_empty()).then(|| cut.join(","))
}

#[cfg(test)]
mod tests {
    use super::{ARGV_MAX, SET_GROUP_ID, SET_USER_ID, argv, exec_row, overflows, takes_effect};
    use crate::events::{Credentials, ExecEvent, ProgramFile};
    use crate::host::text::cmdline;

    #[test]
    fn arguments_are_split_at_their_ends() {
        let split = |bytes: &[u8]| (cmdline(bytes, 1000), argv(bytes));
        let expected = |line: &str, json: &str| (line.to_owned(), (json.to_owned(), true));
        assert_eq!(split(b""), expected("", "[]"));
        assert_eq!(split(b"\0"), expected("", r#"[""]"#));
        assert_eq!(split(b"a\0\0b\0"), expected("a  b", r#"["a","","b"]"#));
        assert_eq!(split(b"a\0cut"), expected("a cut", r#"["a","cut"]"#));
        assert_eq!(split(b"a\0\0"), expected("a ", r#"["a",""]"#));
        assert_eq!(split(b"\xc3\0\xa9\0"), expected(r"\xc3 \xa9", r#"["\\xc3","\\xa9"]"#));
        assert_eq!(split(b"\\x4\x001\0"), expected(r"\x4 1", r#"["\\x4","1"]"#));
        assert_eq!(split(b"\"\n\0"), expected("\"\n", r#"["\"\n"]"#));
        assert_eq!(cmdline("aé".as_bytes(), 2), "a");
    }

    #[test]
    fn arguments_beyond_a_row_are_cut_between_words() {
        let words = [vec![1; ARGV_MAX / 6 - 100], b"\0two\0".to_vec(), vec![2; 200]].concat();
        let (json, whole) = argv(&words);
        assert!(!whole && json.len() <= ARGV_MAX + 1, "{} bytes", json.len());
        let parsed: Vec<String> = serde_json::from_str(&json).unwrap();
        assert_eq!((parsed.len(), parsed[1].as_str()), (2, "two"));
        let exec = ExecEvent { arguments: Some(words), ..ExecEvent::default() };
        assert_eq!(overflows(&exec, true).as_deref(), Some("cmdline"));
        assert_eq!(overflows(&ExecEvent::default(), false), None);
    }

    #[test]
    fn only_what_a_script_was_started_with_is_an_interpreter() {
        let script_path = Some("run.sh".to_owned());
        let exec = ExecEvent { path: Some("/bin/dash".to_owned()), ..ExecEvent::default() };
        let interpreter = |exec: &ExecEvent| exec_row(exec).interpreter;
        assert_eq!(interpreter(&exec), None);
        assert_eq!(interpreter(&ExecEvent { script_path, ..exec }).as_deref(), Some("/bin/dash"));
    }

    #[test]
    fn a_set_id_bit_takes_effect_when_the_id_became_the_owners() {
        let exec = |mode, uid, euid| ExecEvent {
            file: Some(ProgramFile { mode, ..ProgramFile::default() }),
            credentials: Credentials { uid, euid, gid: uid, egid: euid, ..Credentials::default() },
            ..ExecEvent::default()
        };
        assert!(takes_effect(&exec(0o104_755, 1000, 0), SET_USER_ID));
        assert!(takes_effect(&exec(0o102_755, 1000, 0), SET_GROUP_ID));
        // On a mount with nosuid the id stays; root's stays root's.
        assert!(!takes_effect(&exec(0o104_755, 1000, 1000), SET_USER_ID));
        assert!(!takes_effect(&exec(0o104_755, 0, 0), SET_USER_ID));
        assert!(!takes_effect(&exec(0o100_755, 1000, 0), SET_USER_ID));
    }
}
