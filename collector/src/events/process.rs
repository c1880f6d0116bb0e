//! The life of a process: fork, exec, exit.

use std::sync::Arc;

/// Identity of a process within one boot. Pids are reused; the pair is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProcessKey {
    /// Process id (thread group id), in the initial pid namespace.
    pub pid: u32,
    /// Start of the thread group's leader, in nanoseconds since boot.
    pub start_ns: u64,
}

/// One event in the life of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// A program was started, or was found running when the collector started.
    Exec(Box<ExecEvent>),
    /// A process was created.
    Fork(ForkEvent),
    /// The last thread of a process ended.
    Exit(ExitEvent),
}

impl ProcessEvent {
    /// Bytes of memory that the event takes, apart from what the allocator adds: what queues are
    /// bounded by.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
        let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::capacity);
        let outside = match self {
            Self::Exec(exec) => {
                size_of::<ExecEvent>()
                    + text(&exec.path)
                    + text(&exec.script_path)
                    + text(&exec.container_path)
                    + text(&exec.namespace_path)
                    + text(&exec.cwd)
                    + text(&exec.cgroup_path)
                    + bytes(&exec.arguments)
                    + bytes(&exec.environment)
            }
            Self::Fork(fork) => text(&fork.path),
            Self::Exit(exit) => text(&exit.path),
        };
        size_of::<Self>() + outside
    }
}

/// A process replaced its program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecEvent {
    /// When, in nanoseconds since the Unix epoch. For a snapshot, when the process started.
    pub time_ns: i64,
    /// The process.
    pub process: ProcessKey,
    /// The thread that called exec.
    pub tid: u32,
    /// The parent, `None` when it was already gone.
    pub parent: Option<ProcessKey>,
    /// Path of the program that the parent runs, where it is known.
    pub parent_path: Option<Arc<str>>,
    /// Command line of the parent, likewise, at most its first 1,024 bytes.
    pub parent_cmdline: Option<Arc<str>>,
    /// Whether the process was found running rather than seen to start.
    pub snapshot: bool,
    /// Whether `process.start_ns` is exact, or the 10 ms tick that `/proc` shows.
    pub start_exact: bool,
    /// User and group ids.
    pub credentials: Credentials,
    /// Capabilities. Linux only.
    pub capabilities: Option<CapabilitySets>,
    /// Name of the controlling terminal, as below `/dev`; `None` when there is none or the source does
    /// not tell.
    pub tty: Option<String>,
    /// POSIX session (`getsid(2)`); `None` for session 0, which is that of init and the kernel.
    pub session_id: Option<u32>,
    /// Id of the cgroup, in the hierarchy of `cgroup_path`. Linux only.
    pub cgroup_id: Option<u64>,
    /// Path of the cgroup from the root of the default hierarchy or, where processes are not kept in
    /// that one, of that of the controller `pids` or `memory`. Linux only.
    pub cgroup_path: Option<String>,
    /// The container that the cgroup is of. Linux only.
    pub container: Option<Container>,
    /// Namespaces of the process. Linux only.
    pub namespaces: Option<Namespaces>,
    /// Path of the program's file as the host sees it; from the root of the mount namespace of the
    /// process (`namespaces.mount`) where the host does not see it. Without a leading slash when the
    /// file hangs in no directory there, as in memory or in a mount that was taken away.
    pub path: Option<String>,
    /// Path from the root of the mount namespace, when that is another than `path`.
    pub namespace_path: Option<String>,
    /// Whether `path` was longer than the collector reads, so that its front is missing.
    pub path_truncated: bool,
    /// Path of the program from the root of the process, when that is another than `path` and the
    /// program lies below that root.
    pub container_path: Option<String>,
    /// Path of the script as given to exec, when the program is a script's interpreter.
    pub script_path: Option<String>,
    /// The program's file.
    pub file: Option<ProgramFile>,
    /// Working directory, from the root of the mount namespace; `None` at the top of a mount that was taken
    /// away.
    pub cwd: Option<String>,
    /// The arguments as the kernel lays them out: one after the other, `argv[0]` first, each ended
    /// by a NUL; a last one that is cut short has none. `None` when they could not be read.
    ///
    /// They stay in one piece, since 8 KiB can be 4,096 arguments, and as many allocations.
    pub arguments: Option<Vec<u8>>,
    /// Size of all arguments in bytes, terminating NULs included, also when not all were kept.
    pub arguments_bytes: u64,
    /// Whether `arguments` is shorter than what the program was given.
    pub arguments_truncated: bool,
    /// Why it is.
    pub arguments_loss: Option<&'static str>,
    /// The environment, in the form of `arguments`; `None` when it was not asked for or could not be
    /// read.
    pub environment: Option<Vec<u8>>,
    /// Size of the environment in bytes, terminating NULs included.
    pub environment_bytes: Option<u64>,
    /// Variables in the environment.
    pub environment_count: Option<u64>,
    /// Whether `environment` is shorter than what the program was given.
    pub environment_truncated: bool,
    /// Whether values in `arguments` or `environment` were replaced, as configured.
    pub masked: bool,
    /// Whether this is a kernel thread (snapshots only).
    pub kernel_thread: bool,
}

