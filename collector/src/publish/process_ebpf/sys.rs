//! Calls to the system that the libraries in use lack.
//!
//! `BPF_OBJ_GET_INFO_BY_FD` fills a `bpf_prog_info`, of which only a few numbers are read. The
//! kernel says how much of the struct it knows, so that a number it lacks is told from 0.
#![expect(unsafe_code, reason = "the system call has no safe wrapper for these numbers")]

use std::ffi::CStr;
use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use aya_obj::generated::{bpf_link_info, bpf_prog_info};

/// `BPF_OBJ_GET_INFO_BY_FD` of `enum bpf_cmd`.
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// `BPF_RAW_TRACEPOINT_OPEN` of `enum bpf_cmd`.
const RAW_TRACEPOINT_OPEN: libc::c_long = 17;

/// What the kernel knows of a loaded program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProgramCounts {
    /// Its name, filled up with zeros.
    name: [u8; 16],
    /// Times it was skipped because it was running already; `None` before kernel 5.12.
    pub(crate) skipped: Option<u64>,
    /// Runs, counted only while the kernel's statistics are switched on.
    pub(crate) runs: u64,
    /// Nanoseconds they took.
    pub(crate) run_ns: u64,
    /// Instructions that the verifier went through; `None` before kernel 5.16.
    pub(crate) verified: Option<u32>,
}

impl ProgramCounts {
    /// The program's name, which the kernel cuts at 15 bytes.
    #[cfg(test)]
    pub(crate) fn name(&self) -> String {
        let bytes: Vec<u8> = self.name.iter().copied().take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// `info` of `union bpf_attr`.
#[repr(C)]
struct InfoByFd {
    fd: u32,
    info_len: u32,
    info: u64,
}

/// `raw_tracepoint` of `union bpf_attr`.
#[repr(C)]
struct RawTracepoint {
    name: u64,
    program: u32,
    reserved: u32,
}

/// Attaches a program to a raw tracepoint, as long as what is returned is open. A BTF-typed program was
/// loaded for its tracepoint, and takes no name.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn open_raw_tracepoint(
    hook: Option<&CStr>,
    program: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    let request = RawTracepoint {
        name: hook.map_or(0, |hook| hook.as_ptr().expose_provenance() as u64),
        program: program.as_raw_fd().unsigned_abs(),
        reserved: 0,
    };
    // SAFETY: the struct and the name, which ends with a NUL, outlive the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            RAW_TRACEPOINT_OPEN,
            &raw const request,
            size_of::<RawTracepoint>() as libc::c_long,
        )
    };
    let fd = RawFd::try_from(answer).ok().filter(|fd| *fd >= 0);
    let fd = fd.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// The ids of a link and of its program; `None` when it is no link.
pub(crate) fn link_ids(link: BorrowedFd<'_>) -> Option<(u32, u32)> {
    // SAFETY: bpf_link_info is made of integers, for which zeros are values.
    let mut info: bpf_link_info = unsafe { std::mem::zeroed() };
    let mut request = InfoByFd {
        fd: u32::try_from(link.as_raw_fd()).ok()?,
        info_len: u32::try_from(size_of::<bpf_link_info>()).ok()?,
        info: (&raw mut info).expose_provenance() as u64,
    };
    // SAFETY: both structs outlive the call, the kernel writes at most info_len bytes to `info`,
    // and the lengths of the texts that `info` could point to are 0.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            OBJ_GET_INFO_BY_FD,
            &raw mut request,
            size_of::<InfoByFd>() as libc::c_long,
        )
    };
    // A program's descriptor would be answered, too, with numbers of another meaning.
    (answer == 0).then_some((info.id, info.prog_id))
}

/// Puts another file in the place of a descriptor, as who writes into the collector's memory could.
#[cfg(test)]
pub(crate) fn replace_descriptor(descriptor: RawFd) {
    let nothing = std::fs::File::open("/dev/null").expect("every Linux has it");
    // SAFETY: the owner of the descriptor finds another file, which it has to be ready for.
    let answer = unsafe { libc::dup2(nothing.as_raw_fd(), descriptor) };
    assert_eq!(answer, descriptor);
}

/// Asks the kernel for the counts of a program; `None` when it does not answer.
pub(crate) fn program_counts(program: BorrowedFd<'_>) -> Option<ProgramCounts> {
    // SAFETY: bpf_prog_info is made of integers, for which zeros are values.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut request = InfoByFd {
        fd: u32::try_from(program.as_raw_fd()).ok()?,
        info_len: u32::try_from(size_of::<bpf_prog_info>()).ok()?,
        info: (&raw mut info).expose_provenance() as u64,
    };
    // SAFETY: both structs outlive the call, the kernel writes at most info_len bytes to `info`,
    // and the lengths of the arrays that `info` could point to are 0.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            OBJ_GET_INFO_BY_FD,
            &raw mut request,
            size_of::<InfoByFd>() as libc::c_long,
        )
    };
    if answer != 0 {
        return None;
    }
    let known = |end: usize| request.info_len as usize >= end;
    let skipped_end = offset_of!(bpf_prog_info, recursion_misses) + size_of::<u64>();
    let verified_end = offset_of!(bpf_prog_info, verified_insns) + size_of::<u32>();
    Some(ProgramCounts {
        // C's characters have a sign on some architectures.
        name: info.name.map(|character| character.to_ne_bytes()[0]),
        skipped: known(skipped_end).then_some(info.recursion_misses),
        runs: info.run_cnt,
        run_ns: info.run_time_ns,
        verified: known(verified_end).then_some(info.verified_insns),
    })
}
