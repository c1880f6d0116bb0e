//! Our own mirror of the parts of `es_message_t` that are read.
//!
//! Why a mirror: the binding's structures exist only when compiling for macOS, and decoding is to
//! be tested elsewhere. How it stays true: every size and offset is asserted below on every
//! system, against numbers, and in `layout_check.rs` when compiling for macOS, against the
//! binding.
//!
//! The layout is the one of 64-bit macOS, on Intel and Apple silicon alike. A field's comment
//! names the message version that brought it; in an older message the memory is not the field's,
//! and may not even be mapped, so that [`crate::view`] never makes a reference to a whole
//! structure.

use std::mem::offset_of;

/// `audit_token_t`: who a process is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawAuditToken {
    /// In order: audit user, effective user, effective group, real user, real group, pid, audit
    /// session, pid version.
    pub val: [u32; 8],
}

/// `es_string_token_t`: bytes with a length, not terminated by a NUL that could be relied on.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawString {
    /// Bytes at `data`.
    pub length: usize,
    /// The bytes; may be null when `length` is 0.
    pub data: *const u8,
}

/// `struct timespec`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawTimespec {
    /// Whole seconds since the Unix epoch.
    pub sec: i64,
    /// Nanoseconds, less than a second.
    pub nsec: i64,
}

/// `struct timeval`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawTimeval {
    /// Whole seconds since the Unix epoch.
    pub sec: i64,
    /// Microseconds, less than a second.
    pub usec: i32,
}

/// `struct stat` with 64-bit inode numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawStat {
    /// Device that holds the file.
    pub dev: i32,
    /// Type and permission bits.
    pub mode: u16,
    /// Hard links.
    pub nlink: u16,
    /// Inode number.
    pub ino: u64,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Device that the file is.
    pub rdev: i32,
    /// Last access.
    pub atime: RawTimespec,
    /// Last change of content.
    pub mtime: RawTimespec,
    /// Last change of metadata.
    pub ctime: RawTimespec,
    /// Creation.
    pub birthtime: RawTimespec,
    /// Bytes.
    pub size: i64,
    /// Blocks of 512 bytes.
    pub blocks: i64,
    /// Best size for reading and writing.
    pub blksize: i32,
    /// Flags such as `UF_IMMUTABLE`.
    pub flags: u32,
    /// Generation number.
    pub generation: u32,
    /// Unused.
    pub spare: i32,
    /// Unused.
    pub spare_wide: [i64; 2],
}

/// `es_file_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawFile {
    /// Absolute path.
    pub path: RawString,
    /// Not 0 when `path` was cut. A C `bool`, read as the byte it is.
    pub path_truncated: u8,
    /// The file as the event found it.
    pub stat: RawStat,
}

/// `es_process_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawProcess {
    /// Who it is.
    pub audit_token: RawAuditToken,
    /// Parent now.
    pub ppid: i32,
    /// Parent at birth.
    pub original_ppid: i32,
    /// Process group.
    pub group_id: i32,
    /// POSIX session.
    pub session_id: i32,
    /// Flags of the code signature.
    pub codesigning_flags: u32,
    /// Not 0 for a part of the system.
    pub is_platform_binary: u8,
    /// Not 0 for a client of EndpointSecurity.
    pub is_es_client: u8,
    /// Hash of the code directory.
    pub cdhash: [u8; 20],
    /// Identifier in the code signature.
    pub signing_id: RawString,
    /// Team in the code signature.
    pub team_id: RawString,
    /// The program's file; not null.
    pub executable: *const RawFile,
    /// Controlling terminal, or null. Since version 2.
    pub tty: *const RawFile,
    /// When fork made the process. Since version 3.
    pub start_time: RawTimeval,
    /// The process held responsible. Since version 4.
    pub responsible_audit_token: RawAuditToken,
    /// The parent. Since version 4.
    pub parent_audit_token: RawAuditToken,
}

/// `es_event_exec_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawExec {
    /// The process with its new program; not null.
    pub target: *const RawProcess,
    /// The path that exec was given. Since version 7; the library's own before.
    pub dyld_exec_path: RawString,
    /// The script, or null. Since version 2.
    pub script: *const RawFile,
    /// Working directory; not null. Since version 3.
    pub cwd: *const RawFile,
    /// Highest open file descriptor. Since version 4.
    pub last_fd: i32,
    /// Processor type of the program. Since version 6.
    pub image_cputype: i32,
    /// Processor subtype of the program. Since version 6.
    pub image_cpusubtype: i32,
    /// Room for later fields, in which the library also keeps the arguments' place.
    pub reserved: [u8; 36],
}

/// `es_event_fork_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawFork {
    /// The new process; not null.
    pub child: *const RawProcess,
    /// Room for later fields.
    pub reserved: [u8; 64],
}

