//! Which processes there are, by what the messages tell of them, and the events that follow.
//!
//! Messages have ids alone. Who a process is, what it runs and for whom comes from what was told of it
//! before, and from `/proc`, read when the message came. What neither tells is left out.
//!
//! A message tells of the end of each thread. A process has ended when the last of them has: at once
//! where it is known to have but one, else when `/proc` shows it gone or waiting to be reaped. The
//! first thread can also end because another one started a program, which then takes its id.
//!
//! **Invariants:** at most [`LIVES_MAX`] processes are known; a process keeps its identity from its
//! first event to its last.

use std::collections::{HashMap, HashSet};

use crate::events::{
    Credentials, ExecEvent, ExitEvent, ForkEvent, Noticed, ProcessEvent, ProcessKey,
};
use crate::host::proc::{ProcessFolder, TICK_NS};
use crate::host::process_cache::ProcessCache;
use crate::host::program::{CREDENTIALS_UNKNOWN, ID_UNKNOWN};
use crate::host::reconcile::{Difference, Remembered, difference, end};

/// Processes that are known at once. What is not known keeps its rows and has fewer values in them.
const LIVES_MAX: usize = 262_144;

/// The start of a process of which it is not known.
const START_UNKNOWN: u64 = 0;

/// User and group ids as they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ids {
    uid: u32,
    euid: u32,
    gid: u32,
    egid: u32,
}

/// A process that runs.
#[derive(Clone, Debug)]
struct Life {
    process: ProcessKey,
    parent: Option<ProcessKey>,
    ids: Option<Ids>,
    /// Threads, `None` when they were not all told.
    threads: Option<u32>,
    /// When it was last known to be there, in nanoseconds since boot.
    seen_ns: u64,
    /// Whether a row tells of it.
    is_told: bool,
}

/// A process whose first thread has ended, and of which it is not known whether others go on.
#[derive(Clone, Copy, Debug)]
struct Ending {
    /// When the last of its threads that are known to have ended did.
    boot_ns: u64,
    /// Status of the first thread, and of the last.
    statuses: [u32; 2],
    parent: u32,
    start_ns: Option<u64>,
}

/// What a message tells, with what was read when it came.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// A process was created.
    Fork { child: u32, start_ns: Option<u64>, parent: u32, parent_start_ns: Option<u64> },
    /// A thread was created.
    Thread { pid: u32 },
    /// A program was started.
    Exec { pid: u32, details: Option<Box<ExecEvent>> },
    /// User ids changed: real and effective.
    Users { pid: u32, real: u32, effective: u32 },
    /// Group ids changed.
    Groups { pid: u32, real: u32, effective: u32 },
    /// A thread other than the first ended.
    ThreadExit { pid: u32, status: u32 },
    /// The first thread ended.
    Exit { pid: u32, status: u32, parent: u32, start_ns: Option<u64> },
    /// A process was found running.
    Found(Box<ExecEvent>),
}

/// What becomes of an entry.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is returned")]
pub(super) enum Outcome {
    /// A row.
    Event(ProcessEvent),
    /// No row: there is no table for it, or it is known already.
    Nothing,
    /// That will be known later.
    Later,
}

/// All processes that are known to run.
#[derive(Debug, Default)]
pub(super) struct Lives {
    by_pid: HashMap<u32, Life>,
    /// What each runs.
    programs: ProcessCache,
    ending: HashMap<u32, Ending>,
    /// While a look at all processes is under way, who has ended since it began.
    ended: Option<HashSet<ProcessKey>>,
    /// Messages of which [`Outcome::Later`] was said and that become no row after all.
    cancelled: u64,
    /// Times that there was no room for another process.
    crowded: u64,
}

impl Lives {
    /// Whether a process is known.
    pub(super) fn knows(&self, pid: u32) -> bool {
        self.by_pid.contains_key(&pid)
    }

    /// Knows a process that ran before anything was told, so that its children have a parent, until a
    /// look tells of it.
    pub(super) fn remember(&mut self, mut running: ExecEvent) {
        self.programs.started(&mut running);
        self.put(Life { is_told: false, ..Life::of(&running, 0) });
    }

    /// After a loss: how many threads each process has is not known any more.
    pub(super) fn forget_threads(&mut self) {
        self.by_pid.values_mut().for_each(|life| life.threads = None);
    }

