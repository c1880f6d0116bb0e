//! What came from a process: its children, theirs, and so on.
//!
//! One pass over forks, execs and exits in the order of time finds all of it, since a process is
//! created before it creates others. The pass ends when the last of them has ended: nothing more can
//! come from them. A clock that was set back puts rows in another order than they happened; when
//! boot time says that it was, the pass is repeated until it finds nothing more.
//!
//! The parent is who created a process, whoever became its parent later. Only where the fork is not
//! recorded, it is the parent at the exec, or when the process was found running.

use std::collections::HashMap;
use std::ops::ControlFlow;

use bygone_store::sql::History;
use bygone_store::{EventTable, GuidParts, Order, Test};

use super::Failure;
use super::life::{End, Life, Program};
use super::rows::{Asked, Row, Rows};
use crate::tables::events::process_events::ProcessEvents;
use crate::tables::events::process_exit_events::ProcessExitEvents;
use crate::tables::events::process_fork_events::ProcessForkEvents;

/// Processes in one answer; more are an error. They take some 40 MB.
pub const DESCENDANTS_MAX: usize = 100_000;

/// Processes whose programs are looked up one by one; of more, all rows of their time are read.
const LISTED_MAX: usize = 1024;

/// How far boot time may run back from one row to the next before the clock counts as set back.
const STEP_NS: i64 = 1_000_000;

/// How far from a snapshot's time, which is the start of its process, the fork is looked for.
const FORK_NEAR_NS: i64 = 10_000_000_000;

/// A process and how far it is from the one that was asked for.
#[derive(Clone, Debug)]
pub struct Descendant {
    /// 0 for the process itself, 1 for its children, and so on.
    pub depth: u32,
    /// What is recorded of it; of its programs, the last one.
    pub life: Life,
}

/// A process and what came from it, in the order of creation. Empty when nothing is recorded of
/// it.
///
/// # Errors
/// When the history cannot be read, or there are more than [`DESCENDANTS_MAX`].
pub fn descendants(history: &History<'_>, root: GuidParts) -> Result<Vec<Descendant>, Failure> {
    let mut family = Family::of(Life::find(history, root)?);
    loop {
        let known = family.members.len();
        let stepped = pass(history, root, &mut family)?;
        if !stepped || family.members.len() == known {
            break;
        }
    }
    let Family { mut members, index, .. } = family;
    if members.len() == 1 && members.iter().all(|root| root.life.is_unknown()) {
        return Ok(Vec::new());
    }
    find_programs(history, root, &mut members, &index)?;
    Ok(members)
}

/// Those that are found.
struct Family {
    members: Vec<Descendant>,
    index: HashMap<GuidParts, usize>,
    alive: usize,
}

impl Family {
    fn of(root: Life) -> Self {
        let alive = usize::from(root.end.is_none());
        let index = HashMap::from([(root.process, 0)]);
        Self { members: vec![Descendant { depth: 0, life: root }], index, alive }
    }

    fn contains(&self, process: GuidParts) -> bool {
        self.index.contains_key(&process)
    }

    /// Adds a process if its parent is one of them, and says whether it did.
    fn add(&mut self, process: GuidParts, parent: GuidParts) -> Result<bool, Failure> {
        let parents = self.index.get(&parent).and_then(|index| self.members.get(*index));
        let Some(depth) = parents.map(|parent| parent.depth.saturating_add(1)) else {
            return Ok(false);
        };
        if self.contains(process) {
            return Ok(false);
        }
        if self.members.len() > DESCENDANTS_MAX {
            return Err(format!(
                "more than {DESCENDANTS_MAX} processes came from it; ask for one of them, or join \
                 process_fork_events by parent_guid within a range of time"
            )
            .into());
        }
        self.index.insert(process, self.members.len());
        self.alive += 1;
        let life = Life { parent: Some(parent), ..Life::unknown(process) };
        self.members.push(Descendant { depth, life });
        Ok(true)
    }

    fn get_mut(&mut self, process: GuidParts) -> Option<&mut Life> {
        let index = *self.index.get(&process)?;
        self.members.get_mut(index).map(|member| &mut member.life)
    }

    fn end(&mut self, process: GuidParts, end: End) {
        let Some(life) = self.get_mut(process) else { return };
        if life.end.is_none() {
            life.end = Some(end);
            self.alive = self.alive.saturating_sub(1);
        }
    }
}

/// Which kind a row of the pass is, in the order of those of one time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Fork,
    Exec,
    Exit,
}

const FORK: &[&str] = &["pid", "start_ns", "parent", "parent_start_ns", "path", "uid"];
const EXEC: &[&str] = &["pid", "start_ns", "parent", "parent_start_ns", "syscall"];
const EXIT: &[&str] = &["pid", "start_ns", "exit_code", "signal"];

