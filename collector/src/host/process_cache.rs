//! Which program each process runs, for the rows that their source leaves without a path.
//!
//! **Invariants:** at most [`ENTRIES_MAX`] entries; an entry stays [`KEPT_NS`] after the process
//! ended, so that records a little out of order still find it; what is thrown out for want of room
//! is counted.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::events::ProcessKey;

/// Processes that are remembered at once.
pub const ENTRIES_MAX: usize = 32_768;

/// How long a process is remembered past its end, in nanoseconds.
pub const KEPT_NS: u64 = 30_000_000_000;

/// Programs of processes, by identity.
#[derive(Debug)]
pub struct ProcessCache {
    paths: HashMap<ProcessKey, Option<Arc<str>>>,
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
            paths: HashMap::new(),
            entered: VecDeque::new(),
            ended: VecDeque::new(),
            entries_max: entries_max.max(1),
            evicted: 0,
        }
    }

    /// Remembers that `process` runs the program at `path`; `None` when that is not known.
    pub fn started(&mut self, process: ProcessKey, path: Option<&str>) {
        let path = path.map(Arc::from);
        self.put(process, path);
    }

    /// Remembers that `process` runs what `creator` runs, and returns the path of that.
    pub fn forked(&mut self, process: ProcessKey, creator: ProcessKey) -> Option<String> {
        let path = self.paths.get(&creator).cloned().flatten();
        self.put(process, path.clone());
        path.as_deref().map(str::to_owned)
    }

    /// The program of `process`, `None` when it is not known. The process is forgotten
    /// [`KEPT_NS`] after `boot_ns`.
    pub fn ended(&mut self, process: ProcessKey, boot_ns: u64) -> Option<String> {
        let path = self.paths.get(&process)?.as_deref().map(str::to_owned);
        self.ended.push_back((boot_ns, process));
        path
    }

    /// Whether `process` is remembered.
    #[must_use]
    pub fn contains(&self, process: ProcessKey) -> bool {
        self.paths.contains_key(&process)
    }

    /// Gives `process` a path if it is remembered without one.
    pub fn complete(&mut self, process: ProcessKey, path: Option<&str>) {
        if let Some(entry @ None) = self.paths.get_mut(&process) {
            *entry = path.map(Arc::from);
        }
    }

    /// Forgets what ended [`KEPT_NS`] before `boot_ns` or earlier.
    pub fn expire(&mut self, boot_ns: u64) {
        while let Some((ended_ns, process)) = self.ended.front()
            && ended_ns.saturating_add(KEPT_NS) <= boot_ns
        {
            self.paths.remove(process);
            self.ended.pop_front();
        }
        // Without this the identities of the gone would pile up in front of a long-lived one.
        if self.entered.len() > self.paths.len().saturating_mul(2).max(1024) {
            self.entered.retain(|process| self.paths.contains_key(process));
        }
    }

    /// How many processes are remembered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.paths.len()
    }

    /// How many were thrown out for want of room.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn put(&mut self, process: ProcessKey, path: Option<Arc<str>>) {
        if let Some(entry) = self.paths.get_mut(&process) {
            *entry = path;
            return;
        }
        while self.paths.len() >= self.entries_max && self.evict() {}
        self.paths.insert(process, path);
        self.entered.push_back(process);
    }

    /// Throws out the process that ended first, else the one entered first; false when none is
    /// left.
    fn evict(&mut self) -> bool {
        while let Some((_, process)) = self.ended.pop_front() {
            if self.paths.remove(&process).is_some() {
                self.evicted += 1;
                return true;
            }
        }
        while let Some(process) = self.entered.pop_front() {
            if self.paths.remove(&process).is_some() {
                self.evicted += 1;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_NS, ProcessCache};
    use crate::events::ProcessKey;

    fn key(pid: u32) -> ProcessKey {
        ProcessKey { pid, start_ns: u64::from(pid) * 10 }
    }

    #[test]
    fn a_child_runs_what_its_creator_runs() {
        let mut cache = ProcessCache::default();
        cache.started(key(1), Some("/bin/sh"));
        assert_eq!(cache.forked(key(2), key(1)).as_deref(), Some("/bin/sh"));
        cache.started(key(2), Some("/bin/ls"));
        assert_eq!(cache.ended(key(2), 5).as_deref(), Some("/bin/ls"));
        assert_eq!(cache.ended(key(1), 6).as_deref(), Some("/bin/sh"));
        assert_eq!(cache.forked(key(4), key(3)), None);
    }

    #[test]
    fn an_entry_outlives_its_process_by_thirty_seconds() {
        let mut cache = ProcessCache::default();
        cache.started(key(1), Some("/bin/sh"));
        assert!(cache.ended(key(1), 100).is_some());
        cache.expire(100 + KEPT_NS - 1);
        assert!(cache.contains(key(1)));
        cache.expire(100 + KEPT_NS);
        assert!(!cache.contains(key(1)));
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let mut cache = ProcessCache::default();
        cache.started(ProcessKey { pid: 7, start_ns: 1 }, Some("/bin/old"));
        assert_eq!(cache.ended(ProcessKey { pid: 7, start_ns: 2 }, 9), None);
    }

    #[test]
    fn room_is_made_by_the_ended_first_and_counted() {
        let mut cache = ProcessCache::with_entries_max(3);
        for pid in 1..=3 {
            cache.started(key(pid), None);
        }
        assert_eq!(cache.ended(key(2), 1), None);
        cache.started(key(4), None);
        assert!(!cache.contains(key(2)));
        cache.started(key(5), None);
        assert!(!cache.contains(key(1)));
        assert_eq!((cache.count(), cache.evicted()), (3, 2));
    }

    #[test]
    fn the_order_of_entry_stays_bounded() {
        let mut cache = ProcessCache::default();
        cache.started(key(1), Some("/sbin/init"));
        for pid in 2..100_000 {
            cache.started(key(pid), None);
            assert_eq!(cache.ended(key(pid), u64::from(pid)), None);
            cache.expire(u64::from(pid) + KEPT_NS);
        }
        assert_eq!(cache.count(), 1);
        assert!(cache.entered.len() <= 1025, "{}", cache.entered.len());
    }
}
