//! What the last look found, and what the next one finds to have changed.

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::look::tasks_created;
use super::{LIVES_MAX, SOURCE};
use crate::events::{
    CollectorEvent, ExecEvent, Gap, GapReason, LedgerEntry, Noticed, ProcessEvent, ProcessKey,
};
use crate::host::exclude::Exclusions;
use crate::host::process_cache::ProcessCache;
use crate::host::program::{self, Running};
use crate::host::reconcile::{Remembered, difference, end};
use crate::publish::gathered::Gathered;
use crate::publish::privacy::Privacy;
use crate::publish::process_ebpf::clock::{Clock, boot_ns};
use crate::publish::selection::{Fate, Selection, Selector};
use crate::publish::{Batch, Closed, Events, Sink};

/// Length of a row of the ledger, and of what a gap tells.
const BUCKET_NS: i64 = 10_000_000_000;

/// A process as it was last seen.
#[derive(Debug)]
struct Life {
    process: ProcessKey,
    parent: Option<ProcessKey>,
    ids: (u32, u32),
    path: Option<String>,
    stack_start: u64,
    threads: u64,
}

/// Tasks that nobody found, until a gap tells of them.
#[derive(Debug, Default)]
struct Unfound {
    since_ns: i64,
    created: u64,
    found: u64,
}

/// What became of the events of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    stored: u64,
    excluded: u64,
}

/// Everything from look to look.
#[derive(Debug)]
pub(super) struct State {
    clock: Clock,
    privacy: Privacy,
    selector: Selector,
    /// What each runs, for its children.
    programs: ProcessCache,
    lives: HashMap<u32, Life>,
    buffer: Vec<u8>,
    /// When the last look began, in nanoseconds since the Unix epoch.
    looked_ns: i64,
    /// Tasks created up to the last look.
    created: Option<u64>,
    unfound: Unfound,
    events: Vec<ProcessEvent>,
    collector: Vec<CollectorEvent>,
    /// Per bucket, how many events were stored and left out of `exec` and `exit`.
    books: BTreeMap<i64, [Counts; 2]>,
}

impl State {
    pub(super) fn new(clock: Clock, privacy: Privacy, exclusions: Exclusions) -> Self {
        Self {
            clock,
            privacy,
            selector: Selector::new(Selection { exclusions, rate_limit: 0 }),
            programs: ProcessCache::default(),
            lives: HashMap::new(),
            buffer: Vec::new(),
            looked_ns: 0,
            created: None,
            unfound: Unfound::default(),
            events: Vec::new(),
            collector: Vec::new(),
            books: BTreeMap::new(),
        }
    }

    /// When the last look began, in nanoseconds since the Unix epoch.
    pub(super) const fn looked_ns(&self) -> i64 {
        self.looked_ns
    }

    /// Whether a process is known.
    pub(super) fn knows(&self, pid: u32) -> bool {
        self.lives.contains_key(&pid)
    }

