//! What a process does to others, to the kernel, or to itself, other than to live.

use std::sync::Arc;

use super::{ProcessKey, ProgramFile};

/// One act of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionEvent {
    /// When, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Who did it.
    pub actor: ProcessKey,
    /// The thread that did it.
    pub tid: u32,
    /// Its real user id.
    pub uid: u32,
    /// Path of the program that it runs, where that is known.
    pub path: Option<Arc<str>>,
    /// What it did.
    pub action: Action,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A signal was sent.
    Signal(SignalAction),
    /// A module of the kernel was loaded or removed.
    Module(ModuleAction),
    /// Another process was traced, or its memory read or written.
    Access(AccessAction),
    /// The own user, groups or capabilities changed without an exec.
    Credentials(CredentialsAction),
    /// A file system was mounted, moved or unmounted.
    Mount(MountAction),
    /// Memory was made executable.
    MemoryExec(MemoryExecAction),
    /// A file in memory was made.
    MemoryFile(MemoryFileAction),
    /// A BPF program was loaded or attached.
    Bpf(BpfAction),
    /// A file was mapped to be executed.
    Image(Box<ImageAction>),
}

impl Action {
    /// The class that the ledger counts it in.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Signal(_) => "signal",
            Self::Module(_) => "module",
            Self::Access(_) => "ptrace",
            Self::Credentials(_) => "credential",
            Self::Mount(_) => "mount",
            Self::MemoryExec(_) => "memory_exec",
            Self::MemoryFile(_) => "memfd",
            Self::Bpf(_) => "bpf",
            Self::Image(_) => "image",
        }
    }

    /// The process that it was done to, if to one.
    pub const fn target_mut(&mut self) -> Option<&mut Target> {
        match self {
            Self::Signal(signal) => Some(&mut signal.target),
            Self::Access(access) => Some(&mut access.target),
            Self::Module(_)
            | Self::Credentials(_)
            | Self::Mount(_)
            | Self::MemoryExec(_)
            | Self::MemoryFile(_)
            | Self::Bpf(_)
            | Self::Image(_) => None,
        }
    }
}

/// The process that something was done to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Its identity, where it is known for certain.
    pub process: Option<ProcessKey>,
    /// Path of the program that it runs, where that is known.
    pub path: Option<Arc<str>>,
}

/// A signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalAction {
    /// Who got it.
    pub target: Target,
    /// Real user id of that.
    pub target_uid: u32,
    /// Its number.
    pub signal: u32,
    /// `si_code` of `sigaction(2)`.
    pub code: i32,
    /// Whether the kernel sent it of itself, as for a fault.
    pub by_kernel: bool,
    /// Whether it was delivered; otherwise it was ignored, or one was pending already.
    pub delivered: bool,
}

/// A module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleAction {
    /// Its name.
    pub name: Option<String>,
    /// Whether it was loaded; otherwise it was removed.
    pub loaded: bool,
    /// Its taints, as in `/sys/module/NAME/taint`, as bits.
    pub taints: u64,
    /// Whether it carries a valid signature; `None` where the kernel does not check.
    pub is_signed: Option<bool>,
    /// The file that it was loaded from; `None` when it was removed, or loaded from memory.
    pub file: Option<Box<ModuleFile>>,
}

/// The file of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// Path from the root of the mount namespace of who loaded it.
    pub path: Option<String>,
    /// What it was when it was handed to the kernel.
    pub file: ProgramFile,
    /// Inode of that mount namespace.
    pub mount_namespace: Option<u32>,
    /// Whether it is on a file system of another machine, or of a process: such are not read.
    pub elsewhere: bool,
    /// Who signed it, by the name in the signature behind it; `None` when there is none, or it could
    /// not be read.
    pub signer: Option<String>,
}

/// Access to another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessAction {
    /// Name of the system call.
    pub call: &'static str,
    /// Name of the request, of `ptrace(2)`.
    pub request: Option<&'static str>,
    /// What is done with its memory, or made possible by opening that.
    pub memory: Option<MemoryAccess>,
    /// The other process.
    pub target: Target,
    /// Its process or thread id as the actor gave it, in the actor's pid namespace; of memory that was
    /// opened, the thread's id in the initial one.
    pub target_id: u32,
    /// 0, or what the call returned.
    pub result: i64,
}

/// What can be done with the memory of another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryAccess {
    /// It is read.
    Read,
    /// It is written.
    Write,
    /// Both.
    ReadWrite,
}

impl MemoryAccess {
    /// The value of the column `memory`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "read_write",
        }
    }
}

/// Ids and capabilities of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Real, effective and saved user id.
    pub users: [u32; 3],
    /// Real, effective and saved group id.
    pub groups: [u32; 3],
    /// Capabilities in effect.
    pub effective: u64,
}

/// A change of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialsAction {
    /// Name of the system call.
    pub call: &'static str,
    /// What they were.
    pub before: Rights,
    /// What they are.
    pub after: Rights,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountAction {
    /// Name of the system call.
    pub call: &'static str,
    /// Where, as the process gave it.
    pub target: Option<String>,
    /// What, likewise.
    pub source: Option<String>,
    /// Type of the file system.
    pub file_system: Option<String>,
    /// Flags as the call takes them.
    pub flags: u64,
    /// 0, or the negative error.
    pub result: i64,
}

/// Memory made executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryExecAction {
    /// Name of the system call.
    pub call: &'static str,
    /// Where it is to begin; 0 where the kernel is to choose.
    pub address: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// Whether it is writable at the same time.
    pub writable: bool,
}

/// A file in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryFileAction {
    /// The name it was given.
    pub name: Option<String>,
    /// Flags of `memfd_create(2)`.
    pub flags: u64,
    /// Its file descriptor, or the negative error.
    pub result: i64,
}

/// A file mapped to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageAction {
    /// Path from the root of the mount namespace of the process.
    pub path: Option<String>,
    /// Whether its front is missing.
    pub path_truncated: bool,
    /// The file.
    pub file: ProgramFile,
    /// Inode of the mount namespace.
    pub mount_namespace: Option<u32>,
    /// Whether the memory is to be writable at the same time.
    pub writable: bool,
}

/// A command of `bpf(2)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BpfAction {
    /// The command, as the kernel calls it.
    pub command: &'static str,
    /// Number of the type of the program that is loaded (`enum bpf_prog_type`).
    pub program_type: Option<u32>,
    /// The name it is given.
    pub name: Option<String>,
    /// A file descriptor or 0, or the negative error.
    pub result: i64,
}
