//! A limit to how many events of one executable become rows in a second, with a summary in place of the
//! rest.
//!
//! An executable is a file, by device and inode, and of an interpreter one script that it runs. In each
//! second of the events' own time so many of its starts, and as many forks by processes that run it, are
//! told as they come; the others are counted. The end of a process is counted only where nothing else is
//! told of it, so that whatever has a beginning in the tables has its end there, too.
//!
//! **Invariants:** at most [`EXECUTABLES_MAX`] executables and [`LIVES_MAX`] processes are followed; what
//! is not followed is told. What is merged is in exactly one summary.

use std::collections::HashMap;
use std::sync::Arc;

use super::BATCH_EVENTS_MAX;
use crate::events::{
    ExecEvent, ExitEvent, ForkEvent, ProcessEvent, ProcessKey, ProcessSummaryEvent, SummaryKind,
};

/// Executables that are counted at once: those that were started, or ran a process that forked, within
/// the last second or two. Each takes some 10 KiB at most, for its paths.
const EXECUTABLES_MAX: usize = 1024;

/// Processes of which it is known what they run, some 10 MB.
const LIVES_MAX: usize = 65_536;

const SECOND_NS: i64 = 1_000_000_000;

/// A file and, of an interpreter, the script.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Executable {
    device: u64,
    inode: u64,
    script_path: Option<String>,
}

/// A process.
#[derive(Clone, Debug)]
struct Life {
    executable: Arc<Executable>,
    path: Option<Arc<str>>,
    /// Whether anything of it was told.
    is_told: bool,
}

/// A value that all have, as long as they do.
#[derive(Debug, Default)]
enum Same<T> {
    #[default]
    None,
    All(T),
    Several,
}

impl<T: PartialEq> Same<T> {
    fn add(&mut self, value: T) {
        match self {
            Self::None => *self = Self::All(value),
            Self::All(known) if *known == value => {}
            Self::All(_) | Self::Several => *self = Self::Several,
        }
    }

    fn all(self) -> Option<T> {
        if let Self::All(value) = self { Some(value) } else { None }
    }
}

/// What an event adds to a summary.
struct Merged {
    time_ns: i64,
    uid: u32,
    parent: Option<ProcessKey>,
    parent_path: Option<Arc<str>>,
}

/// What was merged of one kind.
#[derive(Debug, Default)]
struct Tally {
    /// Those that were told.
    told: u32,
    merged: u64,
    time_ns: i64,
    end_ns: i64,
    uid: Same<u32>,
    parent: Same<Option<ProcessKey>>,
    parent_path: Same<Option<Arc<str>>>,
}

impl Tally {
    fn add(&mut self, event: Merged) {
        let Merged { time_ns, uid, parent, parent_path } = event;
        self.time_ns = if self.merged == 0 { time_ns } else { self.time_ns.min(time_ns) };
        self.end_ns = if self.merged == 0 { time_ns } else { self.end_ns.max(time_ns) };
        self.merged += 1;
        self.uid.add(uid);
        self.parent.add(parent);
        self.parent_path.add(parent_path);
    }
}

/// A second of one executable.
#[derive(Debug)]
struct Second {
    number: i64,
    path: Option<Arc<str>>,
    exec: Tally,
    fork: Tally,
    exit: Tally,
}

impl Second {
    fn new(number: i64, path: Option<Arc<str>>) -> Self {
        let (exec, fork, exit) = Default::default();
        Self { number, path, exec, fork, exit }
    }

    fn tally(&mut self, kind: SummaryKind) -> &mut Tally {
        match kind {
            SummaryKind::Exec => &mut self.exec,
            SummaryKind::Fork => &mut self.fork,
            SummaryKind::Exit => &mut self.exit,
        }
    }
}

/// The limit, and what was merged because of it.
#[derive(Debug, Default)]
pub(super) struct RateLimit {
    /// Events of one kind and executable in a second; 0: no limit.
    limit: u32,
    seconds: HashMap<Arc<Executable>, Second>,
    lives: HashMap<ProcessKey, Life>,
    /// Summaries of seconds that are over.
    ready: Vec<ProcessSummaryEvent>,
}

