//! Against the running kernel.

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use super::*;
use crate::events::{
    CollectorEvent, GapReason, LedgerEntry, Noticed, ProcessEvent, ProcessSummaryEvent,
};
use crate::host::exclude::Exclusions;
use crate::publish::{Batch, Events};

/// A reader whose rounds the test makes.
struct Rounds {
    reader: Reader,
    sink: Sink,
    batches: Receiver<Batch>,
    processes: Vec<ProcessEvent>,
    summaries: Vec<ProcessSummaryEvent>,
    collector: Vec<CollectorEvent>,
}

impl Rounds {
    /// `None`, with a word, where the kernel does not offer the source.
    fn start(buffer_bytes: u32) -> Option<Self> {
        Self::start_with(ProcessConnectorConfig {
            buffer_bytes,
            ..ProcessConnectorConfig::default()
        })
    }

    fn start_with(config: ProcessConnectorConfig) -> Option<Self> {
        let source = match ProcessConnector::attach(&config) {
            Ok(source) => source,
            Err(error) => {
                let words = format!("{:#}", anyhow::Error::from(error));
                assert!(std::env::var_os("CI").is_none(), "no proc connector: {words}");
                eprintln!("passed over: {words}");
                return None;
            }
        };
        let (sink, batches) = sync_channel(1024);
        let ProcessConnector { socket, boot, lives, privacy, selector, early, .. } = source;
        let reader = Reader::new(socket, boot, lives, privacy, selector, &early);
        let (processes, summaries, collector) = (Vec::new(), Vec::new(), Vec::new());
        Some(Self { reader, sink, batches, processes, summaries, collector })
    }

    fn turn(&mut self) {
        self.reader.turn(&self.sink).unwrap().unwrap();
        self.keep();
    }

    fn keep(&mut self) {
        for batch in self.batches.try_iter() {
            match batch.events {
                Events::Process(events) => self.processes.extend(events),
                Events::Collector(events) => self.collector.extend(events),
                Events::Summary(events) => self.summaries.extend(events),
                Events::File(_) | Events::Action(_) | Events::Executable(_) => {
                    panic!("no file events come from here")
                }
            }
        }
    }