    /// Looks at all processes and notes what changed.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub(super) fn look(&mut self) -> io::Result<()> {
        self.clock.refresh();
        let began_ns = boot_ns();
        let time_ns = self.real_ns(began_ns);
        let created = tasks_created();
        let alive_ns = std::mem::replace(&mut self.looked_ns, time_ns);
        let is_first = self.lives.is_empty();
        let mut live = program::running(&mut self.buffer)?;
        let known = self.lives.values().map(|life| life.process);
        let differs = difference(known, live.values().map(|running| running.process), 0, began_ns);
        for process in differs.gone {
            self.ended(process, time_ns, alive_ns);
        }
        let mut found = 0;
        for process in differs.unknown {
            found += live.remove(&process.pid).map_or(0, |running| self.appeared(&running));
        }
        for running in live.into_values() {
            found += self.stayed(&running, time_ns);
        }
        if !is_first {
            self.count_unfound(created, found, alive_ns);
        }
        self.created = created;
        self.programs.expire(began_ns);
        self.close_settled(time_ns);
        Ok(())
    }

    fn ended(&mut self, process: ProcessKey, time_ns: i64, alive_ns: i64) {
        let Some(life) = self.lives.remove(&process.pid) else {
            return;
        };
        self.programs.ended(process, boot_ns());
        let remembered = Remembered { parent: life.parent, ids: life.ids, path: life.path };
        self.push(end(process, remembered, time_ns, Noticed::Missed { alive_ns }));
    }

    /// Tells of a process that was not there at the last look; says how many tasks it has.
    fn appeared(&mut self, running: &Running) -> u64 {
        let pid = running.process.pid;
        let read = self.read(pid);
        // One that has ended since was seen nevertheless, though nothing more is known of it.
        let mut exec = read.filter(|exec| exec.process == running.process).unwrap_or_else(|| {
            let credentials = program::CREDENTIALS_UNKNOWN;
            ExecEvent {
                process: running.process,
                tid: pid,
                credentials,
                path: running.path.clone(),
                arguments_truncated: true,
                kernel_thread: running.stat.is_kernel_thread,
                ..ExecEvent::default()
            }
        });
        exec.snapshot = true;
        exec.time_ns = self.real_ns(exec.process.start_ns);
        if self.lives.len() < LIVES_MAX {
            self.lives.insert(pid, Life::of(&exec, running));
        }
        self.push(ProcessEvent::Exec(Box::new(exec)));
        threads(running)
    }

    /// Tells of a process that is still there if it runs another program; says how many more threads
    /// it has.
    fn stayed(&mut self, running: &Running, time_ns: i64) -> u64 {
        let Some(life) = self.lives.get_mut(&running.process.pid) else {
            return 0;
        };
        let more = threads(running).saturating_sub(life.threads);
        life.threads = threads(running);
        let stacks = [life.stack_start, running.stat.stack_start];
        let is_other = |(before, now): (&String, &String)| before != now;
        let has_execed = !stacks.contains(&0) && life.stack_start != running.stat.stack_start
            || life.path.as_ref().zip(running.path.as_ref()).is_some_and(is_other);
        if !has_execed {
            return more;
        }
        let read = self.read(running.process.pid);
        let Some(mut exec) = read.filter(|exec| exec.process == running.process) else {
            return more;
        };
        exec.time_ns = time_ns;
        self.lives.insert(running.process.pid, Life::of(&exec, running));
        self.push(ProcessEvent::Exec(Box::new(exec)));
        more
    }

    fn read(&mut self, pid: u32) -> Option<ExecEvent> {
        program::exec_event(pid, self.privacy.environment.is_read(), &mut self.buffer)
    }

    /// Notes how many tasks were created since the last look, and how many of them were found.
    fn count_unfound(&mut self, created: Option<u64>, found: u64, alive_ns: i64) {
        let Some(created) = created.zip(self.created).map(|(now, then)| now.saturating_sub(then))
        else {
            return;
        };
        if self.unfound.created == 0 {
            self.unfound.since_ns = alive_ns;
        }
        self.unfound.created += created;
        self.unfound.found += found;
    }

    /// Books an event that the ledger counts and, unless it is left out, keeps it until it is sent.
    fn push(&mut self, mut event: ProcessEvent) {
        if let ProcessEvent::Exec(exec) = &mut event {
            self.programs.started(exec);
            self.privacy.apply(exec);
        }
        let counted = match &event {
            ProcessEvent::Exec(exec) if exec.snapshot => None,
            ProcessEvent::Exec(exec) => Some((0, exec.time_ns)),
            ProcessEvent::Exit(exit) => Some((1, exit.time_ns)),
            ProcessEvent::Fork(_) => None,
        };
        let is_told = self.selector.fate(&event) == Fate::Told;
        if let Some((class, time_ns)) = counted {
            let bucket = self.books.entry(time_ns.div_euclid(BUCKET_NS)).or_default();
            if let Some(counts) = bucket.get_mut(class) {
                counts.stored += u64::from(is_told);
                counts.excluded += u64::from(!is_told);
            }
        }
        if is_told {
            self.events.push(event);
        }
    }

    /// Closes the books up to the bucket of `time_ns`, and tells of what was not found.
    fn close_settled(&mut self, time_ns: i64) {
        let open = self.books.split_off(&time_ns.div_euclid(BUCKET_NS));
        let closed = std::mem::replace(&mut self.books, open);
        self.collector.extend(closed.into_iter().flat_map(entries));
        if time_ns - self.unfound.since_ns >= BUCKET_NS {
            self.tell_unfound();
        }
    }

    /// Closes all books: the source ends.
    pub(super) fn close(&mut self) {
        let closed = std::mem::take(&mut self.books);
        self.collector.extend(closed.into_iter().flat_map(entries));
        self.tell_unfound();
    }

    fn tell_unfound(&mut self) {
        let Unfound { since_ns, created, found } = std::mem::take(&mut self.unfound);
        let at_most = created.saturating_sub(found);
        if at_most == 0 {
            return;
        }
        self.collector.push(CollectorEvent::Gap(Gap {
            time_ns: since_ns,
            end_ns: self.looked_ns,
            source: SOURCE.to_owned(),
            reason: GapReason::SourceOverflow,
            lost: None,
            detail: Some(format!(
                "the kernel created {created} processes and threads, of which the looks at /proc \
                 found {found}: up to {at_most} processes came and went unseen"
            )),
        }));
    }

    /// Sends what was noted; all before the last look is then told.
    pub(super) fn send(&mut self, sink: &Sink) -> Result<(), Closed> {
        let clock_offset_ns = self.clock.offset_ns();
        let batch =
            |events, watermark_ns| Batch { source: SOURCE, watermark_ns, clock_offset_ns, events };
        let mut gathered = Gathered::default();
        for event in std::mem::take(&mut self.events) {
            if let Some(full) = gathered.push(event) {
                sink.send(batch(Events::Process(full), None))?;
            }
        }
        let collector = std::mem::take(&mut self.collector);
        if !collector.is_empty() {
            sink.send(batch(Events::Collector(collector), None))?;
        }
        let rest = gathered.rest().unwrap_or_default();
        sink.send(batch(Events::Process(rest), Some(self.looked_ns)))
    }

    fn real_ns(&self, boot_ns: u64) -> i64 {
        i64::try_from(boot_ns).unwrap_or(i64::MAX).saturating_add(self.clock.offset_ns())
    }
}

