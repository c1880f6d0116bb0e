//! From a message of EndpointSecurity to the event that both systems share.
//!
//! **Identity.** The system tells when fork made a process as a wall-clock time to the microsecond;
//! `start_ns` is that time less the boot time, as it stood when the collector attached. It is the
//! same number in every event of the process for as long as the collector runs. When the clock
//! was set between two runs of the collector, the system has moved its boot time, and a process
//! that lived through both has another `start_ns` in each. (Reading the boot time anew for each
//! event would break identity within a run instead.)
//!
//! **Parents.** A message names the parent by pid and pidversion only. Its start comes from an
//! earlier message with the same pair, or from the system: a living process with that pid which
//! started before the message is the parent, because a pid has one owner at a time.
//!
//! **Saved ids** are not told. On exec the kernel sets them to the effective ones, so an exec's
//! are known all the same.

use std::collections::{HashMap, VecDeque};

use bygone_macos::{AuditToken, EsEvent, EsExec, EsExit, EsFile, EsFork, EsMessage, EsProcess};

use crate::events::{
    Credentials, ExecEvent, ExitEvent, ForkEvent, Noticed, ProcessEvent, ProcessKey, ProgramFile,
};
use crate::host::text::lossless;

/// Programs whose process's start is remembered, for their children.
const STARTS_MAX: usize = 32_768;

/// Audit user id of a process that nobody logged in for.
const AUDIT_USER_UNSET: u32 = u32::MAX;

/// Audit session id of a process that nobody logged in for.
const AUDIT_SESSION_UNSET: u32 = 0;

/// Why a message becomes no event.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TranslateError {
    /// Message versions 1 and 2 (macOS 10.15.0 to 10.15.3) do not tell it.
    #[error("message version {version} does not tell when a process started")]
    NoStart {
        /// The version.
        version: u32,
    },
}

/// What translation has to remember from one message to the next.
#[derive(Debug)]
pub(super) struct Translator {
    boot_ns: i64,
    starts: Starts,
}

impl Translator {
    /// For a system that started at `boot_ns`, in nanoseconds since the Unix epoch.
    pub(super) fn new(boot_ns: i64) -> Self {
        Self { boot_ns, starts: Starts::default() }
    }

    /// Translates one message. `start_of` tells when a living process was made, in nanoseconds
    /// since the Unix epoch.
    pub(super) fn translate(
        &mut self,
        message: &EsMessage,
        start_of: impl Fn(u32) -> Option<i64>,
    ) -> Result<ProcessEvent, TranslateError> {
        let version = message.header.version;
        let time_ns = message.header.time_ns;
        let process = &message.process;
        let key = self.key(process, version)?;
        Ok(match &message.event {
            EsEvent::Exec(exec) => {
                let target = self.key(&exec.target, version)?;
                let parent = self.parent(&exec.target, time_ns, start_of);
                ProcessEvent::Exec(Box::new(exec_event(message, exec, target, parent)))
            }
            EsEvent::Fork(fork) => {
                let child = self.key(&fork.child, version)?;
                ProcessEvent::Fork(fork_event(time_ns, fork, child, key))
            }
            EsEvent::Exit(exit) => {
                let parent = self.parent(process, time_ns, start_of);
                let ended_ns = self.since_boot(time_ns);
                ProcessEvent::Exit(exit_event(message, *exit, key, parent, ended_ns))
            }
        })
    }

    /// The identity of a process, remembered for its children.
    fn key(&mut self, process: &EsProcess, version: u32) -> Result<ProcessKey, TranslateError> {
        let start_ns = process.start_ns.ok_or(TranslateError::NoStart { version })?;
        let start_ns = self.since_boot(start_ns);
        let token = &process.audit_token;
        self.starts.put((token.pid, token.pidversion), start_ns);
        Ok(ProcessKey { pid: token.pid, start_ns })
    }

    fn parent(
        &self,
        process: &EsProcess,
        time_ns: i64,
        start_of: impl Fn(u32) -> Option<i64>,
    ) -> Option<ProcessKey> {
        let AuditToken { pid, pidversion, .. } = process.parent?;
        let start_ns = self.starts.get((pid, pidversion)).or_else(|| {
            let start_ns = start_of(pid).filter(|start_ns| *start_ns <= time_ns)?;
            Some(self.since_boot(start_ns))
        })?;
        Some(ProcessKey { pid, start_ns })
    }

    /// A wall-clock time as time since boot. A process that seems older than the system, because
    /// the clock was set meanwhile, counts as started with it.
    fn since_boot(&self, time_ns: i64) -> u64 {
        u64::try_from(time_ns.saturating_sub(self.boot_ns)).unwrap_or(0)
    }
}

fn exec_event(
    message: &EsMessage,
    exec: &EsExec,
    process: ProcessKey,
    parent: Option<ProcessKey>,
) -> ExecEvent {
    let target = &exec.target;
    ExecEvent {
        time_ns: message.header.time_ns,
        process,
        // Thread ids count up from boot; one beyond 32 bits does not fit the column and is 0.
        tid: message.header.thread_id.and_then(|id| u32::try_from(id).ok()).unwrap_or(0),
        parent,
        start_exact: true,
        credentials: credentials(&target.audit_token),
        session_id: u32::try_from(target.session_id).ok(),
        path: Some(lossless(&target.executable.path)),
        path_truncated: target.executable.path_truncated,
        script_path: exec.script.as_ref().map(|script| lossless(&script.path)),
        file: Some(program_file(&target.executable)),
        cwd: exec.cwd.as_ref().map(|cwd| lossless(&cwd.path)),
        arguments: Some(joined(&exec.arguments)),
        arguments_bytes: exec.arguments_bytes,
        arguments_truncated: exec.arguments_truncated,
        ..ExecEvent::default()
    }
}

