//! From the bytes of one ring record to an event.
//!
//! **Invariant:** the bytes are hostile: they decode or they are an error, and nothing panics.

use bygone_probe_abi as abi;
use zerocopy::FromBytes;

use super::{actions, images};
use crate::events::{
    Action, ActionEvent, CapabilitySets, Credentials, ExecEvent, ExitEvent, ForkEvent, ModuleFile,
    Namespaces, Noticed, ProcessEvent, ProcessKey, ProgramFile, Usage,
};
use crate::host::containers;
use crate::host::proc::is_in_memory;
use crate::host::text::lossless;

/// Why a record is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// Fewer bytes than its kind has.
    #[error("the record is cut short: {bytes} bytes")]
    Short {
        /// How many there are.
        bytes: usize,
    },
    /// The length it states is not the length it has.
    #[error("the record states {stated} bytes and has {bytes}")]
    Length {
        /// What it states.
        stated: u32,
        /// How many there are.
        bytes: usize,
    },
    /// No kind that this version knows.
    #[error("records of kind {kind} are not known")]
    Kind {
        /// What it states.
        kind: u32,
    },
    /// The parts of its tail do not fill the tail.
    #[error("the parts of the record do not add up")]
    Parts,
}

/// A decoded record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// When, in nanoseconds since boot.
    pub(crate) boot_ns: u64,
    /// Index in [`abi::CLASSES`].
    pub(crate) class: usize,
    /// The event, with real times.
    pub(crate) event: Decoded,
    /// Of an exec, how many names at the end of the program's path lie within its file system, where the
    /// kernel told.
    pub(crate) within_mount: Option<u32>,
    /// Of a snapshot, whether the process was found in the middle of an exec.
    pub(crate) in_exec: bool,
}

/// What a record tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// The life of a process.
    Life(ProcessEvent),
    /// What a process did, and the pid namespace in which it names others.
    Act(ActionEvent, u32),
    /// The file of the module that this thread of a process is about to load.
    ModuleFile(ProcessKey, u32, Box<ModuleFile>),
    /// A process that was recorded is left out from now on.
    LeftOut(ProcessKey),
}

impl Decoded {
    /// Bytes of memory that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Life(event) => event.bytes(),
            Self::Act(act, _) => {
                let path = match &act.action {
                    Action::Image(image) => image.path.as_ref().map_or(0, String::len),
                    _ => abi::ACT_TEXT_MAX,
                };
                size_of::<Self>() + path
            }
            Self::ModuleFile(_, _, file) => {
                let path = file.path.as_ref().map_or(0, String::len);
                size_of::<Self>() + size_of::<ModuleFile>() + path
            }
            Self::LeftOut(_) => size_of::<Self>(),
        }
    }
}

impl Record {
    /// Whether the process was found running rather than seen to start.
    pub(crate) fn is_snapshot(&self) -> bool {
        matches!(&self.event, Decoded::Life(ProcessEvent::Exec(exec)) if exec.snapshot)
    }
}

/// Decodes one record. `offset_ns` plus boot time is real time.
///
/// # Errors
/// When the bytes are not a record.
pub(crate) fn decode(bytes: &[u8], offset_ns: i64) -> Result<Record, DecodeError> {
    let short = DecodeError::Short { bytes: bytes.len() };
    let (header, _) = abi::Header::read_from_prefix(bytes).ok().ok_or(short)?;
    if header.length as usize != bytes.len() {
        return Err(DecodeError::Length { stated: header.length, bytes: bytes.len() });
    }
    let (mut within_mount, mut in_exec) = (None, false);
    let (class, event) = match header.kind {
        abi::KIND_EXEC => {
            let (record, tail) = abi::ExecRecord::read_from_prefix(bytes).ok().ok_or(short)?;
            within_mount = (record.mount_components != u32::MAX).then_some(record.mount_components);
            in_exec = record.flags & abi::EXEC_IN_EXEC != 0;
            let exec = exec_event(&record, tail, offset_ns).ok_or(DecodeError::Parts)?;
            (abi::CLASS_EXEC, Decoded::Life(ProcessEvent::Exec(Box::new(exec))))
        }
        abi::KIND_FORK => {
            let record = abi::ForkRecord::read_from_bytes(bytes).ok().ok_or(short)?;
            (abi::CLASS_FORK, Decoded::Life(ProcessEvent::Fork(fork_event(&record, offset_ns))))
        }
        abi::KIND_EXIT => {
            let record = abi::ExitRecord::read_from_bytes(bytes).ok().ok_or(short)?;
            (abi::CLASS_EXIT, Decoded::Life(ProcessEvent::Exit(exit_event(&record, offset_ns))))
        }
        abi::KIND_ACT => {
            let record = abi::ActRecord::read_from_bytes(bytes).ok().ok_or(short)?;
            let (class, event) = actions::event(&record, offset_ns).ok_or(DecodeError::Parts)?;
            (class, Decoded::Act(event, record.pid_namespace))
        }
        abi::KIND_IMAGE => {
            let (record, path) = abi::ImageRecord::read_from_prefix(bytes).ok().ok_or(short)?;
            images::event(&record, path, offset_ns).ok_or(DecodeError::Parts)?
        }
        abi::KIND_LEFT_OUT => {
            let record = abi::LeftOutRecord::read_from_bytes(bytes).ok().ok_or(short)?;
            (abi::CLASS_EXEC, Decoded::LeftOut(key(record.process)))
        }
        kind => return Err(DecodeError::Kind { kind }),
    };
    Ok(Record { boot_ns: header.time_ns, class: class as usize, event, within_mount, in_exec })
}

