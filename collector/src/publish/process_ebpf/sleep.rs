//! When the reader of the rings sleeps, and what wakes it.
//!
//! Whoever sends a record to a reader that waits for one has to wake it, in the context of the process
//! that is recorded: an interrupt to the own CPU, and another where the reader's sleeps. In a virtual
//! machine that took 20 to 60 µs, ten times as long as the record itself. So while records come the
//! reader looks every [`NAP`] by the clock, and has the programs wake nobody. It waits to be woken only
//! after two looks in a row found nothing, of which the second came after the programs were told: a
//! record that was sent without waking anybody is found by it.
//!
//! A program can be held up for longer than that between asking whether the reader is awake and sending
//! its record; then the record is found after [`IDLE`] at the latest.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::load::Attached;
use super::mapped::Words;
use crate::publish::PublishError;

/// How long the reader sleeps at most, so that it sees the wish to stop.
const IDLE: Duration = Duration::from_millis(100);

/// How long it lets records gather between two looks, and after it was woken: with half of it the reader
/// took up to twice the system time per event, and with twice of it half of all events would not be visible
/// within the 25 ms that are aimed at.
pub(super) const NAP: Duration = Duration::from_millis(20);

/// What the next look waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pace {
    /// The clock: records come.
    Busy,
    /// The clock, once more: nothing came, and the programs were told that they have to wake the reader.
    Slowing,
    /// A record.
    #[default]
    Idle,
}

impl Pace {
    /// What it is after a look.
    const fn after(self, found: bool) -> Self {
        match (self, found) {
            (_, true) => Self::Busy,
            (Self::Busy, false) => Self::Slowing,
            (Self::Slowing | Self::Idle, false) => Self::Idle,
        }
    }

    /// Whether the programs need not wake the reader.
    const fn is_awake(self) -> bool {
        matches!(self, Self::Busy)
    }
}

/// The reader's sleep.
#[derive(Debug, Default)]
pub(super) struct Sleep {
    pace: Pace,
}

impl Sleep {
    /// Sleeps until it is time to look.
    ///
    /// # Errors
    /// When the rings cannot be waited for.
    pub(super) fn until_due(&self, attached: &Attached) -> Result<(), PublishError> {
        if self.pace == Pace::Idle && !is_ready(attached)? {
            return Ok(());
        }
        nap();
        Ok(())
    }

    /// Takes in whether a look found records.
    pub(super) fn looked(&mut self, found: bool, awake: &Words) {
        self.pace = self.pace.after(found);
        if let Some(awake) = awake.all().first() {
            awake.store(u64::from(self.pace.is_awake()), Ordering::Relaxed);
        }
    }
}

/// Whether a ring has records, waiting for [`IDLE`] at most.
fn is_ready(attached: &Attached) -> Result<bool, PublishError> {
    let mut fds = [
        PollFd::from_borrowed_fd(attached.ring.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(attached.bulk.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(attached.acts.as_fd(), PollFlags::IN),
    ];
    match poll(&mut fds, Some(&timespec(IDLE))) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(anyhow::Error::new(error).context("waiting for the ring")),
    }
}

/// Sleeps for [`NAP`].
pub(super) fn nap() {
    // A nap cut short by a signal only means that fewer records gather.
    let _rest = rustix::thread::nanosleep(&timespec(NAP));
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_is_to_be_woken_a_look_before_it_waits() {
        let looks = [true, true, false, true, false, false, false, true];
        let mut pace = Pace::default();
        let paces: Vec<Pace> = looks
            .into_iter()
            .map(|found| {
                pace = pace.after(found);
                pace
            })
            .collect();
        use Pace::{Busy, Idle, Slowing};
        assert_eq!(paces, [Busy, Busy, Slowing, Busy, Slowing, Idle, Idle, Busy]);
    }

    #[test]
    fn nobody_is_woken_only_while_records_come() {
        assert!(Pace::Busy.is_awake());
        assert!(!Pace::Slowing.is_awake() && !Pace::Idle.is_awake());
    }
}
