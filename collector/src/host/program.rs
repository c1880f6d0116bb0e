//! What `/proc` says of a running process, as the event that tells of its program.
//!
//! Sources that learn of a process by its id alone use this. What is read may be later than what is
//! told: a process can have gone on to another program, or changed its ids or its own arguments. What
//! cannot be read is left out, never guessed.

use std::collections::HashMap;

use super::containers;
use super::proc::{ProcessFolder, Stat, Status, TICK_NS};
use crate::events::{Credentials, ExecEvent, Namespaces, ProcessKey};

/// Bytes of arguments and of the environment that are kept: as much as one of them may have
/// (`MAX_ARG_STRLEN`).
const TEXT_MAX: usize = 128 * 1024;

/// A user or group id that is not known: the kernel's own value for no id.
pub const ID_UNKNOWN: u32 = u32::MAX;

/// Credentials of which nothing is known.
pub const CREDENTIALS_UNKNOWN: Credentials = Credentials {
    uid: ID_UNKNOWN,
    euid: ID_UNKNOWN,
    suid: ID_UNKNOWN,
    fsuid: None,
    gid: ID_UNKNOWN,
    egid: ID_UNKNOWN,
    sgid: ID_UNKNOWN,
    fsgid: None,
    auid: None,
    audit_session_id: None,
};

/// A running process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Who it is; the start is that of `/proc`, to the tick.
    pub process: ProcessKey,
    /// Its main numbers.
    pub stat: Stat,
    /// Path of its program, `None` when it cannot be read or there is none.
    pub path: Option<String>,
}

/// What `/proc` keeps from this user, to be appended to what cannot be seen; empty when nothing.
/// Process 1 always runs and is root's.
#[must_use]
pub fn kept_from_this_user() -> &'static str {
    if std::fs::read("/proc/1/stat").is_err() {
        return "; processes of other users, which /proc hides";
    }
    match std::fs::read_link("/proc/1/exe") {
        Ok(_) => "",
        Err(_) => "; programs and folders of other users' processes",
    }
}

/// All processes that run, by id; those that only wait to be reaped are left out.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn running(buffer: &mut Vec<u8>) -> std::io::Result<HashMap<u32, Running>> {
    let mut all = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(running) = look(pid, buffer) {
            all.insert(pid, running);
        }
    }
    Ok(all)
}

fn look(pid: u32, buffer: &mut Vec<u8>) -> Option<Running> {
    let mut folder = ProcessFolder::open(pid, buffer).ok()?;
    let stat = folder.stat().filter(|stat| !stat.has_ended())?;
    let path = folder.executable().map(|file| file.path).filter(|path| !path.is_empty());
    Some(Running { process: ProcessKey { pid, start_ns: stat.start_ns() }, stat, path })
}

/// Start of a running or unreaped process, `None` when there is no such process.
#[must_use]
pub fn start_ns(pid: u32, buffer: &mut Vec<u8>) -> Option<u64> {
    Some(ProcessFolder::open(pid, buffer).ok()?.stat()?.start_ns())
}

/// Everything that is told of the process `pid`, `None` when there is none or it has ended. Times are
/// left at 0, `snapshot` at false; the start is to the tick. The environment only `with_environment`.
#[must_use]
pub fn exec_event(pid: u32, with_environment: bool, buffer: &mut Vec<u8>) -> Option<ExecEvent> {
    let mut folder = ProcessFolder::open(pid, buffer).ok()?;
    // The shortest lived first: a process that ends loses its file and its texts before its ids.
    let executable = folder.executable();
    let file = folder.program_file();
    let arguments = folder.arguments().map(Text::of);
    let environment = with_environment.then(|| folder.environment().map(Text::of)).flatten();
    let cwd = folder.link("cwd");
    let root = folder.link("root");
    let namespaces = namespaces(&folder);
    let status = folder.status();
    let (auid, audit_session_id) = folder.audit_ids();
    let cgroup_path = folder.control_group();
    let stat = folder.stat().filter(|stat| !stat.has_ended())?;
    let no_program = executable.as_ref().is_some_and(|file| file.path.is_empty());
    // Of a process that ended while it was read there is nothing, not empty arguments.
    let arguments = arguments.filter(|text| !text.kept.is_empty() || !no_program);
    let path = executable.map(|file| file.path).filter(|path| !path.is_empty());
    let credentials = status.map_or(CREDENTIALS_UNKNOWN, credentials);
    Some(ExecEvent {
        process: ProcessKey { pid, start_ns: stat.start_ns() },
        tid: pid,
        parent: parent(stat.parent, stat.start_ns(), folder.into_buffer()),
        credentials: Credentials { auid, audit_session_id, ..credentials },
        capabilities: status.map(|status| status.capabilities),
        tty: stat.terminal_name(),
        session_id: Some(stat.session).filter(|session| *session != 0),
        container: cgroup_path.as_deref().and_then(containers::of_cgroup),
        cgroup_path,
        namespaces,
        container_path: below(root.as_deref(), path.as_deref()),
        path,
        namespace_path: None,
        file,
        cwd,
        arguments_bytes: arguments.as_ref().map_or(0, |text| text.bytes),
        arguments_truncated: arguments.as_ref().is_none_or(Text::is_cut) && !stat.is_kernel_thread,
        arguments: arguments.map(|text| text.kept),
        environment_bytes: environment.as_ref().map(|text| text.bytes),
        environment_count: environment.as_ref().map(|text| text.words),
        environment_truncated: environment.as_ref().is_some_and(Text::is_cut),
        environment: environment.map(|text| text.kept),
        kernel_thread: stat.is_kernel_thread,
        ..ExecEvent::default()
    })
}

