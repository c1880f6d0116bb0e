//! What processes do to others, to the kernel, and to themselves: records and what their numbers mean.

#[cfg(feature = "decode")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Header, Process};

/// Bytes of text that an [`ActRecord`] carries, its terminator included.
pub const ACT_TEXT_MAX: usize = 256;
/// Bytes of [`ActRecord::source`].
pub const ACT_SOURCE_MAX: usize = 64;
/// Bytes of [`ActRecord::file_system`].
pub const ACT_TYPE_MAX: usize = 32;
/// Calls to the system that may be on their way at once and are watched.
pub const CALLS_MAX: u32 = 8192;
/// Numbers of system calls are below this.
pub const SYSCALLS_MAX: u32 = 512;

/// What a watched system call does, by its number in the map of system calls: nothing that is watched.
pub const CALL_NONE: u32 = 0;
/// `ptrace(2)`.
pub const CALL_PTRACE: u32 = 1;
/// `process_vm_readv(2)`.
pub const CALL_READ_MEMORY: u32 = 2;
/// `process_vm_writev(2)`.
pub const CALL_WRITE_MEMORY: u32 = 3;
/// A call that may change credentials: `setuid(2)` and its like, `capset(2)`, `unshare(2)`, `setns(2)`.
pub const CALL_CREDENTIALS: u32 = 4;
/// `mount(2)`.
pub const CALL_MOUNT: u32 = 5;
/// `umount2(2)`.
pub const CALL_UNMOUNT: u32 = 6;
/// `move_mount(2)`.
pub const CALL_MOVE_MOUNT: u32 = 7;
/// `pivot_root(2)`.
pub const CALL_PIVOT_ROOT: u32 = 8;
/// `mmap(2)`.
pub const CALL_MMAP: u32 = 9;
/// `mprotect(2)` and `pkey_mprotect(2)`.
pub const CALL_MPROTECT: u32 = 10;
/// `memfd_create(2)`.
pub const CALL_MEMFD: u32 = 11;
/// `bpf(2)`.
pub const CALL_BPF: u32 = 12;

/// Which mappings of files to be executed are recorded: none.
pub const IMAGES_NONE: u32 = 0;
/// The first of each content.
pub const IMAGES_FIRST: u32 = 1;
/// All.
pub const IMAGES_ALL: u32 = 2;
/// Contents that are remembered as mapped; of more, those not met for the longest time are forgotten.
pub const IMAGES_MAX: u32 = 8192;

/// Which signals are recorded: none.
pub const SIGNALS_NONE: u32 = 0;
/// Those that end a process, and those that a process of another user gets.
pub const SIGNALS_FATAL: u32 = 1;
/// All.
pub const SIGNALS_ALL: u32 = 2;

/// [`ActRecord::act`]: a module was loaded.
pub const ACT_MODULE_LOAD: u32 = 32;
/// [`ActRecord::act`]: a module was removed.
pub const ACT_MODULE_FREE: u32 = 33;
/// [`ActRecord::act`]: a signal was sent.
pub const ACT_SIGNAL: u32 = 34;

/// [`ActRecord::act`]: the memory of a process was opened as a file.
pub const ACT_OPEN_MEMORY: u32 = 35;

/// [`ActRecord::numbers`], the first, of an [`ACT_OPEN_MEMORY`]: opened for reading, as in the kernel's
/// `FMODE_READ`.
pub const OPEN_READ: u64 = 1;
/// Opened for writing, likewise.
pub const OPEN_WRITE: u64 = 2;

/// [`ActRecord::flags`]: the text could not be read.
pub const ACT_TEXT_FAULT: u32 = 1;
/// [`ActRecord::flags`]: the kernel sent the signal of itself.
pub const ACT_BY_KERNEL: u32 = 1 << 1;

