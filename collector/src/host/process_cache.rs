//! Which program each process runs, for the rows that their source leaves without a path, and for
//! those of its children.
//!
//! **Invariants:** at most [`ENTRIES_MAX`] entries; an entry stays [`KEPT_NS`] after the process
//! ended, so that records a little out of order still find it; what is thrown out for want of room
//! is counted.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::events::{ExecEvent, ForkEvent, ProcessKey};
use crate::host::reconcile::Remembered;
use crate::host::text::cmdline;

/// Processes that are remembered at once: half of what a table of 65,536 places takes, so that one
/// which is full of traces of the forgotten is cleaned in place and does not grow.
pub const ENTRIES_MAX: usize = 28_672;

/// How long a process is remembered past its end, in nanoseconds.
pub const KEPT_NS: u64 = 30_000_000_000;

/// Bytes of a command line that are remembered.
pub const CMDLINE_MAX: usize = 1024;

/// What a process runs, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Program {
    path: Option<Arc<str>>,
    cmdline: Option<Arc<str>>,
    parent: Option<ProcessKey>,
    /// Real user and group id.
    ids: (u32, u32),
    has_ended: bool,
}

/// Programs of processes, by identity.
#[derive(Debug)]
pub struct ProcessCache {
    programs: HashMap<ProcessKey, Program>,
    /// Start of the process that was last given an id.
    starts: HashMap<u32, u64>,
    /// Identities in the order of their entry; some may be gone already.
    entered: VecDeque<ProcessKey>,
    /// Ended processes with the boot time of their end, oldest first.
    ended: VecDeque<(u64, ProcessKey)>,
    entries_max: usize,
    evicted: u64,
}

impl Default for ProcessCache {
    fn default() -> Self {
        Self::with_entries_max(ENTRIES_MAX)
    }
}

impl ProcessCache {
    /// A cache that remembers at most `entries_max` processes.
    #[must_use]
    pub fn with_entries_max(entries_max: usize) -> Self {
        Self {
            programs: HashMap::new(),
            starts: HashMap::new(),
            entered: VecDeque::new(),
            ended: VecDeque::new(),
            entries_max: entries_max.max(1),
            evicted: 0,
        }
    }

    /// Remembers what a process runs, and tells the event what its parent does.
    pub fn started(&mut self, exec: &mut ExecEvent) {
        self.add_parent(exec);
        self.put(exec.process, Program::of(exec));
    }

    /// Tells the event what its parent runs.
    pub fn add_parent(&self, exec: &mut ExecEvent) {
        if let Some(parent) = exec.parent.and_then(|parent| self.programs.get(&parent)) {
            exec.parent_path.clone_from(&parent.path);
            exec.parent_cmdline.clone_from(&parent.cmdline);
        }
    }

    /// Remembers that a new process runs what its creator runs, and tells the event what that is.
    pub fn forked(&mut self, fork: &mut ForkEvent) {
        let creator = self.programs.get(&fork.caller).cloned().unwrap_or_default();
        fork.path = creator.path.as_deref().map(str::to_owned);
        let (parent, ids) = (fork.parent, (fork.uid, fork.gid));
        self.put(fork.process, Program { parent, ids, has_ended: false, ..creator });
    }

    /// The program of `process`, `None` when it is not known. The process is forgotten
    /// [`KEPT_NS`] after `boot_ns`.
    pub fn ended(&mut self, process: ProcessKey, boot_ns: u64) -> Option<String> {
        let program = self.programs.get_mut(&process)?;
        program.has_ended = true;
        self.ended.push_back((boot_ns, process));
        program.path.as_deref().map(str::to_owned)
    }

    /// The processes that have not ended as far as is known.
    pub fn running(&self) -> impl Iterator<Item = ProcessKey> {
        self.programs.iter().filter(|(_, program)| !program.has_ended).map(|(process, _)| *process)
    }

