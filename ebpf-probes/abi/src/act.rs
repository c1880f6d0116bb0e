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

const _: () = assert!(size_of::<ActRecord>() == 552);