impl RateLimit {
    /// So many events in a second; 0 is no limit.
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Whether an event is merged rather than told. Each is asked of once, in the order of their times
    /// as far as the source knows it.
    pub(super) fn merges(&mut self, event: &ProcessEvent) -> bool {
        if self.limit == 0 {
            return false;
        }
        match event {
            ProcessEvent::Exec(exec) => self.execed(exec),
            ProcessEvent::Fork(fork) => self.forked(fork),
            ProcessEvent::Exit(exit) => self.ended(exit),
        }
    }

    /// Whether an end that nobody saw, and that nobody counts, is told: not when nothing else of the
    /// process is.
    pub(super) fn tells_end(&mut self, end: &ProcessEvent) -> bool {
        let ProcessEvent::Exit(exit) = end else { return true };
        self.lives.remove(&exit.process).is_none_or(|life| life.is_told)
    }

    /// Forgets a process of which nothing more comes.
    pub(super) fn forget(&mut self, process: ProcessKey) {
        self.lives.remove(&process);
    }

    /// The summaries of the seconds that are over at `time_ns`, nanoseconds since the Unix epoch, in
    /// batches; with the highest, all.
    pub(super) fn take(&mut self, time_ns: i64) -> Vec<Vec<ProcessSummaryEvent>> {
        let now = time_ns.div_euclid(SECOND_NS);
        for (executable, second) in self.seconds.extract_if(|_, second| second.number < now) {
            close(&mut self.ready, &executable, second);
        }
        let mut ready = std::mem::take(&mut self.ready);
        ready.sort_by_key(|summary| summary.time_ns);
        ready.chunks(BATCH_EVENTS_MAX).map(<[_]>::to_vec).collect()
    }

    fn execed(&mut self, exec: &ExecEvent) -> bool {
        let Some(file) = exec.file else {
            // What it runs is not known any more.
            self.lives.remove(&exec.process);
            return false;
        };
        let script_path = exec.script_path.clone();
        let executable = Executable { device: file.device, inode: file.inode, script_path };
        let known = self.seconds.get_key_value(&executable).map(|(known, _)| Arc::clone(known));
        let executable = known.unwrap_or_else(|| Arc::new(executable));
        let path: Option<Arc<str>> = exec.path.as_deref().map(Arc::from);
        let merged = !exec.snapshot
            && self.is_over(&executable, path.as_ref(), SummaryKind::Exec, || Merged {
                time_ns: exec.time_ns,
                uid: exec.credentials.uid,
                parent: exec.parent,
                parent_path: exec.parent_path.clone(),
            });
        // One whose beginning was not seen may have been told.
        let before = self.lives.get(&exec.process).is_none_or(|life| life.is_told);
        self.put(exec.process, Life { executable, path, is_told: before || !merged });
        merged
    }

    fn forked(&mut self, fork: &ForkEvent) -> bool {
        let Some(Life { executable, path, .. }) = self.lives.get(&fork.caller).cloned() else {
            return false;
        };
        let merged = self.is_over(&executable, path.as_ref(), SummaryKind::Fork, || Merged {
            time_ns: fork.time_ns,
            uid: fork.uid,
            parent: Some(fork.caller),
            parent_path: path.clone(),
        });
        self.put(fork.process, Life { executable, path, is_told: !merged });
        merged
    }

    fn ended(&mut self, exit: &ExitEvent) -> bool {
        let Some(life) = self.lives.remove(&exit.process).filter(|life| !life.is_told) else {
            return false;
        };
        let parent_path = exit.parent.and_then(|parent| self.lives.get(&parent)?.path.clone());
        let event =
            Merged { time_ns: exit.time_ns, uid: exit.uid, parent: exit.parent, parent_path };
        let Some(second) = self.second(&life.executable, life.path.as_ref(), exit.time_ns) else {
            return false;
        };
        second.exit.add(event);
        true
    }

    /// Counts an event; true when it is above the limit, and merged.
    fn is_over(
        &mut self,
        executable: &Arc<Executable>,
        path: Option<&Arc<str>>,
        kind: SummaryKind,
        event: impl FnOnce() -> Merged,
    ) -> bool {
        let limit = self.limit;
        let event = event();
        let Some(second) = self.second(executable, path, event.time_ns) else {
            return false;
        };
        let tally = second.tally(kind);
        if tally.told < limit {
            tally.told += 1;
            return false;
        }
        tally.add(event);
        true
    }

