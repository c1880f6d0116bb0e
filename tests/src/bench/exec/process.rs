//! What the kernel tells of another process: CPU time, memory, the BPF programs it holds.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;

use crate::bench::rest;

/// CPU time of all threads of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cpu {
    pub(super) user: Duration,
    pub(super) system: Duration,
}

impl Cpu {
    pub(super) fn total(&self) -> Duration {
        self.user + self.system
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }
}

/// CPU time so far, in the kernel's ticks of 10 ms. How it is divided into user and system is the
/// kernel's estimate from where its ticks fell.
pub(super) fn cpu(pid: u32) -> anyhow::Result<Cpu> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name, in parentheses, may hold spaces. Behind it follows the third field.
    let (_, fields) = text.rsplit_once(')').with_context(|| path.clone())?;
    let ticks = |field: usize| -> anyhow::Result<Duration> {
        let word = fields.split_whitespace().nth(field - 3).with_context(|| path.clone())?;
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_secs_f64(word.parse::<f64>()? / per_second as f64))
    };
    Ok(Cpu { user: ticks(14)?, system: ticks(15)? })
}

/// Waits until a process has used no CPU time for a while: what it does after its start is then
/// done. On a machine that is not quiet, it is not waited for ever.
pub(super) fn settle(pid: u32) -> anyhow::Result<()> {
    const QUIET: Duration = Duration::from_millis(300);
    const LOOKS_MAX: u32 = 20;
    let mut before = cpu(pid)?.total();
    for _ in 0..LOOKS_MAX {
        rest(QUIET);
        let now = cpu(pid)?.total();
        if now <= before + Duration::from_millis(10) {
            return Ok(());
        }
        before = now;
    }
    Ok(())
}

/// Memory of a process in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// Pages that no other process and no other mapping has: anonymous ones and those of files. A
    /// ring of BPF is mapped twice and thus none of them.
    pub(super) private: f64,
    /// All pages, each divided by how often it is mapped.
    pub(super) proportional: f64,
}

pub(super) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024.0).with_context(|| format!("{path}: {name}"))
    };
    Ok(Memory {
        private: bytes("Private_Clean")? + bytes("Private_Dirty")?,
        proportional: bytes("Pss")?,
    })
}

/// What a BPF program has done since `bpf_stats` is on.
#[derive(Clone, Debug, Default)]
pub(super) struct BpfProgram {
    /// The tracepoints it is attached to, separated by spaces; empty when there is none.
    pub(super) attached_to: String,
    pub(super) run_ns: u64,
    pub(super) runs: u64,
}

/// The BPF programs that a process holds, by their ids, from its descriptors' `fdinfo`. Programs
/// that are called by others have no runs of their own: their time is the caller's.
pub(super) fn bpf_programs(pid: u32) -> anyhow::Result<BTreeMap<u64, BpfProgram>> {
    let mut programs: BTreeMap<u64, BpfProgram> = BTreeMap::new();
    let folder = format!("/proc/{pid}/fdinfo");
    for entry in fs::read_dir(&folder).with_context(|| folder.clone())? {
        // The process may have closed it meanwhile.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim)
        };
        let number = |name| field(name).and_then(|word| word.parse::<u64>().ok());
        let Some(id) = number("prog_id") else { continue };
        let program = programs.entry(id).or_default();
        if let (Some(run_ns), Some(runs)) = (number("run_time_ns"), number("run_cnt")) {
            (program.run_ns, program.runs) = (run_ns, runs);
        }
        // Links of raw tracepoints name it; others at least say what they are.
        if let Some(attached_to) = field("tp_name").or_else(|| field("link_type")) {
            if !program.attached_to.is_empty() {
                program.attached_to.push(' ');
            }
            program.attached_to.push_str(attached_to);
        }
    }
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_cpu_time() {
        let pid = std::process::id();
        let memory = memory(pid).unwrap();
        assert!(memory.private > 0.0 && memory.proportional > memory.private, "{memory:?}");
        let before = cpu(pid).unwrap();
        while cpu(pid).unwrap().since(&before).total() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        assert!(bpf_programs(pid).unwrap().is_empty());
    }
}