/// What a process did to another, to the kernel, or to itself.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "decode", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
#[repr(C)]
pub struct ActRecord {
    /// Kind, length, time.
    pub header: Header,
    /// Who did it.
    pub actor: Process,
    /// To whom, as far as the kernel told; pid 0 when there is none.
    pub target: Process,
    /// The thread that did it.
    pub tid: u32,
    /// Its real user id.
    pub uid: u32,
    /// What it was: a `CALL_…` or an `ACT_…`.
    pub act: u32,
    /// `ACT_…` flags.
    pub flags: u32,
    /// Number of the system call, or 0.
    pub call: u32,
    /// Inode of the pid namespace in which the actor names processes.
    pub pid_namespace: u32,
    /// Always 0.
    pub reserved: u32,
    /// Bytes of text, its terminator included; 0 when there is none.
    pub text_bytes: u32,
    /// What the system call returned.
    pub returned: i64,
    /// The arguments of the system call, or what the act is said by; of `bpf(2)` the fourth is the first
    /// integer of its attributes, the type of a program that is loaded.
    pub numbers: [u64; 6],
    /// Ids before and after: real, effective and saved user, then group ids, of changes of credentials.
    pub ids: [[u32; 6]; 2],
    /// Capabilities in effect before and after, likewise.
    pub effective: [u64; 2],
    /// A name or a path.
    pub text: [u8; ACT_TEXT_MAX],
    /// What is mounted, ended by a NUL.
    pub source: [u8; ACT_SOURCE_MAX],
    /// Type of the file system that is mounted, likewise.
    pub file_system: [u8; ACT_TYPE_MAX],
}

/// A process asked for a file to be mapped so that it can be executed, or handed one to the kernel as
/// a module. The components of the file's path follow, leaf first, each ended by a NUL.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "decode", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
#[repr(C)]
pub struct ImageRecord {
    /// Kind, length, time.
    pub header: Header,
    /// Who did it.
    pub actor: Process,
    /// The thread that did it.
    pub tid: u32,
    /// Its real user id.
    pub uid: u32,
    /// Number of the system call.
    pub call: u32,
    /// `IMAGE_…` flags.
    pub flags: u32,
    /// Inode of the mount namespace of the actor, 0 when unknown.
    pub mount_namespace: u32,
    /// Device of the file in the kernel's own encoding: major << 20 | minor.
    pub device: u32,
    /// Type and permission bits of the file.
    pub mode: u32,
    /// Owner of the file.
    pub owner_uid: u32,
    /// Owning group of the file.
    pub owner_gid: u32,
    /// Magic number of the file's file system, as in `statfs(2)`.
    pub file_system: u32,
    /// Names that the file has, `u32::MAX` when unknown.
    pub links: u32,
    /// Nanoseconds behind [`Self::ctime`].
    pub ctime_nanoseconds: u32,
    /// Last change of the file's metadata in seconds since the Unix epoch.
    pub ctime: i64,
    /// Inode number of the file.
    pub inode: u64,
    /// Size of the file.
    pub file_bytes: u64,
    /// Protection that the mapping is to have, as `mmap(2)` takes it.
    pub protection: u32,
    /// Bytes of the path that follow.
    pub path_len: u32,
}

/// [`ImageRecord::flags`]: the walk of the path reached the root.
pub const IMAGE_PATH_WALKED: u32 = 1;
/// [`ImageRecord::flags`]: the file hangs on no directory, or its mount in no namespace.
pub const IMAGE_PATH_DETACHED: u32 = 1 << 1;
/// [`ImageRecord::flags`]: the walk of the path ended before the root.
pub const IMAGE_PATH_TRUNCATED: u32 = 1 << 2;
/// [`ImageRecord::flags`]: the time of the file is known.
pub const IMAGE_FILE_TIMES: u32 = 1 << 3;
/// [`ImageRecord::flags`]: it was handed to the kernel as a module, which is told by an [`ActRecord`] of
/// the same thread; this record is not counted.
pub const IMAGE_MODULE: u32 = 1 << 4;

/// By what a content is known that was mapped to be executed.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ImageKey {
    /// Inode number.
    pub inode: u64,
    /// Last change of metadata in seconds since the Unix epoch.
    pub ctime: i64,
    /// Size in bytes.
    pub file_bytes: u64,
    /// Device, in the kernel's own encoding.
    pub device: u32,
    /// Nanoseconds behind [`Self::ctime`].
    pub ctime_nanoseconds: u32,
}

/// A watched system call on its way: what of it is known at its end only from here.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Call {
    /// A `CALL_…`.
    pub act: u32,
    /// Its number.
    pub number: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// Ids before, as in [`ActRecord::ids`].
    pub ids: [u32; 6],
    /// Capabilities in effect before.
    pub effective: u64,
}

const _: () = {
    assert!(size_of::<ActRecord>() == 552);
    assert!(size_of::<ImageRecord>() == 112);
    assert!(size_of::<ImageKey>() == 32);
};
