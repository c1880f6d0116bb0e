//! `vfork(2)`, which is Linux's here.
#![expect(
    unsafe_code,
    reason = "`vfork` is the fastest way to make a process, and has no safe form"
)]

use std::ffi::{c_int, c_void};
use std::io;

/// A process that shares this one's memory, as after `vfork(2)`, ends at once, and is waited for.
/// `clone` rather than `vfork`: the child has a stack of its own, and nothing returns twice.
pub(super) fn vfork(stack: &mut [u128]) -> anyhow::Result<()> {
    extern "C" fn end(_: *mut c_void) -> c_int {
        0
    }
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let top = stack.as_mut_ptr_range().end.cast::<c_void>();
    // SAFETY: `top` is the aligned end of a stack that is borrowed until the child has ended, since
    // `CLONE_VFORK` stops this thread until then. What runs on it takes no argument, touches no
    // memory and returns, whereupon libc ends the child.
    let pid = unsafe { libc::clone(end, top, flags, std::ptr::null_mut()) };
    anyhow::ensure!(pid > 0, "clone: {}", io::Error::last_os_error());
    let pid = rustix::process::Pid::from_raw(pid);
    rustix::process::waitpid(pid, rustix::process::WaitOptions::empty())?;
    Ok(())
}
