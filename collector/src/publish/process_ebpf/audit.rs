//! Whether the probes still see: a process of our own does harmless things, and their events have to
//! come out of the rings.
//!
//! Once in a while the collector starts itself as another process (`stimulus`), which makes an event of
//! every class for which a harmless one is there: it is created, starts a program, calls system calls that
//! fail or change nothing but itself, and ends by a signal. Those events are recognised by the process's
//! identity, what they are, and that each is the first of its class: anything else that the process were
//! made to do stays. They are counted as filtered and go no further: into no table, and not into the
//! cache of processes.
//!
//! A class of which the event is there has passed. One of which it has not come, though all up to two
//! seconds later was read and nothing of the class was lost meanwhile, has failed: from its last passed audit on, until it passes again, it is a gap. One that passed before and
//! fails twice in a row is broken: attaching anew mends that. No audit decides what could not be tried.

mod stimulus;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bygone_probe_abi as abi;
use bygone_probe_abi::CLASSES;

use super::SOURCE;
use super::clock::boot_ns;
use super::decode::{Decoded, Record, real_ns};
use crate::events::{
    Action, AuditEntry, CollectorEvent, Gap, GapReason, ProcessEvent, SignalAction,
};

pub use stimulus::{WORD, stimulate};

/// How long after the end of the stimulus its events are waited for, in the time of events.
const WAIT_NS: u64 = 2_000_000_000;

/// How long the stimulus may take, also where the processor is emulated.
const STIMULUS_NS: u64 = 30_000_000_000;

/// How long after an audit that failed for the first time the next one is made.
const AGAIN_NS: u64 = 1_000_000_000;

