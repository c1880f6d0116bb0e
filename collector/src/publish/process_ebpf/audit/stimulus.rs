//! What the self-audit does, in a process of its own: for each class of event something without
//! effect on anybody else.
//!
//! It says which it could do: a call that a filter of system calls or a security module forbids is not
//! seen where system calls are watched, or is another one than was meant.
#![expect(unsafe_code, reason = "system calls that are to fail have no safe wrappers")]

use std::io::Write as _;
use std::os::unix::process::parent_id;
use std::process::ExitCode;

use caps::CapSet;
use rustix::fs::MemfdFlags;
use rustix::process::Signal;

use crate::events::Action;

/// The argument by which the program knows that it is to be the stimulus.
pub const WORD: &str = "bygone-self-audit";

/// Name of the file in memory that the stimulus of a collector makes.
fn file_name(collector: u32) -> String {
    format!("{WORD}-{collector}")
}

/// Where it unmounts what is not there.
fn mount_point(collector: u32) -> String {
    format!("/{WORD}/{collector}")
}

/// No process has this id: Linux gives none above 4,194,304.
const NO_PROCESS: i32 = i32::MAX;

/// Memory that is not there: the last page below 64 KiB, where the kernel lets nobody map any.
const NO_MEMORY: usize = 0xf000;
const PAGE_BYTES: usize = 4096;

const LINK_CREATE: libc::c_long = 28;

/// Whether an act of the process `pid`, which a collector started, is one of those below.
pub(super) fn is_act(action: &Action, pid: u32, collector: u32) -> bool {
    match action {
        Action::MemoryFile(file) => file.name == Some(file_name(collector)),
        Action::MemoryExec(memory) => {
            memory.call == "mprotect" && memory.address == NO_MEMORY as u64
        }
        Action::Access(access) => access.target_id == NO_PROCESS.unsigned_abs(),
        Action::Mount(mount) => {
            mount.call == "umount2" && mount.target == Some(mount_point(collector))
        }
        Action::Bpf(bpf) => bpf.command == "BPF_LINK_CREATE" && bpf.result < 0,
        Action::Credentials(change) => change.call == "capset" && change.after.effective == 0,
        Action::Signal(signal) => {
            signal.signal == libc::SIGKILL.unsigned_abs()
                && signal.target.process.is_some_and(|target| target.pid == pid)
        }
        Action::Module(_) | Action::Image(_) => false,
    }
}

/// Something harmless, which says whether it was done as it was meant.
type Deed = fn() -> bool;

/// Does all of it, says so on standard output, and ends the process by SIGKILL. It returns only when that
/// is not allowed.
pub fn stimulate() -> ExitCode {
    let deeds: [(&str, Deed); 6] = [
        ("memfd", make_file_in_memory),
        ("memory_exec", make_no_memory_executable),
        ("ptrace", trace_no_process),
        ("mount", unmount_nothing),
        ("bpf", attach_no_program),
        ("credential", give_up_capabilities),
    ];
    let mut said = String::new();
    for (class, deed) in deeds {
        if deed() {
            said.push_str(&format!(" did:{class} "));
        }
    }
    // Before the signal, since nothing can be said after it.
    said.push_str(" did:signal \n");
    let mut output = std::io::stdout();
    let written = output.write_all(said.as_bytes()).and_then(|()| output.flush());
    if written.is_ok() {
        // A process may always end itself; if not, the audit is undecided.
        let _refused = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    }
    ExitCode::FAILURE
}

fn make_file_in_memory() -> bool {
    rustix::fs::memfd_create(file_name(parent_id()), MemfdFlags::CLOEXEC).is_ok()
}

fn make_no_memory_executable() -> bool {
    let address = std::ptr::without_provenance_mut::<libc::c_void>(NO_MEMORY);
    // SAFETY: nothing is mapped there, so that the call changes nothing.
    let answer = unsafe { libc::mprotect(address, PAGE_BYTES, libc::PROT_READ | libc::PROT_EXEC) };
    answer != 0 && error() == libc::ENOMEM
}

fn trace_no_process() -> bool {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: there is no such process, so that the call changes nothing.
    let answer = unsafe { libc::ptrace(libc::PTRACE_ATTACH, NO_PROCESS, nothing, nothing) };
    answer != 0 && error() == libc::ESRCH
}

fn unmount_nothing() -> bool {
    let Ok(path) = std::ffi::CString::new(mount_point(parent_id())) else { return false };
    // SAFETY: the path ends with a NUL, and nothing is mounted there.
    let answer = unsafe { libc::umount2(path.as_ptr(), 0) };
    answer != 0 && error() == libc::ENOENT
}

fn attach_no_program() -> bool {
    let mut attributes = [0_u32; 16];
    // The program: there is none with this descriptor.
    attributes[0] = u32::MAX;
    // SAFETY: the kernel reads as many bytes as the array has, and finds no program.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            LINK_CREATE,
            attributes.as_ptr(),
            size_of_val(&attributes) as libc::c_long,
        )
    };
    answer != 0 && error() == libc::EBADF
}

fn give_up_capabilities() -> bool {
    let has_some = caps::read(None, CapSet::Effective).is_ok_and(|set| !set.is_empty());
    has_some && caps::clear(None, CapSet::Effective).is_ok()
}

fn error() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