/// Goes once through what happened since the root's start; says whether the clock was set back
/// meanwhile.
fn pass(history: &History<'_>, root: GuidParts, family: &mut Family) -> Result<bool, Failure> {
    let mut streams = [
        (Kind::Fork, since(history, root, Asked::all(ProcessForkEvents::SCHEMA, FORK))?),
        (Kind::Exec, since(history, root, Asked::all(ProcessEvents::SCHEMA, EXEC))?),
        (Kind::Exit, since(history, root, Asked::all(ProcessExitEvents::SCHEMA, EXIT))?),
    ];
    let (mut latest_ns, mut stepped, mut ended_ns) = (i64::MIN, false, None);
    loop {
        let next = streams.iter_mut().filter_map(|(kind, rows)| {
            let time_ns = rows.peek()?.time_ns();
            Some((time_ns, *kind, rows))
        });
        let Some((time_ns, kind, rows)) = next.min_by_key(|(time_ns, kind, _)| (*time_ns, *kind))
        else {
            break;
        };
        // Whatever has the time of the last end may still come from what ended then.
        if ended_ns.is_some_and(|ended_ns| time_ns > ended_ns) && !stepped {
            break;
        }
        if let Some(row) = rows.peek() {
            stepped |= row.boot_ns() < latest_ns.saturating_sub(STEP_NS);
            latest_ns = latest_ns.max(row.boot_ns());
            take(history, family, kind, row)?;
        }
        ended_ns = (family.alive == 0).then(|| ended_ns.unwrap_or_else(|| last_end(family)));
        rows.advance()?;
    }
    Ok(stepped)
}

/// When the last of them ended.
fn last_end(family: &Family) -> i64 {
    let ends = family.members.iter().filter_map(|member| member.life.end);
    ends.map(|end| end.time_ns).max().unwrap_or(i64::MAX)
}

/// Rows about processes that started when the root did or later, in the order of time.
fn since(history: &History<'_>, root: GuidParts, asked: Asked) -> Result<Rows, Failure> {
    let started = Test::IntegerRange(root.start_ns.cast_signed(), i64::MAX);
    let mut asked = asked.with("start_ns", started).of_boot(root.boot);
    asked.order = Order::Ascending;
    Rows::new(asked.scan(history)?)
}

/// Takes one row of the pass into account.
fn take(
    history: &History<'_>,
    family: &mut Family,
    kind: Kind,
    row: Row<'_>,
) -> Result<(), Failure> {
    let Some(process) = row.process(0, 1) else { return Ok(()) };
    let time_ns = row.time_ns();
    match kind {
        Kind::Fork => {
            let Some(parent) = row.process(2, 3) else { return Ok(()) };
            if family.add(process, parent)?
                && let Some(life) = family.get_mut(process)
            {
                life.created_ns = Some(time_ns);
                let path = row.text(4).map(str::to_owned);
                life.programs = vec![Program { time_ns, path, cmdline: None, uid: row.u32(5) }];
            }
        }
        Kind::Exec => {
            let Some(parent) = row.process(2, 3) else { return Ok(()) };
            if family.contains(process) || !family.contains(parent) {
                return Ok(());
            }
            let snapshot = row.text(4) == Some("snapshot");
            if !has_fork(history, process, snapshot.then_some(time_ns))?
                && family.add(process, parent)?
                && let Some(life) = family.get_mut(process)
            {
                life.created_ns = snapshot.then_some(time_ns);
            }
        }
        Kind::Exit => {
            family.end(process, End { time_ns, exit_code: row.u32(2), signal: row.u32(3) });
        }
    }
    Ok(())
}

/// Whether the fork of a process is recorded, near a time where that is known: then its parent at an
/// exec is another one.
fn has_fork(
    history: &History<'_>,
    process: GuidParts,
    time_ns: Option<i64>,
) -> Result<bool, Failure> {
    let mut asked = Asked::all(ProcessForkEvents::SCHEMA, &[]).about(process);
    if let Some(time_ns) = time_ns {
        asked.time = time_ns.saturating_sub(FORK_NEAR_NS)..=time_ns.saturating_add(FORK_NEAR_NS);
    }
    let mut found = false;
    asked.each(history, |_| {
        found = true;
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// Finds the last program that each process ran.
fn find_programs(
    history: &History<'_>,
    root: GuidParts,
    members: &mut [Descendant],
    index: &HashMap<GuidParts, usize>,
) -> Result<(), Failure> {
    const COLUMNS: &[&str] = &["pid", "start_ns", "path", "cmdline", "uid"];
    let mut starts: Vec<i64> =
        members.iter().map(|member| member.life.process.start_ns.cast_signed()).collect();
    starts.sort_unstable();
    starts.dedup();
    let test = match (starts.first(), starts.last()) {
        (Some(first), Some(last)) if starts.len() > LISTED_MAX => Test::IntegerRange(*first, *last),
        _ => Test::Integers(starts),
    };
    let asked = Asked::all(ProcessEvents::SCHEMA, COLUMNS).with("start_ns", test);
    asked.of_boot(root.boot).each(history, |row| {
        let member = row.process(0, 1).and_then(|process| index.get(&process));
        if let Some(member) = member.and_then(|at| members.get_mut(*at)) {
            let known = member.life.programs.last().map(|program| program.time_ns);
            if known.is_none_or(|known_ns| known_ns <= row.time_ns()) {
                member.life.programs = vec![Program {
                    time_ns: row.time_ns(),
                    path: row.text(2).map(str::to_owned),
                    cmdline: row.text(3).map(str::to_owned),
                    uid: row.u32(4),
                }];
            }
        }
        ControlFlow::Continue(())
    })
}
