//! Arguments of processes that ran before the probes, from `/proc`.
//!
//! **Invariant:** arguments are given only when the process they were read from is the one asked
//! for: same start, same program file, after the read.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use bygone_probe_abi::ARGUMENTS_MAX;

use crate::events::ExecEvent;

/// Nanoseconds in a unit of the start time in `/proc/PID/stat`: the kernel's `USER_HZ` is 100 on
/// every architecture that Bygone runs on.
const TICK_NS: u64 = 10_000_000;

/// Fills in the arguments of `exec`, a snapshot, unless they cannot be told for certain.
pub(crate) fn add_arguments(exec: &mut ExecEvent) {
    if exec.kernel_thread {
        return;
    }
    let Some((bytes, whole)) = read_cmdline(exec.process.pid) else {
        return;
    };
    if !is_same(exec) {
        return;
    }
    exec.arguments_truncated = !whole;
    if whole {
        // The process may have rewritten its arguments since exec.
        exec.arguments_bytes = bytes.len() as u64;
    }
    exec.arguments = Some(bytes);
}

/// The arguments, and whether these are all.
fn read_cmdline(pid: u32) -> Option<(Vec<u8>, bool)> {
    let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    let mut bytes = Vec::new();
    file.take(ARGUMENTS_MAX as u64 + 1).read_to_end(&mut bytes).ok()?;
    let whole = bytes.len() <= ARGUMENTS_MAX;
    bytes.truncate(ARGUMENTS_MAX);
    Some((bytes, whole))
}

fn is_same(exec: &ExecEvent) -> bool {
    let pid = exec.process.pid;
    let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else {
        return false;
    };
    if start_tick(&stat) != Some(exec.process.start_ns / TICK_NS) {
        return false;
    }
    let inode = exec.file.map(|file| file.inode);
    let Ok(program) = std::fs::metadata(format!("/proc/{pid}/exe")) else {
        return false;
    };
    inode.is_none_or(|inode| inode == program.ino())
}

/// The 22nd field of `/proc/PID/stat`. The second, the name, may hold spaces and parentheses.
fn start_tick(stat: &[u8]) -> Option<u64> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(after_name + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{read_cmdline, start_tick};

    #[test]
    fn the_start_is_found_behind_a_hostile_name() {
        let stat = b"7 (a) b ) 1 (x) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1000 5\n";
        assert_eq!(start_tick(stat), Some(4242));
        assert_eq!(start_tick(b"7 (a) S 1 2"), None);
        assert_eq!(start_tick(b""), None);
    }

    #[test]
    fn own_arguments_are_read() {
        let (bytes, _) = read_cmdline(std::process::id()).unwrap();
        let first = std::env::args_os().next().unwrap();
        assert!(bytes.starts_with(first.as_encoded_bytes()));
    }
}
