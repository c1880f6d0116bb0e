//! The bounded queue between the system's callback and the reader.
//!
//! The callback must return quickly, or the system drops messages; so it never waits here. It
//! notes each message's place in the sequence, then queues it, and a message that finds the queue
//! full is counted. Both ends share one lock, held only to move a message or swap the queue out.
//! The reader is woken for the first message and then gathers for a moment, so that a storm wakes
//! it at most a hundred times per second.
//!
//! **Invariant:** each message of the sequence is received, or is in exactly one of the losses
//! that are not [`EsLossKind::DroppedOfClass`].

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::decode::DecodeFailure;
use crate::message::{EsClass, EsEvent, EsMessage};
use crate::sequence::SequenceLedger;
use crate::source::{EsLoss, EsLossKind, Received};

/// How long the reader gathers after the first message.
const GATHER: Duration = Duration::from_millis(10);

/// Losses of one kind and class whose ends lie in the same span become one.
const LOSS_SPAN_NS: i64 = 10_000_000_000;

/// Different losses kept between two calls of the reader. Beyond it a loss widens another of its
/// kind and class.
const LOSSES_MAX: usize = 256;

/// How much may wait for the reader.
#[derive(Clone, Copy, Debug)]
pub struct IntakeLimits {
    /// Messages.
    pub messages_max: usize,
    /// Bytes of arguments and paths in them.
    pub bytes_max: usize,
}

impl Default for IntakeLimits {
    fn default() -> Self {
        Self { messages_max: 16_384, bytes_max: 16 * 1024 * 1024 }
    }
}

/// Makes a queue.
#[must_use]
pub fn intake(limits: IntakeLimits) -> (Intake, IntakeReader) {
    let shared =
        Arc::new(Shared { state: Mutex::new(State::default()), changed: Condvar::new(), limits });
    (Intake { shared: Arc::clone(&shared) }, IntakeReader { shared })
}

/// The callback's end. Dropping it closes the queue.
#[derive(Debug)]
pub struct Intake {
    shared: Arc<Shared>,
}

/// The reader's end.
#[derive(Debug)]
pub struct IntakeReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    limits: IntakeLimits,
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<EsMessage>,
    bytes: usize,
    sequence: SequenceLedger,
    losses: Losses,
    /// Time of the latest message, in nanoseconds since the Unix epoch.
    last_ns: Option<i64>,
    closed: bool,
}