/// The arguments one after the other, each ended by a NUL.
fn joined(arguments: &[Vec<u8>]) -> Vec<u8> {
    let bytes = arguments.iter().map(|argument| argument.len() + 1).sum();
    let mut joined = Vec::with_capacity(bytes);
    for argument in arguments {
        joined.extend_from_slice(argument);
        joined.push(0);
    }
    joined
}

fn fork_event(time_ns: i64, fork: &EsFork, child: ProcessKey, parent: ProcessKey) -> ForkEvent {
    ForkEvent {
        time_ns,
        process: child,
        parent: Some(parent),
        caller: parent,
        clone_flags: None,
        namespaces: None,
        uid: fork.child.audit_token.ruid,
        gid: fork.child.audit_token.rgid,
        path: Some(lossless(&fork.child.executable.path)),
    }
}

fn exit_event(
    message: &EsMessage,
    exit: EsExit,
    process: ProcessKey,
    parent: Option<ProcessKey>,
    ended_ns: u64,
) -> ExitEvent {
    let (exit_code, signal, core_dumped) = outcome(exit.status);
    ExitEvent {
        time_ns: message.header.time_ns,
        process,
        parent,
        uid: message.process.audit_token.ruid,
        gid: message.process.audit_token.rgid,
        exit_code,
        signal,
        core_dumped: Some(core_dumped),
        noticed: Noticed::Told,
        cpu_ns: None,
        lifetime_ns: Some(ended_ns.saturating_sub(process.start_ns)),
        usage: None,
        path: Some(lossless(&message.process.executable.path)),
    }
}

/// Exit code, signal and whether core was dumped, from a status as `wait(2)` gives it: the signal
/// in the lowest 7 bits, the core flag above them, the code in the second byte.
const fn outcome(status: i32) -> (Option<u32>, Option<u32>, bool) {
    let status = status.cast_unsigned();
    match status & 0x7f {
        0 => (Some(status >> 8 & 0xff), None, false),
        signal => (None, Some(signal), status & 0x80 != 0),
    }
}

fn credentials(token: &AuditToken) -> Credentials {
    Credentials {
        uid: token.ruid,
        euid: token.euid,
        suid: token.euid,
        fsuid: None,
        gid: token.rgid,
        egid: token.egid,
        sgid: token.egid,
        fsgid: None,
        auid: (token.auid != AUDIT_USER_UNSET).then_some(token.auid),
        audit_session_id: (token.asid != AUDIT_SESSION_UNSET).then_some(token.asid),
    }
}

fn program_file(file: &EsFile) -> ProgramFile {
    let stat = &file.stat;
    ProgramFile {
        device: u64::from(stat.dev.cast_unsigned()),
        inode: stat.ino,
        mode: u32::from(stat.mode),
        owner_uid: stat.uid,
        owner_gid: stat.gid,
        atime: Some(stat.atime),
        mtime: Some(stat.mtime),
        ctime: Some(stat.ctime),
        btime: Some(stat.birthtime),
        ..ProgramFile::default()
    }
}

/// Start of the process that ran a program, by pid and pidversion. When full, the oldest entry
/// makes room; a parent that it names is asked for again when it acts, or from the system.
#[derive(Debug, Default)]
struct Starts {
    by_program: HashMap<(u32, u32), u64>,
    entered: VecDeque<(u32, u32)>,
}

impl Starts {
    fn put(&mut self, program: (u32, u32), start_ns: u64) {
        if self.by_program.insert(program, start_ns).is_some() {
            return;
        }
        self.entered.push_back(program);
        if self.entered.len() > STARTS_MAX
            && let Some(oldest) = self.entered.pop_front()
        {
            self.by_program.remove(&oldest);
        }
    }

    fn get(&self, program: (u32, u32)) -> Option<u64> {
        self.by_program.get(&program).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{STARTS_MAX, Starts, outcome};

    #[test]
    fn wait_statuses_are_told_apart() {
        assert_eq!(outcome(0), (Some(0), None, false));
        assert_eq!(outcome(0x2a00), (Some(42), None, false));
        assert_eq!(outcome(0xff00), (Some(255), None, false));
        assert_eq!(outcome(9), (None, Some(9), false));
        assert_eq!(outcome(0x8b), (None, Some(11), true));
    }

    #[test]
    fn starts_are_bounded_and_the_oldest_goes_first() {
        let mut starts = Starts::default();
        for pid in 0..=u32::try_from(STARTS_MAX).unwrap() {
            starts.put((pid, 1), u64::from(pid) + 7);
            starts.put((pid, 1), u64::from(pid) + 7);
        }
        assert_eq!(starts.by_program.len(), STARTS_MAX);
        assert_eq!(starts.entered.len(), STARTS_MAX);
        assert_eq!(
            (starts.get((0, 1)), starts.get((1, 1)), starts.get((1, 2))),
            (None, Some(8), None)
        );
    }
}