/// Bytes of what the stimulus says that are read.
const REPORT_BYTES_MAX: u64 = 1024;

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO` in include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

/// Classes of which the stimulus makes an event whatever it is allowed to do.
const ALWAYS: [u32; 3] = [abi::CLASS_FORK, abi::CLASS_EXEC, abi::CLASS_EXIT];

const CLASS_COUNT: usize = CLASSES.len();

/// Whether the collector knows by which ids the kernel names its processes: it does in the initial pid
/// namespace.
pub(super) fn can_be_made() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let namespace = std::fs::metadata("/proc/self/ns/pid");
    namespace.is_ok_and(|namespace| namespace.ino() == INITIAL_PID_NAMESPACE)
}

/// Per class, what is counted of it that excuses a missing event: what was lost.
pub(crate) type Excuses = [u64; CLASS_COUNT];

/// Something of each class.
type OfClasses = [bool; CLASS_COUNT];

/// What became of the stimulus, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outcome {
    passed: OfClasses,
    failed: OfClasses,
}

/// One stimulus on its way.
#[derive(Debug)]
struct Course {
    /// The process that is it, and who started it.
    pid: u32,
    own_pid: u32,
    began_ns: u64,
    /// When it was gone: until then its id is its own.
    ended_ns: Option<u64>,
    seen: OfClasses,
    expected: OfClasses,
    /// Signals between it and the collector, which each may bring about.
    seen_sides: [bool; 2],
    excuses: Excuses,
}

impl Course {
    /// Whether a record is one of the stimulus.
    fn takes(&mut self, record: &Record) -> bool {
        let is_of_its_life = record.boot_ns >= self.began_ns
            && self.ended_ns.is_none_or(|ended_ns| record.boot_ns <= ended_ns);
        if !is_of_its_life {
            return false;
        }
        let is_step = match &record.event {
            // A look at all processes found it, which is counted nowhere.
            Decoded::Life(ProcessEvent::Exec(exec)) if exec.snapshot => {
                return exec.process.pid == self.pid;
            }
            Decoded::Life(ProcessEvent::Exec(exec)) => exec.process.pid == self.pid,
            Decoded::Life(ProcessEvent::Fork(fork)) => {
                fork.process.pid == self.pid && fork.caller.pid == self.own_pid
            }
            Decoded::Life(ProcessEvent::Exit(exit)) => exit.process.pid == self.pid,
            // It loads no module, and what the collector starts is never left out.
            Decoded::ModuleFile(..) | Decoded::LeftOut(_) => return false,
            Decoded::Act(act, _) => {
                if let Action::Signal(signal) = &act.action
                    && let Some(side) = self.side(act.actor.pid, signal)
                {
                    let seen = self.seen_sides.get_mut(side);
                    return seen.is_some_and(|seen| !std::mem::replace(seen, true));
                }
                act.actor.pid == self.pid && stimulus::is_act(&act.action, self.pid, self.own_pid)
            }
        };
        let seen = self.seen.get_mut(record.class);
        is_step && seen.is_some_and(|seen| !std::mem::replace(seen, true))
    }

    /// Whether a signal tells the collector of the end, or is its own to one that takes too long.
    fn side(&self, actor: u32, signal: &SignalAction) -> Option<usize> {
        let (child, own) = (self.pid, self.own_pid);
        let sides = [(child, own, libc::SIGCHLD), (own, child, libc::SIGKILL)];
        sides.into_iter().position(|(from, to, number)| {
            actor == from
                && signal.target.process.is_some_and(|target| target.pid == to)
                && signal.signal == number.unsigned_abs()
        })
    }

    /// What became of it, once that can be said: everything before `released_ns` was read.
    fn outcome(&self, released_ns: u64, excuses: &Excuses) -> Option<Outcome> {
        let ended_ns = self.ended_ns?;
        let missing = |class: usize| {
            let of = |of: &OfClasses| of.get(class).copied().unwrap_or(false);
            of(&self.expected) && !of(&self.seen)
        };
        let is_over = released_ns >= ended_ns.saturating_add(WAIT_NS);
        if !is_over && (released_ns <= ended_ns || (0..CLASS_COUNT).any(missing)) {
            return None;
        }
        let mut outcome = Outcome::default();
        let of_classes = outcome.passed.iter_mut().zip(&mut outcome.failed).enumerate();
        for (class, (passed, failed)) in of_classes {
            let excuse = |excuses: &Excuses| excuses.get(class).copied().unwrap_or(0);
            *passed = self.seen.get(class).copied().unwrap_or(false);
            *failed = missing(class) && excuse(excuses) == excuse(&self.excuses);
        }
        Some(outcome)
    }
}

/// What is known of one class.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Up to when it was seen to work, or was told not to.
    told_ns: u64,
    has_passed: bool,
    /// Failed audits in a row.
    failures: u32,
}

/// The verdicts on all classes.
#[derive(Debug)]
struct Standings([Standing; CLASS_COUNT]);

impl Standings {
    /// Takes an outcome; what it says of itself, with the gaps that are to be told. `now_ns` is boot
    /// time.
    fn conclude(
        &mut self,
        outcome: &Outcome,
        began_ns: u64,
        now_ns: u64,
    ) -> Vec<(usize, u64, u64)> {
        let mut gaps = Vec::new();
        for (class, standing) in self.0.iter_mut().enumerate() {
            let of = |of: &OfClasses| of.get(class).copied().unwrap_or(false);
            if of(&outcome.failed) {
                gaps.push((class, standing.told_ns, now_ns));
                standing.told_ns = now_ns;
                standing.failures += 1;
            } else if of(&outcome.passed) {
                if standing.failures > 0 {
                    gaps.push((class, standing.told_ns, began_ns));
                }
                *standing = Standing { told_ns: began_ns, has_passed: true, failures: 0 };
            }
        }
        gaps
    }

    /// Whether a class failed for the first time: another audit is to say whether it does again.
    fn is_doubtful(&self) -> bool {
        self.0.iter().any(|standing| standing.failures == 1)
    }

    /// A class that worked, and does not.
    fn broken(&self) -> Option<&'static str> {
        let is_broken = |standing: &Standing| standing.has_passed && standing.failures > 1;
        CLASSES
            .iter()
            .zip(&self.0)
            .find(|(_, standing)| is_broken(standing))
            .map(|(class, _)| *class)
    }
}

/// The audits of one source.
#[derive(Debug)]
pub(crate) struct Audit {
    command: Vec<String>,
    /// `None` when there are none.
    interval_ns: Option<u64>,
    next_ns: u64,
    /// Classes that are recorded.
    watched: OfClasses,
    child: Option<Child>,
    course: Option<Course>,
    standings: Standings,
    /// Whether it was said that the stimulus cannot be made.
    has_warned: bool,
}

impl Audit {
    /// Audits every `interval`, from now on, of the classes that are `watched` since `since_ns`.
    pub(crate) fn new(
        interval: Option<Duration>,
        command: Vec<String>,
        watched: OfClasses,
        since_ns: u64,
    ) -> Self {
        let standing = Standing { told_ns: since_ns, ..Standing::default() };
        let interval = interval.filter(|_| can_be_made());
        Self {
            command,
            interval_ns: interval.map(|all| u64::try_from(all.as_nanos()).unwrap_or(u64::MAX)),
            next_ns: 0,
            watched,
            child: None,
            course: None,
            standings: Standings([standing; CLASS_COUNT]),
            has_warned: false,
        }
    }

    /// Whether a record is one of a stimulus, which is counted as filtered and goes no further.
    pub(crate) fn takes(&mut self, record: &Record) -> bool {
        self.course.as_mut().is_some_and(|course| course.takes(record))
    }

    /// Starts a stimulus when one is due, and tells what became of it when that is known: everything
    /// before `released_ns` was read.
    pub(crate) fn turn(
        &mut self,
        now_ns: u64,
        released_ns: u64,
        excuses: &Excuses,
        offset_ns: i64,
    ) -> Vec<CollectorEvent> {
        self.reap(now_ns);
        let outcome = self.course.as_ref().and_then(|course| course.outcome(released_ns, excuses));
        if let (Some(outcome), Some(interval_ns)) = (outcome, self.interval_ns) {
            let began_ns = self.course.take().map_or(now_ns, |course| course.began_ns);
            let events = self.told(&outcome, began_ns, now_ns, offset_ns);
            let wait_ns = if self.standings.is_doubtful() { AGAIN_NS } else { interval_ns };
            self.next_ns = now_ns.saturating_add(wait_ns);
            return events;
        }
        if self.course.is_none() && self.interval_ns.is_some() && now_ns >= self.next_ns {
            self.start(now_ns, excuses);
        }
        Vec::new()
    }

    fn told(
        &mut self,
        outcome: &Outcome,
        began_ns: u64,
        now_ns: u64,
        offset_ns: i64,
    ) -> Vec<CollectorEvent> {
        let gaps = self.standings.conclude(outcome, began_ns, now_ns);
        let gap = |(class, from_ns, to_ns): (usize, u64, u64)| {
            let class = CLASSES.get(class).copied().unwrap_or("unknown");
            let why = "what the self-audit did was not recorded";
            gap(class, why, (from_ns, to_ns), offset_ns)
        };
        let mut events: Vec<CollectorEvent> = gaps.into_iter().map(gap).collect();
        let names = |of: &OfClasses| -> Vec<&'static str> {
            CLASSES.iter().zip(of).filter(|(_, is)| **is).map(|(class, _)| *class).collect()
        };
        let told = AuditEntry {
            time_ns: real_ns(began_ns, offset_ns),
            source: SOURCE.to_owned(),
            passed: names(&outcome.passed),
            failed: names(&outcome.failed),
        };
        if !told.failed.is_empty() {
            let failed = told.failed.join(", ");
            tracing::error!(failed, "The self-audit did not come out of the kernel: see gaps");
        }
        events.push(CollectorEvent::Audit(told));
        events
    }

    /// A class that worked, and does not.
    pub(crate) fn broken(&self) -> Option<&'static str> {
        self.standings.broken()
    }

    fn start(&mut self, now_ns: u64, excuses: &Excuses) {
        self.next_ns = now_ns.saturating_add(self.interval_ns.unwrap_or(u64::MAX));
        let Some((program, arguments)) = self.command.split_first() else { return };
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let began_ns = boot_ns();
        match command.spawn() {
            Ok(child) => {
                let mut expected = [false; CLASS_COUNT];
                for class in ALWAYS {
                    self.expect(&mut expected, class);
                }
                self.course = Some(Course {
                    pid: child.id(),
                    own_pid: std::process::id(),
                    began_ns,
                    ended_ns: None,
                    seen: [false; CLASS_COUNT],
                    expected,
                    seen_sides: [false; 2],
                    excuses: *excuses,
                });
                self.child = Some(child);
            }
            Err(error) if !self.has_warned => {
                self.has_warned = true;
                tracing::warn!(error = %error, program, "The self-audit cannot be made");
            }
            Err(_) => {}
        }
    }

    fn expect(&self, expected: &mut OfClasses, class: u32) {
        let class = class as usize;
        if let Some(entry) = expected.get_mut(class) {
            *entry = self.watched.get(class).copied().unwrap_or(false);
        }
    }

    /// Notes the end of the stimulus, and what it says it has done.
    fn reap(&mut self, now_ns: u64) {
        let Some(mut child) = self.child.take() else { return };
        let began_ns = self.course.as_ref().map_or(0, |course| course.began_ns);
        if now_ns.saturating_sub(began_ns) > STIMULUS_NS {
            // One that has ended meanwhile is not there to be killed.
            let _gone = child.kill().err();
        }
        match child.try_wait() {
            Ok(None) => self.child = Some(child),
            Ok(Some(_)) | Err(_) => self.ended(child),
        }
    }

    fn ended(&mut self, mut child: Child) {
        use std::io::Read as _;
        let ended_ns = boot_ns();
        let mut said = String::new();
        if let Some(output) = child.stdout.take()
            && output.take(REPORT_BYTES_MAX).read_to_string(&mut said).is_err()
        {
            said.clear();
        }
        let Some(mut course) = self.course.take() else { return };
        // A test's program says more around it.
        for class in said.split_whitespace().filter_map(|word| word.strip_prefix("did:")) {
            let index = CLASSES.iter().position(|known| *known == class);
            if let Some(index) = index.and_then(|index| u32::try_from(index).ok()) {
                self.expect(&mut course.expected, index);
            }
        }
        course.ended_ns = Some(ended_ns);
        self.course = Some(course);
    }

    /// Ends a stimulus that is on its way.
    pub(crate) fn stop(&mut self) {
        self.interval_ns = None;
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill().err();
            // It was killed, or has ended by itself.
            let _status = child.wait();
            self.ended(child);
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A gap of one class of events, between two boot times.
pub(crate) fn gap(
    class: &str,
    why: &str,
    (from_ns, to_ns): (u64, u64),
    offset_ns: i64,
) -> CollectorEvent {
    CollectorEvent::Gap(Gap {
        time_ns: real_ns(from_ns, offset_ns),
        end_ns: real_ns(to_ns, offset_ns),
        source: SOURCE.to_owned(),
        reason: GapReason::AuditFailed,
        lost: None,
        detail: Some(format!("class {class}: {why}")),
    })
}

#[cfg(test)]
mod tests;
