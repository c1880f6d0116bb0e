//! Processes as found in `/proc` at intervals: what is left when the kernel tells of nothing.
//!
//! Every interval all processes are looked at. One that was not there before is told as found running
//! (`snapshot`), one that runs another program as an exec, one that is not there any more as an end
//! without a code. This needs no right, and what it cannot see it says: whoever came and went between
//! two looks. The kernel counts the tasks it creates, so how many those were at most is told as a gap.
//!
//! **Invariants:** at most [`LIVES_MAX`] processes are remembered; the books hold what was found, and
//! `missed` is null in them, since what was not found is not counted by anyone.

mod look;
mod state;

use std::time::Duration;

use thiserror::Error;

use self::state::State;
use super::privacy::Privacy;
use super::process_ebpf::clock::Clock;
use super::{PublishError, Publisher, Sink, Stop};
use crate::events::Capability;
use crate::host::exclude::Exclusions;
use crate::host::program;

/// Name of this source.
pub const SOURCE: &str = "process_scan";

/// Name of the tier.
const TIER: &str = "proc_scan";

/// Processes that are remembered at once. Others are found anew, and told anew, by each look.
pub const LIVES_MAX: usize = 262_144;

/// Sleeps between looks at the wish to stop.
const STOP_POLL: Duration = Duration::from_millis(50);

/// What can be set about the source.
#[derive(Clone, Debug)]
pub struct ProcessScanConfig {
    /// Time from one look to the next.
    pub interval: Duration,
    /// What of arguments and environments is recorded.
    pub privacy: Privacy,
    /// Which processes are not recorded.
    pub exclusions: Exclusions,
}

/// Why the source cannot be used.
#[derive(Debug, Error)]
pub enum AttachError {
    /// `/proc` shows nothing.
    #[error("/proc cannot be listed")]
    List(#[source] std::io::Error),
    /// It can be listed and does not even show this process.
    #[error("/proc does not show this process")]
    Blind,
}

impl AttachError {
    /// What the user can do about it.
    #[must_use]
    pub fn mend(&self) -> Option<String> {
        Some("mount the proc file system at /proc".to_owned())
    }
}

/// The source: a first look was taken.
#[derive(Debug)]
pub struct ProcessScan {
    state: State,
    interval: Duration,
}

impl ProcessScan {
    /// Takes the first look.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn attach(config: &ProcessScanConfig) -> Result<Self, AttachError> {
        let mut state = State::new(Clock::new(), config.privacy.clone(), config.exclusions.clone());
        state.look().map_err(AttachError::List)?;
        if !state.knows(std::process::id()) {
            return Err(AttachError::Blind);
        }
        Ok(Self { state, interval: config.interval })
    }

    fn capability(&self, kind: &str) -> Capability {
        let interval = humantime::format_duration(self.interval);
        let unread = program::kept_from_this_user();
        let (is_seen, blind_to) = match kind {
            "exec" => (
                true,
                format!(
                    "processes that live less than {interval}; programs that a process leaves within \
                     {interval}; the moment, which is known to {interval}; ids, arguments and \
                     programs as they were before the look{unread}"
                ),
            ),
            "exit" => (
                true,
                format!(
                    "processes that live less than {interval}; exit codes and signals; the moment, \
                     which is known to {interval}{unread}"
                ),
            ),
            _ => (false, format!("every {kind} event")),
        };
        let missing = || "looks at /proc show who runs, not who started it".to_owned();
        Capability {
            time_ns: self.state.looked_ns(),
            kind: kind.to_owned(),
            source: is_seen.then(|| SOURCE.to_owned()),
            tier: is_seen.then(|| TIER.to_owned()),
            blind_to,
            reason: (!is_seen).then(missing),
        }
    }
}

impl Publisher for ProcessScan {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn capabilities(&self) -> Vec<Capability> {
        ["exec", "fork", "exit"].iter().map(|kind| self.capability(kind)).collect()
    }

    fn run(mut self: Box<Self>, sink: &Sink, stop: &Stop) -> Result<(), PublishError> {
        let mut looked_at = std::time::Instant::now();
        while self.state.send(sink).is_ok() {
            while looked_at.elapsed() < self.interval && !stop.is_set() {
                let rest = self.interval.saturating_sub(looked_at.elapsed());
                std::thread::park_timeout(rest.min(STOP_POLL));
            }
            looked_at = std::time::Instant::now();
            self.state.look()?;
            if stop.is_set() {
                self.state.close();
                // A closed channel means that nobody is left to be told.
                return self.state.send(sink).or(Ok(()));
            }
        }
        Ok(())
    }
}
