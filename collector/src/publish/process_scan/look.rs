//! What the kernel says of all tasks together.

use std::fs;
use std::path::Path;

/// The pid namespace that the kernel's own count is of: `PROC_PID_INIT_INO`,
/// <https://github.com/torvalds/linux/blob/v6.12/include/linux/proc_ns.h#L46>.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Processes and threads created since boot, as `/proc/stat` counts them. `None` where it counts
/// others than can be looked at, in a pid namespace of its own.
pub(super) fn tasks_created() -> Option<u64> {
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    if namespace != Path::new(FIRST_PID_NAMESPACE) {
        return None;
    }
    created_in(&fs::read_to_string("/proc/stat").ok()?)
}

fn created_in(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("processes "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_and_grows() {
        let stat = "cpu  1 2 3\nbtime 7\nprocesses 4711\nprocs_running 2\n";
        assert_eq!(created_in(stat), Some(4711));
        assert_eq!(created_in("btime 7\n"), None);
        let before = tasks_created();
        std::thread::spawn(|| ()).join().unwrap();
        let after = tasks_created();
        // In a pid namespace of its own there is no count.
        assert!(after > before || after.is_none(), "{before:?} {after:?}");
    }
}