    /// The second of an executable that an event at `time_ns` counts in: one that comes late counts in
    /// the latest. `None` when no more executables are followed.
    fn second(
        &mut self,
        executable: &Arc<Executable>,
        path: Option<&Arc<str>>,
        time_ns: i64,
    ) -> Option<&mut Second> {
        let number = time_ns.div_euclid(SECOND_NS);
        let is_full = self.seconds.len() >= EXECUTABLES_MAX;
        if is_full && !self.seconds.contains_key(executable) {
            return None;
        }
        let entry = self.seconds.entry(Arc::clone(executable));
        let second = entry.or_insert_with(|| Second::new(number, path.cloned()));
        if second.number < number {
            let over = std::mem::replace(second, Second::new(number, path.cloned()));
            close(&mut self.ready, executable, over);
        }
        Some(second)
    }

    fn put(&mut self, process: ProcessKey, life: Life) {
        if self.lives.len() < LIVES_MAX || self.lives.contains_key(&process) {
            self.lives.insert(process, life);
        }
    }
}

/// Makes summaries of what was merged in a second.
fn close(ready: &mut Vec<ProcessSummaryEvent>, executable: &Executable, mut second: Second) {
    for kind in SummaryKind::ALL {
        let tally = std::mem::take(second.tally(kind));
        if tally.merged == 0 {
            continue;
        }
        ready.push(ProcessSummaryEvent {
            time_ns: tally.time_ns,
            end_ns: tally.end_ns,
            kind,
            count: tally.merged,
            path: second.path.as_deref().map(str::to_owned),
            script_path: executable.script_path.clone(),
            device: executable.device,
            inode: executable.inode,
            uid: tally.uid.all(),
            parent: tally.parent.all().flatten(),
            parent_path: tally.parent_path.all().flatten().as_deref().map(str::to_owned),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Credentials, Noticed, ProgramFile};

    const SHELL: ProcessKey = key(1);

    const fn key(pid: u32) -> ProcessKey {
        ProcessKey { pid, start_ns: pid as u64 * 10 }
    }

    fn exec(process: ProcessKey, inode: u64, time_ns: i64) -> ProcessEvent {
        ProcessEvent::Exec(Box::new(ExecEvent {
            process,
            time_ns,
            parent: Some(SHELL),
            path: Some(format!("/bin/{inode}")),
            file: Some(ProgramFile { device: 5, inode, ..ProgramFile::default() }),
            credentials: Credentials { uid: 7, ..Credentials::default() },
            ..ExecEvent::default()
        }))
    }

    fn fork(process: ProcessKey, time_ns: i64) -> ProcessEvent {
        ProcessEvent::Fork(ForkEvent {
            time_ns,
            process,
            parent: Some(SHELL),
            caller: SHELL,
            clone_flags: None,
            namespaces: None,
            uid: 7,
            gid: 7,
            path: None,
        })
    }

    fn exit(process: ProcessKey, time_ns: i64) -> ProcessEvent {
        ProcessEvent::Exit(ExitEvent {
            time_ns,
            process,
            parent: Some(SHELL),
            uid: 7,
            gid: 7,
            exit_code: Some(0),
            signal: None,
            core_dumped: Some(false),
            noticed: Noticed::Told,
            cpu_ns: None,
            lifetime_ns: None,
            usage: None,
            path: None,
        })
    }

    /// The events that are told of so many lives, fork to end, in one second.
    fn lives(limit: &mut RateLimit, count: u32, second: i64) -> Vec<ProcessEvent> {
        let at = |number: u32, of: u32| second * SECOND_NS + i64::from(number * 3 + of);
        let of = |number: u32| {
            let process = key(100 + number);
            [
                fork(process, at(number, 0)),
                exec(process, 9, at(number, 1)),
                exit(process, at(number, 2)),
            ]
        };
        (0..count).flat_map(of).filter(|event| !limit.merges(event)).collect()
    }

    fn taken(limit: &mut RateLimit, time_ns: i64) -> Vec<ProcessSummaryEvent> {
        limit.take(time_ns).concat()
    }

    #[test]
    fn without_a_limit_all_is_told() {
        let mut limit = RateLimit::new(0);
        assert_eq!(lives(&mut limit, 50, 1).len(), 150);
        assert_eq!((limit.take(i64::MAX).len(), limit.lives.len()), (0, 0));
    }

    #[test]
    fn what_is_above_it_is_counted_by_second_and_every_told_life_ends() {
        let mut limit = RateLimit::new(10);
        assert!(!limit.merges(&exec(SHELL, 1, 0)));
        for second in 1..3 {
            assert_eq!(lives(&mut limit, 50, second).len(), 30, "ten whole lives");
        }
        let first = taken(&mut limit, 2 * SECOND_NS);
        let told: Vec<_> =
            first.iter().map(|of| (of.kind.name(), of.count, of.path.as_deref())).collect();
        let expected = [
            ("fork", 40, Some("/bin/1")),
            ("exec", 40, Some("/bin/9")),
            ("exit", 40, Some("/bin/9")),
        ];
        assert_eq!(told, expected);
        let execs = &first[1];
        assert_eq!((execs.time_ns, execs.end_ns), (SECOND_NS + 31, SECOND_NS + 148));
        assert_eq!((execs.uid, execs.parent, execs.device), (Some(7), Some(SHELL), 5));
        assert_eq!(first[0].parent_path.as_deref(), Some("/bin/1"));
        assert_eq!(taken(&mut limit, 2 * SECOND_NS), []);
        assert_eq!(taken(&mut limit, i64::MAX).iter().map(|of| of.count).sum::<u64>(), 120);
        assert_eq!(limit.lives.len(), 1, "the shell");
        assert!(limit.seconds.is_empty());
    }

    #[test]
    fn an_end_is_told_when_anything_else_was() {
        let mut limit = RateLimit::new(1);
        // Nobody knows what its creator runs, so that its fork is told.
        assert!(!limit.merges(&fork(key(5), 1)));
        assert!(!limit.merges(&exec(key(6), 9, 2)));
        assert!(limit.merges(&exec(key(5), 9, 3)));
        assert!(!limit.merges(&exit(key(5), 4)), "what began unseen may have been told");
        assert!(!limit.merges(&exec(SHELL, 8, 5)) && !limit.merges(&fork(key(7), 6)));
        assert!(limit.merges(&fork(key(8), 7)) && limit.merges(&exec(key(8), 9, 8)));
        assert!(!limit.tells_end(&exit(key(8), 9)) && limit.tells_end(&exit(key(7), 9)));
    }

    #[test]
    fn what_differs_is_not_told_of_all() {
        let mut limit = RateLimit::new(1);
        for (pid, uid) in [(3, 7), (4, 7), (5, 8)] {
            let mut event = exec(key(pid), 9, 5);
            if let ProcessEvent::Exec(exec) = &mut event {
                exec.credentials.uid = uid;
                exec.parent = (pid == 4).then_some(SHELL);
            }
            assert_eq!(limit.merges(&event), pid != 3);
        }
        let [summary] = taken(&mut limit, i64::MAX).try_into().unwrap();
        assert_eq!((summary.count, summary.uid, summary.parent), (2, None, None));
    }

    #[test]
    fn scripts_of_one_interpreter_are_apart() {
        let mut limit = RateLimit::new(1);
        for (pid, script) in [(3, "/a"), (4, "/b"), (5, "/b")] {
            let mut event = exec(key(pid), 9, 5);
            if let ProcessEvent::Exec(exec) = &mut event {
                exec.script_path = Some(script.to_owned());
            }
            assert_eq!(limit.merges(&event), pid == 5);
        }
        let [summary] = taken(&mut limit, i64::MAX).try_into().unwrap();
        assert_eq!(summary.script_path.as_deref(), Some("/b"));
    }

    #[test]
    fn beyond_the_bounds_all_is_told() {
        let mut limit = RateLimit::new(1);
        for inode in 0..EXECUTABLES_MAX as u64 + 5 {
            assert!(!limit.merges(&exec(key(9), inode, 5)));
        }
        let last = EXECUTABLES_MAX as u64 + 1;
        assert!(!limit.merges(&exec(key(9), last, 6)) && limit.merges(&exec(key(9), 1, 6)));
        assert_eq!(taken(&mut limit, SECOND_NS).len(), 1);
        assert!(!limit.merges(&exec(key(9), last, SECOND_NS + 1)));
        assert!(limit.merges(&exec(key(9), last, SECOND_NS + 2)), "there is room again");
        for pid in 0..LIVES_MAX as u32 + 5 {
            limit.put(key(pid + 10), limit.lives[&key(9)].clone());
        }
        assert_eq!(limit.lives.len(), LIVES_MAX);
    }
}
