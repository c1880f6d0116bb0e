//! What was found missing or damaged, by a reader or when the store was opened to write.

use std::fmt;

use chrono::{DateTime, SecondsFormat};

use crate::journal::frame::FrameHeader;
use crate::journal::index::Hole;
use crate::layout;
use crate::manifest::entry::SegmentEntry;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DamageKind {
    /// A journal's header cannot be used, so that none of its rows can be read.
    JournalHeader,
    /// A journal is not there, although older and newer ones are.
    JournalMissing,
    /// A stretch of a journal holds no valid frame.
    Hole,
    /// A frame's rows do not match its checksum, or cannot be decoded.
    Frame,
    /// A journal ends within a frame.
    TornTail,
    /// A segment of the manifest is not there.
    SegmentMissing,
    /// A segment cannot be decoded.
    Segment,
    /// The manifest ends within an entry.
    ManifestTorn,
    /// The manifest is wrong with more after it.
    ManifestBroken,
    /// A segment that no entry names was put aside in `orphans/`.
    Orphan,
    /// A segment that no trusted entry names was taken up again: it holds the only copy of its
    /// rows. Nothing is lost.
    Adopted,
    /// The marks of used row numbers were lost; numbering skipped ahead.
    Leases,
    /// The heartbeat cannot be read. Its times are from the last write of the run before, as far as
    /// files tell, to the present.
    Heartbeat,
}

impl DamageKind {
    /// Whether rows may be missing because of it.
    #[must_use]
    pub const fn loses_rows(self) -> bool {
        match self {
            Self::JournalHeader
            | Self::JournalMissing
            | Self::Hole
            | Self::Frame
            | Self::TornTail
            | Self::SegmentMissing
            | Self::Segment => true,
            Self::ManifestTorn
            | Self::ManifestBroken
            | Self::Orphan
            | Self::Adopted
            | Self::Leases
            | Self::Heartbeat => false,
        }
    }
}

impl DamageKind {
    /// Whether it is something that [`crate::verify`] covers.
    #[must_use]
    pub const fn is_sealed(self) -> bool {
        matches!(self, Self::SegmentMissing | Self::Segment | Self::ManifestBroken)
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What is wrong.
    pub kind: DamageKind,
    /// The file, relative to the data folder.
    pub file: String,
    /// The table whose rows are concerned; `None` when it is unknown or several.
    pub table: Option<String>,
    /// Bounds of the times of the rows concerned, in nanoseconds since the Unix epoch, as far as
    /// they are known.
    pub time_ns: Option<(i64, i64)>,
    /// How many rows are concerned, where that is known.
    pub rows: Option<u64>,
    /// More, in words.
    pub detail: String,
}

impl Damage {
    pub(crate) fn new(
        kind: DamageKind,
        file: impl Into<String>,
        detail: impl fmt::Display,
    ) -> Self {
        let (file, detail) = (file.into(), detail.to_string());
        Self { kind, file, table: None, time_ns: None, rows: None, detail }
    }

    /// A frame of a table that cannot be read; `file` is its journal.
    pub(crate) fn frame(file: String, table: &str, frame: &FrameHeader, why: &str) -> Self {
        let detail = format!("frame {} cannot be read: {why}", frame.number);
        Self::new(DamageKind::Frame, file, detail)
            .table(table)
            .times(frame.min_time_ns, frame.max_time_ns)
            .rows(u64::from(frame.rows))
    }

    /// Journals from `first` to `last` that are not there.
    pub(crate) fn journals_missing(first: u64, last: u64) -> Self {
        let detail = match last - first {
            0 => "it is not there, and no segment replaces it".to_owned(),
            _ => format!("it and those up to {last} are not there, and no segment replaces them"),
        };
        Self::new(DamageKind::JournalMissing, layout::journal_name(first), detail)
    }

    /// A segment of the manifest that is not there.
    pub(crate) fn segment_missing(file: &SegmentEntry) -> Self {
        Self::new(DamageKind::SegmentMissing, &file.path, "it is not there")
            .table(&file.table)
            .times(file.min_time_ns, file.max_time_ns)
            .rows(file.rows)
    }

    /// A stretch of the journal `file` without a valid frame.
    pub(crate) fn hole(file: String, hole: &Hole) -> Self {
        let Hole { offset, bytes, frames, time_ns } = hole;
        let detail =
            format!("{bytes} bytes from {offset} on hold no valid frame; {frames} are missing");
        Self::new(DamageKind::Hole, file, detail).times(time_ns.0, time_ns.1)
    }

    pub(crate) fn table(mut self, table: &str) -> Self {
        self.table = Some(table.to_owned());
        self
    }

    pub(crate) fn times(mut self, from: i64, to: i64) -> Self {
        self.time_ns = Some((from.min(to), from.max(to)));
        self
    }

    pub(crate) fn rows(mut self, rows: u64) -> Self {
        self.rows = Some(rows);
        self
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.detail)?;
        let times = self.time_ns.filter(|_| self.kind.loses_rows()).map(|(from, to)| {
            let words =
                |ns| DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(SecondsFormat::Secs, true);
            format!(" from {} to {}", words(from), words(to))
        });
        let times = times.unwrap_or_default();
        match (&self.table, self.rows) {
            (Some(table), Some(rows)) => {
                write!(f, "; {rows} rows of {table}{times} are left out")
            }
            (Some(table), None) => write!(f, "; rows of {table}{times} are left out"),
            (None, _) if !times.is_empty() => write!(f, "; rows{times} are left out"),
            (None, _) => Ok(()),
        }
    }
}
