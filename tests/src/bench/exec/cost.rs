//! CPU time: of the BPF programs per life of a process, of the collector per event.
//!
//! Two runs, since the kernel's `bpf_stats`, which times each run of a program, costs time itself.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;

use super::Options;
use super::loss::Books;
use super::monitor::Monitor;
use super::report::Measure;
use super::workload::spawns;
use super::{monitor, process};
use crate::bench::print;

const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// The collector's CPU time is told in steps of 10 ms, so it is measured over so many times the
/// spawns of a pair.
const TIMES: u32 = 10;

pub(super) fn run(options: &Options, folder: &Path) -> anyhow::Result<Vec<Measure>> {
    let mut measures = in_kernel(options.spawns, &folder.join("kernel"))?;
    measures.extend(in_collector(options.spawns * TIMES, &folder.join("collector"))?);
    Ok(measures)
}

fn in_kernel(count: u32, folder: &Path) -> anyhow::Result<Vec<Measure>> {
    fs::create_dir(folder)?;
    let _stats = Stats::switch_on()?;
    let daemon = monitor::bygone(folder);
    process::settle(daemon.pid())?;
    let before = process::bpf_programs(daemon.pid())?;
    spawns(count)?;
    let after = process::bpf_programs(daemon.pid())?;
    let lives = f64::from(count);
    let mut all_us = 0.0;
    let mut programs = Vec::new();
    for (id, program) in after {
        let zero = process::BpfProgram::default();
        let earlier = before.get(&id).unwrap_or(&zero);
        let runs = program.runs.saturating_sub(earlier.runs) as f64;
        let run_us = program.run_ns.saturating_sub(earlier.run_ns) as f64 / 1e3;
        all_us += run_us;
        if runs > 0.0 {
            print(format_args!(
                "{:<32} {:.2} us a run, {:.2} runs per life",
                program.attached_to,
                run_us / runs,
                runs / lives
            ));
            let at = program.attached_to;
            programs.push(json!({ "at": at, "us_per_run": run_us / runs, "runs": runs }));
        }
    }
    anyhow::ensure!(!programs.is_empty(), "no BPF program ran: {}", daemon.log());
    let measure = Measure::new("BPF programs per life of a process", "us", all_us / lives);
    Ok(vec![measure.at_most(8.0).details(json!(programs))])
}

fn in_collector(count: u32, folder: &Path) -> anyhow::Result<Vec<Measure>> {
    fs::create_dir(folder)?;
    let running = Monitor::Bygone.start(folder)?;
    let monitor::Running::Bygone(daemon) = running else { anyhow::bail!("Bygone was started") };
    let before = process::cpu(daemon.pid())?;
    spawns(count)?;
    process::settle(daemon.pid())?;
    let cpu = process::cpu(daemon.pid())?.since(&before);
    let stopped = daemon.stop();
    let books = Books::read(&stopped.data_dir)?;
    let events = books.stored as f64;
    print(format_args!(
        "{events} events of {count} processes: {:.2} s of user time, {:.2} s in the kernel",
        cpu.user.as_secs_f64(),
        cpu.system.as_secs_f64()
    ));
    let per_event = |time: std::time::Duration| time.as_secs_f64() * 1e6 / events;
    Ok(vec![
        Measure::new("collector per event, user", "us", per_event(cpu.user)).at_most(10.0),
        Measure::new("collector per event, system", "us", per_event(cpu.system)),
        Measure::new(format!("of {events} events lost"), "events", books.lost as f64).at_most(0.0),
    ])
}

/// The kernel times BPF programs until this is dropped.
struct Stats(String);

impl Stats {
    fn switch_on() -> anyhow::Result<Self> {
        let before = fs::read_to_string(STATS).context(STATS)?;
        fs::write(STATS, "1").context(STATS)?;
        Ok(Self(before))
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        if let Err(error) = fs::write(STATS, self.0.trim()) {
            print(format_args!("{STATS} stays on: {error}"));
        }
    }
}