    /// Takes in what happened at `boot_ns`. Adding `offset_ns` makes it real time. Entries come in the
    /// order of their times.
    pub(super) fn apply(&mut self, entry: Entry, boot_ns: u64, offset_ns: i64) -> Outcome {
        let time_ns = real_ns(boot_ns, offset_ns);
        match entry {
            Entry::Fork { child, start_ns, parent, parent_start_ns } => {
                let parent = self.key(parent, parent_start_ns);
                Outcome::Event(self.forked(child, start_ns, parent, boot_ns, time_ns))
            }
            Entry::Thread { pid } => {
                self.count_threads(pid, |threads| threads.checked_add(1));
                Outcome::Nothing
            }
            Entry::Exec { pid, details } => {
                Outcome::Event(self.execed(pid, details, boot_ns, time_ns))
            }
            Entry::Users { pid, real, effective } => {
                self.change_ids(pid, |ids| Ids { uid: real, euid: effective, ..ids });
                Outcome::Nothing
            }
            Entry::Groups { pid, real, effective } => {
                self.change_ids(pid, |ids| Ids { gid: real, egid: effective, ..ids });
                Outcome::Nothing
            }
            Entry::ThreadExit { pid, status } => {
                self.count_threads(pid, |threads| threads.checked_sub(1));
                if let Some(ending) = self.ending.get_mut(&pid) {
                    ending.boot_ns = boot_ns;
                    ending.statuses[1] = status;
                }
                Outcome::Nothing
            }
            Entry::Exit { pid, status, parent, start_ns } => {
                let ending = Ending { boot_ns, statuses: [status, 0], parent, start_ns };
                if self.by_pid.get(&pid).is_some_and(|life| life.threads == Some(1)) {
                    return Outcome::Event(self.ended(pid, ending, offset_ns));
                }
                self.ending.insert(pid, ending);
                Outcome::Later
            }
            Entry::Found(found) => self.found(found, boot_ns),
        }
    }

    /// How many entries [`Outcome::Later`] was said of that became nothing: another thread of theirs
    /// had started a program. None of them is said again.
    pub(super) fn take_cancelled(&mut self) -> u64 {
        std::mem::take(&mut self.cancelled)
    }

    /// Ends of processes that [`Outcome::Later`] was said of, now that they have ended.
    pub(super) fn settle(&mut self, offset_ns: i64, buffer: &mut Vec<u8>) -> Vec<ProcessEvent> {
        let mut events = Vec::new();
        if self.ending.is_empty() {
            return events;
        }
        let mut over: Vec<u32> = Vec::new();
        for (pid, ending) in &self.ending {
            let start_ns = self.by_pid.get(pid).map(|life| life.process.start_ns);
            if has_ended(*pid, start_ns.or(ending.start_ns), buffer) {
                over.push(*pid);
            }
        }
        for pid in over {
            if let Some(ending) = self.ending.remove(&pid) {
                events.push(self.ended(pid, ending, offset_ns));
            }
        }
        events
    }

    /// Forgets what ended processes ran, a while after their end.
    pub(super) fn expire(&mut self, boot_ns: u64) {
        self.programs.expire(boot_ns);
    }

    /// Gives up on the ends that wait to be settled: says how many, and how often there was no room.
    pub(super) fn close(&mut self) -> (u64, u64) {
        (self.ending.drain().count() as u64, self.crowded)
    }

    /// Whether ends wait to be settled.
    pub(super) fn are_ending(&self) -> bool {
        !self.ending.is_empty()
    }

    /// A look at all processes begins: from now on those that end are noted.
    pub(super) fn begin_look(&mut self) {
        self.ended = Some(HashSet::new());
    }