/// Words, each ended by a NUL.
struct Text {
    kept: Vec<u8>,
    /// How many bytes and words there are, also of what is not kept.
    bytes: u64,
    words: u64,
}

impl Text {
    fn of(all: &[u8]) -> Self {
        Self {
            kept: all.get(..TEXT_MAX).unwrap_or(all).to_vec(),
            bytes: all.len() as u64,
            words: all.split_inclusive(|byte| *byte == 0).count() as u64,
        }
    }

    fn is_cut(&self) -> bool {
        (self.kept.len() as u64) < self.bytes
    }
}

fn credentials(status: Status) -> Credentials {
    Credentials {
        uid: status.uids[0],
        euid: status.uids[1],
        suid: status.uids[2],
        fsuid: Some(status.uids[3]),
        gid: status.gids[0],
        egid: status.gids[1],
        sgid: status.gids[2],
        fsgid: Some(status.gids[3]),
        auid: None,
        audit_session_id: None,
    }
}

/// The path as seen from a root that is not the host's; `None` from the host's, or when it lies outside.
fn below(root: Option<&str>, path: Option<&str>) -> Option<String> {
    let inside = path?.strip_prefix(root.filter(|root| *root != "/")?)?;
    inside.starts_with('/').then(|| inside.to_owned())
}

/// The parent with its start. One that started after its child is another process that was given the
/// id; `None` then.
fn parent(pid: u32, child_start_ns: u64, buffer: &mut Vec<u8>) -> Option<ProcessKey> {
    if pid == 0 {
        return None;
    }
    let start_ns = start_ns(pid, buffer).filter(|start| *start <= child_start_ns + TICK_NS)?;
    Some(ProcessKey { pid, start_ns })
}

/// The namespaces, `None` when they cannot be read.
fn namespaces(folder: &ProcessFolder<'_>) -> Option<Namespaces> {
    Some(Namespaces {
        pid: folder.namespace("pid")?,
        mount: folder.namespace("mnt")?,
        network: folder.namespace("net")?,
        user: folder.namespace("user")?,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_is_told_as_it_was_started() {
        let mut child = Command::new("cat")
            .args(["-", "a b"])
            .current_dir("/usr")
            .env_clear()
            .env("GIVEN", "a b")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut buffer = Vec::new();
        // Until its arguments stand it is seen as a copy of this test.
        let exec = loop {
            let exec = exec_event(child.id(), true, &mut buffer).unwrap();
            if exec.arguments.as_ref().is_some_and(|all| all.starts_with(b"cat\0")) {
                break exec;
            }
            std::thread::yield_now();
        };
        let listed = running(&mut buffer).unwrap().remove(&child.id()).unwrap();
        let path = std::fs::canonicalize("/bin/cat").unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(exec.arguments.as_deref(), Some(b"cat\0-\0a b\0".as_slice()));
        assert_eq!((exec.arguments_bytes, exec.arguments_truncated), (10, false));
        assert_eq!((exec.path.as_deref(), exec.cwd.as_deref()), (path.to_str(), Some("/usr")));
        let environment = exec.environment.as_deref().unwrap();
        assert!(environment.starts_with(b"GIVEN=a b\0"), "{environment:?}");
        assert_eq!(exec.environment_bytes, Some(environment.len() as u64));
        assert_eq!(exec.container_path, None);
        let mut other = Vec::new();
        let mut folder = ProcessFolder::open(std::process::id(), &mut other).unwrap();
        assert_eq!(exec.cgroup_path, folder.control_group());
        let own = start_ns(std::process::id(), &mut buffer).unwrap();
        let parent = ProcessKey { pid: std::process::id(), start_ns: own };
        assert_eq!((exec.parent, exec.start_exact, exec.snapshot), (Some(parent), false, false));
        assert_eq!(exec.credentials.euid, rustix::process::geteuid().as_raw());
        let file = std::fs::metadata(&path).unwrap();
        let seen = exec.file.unwrap();
        assert_eq!((seen.inode, seen.device, seen.mode), (file.ino(), file.dev(), file.mode()));
        let namespace = std::fs::metadata("/proc/self/ns/mnt").unwrap().ino();
        assert_eq!(u64::from(exec.namespaces.unwrap().mount), namespace);
        assert_eq!((listed.process, listed.path), (exec.process, exec.path));
        // Root is shown it; without the right it is 0.
        assert_eq!(listed.stat.stack_start > 0, rustix::process::geteuid().is_root());
        assert_eq!(exec_event(child.id(), true, &mut buffer), None);
    }

    #[test]
    fn a_path_is_seen_from_a_root_below_which_it_lies() {
        let seen = |root, path| below(Some(root), Some(path));
        assert_eq!(seen("/srv/a", "/srv/a/bin/sh").as_deref(), Some("/bin/sh"));
        assert_eq!(seen("/srv/a", "/srv/ab/sh"), None);
        assert_eq!(seen("/", "/bin/sh"), None);
        assert_eq!(below(None, Some("/bin/sh")), None);
    }

    #[test]
    fn who_waits_to_be_reaped_does_not_run() {
        let mut child = Command::new("true").spawn().unwrap();
        let mut buffer = Vec::new();
        let ended = loop {
            let mut folder = ProcessFolder::open(child.id(), &mut buffer).unwrap();
            if folder.stat().unwrap().has_ended() {
                break exec_event(child.id(), true, &mut buffer);
            }
            std::thread::yield_now();
        };
        assert_eq!(ended, None);
        assert!(!running(&mut buffer).unwrap().contains_key(&child.id()));
        child.wait().unwrap();
    }
}
