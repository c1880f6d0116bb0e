//! One state of the store, pinned.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::damage::{Damage, DamageKind};
use crate::disk::Folder;
use crate::guard::{Unreadable, guarded};
use crate::journal::index::{FrameAt, FrameIndex};
use crate::journal::read::Journal;
use crate::layout;
use crate::limits::DAMAGE_MAX;
use crate::manifest::entry::SegmentEntry;
use crate::read::cache::{Cache, Known};
use crate::read::count;
use crate::read::kept::Kept;
use crate::read::reader::ReadError;
use crate::read::scan::{Scan, ScanRequest};
use crate::read::segment::OpenSegment;
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
    kept: OnceLock<Kept>,
    stop: OnceLock<Stop>,
}

/// Says whether scans are to stop.
struct Stop(Box<dyn Fn() -> bool + Send + Sync>);

impl fmt::Debug for Stop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Stop")
    }
}

impl Inner {
    /// # Errors
    /// When scans are to stop.
    pub(super) fn check_stop(&self) -> Result<(), ReadError> {
        match self.stop.get() {
            Some(Stop(stop)) if stop() => Err(ReadError::Stopped),
            _ => Ok(()),
        }
    }

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
        let inner = Inner {
            dir,
            manifest,
            journals,
            damage: Mutex::new(damage),
            cache,
            kept: OnceLock::new(),
            stop: OnceLock::new(),
        };
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

    /// How many rows of a table are in a range of times, from the manifest, footers and the headers
    /// of frames; only where a file or frame is partly in range, its times are decoded. What is
    /// damaged inside is counted as if it were whole.
    ///
    /// # Errors
    /// When the table has no time column, or a file may not be read.
    pub fn count(
        &self,
        table: &'static TableSchema,
        time: &RangeInclusive<i64>,
    ) -> Result<u64, ReadError> {
        count::count(&self.inner, table, time)
    }

    /// Keeps what scans decode from now on, within a bound in bytes, for other scans over the same
    /// columns: worth while when many scans over small ranges follow. Only the first call counts.
    pub fn keep_decoded(&self, bytes_max: usize) {
        self.inner.kept.get_or_init(|| Kept::new(bytes_max));
    }

    /// Makes scans end with [`ReadError::Stopped`] once `stop` says so. It is asked before each
    /// row group and each run of frames, also by scans that find no rows, and on other threads.
    /// Only the first call counts.
    pub fn stop_when(&self, stop: impl Fn() -> bool + Send + Sync + 'static) {
        self.inner.stop.get_or_init(|| Stop(Box::new(stop)));
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
    /// Where decoded units are kept, if they are.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.get()
    }

    /// Opens a segment; `None` when it is missing or damaged, which is noted.
    pub(super) fn open(&self, entry: &SegmentEntry) -> Result<Option<Arc<OpenSegment>>, ReadError> {
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
        match guarded(|| OpenSegment::new(file)) {
            Ok(segment) => {
                let segment = Arc::new(segment);
                self.cache.keep_segment(&entry.path, &segment);
                Ok(Some(segment))
            }
            Err(error) => {
                self.report_damaged(entry, &error);
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

    /// Notes that a segment cannot be decoded.
    pub(super) fn report_damaged(&self, entry: &SegmentEntry, error: &Unreadable) {
        self.report_segment(DamageKind::Segment, entry, &unreadable(error));
    }

    /// Notes that a row group of a segment cannot be decoded.
    pub(super) fn report_group(
        &self,
        entry: &SegmentEntry,
        (min_time_ns, max_time_ns): (i64, i64),
        rows: u64,
        error: &Unreadable,
    ) {
        let damage = Damage::new(DamageKind::Segment, &entry.path, unreadable(error))
            .table(&entry.table)
            .times(min_time_ns.max(entry.min_time_ns), max_time_ns.min(entry.max_time_ns))
            .rows(rows);
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

fn unreadable(error: &Unreadable) -> String {
    format!("it cannot be read ({error})")
}

fn torn_tail(journal: &Pinned) -> Option<Damage> {
    let rest = journal.index.seen.saturating_sub(journal.index.end);
    (rest > 0).then(|| {
        let detail = format!("the last {rest} bytes are no whole frame");
        Damage::new(DamageKind::TornTail, journal.name(), detail)
    })
}
