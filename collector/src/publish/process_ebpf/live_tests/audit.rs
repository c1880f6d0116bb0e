//! The self-audit against the running kernel.

use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bygone_probe_abi as abi;

use super::super::audit::{WORD, stimulate};
use super::super::{ProcessEbpf, ProcessEbpfConfig, calls, sys};
use super::harness::{Recorded, attach};
use crate::events::{AuditEntry, CollectorEvent, ExecEvent, Gap, GapReason, ProcessKey};
use crate::publish::{Batch, CHANNEL_BATCHES_MAX, PublishError, Publisher, Stop};

/// Not a test of its own: what the self-audit runs in place of the collector's program.
#[test]
fn stimulus() {
    if std::env::args().any(|argument| argument == WORD) {
        panic!("it was not killed: {:?}", stimulate());
    }
}

/// Tests in one process see each other's audits.
static ALONE: Mutex<()> = Mutex::new(());

/// An audit every second.
fn config() -> ProcessEbpfConfig {
    let own = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let name = concat!(module_path!(), "::stimulus").split_once("::").unwrap().1;
    ProcessEbpfConfig {
        audit_interval: Some(Duration::from_secs(1)),
        audit_command: [&own, "--exact", name, "--nocapture", WORD]
            .map(|word| word.to_owned())
            .into(),
        ..ProcessEbpfConfig::default()
    }
}

/// The source at work.
struct Running {
    reader: JoinHandle<Result<(), PublishError>>,
    batches: Receiver<Batch>,
    stop: Stop,
    recorded: Recorded,
    _alone: MutexGuard<'static, ()>,
}

impl Running {
    /// Starts it, after something was taken from it.
    fn start<T>(take: impl FnOnce(&mut ProcessEbpf) -> T) -> Option<(Self, T)> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut source = Box::new(attach(&config())?);
        let taken = take(&mut source);
        let (sink, batches) = sync_channel(CHANNEL_BATCHES_MAX);
        let stop = Stop::default();
        let told = stop.clone();
        let reader = std::thread::spawn(move || source.run(&sink, &told));
        let recorded = Recorded::default();
        Some((Self { reader, batches, stop, recorded, _alone: alone }, taken))
    }

    /// Reads on until something is there.
    fn until<T>(&mut self, what: &str, mut is_there: impl FnMut(&Recorded) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = is_there(&self.recorded) {
                return found;
            }
            assert!(began.elapsed() < Duration::from_secs(120), "{what} did not come");
            if let Ok(batch) = self.batches.recv_timeout(Duration::from_secs(1)) {
                self.recorded.add(batch);
            }
        }
    }

    fn end(mut self) -> (Recorded, Result<(), PublishError>) {
        self.stop.set();
        while let Ok(batch) = self.batches.recv() {
            self.recorded.add(batch);
        }
        (self.recorded, self.reader.join().expect("the reader does not panic"))
    }
}

fn audits(recorded: &Recorded) -> Vec<&AuditEntry> {
    let mut audits = Vec::new();
    for event in &recorded.collector {
        if let CollectorEvent::Audit(audit) = event {
            audits.push(audit);
        }
    }
    audits
}

fn failed(recorded: &Recorded) -> Vec<&Gap> {
    let mut gaps = Vec::new();
    for event in &recorded.collector {
        if let CollectorEvent::Gap(gap) = event
            && gap.reason == GapReason::AuditFailed
        {
            gaps.push(gap);
        }
    }
    gaps
}

