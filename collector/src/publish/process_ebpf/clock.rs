//! Boot time, and what makes real time of it.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Readings of which the tightest is taken.
const TRIES: usize = 5;

/// A difference from the offset in force that is put down to the reading itself, in nanoseconds.
const NOISE_NS: i64 = 100_000;

/// Nanoseconds since boot, suspended time included: the clock of the records.
pub(crate) fn boot_ns() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Boottime))).unwrap_or(0)
}

/// The offset in force: boot time plus it is real time. It moves only when the clocks do.
#[derive(Debug)]
pub(crate) struct Clock {
    offset_ns: i64,
}

impl Clock {
    /// Measures the offset.
    pub(crate) fn new() -> Self {
        Self { offset_ns: measure() }
    }

    /// Real time less boot time in nanoseconds.
    pub(crate) fn offset_ns(&self) -> i64 {
        self.offset_ns
    }

    /// Measures again.
    pub(crate) fn refresh(&mut self) {
        let measured = measure();
        if (measured - self.offset_ns).abs() > NOISE_NS {
            self.offset_ns = measured;
        }
    }
}

/// Reads real time between two readings of boot time; the closer those are, the better.
fn measure() -> i64 {
    let mut best = (i64::MAX, 0);
    for _ in 0..TRIES {
        let before = nanoseconds(clock_gettime(ClockId::Boottime));
        let real = nanoseconds(clock_gettime(ClockId::Realtime));
        let after = nanoseconds(clock_gettime(ClockId::Boottime));
        let width = after - before;
        best = best.min((width, real - before - width / 2));
    }
    best.1
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::{Clock, boot_ns};

    #[test]
    fn boot_time_plus_offset_is_real_time() {
        let clock = Clock::new();
        let ours = i128::from(boot_ns()) + i128::from(clock.offset_ns());
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let difference = (i128::try_from(real).unwrap() - ours).abs();
        assert!(difference < 50_000_000, "{difference} ns apart");
    }

    #[test]
    fn noise_does_not_move_the_offset() {
        let mut clock = Clock::new();
        let first = clock.offset_ns() + 1_000;
        clock.offset_ns = first;
        clock.refresh();
        assert_eq!(clock.offset_ns(), first);
        clock.offset_ns = first + 3_600_000_000_000;
        clock.refresh();
        assert!((clock.offset_ns() - first).abs() < 1_000_000);
    }
}
