//! What the collector says about itself: what it lost, counted, and can see.

/// Why a stretch of history is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// A kernel ring buffer had no room.
    RingFull,
    /// The channel to the store had no room.
    QueueFull,
    /// The publisher did not read its source in time.
    PublisherStalled,
    /// The source dropped events and said so.
    SourceOverflow,
    /// A record could not be decoded.
    DecodeError,
    /// What the collector did itself was not recorded, or a probe was taken away.
    AuditFailed,
    /// A publisher ended while the daemon ran.
    PublisherDown,
    /// The daemon was not running.
    DaemonDown,
    /// Rows could not be written.
    DiskFull,
    /// Stored rows were damaged.
    Corrupt,
    /// Stored rows were given up because of their age or for want of space.
    Expired,
}

impl GapReason {
    /// The value of the column `reason`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::QueueFull => "queue_full",
            Self::PublisherStalled => "publisher_stalled",
            Self::SourceOverflow => "source_overflow",
            Self::DecodeError => "decode_error",
            Self::AuditFailed => "audit_failed",
            Self::PublisherDown => "publisher_down",
            Self::DaemonDown => "daemon_down",
            Self::DiskFull => "disk_full",
            Self::Corrupt => "corrupt",
            Self::Expired => "expired",
        }
    }

    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::RingFull,
        Self::QueueFull,
        Self::PublisherStalled,
        Self::SourceOverflow,
        Self::DecodeError,
        Self::AuditFailed,
        Self::PublisherDown,
        Self::DaemonDown,
        Self::DiskFull,
        Self::Corrupt,
        Self::Expired,
    ];

    /// The reason of a name; `None` for one that is not known.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// What keeps it from happening again.
    #[must_use]
    pub const fn mend(self) -> &'static str {
        match self {
            Self::RingFull => "a larger [process] ring_bytes keeps more",
            Self::QueueFull => "the disk was too slow for what happened",
            Self::PublisherStalled => "the host gave the collector no time",
            Self::SourceOverflow => "watch less, or let the kernel queue more",
            Self::DecodeError => "kernel and collector do not agree; please report it",
            Self::AuditFailed => "a probe was silenced; find out by whom",
            Self::PublisherDown => "the log says why; bygone doctor says what to do",
            Self::DaemonDown => "keep bygone run running, as a service",
            Self::DiskFull => "make room, or lower [retention] max_bytes",
            Self::Corrupt => "bygone verify says what of the files was changed",
            Self::Expired => "raise the bounds in [retention] to keep more",
        }
    }
}

/// A stretch of time in which events of a source were lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Start, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// End, likewise.
    pub end_ns: i64,
    /// The source, or `*` for all.
    pub source: String,
    /// Why.
    pub reason: GapReason,
    /// How many events, `None` when that cannot be known.
    pub lost: Option<u64>,
    /// More, in words.
    pub detail: Option<String>,
}

impl Gap {
    /// The one table that a gap is about, when it is not about all: rows that were damaged or given
    /// up, whose detail begins with `table NAME`.
    #[must_use]
    pub fn table(reason: GapReason, detail: Option<&str>) -> Option<&str> {
        if !matches!(reason, GapReason::Corrupt | GapReason::Expired) {
            return None;
        }
        let name = detail?.strip_prefix("table ")?.split([':', ',']).next()?;
        (name != "*").then_some(name)
    }

    /// The one class of events that a gap is about, when it is not about all of its source: what failed
    /// an audit, whose detail begins with `class NAME`.
    #[must_use]
    pub fn class(reason: GapReason, detail: Option<&str>) -> Option<&str> {
        let of_class = matches!(reason, GapReason::AuditFailed);
        detail.filter(|_| of_class)?.strip_prefix("class ")?.split(':').next()
    }
}

/// What an audit of a source found: the collector did something itself, and its event had to come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditEntry {
    /// When it was begun, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// The source.
    pub source: String,
    /// Classes of event of which it came.
    pub passed: Vec<&'static str>,
    /// Those of which it did not.
    pub failed: Vec<&'static str>,
}

/// What became of the events of one class in ten seconds of their own time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Start of the ten seconds, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// The source.
    pub source: String,
    /// The class of event: `exec`, `fork`, `exit`, `file`; `other` for what no table is of, `unknown` for
    /// what was lost before its class was known.
    pub class: String,
    /// Events that the source produced.
    pub seen: u64,
    /// Events that became rows.
    pub stored: u64,
    /// Events that are left out.
    pub filtered: u64,
    /// Of those, events that could be recorded and that the configuration leaves out.
    pub excluded: u64,
    /// Events that the source merged into others.
    pub merged: u64,
    /// Events lost.
    pub lost: u64,
    /// Times the kernel skipped the program; `None` when it does not tell.
    pub missed: Option<u64>,
    /// Events stored after the watermark had passed their time.
    pub late: u64,
}

/// Which tier of a source is in use for one kind of event, from this moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// When this became so, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Kind of event: `exec`, `fork`, `exit`, `file`.
    pub kind: String,
    /// The source in use, `None` when there is none.
    pub source: Option<String>,
    /// The tier in use, `None` when there is none.
    pub tier: Option<String>,
    /// What the tier cannot see, in words; empty when it sees every route.
    pub blind_to: String,
    /// Why better tiers are not in use; `None` when this is the best.
    pub reason: Option<String>,
}

/// An event about the collector itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectorEvent {
    /// Something was lost.
    Gap(Gap),
    /// The count of ten seconds.
    Ledger(LedgerEntry),
    /// What can be seen changed.
    Capability(Capability),
    /// It was seen whether events are still caught.
    Audit(AuditEntry),
}