impl Life {
    fn of(exec: &ExecEvent, running: &Running) -> Self {
        Self {
            process: running.process,
            parent: exec.parent,
            ids: (exec.credentials.uid, exec.credentials.gid),
            path: exec.path.clone(),
            stack_start: running.stat.stack_start,
            threads: threads(running),
        }
    }
}

fn threads(running: &Running) -> u64 {
    u64::try_from(running.stat.threads).unwrap_or(0)
}

/// The rows of the ledger of one bucket.
fn entries((bucket, counts): (i64, [Counts; 2])) -> impl Iterator<Item = CollectorEvent> {
    ["exec", "exit"].into_iter().zip(counts).map(move |(class, counts)| {
        let Counts { stored, excluded } = counts;
        CollectorEvent::Ledger(LedgerEntry {
            time_ns: bucket * BUCKET_NS,
            source: SOURCE.to_owned(),
            class: class.to_owned(),
            seen: stored + excluded,
            stored,
            filtered: excluded,
            excluded,
            ..LedgerEntry::default()
        })
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// What a look notes of one process.
    fn look(state: &mut State, pid: u32) -> Vec<ProcessEvent> {
        state.look().unwrap();
        let of = |event: &ProcessEvent| match event {
            ProcessEvent::Exec(exec) => exec.process.pid,
            ProcessEvent::Fork(fork) => fork.process.pid,
            ProcessEvent::Exit(exit) => exit.process.pid,
        };
        std::mem::take(&mut state.events).into_iter().filter(|event| of(event) == pid).collect()
    }

    /// A shell that becomes `cat` when it is told to.
    fn becomes_cat() -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read line; exec cat"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn a_life_is_found_changed_and_gone() {
        use std::io::{Read, Write};

        let mut state = State::new(Clock::new(), Privacy::default(), Exclusions::default());
        state.look().unwrap();
        state.events.clear();
        let mut child = becomes_cat();
        let pid = child.id();
        let found = look(&mut state, pid);
        let [ProcessEvent::Exec(found)] = found.as_slice() else { panic!("{found:?}") };
        assert!(found.snapshot && !found.start_exact, "{found:?}");
        assert_eq!(found.parent.map(|parent| parent.pid), Some(std::process::id()));
        assert!(look(&mut state, pid).is_empty());

        // What comes back was written by cat, after the exec.
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"go\nx").unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let changed = look(&mut state, pid);
        let [ProcessEvent::Exec(exec)] = changed.as_slice() else { panic!("{changed:?}") };
        assert!(exec.path.as_ref().is_some_and(|path| path.ends_with("/cat")), "{exec:?}");
        assert!(!exec.snapshot && exec.process == found.process);
        assert_eq!(exec.arguments.as_deref(), Some(b"cat\0".as_slice()));

        let alive_ns = state.looked_ns();
        child.kill().unwrap();
        child.wait().unwrap();
        let gone = look(&mut state, pid);
        let [ProcessEvent::Exit(exit)] = gone.as_slice() else { panic!("{gone:?}") };
        assert_eq!((exit.exit_code, exit.signal, exit.core_dumped), (None, None, None));
        assert_eq!(exit.noticed, Noticed::Missed { alive_ns });
        assert_eq!((exit.process, exit.path.as_ref()), (found.process, exec.path.as_ref()));
        assert!(alive_ns < exit.time_ns && exit.time_ns == state.looked_ns());
    }

    #[test]
    fn books_hold_what_was_found_and_a_gap_what_was_not() {
        let mut state = State::new(Clock::new(), Privacy::default(), Exclusions::default());
        state.look().unwrap();
        let mut child = becomes_cat();
        state.look().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // It comes and goes between two looks.
        assert!(Command::new("true").status().unwrap().success());
        state.look().unwrap();
        state.close();
        let mut exits = 0;
        let mut gaps = Vec::new();
        for event in &state.collector {
            match event {
                CollectorEvent::Ledger(entry) => {
                    assert_eq!((entry.seen, entry.missed), (entry.stored, None));
                    exits += if entry.class == "exit" { entry.stored } else { 0 };
                }
                CollectorEvent::Gap(gap) => gaps.push(gap),
                CollectorEvent::Capability(_) | CollectorEvent::Audit(_) => panic!("{event:?}"),
            }
        }
        let is_exit = |event: &&ProcessEvent| matches!(event, ProcessEvent::Exit(_));
        assert_eq!(exits, state.events.iter().filter(is_exit).count() as u64);
        assert!(exits >= 1);
        if tasks_created().is_some() {
            let [gap] = gaps.as_slice() else { panic!("{gaps:?}") };
            assert_eq!((gap.lost, gap.reason), (None, GapReason::SourceOverflow));
            assert!(gap.detail.as_ref().unwrap().contains("came and went unseen"), "{gap:?}");
        }
    }
}
