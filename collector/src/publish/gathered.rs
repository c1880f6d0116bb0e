//! Process events on their way into a batch, which is bounded by count and by bytes.

use super::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
use crate::events::ProcessEvent;

/// Events that wait until they fill a batch or no more come.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    events: Vec<ProcessEvent>,
    bytes: usize,
}

impl Gathered {
    /// Adds an event, and hands out all of them when they fill a batch.
    pub(super) fn push(&mut self, event: ProcessEvent) -> Option<Vec<ProcessEvent>> {
        self.bytes += event.bytes();
        self.events.push(event);
        let is_full = self.events.len() >= BATCH_EVENTS_MAX || self.bytes >= BATCH_BYTES_MAX;
        is_full.then(|| std::mem::take(self).events)
    }

    /// Those that fill no batch; `None` when there are none.
    pub(super) fn rest(self) -> Option<Vec<ProcessEvent>> {
        (!self.events.is_empty()).then_some(self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Gathered};
    use crate::events::{ExitEvent, Noticed, ProcessEvent, ProcessKey};

    fn exit(path: Option<String>) -> ProcessEvent {
        ProcessEvent::Exit(ExitEvent {
            time_ns: 0,
            process: ProcessKey { pid: 1, start_ns: 2 },
            parent: None,
            uid: 0,
            gid: 0,
            exit_code: Some(0),
            signal: None,
            core_dumped: Some(false),
            noticed: Noticed::Told,
            cpu_ns: None,
            lifetime_ns: None,
            usage: None,
            path,
        })
    }

    /// Sizes of the batches that this many events make.
    fn batches(event: &ProcessEvent, count: usize) -> Vec<usize> {
        let mut gathered = Gathered::default();
        let full = (0..count).filter_map(|_| gathered.push(event.clone())).map(|full| full.len());
        let mut sizes: Vec<usize> = full.collect();
        sizes.extend(gathered.rest().map(|rest| rest.len()));
        sizes
    }

    #[test]
    fn a_batch_is_bounded_by_count_and_by_bytes() {
        let small = exit(None);
        let fit = BATCH_BYTES_MAX.div_ceil(small.bytes()).min(BATCH_EVENTS_MAX);
        assert_eq!(batches(&small, fit + 1), [fit, 1]);
        let large = exit(Some("x".repeat(BATCH_BYTES_MAX / 4)));
        assert_eq!(batches(&large, 9), [4, 4, 1]);
        let huge = exit(Some("x".repeat(BATCH_BYTES_MAX)));
        assert_eq!(batches(&huge, 2), [1, 1]);
        assert_eq!(batches(&small, 0), [0_usize; 0]);
    }
}
