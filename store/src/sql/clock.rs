//! How long a statement may run.
//!
//! The clock is read where nothing is locked: from SQLite's machine every so many steps, and before
//! each batch of a scan. So the instants are atomic counts of nanoseconds since the session began.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sql::error::SqlError;

/// No limit.
const NEVER: u64 = u64::MAX;

/// When the running statement must end.
#[derive(Debug)]
pub(super) struct Clock {
    epoch: Instant,
    /// How long a statement may run, in nanoseconds.
    timeout_ns: AtomicU64,
    /// When the running statement must end, in nanoseconds since the epoch.
    deadline_ns: AtomicU64,
}

impl Clock {
    pub(super) fn new() -> Self {
        let never = || AtomicU64::new(NEVER);
        Self { epoch: Instant::now(), timeout_ns: never(), deadline_ns: never() }
    }

    pub(super) fn set_timeout(&self, timeout: Duration) {
        let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(NEVER);
        self.timeout_ns.store(timeout_ns, Ordering::Relaxed);
    }

    /// At the beginning of a statement.
    pub(super) fn begin(&self) {
        let timeout_ns = self.timeout_ns.load(Ordering::Relaxed);
        self.deadline_ns.store(self.now_ns().saturating_add(timeout_ns), Ordering::Relaxed);
    }

    /// After a statement.
    pub(super) fn end(&self) {
        self.deadline_ns.store(NEVER, Ordering::Relaxed);
    }

    /// # Errors
    /// When the running statement must have ended.
    pub(super) fn check(&self) -> Result<(), SqlError> {
        let deadline_ns = self.deadline_ns.load(Ordering::Relaxed);
        if deadline_ns == NEVER || self.now_ns() < deadline_ns {
            return Ok(());
        }
        let timeout = Duration::from_nanos(self.timeout_ns.load(Ordering::Relaxed));
        Err(SqlError::TimedOut { timeout })
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(NEVER - 1)
    }
}
