//! Processes that a look found in the middle of an exec.
//!
//! The memory of such a process may be the new program's already, while the exec's own record comes a
//! moment later: told of at once, it would be there twice. So what the look found is held back until that
//! record comes, which tells all of it; it is told of when the process ends instead, or after [`HOLD_NS`],
//! when the exec has failed, its record was lost, or a debugger or a slow disk holds it.

use super::decode::Decoded;
use crate::events::{ExecEvent, ProcessEvent, ProcessKey};

/// How long one is held back, in boot time.
const HOLD_NS: u64 = 2_000_000_000;

/// How many are held back at most; the next is told of at once. What is held of one is two paths and
/// less than 1 KiB besides.
const HELD_MAX: usize = 256;

/// What is held back, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct InExec {
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    found_ns: u64,
    exec: Box<ExecEvent>,
}

impl InExec {
    /// Takes what a look found at `boot_ns`, and gives back what is to be told of: this, when it was not
    /// in an exec, was held back before, or finds no room.
    pub(crate) fn found(
        &mut self,
        exec: Box<ExecEvent>,
        boot_ns: u64,
        in_exec: bool,
    ) -> Option<Box<ExecEvent>> {
        let was_held = self.take(exec.process).is_some();
        if !in_exec || was_held || self.held.len() >= HELD_MAX {
            return Some(exec);
        }
        self.held.push(Held { found_ns: boot_ns, exec });
        None
    }

    /// Takes in a record that came after a look, and gives what is to be told of before it: what was held
    /// back of a process that ends.
    pub(crate) fn followed_by(&mut self, event: &Decoded) -> Option<Box<ExecEvent>> {
        if self.held.is_empty() {
            return None;
        }
        match event {
            Decoded::Life(ProcessEvent::Exit(exit)) => self.take(exit.process),
            Decoded::Life(ProcessEvent::Exec(exec)) if !exec.snapshot => {
                self.take(exec.process);
                None
            }
            Decoded::LeftOut(process) => {
                self.take(*process);
                None
            }
            Decoded::Life(_) | Decoded::Act(..) | Decoded::ModuleFile(..) => None,
        }
    }

    /// One that was held back for long enough, now that all before `released_ns` came.
    pub(crate) fn due(&mut self, released_ns: u64) -> Option<Box<ExecEvent>> {
        let first = self.held.first()?;
        let is_due = first.found_ns.saturating_add(HOLD_NS) <= released_ns;
        is_due.then(|| self.held.remove(0).exec)
    }

    fn take(&mut self, process: ProcessKey) -> Option<Box<ExecEvent>> {
        let index = self.held.iter().position(|held| held.exec.process == process)?;
        Some(self.held.remove(index).exec)
    }
}

#[cfg(test)]
mod tests {
    use super::{HELD_MAX, HOLD_NS, InExec};
    use crate::events::{ExecEvent, Noticed, ProcessEvent, ProcessKey};
    use crate::host::reconcile::{Remembered, end};
    use crate::publish::process_ebpf::decode::Decoded;

    const fn key(pid: u32) -> ProcessKey {
        ProcessKey { pid, start_ns: 1 }
    }

    fn found(pid: u32) -> Box<ExecEvent> {
        let path = Some(format!("/bin/{pid}"));
        Box::new(ExecEvent { process: key(pid), path, snapshot: true, ..ExecEvent::default() })
    }

    /// Two processes, found in the middle of an exec at 5.
    fn two() -> InExec {
        let mut in_exec = InExec::default();
        for pid in [1, 2] {
            assert_eq!(in_exec.found(found(pid), 5, true), None);
        }
        in_exec
    }

    #[test]
    fn the_exec_that_comes_tells_all_of_it() {
        let mut in_exec = two();
        let exec = ExecEvent { process: key(1), ..ExecEvent::default() };
        assert_eq!(in_exec.followed_by(&Decoded::Life(ProcessEvent::Exec(Box::new(exec)))), None);
        assert_eq!(in_exec.followed_by(&Decoded::LeftOut(key(2))), None);
        assert_eq!(in_exec.due(u64::MAX), None);
    }

    #[test]
    fn what_ends_is_told_of_before_its_end_and_what_stays_after_a_while() {
        let mut in_exec = two();
        assert_eq!(in_exec.followed_by(&Decoded::Life(ProcessEvent::Exec(found(1)))), None);
        let exit = Decoded::Life(end(key(1), Remembered::default(), 9, Noticed::Told));
        assert_eq!(in_exec.followed_by(&exit), Some(found(1)));
        assert_eq!(in_exec.followed_by(&exit), None);
        assert_eq!(in_exec.due(4 + HOLD_NS), None);
        assert_eq!(in_exec.due(5 + HOLD_NS), Some(found(2)));
        assert_eq!(in_exec.due(u64::MAX), None);
    }

    #[test]
    fn what_another_look_finds_is_told_of_once() {
        let mut in_exec = two();
        // It is still there, and the other's exec has failed.
        assert_eq!(in_exec.found(found(1), 6, true), Some(found(1)));
        assert_eq!(in_exec.found(found(2), 6, false), Some(found(2)));
        assert_eq!(in_exec.due(u64::MAX), None);
        assert_eq!(in_exec.found(found(3), 6, false), Some(found(3)));
    }

    #[test]
    fn what_finds_no_room_is_told_of_at_once() {
        let mut in_exec = InExec::default();
        for pid in 0..u32::try_from(HELD_MAX).unwrap() {
            assert_eq!(in_exec.found(found(pid), 5, true), None);
        }
        assert_eq!(in_exec.found(found(9_999), 5, true), Some(found(9_999)));
        assert_eq!(std::iter::from_fn(|| in_exec.due(u64::MAX)).count(), HELD_MAX);
    }
}