/// User and group ids of a process, in the initial user namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Saved user id.
    pub suid: u32,
    /// File-system user id. Linux only.
    pub fsuid: Option<u32>,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Saved group id.
    pub sgid: u32,
    /// File-system group id. Linux only.
    pub fsgid: Option<u32>,
    /// Login user id set by the audit system, `None` when unset.
    pub auid: Option<u32>,
    /// Audit session id, `None` when unset.
    pub audit_session_id: Option<u32>,
}

/// Capabilities of a process, as bits (`capabilities(7)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// Those that it may take up.
    pub permitted: u64,
    /// Those in effect.
    pub effective: u64,
}

/// A container, as told by the path of a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its id or, where the runtime has none, its name.
    pub id: String,
    /// What runs it: `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `systemd-nspawn`; `None` when
    /// the path does not tell.
    pub runtime: Option<&'static str>,
}

/// Inode numbers of a process's namespaces, as in `/proc/PID/ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Pid namespace.
    pub pid: u32,
    /// Mount namespace.
    pub mount: u32,
    /// Network namespace.
    pub network: u32,
    /// User namespace.
    pub user: u32,
}

/// The file that a program was loaded from, as it was at exec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramFile {
    /// Device, as `stat(2)`'s `st_dev`.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Type and permission bits, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub owner_uid: u32,
    /// Owning group.
    pub owner_gid: u32,
    /// Last access in whole seconds since the Unix epoch, where the source tells.
    pub atime: Option<i64>,
    /// Last change of content, likewise.
    pub mtime: Option<i64>,
    /// Last change of metadata, likewise.
    pub ctime: Option<i64>,
    /// Creation, likewise.
    pub btime: Option<i64>,
    /// Last change of metadata in nanoseconds since the Unix epoch, where the source tells.
    pub ctime_ns: Option<i64>,
    /// Size in bytes, likewise.
    pub size: Option<u64>,
    /// Names that the file has, likewise; 0 for one that was deleted.
    pub links: Option<u32>,
    /// Whether it is kept in memory only: on tmpfs, ramfs or hugetlbfs, as files of `memfd_create(2)`
    /// and in `/dev/shm` are.
    pub in_memory: bool,
}

/// A process created another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkEvent {
    /// When, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// The new process.
    pub process: ProcessKey,
    /// Its parent: the caller, or the caller's parent under `CLONE_PARENT`.
    pub parent: Option<ProcessKey>,
    /// The process that called fork.
    pub caller: ProcessKey,
    /// Flags of `clone(2)`, without the exit signal. Linux only.
    pub clone_flags: Option<u64>,
    /// Namespaces of the new process. Linux only.
    pub namespaces: Option<Namespaces>,
    /// Credentials' real user id of the new process.
    pub uid: u32,
    /// Credentials' real group id of the new process.
    pub gid: u32,
    /// Path of the program that both run, where the source tells.
    pub path: Option<String>,
}

/// A process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitEvent {
    /// When the last thread ended, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// The process.
    pub process: ProcessKey,
    /// The parent at that moment, which is who reaps it.
    pub parent: Option<ProcessKey>,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// What it passed to exit, 0 to 255; `None` when a signal ended it or its end was not seen.
    pub exit_code: Option<u32>,
    /// The signal that ended it.
    pub signal: Option<u32>,
    /// Whether it dumped core; `None` when its end was not seen.
    pub core_dumped: Option<bool>,
    /// How its end became known.
    pub noticed: Noticed,
    /// CPU time of all its threads in nanoseconds. Linux only.
    pub cpu_ns: Option<u64>,
    /// From its start to its end, in nanoseconds, where the source tells.
    pub lifetime_ns: Option<u64>,
    /// What it used besides. Linux only.
    pub usage: Option<Usage>,
    /// Path of its program, where the source tells.
    pub path: Option<String>,
}

/// How the end of a process became known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Noticed {
    /// The kernel told of it when it happened.
    #[default]
    Told,
    /// The source looks at intervals, and it was gone at one of its looks.
    Missed {
        /// When it was last known to be there, in nanoseconds since the Unix epoch. The event's own
        /// time is when it was gone.
        alive_ns: i64,
    },
    /// The source tells of every end, but not of this one: something was lost, and a later look at
    /// all processes did not find it.
    Reconciled {
        /// Likewise.
        alive_ns: i64,
    },
}

/// What a process used in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode in nanoseconds; most kernels take it at ticks of 1 to 10 ms.
    pub user_ns: u64,
    /// CPU time in the kernel, likewise.
    pub system_ns: u64,
    /// Largest resident set in bytes.
    pub rss_bytes_max: u64,
    /// Bytes read from storage; `None` where the kernel does not count them.
    pub read_bytes: Option<u64>,
    /// Bytes written to storage, likewise.
    pub written_bytes: Option<u64>,
}