    /// Makes rounds until `condition` holds.
    fn until<T>(&mut self, what: &str, condition: impl Fn(&[ProcessEvent]) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            self.turn();
            if let Some(value) = condition(&self.processes) {
                return value;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Makes the last rounds; gives the sums of the ledger: seen, stored, filtered and lost.
    fn end(mut self) -> ([u64; 4], Vec<CollectorEvent>) {
        self.reader.end(&self.sink).unwrap().unwrap();
        self.keep();
        let mut sums = [0; 4];
        for event in &self.collector {
            if let CollectorEvent::Ledger(entry) = event {
                assert_eq!(entry.seen, entry.stored + entry.filtered + entry.merged + entry.lost);
                let counts = [entry.seen, entry.stored, entry.filtered, entry.lost];
                sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
        }
        (sums, self.collector)
    }
}

/// A process that waits.
fn cat() -> Child {
    Command::new("cat").stdin(Stdio::piped()).spawn().unwrap()
}

/// Whether it has become cat and waits for something to read.
fn is_waiting(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains("(cat) S")
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn storm(count: usize) {
    for _ in 0..count {
        assert!(Command::new("true").status().unwrap().success());
    }
}

fn exec_of(events: &[ProcessEvent], pid: u32) -> Option<crate::events::ExecEvent> {
    events.iter().find_map(|event| match event {
        ProcessEvent::Exec(exec) if exec.process.pid == pid => Some((**exec).clone()),
        _ => None,
    })
}

fn exit_of(events: &[ProcessEvent], pid: u32) -> Option<crate::events::ExitEvent> {
    events.iter().find_map(|event| match event {
        ProcessEvent::Exit(exit) if exit.process.pid == pid => Some(exit.clone()),
        _ => None,
    })
}

#[test]
fn a_life_is_told_from_fork_to_exit() {
    let Some(mut rounds) = Rounds::start(8 << 20) else { return };
    let mut child = cat();
    let pid = child.id();
    let exec = rounds.until("the exec", |events| exec_of(events, pid));
    assert!(exec.path.as_ref().is_some_and(|path| path.ends_with("/cat")), "{exec:?}");
    assert_eq!(exec.arguments.as_deref(), Some(b"cat\0".as_slice()));
    assert!(!exec.snapshot && !exec.start_exact);
    assert_eq!(exec.parent.map(|parent| parent.pid), Some(std::process::id()));
    kill(&mut child);
    let exit = rounds.until("the exit", |events| exit_of(events, pid));
    assert_eq!((exit.signal, exit.exit_code, exit.noticed), (Some(9), None, Noticed::Told));
    assert_eq!((exit.process, exit.path), (exec.process, exec.path));
    let fork = rounds.processes.iter().find_map(|event| match event {
        ProcessEvent::Fork(fork) if fork.process.pid == pid => Some(fork),
        _ => None,
    });
    let fork = fork.unwrap();
    assert_eq!((fork.process, fork.parent), (exec.process, exec.parent));
    assert!(fork.time_ns < exec.time_ns && exec.time_ns < exit.time_ns);
    let own = std::fs::canonicalize("/proc/self/exe").unwrap();
    assert_eq!(fork.path.as_deref(), own.to_str());
}

#[test]
fn who_ran_before_is_found_once() {
    let mut before = cat();
    let Some(mut rounds) = Rounds::start(8 << 20) else { return kill(&mut before) };
    let pid = before.id();
    let found = rounds.until("the snapshot", |events| exec_of(events, pid));
    assert!(found.snapshot, "{found:?}");
    kill(&mut before);
    let exit = rounds.until("the exit", |events| exit_of(events, pid));
    assert_eq!(exit.process, found.process);
    let is_its = |event: &&ProcessEvent| match event {
        ProcessEvent::Exec(exec) => exec.process.pid == pid,
        ProcessEvent::Fork(fork) => fork.process.pid == pid,
        ProcessEvent::Exit(_) => false,
    };
    assert_eq!(rounds.processes.iter().filter(is_its).count(), 1);
}

#[test]
fn a_program_that_another_follows_at_once_is_not_told_as_that() {
    let Some(mut rounds) = Rounds::start(8 << 20) else { return };
    let script = "exec sh -c 'exec cat'";
    let mut child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    while !is_waiting(pid) {
        std::thread::yield_now();
    }
    // All three are in the socket now, and /proc shows the last.
    let execs = |events: &[ProcessEvent]| -> Vec<Option<String>> {
        let path = |event: &ProcessEvent| match event {
            ProcessEvent::Exec(exec) if exec.process.pid == pid => Some(exec.path.clone()),
            _ => None,
        };
        events.iter().filter_map(path).collect()
    };
    let paths =
        rounds.until("the execs", |events| Some(execs(events)).filter(|all| all.len() == 3));
    kill(&mut child);
    assert_eq!(paths[..2], [None, None]);
    assert!(paths[2].as_ref().is_some_and(|path| path.ends_with("/cat")), "{paths:?}");
}

#[test]
fn a_storm_into_a_small_buffer_is_counted_to_the_last() {
    const STORM: usize = 500;
    let Some(rounds) = Rounds::start(65_536) else { return };
    storm(STORM);
    let ([seen, stored, filtered, lost], collector) = rounds.end();
    assert_eq!(seen, stored + filtered + lost);
    // A fork, an exec and an exit each.
    assert!(lost > 0 && seen >= 3 * STORM as u64, "{seen} seen, {lost} lost");
    let told = collector.iter().filter_map(|event| match event {
        CollectorEvent::Gap(gap) => {
            assert_eq!(gap.reason, GapReason::SourceOverflow);
            gap.lost
        }
        _ => None,
    });
    assert_eq!(told.sum::<u64>(), lost);
}

#[test]
fn without_a_loss_every_event_of_a_storm_is_stored() {
    const STORM: usize = 500;
    let Some(mut rounds) = Rounds::start(64 << 20) else { return };
    let pids: Vec<u32> = (0..STORM)
        .map(|_| {
            let mut child = Command::new("true").spawn().unwrap();
            child.wait().unwrap();
            child.id()
        })
        .collect();
    let last = pids[STORM - 1];
    rounds.until("the last exit", |events| exit_of(events, last));
    for pid in pids {
        let exec = exec_of(&rounds.processes, pid).unwrap();
        let exit = exit_of(&rounds.processes, pid).unwrap();
        assert_eq!((exit.exit_code, exit.process), (Some(0), exec.process));
    }
    let ([_, _, _, lost], _) = rounds.end();
    assert_eq!(lost, 0);
}

#[test]
fn forks_above_the_limit_are_in_a_summary_and_excluded_ones_are_counted() {
    const STORM: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let shell = folder.path().canonicalize().unwrap().join("shell");
    std::fs::copy("/bin/sh", &shell).unwrap();
    let path = shell.to_str().unwrap().to_owned();
    let buffer_bytes = 64 << 20;
    let forks_of = |rounds: &Rounds, pid: u32| {
        let is_its = |event: &&ProcessEvent| matches!(event, ProcessEvent::Fork(fork) if fork.caller.pid == pid);
        rounds.processes.iter().filter(is_its).count()
    };
    let script = format!("read line; for i in $(seq {STORM}); do ( : ); done; read line");
    let run = |rounds: &mut Rounds| {
        let mut command = Command::new(&shell);
        let mut child = command.args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
        // When what was started after it is told, it was read what the shell runs, which waits.
        let mut later = cat();
        rounds.until("what came later", |events| exec_of(events, later.id()));
        kill(&mut later);
        io::Write::write_all(child.stdin.as_mut().unwrap(), b"go\nend\n").unwrap();
        child.wait().unwrap();
        rounds.reader.end(&rounds.sink).unwrap().unwrap();
        rounds.keep();
        child.id()
    };
    let sum = |rounds: &Rounds, of: fn(&LedgerEntry) -> u64| -> u64 {
        let of = |event: &CollectorEvent| match event {
            CollectorEvent::Ledger(entry) => of(entry),
            _ => 0,
        };
        rounds.collector.iter().map(of).sum()
    };
    let selection = Selection { rate_limit: 5, ..Selection::default() };
    let config =
        ProcessConnectorConfig { buffer_bytes, selection, ..ProcessConnectorConfig::default() };
    let Some(mut rounds) = Rounds::start_with(config) else { return };
    let pid = run(&mut rounds);
    let of_shell = rounds.summaries.iter().filter(|summary| summary.path.as_ref() == Some(&path));
    let merged: u64 =
        of_shell.filter(|summary| summary.kind.name() == "fork").map(|of| of.count).sum();
    // One more is that of seq.
    let told = forks_of(&rounds, pid);
    assert_eq!(told as u64 + merged, STORM as u64 + 1);
    assert!((5..STORM).contains(&told), "{told}");
    let summaries: u64 = rounds.summaries.iter().map(|summary| summary.count).sum();
    assert_eq!(summaries, sum(&rounds, |entry| entry.merged));

    let exclusions = Exclusions::new(std::slice::from_ref(&path), &[], &[], &[]).unwrap();
    let selection = Selection { exclusions, rate_limit: 0 };
    let config =
        ProcessConnectorConfig { buffer_bytes, selection, ..ProcessConnectorConfig::default() };
    let Some(mut rounds) = Rounds::start_with(config) else { return };
    let pid = run(&mut rounds);
    let excluded = sum(&rounds, |entry| entry.excluded);
    let told = forks_of(&rounds, pid);
    // Of each subshell the fork and the end.
    assert!(told == 0 && excluded >= 2 * STORM as u64, "{told} {excluded}");
}

#[test]
fn what_was_lost_is_closed_and_opened_by_a_look() {
    let Some(mut rounds) = Rounds::start(65_536) else { return };
    let mut ends = cat();
    let known = rounds.until("the exec", |events| exec_of(events, ends.id()));
    // The kernel has no room any more when the one ends and the other starts.
    storm(300);
    kill(&mut ends);
    let mut starts = cat();
    while !is_waiting(starts.id()) {
        std::thread::yield_now();
    }
    let pid = known.process.pid;
    let exit = rounds.until("the end", |events| exit_of(events, pid));
    let found = rounds.until("the start", |events| exec_of(events, starts.id()));
    kill(&mut starts);
    assert_eq!((exit.process, exit.path), (known.process, known.path));
    assert_eq!((exit.exit_code, exit.signal, exit.core_dumped), (None, None, None));
    let Noticed::Reconciled { alive_ns } = exit.noticed else { panic!("{:?}", exit.noticed) };
    assert!(known.time_ns <= alive_ns && alive_ns < exit.time_ns);
    assert!(found.snapshot);
    let ([seen, stored, filtered, lost], _) = rounds.end();
    assert!(seen == stored + filtered + lost && lost > 0);
}
