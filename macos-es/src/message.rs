//! What a message says, copied out of the system's memory.
//!
//! Bytes stay bytes and absent fields stay absent: which message version brings a field is said
//! at the field, and an older message leaves it `None`.

/// The kinds of event that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EsClass {
    /// A process replaced its program.
    Exec,
    /// A process was created.
    Fork,
    /// A process ended.
    Exit,
}

impl EsClass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exec, Self::Fork, Self::Exit];

    /// The name of the class, as in the column `class` of `ledger`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Fork => "fork",
            Self::Exit => "exit",
        }
    }
}

/// One value for each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByClass<T> {
    /// For [`EsClass::Exec`].
    pub exec: T,
    /// For [`EsClass::Fork`].
    pub fork: T,
    /// For [`EsClass::Exit`].
    pub exit: T,
}

impl<T> ByClass<T> {
    /// The value of one class.
    pub const fn of(&mut self, class: EsClass) -> &mut T {
        match class {
            EsClass::Exec => &mut self.exec,
            EsClass::Fork => &mut self.fork,
            EsClass::Exit => &mut self.exit,
        }
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EsMessage {
    /// When, and where in the sequence.
    pub header: EsHeader,
    /// The process that acted: before exec its old program, the parent for a fork.
    pub process: EsProcess,
    /// What it did.
    pub event: EsEvent,
}

/// What every message says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EsHeader {
    /// Version of the message.
    pub version: u32,
    /// When it happened, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// The same in units of Mach absolute time, which stands still during sleep.
    pub mach_time: u64,
    /// Id of the thread that acted, unique since boot. Since version 4.
    pub thread_id: Option<u64>,
    /// Where in the sequence of messages.
    pub sequence: EsSequence,
}

/// A message's place in the sequences that show what the system dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EsSequence {
    /// The class, `None` for an event that is not read.
    pub class: Option<EsClass>,
    /// Number among the client's messages of this event type, from 0. Since version 2.
    pub seq_num: Option<u64>,
    /// Number among all messages of the client, from 0. Since version 4.
    pub global_seq_num: Option<u64>,
}

/// What a process did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EsEvent {
    /// It replaced its program.
    Exec(Box<EsExec>),
    /// It created a process.
    Fork(Box<EsFork>),
    /// It ended.
    Exit(EsExit),
}

impl EsEvent {
    /// Its class.
    #[must_use]
    pub const fn class(&self) -> EsClass {
        match self {
            Self::Exec(_) => EsClass::Exec,
            Self::Fork(_) => EsClass::Fork,
            Self::Exit(_) => EsClass::Exit,
        }
    }
}

/// A process replaced its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EsExec {
    /// The process with its new program and credentials.
    pub target: EsProcess,
    /// The path that exec was given, links not resolved. Since version 7.
    pub exec_path: Option<Vec<u8>>,
    /// The script, when exec was given one. Since version 2.
    pub script: Option<EsFile>,
    /// Working directory. Since version 3.
    pub cwd: Option<EsFile>,
    /// Highest open file descriptor. Since version 4.
    pub last_fd: Option<i32>,
    /// Processor type and subtype of the program. Since version 6.
    pub cpu_type: Option<(i32, i32)>,
    /// The arguments, `argv[0]` first.
    pub arguments: Vec<Vec<u8>>,
    /// Size of all arguments in bytes with a NUL after each, also of those not kept.
    pub arguments_bytes: u64,
    /// Whether there were more arguments than are kept.
    pub arguments_truncated: bool,
}

/// A process created another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EsFork {
    /// The new process.
    pub child: EsProcess,
}

/// A process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EsExit {
    /// Status as `wait(2)` gives it.
    pub status: i32,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EsProcess {
    /// Who it is.
    pub audit_token: AuditToken,
    /// Pid of its parent now.
    pub ppid: i32,
    /// Pid of its parent at birth.
    pub original_ppid: i32,
    /// Process group.
    pub group_id: i32,
    /// POSIX session.
    pub session_id: i32,
    /// Flags of the code signature, `CS_*`.
    pub codesigning_flags: u32,
    /// Whether it is a part of the system.
    pub is_platform_binary: bool,
    /// Whether it is a client of EndpointSecurity.
    pub is_es_client: bool,
    /// Hash of the code directory.
    pub cdhash: [u8; 20],
    /// Identifier in the code signature, empty when there is none.
    pub signing_id: Vec<u8>,
    /// Team in the code signature, empty when there is none.
    pub team_id: Vec<u8>,
    /// The program's file.
    pub executable: EsFile,
    /// Path of the controlling terminal. Since version 2.
    pub tty: Option<Vec<u8>>,
    /// When fork made it, in nanoseconds since the Unix epoch, to the microsecond. Since version 3.
    pub start_ns: Option<i64>,
    /// The process held responsible for it. Since version 4.
    pub responsible: Option<AuditToken>,
    /// Its parent now. Since version 4.
    pub parent: Option<AuditToken>,
}

/// A file as the event found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EsFile {
    /// Absolute path.
    pub path: Vec<u8>,
    /// Whether the system cut the path.
    pub path_truncated: bool,
    /// What `stat(2)` would have said.
    pub stat: EsStat,
}

/// The parts of `struct stat` that are kept. Times are whole seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EsStat {
    /// Device that holds the file.
    pub dev: i32,
    /// Inode number.
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Size in bytes.
    pub size: i64,
    /// Last access.
    pub atime: i64,
    /// Last change of content.
    pub mtime: i64,
    /// Last change of metadata.
    pub ctime: i64,
    /// Creation.
    pub birthtime: i64,
}

/// Who a process is: its credentials and its place among processes.
///
/// The structure is opaque by Apple's word. Its order has not changed since macOS 10.6, and
/// `EsClient` refuses to start when the system's own functions read its own token differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AuditToken {
    /// Audit (login) user, `u32::MAX` when unset.
    pub auid: u32,
    /// Effective user.
    pub euid: u32,
    /// Effective group.
    pub egid: u32,
    /// Real user.
    pub ruid: u32,
    /// Real group.
    pub rgid: u32,
    /// Process id.
    pub pid: u32,
    /// Audit session.
    pub asid: u32,
    /// Counts the programs that the pid has run, so that (pid, pidversion) names one of them.
    pub pidversion: u32,
}

impl AuditToken {
    /// Reads the token's eight words.
    #[must_use]
    pub const fn from_words(words: [u32; 8]) -> Self {
        let [auid, euid, egid, ruid, rgid, pid, asid, pidversion] = words;
        Self { auid, euid, egid, ruid, rgid, pid, asid, pidversion }
    }
}
