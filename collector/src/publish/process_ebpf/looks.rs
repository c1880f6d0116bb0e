//! Looks at all processes, for what was lost: after a loss, and every five minutes.
//!
//! A look lets the iterator write down what runs. Its records come through the ring like all others, so
//! that they stand in order with them; what is not known by then gets a snapshot row. A second later,
//! when all that was on its way has come, what is known and was not among them has ended unseen.

use crate::events::{Noticed, ProcessEvent, ProcessKey};
use crate::host::process_cache::ProcessCache;
use crate::host::program;
use crate::host::reconcile::{INTERVAL_NS, difference, end};

/// How long after a loss the look is made: a storm is over, or its next look is not far.
const AFTER_LOSS_NS: u64 = 2_000_000_000;

/// How long a look waits for what is on its way.
const SETTLE_NS: u64 = 1_000_000_000;

/// Starts that `/proc` shows are to the tick of 10 ms.
const TICK_NS: u64 = 10_000_000;

/// Processes that a look takes in at most.
const LIVE_MAX: usize = 65_536;

/// The looks of one source.
#[derive(Debug)]
pub(crate) struct Looks {
    /// When the next is due, in boot time.
    next_ns: u64,
    /// When the last was made.
    last_ns: u64,
    /// The one whose records are still coming.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    began_ns: u64,
    live: Vec<ProcessKey>,
}

impl Looks {
    /// The first was made at `now_ns`.
    pub(crate) const fn new(now_ns: u64) -> Self {
        Self { next_ns: now_ns.saturating_add(INTERVAL_NS), last_ns: now_ns, open: None }
    }

    /// Has one made soon, since something was lost.
    pub(crate) fn after_loss(&mut self, now_ns: u64) {
        self.next_ns = self.next_ns.min(now_ns.saturating_add(AFTER_LOSS_NS));
    }

    /// Whether one is to be made.
    pub(crate) const fn is_due(&self, now_ns: u64) -> bool {
        self.open.is_none() && now_ns >= self.next_ns
    }

    /// One was begun at `began_ns`; with `whole`, its records are on their way, otherwise some found
    /// no room and it is made again.
    pub(crate) fn began(&mut self, began_ns: u64, whole: bool) {
        if whole {
            self.open = Some(Open { began_ns, live: Vec::new() });
            self.next_ns = began_ns.saturating_add(INTERVAL_NS);
        } else {
            self.next_ns = began_ns.saturating_add(AFTER_LOSS_NS);
        }
    }

    /// A record of a running process came.
    pub(crate) fn saw(&mut self, process: ProcessKey) {
        if let Some(open) = &mut self.open
            && open.live.len() < LIVE_MAX
        {
            open.live.push(process);
        }
    }

    /// The ends that nobody saw, once all before `released_ns` was read. `real_ns` makes real time of
    /// boot time.
    pub(crate) fn finish(
        &mut self,
        released_ns: u64,
        cache: &mut ProcessCache,
        real_ns: impl Fn(u64) -> i64,
    ) -> Vec<ProcessEvent> {
        let settled = |open: &mut Open| open.began_ns.saturating_add(SETTLE_NS) <= released_ns;
        let Some(Open { began_ns, live }) = self.open.take_if(settled) else {
            return Vec::new();
        };
        let last_ns = std::mem::replace(&mut self.last_ns, began_ns);
        if live.len() >= LIVE_MAX {
            tracing::warn!(processes = live.len(), "Too many processes run to tell which ended");
            return Vec::new();
        }
        let mut buffer = Vec::new();
        let mut is_there = |process: &ProcessKey| {
            let start_ns = program::start_ns(process.pid, &mut buffer);
            start_ns.is_some_and(|start_ns| start_ns.abs_diff(process.start_ns) < TICK_NS)
        };
        let gone = difference(cache.running(), live, 0, began_ns).gone;
        // The kernel's iterator leaves out what its own pid namespace does not show.
        let gone: Vec<ProcessKey> = gone.into_iter().filter(|key| !is_there(key)).collect();
        let mut ends = Vec::with_capacity(gone.len());
        for process in gone {
            let alive_ns = real_ns(last_ns.max(process.start_ns));
            let remembered = cache.remembered(process);
            cache.ended(process, began_ns);
            ends.push(end(
                process,
                remembered,
                real_ns(began_ns),
                Noticed::Reconciled { alive_ns },
            ));
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::{AFTER_LOSS_NS, Looks, SETTLE_NS};
    use crate::events::{ExecEvent, ExitEvent, Noticed, ProcessEvent, ProcessKey};
    use crate::host::process_cache::ProcessCache;
    use crate::host::reconcile::INTERVAL_NS;

    /// No process has such an id.
    const fn key(number: u32) -> ProcessKey {
        ProcessKey { pid: u32::MAX - number, start_ns: 10 + number as u64 }
    }

    fn started(cache: &mut ProcessCache, process: ProcessKey) {
        let path = Some("/bin/x".to_owned());
        let parent = Some(key(9));
        cache.started(&mut ExecEvent { process, path, parent, ..ExecEvent::default() });
    }

    #[test]
    fn what_is_not_found_has_ended_between_two_looks() {
        let mut cache = ProcessCache::default();
        for number in 1..=3 {
            started(&mut cache, key(number));
        }
        assert!(cache.ended(key(3), 20).is_some());
        let mut looks = Looks::new(15);
        looks.after_loss(100);
        assert!(!looks.is_due(100) && looks.is_due(100 + AFTER_LOSS_NS));
        let began_ns = 100 + AFTER_LOSS_NS;
        looks.began(began_ns, true);
        looks.saw(key(1));
        let real = |boot_ns: u64| i64::try_from(boot_ns).unwrap() + 1_000;
        assert_eq!(looks.finish(began_ns, &mut cache, real), []);
        let ends = looks.finish(began_ns + SETTLE_NS, &mut cache, real);
        let [ProcessEvent::Exit(exit)] = ends.as_slice() else { panic!("{ends:?}") };
        let ExitEvent { process, parent, path, exit_code, noticed, .. } = exit;
        assert_eq!((*process, *parent, *exit_code), (key(2), Some(key(9)), None));
        assert_eq!((path.as_deref(), exit.time_ns), (Some("/bin/x"), real(began_ns)));
        assert_eq!(*noticed, Noticed::Reconciled { alive_ns: real(15) });
        // It is told once, and the next look is a regular one.
        assert_eq!(looks.finish(u64::MAX, &mut cache, real), []);
        assert!(!looks.is_due(began_ns + INTERVAL_NS - 1) && looks.is_due(began_ns + INTERVAL_NS));
    }

    #[test]
    fn a_look_without_room_is_made_again_and_tells_nothing() {
        let mut cache = ProcessCache::default();
        started(&mut cache, key(1));
        let mut looks = Looks::new(0);
        looks.began(INTERVAL_NS, false);
        assert_eq!(looks.finish(u64::MAX, &mut cache, |_| 0), []);
        assert!(looks.is_due(INTERVAL_NS + AFTER_LOSS_NS));
    }

    #[test]
    fn what_runs_by_its_own_word_has_not_ended() {
        let mut cache = ProcessCache::default();
        let own = std::process::id();
        let start_ns = crate::host::program::start_ns(own, &mut Vec::new()).unwrap();
        started(&mut cache, ProcessKey { pid: own, start_ns: start_ns + 5 });
        let mut looks = Looks::new(0);
        looks.began(u64::MAX - SETTLE_NS, true);
        assert_eq!(looks.finish(u64::MAX, &mut cache, |_| 0), []);
    }
}
