//! Records that the kernel probes send over the ring buffer, and limits both sides agree on.
//!
//! A record is a [`Header`], the fixed part of its kind, and for exec a tail of bytes whose parts
//! the fixed part measures. The collector decodes with the feature `decode`, which derives checked
//! reads; the probes are built without it.
//!
//! **Invariant:** every field is an integer or an array of bytes, every struct is `#[repr(C)]`
//! without padding, and its size is asserted here, so that both sides agree or neither compiles.
#![no_std]

#[cfg(feature = "decode")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

mod act;
mod filter;
mod members;

pub use act::*;
pub use filter::*;

/// [`Header::kind`] of an [`ExecRecord`].
pub const KIND_EXEC: u32 = 1;
/// [`Header::kind`] of a [`ForkRecord`].
pub const KIND_FORK: u32 = 2;
/// [`Header::kind`] of an [`ExitRecord`].
pub const KIND_EXIT: u32 = 3;
/// [`Header::kind`] of a [`PartRecord`].
pub const KIND_PART: u32 = 4;
/// [`Header::kind`] of an [`ActRecord`].
pub const KIND_ACT: u32 = 5;
/// [`Header::kind`] of an [`ImageRecord`].
pub const KIND_IMAGE: u32 = 6;
/// [`Header::kind`] of a [`LeftOutRecord`].
pub const KIND_LEFT_OUT: u32 = 7;

/// Classes of events that are counted, in the order of their counters.
pub const CLASSES: [&str; 12] = [
    "exec",
    "fork",
    "exit",
    "signal",
    "module",
    "ptrace",
    "credential",
    "mount",
    "memory_exec",
    "memfd",
    "bpf",
    "image",
];
/// Classes of the life of processes: those before the others.
pub const LIFE_CLASSES: usize = 3;
/// Index of exec in [`CLASSES`].
pub const CLASS_EXEC: u32 = 0;
/// Index of fork in [`CLASSES`].
pub const CLASS_FORK: u32 = 1;
/// Index of exit in [`CLASSES`].
pub const CLASS_EXIT: u32 = 2;
/// Index of signals in [`CLASSES`].
pub const CLASS_SIGNAL: u32 = 3;
/// Index of kernel modules in [`CLASSES`].
pub const CLASS_MODULE: u32 = 4;
/// Index of access to other processes in [`CLASSES`].
pub const CLASS_PTRACE: u32 = 5;
/// Index of changes of credentials in [`CLASSES`].
pub const CLASS_CREDENTIAL: u32 = 6;
/// Index of mounts in [`CLASSES`].
pub const CLASS_MOUNT: u32 = 7;
/// Index of memory made executable in [`CLASSES`].
pub const CLASS_MEMORY_EXEC: u32 = 8;
/// Index of files in memory in [`CLASSES`].
pub const CLASS_MEMFD: u32 = 9;
/// Index of BPF programs in [`CLASSES`].
pub const CLASS_BPF: u32 = 10;
/// Index of files mapped to be executed in [`CLASSES`].
pub const CLASS_IMAGE: u32 = 11;

/// Length of a counted bucket in nanoseconds of boot time.
pub const BUCKET_NS: u64 = 10_000_000_000;
/// Buckets that the counters hold before they are used again.
pub const BUCKETS: u32 = 8;
/// Entries of the map of counters.
pub const COUNTERS_MAX: u32 = CLASSES.len() as u32 * BUCKETS;

