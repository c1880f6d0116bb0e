//! What the writer is told and what it answers.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::damage::Damage;
use crate::disk::{Disk, RealDisk};
use crate::limits::{JOURNAL_AGE, JOURNAL_BYTES, READER_GRACE, SEAL_WAIT};
use crate::retention::Retention;

/// How to write.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WriterOptions {
    /// The host's boot id, which every row carries.
    pub boot_id: [u8; 16],
    /// Bytes of a journal before the next one is begun; 8 MiB.
    pub journal_bytes_max: u64,
    /// Age of a journal before the next one is begun; 5 minutes.
    pub journal_age_max: Duration,
    /// How long a journal that is full by size waits for others to be sealed with it; 5 seconds.
    pub seal_wait: Duration,
    /// How long a file that others replace stays for readers that pinned it before; 10 minutes.
    pub reader_grace: Duration,
    /// How much is kept; everything.
    pub retention: Retention,
    /// The disk that the data folder is on.
    pub disk: Arc<dyn Disk>,
    /// What tells the time: which rows are late, which hours and days are over, how old files are.
    pub clock: Clock,
    /// Called by the sealer's thread after it has sealed or merged, and has freed what it needed for
    /// that. By default it does nothing.
    pub after_work: fn(),
}

impl WriterOptions {
    /// The usual options.
    #[must_use]
    pub fn new(boot_id: [u8; 16]) -> Self {
        Self {
            boot_id,
            journal_bytes_max: JOURNAL_BYTES,
            journal_age_max: JOURNAL_AGE,
            seal_wait: SEAL_WAIT,
            reader_grace: READER_GRACE,
            retention: Retention::default(),
            disk: Arc::new(RealDisk),
            clock: Clock::default(),
            after_work: || {},
        }
    }
}

/// Tells the present, in nanoseconds since the Unix epoch. The system's clock, unless a benchmark or
/// test lets months pass in minutes.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// A clock that shows what `now_ns` returns.
    #[must_use]
    pub fn new(now_ns: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ns))
    }

    /// The present.
    pub(crate) fn now_ns(&self) -> i64 {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
        })
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Clock({})", self.now_ns())
    }
}

/// What was found when the store was opened.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Per source, the watermark up to which the run before had all on disk, in nanoseconds since
    /// the Unix epoch. Empty at the first start, or when the heartbeat is damaged.
    pub last_heartbeat: Vec<(String, i64)>,
    /// What was found torn, damaged or unknown. Those for which
    /// [`crate::DamageKind::loses_rows`] holds are gaps. A finding is repeated at the next start
    /// when this run ends before it has sealed the journal concerned.
    pub recovered: Vec<Damage>,
    /// Whether there was no store before.
    pub first_start: bool,
}

/// Rows that were appended: readers see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Number of the first row.
    pub first_eid: i64,
    /// Number of the last row; those between follow one by one.
    pub last_eid: i64,
    /// How many rows.
    pub rows: u64,
}

/// Rows that are on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Per table, the number of the last row; 0 when it has none.
    pub last_eid: Vec<(&'static str, i64)>,
}
