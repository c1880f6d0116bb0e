//! Processes made as fast as it goes, by a process of its own: `exec-child WHAT SECONDS`, which
//! prints how many.

use std::process::Command;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use super::vfork::vfork;
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

/// Other systems have no `clone(2)`.
#[cfg(not(target_os = "linux"))]
fn vfork(_: &mut [u128]) -> anyhow::Result<()> {
    anyhow::bail!("the storm of vfork(2) is for Linux")
}