    /// The processes among these that run another program than is known: an exec was lost, or could not
    /// be read. They are for the caller to read.
    pub(super) fn changed<'a>(
        &self,
        live: impl IntoIterator<Item = (&'a ProcessKey, &'a Option<String>)>,
    ) -> Vec<ProcessKey> {
        let is_changed = |(process, path): &(&ProcessKey, &Option<String>)| {
            let life = self.by_pid.get(&process.pid);
            life.filter(|life| life.is_told && same_start(&life.process, process)).is_some_and(
                |life| {
                    path.is_some() && path.as_deref() != self.programs.path(life.process).as_deref()
                },
            )
        };
        live.into_iter().filter(is_changed).map(|(process, _)| *process).collect()
    }

    /// Compares what is known with a look that began at `began_ns`, when everything told up to its
    /// end was taken in. Those that are gone become ends that nobody saw, at the time of the look;
    /// the ids of those that are not known are for the caller to read.
    pub(super) fn end_look(
        &mut self,
        live: impl IntoIterator<Item = ProcessKey>,
        began_ns: u64,
        offset_ns: i64,
    ) -> (Vec<ProcessEvent>, Vec<ProcessKey>) {
        let ended = self.ended.take().unwrap_or_default();
        let known = self.by_pid.values().filter(|life| life.is_told).map(|life| life.process);
        let Difference { gone, mut unknown } = difference(known, live, TICK_NS, began_ns);
        unknown.retain(|process| {
            // The start of one whose first message was lost is not known.
            let is_same = |ended: &ProcessKey| {
                ended.pid == process.pid
                    && (ended.start_ns == START_UNKNOWN || same_start(ended, process))
            };
            !ended.iter().any(is_same) && !self.ending.contains_key(&process.pid)
        });
        let gone = gone.into_iter().filter(|process| !self.ending.contains_key(&process.pid));
        let gone: Vec<ProcessKey> = gone.collect();
        let mut events = Vec::new();
        for process in gone {
            let Some(life) = self.by_pid.remove(&process.pid) else {
                continue;
            };
            let noticed = Noticed::Reconciled { alive_ns: real_ns(life.seen_ns, offset_ns) };
            let ids = life.ids.map_or((ID_UNKNOWN, ID_UNKNOWN), |ids| (ids.uid, ids.gid));
            let path = self.programs.ended(process, began_ns);
            let remembered = Remembered { parent: life.parent, ids, path };
            events.push(end(process, remembered, real_ns(began_ns, offset_ns), noticed));
        }
        self.by_pid.retain(|_, life| life.is_told || unknown.contains(&life.process));
        for life in self.by_pid.values_mut() {
            life.seen_ns = life.seen_ns.max(began_ns);
        }
        (events, unknown)
    }

    /// Who `pid` is, by what is known or else by what was read.
    fn key(&self, pid: u32, read_ns: Option<u64>) -> ProcessKey {
        let known = self.by_pid.get(&pid).map(|life| life.process);
        let read = ProcessKey { pid, start_ns: read_ns.unwrap_or(START_UNKNOWN) };
        known.unwrap_or(read)
    }

    fn forked(
        &mut self,
        pid: u32,
        read_ns: Option<u64>,
        parent: ProcessKey,
        boot_ns: u64,
        time_ns: i64,
    ) -> ProcessEvent {
        // What was read is another's when the id was given away since. The message is made a little
        // after the start; of one that has gone the tick is taken from it.
        let is_its = |start_ns: &u64| start_ns.abs_diff(boot_ns) <= 2 * TICK_NS;
        let start_ns = read_ns.filter(is_its).unwrap_or(boot_ns / TICK_NS * TICK_NS);
        let process = ProcessKey { pid, start_ns };
        let of_parent = self.by_pid.get(&parent.pid);
        let ids = of_parent.and_then(|life| life.ids);
        let parent_known = Some(parent).filter(|parent| parent.start_ns != START_UNKNOWN);
        self.cancelled += u64::from(self.ending.remove(&pid).is_some());
        self.put(Life {
            process,
            parent: parent_known,
            ids,
            threads: Some(1),
            seen_ns: boot_ns,
            is_told: true,
        });
        let mut fork = ForkEvent {
            time_ns,
            process,
            parent: parent_known,
            caller: parent,
            clone_flags: None,
            namespaces: None,
            uid: ids.map_or(ID_UNKNOWN, |ids| ids.uid),
            gid: ids.map_or(ID_UNKNOWN, |ids| ids.gid),
            path: None,
        };
        self.programs.forked(&mut fork);
        ProcessEvent::Fork(fork)
    }

    fn execed(
        &mut self,
        pid: u32,
        details: Option<Box<ExecEvent>>,
        boot_ns: u64,
        time_ns: i64,
    ) -> ProcessEvent {
        // The end of the first thread was not that of the process.
        self.cancelled += u64::from(self.ending.remove(&pid).is_some());
        let mut life = self.by_pid.get(&pid);
        // What was read is of a later process when the id was given away since; what is known is of
        // an earlier one when its end was lost.
        let is_its = |details: &ExecEvent| details.process.start_ns <= boot_ns + TICK_NS;
        let details = details.filter(|details| is_its(details));
        if let Some(details) = &details {
            life = life.filter(|life| same_start(&life.process, &details.process));
        }
        let mut exec = details.unwrap_or_else(|| {
            let (ids, parent) = (life.and_then(|life| life.ids), life.and_then(|life| life.parent));
            let process = ProcessKey { pid, start_ns: START_UNKNOWN };
            Box::new(ExecEvent {
                process,
                tid: pid,
                parent,
                credentials: ids.map_or(CREDENTIALS_UNKNOWN, after_exec),
                arguments_truncated: true,
                ..ExecEvent::default()
            })
        });
        if let Some(life) = life {
            exec.process = life.process;
        }
        exec.time_ns = time_ns;
        self.programs.started(&mut exec);
        self.put(Life { threads: Some(1), ..Life::of(&exec, boot_ns) });
        ProcessEvent::Exec(exec)
    }

    fn found(&mut self, mut found: Box<ExecEvent>, boot_ns: u64) -> Outcome {
        let known = self.by_pid.get(&found.process.pid);
        let known = known.filter(|life| same_start(&life.process, &found.process));
        if let Some(life) = known {
            let runs_other = found.path.is_some()
                && found.path.as_deref() != self.programs.path(life.process).as_deref();
            if life.is_told && !runs_other {
                return Outcome::Nothing;
            }
            found.process = life.process;
        }
        self.programs.started(&mut found);
        self.put(Life::of(&found, boot_ns));
        Outcome::Event(ProcessEvent::Exec(found))
    }

    fn ended(&mut self, pid: u32, ending: Ending, offset_ns: i64) -> ProcessEvent {
        let process = self.key(pid, ending.start_ns);
        let parent = self.by_pid.get(&ending.parent).map(|life| life.process);
        let life = self.by_pid.remove(&pid);
        if let Some(ended) = &mut self.ended {
            ended.insert(process);
        }
        let status = status(ending.statuses);
        let signal = status & 0x7f;
        let ids = life.as_ref().and_then(|life| life.ids);
        ProcessEvent::Exit(ExitEvent {
            time_ns: real_ns(ending.boot_ns, offset_ns),
            process,
            parent: parent.or_else(|| life.as_ref().and_then(|life| life.parent)),
            uid: ids.map_or(ID_UNKNOWN, |ids| ids.uid),
            gid: ids.map_or(ID_UNKNOWN, |ids| ids.gid),
            exit_code: (signal == 0).then_some(status >> 8 & 0xff),
            signal: (signal != 0).then_some(signal),
            core_dumped: Some(status & 0x80 != 0),
            noticed: Noticed::Told,
            cpu_ns: None,
            lifetime_ns: (process.start_ns != START_UNKNOWN)
                .then(|| ending.boot_ns.saturating_sub(process.start_ns)),
            usage: None,
            path: self.programs.ended(process, ending.boot_ns),
        })
    }

    fn count_threads(&mut self, pid: u32, count: impl Fn(u32) -> Option<u32>) {
        if let Some(life) = self.by_pid.get_mut(&pid) {
            life.threads = life.threads.and_then(count);
        }
    }

    fn change_ids(&mut self, pid: u32, change: impl Fn(Ids) -> Ids) {
        if let Some(life) = self.by_pid.get_mut(&pid) {
            life.ids = life.ids.map(change);
        }
    }

    fn put(&mut self, life: Life) {
        let pid = life.process.pid;
        if self.by_pid.len() < LIVES_MAX || self.by_pid.contains_key(&pid) {
            self.by_pid.insert(pid, life);
        } else {
            self.crowded += 1;
        }
    }
}

