//! Which events of processes become rows, for the sources that see them without programs in the kernel:
//! what those programs leave out is left out here by the same rules.
//!
//! It is decided when a program is started, or found running, and holds until the process starts another
//! or ends; those that it forks are what it is.
//!
//! **Invariant:** at most `MARKS_MAX` processes are remembered; those for which there is no room are
//! recorded.

use std::collections::HashMap;

use super::rate_limit::RateLimit;
use crate::events::{ExecEvent, Noticed, ProcessEvent, ProcessKey};
use crate::host::exclude::{ExcludedPath, Exclusions};
use crate::host::proc::TICK_NS;

/// Processes that are left out, or whose children are, at most: some 8 MB.
const MARKS_MAX: usize = 262_144;

/// What of the events is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Which processes are not.
    pub exclusions: Exclusions,
    /// Above how many events of one kind and executable in a second the rest is merged; 0: never.
    pub rate_limit: u32,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is a row.
    Told,
    /// The configuration leaves it out.
    Excluded,
    /// It is in a summary.
    Merged,
}

/// What was found of a process when it started its program.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    start_ns: u64,
    is_left_out: bool,
    /// Whether the programs that its children start are.
    is_parent: bool,
}

impl Mark {
    /// Whether it is of a process: starts from `/proc` may be a tick apart, and 0 is one that is not
    /// known.
    const fn is_of(&self, process: ProcessKey) -> bool {
        self.start_ns == 0
            || process.start_ns == 0
            || self.start_ns.abs_diff(process.start_ns) <= TICK_NS
    }
}

/// Decides, event by event.
#[derive(Debug, Default)]
pub(super) struct Selector {
    exclusions: Exclusions,
    marks: HashMap<u32, Mark>,
    pub(super) limit: RateLimit,
}

impl Selector {
    pub(super) fn new(selection: Selection) -> Self {
        let Selection { exclusions, rate_limit } = selection;
        Self { exclusions, marks: HashMap::new(), limit: RateLimit::new(rate_limit) }
    }

    /// What becomes of an event. Each is asked of once, in the order of their times.
    pub(super) fn fate(&mut self, event: &ProcessEvent) -> Fate {
        if !self.exclusions.is_empty() && self.is_left_out(event) {
            return Fate::Excluded;
        }
        let is_told = match event {
            ProcessEvent::Exit(exit) if matches!(exit.noticed, Noticed::Reconciled { .. }) => {
                self.limit.tells_end(event)
            }
            ProcessEvent::Exec(_) | ProcessEvent::Fork(_) | ProcessEvent::Exit(_) => {
                !self.limit.merges(event)
            }
        };
        if is_told { Fate::Told } else { Fate::Merged }
    }

    fn is_left_out(&mut self, event: &ProcessEvent) -> bool {
        match event {
            ProcessEvent::Exec(exec) => {
                let mark = self.mark_of(exec);
                self.note(exec.process, mark);
                mark.is_left_out
            }
            ProcessEvent::Fork(fork) => {
                let mark = self.mark(fork.caller);
                self.note(fork.process, mark);
                mark.is_left_out
            }
            ProcessEvent::Exit(exit) => {
                let mark = self.mark(exit.process);
                self.marks.remove(&exit.process.pid);
                mark.is_left_out
            }
        }
    }

    /// What the rules say of a process that runs a program.
    fn mark_of(&self, exec: &ExecEvent) -> Mark {
        let covers = |paths: &[ExcludedPath], path: &Option<String>| {
            path.as_ref().is_some_and(|path| paths.iter().any(|excluded| excluded.covers(path)))
        };
        let Exclusions { paths, parents, users, cgroups } = &self.exclusions;
        let of_parent = exec.parent.map(|parent| self.mark(parent)).unwrap_or_default();
        Mark {
            start_ns: 0,
            is_left_out: of_parent.is_parent
                || users.contains(&exec.credentials.uid)
                || covers(paths, &exec.path)
                || covers(cgroups, &exec.cgroup_path),
            is_parent: covers(parents, &exec.path),
        }
    }

    fn mark(&self, process: ProcessKey) -> Mark {
        let mark = self.marks.get(&process.pid).filter(|mark| mark.is_of(process));
        mark.copied().unwrap_or_default()
    }

