//! `processes`, from `/proc`.

use anyhow::Context;
use bygone_store::StateTable;
use bygone_store::sql::ScanFailure;
use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

use crate::host::proc::{ProcessFolder, Stat};
use crate::host::text::lossless;

const NANOSECONDS: u64 = 1_000_000_000;

/// Processes that run on this host.
#[derive(Clone, Debug, Default, PartialEq, StateTable)]
pub struct Processes {
    /// Process id.
    pub pid: u32,
    /// Name of the program, at most 15 bytes.
    pub name: String,
    /// Path of the program's file; empty for kernel threads, null when it cannot be read.
    pub path: Option<String>,
    /// The arguments, joined by spaces; empty for kernel threads, null when they cannot be read.
    pub cmdline: Option<String>,
    /// State: `R` running, `S` sleeping, `D` waiting for a device, `Z` ended and not reaped, `T`
    /// stopped, `t` stopped by a tracer, `I` idle kernel thread.
    pub state: String,
    /// Working directory; null when it cannot be read.
    pub cwd: Option<String>,
    /// Root directory; null when it cannot be read.
    pub root: Option<String>,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Saved user id.
    pub suid: u32,
    /// Saved group id.
    pub sgid: u32,
    /// Whether the program's file still is at `path`: 1 yes, 0 no, -1 unknown.
    pub on_disk: i32,
    /// Memory that cannot be paged out, in bytes.
    pub wired_size: u64,
    /// Memory in RAM, in bytes.
    pub resident_size: u64,
    /// Address space in bytes.
    pub total_size: u64,
    /// CPU time in user mode, in milliseconds.
    pub user_time: u64,
    /// CPU time in the kernel, in milliseconds.
    pub system_time: u64,
    /// Bytes read from disks; null when it cannot be read.
    pub disk_bytes_read: Option<u64>,
    /// Bytes written to disks, less those that were truncated before; null when it cannot be read.
    pub disk_bytes_written: Option<u64>,
    /// When it started, in seconds since the Unix epoch.
    pub start_time: i64,
    /// Process id of the parent.
    pub parent: u32,
    /// Process group.
    pub pgroup: u32,
    /// How many threads it has.
    pub threads: i32,
    /// Niceness, -20 (most favoured) to 19.
    pub nice: i32,
    /// Whether it runs elevated; null: Windows only.
    pub elevated_token: Option<i32>,
    /// Whether it is a secure process; null: Windows only.
    pub secure_process: Option<i32>,
    /// Its protection; null: Windows only.
    pub protection_type: Option<String>,
    /// Whether it is virtual; null: Windows only.
    pub virtual_process: Option<i32>,
    /// Time since its start; null: Windows only.
    pub elapsed_time: Option<i64>,
    /// How many handles it has; null: Windows only.
    pub handle_count: Option<i64>,
    /// CPU time as a share; null: Windows only.
    pub percent_processor_time: Option<i64>,
    /// Unique process id; null: macOS only.
    pub upid: Option<i64>,
    /// Unique process id of the parent; null: macOS only.
    pub uppid: Option<i64>,
    /// Type of the CPU it is made for; null: macOS only.
    pub cpu_type: Option<i32>,
    /// Subtype of that CPU; null: macOS only.
    pub cpu_subtype: Option<i32>,
    /// Whether it is translated for this CPU; null: macOS only.
    pub translated: Option<i32>,
    /// Path of its control group: in the unified hierarchy, or with version 1 in that of `pids`;
    /// null when it cannot be read.
    pub cgroup_path: Option<String>,
    /// POSIX session.
    pub session_id: u32,
    /// When it started, in nanoseconds since boot, rounded down to the clock tick that `/proc`
    /// shows (10 ms). A process's events have it exactly: they match by `pid` and
    /// `start_ns / 10000000`.
    pub start_ns: u64,
}

/// Reads all processes, in the order of their ids. One that ends meanwhile is left out.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn scan() -> Result<Vec<Processes>, ScanFailure> {
    let mut buffer = Vec::new();
    let clock = Clock::read();
    let mut rows = Vec::new();
    for entry in std::fs::read_dir("/proc").context("listing /proc")? {
        let entry = entry.context("listing /proc")?;
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid {
            rows.extend(row(pid, &clock, &mut buffer));
        }
    }
    rows.sort_unstable_by_key(|row: &Processes| row.pid);
    Ok(rows)
}

/// The row of one process, `None` when it has ended.
fn row(pid: u32, clock: &Clock, buffer: &mut Vec<u8>) -> Option<Processes> {
    let mut process = ProcessFolder::open(pid, buffer).ok()?;
    let stat = process.stat()?;
    let status = process.status()?;
    let disk_bytes = process.disk_bytes();
    let executable = process.executable();
    let start_ns = clock.nanoseconds(stat.start_ticks);
    let on_disk = executable.as_ref().and_then(|file| file.on_disk);
    let Stat { name, state, parent, group, session, nice, threads, .. } = stat;
    Some(Processes {
        pid,
        name,
        path: executable.map(|file| file.path),
        cmdline: process.arguments().map(joined),
        state: state.to_string(),
        cwd: process.link("cwd"),
        root: process.link("root"),
        uid: status.uids[0],
        gid: status.gids[0],
        euid: status.uids[1],
        egid: status.gids[1],
        suid: status.uids[2],
        sgid: status.gids[2],
        on_disk: on_disk.map_or(-1, i32::from),
        wired_size: status.locked_bytes,
        resident_size: status.resident_bytes,
        total_size: status.total_bytes,
        user_time: clock.milliseconds(stat.user_ticks),
        system_time: clock.milliseconds(stat.system_ticks),
        disk_bytes_read: disk_bytes.map(|(read, _)| read),
        disk_bytes_written: disk_bytes.map(|(_, written)| written),
        start_time: clock.real_seconds(start_ns),
        parent,
        pgroup: group,
        threads,
        nice,
        cgroup_path: process.control_group(),
        session_id: session,
        start_ns,
        ..Processes::default()
    })
}

