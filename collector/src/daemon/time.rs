//! The host's clocks, as the daemon needs them.

use rustix::time::{ClockId, clock_gettime};

/// Real time, in nanoseconds since the Unix epoch.
pub(super) fn now_ns() -> i64 {
    nanoseconds(ClockId::Realtime)
}

/// What to add to boot time to get real time, in nanoseconds.
pub(super) fn clock_offset_ns() -> i64 {
    now_ns().saturating_sub(nanoseconds(BOOT_TIME))
}

/// The clock that counts from boot, suspended time included.
#[cfg(target_os = "linux")]
const BOOT_TIME: ClockId = ClockId::Boottime;

/// On macOS the monotonic clock goes on while the system sleeps (`clock_gettime(3)`).
#[cfg(target_os = "macos")]
const BOOT_TIME: ClockId = ClockId::Monotonic;

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