    /// What is known of a process, for the event of its end.
    #[must_use]
    pub fn remembered(&self, process: ProcessKey) -> Remembered {
        let program = self.programs.get(&process).cloned().unwrap_or_default();
        let path = program.path.as_deref().map(str::to_owned);
        Remembered { parent: program.parent, ids: program.ids, path }
    }

    /// Path of the program that `process` runs, `None` when it is not known.
    #[must_use]
    pub fn path(&self, process: ProcessKey) -> Option<Arc<str>> {
        self.programs.get(&process)?.path.clone()
    }

    /// The process that was last given an id, among those remembered.
    #[must_use]
    pub fn by_pid(&self, pid: u32) -> Option<ProcessKey> {
        let process = ProcessKey { pid, start_ns: *self.starts.get(&pid)? };
        self.programs.contains_key(&process).then_some(process)
    }

    /// Whether `process` is remembered.
    #[must_use]
    pub fn contains(&self, process: ProcessKey) -> bool {
        self.programs.contains_key(&process)
    }

    /// Adds what an event tells of a process that is remembered without a path.
    pub fn complete(&mut self, exec: &ExecEvent) {
        if let Some(entry @ Program { path: None, .. }) = self.programs.get_mut(&exec.process) {
            *entry = Program::of(exec);
        }
    }

    /// Forgets a process; says whether it was remembered.
    pub fn forget(&mut self, process: ProcessKey) -> bool {
        if self.starts.get(&process.pid) == Some(&process.start_ns) {
            self.starts.remove(&process.pid);
        }
        self.programs.remove(&process).is_some()
    }

    /// Forgets what ended [`KEPT_NS`] before `boot_ns` or earlier.
    pub fn expire(&mut self, boot_ns: u64) {
        while let Some((ended_ns, process)) = self.ended.front()
            && ended_ns.saturating_add(KEPT_NS) <= boot_ns
        {
            let process = *process;
            self.ended.pop_front();
            self.forget(process);
        }
        // Without this the identities of the gone would pile up in front of a long-lived one.
        if self.entered.len() > self.programs.len().saturating_mul(2).max(1024) {
            self.entered.retain(|process| self.programs.contains_key(process));
        }
    }

    /// How many processes are remembered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.programs.len()
    }

    /// How many were thrown out for want of room.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn put(&mut self, process: ProcessKey, program: Program) {
        if let Some(entry) = self.programs.get_mut(&process) {
            *entry = program;
            return;
        }
        while self.programs.len() >= self.entries_max && self.evict() {}
        self.programs.insert(process, program);
        self.starts.insert(process.pid, process.start_ns);
        self.entered.push_back(process);
    }

    /// Throws out the process that ended first, else the one entered first; false when none is
    /// left.
    fn evict(&mut self) -> bool {
        while let Some((_, process)) = self.ended.pop_front() {
            if self.forget(process) {
                self.evicted += 1;
                return true;
            }
        }
        while let Some(process) = self.entered.pop_front() {
            if self.forget(process) {
                self.evicted += 1;
                return true;
            }
        }
        false
    }
}