/// Boot time as nanoseconds since the Unix epoch.
pub(crate) fn real_ns(boot_ns: u64, offset_ns: i64) -> i64 {
    i64::try_from(boot_ns).unwrap_or(i64::MAX).saturating_add(offset_ns)
}

fn fork_event(record: &abi::ForkRecord, offset_ns: i64) -> ForkEvent {
    ForkEvent {
        time_ns: real_ns(record.header.time_ns, offset_ns),
        process: key(record.process),
        parent: known(record.parent),
        caller: key(record.caller),
        clone_flags: Some(record.clone_flags),
        namespaces: namespaces(Namespaces {
            pid: record.pid_namespace,
            mount: record.mount_namespace,
            network: record.network_namespace,
            user: record.user_namespace,
        }),
        uid: record.uid,
        gid: record.gid,
        path: None,
    }
}

fn exit_event(record: &abi::ExitRecord, offset_ns: i64) -> ExitEvent {
    let signal = record.status & 0x7f;
    ExitEvent {
        time_ns: real_ns(record.header.time_ns, offset_ns),
        process: key(record.process),
        parent: known(record.parent),
        uid: record.uid,
        gid: record.gid,
        exit_code: (signal == 0).then_some(record.status >> 8 & 0xff),
        signal: (signal != 0).then_some(signal),
        core_dumped: Some(record.status & 0x80 != 0),
        noticed: Noticed::Told,
        cpu_ns: Some(record.cpu_ns),
        lifetime_ns: Some(record.header.time_ns.saturating_sub(record.process.start_ns)),
        usage: Some(Usage {
            user_ns: record.user_ns,
            system_ns: record.system_ns,
            rss_bytes_max: record.rss_pages_max.saturating_mul(rustix::param::page_size() as u64),
            read_bytes: Some(record.read_bytes),
            written_bytes: Some(record.written_bytes),
        }),
        path: None,
    }
}

fn exec_event(record: &abi::ExecRecord, tail: &[u8], offset_ns: i64) -> Option<ExecEvent> {
    let flag = |flag| record.flags & flag != 0;
    let (arguments, rest) = tail.split_at_checked(record.arguments_len as usize)?;
    let (path, rest) = rest.split_at_checked(record.path_len as usize)?;
    let (cwd, rest) = rest.split_at_checked(record.cwd_len as usize)?;
    let (cgroup, script) = rest.split_at_checked(record.cgroup_len as usize)?;
    if script.len() != record.script_len as usize {
        return None;
    }
    let snapshot = flag(abi::EXEC_SNAPSHOT);
    let unread = snapshot || (arguments.is_empty() && record.arguments_bytes > 0);
    let time_ns = if snapshot { record.process.start_ns } else { record.header.time_ns };
    let below_root = path.get(..record.root_len as usize)?;
    let has_root = flag(abi::EXEC_ROOT_PASSED) && below_root.len() < path.len();
    let path = absolute(path, flag(abi::EXEC_PATH_WALKED), flag(abi::EXEC_PATH_DETACHED));
    let cgroup_path = absolute(cgroup, flag(abi::EXEC_CGROUP_WALKED), false);
    let environment = flag(abi::EXEC_ENVIRONMENT).then_some(record.environment_bytes);
    Some(ExecEvent {
        time_ns: real_ns(time_ns, offset_ns),
        process: key(record.process),
        tid: record.tid,
        parent: known(record.parent),
        parent_path: None,
        parent_cmdline: None,
        snapshot,
        start_exact: true,
        credentials: credentials(record),
        capabilities: Some(CapabilitySets {
            permitted: record.permitted,
            effective: record.effective,
        }),
        tty: tty(&record.tty),
        session_id: nonzero(record.session),
        cgroup_id: (record.cgroup_id != 0).then_some(record.cgroup_id),
        container: cgroup_path.as_deref().and_then(containers::of_cgroup),
        cgroup_path,
        namespaces: namespaces(Namespaces {
            pid: record.pid_namespace,
            mount: record.mount_namespace,
            network: record.network_namespace,
            user: record.user_namespace,
        }),
        container_path: if has_root { absolute(below_root, true, false) } else { None },
        namespace_path: None,
        path_truncated: path.is_some() && flag(abi::EXEC_PATH_TRUNCATED),
        path,
        script_path: script.strip_suffix(&[0]).filter(|path| !path.is_empty()).map(lossless),
        file: flag(abi::EXEC_FILE).then(|| program_file(record, flag(abi::EXEC_FILE_TIMES))),
        cwd: absolute(cwd, flag(abi::EXEC_CWD_WALKED), flag(abi::EXEC_CWD_DETACHED)),
        arguments: (!unread).then(|| arguments.to_vec()),
        arguments_bytes: record.arguments_bytes,
        arguments_truncated: arguments.len() as u64 != record.arguments_bytes,
        arguments_loss: arguments_loss(record, arguments.len()),
        environment: None,
        environment_bytes: (!snapshot).then_some(record.environment_bytes),
        environment_count: (!snapshot).then_some(u64::from(record.environment_count)),
        environment_truncated: environment.is_some_and(|bytes| bytes > 0),
        masked: false,
        kernel_thread: flag(abi::EXEC_KERNEL_THREAD),
    })
}

