//! Processes made as fast as it goes, by a process of its own: `exec-child WHAT SECONDS`, which
//! prints how many.

#![expect(
    unsafe_code,
    reason = "`vfork` is the fastest way to make a process, and has no safe form"
)]

use std::ffi::{c_int, c_void};
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::bench::print;

/// Bytes of the stack of a process that shares its parent's memory and only ends.
const STACK_BYTES: usize = 64 * 1024;

/// How a storm makes processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `posix_spawn` of `/bin/true`: a fork, an exec and an exit.
    Spawn,
    /// `vfork` and `_exit`: a fork and an exit.
    Vfork,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Vfork => "vfork",
        }
    }

    /// Events of the life of one of its processes.
    pub(super) const fn events(self) -> u64 {
        match self {
            Self::Spawn => 3,
            Self::Vfork => 2,
        }
    }
}

/// Makes processes, one after the other, for so many seconds.
pub(super) fn child(arguments: &[String]) -> anyhow::Result<()> {
    let [what, seconds] = arguments else { anyhow::bail!("what, and how many seconds?") };
    let (started, lasts) = (Instant::now(), Duration::from_secs_f64(seconds.parse()?));
    let mut stack = vec![0_u128; STACK_BYTES / 16];
    let mut lives: u64 = 0;
    while started.elapsed() < lasts {
        match what.as_str() {
            "spawn" => {
                let status = Command::new("/bin/true").status()?;
                anyhow::ensure!(status.success(), "/bin/true failed");
            }
            "vfork" => vfork(&mut stack)?,
            _ => anyhow::bail!("no such storm: {what}"),
        }
        lives += 1;
    }
    print(format_args!("{lives}"));
    Ok(())
}

/// A process that shares this one's memory, as after `vfork(2)`, ends at once, and is waited for.
/// `clone` rather than `vfork`: the child has a stack of its own, and nothing returns twice.
fn vfork(stack: &mut [u128]) -> anyhow::Result<()> {
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