impl Program {
    fn of(exec: &ExecEvent) -> Self {
        let cmdline = exec.arguments.as_deref().map(|words| cmdline(words, CMDLINE_MAX).into());
        Self {
            path: exec.path.as_deref().map(Arc::from),
            cmdline,
            parent: exec.parent,
            ids: (exec.credentials.uid, exec.credentials.gid),
            has_ended: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_NS, ProcessCache};
    use crate::events::{ExecEvent, ForkEvent, ProcessKey};

    fn key(pid: u32) -> ProcessKey {
        ProcessKey { pid, start_ns: u64::from(pid) * 10 }
    }

    fn exec(process: ProcessKey, path: Option<&str>) -> ExecEvent {
        ExecEvent { process, path: path.map(str::to_owned), ..ExecEvent::default() }
    }

    fn forked(cache: &mut ProcessCache, child: u32, caller: u32) -> Option<String> {
        let (process, caller) = (key(child), key(caller));
        let mut fork = ForkEvent {
            time_ns: 0,
            process,
            parent: Some(caller),
            caller,
            clone_flags: None,
            namespaces: None,
            uid: 0,
            gid: 0,
            path: None,
        };
        cache.forked(&mut fork);
        fork.path
    }

    fn started(cache: &mut ProcessCache, process: ProcessKey, path: Option<&str>) {
        cache.started(&mut exec(process, path));
    }

    #[test]
    fn an_exec_is_told_what_its_parent_runs() {
        let mut cache = ProcessCache::default();
        let arguments = Some(b"make\0-j8\0".to_vec());
        cache.started(&mut ExecEvent { arguments, ..exec(key(1), Some("/usr/bin/make")) });
        assert_eq!(forked(&mut cache, 2, 1).as_deref(), Some("/usr/bin/make"));
        let mut child = ExecEvent { parent: Some(key(1)), ..exec(key(2), Some("/bin/sh")) };
        cache.started(&mut child);
        assert_eq!(child.parent_path.as_deref(), Some("/usr/bin/make"));
        assert_eq!(child.parent_cmdline.as_deref(), Some("make -j8"));
        let mut orphan = ExecEvent { parent: Some(key(9)), ..exec(key(3), None) };
        cache.started(&mut orphan);
        assert_eq!((orphan.parent_path, orphan.parent_cmdline), (None, None));
    }

    #[test]
    fn a_child_runs_what_its_creator_runs() {
        let mut cache = ProcessCache::default();
        started(&mut cache, key(1), Some("/bin/sh"));
        assert_eq!(forked(&mut cache, 2, 1).as_deref(), Some("/bin/sh"));
        started(&mut cache, key(2), Some("/bin/ls"));
        assert_eq!(cache.ended(key(2), 5).as_deref(), Some("/bin/ls"));
        assert_eq!(cache.ended(key(1), 6).as_deref(), Some("/bin/sh"));
        assert_eq!(forked(&mut cache, 4, 3), None);
    }

    #[test]
    fn an_entry_outlives_its_process_by_thirty_seconds() {
        let mut cache = ProcessCache::default();
        started(&mut cache, key(1), Some("/bin/sh"));
        assert!(cache.ended(key(1), 100).is_some());
        cache.expire(100 + KEPT_NS - 1);
        assert!(cache.contains(key(1)));
        cache.expire(100 + KEPT_NS);
        assert!(!cache.contains(key(1)));
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let mut cache = ProcessCache::default();
        started(&mut cache, ProcessKey { pid: 7, start_ns: 1 }, Some("/bin/old"));
        assert_eq!(cache.ended(ProcessKey { pid: 7, start_ns: 2 }, 9), None);
    }

    #[test]
    fn room_is_made_by_the_ended_first_and_counted() {
        let mut cache = ProcessCache::with_entries_max(3);
        for pid in 1..=3 {
            started(&mut cache, key(pid), None);
        }
        assert_eq!(cache.ended(key(2), 1), None);
        started(&mut cache, key(4), None);
        assert!(!cache.contains(key(2)));
        started(&mut cache, key(5), None);
        assert!(!cache.contains(key(1)));
        assert_eq!((cache.count(), cache.evicted()), (3, 2));
    }

    #[test]
    fn the_order_of_entry_stays_bounded() {
        let mut cache = ProcessCache::default();
        started(&mut cache, key(1), Some("/sbin/init"));
        for pid in 2..100_000 {
            started(&mut cache, key(pid), None);
            assert_eq!(cache.ended(key(pid), u64::from(pid)), None);
            cache.expire(u64::from(pid) + KEPT_NS);
        }
        assert_eq!(cache.count(), 1);
        assert!(cache.entered.len() <= 1025, "{}", cache.entered.len());
    }
}
