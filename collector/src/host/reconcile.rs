//! Comparing the processes that are believed to run with those that do.
//!
//! What a source of process events has lost leaves its picture wrong for ever: a process that ended
//! unseen stays in it, one that started unseen never enters. So after any loss, and every
//! [`INTERVAL_NS`] in any case, the source looks at all processes and closes and opens what differs.
//!
//! **Invariant:** pure functions; who calls them decides how to look and what to make of the result.

use crate::events::{ExitEvent, Noticed, ProcessEvent, ProcessKey};

use std::collections::HashMap;

/// How often a source compares even though it lost nothing, in nanoseconds.
pub const INTERVAL_NS: u64 = 300_000_000_000;

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Known and not running any more, in the order of their ids.
    pub gone: Vec<ProcessKey>,
    /// Running and not known, likewise.
    pub unknown: Vec<ProcessKey>,
}

/// Compares the processes that are `known` with those that were `live` at a look begun at
/// `began_ns`, boot time in nanoseconds.
///
/// Two starts of one process id that are at most `tolerance_ns` apart are the same process: 0 where
/// both are exact, a tick of 10 ms where one comes from `/proc`. A process that started after
/// the look began may be missing from it without having ended, and is left out; its start may have been
/// rounded down by as much as the tolerance.
///
/// ```
/// use bygone::events::ProcessKey;
/// use bygone::host::reconcile::difference;
///
/// let key = |pid, start_ns| ProcessKey { pid, start_ns };
/// let differs = difference([key(1, 0), key(7, 50)], [key(1, 0), key(7, 60)], 0, 100);
/// assert_eq!((differs.gone, differs.unknown), (vec![key(7, 50)], vec![key(7, 60)]));
/// ```
#[must_use]
pub fn difference(
    known: impl IntoIterator<Item = ProcessKey>,
    live: impl IntoIterator<Item = ProcessKey>,
    tolerance_ns: u64,
    began_ns: u64,
) -> Difference {
    let mut live: HashMap<u32, u64> =
        live.into_iter().map(|process| (process.pid, process.start_ns)).collect();
    let mut gone = Vec::new();
    for process in known {
        let same = |start_ns: &u64| start_ns.abs_diff(process.start_ns) <= tolerance_ns;
        if live.get(&process.pid).is_some_and(same) {
            live.remove(&process.pid);
        } else if process.start_ns.saturating_add(tolerance_ns) < began_ns {
            gone.push(process);
        }
    }
    let unknown = live.into_iter().map(|(pid, start_ns)| ProcessKey { pid, start_ns });
    let mut unknown: Vec<ProcessKey> = unknown.collect();
    gone.sort_unstable_by_key(|process| process.pid);
    unknown.sort_unstable_by_key(|process| process.pid);
    Difference { gone, unknown }
}

/// What is still known of a process that ended unseen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The parent, as far as it is known.
    pub parent: Option<ProcessKey>,
    /// Real user and group id.
    pub ids: (u32, u32),
    /// Path of its program.
    pub path: Option<String>,
}

/// The end of a process that nobody saw, found at `time_ns`, nanoseconds since the Unix epoch.
#[must_use]
pub fn end(
    process: ProcessKey,
    remembered: Remembered,
    time_ns: i64,
    noticed: Noticed,
) -> ProcessEvent {
    let Remembered { parent, ids: (uid, gid), path } = remembered;
    ProcessEvent::Exit(ExitEvent {
        time_ns,
        process,
        parent,
        uid,
        gid,
        exit_code: None,
        signal: None,
        core_dumped: None,
        noticed,
        cpu_ns: None,
        lifetime_ns: None,
        usage: None,
        path,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const TICK: u64 = 10;

    fn key(pid: u32, start_ns: u64) -> ProcessKey {
        ProcessKey { pid, start_ns }
    }

    #[test]
    fn what_ended_is_gone_and_what_started_is_unknown() {
        let known = [key(3, 1), key(1, 1), key(2, 1)];
        let live = [key(1, 1), key(5, 7), key(4, 7)];
        let differs = difference(known, live, 0, 100);
        assert_eq!(differs.gone, [key(2, 1), key(3, 1)]);
        assert_eq!(differs.unknown, [key(4, 7), key(5, 7)]);
        assert_eq!(difference(known, known, 0, 100), Difference::default());
    }

    #[test]
    fn a_reused_id_is_one_gone_and_one_unknown() {
        let differs = difference([key(2, 10)], [key(2, 80)], TICK, 100);
        assert_eq!((differs.gone, differs.unknown), (vec![key(2, 10)], vec![key(2, 80)]));
    }

    #[test]
    fn starts_within_the_tolerance_are_the_same() {
        let differs = |start_ns| difference([key(2, 55)], [key(2, start_ns)], TICK, 100);
        assert_eq!(differs(50), Difference::default());
        assert_eq!(differs(60), Difference::default());
        assert_eq!(differs(40).gone, [key(2, 55)]);
    }

    #[test]
    fn who_started_after_the_look_began_is_not_gone() {
        assert_eq!(difference([key(2, 100)], [], 0, 100), Difference::default());
        assert_eq!(difference([key(2, 99)], [], 0, 100).gone, [key(2, 99)]);
        // It started at 105, of which `/proc` shows 100.
        assert_eq!(difference([key(3, 100)], [], TICK, 104).gone, []);
        assert_eq!(difference([key(3, 100)], [], TICK, 111).gone, [key(3, 100)]);
    }

    #[test]
    fn an_end_unseen_has_no_code_and_its_bounds() {
        let remembered = Remembered { path: Some("/bin/cat".to_owned()), ..Remembered::default() };
        let noticed = Noticed::Reconciled { alive_ns: 5 };
        let ProcessEvent::Exit(exit) = end(key(2, 1), remembered, 9, noticed) else { panic!() };
        assert_eq!((exit.exit_code, exit.signal, exit.core_dumped), (None, None, None));
        assert_eq!((exit.time_ns, exit.noticed, exit.process), (9, noticed, key(2, 1)));
        assert_eq!(exit.path.as_deref(), Some("/bin/cat"));
    }

    proptest! {
        /// After what differs is applied, the known are the live ones, but for what is too new.
        #[test]
        fn the_difference_makes_the_known_the_live(
            known in proptest::collection::hash_map(0_u32..20, 0_u64..120, 0..20),
            live in proptest::collection::hash_map(0_u32..20, 0_u64..120, 0..20),
        ) {
            let keys = |of: &HashMap<u32, u64>| -> Vec<ProcessKey> {
                of.iter().map(|(pid, start_ns)| key(*pid, *start_ns)).collect()
            };
            let differs = difference(keys(&known), keys(&live), 0, 100);
            let mut after: HashMap<u32, u64> = known.clone();
            for process in &differs.gone {
                prop_assert_eq!(after.remove(&process.pid), Some(process.start_ns));
            }
            after.retain(|pid, start_ns| *start_ns < 100 || live.get(pid) == Some(start_ns));
            for process in &differs.unknown {
                prop_assert_eq!(after.insert(process.pid, process.start_ns), None);
            }
            prop_assert_eq!(after, live);
        }
    }
}