/// Bytes of arguments that an exec record carries at most; what is longer goes on in parts.
pub const ARGUMENTS_MAX: usize = 8192;
/// Bytes of text that one part carries at most.
pub const PART_MAX: usize = 8192;
/// Parts that one run of the program sends before it calls itself again.
pub const PARTS_PER_RUN: u32 = 32;
/// How often the program that sends parts calls itself at most. The kernel allows 33 calls in a
/// chain (`MAX_TAIL_CALL_CNT`), of which the walks take three and what is left out by rules two; 28 runs
/// are 7 MiB, and arguments and environment together have 6 MiB at most (`bprm_stack_limits` in
/// fs/exec.c).
pub const PART_RUNS_MAX: u32 = 28;
/// Bytes of parts that the processes of one user may send in one second.
pub const PART_BUDGET: u64 = 4 * 1024 * 1024;
/// Bytes of a part record at most.
pub const PART_RECORD_MAX: usize = size_of::<PartRecord>() + PART_MAX;
/// [`PartRecord::what`]: arguments.
pub const PART_ARGUMENTS: u32 = 0;
/// [`PartRecord::what`]: environment.
pub const PART_ENVIRONMENT: u32 = 1;
/// Bytes of one path that a record carries at most, terminators of components included.
pub const PATH_MAX: usize = 4096;
/// Bytes of one component of a path at most, its terminator included.
pub const COMPONENT_MAX: usize = 256;
/// Bytes of the path of a cgroup that a record carries at most, as [`PATH_MAX`].
pub const CGROUP_MAX: usize = 1024;
/// Components of the path of a cgroup that a walk follows at most.
pub const CGROUP_COMPONENTS_MAX: u32 = 32;
/// Bytes of the name of a terminal at most, its terminator included.
pub const TTY_MAX: usize = 24;
/// Components of a path that a walk follows at most, mount crossings included.
pub const COMPONENTS_MAX: u32 = 160;
/// Bytes of a record at most.
pub const RECORD_MAX: usize = size_of::<ExecRecord>() + TAIL_BYTES;

/// Scratch slots for building exec records, per CPU.
pub const SLOTS_PER_CPU: u32 = 3;

/// [`ExecRecord::flags`]: found by the iterator, not seen to start.
pub const EXEC_SNAPSHOT: u32 = 1;
/// [`ExecRecord::flags`]: the task is a kernel thread.
pub const EXEC_KERNEL_THREAD: u32 = 1 << 1;
/// [`ExecRecord::flags`]: there are more arguments than the record carries.
pub const EXEC_ARGUMENTS_TRUNCATED: u32 = 1 << 2;
/// [`ExecRecord::flags`]: memory that holds arguments could not be read.
pub const EXEC_ARGUMENTS_FAULT: u32 = 1 << 3;
/// [`ExecRecord::flags`]: the walk of the program's path ended before the root.
pub const EXEC_PATH_TRUNCATED: u32 = 1 << 4;
/// [`ExecRecord::flags`]: the program's file hangs on no directory, or its mount in no namespace;
/// its path is what names there are.
pub const EXEC_PATH_DETACHED: u32 = 1 << 5;
/// [`ExecRecord::flags`]: the walk of the working directory ended before the root.
pub const EXEC_CWD_TRUNCATED: u32 = 1 << 6;
/// [`ExecRecord::flags`]: the working directory hangs on no directory, likewise.
pub const EXEC_CWD_DETACHED: u32 = 1 << 7;
/// [`ExecRecord::flags`]: the times of the file are known.
pub const EXEC_FILE_TIMES: u32 = 1 << 8;
/// [`ExecRecord::flags`]: the program's file is known.
pub const EXEC_FILE: u32 = 1 << 9;
/// [`ExecRecord::flags`]: the walk of the program's path reached the root.
pub const EXEC_PATH_WALKED: u32 = 1 << 10;
/// [`ExecRecord::flags`]: the walk of the working directory reached the root.
pub const EXEC_CWD_WALKED: u32 = 1 << 11;
/// [`ExecRecord::flags`]: the walk of the program's path came by the root of the process.
pub const EXEC_ROOT_PASSED: u32 = 1 << 12;
/// [`ExecRecord::flags`]: the walk of the cgroup reached the root.
pub const EXEC_CGROUP_WALKED: u32 = 1 << 13;
/// [`ExecRecord::flags`]: the user's processes sent more parts in this second than they may.
pub const EXEC_PARTS_BUDGET: u32 = 1 << 14;
/// [`ExecRecord::flags`]: the ring of the parts had no room.
pub const EXEC_PARTS_FULL: u32 = 1 << 15;
/// [`ExecRecord::flags`]: memory that holds the environment could not be read.
pub const EXEC_ENVIRONMENT_FAULT: u32 = 1 << 16;
/// [`ExecRecord::flags`]: the environment was asked for.
pub const EXEC_ENVIRONMENT: u32 = 1 << 17;
/// [`ExecRecord::flags`]: found by the iterator in the middle of an exec, of which the record is to come.
pub const EXEC_IN_EXEC: u32 = 1 << 18;

