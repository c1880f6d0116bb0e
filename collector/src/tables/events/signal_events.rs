//! `signal_events`, from the kernel's probes.

use bygone_store::{Computed, EventTable};

use crate::events::{Action, ActionEvent};
use crate::tables::Subscriber;

/// Signals that processes sent: those that end a process, and those that a process of another user
/// gets, unless the setting `signals` of `[process]` says otherwise.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct SignalEvents {
    /// When, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub time_ns: i64,
    /// Process id of who did it, in the initial pid namespace.
    pub pid: u32,
    /// Path of the program that it runs; null when it is not known.
    #[column(bloom)]
    pub path: Option<String>,
    /// Its real user id.
    pub uid: u32,
    /// Its thread.
    pub tid: u32,
    /// Start of its process, in nanoseconds since boot.
    #[column(bloom)]
    pub start_ns: u64,
    /// Identity of its process, as in `process_events`.
    #[column(guid(pid, start_ns))]
    pub guid: Computed,
    /// Process id of the process that it was done to; null when that is not known.
    pub target_pid: Option<u32>,
    /// Path of the program that that runs; null when it is not known.
    #[column(bloom)]
    pub target_path: Option<String>,
    /// Start of that, in nanoseconds since boot.
    #[column(bloom)]
    pub target_start_ns: Option<u64>,
    /// Identity of that.
    #[column(guid(target_pid, target_start_ns))]
    pub target_guid: Computed,
    /// Real user id of the process that got it.
    pub target_uid: u32,
    /// Number of the signal, as in `signal(7)`.
    pub signal: u32,
    /// What it was sent by, `si_code` of `sigaction(2)`: 0 for `kill(2)`, -6 for `tgkill(2)`.
    pub code: i32,
    /// Whether the kernel sent it of itself, as for a fault; the sender is then who it is about.
    pub by_kernel: bool,
    /// Whether it was delivered: not ignored, and not pending already.
    pub delivered: bool,
}

impl Subscriber for SignalEvents {
    type Event = ActionEvent;

    const CLASSES: &'static [&'static str] = &["signal"];

    fn row(event: &ActionEvent) -> Option<Self> {
        let Action::Signal(signal) = &event.action else {
            return None;
        };
        let target = &signal.target;
        Some(Self {
            time_ns: event.time_ns,
            pid: event.actor.pid,
            path: event.path.as_deref().map(str::to_owned),
            uid: event.uid,
            tid: event.tid,
            start_ns: event.actor.start_ns,
            guid: Computed,
            target_pid: target.process.map(|process| process.pid),
            target_path: target.path.as_deref().map(str::to_owned),
            target_start_ns: target.process.map(|process| process.start_ns),
            target_guid: Computed,
            target_uid: signal.target_uid,
            signal: signal.signal,
            code: signal.code,
            by_kernel: signal.by_kernel,
            delivered: signal.delivered,
        })
    }
}
