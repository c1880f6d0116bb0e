//! How much longer work takes while something records, in pairs: with and without, in turns.
//!
//! In each pair the same work is done twice, once with the program that records and once without
//! any, every other pair in the opposite order. Each side begins with a hundred processes that are not
//! measured. The difference of a pair is in percent of its time without; the median of all counts. What
//! else a machine does lengthens some of the processes by half, for a tenth of a second or for several:
//! beside the time of all there is the time that one in ten stays below, on which that tells less.
//! A program is started anew for each pair, and what it does after its start is waited for.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::Options;
use super::monitor::{self, Monitor};
use super::report::Measure;
use super::statistics::{Estimate, deviation, estimate, median};
use super::workload::{marked, spawns, tree};
use crate::bench::{print, rest};

const WARM_UP: u32 = 100;

/// How long the machine rests before each side.
const REST: Duration = Duration::from_millis(300);

/// Seconds that the work took, without and with.
#[derive(Clone, Copy, Debug)]
struct Pair {
    without: f64,
    with: f64,
}

impl Pair {
    fn percent(self) -> f64 {
        (self.with - self.without) / self.without * 100.0
    }
}

/// All pairs of one program.
struct Measured {
    monitor: Monitor,
    spawns: Vec<Pair>,
    /// Of one of the fast processes of each side of `spawns`.
    fast: Vec<Pair>,
    trees: Vec<Pair>,
    /// Execs of the first work that it did not record.
    unrecorded: i64,
}

pub(super) fn run(options: &Options, folder: &Path) -> anyhow::Result<Vec<Measure>> {
    let mut all: Vec<Measured> = Vec::new();
    for monitor in Monitor::ALL {
        match monitor.absent() {
            None => all.push(measured(monitor)),
            Some(why) => print(format_args!("{} is left out: {why}", monitor.name())),
        }
    }
    let at_rest = monitor::audit_is_at_rest();
    // auditd at the end, for what it leaves behind in the kernel.
    let (auditd, others): (Vec<_>, Vec<_>) =
        all.iter_mut().partition(|one| one.monitor == Monitor::Auditd);
    for mut together in [others, auditd] {
        for index in 0..options.pairs {
            for measured in &mut together {
                pair(measured, options.spawns, index % 2 == 1, folder)?;
            }
        }
    }
    if all.iter().any(|one| one.monitor == Monitor::Auditd) {
        monitor::audit_rests(at_rest)?;
    }
    let pairs = options.pairs;
    let spawn_name =
        format!("{} posix_spawn of /bin/true, {pairs} pairs: longer by", options.spawns);
    let spawn = overhead(&spawn_name, &all, |one| &one.spawns);
    let bygone = spawn.estimate(Monitor::Bygone).unwrap_or(Estimate::exact(f64::NAN));
    let spawn = spawn.at_most(3.0).target("interval <= 5 %", bygone.high <= 5.0);
    let execs = i64::from(options.spawns) * i64::try_from(options.pairs)?;
    let unrecorded = all.iter().map(|one| (one.monitor, Estimate::exact(one.unrecorded as f64)));
    Ok(vec![
        a_quarter(spawn),
        a_quarter(overhead(
            &format!("the tenth percentile of these, {pairs} pairs: longer by"),
            &all,
            |one| &one.fast,
        )),
        a_quarter(overhead(
            &format!("a tree like a build, {pairs} pairs: longer by"),
            &all,
            |one| &one.trees,
        )),
        Measure::of(format!("of {execs} execs not recorded"), "execs", unrecorded.collect())
            .at_most(0.0),
    ])
}

const fn measured(monitor: Monitor) -> Measured {
    Measured { monitor, spawns: Vec::new(), fast: Vec::new(), trees: Vec::new(), unrecorded: 0 }
}

fn pair(
    measured: &mut Measured,
    count: u32,
    with_first: bool,
    folder: &Path,
) -> anyhow::Result<()> {
    let mut sides = [[0.0; 3]; 2];
    for with in [with_first, !with_first] {
        rest(REST);
        let running = if with { Some(measured.monitor.start(folder)?) } else { None };
        for _ in 0..WARM_UP {
            marked("warm-up")?;
        }
        let since_ns = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let spawned = spawns(count)?;
        sides[usize::from(with)] = [spawned.all, spawned.fast, tree(folder)?.as_secs_f64()];
        if let Some(running) = running {
            measured.unrecorded += i64::from(count) - i64::try_from(running.stop(since_ns)?)?;
        }
    }
    let [without, with] = sides;
    let of = |index: usize| Pair { without: without[index], with: with[index] };
    let [spawns, fast, trees] = [0, 1, 2].map(of);
    measured.spawns.push(spawns);
    measured.fast.push(fast);
    measured.trees.push(trees);
    print(format_args!(
        "{:<20} pair {:>3}: spawns {:.3} s, {:+.2} %; a fast one {:+.2} %; tree {:.3} s, {:+.2} %",
        measured.monitor.name(),
        measured.spawns.len(),
        spawns.without,
        spawns.percent(),
        fast.percent(),
        trees.without,
        trees.percent(),
    ));
    Ok(())
}

fn overhead(name: &str, all: &[Measured], pairs: fn(&Measured) -> &Vec<Pair>) -> Measure {
    let mut estimates = Vec::new();
    let mut details = Vec::new();
    for one in all {
        let percents: Vec<f64> = pairs(one).iter().map(|pair| pair.percent()).collect();
        let without: Vec<f64> = pairs(one).iter().map(|pair| pair.without).collect();
        let with: Vec<f64> = pairs(one).iter().map(|pair| pair.with).collect();
        print(format_args!(
            "{name}: {} {} pairs, {:.4} s without (median), sd of a pair {:.1} %",
            one.monitor.name(),
            percents.len(),
            median(&without),
            deviation(&percents),
        ));
        estimates.push((one.monitor, estimate(&percents)));
        let of = one.monitor.name();
        details.push(json!({ "of": of, "without_s": without, "with_s": with }));
    }
    Measure::of(name, "%", estimates).details(json!(details))
}

/// Notes the target beside bpftrace, where that was measured.
fn a_quarter(measure: Measure) -> Measure {
    match (measure.estimate(Monitor::Bygone), measure.estimate(Monitor::Execsnoop)) {
        (Some(bygone), Some(execsnoop)) => {
            measure.target("<= 1/4 of bpftrace's", bygone.value <= execsnoop.value / 4.0)
        }
        _ => measure,
    }
}