/// Start of every record.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "decode", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
#[repr(C)]
pub struct Header {
    /// Which record this is: a `KIND_…`.
    pub kind: u32,
    /// Bytes of the whole record, this header included.
    pub length: u32,
    /// When, in nanoseconds since boot, suspended time included.
    pub time_ns: u64,
}

/// Pid and start of a process; the pid is 0 when there is none.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "decode", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
#[repr(C)]
pub struct Process {
    /// Process id (thread group id) in the initial pid namespace.
    pub pid: u32,
    /// Always 0.
    pub reserved: u32,
    /// Start of the thread group's leader in nanoseconds since boot.
    pub start_ns: u64,
}

/// A process replaced its program, or was found running.
///
/// The tail holds, in this order: arguments as the kernel laid them out, each ended by a NUL; the
/// components of the program's path, leaf first, each ended by a NUL; those of the working
/// directory; those of the cgroup's path; the script's path with its NUL. Arguments that do not fit,
/// and the environment, were sent before in [`PartRecord`]s with the same process and time.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "decode", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
#[repr(C)]
pub struct ExecRecord {
    /// Kind, length, time.
    pub header: Header,
    /// The process.
    pub process: Process,
    /// Its real parent.
    pub parent: Process,
    /// The thread that called exec.
    pub tid: u32,
    /// `EXEC_…` flags.
    pub flags: u32,
    /// Real user id, in the initial user namespace like all ids here.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Saved user id.
    pub suid: u32,
    /// File-system user id.
    pub fsuid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Saved group id.
    pub sgid: u32,
    /// File-system group id.
    pub fsgid: u32,
    /// Login user id, `u32::MAX` when unset.
    pub login_uid: u32,
    /// Audit session, `u32::MAX` when unset.
    pub audit_session: u32,
    /// POSIX session, 0 when unknown.
    pub session: u32,
    /// Inode of the pid namespace, 0 when unknown like all namespaces here.
    pub pid_namespace: u32,
    /// Inode of the mount namespace.
    pub mount_namespace: u32,
    /// Inode of the network namespace.
    pub network_namespace: u32,
    /// Inode of the user namespace.
    pub user_namespace: u32,
    /// Device of the file in the kernel's own encoding: major << 20 | minor.
    pub device: u32,
    /// Id of the cgroup in the default hierarchy, or where processes are not kept in that one, of the
    /// controller `pids` or `memory`; 0 when unknown.
    pub cgroup_id: u64,
    /// Inode number of the file.
    pub inode: u64,
    /// Type and permission bits of the file.
    pub mode: u32,
    /// Owner of the file.
    pub owner_uid: u32,
    /// Owning group of the file.
    pub owner_gid: u32,
    /// Bytes of arguments in the tail.
    pub arguments_len: u32,
    /// Last access of the file in seconds since the Unix epoch.
    pub atime: i64,
    /// Last change of its content, likewise.
    pub mtime: i64,
    /// Last change of its metadata, likewise.
    pub ctime: i64,
    /// Bytes of all arguments, those not carried included.
    pub arguments_bytes: u64,
    /// Bytes of the program's path in the tail.
    pub path_len: u32,
    /// Bytes of the working directory in the tail.
    pub cwd_len: u32,
    /// Bytes of the script's path in the tail.
    pub script_len: u32,
    /// Bytes of the cgroup's path in the tail.
    pub cgroup_len: u32,
    /// Capabilities that the process may take up.
    pub permitted: u64,
    /// Capabilities in effect.
    pub effective: u64,
    /// Size of the file.
    pub file_bytes: u64,
    /// Bytes of the environment.
    pub environment_bytes: u64,
    /// Variables in it.
    pub environment_count: u32,
    /// Names that the file has.
    pub links: u32,
    /// Nanoseconds behind [`Self::ctime`].
    pub ctime_nanoseconds: u32,
    /// Magic number of the file's file system, as in `statfs(2)`.
    pub file_system: u32,
    /// Bytes of the program's path in the tail that lie below the root of the process.
    pub root_len: u32,
    /// Parts that were sent.
    pub parts: u32,
    /// Components of the program's path that lie below the root of its mount, where that is the root of
    /// the file system; `u32::MAX` where it is not, or is not reached.
    pub mount_components: u32,
    /// Always 0.
    pub reserved: u32,
    /// Name of the controlling terminal, ended by a NUL; empty when there is none.
    pub tty: [u8; TTY_MAX],
}

