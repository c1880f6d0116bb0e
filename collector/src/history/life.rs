//! What is recorded of one process, found by its identity.

use std::collections::HashSet;
use std::ops::ControlFlow;

use bygone_store::sql::History;
use bygone_store::{EventTable, GuidParts};

use super::Failure;
use super::rows::Asked;
use crate::tables::events::process_events::ProcessEvents;
use crate::tables::events::process_exit_events::ProcessExitEvents;
use crate::tables::events::process_fork_events::ProcessForkEvents;

/// Ancestors that are followed; more mean that the recorded parents cannot be right.
pub const DEPTH_MAX: u32 = 1024;

/// Programs of one process that are kept; of more, the last ones.
const PROGRAMS_MAX: usize = 4096;

/// What is recorded of a process.
#[derive(Clone, Debug)]
pub struct Life {
    /// Which process.
    pub process: GuidParts,
    /// When it was created, in nanoseconds since the Unix epoch: its fork, or else the start of a
    /// process that was found running.
    pub created_ns: Option<i64>,
    /// The process that created it. Only where the fork is not recorded, it is the parent that it
    /// had at its first exec, or when it was found running.
    pub parent: Option<GuidParts>,
    /// The programs it ran, in the order of time.
    pub programs: Vec<Program>,
    /// How it ended; `None` while it runs.
    pub end: Option<End>,
}

/// A program that a process ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Since when, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Path of its file.
    pub path: Option<String>,
    /// Its arguments, joined by spaces.
    pub cmdline: Option<String>,
    /// Real user id it was started with.
    pub uid: Option<u32>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// What it passed to exit.
    pub exit_code: Option<u32>,
    /// The signal that ended it.
    pub signal: Option<u32>,
}

impl Life {
    /// A process of which nothing is known.
    #[must_use]
    pub const fn unknown(process: GuidParts) -> Self {
        Self { process, created_ns: None, parent: None, programs: Vec::new(), end: None }
    }

    /// Looks a process up.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn find(history: &History<'_>, process: GuidParts) -> Result<Self, Failure> {
        let mut life = Self::unknown(process);
        life.find_fork(history)?;
        life.find_programs(history)?;
        let columns = &["exit_code", "signal"];
        Asked::all(ProcessExitEvents::SCHEMA, columns).about(process).each(history, |row| {
            life.end =
                Some(End { time_ns: row.time_ns(), exit_code: row.u32(0), signal: row.u32(1) });
            ControlFlow::Continue(())
        })?;
        Ok(life)
    }

    fn find_fork(&mut self, history: &History<'_>) -> Result<(), Failure> {
        let columns = &["parent", "parent_start_ns", "path", "uid"];
        Asked::all(ProcessForkEvents::SCHEMA, columns).about(self.process).each(history, |row| {
            self.created_ns = Some(row.time_ns());
            self.parent = row.process(0, 1);
            let path = row.text(2).map(str::to_owned);
            let time_ns = row.time_ns();
            self.programs.push(Program { time_ns, path, cmdline: None, uid: row.u32(3) });
            ControlFlow::Continue(())
        })
    }

    fn find_programs(&mut self, history: &History<'_>) -> Result<(), Failure> {
        let columns = &["path", "cmdline", "uid", "syscall", "parent", "parent_start_ns"];
        let mut found = Vec::new();
        Asked::all(ProcessEvents::SCHEMA, columns).about(self.process).each(history, |row| {
            let program = Program {
                time_ns: row.time_ns(),
                path: row.text(0).map(str::to_owned),
                cmdline: row.text(1).map(str::to_owned),
                uid: row.u32(2),
            };
            let snapshot = row.text(3) == Some("snapshot");
            found.push((row.eid(), snapshot, row.process(4, 5), program));
            if found.len() < PROGRAMS_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        // In the order in which it was recorded: the first parent is nearest to the start.
        found.sort_by_key(|(eid, ..)| *eid);
        if self.parent.is_none() {
            self.parent = found.iter().find_map(|(_, _, parent, _)| *parent);
        }
        if self.created_ns.is_none() {
            let snapshot = found.iter().find(|(_, snapshot, ..)| *snapshot);
            self.created_ns = snapshot.map(|(.., program)| program.time_ns);
        }
        self.programs.extend(found.into_iter().map(|(.., program)| program));
        self.programs.sort_by_key(|program| program.time_ns);
        Ok(())
    }

    /// Whether nothing is recorded of it.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.programs.is_empty() && self.end.is_none()
    }

    /// What it ran at a time: the last program by then, or the first that is known.
    #[must_use]
    pub fn program_at(&self, time_ns: i64) -> Option<&Program> {
        let by_then = self.programs.iter().rfind(|program| program.time_ns <= time_ns);
        by_then.or_else(|| self.programs.first())
    }
}

/// A process and what it came from, the nearest first. Empty when nothing is recorded of it.
///
/// # Errors
/// When the history cannot be read, or the chain does not end.
pub fn ancestors(history: &History<'_>, process: GuidParts) -> Result<Vec<Life>, Failure> {
    let mut lives: Vec<Life> = Vec::new();
    let mut seen = HashSet::new();
    let mut next = Some(process);
    // The kernel's idle task, which created init, is no process.
    while let Some(process) = next.filter(|process| process.pid != 0) {
        if lives.len() > DEPTH_MAX as usize || !seen.insert(process) {
            return Err(format!(
                "the recorded parents of {process} do not end within {DEPTH_MAX} generations"
            )
            .into());
        }
        let life = Life::find(history, process)?;
        if lives.is_empty() && life.is_unknown() {
            break;
        }
        next = life.parent;
        lives.push(life);
    }
    Ok(lives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_at_a_time_is_the_last_one_by_then() {
        let process = GuidParts { boot: [1, 2, 3, 4], pid: 5, start_ns: 6 };
        let program = |time_ns, path: &str| Program {
            time_ns,
            path: Some(path.to_owned()),
            ..Program::default()
        };
        let mut life = Life::unknown(process);
        assert!(life.is_unknown() && life.program_at(9).is_none());
        life.programs = vec![program(10, "/bin/sh"), program(20, "/bin/ls")];
        let at = |time_ns| life.program_at(time_ns).and_then(|program| program.path.as_deref());
        assert_eq!(at(9), Some("/bin/sh"));
        assert_eq!(at(10), Some("/bin/sh"));
        assert_eq!(at(19), Some("/bin/sh"));
        assert_eq!(at(i64::MAX), Some("/bin/ls"));
    }
}
