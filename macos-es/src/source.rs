//! What a reader of events needs of their source, be it the system or a test.

use std::time::Duration;

use crate::message::{EsClass, EsMessage};

/// Why messages did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EsLossKind {
    /// The system dropped them. All classes together, so without a class where the system
    /// numbers messages over all classes.
    Dropped,
    /// The same losses again, by class, each told at the next message of its class. Not to be
    /// added to [`EsLossKind::Dropped`].
    DroppedOfClass,
    /// The queue to the reader was full.
    QueueFull,
    /// The message could not be decoded.
    Undecoded,
}

/// Messages that did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EsLoss {
    /// Why.
    pub kind: EsLossKind,
    /// Their class, where known.
    pub class: Option<EsClass>,
    /// How many.
    pub lost: u64,
    /// None was lost before this instant, in nanoseconds since the Unix epoch.
    pub start_ns: i64,
    /// None was lost after it.
    pub end_ns: i64,
    /// What decoding the first of them said.
    pub detail: Option<String>,
}

/// What has come since the last call.
#[derive(Debug, Default)]
pub struct Received {
    /// Messages in the order of the system's sequence.
    pub messages: Vec<EsMessage>,
    /// What was lost.
    pub losses: Vec<EsLoss>,
    /// Whether the source has ended, so that no more will come.
    pub closed: bool,
}

/// A live source of messages.
pub trait EsSource: Send {
    /// Takes what has come, waiting for the first at most `wait`. Returns nothing when nothing
    /// came in that time.
    fn receive(&mut self, wait: Duration) -> Received;

    /// When the living process `pid` was made by fork, in nanoseconds since the Unix epoch, to the
    /// microsecond and equal to what its messages say. `None` when there is none.
    fn start_of(&self, pid: u32) -> Option<i64>;

    /// Ends the source. What it still holds is received afterwards.
    fn stop(&mut self);
}