impl Intake {
    /// Takes what decoding one message gave.
    pub fn accept(&self, decoded: Result<EsMessage, Box<DecodeFailure>>) {
        let mut state = self.shared.lock();
        let was_idle = state.is_idle();
        state.accept(decoded, self.shared.limits);
        if was_idle || state.messages.len() == self.shared.limits.messages_max / 2 {
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl IntakeReader {
    /// Closes the queue from this end; what it holds can still be received.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }

    /// Takes what has come, waiting for the first at most `wait`, and then a moment for more.
    pub fn receive(&self, wait: Duration) -> Received {
        let shared = &*self.shared;
        let deadline = Instant::now() + wait;
        let state = shared.wait_until(shared.lock(), deadline, |state| !state.is_idle());
        let gathered = Instant::now() + GATHER.min(wait);
        let full = shared.limits.messages_max / 2;
        let mut state = shared
            .wait_until(state, gathered, |state| state.is_idle() || state.messages.len() >= full);
        state.bytes = 0;
        Received {
            messages: mem::take(&mut state.messages),
            losses: mem::take(&mut state.losses).list,
            closed: state.closed,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held can only have come between whole updates.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the condition or the queue's end, at most to the deadline.
    fn wait_until<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        deadline: Instant,
        done: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        while !done(&state) && !state.closed {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                break;
            };
            if left.is_zero() {
                break;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }
}

impl State {
    /// Whether there is nothing for the reader.
    fn is_idle(&self) -> bool {
        self.messages.is_empty() && self.losses.list.is_empty()
    }

    fn accept(&mut self, decoded: Result<EsMessage, Box<DecodeFailure>>, limits: IntakeLimits) {
        let (sequence, time_ns) = match &decoded {
            Ok(message) => (Some(message.header.sequence), Some(message.header.time_ns)),
            Err(failure) => (failure.sequence, failure.time_ns),
        };
        let end_ns = time_ns.or(self.last_ns).unwrap_or(0);
        let start_ns = self.last_ns.map_or(end_ns, |last| last.min(end_ns));
        self.last_ns = Some(self.last_ns.map_or(end_ns, |last| last.max(end_ns)));
        let class = sequence.and_then(|sequence| sequence.class);
        if let Some(sequence) = sequence {
            let gap = self.sequence.observe(&sequence);
            let span = (start_ns, end_ns);
            let total_class = if sequence.global_seq_num.is_none() { class } else { None };
            self.losses.add(EsLossKind::Dropped, total_class, gap.total, span);
            self.losses.add(EsLossKind::DroppedOfClass, class, gap.of_class, span);
        }
        match decoded {
            Ok(message) => {
                let bytes = bytes_of(&message);
                if self.messages.len() >= limits.messages_max
                    || self.bytes.saturating_add(bytes) > limits.bytes_max
                {
                    self.losses.add(EsLossKind::QueueFull, class, 1, (end_ns, end_ns));
                } else {
                    self.bytes += bytes;
                    self.messages.push(message);
                }
            }
            Err(failure) => {
                let detail = || failure.error.to_string();
                self.losses.add_with(EsLossKind::Undecoded, class, 1, (end_ns, end_ns), detail);
            }
        }
    }
}

/// What a message holds beyond its own size, roughly: what can grow without bound.
fn bytes_of(message: &EsMessage) -> usize {
    let event = match &message.event {
        EsEvent::Exec(exec) => {
            let kept: usize = exec.arguments.iter().map(Vec::len).sum();
            kept + exec.arguments.len() * size_of::<Vec<u8>>() + exec.target.executable.path.len()
        }
        EsEvent::Fork(fork) => fork.child.executable.path.len(),
        EsEvent::Exit(_) => 0,
    };
    event + message.process.executable.path.len()
}

/// Losses not yet received, few and merged.
#[derive(Debug, Default)]
struct Losses {
    list: Vec<EsLoss>,
    /// Where in `list` a kind and class of a span stands.
    places: HashMap<(EsLossKind, Option<EsClass>, i64), usize>,
}

impl Losses {
    fn add(&mut self, kind: EsLossKind, class: Option<EsClass>, lost: u64, span: (i64, i64)) {
        self.merge(kind, class, lost, span, None::<fn() -> String>);
    }

    fn add_with(
        &mut self,
        kind: EsLossKind,
        class: Option<EsClass>,
        lost: u64,
        span: (i64, i64),
        detail: impl Fn() -> String,
    ) {
        self.merge(kind, class, lost, span, Some(detail));
    }

    fn merge(
        &mut self,
        kind: EsLossKind,
        class: Option<EsClass>,
        lost: u64,
        (start_ns, end_ns): (i64, i64),
        detail: Option<impl Fn() -> String>,
    ) {
        if lost == 0 {
            return;
        }
        let key = (kind, class, end_ns.div_euclid(LOSS_SPAN_NS));
        let mut place = self.places.get(&key).copied();
        if place.is_none() && self.list.len() >= LOSSES_MAX {
            place = self.list.iter().position(|loss| loss.kind == kind && loss.class == class);
        }
        match place.and_then(|place| self.list.get_mut(place)) {
            Some(loss) => {
                loss.lost = loss.lost.saturating_add(lost);
                loss.start_ns = loss.start_ns.min(start_ns);
                loss.end_ns = loss.end_ns.max(end_ns);
            }
            None => {
                self.places.insert(key, self.list.len());
                let detail = detail.map(|detail| detail());
                self.list.push(EsLoss { kind, class, lost, start_ns, end_ns, detail });
            }
        }
    }
}

#[cfg(test)]
mod tests;