/// A piece of the arguments or the environment of an exec, sent before its [`ExecRecord`] over a ring
/// of its own. The text follows.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "decode", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
#[repr(C)]
pub struct PartRecord {
    /// Kind, length, and the time of the exec.
    pub header: Header,
    /// The process.
    pub process: Process,
    /// Where the piece begins in the whole text, in bytes.
    pub offset: u64,
    /// `PART_ARGUMENTS` or `PART_ENVIRONMENT`.
    pub what: u32,
    /// Bytes of text.
    pub bytes: u32,
}

/// A process created another.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "decode", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
#[repr(C)]
pub struct ForkRecord {
    /// Kind, length, time.
    pub header: Header,
    /// The new process.
    pub process: Process,
    /// Its real parent.
    pub parent: Process,
    /// The process that called fork.
    pub caller: Process,
    /// Flags of clone.
    pub clone_flags: u64,
    /// Real user id of the new process.
    pub uid: u32,
    /// Real group id of the new process.
    pub gid: u32,
    /// Inode of the pid namespace of the new process, 0 when unknown like all namespaces here.
    pub pid_namespace: u32,
    /// Inode of its mount namespace.
    pub mount_namespace: u32,
    /// Inode of its network namespace.
    pub network_namespace: u32,
    /// Inode of its user namespace.
    pub user_namespace: u32,
}

/// The last thread of a process ended.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "decode", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
#[repr(C)]
pub struct ExitRecord {
    /// Kind, length, time.
    pub header: Header,
    /// The process.
    pub process: Process,
    /// Its real parent.
    pub parent: Process,
    /// CPU time of all threads in nanoseconds, as far as the kernel had accounted it.
    pub cpu_ns: u64,
    /// CPU time in user mode, likewise; most kernels take it at ticks of 1 to 10 ms.
    pub user_ns: u64,
    /// CPU time in the kernel, likewise.
    pub system_ns: u64,
    /// Largest resident set in pages.
    pub rss_pages_max: u64,
    /// Bytes read from storage, as in `/proc/PID/io`.
    pub read_bytes: u64,
    /// Bytes written to storage, likewise.
    pub written_bytes: u64,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Wait status: signal in bits 0-6, core dump in bit 7, exit code in bits 8-15.
    pub status: u32,
    /// Always 0.
    pub reserved: u32,
}

/// What one CPU counted in one bucket of one class. Never reset: readers take differences.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Counter {
    /// Events that happened.
    pub seen: u64,
    /// Those of them that could not be sent.
    pub lost: u64,
    /// Those of them that rules leave out.
    pub filtered: u64,
}

