//! What `/proc` says of a running process, as the event that tells of its program.
//!
//! Sources that learn of a process by its id alone use this. What is read may be later than what is
//! told: a process can have gone on to another program, or changed its ids or its own arguments. What
//! cannot be read is left out, never guessed.

use std::collections::HashMap;

use super::containers;
use super::proc::{ProcessFolder, Stat, TICK_NS};
use crate::events::{Credentials, ExecEvent, Namespaces, ProcessKey};

/// Bytes of arguments that are kept: as much as one of them may have (`MAX_ARG_STRLEN`).
const ARGUMENTS_MAX: usize = 128 * 1024;

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
/// left at 0, `snapshot` at false; the start is to the tick.
#[must_use]
pub fn exec_event(pid: u32, buffer: &mut Vec<u8>) -> Option<ExecEvent> {
    let mut folder = ProcessFolder::open(pid, buffer).ok()?;
    // The shortest lived first: a process that ends loses its file and its arguments before its ids.
    let executable = folder.executable();
    let file = folder.program_file();
    let (arguments, bytes) = match folder.arguments() {
        Some(all) => (Some(all.get(..ARGUMENTS_MAX).unwrap_or(all).to_vec()), all.len()),
        None => (None, 0),
    };
    let cwd = folder.link("cwd");
    let namespaces = namespaces(&folder);
    let cgroup_path = folder.control_group();
    let status = folder.status();
    let audit = folder.audit_ids();
    let stat = folder.stat().filter(|stat| !stat.has_ended())?;
    let kernel_thread = stat.is_kernel_thread;
    let no_program = executable.as_ref().is_some_and(|file| file.path.is_empty());
    // Of a process that ended while it was read there is nothing, not empty arguments.
    let arguments = arguments.filter(|bytes| !bytes.is_empty() || !no_program);
    Some(ExecEvent {
        process: ProcessKey { pid, start_ns: stat.start_ns() },
        tid: pid,
        parent: parent(stat.parent, stat.start_ns(), folder.into_buffer()),
        credentials: status.map_or(CREDENTIALS_UNKNOWN, |status| Credentials {
            uid: status.uids[0],
            euid: status.uids[1],
            suid: status.uids[2],
            fsuid: Some(status.uids[3]),
            gid: status.gids[0],
            egid: status.gids[1],
            sgid: status.gids[2],
            fsgid: Some(status.gids[3]),
            auid: audit.0,
            audit_session_id: audit.1,
        }),
        session_id: Some(stat.session).filter(|session| *session != 0),
        container: cgroup_path.as_deref().and_then(containers::of_cgroup),
        cgroup_path,
        namespaces,
        path: executable.map(|file| file.path).filter(|path| !path.is_empty()),
        file,
        cwd,
        arguments_bytes: bytes as u64,
        arguments_truncated: arguments.as_ref().is_none_or(|kept| kept.len() < bytes)
            && !kernel_thread,
        arguments,
        kernel_thread,
        ..ExecEvent::default()
    })
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
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut buffer = Vec::new();
        let exec = exec_event(child.id(), &mut buffer).unwrap();
        let listed = running(&mut buffer).unwrap().remove(&child.id()).unwrap();
        let path = std::fs::canonicalize("/bin/cat").unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(exec.arguments.as_deref(), Some(b"cat\0-\0a b\0".as_slice()));
        assert_eq!((exec.arguments_bytes, exec.arguments_truncated), (10, false));
        assert_eq!((exec.path.as_deref(), exec.cwd.as_deref()), (path.to_str(), Some("/usr")));
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
        assert_eq!(exec_event(child.id(), &mut buffer), None);
    }

    #[test]
    fn who_waits_to_be_reaped_does_not_run() {
        let mut child = Command::new("true").spawn().unwrap();
        let mut buffer = Vec::new();
        let ended = loop {
            let mut folder = ProcessFolder::open(child.id(), &mut buffer).unwrap();
            if folder.stat().unwrap().has_ended() {
                break exec_event(child.id(), &mut buffer);
            }
            std::thread::yield_now();
        };
        assert_eq!(ended, None);
        assert!(!running(&mut buffer).unwrap().contains_key(&child.id()));
        child.wait().unwrap();
    }
}
