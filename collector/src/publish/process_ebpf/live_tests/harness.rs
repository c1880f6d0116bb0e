//! What the tests against the running kernel share: recording while something runs.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;

use super::super::decode::{Decoded, decode};
use super::super::{ProcessEbpf, ProcessEbpfConfig};
use crate::events::{
    Action, ActionEvent, CollectorEvent, ExecEvent, ExitEvent, ForkEvent, ProcessEvent, ProcessKey,
    ProcessSummaryEvent,
};
use crate::publish::{Batch, CHANNEL_BATCHES_MAX, Events, Publisher, Stop};

/// What was recorded while something ran.
#[derive(Default)]
pub(super) struct Recorded {
    pub(super) execs: Vec<ExecEvent>,
    pub(super) forks: Vec<ForkEvent>,
    pub(super) exits: Vec<ExitEvent>,
    pub(super) actions: Vec<ActionEvent>,
    pub(super) summaries: Vec<ProcessSummaryEvent>,
    pub(super) collector: Vec<CollectorEvent>,
    pub(super) watermarks: Vec<i64>,
}

impl Recorded {
    pub(super) fn add(&mut self, batch: Batch) {
        self.watermarks.extend(batch.watermark_ns);
        match batch.events {
            Events::Process(events) => events.into_iter().for_each(|event| match event {
                ProcessEvent::Exec(exec) => self.execs.push(*exec),
                ProcessEvent::Fork(fork) => self.forks.push(fork),
                ProcessEvent::Exit(exit) => self.exits.push(exit),
            }),
            Events::Collector(events) => self.collector.extend(events),
            Events::Action(events) => self.actions.extend(events),
            Events::Summary(events) => self.summaries.extend(events),
            Events::File(_) | Events::Executable(_) => panic!("no file events come from here"),
        }
    }

    /// The seen exec of the process with this pid.
    pub(super) fn exec(&self, pid: u32) -> &ExecEvent {
        let found = self.execs.iter().find(|exec| exec.process.pid == pid && !exec.snapshot);
        found.unwrap_or_else(|| panic!("no exec of pid {pid}"))
    }

    pub(super) fn exit(&self, process: ProcessKey) -> &ExitEvent {
        let found: Vec<_> = self.exits.iter().filter(|exit| exit.process == process).collect();
        assert_eq!(found.len(), 1, "exits of {process:?}");
        found[0]
    }

    /// Sums over the ledger of one class: seen, stored, lost.
    pub(super) fn ledger(&self, class: &str) -> (u64, u64, u64) {
        let mut sums = (0, 0, 0);
        for event in &self.collector {
            if let CollectorEvent::Ledger(entry) = event
                && entry.class == class
            {
                assert_eq!(entry.seen, entry.stored + entry.filtered + entry.merged + entry.lost);
                sums.0 += entry.seen;
                sums.1 += entry.stored;
                sums.2 += entry.lost;
            }
        }
        sums
    }

    /// Times the kernel skipped a program of a class, which nothing made up for, as far as it tells.
    pub(super) fn missed(&self, class: &str) -> u64 {
        let of_class = self.collector.iter().filter_map(|event| match event {
            CollectorEvent::Ledger(entry) if entry.class == class => entry.missed,
            _ => None,
        });
        of_class.sum()
    }

    pub(super) fn gaps(&self) -> Vec<&CollectorEvent> {
        let is_gap = |event: &&CollectorEvent| matches!(event, CollectorEvent::Gap(_));
        self.collector.iter().filter(is_gap).collect()
    }
}

pub(super) fn attach(config: &ProcessEbpfConfig) -> Option<ProcessEbpf> {
    match ProcessEbpf::attach(config) {
        Ok(source) => Some(source),
        Err(error) => {
            let words = format!("{:#}", anyhow::Error::from(error));
            assert!(std::env::var_os("CI").is_none(), "cannot watch processes: {words}");
            eprintln!("skipped: {words}");
            None
        }
    }
}

