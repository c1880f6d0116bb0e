//! `process_descendants(guid)`, from execs, forks and exits.

use bygone_store::sql::{History, ScanFailure, TableFunction};
use bygone_store::{EventTable, StateTable};
use rusqlite::types::Value;

use crate::history::descent::{Descendant, descendants};
use crate::history::{process_argument, seconds};
use crate::tables::events::process_events::ProcessEvents;

/// A process and what came from it: one row for itself, one for each process that it created, for
/// each that those created, and so on, in the order of their creation. What another process created
/// and it took over later is none of them; more than 100,000 are an error.
#[derive(StateTable)]
pub struct ProcessDescendants {
    /// 0 for the process itself, 1 for its children, and so on.
    pub depth: u32,
    /// Process id.
    pub pid: u32,
    /// Path of its last program; null when nothing is recorded.
    pub path: Option<String>,
    /// Its arguments, joined by spaces; null for a process that called no exec.
    pub cmdline: Option<String>,
    /// Real user id it was started with.
    pub uid: Option<u32>,
    /// When the process was created, in seconds since the Unix epoch; null when that is not
    /// recorded.
    pub time: Option<i64>,
    /// Likewise in nanoseconds.
    pub time_ns: Option<i64>,
    /// When it ended, in nanoseconds since the Unix epoch; null while it runs.
    pub end_ns: Option<i64>,
    /// What it passed to exit; null when it runs or a signal ended it.
    pub exit_code: Option<u32>,
    /// The signal that ended it.
    pub signal: Option<u32>,
    /// Start of the process, in nanoseconds since boot.
    pub start_ns: u64,
    /// Identity of the process.
    pub guid: String,
    /// Identity of the process that created it; null when that is not recorded.
    pub parent_guid: Option<String>,
    /// The argument: the identity of the process asked for.
    #[column(hidden)]
    pub process: String,
}

impl TableFunction for ProcessDescendants {
    fn rows(history: &History<'_>, arguments: &[Value]) -> Result<Vec<Self>, ScanFailure> {
        let process = process_argument("process_descendants", arguments)?;
        let found = descendants(history, process)?;
        let created = found.iter().filter_map(|one| one.life.created_ns);
        let ended = found.iter().filter_map(|one| one.life.end).map(|end| end.time_ns);
        if let (Some(first), Some(last)) = (created.clone().min(), created.chain(ended).max()) {
            history.note(ProcessEvents::SCHEMA, &(first..=last));
        }
        let row = |one: Descendant| {
            let life = one.life;
            let program = life.program_at(i64::MAX).cloned().unwrap_or_default();
            Self {
                depth: one.depth,
                pid: life.process.pid,
                path: program.path,
                cmdline: program.cmdline,
                uid: program.uid,
                time: life.created_ns.map(seconds),
                time_ns: life.created_ns,
                end_ns: life.end.map(|end| end.time_ns),
                exit_code: life.end.and_then(|end| end.exit_code),
                signal: life.end.and_then(|end| end.signal),
                start_ns: life.process.start_ns,
                guid: life.process.to_string(),
                parent_guid: life.parent.map(|parent| parent.to_string()),
                process: process.to_string(),
            }
        };
        Ok(found.into_iter().map(row).collect())
    }
}
