//! One state of the store, pinned.

use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use crate::damage::{Damage, DamageKind};
use crate::disk::Folder;
use crate::journal::index::{FrameAt, FrameIndex};
use crate::journal::read::Journal;
use crate::layout;
use crate::limits::DAMAGE_MAX;
use crate::manifest::entry::SegmentEntry;
use crate::read::cache::{Cache, Known};
use crate::read::reader::ReadError;
use crate::read::scan::{Scan, ScanRequest};
use crate::read::segments::OpenSegment;
use crate::schema::TableSchema;
use crate::segment::read::SegmentFile;

/// A journal and the frames in it that count.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) journal: Journal,
    pub(super) index: Arc<FrameIndex>,
}

impl Pinned {
    /// The journal's path relative to the data folder.
    pub(super) fn name(&self) -> String {
        layout::journal_name(self.journal.key().number)
    }

    /// The frames of a table whose times overlap a range.
    pub(super) fn frames<'a>(
        &'a self,
        table: &str,
        time: &'a RangeInclusive<i64>,
    ) -> impl Iterator<Item = &'a FrameAt> {
        let table = self.journal.header.tables.iter().position(|known| known.name == table);
        self.index.frames.iter().filter(move |frame| {
            Some(usize::from(frame.header.table)) == table
                && overlaps(time, frame.header.min_time_ns, frame.header.max_time_ns)
        })
    }
}

/// Whether a range has an instant in common with the one from `min` to `max`.
pub(super) fn overlaps(range: &RangeInclusive<i64>, min: i64, max: i64) -> bool {
    *range.start() <= max && *range.end() >= min
}

/// What a scan would cost, from what is known without reading rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Rows in files and frames that overlap the range: at least those in the range.
    pub rows: u64,
    /// Bytes of those on disk.
    pub bytes: u64,
    /// Files that hold them.
    pub files: u64,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) dir: Folder,
    manifest: Arc<Known>,
    pub(super) journals: Vec<Pinned>,
    damage: Mutex<Vec<Damage>>,
    pub(super) cache: Arc<Cache>,
}

impl Inner {
    /// Notes a finding, unless it is known already.
    pub(super) fn report(&self, damage: Damage) {
        let mut known = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < DAMAGE_MAX && !known.contains(&damage) {
            known.push(damage);
        }
    }
}

/// One state of the store. Cheap to clone; scans over it stay valid as long as they live.
#[derive(Clone, Debug)]
pub struct Snapshot {
    inner: Arc<Inner>,
}

impl Snapshot {
    pub(super) fn new(
        dir: Folder,
        manifest: Arc<Known>,
        journals: Vec<Pinned>,
        damage: Vec<Damage>,
        cache: Arc<Cache>,
    ) -> Self {
        let inner = Inner { dir, manifest, journals, damage: Mutex::new(damage), cache };
        inner.manifest.damage.iter().cloned().for_each(|damage| inner.report(damage));
        for journal in &inner.journals {
            let holes = journal.index.holes.iter();
            holes.for_each(|hole| inner.report(Damage::hole(journal.name(), hole)));
        }
        // What follows the last frame of the newest journal may be a frame on its way.
        let (_, older) = inner.journals.split_last().map_or((None, &[][..]), |(a, b)| (Some(a), b));
        for journal in older {
            torn_tail(journal).into_iter().for_each(|damage| inner.report(damage));
        }
        Self { inner: Arc::new(inner) }
    }

    /// Reads rows of a table. What cannot be read is left out and noted in [`Self::damage`].
    ///
    /// # Errors
    /// When a requested column is not a stored one.
    pub fn scan(
        &self,
        table: &'static TableSchema,
        request: &ScanRequest,
    ) -> Result<Scan, ReadError> {
        Scan::new(Arc::clone(&self.inner), table, request)
    }

    /// What a scan of a table over a range of times would cost.
    #[must_use]
    pub fn estimate(&self, table: &TableSchema, time: &RangeInclusive<i64>) -> Estimate {
        let mut estimate = Estimate::default();
        for segment in self.inner.segments(table.name, time) {
            estimate.rows += segment.rows;
            estimate.bytes += segment.bytes;
            estimate.files += 1;
        }
        for journal in &self.inner.journals {
            let files = estimate.files;
            for frame in journal.frames(table.name, time) {
                estimate.rows += u64::from(frame.header.rows);
                estimate.bytes += frame.header.frame_bytes();
                estimate.files = files + 1;
            }
        }
        estimate
    }

    /// The segments, in no particular order.
    pub fn segments(&self) -> impl Iterator<Item = &SegmentEntry> {
        self.inner.manifest.state.files.values()
    }

    /// What was found missing or damaged so far: at the pin, and by the scans that have run.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        self.inner.damage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Inner {
    /// Opens a segment; `None` when it is missing or damaged, which is noted.
    pub(super) fn open(&self, entry: &SegmentEntry) -> Result<Option<OpenSegment>, ReadError> {
        if let Some(known) = self.cache.segment(&entry.path) {
            return Ok(Some(known));
        }
        let path = self.dir.join(&entry.path);
        let file = match SegmentFile::open(&self.dir, &path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.report_segment(DamageKind::SegmentMissing, entry, "it is not there");
                return Ok(None);
            }
            Err(source) => return Err(ReadError::Segment { path, source }),
        };
        match file.metadata() {
            Ok(metadata) => {
                let segment = OpenSegment { file, metadata };
                self.cache.keep_segment(&entry.path, &segment);
                Ok(Some(segment))
            }
            Err(error) => {
                self.report_segment(DamageKind::Segment, entry, &error.to_string());
                Ok(None)
            }
        }
    }

    pub(super) fn report_segment(&self, kind: DamageKind, entry: &SegmentEntry, detail: &str) {
        let damage = Damage::new(kind, &entry.path, detail)
            .table(&entry.table)
            .times(entry.min_time_ns, entry.max_time_ns)
            .rows(entry.rows);
        self.report(damage);
    }

    /// The segments of a table whose times overlap a range.
    pub(super) fn segments<'a>(
        &'a self,
        table: &'a str,
        time: &'a RangeInclusive<i64>,
    ) -> impl Iterator<Item = &'a SegmentEntry> {
        self.manifest.state.files.values().filter(move |segment| {
            segment.table == table && overlaps(time, segment.min_time_ns, segment.max_time_ns)
        })
    }
}

fn torn_tail(journal: &Pinned) -> Option<Damage> {
    let rest = journal.index.seen.saturating_sub(journal.index.end);
    (rest > 0).then(|| {
        let detail = format!("the last {rest} bytes are no whole frame");
        Damage::new(DamageKind::TornTail, journal.name(), detail)
    })
}