/// Scratch in which one exec record is built.
#[repr(C)]
pub struct Slot {
    /// How many have counted themselves as its claimants: with 1 it is that one's.
    pub claims: u64,
    /// Thread group and thread that fill it, 0 when it is free.
    pub owner: u64,
    /// Dentry from which the next walk starts, 0 when there is nothing to walk.
    pub walk_dentry: u64,
    /// The `vfsmount` of `walk_dentry`.
    pub walk_mount: u64,
    /// Dentry of the working directory.
    pub cwd_dentry: u64,
    /// The `vfsmount` of `cwd_dentry`.
    pub cwd_mount: u64,
    /// Dentry of the root of the process.
    pub root_dentry: u64,
    /// The `vfsmount` of `root_dentry`.
    pub root_mount: u64,
    /// The `kernfs_node` of the cgroup.
    pub cgroup_node: u64,
    /// User address of the next part, and where its text ends.
    pub part_start: u64,
    /// End of the text of the parts.
    pub part_end: u64,
    /// User address of the beginning of the text of the parts.
    pub part_base: u64,
    /// What the parts are of: a `PART_…`.
    pub part_what: u32,
    /// Runs of the program that sends parts.
    pub part_runs: u32,
    /// Address of the script's path in the kernel, 0 when there is none.
    pub script: u64,
    /// Bytes of `tail` in use.
    pub tail_len: u64,
    /// Which walk is next: a `WALK_…`.
    pub walk: u32,
    /// Fills up to a multiple of 8 bytes.
    pub reserved: u32,
    /// The task.
    pub task: u64,
    /// `MARK_…` flags of the process before it started this program.
    pub marks_before: u32,
    /// Those that it will have.
    pub marks: u32,
    /// Part of a kernel struct while it is looked at, or the end of a path while it is compared.
    pub window: [u64; WINDOW_WORDS],
    /// Fixed part of the record.
    pub record: ExecRecord,
    /// Its tail; it follows `record` without a hole, so that both are sent as one.
    pub tail: [u8; TAIL_BYTES],
}

/// Words of [`Slot::window`].
pub const WINDOW_WORDS: usize = RULE_WORDS;

/// Bytes of [`Slot::tail`]: each walk may end with a whole component past its limit. Before the walks
/// the part behind the arguments holds the record that is sent next; the record of an image is built
/// at its beginning.
pub const TAIL_BYTES: usize =
    ARGUMENTS_MAX + 2 * (PATH_MAX + COMPONENT_MAX) + CGROUP_MAX + COMPONENT_MAX + PATH_MAX;

/// [`Slot::walk`]: the program's path.
pub const WALK_PATH: u32 = 0;
/// [`Slot::walk`]: the working directory.
pub const WALK_CWD: u32 = 1;
/// [`Slot::walk`]: the cgroup.
pub const WALK_CGROUP: u32 = 2;
/// [`Slot::walk`]: the path of a file that is mapped to be executed.
pub const WALK_IMAGE: u32 = 3;
/// [`Slot::walk`]: none, the last was made.
pub const WALK_NONE: u32 = 4;

/// Value of an offset whose member the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

const _: () = {
    assert!(size_of::<Header>() == 16);
    assert!(size_of::<Process>() == 16);
    assert!(size_of::<ExecRecord>() == 288);
    assert!(size_of::<ForkRecord>() == 96);
    assert!(size_of::<ExitRecord>() == 112);
    assert!(size_of::<Counter>() == 24);
    assert!(size_of::<PartRecord>() == 48);
    assert!(size_of::<Slot>() == 144 + WINDOW_WORDS * 8 + 288 + TAIL_BYTES);
    assert!(ARGUMENTS_MAX + PART_RECORD_MAX <= TAIL_BYTES);
    assert!(TAIL_BYTES.is_multiple_of(8));
    // Reading the end of a path that is shorter begins in the record before the tail.
    assert!(size_of::<ExecRecord>() >= RULE_WORDS * 8);
};
