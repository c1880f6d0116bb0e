//! What processes do to others, to the kernel, and to themselves.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::harness::{Recorded, quiet, record, run, sleeper};
use crate::events::{AccessAction, Action, ActionEvent, MemoryAccess, ProcessKey};
use crate::host::signals::SignalChoice;
use crate::publish::process_ebpf::ProcessEbpfConfig;

/// Runs a program of Python, which has the system calls as functions.
pub(super) fn python(program: &str) -> Command {
    let mut command = quiet("python3");
    command.args(["-c", program]);
    command
}

pub(super) fn of(recorded: &Recorded, pid: u32) -> Vec<&ActionEvent> {
    recorded.actions.iter().filter(|event| event.actor.pid == pid).collect()
}

pub(super) fn balanced(recorded: &Recorded, class: &str) {
    let of_class = |event: &&ActionEvent| event.action.class() == class;
    let rows = recorded.actions.iter().filter(of_class).count() as u64;
    assert_eq!(recorded.ledger(class), (rows, rows, 0), "{class}");
}

#[test]
fn fatal_signals_and_those_to_others_are_recorded() {
    let work = || {
        let mut victim = quiet("/bin/sleep").arg("3600").spawn().unwrap();
        let mut other = quiet("/bin/sleep").arg("3600").uid(65534).spawn().unwrap();
        let script =
            format!("kill -USR1 {}; kill -TERM {}; kill -CHLD $$", other.id(), victim.id());
        let (shell, status) = run(quiet("/bin/sh").args(["-c", &script]));
        assert!(status.success());
        (shell, victim.id(), victim.wait().unwrap(), other.id(), other.wait().unwrap())
    };
    let Some((recorded, (shell, victim, _, other, _))) =
        record(&ProcessEbpfConfig::default(), work)
    else {
        return;
    };
    let sent: Vec<_> = of(&recorded, shell)
        .into_iter()
        .map(|event| match &event.action {
            Action::Signal(signal) => {
                assert_eq!(event.path.as_deref(), recorded.exec(shell).path.as_deref());
                assert_eq!(signal.target.path.as_deref(), recorded.exec(victim).path.as_deref());
                let target = signal.target.process.unwrap();
                (target, signal.signal, signal.code, signal.target_uid, signal.delivered)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let key = |pid| recorded.exec(pid).process;
    let expected = [(key(other), 10, 0, 65534, true), (key(victim), 15, 0, 0, true)];
    assert_eq!(sent, expected);
    balanced(&recorded, "signal");
}

#[test]
fn all_signals_or_none_are_recorded_as_asked() {
    let work = || run(quiet("/bin/sh").args(["-c", "trap : USR1; kill -USR1 $$; kill -CHLD $$"])).0;
    for (signals, expected) in [(SignalChoice::All, vec![10, 17]), (SignalChoice::None, vec![])] {
        let config = ProcessEbpfConfig { signals, ..ProcessEbpfConfig::default() };
        let Some((recorded, shell)) = record(&config, work) else { return };
        let to_itself = |event: &&&ActionEvent| match &event.action {
            Action::Signal(signal) => signal.target.process.is_some_and(|to| to.pid == shell),
            _ => false,
        };
        let numbers: Vec<u32> = of(&recorded, shell)
            .iter()
            .filter(to_itself)
            .filter_map(|event| match &event.action {
                Action::Signal(signal) => Some(signal.signal),
                _ => None,
            })
            .collect();
        assert_eq!(numbers, expected, "{signals:?}");
    }
}

#[test]
fn tracing_and_reading_memory_name_the_target() {
    let program = "import ctypes, os, signal, sys\n\
                   libc = ctypes.CDLL(None, use_errno=True)\n\
                   pid = int(sys.argv[1])\n\
                   assert libc.ptrace(16, pid, 0, 0) == 0\n\
                   os.waitpid(pid, 0)\n\
                   assert libc.ptrace(17, pid, 0, 0) == 0\n\
                   libc.process_vm_readv(pid, None, 0, None, 0, 0)\n\
                   libc.ptrace(0x4206, 2**22 + 7, 0, 0)\n";
    let work = || {
        let mut victim = quiet("/bin/sleep").arg("3600").spawn().unwrap();
        let (tracer, status) = run(python(program).arg(victim.id().to_string()));
        victim.kill().unwrap();
        victim.wait().unwrap();
        assert!(status.success(), "{status}");
        (tracer, victim.id())
    };
    let Some((recorded, (tracer, victim))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    let key = recorded.exec(victim).process;
    let seen: Vec<(&str, Option<&str>, Option<ProcessKey>, bool)> = of(&recorded, tracer)
        .iter()
        .filter_map(|event| match &event.action {
            Action::Access(access) => {
                Some((access.call, access.request, access.target.process, access.result >= 0))
            }
            _ => None,
        })
        .collect();
    let expected = [
        ("ptrace", Some("PTRACE_ATTACH"), Some(key), true),
        ("process_vm_readv", None, Some(key), true),
        ("ptrace", Some("PTRACE_SEIZE"), None, false),
    ];
    assert_eq!(seen, expected);
    balanced(&recorded, "ptrace");
}

#[test]
fn opening_the_memory_of_another_names_it_whatever_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let program = "import os, sys\n\
                   pid, link = sys.argv[1:]\n\
                   memory = f'/proc/{pid}/mem'\n\
                   os.symlink(memory, link)\n\
                   os.open(memory, os.O_RDONLY)\n\
                   os.open(f'/proc/{pid}/task/{pid}/mem', os.O_WRONLY)\n\
                   os.open(link, os.O_RDWR)\n\
                   os.open('mem', os.O_RDONLY, dir_fd=os.open(f'/proc/{pid}', os.O_RDONLY))\n\
                   os.open('/proc/self/mem', os.O_RDWR)\n\
                   os.open(f'/proc/{pid}/maps', os.O_RDONLY)\n";
    let work = || {
        let mut victim = sleeper();
        let mut command = python(program);
        command.arg(victim.id().to_string()).arg(folder.path().join("link"));
        let (reader, status) = run(&mut command);
        victim.kill().unwrap();
        victim.wait().unwrap();
        assert!(status.success(), "{status}");
        (reader, victim.id())
    };
    let Some((recorded, (reader, victim))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    let opened: Vec<&AccessAction> = of(&recorded, reader)
        .into_iter()
        .filter_map(|event| match &event.action {
            Action::Access(access) => Some(access),
            _ => None,
        })
        .collect();
    let accesses: Vec<_> = opened.iter().map(|access| access.memory).collect();
    use MemoryAccess::{Read, ReadWrite, Write};
    assert_eq!(accesses, [Read, Write, ReadWrite, Read].map(Some));
    let exec = recorded.exec(victim);
    for access in opened {
        assert_eq!((access.request, access.target_id), (None, victim));
        assert_eq!(access.target.process, Some(exec.process));
        assert_eq!(access.target.path.as_deref(), exec.path.as_deref());
        assert!(access.call.starts_with("open") && access.result >= 3, "{access:?}");
    }
    balanced(&recorded, "ptrace");
}

#[test]
fn a_change_of_user_is_recorded_and_none_is_not() {
    let program = "import os\nos.setgid(os.getgid())\nos.setresgid(7, 8, 9)\nos.setuid(65534)\n";
    let work = || run(&mut python(program));
    let Some((recorded, (pid, status))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    assert!(status.success());
    let changes: Vec<_> = of(&recorded, pid)
        .iter()
        .filter_map(|event| match &event.action {
            Action::Credentials(change) => Some(change.clone()),
            _ => None,
        })
        .collect();
    let [groups, users] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((groups.call, groups.before.groups[0]), ("setresgid", 0));
    assert_eq!(groups.after.groups, [7, 8, 9]);
    assert_eq!((users.call, users.before.users, users.after.users), ("setuid", [0; 3], [65534; 3]));
    assert!(users.before.effective != 0 && users.after.effective == 0);
    balanced(&recorded, "credential");
}

#[test]
fn mounts_are_recorded_with_what_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o noexec of-the-test \"$0\" && umount \"$0\"";
    let work = || {
        run(quiet("/usr/bin/unshare").args(["--mount", "/bin/sh", "-c", script]).arg(folder.path()))
    };
    let Some((recorded, (pid, status))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    assert!(status.success(), "mounting needs root");
    let shell = recorded.exec(pid).process;
    let is_below = |event: &&ActionEvent| {
        let exec = recorded.execs.iter().rfind(|exec| exec.process == event.actor);
        exec.is_some_and(|exec| exec.parent == Some(shell))
    };
    let mounts: Vec<_> = recorded
        .actions
        .iter()
        .filter(is_below)
        .filter_map(|event| match &event.action {
            Action::Mount(mount) => Some(mount),
            _ => None,
        })
        .collect();
    let target = folder.path().to_str();
    let unmount = mounts.iter().find(|mount| mount.call == "umount2").unwrap();
    assert_eq!((unmount.target.as_deref(), unmount.result), (target, 0));
    // Newer versions of mount(8) make the mount by other calls and put it in place by move_mount.
    let mount = mounts.iter().find(|mount| ["mount", "move_mount"].contains(&mount.call)).unwrap();
    assert_eq!(mount.result, 0);
    if mount.call == "mount" {
        assert_eq!(
            (mount.target.as_deref(), mount.source.as_deref()),
            (target, Some("of-the-test"))
        );
        assert_eq!((mount.file_system.as_deref(), mount.flags & 8), (Some("tmpfs"), 8));
    }
    balanced(&recorded, "mount");
}

#[test]
fn executable_memory_and_files_in_memory_are_recorded() {
    let program = "import mmap, os\n\
                   os.memfd_create('of the test')\n\
                   mmap.mmap(-1, 8192, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n\
                   mmap.mmap(-1, 8192)\n";
    let work = || run(&mut python(program));
    let Some((recorded, (pid, status))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    assert!(status.success());
    let actions = of(&recorded, pid);
    let file = actions.iter().find_map(|event| match &event.action {
        Action::MemoryFile(file) => Some(file),
        _ => None,
    });
    let file = file.expect("the file is recorded");
    assert!(file.name.as_deref() == Some("of the test") && file.result >= 3, "{file:?}");
    let memory: Vec<_> = actions
        .iter()
        .filter_map(|event| match &event.action {
            Action::MemoryExec(memory) => Some((memory.call, memory.bytes, memory.writable)),
            _ => None,
        })
        .collect();
    assert!(memory.contains(&("mmap", 8192, true)), "{memory:?}");
    for class in ["memory_exec", "memfd"] {
        balanced(&recorded, class);
    }
}

#[test]
fn programs_of_others_are_recorded_and_the_collectors_own_are_not() {
    // A program of the socket filter type: two instructions that return 0.
    let program = "import ctypes, struct\n\
                   code = struct.pack('<BBhi', 0xb7, 0, 0, 0) + struct.pack('<BBhi', 0x95, 0, 0, 0)\n\
                   code = ctypes.create_string_buffer(code, 16)\n\
                   name = ctypes.create_string_buffer(b'GPL')\n\
                   attr = struct.pack('<IIQQIIQII16s', 1, 2, ctypes.addressof(code),\n\
                       ctypes.addressof(name), 0, 0, 0, 0, 0, b'of_the_test')\n\
                   libc = ctypes.CDLL(None)\n\
                   assert libc.syscall(321, 5, ctypes.c_char_p(attr), len(attr)) >= 0\n";
    let work = || run(&mut python(program));
    let Some((recorded, (pid, status))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    assert!(status.success() || !cfg!(target_arch = "x86_64"), "{status}");
    let loaded = of(&recorded, pid).into_iter().find_map(|event| match &event.action {
        Action::Bpf(bpf) => Some(bpf),
        _ => None,
    });
    let loaded = loaded.expect("the program is recorded");
    assert_eq!((loaded.command, loaded.program_type), ("BPF_PROG_LOAD", Some(1)));
    assert_eq!(loaded.name.as_deref(), Some("of_the_test"));
    let own = std::process::id();
    assert!(
        recorded
            .actions
            .iter()
            .all(|event| { event.actor.pid != own || !matches!(event.action, Action::Bpf(_)) })
    );
    let (seen, stored, lost) = recorded.ledger("bpf");
    assert!(seen > stored && lost == 0, "seen {seen}, stored {stored}, lost {lost}");
}