    fn note(&mut self, process: ProcessKey, mark: Mark) {
        if !mark.is_left_out && !mark.is_parent {
            self.marks.remove(&process.pid);
        } else if self.marks.len() < MARKS_MAX || self.marks.contains_key(&process.pid) {
            self.marks.insert(process.pid, Mark { start_ns: process.start_ns, ..mark });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Credentials, ExitEvent, ForkEvent};

    fn key(pid: u32) -> ProcessKey {
        ProcessKey { pid, start_ns: u64::from(pid) * 10 * TICK_NS }
    }

    fn exec(pid: u32, parent: u32, path: &str) -> ExecEvent {
        let (process, parent, path) = (key(pid), Some(key(parent)), Some(path.to_owned()));
        let credentials = Credentials { uid: 5, ..Credentials::default() };
        ExecEvent { process, parent, path, credentials, ..ExecEvent::default() }
    }

    fn fork(pid: u32, caller: u32) -> ProcessEvent {
        ProcessEvent::Fork(ForkEvent {
            time_ns: 0,
            process: key(pid),
            parent: Some(key(caller)),
            caller: key(caller),
            clone_flags: None,
            namespaces: None,
            uid: 5,
            gid: 5,
            path: None,
        })
    }

    fn exit(pid: u32, noticed: Noticed) -> ProcessEvent {
        ProcessEvent::Exit(ExitEvent {
            time_ns: 0,
            process: key(pid),
            parent: None,
            uid: 5,
            gid: 5,
            exit_code: None,
            signal: None,
            core_dumped: None,
            noticed,
            cpu_ns: None,
            lifetime_ns: None,
            usage: None,
            path: None,
        })
    }

    fn selector(exclusions: Exclusions) -> Selector {
        Selector::new(Selection { exclusions, rate_limit: 0 })
    }

    fn paths(texts: &[&str]) -> Vec<ExcludedPath> {
        texts.iter().map(|text| ExcludedPath::parse(text).unwrap()).collect()
    }

    #[track_caller]
    fn check(selector: &mut Selector, event: ProcessEvent, is_told: bool) {
        let expected = if is_told { Fate::Told } else { Fate::Excluded };
        assert_eq!(selector.fate(&event), expected, "{event:?}");
    }

    fn started(exec: ExecEvent) -> ProcessEvent {
        ProcessEvent::Exec(Box::new(exec))
    }

    #[test]
    fn a_process_is_left_out_until_it_starts_another_program() {
        let mut of = selector(Exclusions { paths: paths(&["/b/%%"]), ..Exclusions::default() });
        check(&mut of, started(exec(1, 9, "/a/x")), true);
        check(&mut of, fork(2, 1), true);
        check(&mut of, started(exec(2, 1, "/b/x")), false);
        check(&mut of, fork(3, 2), false);
        check(&mut of, started(exec(3, 2, "/a/y")), true);
        check(&mut of, exit(3, Noticed::Told), true);
        check(&mut of, fork(4, 2), false);
        check(&mut of, exit(4, Noticed::Told), false);
        check(&mut of, exit(2, Noticed::Reconciled { alive_ns: 0 }), false);
        assert!(of.marks.is_empty());
        // Its id is another's.
        check(&mut of, started(exec(2, 1, "/b/x")), false);
        let mut later = exec(2, 1, "/a/z");
        later.process.start_ns *= 2;
        let fork_by_later = fork(5, 2);
        check(&mut of, started(later), true);
        check(&mut of, fork_by_later, true);
    }

    #[test]
    fn users_cgroups_and_parents_are_compared() {
        let mut of = selector(Exclusions {
            parents: paths(&["/sbin/cron"]),
            users: vec![7],
            cgroups: paths(&["/build/%%"]),
            ..Exclusions::default()
        });
        check(&mut of, started(exec(1, 9, "/sbin/cron")), true);
        check(&mut of, fork(2, 1), true);
        check(&mut of, started(exec(3, 2, "/bin/sh")), false);
        check(&mut of, started(exec(4, 3, "/bin/ls")), true);
        let mut other = exec(5, 9, "/bin/ls");
        other.credentials.uid = 7;
        check(&mut of, started(other), false);
        for (cgroup, is_told) in [("/build", false), ("/build/1", false), ("/builder", true)] {
            let mut inside = exec(6, 9, "/bin/ls");
            inside.cgroup_path = Some(cgroup.to_owned());
            check(&mut of, started(inside), is_told);
        }
        assert_eq!(of.marks.len(), 4, "{:?}", of.marks);
    }
}
