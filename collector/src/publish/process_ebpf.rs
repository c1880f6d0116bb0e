//! The life of processes, from our own programs in the Linux kernel.
//!
//! [`ProcessEbpf::attach`] resolves the offsets that the programs need, loads and attaches them,
//! sees each of them fire, and lets the task iterator write down what ran before. From then on the
//! kernel's ring buffer is the queue; [`Publisher::run`] reads it.
//!
//! **Invariants:** an event keeps the time the kernel gave it; what the kernel saw and what became
//! of it is booked exactly (see `ledger`); a record that does not decode is counted, never a panic.

mod actions;
mod attach_error;
pub mod audit;
mod calls;
pub(super) mod clock;
mod decode;
mod drain;
mod filter;
mod host_paths;
mod images;
mod in_exec;
mod iterate;
mod ledger;
mod links;
mod load;
mod looks;
mod mapped;
mod modules;
mod offsets;
mod parts;
mod proc_snapshot;
mod rights;
mod sleep;
mod spare;
mod sys;

#[cfg(test)]
mod live_tests;

use std::time::Duration;

use bygone_probe_abi::CLASSES;

pub use self::attach_error::AttachError;
use self::audit::Audit;
use self::clock::Clock;
use self::drain::Reader;
use self::load::Attached;
pub use self::load::{BULK_BYTES_DEFAULT, RING_BYTES_DEFAULT};
pub use self::spare::SparePrograms;
use super::privacy::Privacy;
use super::rate_limit::RateLimit;
use super::selection::Selection;
use super::{PublishError, Publisher, Sink, Stop};
use crate::events::{Capability, ProcessEvent};
use crate::host::allocator;
use crate::host::environment::EnvironmentChoice;
use crate::host::images::ImageChoice;
use crate::host::mask::Mask;
use crate::host::signals::SignalChoice;

/// Name of this source.
pub const SOURCE: &str = "process_ebpf";

/// Name of the tier of the life of processes: programs to which the kernel tells the types of a
/// tracepoint's arguments.
const LIFE_TIER: &str = "btf_tracepoint";

/// Name of the tier of signals and modules.
const ACT_TIER: &str = "raw_tracepoint";

/// Name of the tier of what is seen where system calls begin and end.
const CALL_TIER: &str = "syscall_tracepoint";

/// Name of the tier of a class of events.
fn tier(class: &str) -> &'static str {
    match class {
        "exec" | "fork" | "exit" => LIFE_TIER,
        class if is_by_call(class) => CALL_TIER,
        _ => ACT_TIER,
    }
}

/// Whether a class of events is seen at system calls.
fn is_by_call(class: &str) -> bool {
    ["ptrace", "credential", "mount", "memory_exec", "memfd", "bpf", "image"].contains(&class)
}

/// What can be set about the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEbpfConfig {
    /// Size of the ring buffer in the kernel, in bytes: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Size of the ring buffer of long arguments and environments, likewise.
    pub bulk_bytes: u32,
    /// Which variables of the environment are recorded.
    pub environment: EnvironmentChoice,
    /// Values that are not recorded.
    pub mask: Mask,
    /// Which signals are recorded.
    pub signals: SignalChoice,
    /// Which files mapped to be executed are recorded.
    pub images: ImageChoice,
    /// Whether system calls are watched by which processes act on others, on the kernel or on their own
    /// rights.
    pub calls: bool,
    /// How often it is seen whether the probes still catch what happens; `None`: never.
    pub audit_interval: Option<Duration>,
    /// The program that does what they have to catch, with its arguments: one that calls
    /// [`audit::stimulate`].
    pub audit_command: Vec<String>,
    /// What of the events is recorded.
    pub selection: Selection,
    /// Decide without the tracepoint's own word which thread of a process was the last, as on
    /// kernels where it does not say.
    pub force_exit_fallback: bool,
    /// Whether exec, fork and exit have spare programs, for what the kernel skips the first ones for.
    pub spare_programs: SparePrograms,
}