/// Records while `work` runs, and until all that it caused has come.
pub(super) fn record<T>(
    config: &ProcessEbpfConfig,
    work: impl FnOnce() -> T,
) -> Option<(Recorded, T)> {
    let source = Box::new(attach(config)?);
    assert_eq!(source.attached.snapshot_error, None);
    let (sink, batches) = sync_channel(CHANNEL_BATCHES_MAX);
    let stop = Stop::default();
    let told = stop.clone();
    let reader = std::thread::spawn(move || source.run(&sink, &told));
    let collector = std::thread::spawn(move || {
        let mut recorded = Recorded::default();
        batches.into_iter().for_each(|batch| recorded.add(batch));
        recorded
    });
    let result = work();
    stop.set();
    reader.join().expect("the reader does not panic").expect("the source does not fail");
    Some((collector.join().expect("the collector does not panic"), result))
}

/// The arguments of an exec that has some.
pub(super) fn words(exec: &ExecEvent) -> Vec<Vec<u8>> {
    let bytes = exec.arguments.as_deref().expect("the arguments were read");
    let ended = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    ended.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

pub(super) fn quiet(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs to the end and returns the pid and the status.
pub(super) fn run(command: &mut Command) -> (u32, std::process::ExitStatus) {
    let mut child = command.spawn().unwrap();
    let pid = child.id();
    (pid, child.wait().unwrap())
}

/// A process that does nothing, for an hour.
pub(super) fn sleeper() -> std::process::Child {
    let sleeper = quiet("/bin/sleep").args(["3600", "1"]).current_dir("/usr").spawn().unwrap();
    // It has become sleep when its name has changed; until then it is a copy of this test.
    let name = format!("/proc/{}/comm", sleeper.id());
    while std::fs::read_to_string(&name).unwrap().trim() != "sleep" {
        std::thread::yield_now();
    }
    sleeper
}

/// Writes records of this kernel as fixtures of the decoder's tests.
pub(in super::super) fn capture() {
    let mut sleeper = sleeper();
    let mut source = attach(&ProcessEbpfConfig::default()).expect("capturing needs the right");
    std::fs::File::open(format!("/proc/{}/mem", sleeper.id())).unwrap();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let script = Path::new("/tmp/bygone-fixture");
    std::fs::write(script, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
    let (pid, _) = run(quiet("/bin/echo").args(["one", "", "t\u{1}wo"]).current_dir("/usr"));
    let (script_pid, _) = run(quiet(script).current_dir("/"));
    std::fs::remove_file(script).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/publish/process_ebpf/fixtures");
    while let Some(item) = source.attached.ring.next() {
        let Decoded::Life(event) = decode(&item, 0).unwrap().event else { continue };
        let name = match &event {
            ProcessEvent::Exec(exec) if exec.process.pid == pid => "exec.bin",
            ProcessEvent::Exec(exec) if exec.process.pid == script_pid => "script.bin",
            ProcessEvent::Exec(exec) if exec.process.pid == sleeper.id() => "snapshot.bin",
            ProcessEvent::Fork(fork) if fork.process.pid == pid => "fork.bin",
            ProcessEvent::Exit(exit) if exit.process.pid == pid => "exit.bin",
            _ => continue,
        };
        std::fs::write(folder.join(name), &*item).unwrap();
    }
    while let Some(item) = source.attached.acts.next() {
        let Decoded::Act(event, _) = decode(&item, 0).unwrap().event else { continue };
        let name = match &event.action {
            Action::Image(image)
                if image.path.as_ref().is_some_and(|path| path.ends_with("/libc.so.6")) =>
            {
                "image.bin"
            }
            Action::Access(_) if event.actor.pid == std::process::id() => "open_memory.bin",
            _ => continue,
        };
        std::fs::write(folder.join(name), &*item).unwrap();
    }
}

/// As many processes as a test wants to start, or what the variable `BYGONE_TEST_STORM` allows:
/// where the processor is emulated, a thousand take a minute.
pub(super) fn storm(wanted: usize) -> usize {
    std::env::var("BYGONE_TEST_STORM").map_or(wanted, |most| wanted.min(most.parse().unwrap()))
}