/// The arguments as one line: their NULs become spaces, the last one goes.
fn joined(arguments: &[u8]) -> String {
    let arguments = arguments.strip_suffix(b"\0").unwrap_or(arguments);
    lossless(arguments).replace('\0', " ")
}

/// The host's clocks, read once per scan.
struct Clock {
    ticks_per_second: u64,
    /// Real time less time since boot.
    offset_ns: i64,
}

impl Clock {
    fn read() -> Self {
        let nanoseconds = |clock| {
            let time = clock_gettime(clock);
            time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
        };
        let offset_ns = nanoseconds(ClockId::Realtime) - nanoseconds(ClockId::Boottime);
        Self { ticks_per_second: clock_ticks_per_second().max(1), offset_ns }
    }

    fn nanoseconds(&self, ticks: u64) -> u64 {
        ticks.saturating_mul(NANOSECONDS / self.ticks_per_second)
    }

    fn milliseconds(&self, ticks: u64) -> u64 {
        ticks.saturating_mul(1000) / self.ticks_per_second
    }

    /// A time since boot as whole seconds since the Unix epoch.
    fn real_seconds(&self, boot_ns: u64) -> i64 {
        let boot_ns = i64::try_from(boot_ns).unwrap_or(i64::MAX);
        self.offset_ns.saturating_add(boot_ns).div_euclid(1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::process::{Command, Stdio};
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    fn of(pid: u32) -> Processes {
        scan().unwrap().into_iter().find(|row| row.pid == pid).unwrap()
    }

    #[test]
    fn a_child_is_what_was_started() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut child = Command::new("cat")
            .args(["-", "a b", ""])
            .current_dir("/usr")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let row = of(child.id());
        child.kill().unwrap();
        let zombie = of(child.id());
        child.wait().unwrap();
        let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();

        assert_eq!((row.name.as_str(), row.cmdline.as_deref()), ("cat", Some("cat - a b ")));
        assert_eq!((row.cwd.as_deref(), row.root.as_deref()), (Some("/usr"), Some("/")));
        assert!(row.path.unwrap().ends_with("/cat"));
        assert_eq!((row.parent, row.on_disk, row.threads), (std::process::id(), 1, 1));
        assert!(row.resident_size > 0 && row.total_size > row.resident_size);
        assert_eq!((row.uid, row.euid), (rustix::process::getuid().as_raw(), row.suid));
        let started = u64::try_from(row.start_time).unwrap();
        assert!((before - 1..=after).contains(&started), "{started} in {before}..={after}");
        assert_eq!((row.upid, row.handle_count), (None, None));
        // It has ended: what is left has no arguments and no memory.
        assert_eq!((zombie.pid, zombie.start_ns), (row.pid, row.start_ns));
        if zombie.state == "Z" {
            assert_eq!((zombie.cmdline.as_deref(), zombie.total_size), (Some(""), 0));
        }
    }

    /// What another parser makes of the same process, as text to compare.
    fn as_procfs_reads_it(process: &procfs::process::Process) -> procfs::ProcResult<String> {
        let (stat, status) = (process.stat()?, process.status()?);
        let arguments = process.cmdline()?.join(" ");
        Ok(format!(
            "{} {} {} {} {} {} {} {} {} {} {} {} {arguments}",
            stat.pid,
            stat.ppid,
            stat.pgrp,
            stat.session,
            status.ruid,
            status.euid,
            status.suid,
            status.rgid,
            status.egid,
            stat.num_threads,
            stat.nice,
            stat.starttime * 10_000_000,
        ))
    }

    fn as_row_has_it(row: &Processes) -> String {
        let cmdline = row.cmdline.as_deref().unwrap_or_default();
        format!(
            "{} {} {} {} {} {} {} {} {} {} {} {} {cmdline}",
            row.pid,
            row.parent,
            row.pgroup,
            row.session_id,
            row.uid,
            row.euid,
            row.suid,
            row.gid,
            row.egid,
            row.threads,
            row.nice,
            row.start_ns,
        )
    }

    #[test]
    fn rows_are_what_another_parser_reads() {
        let rows: HashMap<u32, Processes> =
            scan().unwrap().into_iter().map(|row| (row.pid, row)).collect();
        let (mut compared, mut differ) = (0, Vec::new());
        for process in procfs::process::all_processes().unwrap().flatten() {
            // Processes come, go and change between the two looks.
            let Ok(there) = as_procfs_reads_it(&process) else {
                continue;
            };
            let Some(row) = u32::try_from(process.pid).ok().and_then(|pid| rows.get(&pid)) else {
                continue;
            };
            let here = as_row_has_it(row);
            compared += 1;
            if here != there {
                differ.push((here, there));
            }
        }
        assert!(compared >= 2, "this process and its parent at least");
        assert!(differ.len() * 5 <= compared, "{} of {compared} differ: {differ:#?}", differ.len());
        assert!(rows.contains_key(&1) && rows.contains_key(&std::process::id()));
    }

    #[test]
    fn kernel_threads_have_no_file() {
        let rows = scan().unwrap();
        // Inside a container there may be none to see.
        for row in rows.iter().filter(|row| row.parent == 2 || row.pid == 2 && row.parent == 0) {
            if row.path.as_deref() == Some("") {
                assert_eq!((row.on_disk, row.total_size), (-1, 0), "{row:?}");
            }
        }
        let own = of(std::process::id());
        assert_eq!(own.path.as_deref(), std::env::current_exe().unwrap().to_str());
    }
}