/// `es_event_exit_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawExit {
    /// Status as `wait(2)` gives it.
    pub stat: i32,
    /// Room for later fields.
    pub reserved: [u8; 64],
}

/// `es_thread_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawThread {
    /// Id of the thread, unique since boot.
    pub thread_id: u64,
}

/// `es_events_t`: the union of all events, as the bytes it takes up. Its size is fixed, because
/// fields lie behind it: events of macOS 13 and later are pointers in it.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct RawEvents {
    /// A [`RawExec`], [`RawFork`] or [`RawExit`] at the start, or another event.
    pub bytes: [u8; EVENTS_BYTES],
}

/// Size of the union of all events.
pub const EVENTS_BYTES: usize = 104;

/// `es_message_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawMessage {
    /// Version of the message, which says which fields exist.
    pub version: u32,
    /// When it happened.
    pub time: RawTimespec,
    /// The same in units of Mach absolute time, which stands still during sleep.
    pub mach_time: u64,
    /// For AUTH events only.
    pub deadline: u64,
    /// The process that acted; not null.
    pub process: *const RawProcess,
    /// Number within the client and event type. Since version 2.
    pub seq_num: u64,
    /// 0 AUTH, 1 NOTIFY.
    pub action_type: u32,
    /// Result of the action, or the id to answer to.
    pub action: [u32; 9],
    /// Which event it is.
    pub event_type: u32,
    /// The event.
    pub event: RawEvents,
    /// The thread that acted, or null. Since version 4.
    pub thread: *const RawThread,
    /// Number within the client. Since version 4.
    pub global_seq_num: u64,
}

/// `ES_EVENT_TYPE_NOTIFY_EXEC`.
pub const EVENT_TYPE_NOTIFY_EXEC: u32 = 9;
/// `ES_EVENT_TYPE_NOTIFY_FORK`.
pub const EVENT_TYPE_NOTIFY_FORK: u32 = 11;
/// `ES_EVENT_TYPE_NOTIFY_EXIT`.
pub const EVENT_TYPE_NOTIFY_EXIT: u32 = 15;

/// Message version from which `es_process_t.tty`, `exec.script` and `seq_num` exist.
pub const VERSION_SEQUENCE: u32 = 2;
/// Message version from which `es_process_t.start_time` and `exec.cwd` exist.
pub const VERSION_START_TIME: u32 = 3;
/// Message version from which parents' tokens, `thread`, `global_seq_num` and `exec.last_fd` exist.
pub const VERSION_PARENT_TOKEN: u32 = 4;
/// Message version from which `exec.image_cputype` exists.
pub const VERSION_CPU_TYPE: u32 = 6;
/// Message version from which `exec.dyld_exec_path` exists.
pub const VERSION_EXEC_PATH: u32 = 7;

const _: () = {
    assert!(size_of::<RawString>() == 16);
    assert!(size_of::<RawTimespec>() == 16);
    assert!(size_of::<RawTimeval>() == 16);
    assert!(size_of::<RawStat>() == 144);
    assert!(offset_of!(RawStat, ino) == 8);
    assert!(offset_of!(RawStat, atime) == 32);
    assert!(offset_of!(RawStat, size) == 96);
    assert!(size_of::<RawFile>() == 168);
    assert!(offset_of!(RawFile, path_truncated) == 16);
    assert!(offset_of!(RawFile, stat) == 24);
    assert!(size_of::<RawProcess>() == 208);
    assert!(offset_of!(RawProcess, cdhash) == 54);
    assert!(offset_of!(RawProcess, signing_id) == 80);
    assert!(offset_of!(RawProcess, executable) == 112);
    assert!(offset_of!(RawProcess, tty) == 120);
    assert!(offset_of!(RawProcess, start_time) == 128);
    assert!(offset_of!(RawProcess, responsible_audit_token) == 144);
    assert!(offset_of!(RawProcess, parent_audit_token) == 176);
    assert!(size_of::<RawExec>() == 88);
    assert!(offset_of!(RawExec, script) == 24);
    assert!(offset_of!(RawExec, last_fd) == 40);
    assert!(size_of::<RawFork>() == 72);
    assert!(size_of::<RawExit>() == 68);
    assert!(size_of::<RawEvents>() == EVENTS_BYTES);
    assert!(size_of::<RawMessage>() == 224);
    assert!(offset_of!(RawMessage, process) == 40);
    assert!(offset_of!(RawMessage, action) == 60);
    assert!(offset_of!(RawMessage, event_type) == 96);
    assert!(offset_of!(RawMessage, event) == 104);
    assert!(offset_of!(RawMessage, thread) == 208);
};
