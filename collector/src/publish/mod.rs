//! Publishers: one file per source of events.
//!
//! A publisher owns its source, runs on its own thread, turns raw records into the types of
//! [`crate::events`] and pushes batches over one bounded channel. It waits when the channel is
//! full: its source's own buffer is then the queue, and what overflows there is counted there.
//!
//! **Invariant:** no publisher knows SQL or a file of the store.

#[cfg(target_os = "linux")]
pub mod btf;
#[cfg(target_os = "linux")]
pub mod executable;
#[cfg(target_os = "linux")]
pub mod file_inotify;
mod gathered;
pub mod path_pattern;
pub mod privacy;
#[cfg(target_os = "linux")]
pub mod process_connector;
#[cfg(target_os = "linux")]
pub mod process_ebpf;
pub mod process_es;
#[cfg(target_os = "linux")]
pub mod process_scan;
#[cfg(target_os = "linux")]
mod rate_limit;
#[cfg(target_os = "linux")]
pub mod selection;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SendError, SyncSender};

use crate::events::{
    ActionEvent, Capability, CollectorEvent, ExecutableEvent, FileEvent, Noticed, ProcessEvent,
    ProcessSummaryEvent,
};

/// Batches that may wait for the store's writer.
///
/// A batch holds at most [`BATCH_EVENTS_MAX`] events. One of process events is also sent as soon as
/// it has [`BATCH_BYTES_MAX`], so 16 of them take 8 MiB and at most one event more each: 40 KiB on
/// Linux, where an event has 8 KiB of arguments and three paths of 4 KiB, and a little over 1 MiB on
/// macOS, where it has all arguments. One batch more is with the writer and one with the publisher.
pub const CHANNEL_BATCHES_MAX: usize = 16;

/// Events in one batch, so that no batch holds the writer for long.
pub const BATCH_EVENTS_MAX: usize = 4096;

/// Bytes ([`ProcessEvent::bytes`]) from which on a batch of process events is sent.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;

/// A type of event that [`Events`] carries.
pub trait Event: Sized {
    /// The events of this type in a batch, `None` when the batch carries another type.
    fn of(events: &Events) -> Option<&[Self]>;

    /// The class under which the ledger counts this event, and its time in nanoseconds since the
    /// Unix epoch; `None` for what the ledger does not count.
    fn counted(&self) -> Option<(&'static str, i64)>;
}

/// Declares what a batch can carry: a line each, with how the ledger counts it.
macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident($event:ty) = $counted:expr;)*) => {
        /// Events of one kind from one source, in the order of their times as far as the source
        /// knows it.
        #[derive(Debug)]
        pub enum Events {
            $($(#[$doc])* $variant(Vec<$event>),)*
        }

        impl Events {
            /// How many there are.
            #[must_use]
            pub const fn count(&self) -> usize {
                match self {
                    $(Self::$variant(events) => events.len(),)*
                }
            }
        }

        $(impl Event for $event {
            fn of(events: &Events) -> Option<&[Self]> {
                if let Events::$variant(events) = events { Some(events) } else { None }
            }

            fn counted(&self) -> Option<(&'static str, i64)> {
                let counted: fn(&Self) -> Option<(&'static str, i64)> = $counted;
                counted(self)
            }
        })*
    };
}

events! {
    /// The life of processes.
    Process(ProcessEvent) = |event| match event {
        ProcessEvent::Exec(exec) if exec.snapshot => None,
        ProcessEvent::Exec(exec) => Some(("exec", exec.time_ns)),
        ProcessEvent::Fork(fork) => Some(("fork", fork.time_ns)),
        // Its event was lost, and is counted so.
        ProcessEvent::Exit(exit) if matches!(exit.noticed, Noticed::Reconciled { .. }) => None,
        ProcessEvent::Exit(exit) => Some(("exit", exit.time_ns)),
    };
    /// What became of events of processes that came too fast. The ledger counts those.
    Summary(ProcessSummaryEvent) = |_| None;
    /// What processes do to others.
    Action(ActionEvent) = |event| Some((event.action.class(), event.time_ns));
    /// Changes to files.
    File(FileEvent) = |event| Some(("file", event.time_ns));
    /// Content that was executed.
    Executable(ExecutableEvent) =
        |event| (!event.snapshot).then_some(("executable", event.time_ns));
    /// The collector's own.
    Collector(CollectorEvent) = |_| None;
}

/// What a publisher sends at once.
#[derive(Debug)]
pub struct Batch {
    /// Name of the source, as in the column `source` of `gaps` and `ledger`.
    pub source: &'static str,
    /// Every event of this source before this instant (nanoseconds since the Unix epoch) has been
    /// sent in this batch or an earlier one, or counted as lost. `None` leaves it as it was. Not what a
    /// look found running, which happened at no such instant and may be sent seconds after.
    pub watermark_ns: Option<i64>,
    /// Boot-time nanoseconds plus this is real time, as the publisher measured it.
    pub clock_offset_ns: i64,
    /// The events.
    pub events: Events,
}

/// The sending end that publishers share.
pub type Sink = SyncSender<Batch>;

/// Why a publisher ended before it was told to.
pub type PublishError = anyhow::Error;

/// Told to all publishers at once when the daemon stops.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks all holders to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether to stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A source of events, attached and ready to be read.
pub trait Publisher: Send {
    /// Name of the source, e.g. `process_ebpf`.
    fn source(&self) -> &'static str;

    /// What it can and cannot see, one entry per kind of event it covers.
    fn capabilities(&self) -> Vec<Capability>;

    /// Size of the kernel's buffer that holds its events until they are read, where it has one of its
    /// own.
    fn buffer_bytes(&self) -> Option<u64> {
        None
    }

    /// Reads the source and sends batches until `stop` is set, then drains what the source still
    /// holds, sends it and returns. It looks at `stop` at least every 100 ms.
    ///
    /// # Errors
    /// When the source fails for good. A record that cannot be decoded is a counted loss instead.
    /// A closed channel is a reason to return, not an error.
    fn run(self: Box<Self>, sink: &Sink, stop: &Stop) -> Result<(), PublishError>;
}

/// The channel's other end is gone: the daemon is stopping.
pub type Closed = SendError<Batch>;