impl Life {
    fn of(exec: &ExecEvent, boot_ns: u64) -> Self {
        let Credentials { uid, euid, gid, egid, .. } = exec.credentials;
        Self {
            process: exec.process,
            parent: exec.parent,
            ids: (uid != ID_UNKNOWN).then_some(Ids { uid, euid, gid, egid }),
            threads: None,
            seen_ns: boot_ns,
            is_told: true,
        }
    }
}

/// Whether two starts of one id are the same one: a tick can be off by one.
fn same_start(one: &ProcessKey, other: &ProcessKey) -> bool {
    one.start_ns.abs_diff(other.start_ns) <= TICK_NS
}

/// Credentials by the ids that messages tell. An exec makes the saved and file-system ids the
/// effective ones, see credentials(7).
fn after_exec(ids: Ids) -> Credentials {
    Credentials {
        uid: ids.uid,
        euid: ids.euid,
        suid: ids.euid,
        fsuid: Some(ids.euid),
        gid: ids.gid,
        egid: ids.egid,
        sgid: ids.egid,
        fsgid: Some(ids.egid),
        auid: None,
        audit_session_id: None,
    }
}

/// The status of a process by those of its first and its last thread. The first one's counts, but for
/// `exit_group(2)` or a signal after it had gone alone: then the last one has it.
const fn status([first, last]: [u32; 2]) -> u32 {
    if last != 0 { last } else { first }
}

/// Whether the process that started at `start_ns` has ended: `/proc` shows none, another, or one that
/// only waits to be reaped.
fn has_ended(pid: u32, start_ns: Option<u64>, buffer: &mut Vec<u8>) -> bool {
    let stat = ProcessFolder::open(pid, buffer).ok().and_then(|mut folder| folder.stat());
    stat.is_none_or(|stat| {
        let is_other = |start_ns: u64| stat.start_ns().abs_diff(start_ns) > TICK_NS;
        stat.has_ended() || start_ns.is_some_and(is_other)
    })
}

/// Boot time as nanoseconds since the Unix epoch.
pub(super) fn real_ns(boot_ns: u64, offset_ns: i64) -> i64 {
    i64::try_from(boot_ns).unwrap_or(i64::MAX).saturating_add(offset_ns)
}

#[cfg(test)]
#[path = "lives_tests.rs"]
mod tests;