#[test]
fn what_it_does_is_counted_and_kept_from_every_table() {
    let Some((mut running, _)) = Running::start(|_| ()) else { return };
    running.until("a third audit", |recorded| audits(recorded).get(2).map(|_| ()));
    let (recorded, ended) = running.end();
    assert!(ended.is_ok(), "{ended:?}");
    let root = rustix::process::geteuid().is_root();
    for audit in audits(&recorded) {
        assert!(audit.failed.is_empty(), "{audit:?}");
        for class in abi::CLASSES {
            let needs_root = ["mount", "credential", "bpf"].contains(&class);
            let expected = !["module", "image"].contains(&class) && (root || !needs_root);
            assert!(!expected || audit.passed.contains(&class), "{class}: {audit:?}");
        }
    }
    assert_eq!(failed(&recorded), [] as [&Gap; 0]);
    // Nothing of it is a row. What other tests start at the same time, in this process or another, is
    // known whole.
    let own = std::process::id();
    let is_it = |bytes: &[u8]| bytes.windows(WORD.len()).any(|part| part == WORD.as_bytes());
    let is_own = |exec: &&ExecEvent| {
        exec.parent.is_some_and(|parent| parent.pid == own)
            && exec.arguments.as_deref().is_some_and(is_it)
    };
    assert_eq!(recorded.execs.iter().find(is_own), None);
    let last_ns = audits(&recorded).last().unwrap().time_ns;
    let run: Vec<ProcessKey> = recorded.execs.iter().map(|exec| exec.process).collect();
    for fork in &recorded.forks {
        let is_own = fork.caller.pid == own && fork.time_ns < last_ns;
        assert!(!is_own || run.contains(&fork.process), "{fork:?}");
    }
    let known = |process: &ProcessKey| {
        run.contains(process) || recorded.forks.iter().any(|fork| fork.process == *process)
    };
    for exit in &recorded.exits {
        let is_own = exit.parent.is_some_and(|parent| parent.pid == own);
        assert!(!is_own || known(&exit.process), "{exit:?}");
    }
    let named = format!("{WORD}-{own}");
    let memfd = recorded.actions.iter().find(|act| format!("{act:?}").contains(&named));
    assert_eq!(memfd, None);
    // The books have it.
    for class in ["exec", "fork", "exit", "memfd"] {
        let mut filtered = 0;
        for event in &recorded.collector {
            if let CollectorEvent::Ledger(entry) = event
                && entry.class == class
            {
                assert_eq!(entry.seen, entry.stored + entry.filtered + entry.merged + entry.lost);
                filtered += entry.filtered;
            }
        }
        assert!(filtered >= 3, "{class}: {filtered}");
    }
}

#[test]
fn a_probe_that_was_silenced_is_a_gap_and_is_attached_anew() {
    let numbers = |source: &mut ProcessEbpf| source.attached.calls.as_mut()?.numbers.take();
    let Some((mut running, Some(mut numbers))) = Running::start(numbers) else { return };
    running.until("the first audit", |recorded| audits(recorded).first().map(|_| ()));
    // Whoever may use BPF can take a call out of the map of those that are watched.
    let call = calls::CALLS.iter().find(|call| call.name == "memfd_create").unwrap();
    numbers.set(u32::try_from(call.number).unwrap(), abi::CALL_NONE, 0).unwrap();
    running.until("a second gap", |recorded| failed(recorded).get(1).map(|_| ()));
    let (recorded, ended) = running.end();
    let words = ended.unwrap_err().to_string();
    assert!(words.contains("memfd probe"), "{words}");
    let gaps = failed(&recorded);
    for gap in &gaps {
        assert_eq!(Gap::class(gap.reason, gap.detail.as_deref()), Some("memfd"), "{gap:?}");
    }
    let audits = audits(&recorded);
    let passed = audits.iter().rev().find(|audit| audit.passed.contains(&"memfd")).unwrap();
    assert_eq!((gaps[0].time_ns, gaps[0].end_ns), (passed.time_ns, gaps[1].time_ns));
    let others = ["exec", "fork", "exit", "ptrace", "memory_exec"];
    for audit in audits.iter().filter(|audit| !audit.failed.is_empty()) {
        assert_eq!(audit.failed, ["memfd"]);
        assert!(others.iter().all(|class| audit.passed.contains(class)), "{audit:?}");
    }
}

#[test]
fn a_link_that_was_taken_away_ends_the_source_at_once() {
    let descriptor = |source: &mut ProcessEbpf| {
        let link = source.attached.links.iter().find(|link| link.program == "fork").unwrap();
        link.link.as_raw_fd()
    };
    let Some((mut running, descriptor)) = Running::start(descriptor) else { return };
    running.until("the first audit", |recorded| audits(recorded).first().map(|_| ()));
    sys::replace_descriptor(descriptor);
    running.until("a gap", |recorded| failed(recorded).first().map(|_| ()));
    let (recorded, ended) = running.end();
    let words = ended.unwrap_err().to_string();
    assert!(words.contains("`fork` is not attached"), "{words}");
    let gap = failed(&recorded)[0];
    assert_eq!(Gap::class(gap.reason, gap.detail.as_deref()), Some("fork"));
    assert!((1..60_000_000_000).contains(&(gap.end_ns - gap.time_ns)), "{gap:?}");
}