fn credentials(record: &abi::ExecRecord) -> Credentials {
    Credentials {
        uid: record.uid,
        euid: record.euid,
        suid: record.suid,
        fsuid: Some(record.fsuid),
        gid: record.gid,
        egid: record.egid,
        sgid: record.sgid,
        fsgid: Some(record.fsgid),
        auid: (record.login_uid != u32::MAX).then_some(record.login_uid),
        audit_session_id: (record.audit_session != u32::MAX).then_some(record.audit_session),
    }
}

/// Why not all arguments are there, unless pieces that were sent complete them.
fn arguments_loss(record: &abi::ExecRecord, carried: usize) -> Option<&'static str> {
    let flag = |flag| record.flags & flag != 0;
    let whole = carried as u64 == record.arguments_bytes;
    match () {
        () if whole || flag(abi::EXEC_SNAPSHOT) => None,
        () if flag(abi::EXEC_ARGUMENTS_FAULT) => Some("fault"),
        () if flag(abi::EXEC_PARTS_BUDGET) => Some("budget"),
        () => Some("bulk_full"),
    }
}

fn namespaces(namespaces: Namespaces) -> Option<Namespaces> {
    (namespaces != Namespaces::default()).then_some(namespaces)
}

/// The name below `/dev` of a terminal: the kernel calls a pseudo-terminal `pts0`, its file is `pts/0`.
fn tty(name: &[u8]) -> Option<String> {
    let name = lossless(name.split(|byte| *byte == 0).next()?);
    let number = name.strip_prefix("pts").filter(|number| !number.is_empty());
    match number {
        Some(number) => Some(format!("pts/{number}")),
        None => (!name.is_empty()).then_some(name),
    }
}

fn program_file(record: &abi::ExecRecord, times: bool) -> ProgramFile {
    ProgramFile {
        device: device(record.device),
        inode: record.inode,
        mode: record.mode,
        owner_uid: record.owner_uid,
        owner_gid: record.owner_gid,
        atime: times.then_some(record.atime),
        mtime: times.then_some(record.mtime),
        ctime: times.then_some(record.ctime),
        btime: None,
        ctime_ns: times.then(|| ctime_ns(record.ctime, record.ctime_nanoseconds)),
        size: Some(record.file_bytes),
        links: (record.links != u32::MAX).then_some(record.links),
        in_memory: is_in_memory(record.file_system),
    }
}

/// The number of a device, of which the kernel keeps the minor number in the low 20 bits.
pub(crate) fn device(number: u32) -> u64 {
    rustix::fs::makedev(number >> 20, number & 0xf_ffff)
}

/// A change time in nanoseconds. The highest bit of the nanoseconds says since 6.13 that the time was
/// looked at (`I_CTIME_QUERIED` in fs.h).
pub(crate) fn ctime_ns(seconds: i64, nanoseconds: u32) -> i64 {
    let nanoseconds = i64::from(nanoseconds & 0x7fff_ffff);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

pub(crate) fn key(process: abi::Process) -> ProcessKey {
    ProcessKey { pid: process.pid, start_ns: process.start_ns }
}

pub(crate) fn known(process: abi::Process) -> Option<ProcessKey> {
    (process.pid != 0).then(|| key(process))
}

pub(crate) fn nonzero(number: u32) -> Option<u32> {
    (number != 0).then_some(number)
}

/// A path from its components, leaf first and each with its NUL. A walk that did not reach the root
/// gives what it found, without a leading slash: the name of a file that hangs on no directory, or
/// the end of a path whose front is missing. The nameless top of what is detached is no name.
pub(crate) fn absolute(components: &[u8], reached_root: bool, detached: bool) -> Option<String> {
    let mut names: Vec<&[u8]> = components.split(|byte| *byte == 0).collect();
    // After the last NUL comes nothing.
    names.pop();
    if detached && names.last().is_some_and(|name| *name == b"/") {
        names.pop();
    }
    if names.is_empty() {
        return reached_root.then(|| "/".to_owned());
    }
    names.reverse();
    let joined = names.join(&b'/');
    let prefix = if reached_root { "/" } else { "" };
    Some(format!("{prefix}{}", lossless(&joined)))
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