impl Default for ProcessEbpfConfig {
    fn default() -> Self {
        Self {
            ring_bytes: RING_BYTES_DEFAULT,
            bulk_bytes: BULK_BYTES_DEFAULT,
            environment: EnvironmentChoice::None,
            mask: Mask::default(),
            signals: SignalChoice::Fatal,
            images: ImageChoice::First,
            calls: true,
            audit_interval: None,
            audit_command: ["/proc/self/exe", audit::WORD].map(str::to_owned).into(),
            selection: Selection::default(),
            force_exit_fallback: false,
            spare_programs: SparePrograms::WhereNeeded,
        }
    }
}

/// The source, attached.
pub struct ProcessEbpf {
    attached: Attached,
    clock: Clock,
    privacy: Privacy,
    audit: Audit,
    rate_limit: u32,
    /// Size of both rings.
    buffer_bytes: u64,
}

impl ProcessEbpf {
    /// Loads and attaches the programs, and sees them fire.
    ///
    /// Afterwards events collect in the kernel, so [`Publisher::run`] should follow soon.
    ///
    /// # Errors
    /// In words that say what is missing: types, a right, a member of a kernel struct.
    pub fn attach(config: &ProcessEbpfConfig) -> Result<Self, AttachError> {
        let attached = load::attach(config)?;
        // The types of the kernel took megabytes in small pieces.
        allocator::give_back();
        let privacy =
            Privacy { environment: config.environment.clone(), mask: config.mask.clone() };
        let buffer_bytes = u64::from(config.ring_bytes) + u64::from(config.bulk_bytes);
        let watched = attached.disabled.each_ref().map(Option::is_none);
        let command = config.audit_command.clone();
        let audit = Audit::new(config.audit_interval, command, watched, attached.since_ns);
        let rate_limit = config.selection.rate_limit;
        Ok(Self { attached, clock: Clock::new(), privacy, audit, rate_limit, buffer_bytes })
    }
}

/// Decodes bytes as the reader of the rings does, both as a piece of a record and as a record, and
/// gives the event of a process's life that they are: what fuzzing feeds.
#[must_use]
pub fn decode_life(bytes: &[u8]) -> Option<ProcessEvent> {
    let mut parts = parts::Parts::default();
    // What is no piece may be a record.
    let _error = parts.add(bytes).err();
    let record = decode::decode(bytes, i64::MAX / 2).ok()?;
    let decode::Decoded::Life(mut event) = record.event else {
        return None;
    };
    if let ProcessEvent::Exec(exec) = &mut event {
        let mask = Mask::new(&["*a*".to_owned()]);
        parts.complete(exec, record.boot_ns);
        Privacy { environment: EnvironmentChoice::All, mask }.apply(exec);
    }
    Some(event)
}

impl Publisher for ProcessEbpf {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn capabilities(&self) -> Vec<Capability> {
        let time_ns = decode::real_ns(self.attached.since_ns, self.clock.offset_ns());
        let capability = |(kind, disabled): (&&'static str, &Option<String>)| Capability {
            time_ns,
            kind: (*kind).to_owned(),
            source: disabled.is_none().then(|| SOURCE.to_owned()),
            tier: disabled.is_none().then(|| tier(kind).to_owned()),
            blind_to: self.blind_to(kind, disabled.is_some()),
            reason: disabled.clone(),
        };
        CLASSES.iter().zip(&self.attached.disabled).map(capability).collect()
    }

    fn buffer_bytes(&self) -> Option<u64> {
        Some(self.buffer_bytes)
    }

    fn run(self: Box<Self>, sink: &Sink, stop: &Stop) -> Result<(), PublishError> {
        let Self { attached, clock, privacy, audit, rate_limit, .. } = *self;
        Reader::new(attached, clock, privacy, audit, RateLimit::new(rate_limit)).run(sink, stop)
    }
}

impl ProcessEbpf {
    fn blind_to(&self, kind: &str, disabled: bool) -> String {
        match &self.attached.snapshot_error {
            _ if disabled => "every route".to_owned(),
            Some(error) if kind == "exec" => {
                format!("what ran before the collector started: {error}")
            }
            _ if is_by_call(kind) => self.attached.blind_calls(kind),
            _ => String::new(),
        }
    }
}
