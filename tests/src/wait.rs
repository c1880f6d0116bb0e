//! Waiting on a condition.

use std::time::{Duration, Instant};

/// How long a condition may take before the test fails. Far above what any should take: machines
/// that run tests are slow at times, and emulated ones always.
const WAIT_MAX: Duration = Duration::from_secs(120);

const POLL: Duration = Duration::from_millis(20);

/// Waits until `condition` gives a value.
///
/// # Panics
/// When that takes more than two minutes; says what was waited for.
pub fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < WAIT_MAX, "waited in vain: {what}");
        std::thread::park_timeout(POLL);
    }
}
