//! What all cursors of one statement share.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Local};

use crate::limits::{KEPT_BYTES_MAX, RANGES_MAX, SCANS_BEFORE_KEEPING, SCANS_REMEMBERED_MAX};
use crate::schema::TableSchema;
use crate::sql::bounds::TimeRange;
use crate::sql::error::SqlError;
use crate::sql::event::{EventBlock, Layout};
use crate::sql::kept::{self, Kept};
use crate::sql::rows::Block;
use crate::sql::state::StateTableEntry;
use crate::{Damage, ReadError, Reader, Scan, Snapshot};

/// Shared by a session, its virtual tables and their cursors.
pub(super) struct Context {
    data_dir: PathBuf,
    boot_id: Mutex<Option<[u8; 16]>>,
    kept_bytes_max: AtomicUsize,
    reader: Mutex<Option<Reader>>,
    statement: Mutex<Statement>,
    /// Set by the interrupt handle.
    interrupted: Arc<AtomicBool>,
}

/// From the moment a statement is prepared until the next one is.
struct Statement {
    now: DateTime<Local>,
    snapshot: Option<Snapshot>,
    scans: HashMap<ScanKey, Repeated>,
    states: HashMap<&'static str, Arc<Kept>>,
    kept_bytes: usize,
    scanned: HashMap<&'static str, Vec<TimeRange>>,
    /// Why a virtual table failed; SQLite carries only a message.
    failure: Option<SqlError>,
    /// What the authorizer refused.
    refused: Option<String>,
}

/// A scan of events that can be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ScanKey {
    pub(super) table: &'static str,
    pub(super) range: TimeRange,
    pub(super) reads: Arc<[usize]>,
}

enum Repeated {
    Times(u32),
    Kept(Arc<Kept>),
    TooLarge,
}

/// What a statement read.
pub(super) struct Finished {
    pub(super) damage: Vec<Damage>,
    pub(super) scanned: Vec<(&'static str, RangeInclusive<i64>)>,
}

impl Statement {
    fn new() -> Self {
        Self {
            now: Local::now(),
            snapshot: None,
            scans: HashMap::new(),
            states: HashMap::new(),
            kept_bytes: 0,
            scanned: HashMap::new(),
            failure: None,
            refused: None,
        }
    }
}

impl Context {
    /// The data folder.
    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(super) fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            boot_id: Mutex::default(),
            kept_bytes_max: AtomicUsize::new(KEPT_BYTES_MAX),
            reader: Mutex::default(),
            statement: Mutex::new(Statement::new()),
            interrupted: Arc::default(),
        }
    }

    /// Begins a statement: what the one before shared is let go.
    pub(super) fn begin(&self) {
        self.interrupted.store(false, Ordering::Release);
        *self.statement() = Statement::new();
    }

    /// Ends a statement and says what it read.
    pub(super) fn finish(&self) -> Finished {
        let statement = std::mem::replace(&mut *self.statement(), Statement::new());
        let mut scanned: Vec<_> = statement
            .scanned
            .into_iter()
            .flat_map(|(table, ranges)| ranges.into_iter().map(move |range| (table, range)))
            .collect();
        scanned.sort_unstable_by_key(|(table, range)| (*table, range.min));
        Finished {
            damage: statement.snapshot.map_or_else(Vec::new, |snapshot| snapshot.damage()),
            scanned: scanned.into_iter().map(|(table, range)| (table, range.inclusive())).collect(),
        }
    }

    /// The statement's idea of the present.
    pub(super) fn now(&self) -> DateTime<Local> {
        self.statement().now
    }

    pub(super) fn set_boot_id(&self, boot_id: [u8; 16]) {
        *lock(&self.boot_id) = Some(boot_id);
    }

    pub(super) fn set_kept_bytes_max(&self, bytes: usize) {
        self.kept_bytes_max.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn interrupt_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupted)
    }

    /// # Errors
    /// When the statement was interrupted.
    pub(super) fn check_interrupt(&self) -> Result<(), SqlError> {
        if self.interrupted.load(Ordering::Acquire) { Err(SqlError::Interrupted) } else { Ok(()) }
    }

    /// Keeps an error whole and gives SQLite its words.
    pub(super) fn fail(&self, error: SqlError) -> rusqlite::Error {
        let message = error.to_string();
        self.statement().failure.get_or_insert(error);
        rusqlite::Error::ModuleError(message)
    }

    pub(super) fn take_failure(&self) -> Option<SqlError> {
        self.statement().failure.take()
    }

    pub(super) fn refuse(&self, what: String) {
        self.statement().refused.get_or_insert(what);
    }

    pub(super) fn take_refused(&self) -> Option<String> {
        self.statement().refused.take()
    }

    /// The statement's snapshot, pinned now if it is not yet.
    pub(super) fn snapshot(&self, table: &'static str) -> Result<Snapshot, SqlError> {
        if let Some(snapshot) = &self.statement().snapshot {
            return Ok(snapshot.clone());
        }
        let snapshot = self.pin().map_err(|error| match error {
            ReadError::NotAStore { path } => SqlError::NoStore { path },
            source => SqlError::Read { table, source },
        })?;
        self.statement().snapshot = Some(snapshot.clone());
        Ok(snapshot)
    }

    fn pin(&self) -> Result<Snapshot, ReadError> {
        let mut reader = lock(&self.reader);
        if let Some(reader) = &*reader {
            return reader.snapshot();
        }
        let opened = Reader::open(&self.data_dir)?;
        let snapshot = opened.snapshot()?;
        *reader = Some(opened);
        Ok(snapshot)
    }

    /// Notes that a table was read over a range.
    pub(super) fn note_scan(&self, table: &'static str, range: TimeRange) {
        let mut statement = self.statement();
        let ranges = statement.scanned.entry(table).or_default();
        let touching = |known: &&mut TimeRange| {
            known.min <= range.max.saturating_add(1) && range.min <= known.max.saturating_add(1)
        };
        if let Some(known) = ranges.iter_mut().find(touching) {
            *known = hull(*known, range);
        } else if ranges.len() < RANGES_MAX {
            ranges.push(range);
        } else {
            let all = ranges.iter().copied().fold(range, hull);
            *ranges = vec![all];
        }
    }

    /// A scan of the store.
    pub(super) fn scan(
        &self,
        schema: &'static TableSchema,
        range: TimeRange,
        layout: &Layout,
    ) -> Result<Scan, SqlError> {
        self.snapshot(schema.name)?
            .scan(schema, &layout.request_for(range))
            .map_err(|source| SqlError::Read { table: schema.name, source })
    }

    /// The rows of a repeated scan of events; `None` when it did not run often enough yet, or when
    /// its rows are too many. `keys` are the columns that an index would be on.
    pub(super) fn kept_events(
        &self,
        key: &ScanKey,
        schema: &'static TableSchema,
        layout: &Arc<Layout>,
        keys: &[usize],
    ) -> Result<Option<Arc<Kept>>, SqlError> {
        let room = {
            let mut statement = self.statement();
            let room =
                self.kept_bytes_max.load(Ordering::Relaxed).saturating_sub(statement.kept_bytes);
            match statement.scans.get_mut(key) {
                Some(Repeated::Kept(kept)) => return Ok(Some(Arc::clone(kept))),
                Some(Repeated::TooLarge) => return Ok(None),
                Some(Repeated::Times(times)) if *times < SCANS_BEFORE_KEEPING => {
                    *times += 1;
                    return Ok(None);
                }
                Some(Repeated::Times(_)) => room,
                None => {
                    if statement.scans.len() < SCANS_REMEMBERED_MAX {
                        statement.scans.insert(key.clone(), Repeated::Times(1));
                    }
                    return Ok(None);
                }
            }
        };
        let kept = self.read_all(key.range, schema, layout, keys, room)?;
        let mut statement = self.statement();
        let Some((kept, bytes)) = kept else {
            statement.scans.insert(key.clone(), Repeated::TooLarge);
            return Ok(None);
        };
        let kept = Arc::new(kept);
        statement.kept_bytes = statement.kept_bytes.saturating_add(bytes);
        statement.scans.insert(key.clone(), Repeated::Kept(Arc::clone(&kept)));
        Ok(Some(kept))
    }

    /// Takes memory for a further index on kept rows of events; false when it is too much.
    pub(super) fn charge(&self, bytes: usize) -> bool {
        let mut statement = self.statement();
        let total = statement.kept_bytes.saturating_add(bytes);
        let fits = total <= self.kept_bytes_max.load(Ordering::Relaxed);
        if fits {
            statement.kept_bytes = total;
        }
        fits
    }

    /// All rows of a scan and their memory; `None` when that is more than `room`.
    fn read_all(
        &self,
        range: TimeRange,
        schema: &'static TableSchema,
        layout: &Arc<Layout>,
        keys: &[usize],
        room: usize,
    ) -> Result<Option<(Kept, usize)>, SqlError> {
        let (mut blocks, mut bytes) = (Vec::new(), 0_usize);
        for batch in self.scan(schema, range, layout)? {
            self.check_interrupt()?;
            let batch = batch.map_err(|source| SqlError::Read { table: schema.name, source })?;
            let block = EventBlock::new(batch, Arc::clone(layout));
            bytes = bytes.saturating_add(kept::bytes(&block, keys));
            if bytes > room {
                return Ok(None);
            }
            blocks.push(Box::new(block) as Box<dyn Block>);
        }
        Ok(Some((Kept::new(blocks, keys.to_vec()), bytes)))
    }

    /// The rows of a state table, read once per statement.
    pub(super) fn kept_state(&self, entry: &StateTableEntry) -> Result<Arc<Kept>, SqlError> {
        let table = entry.schema().name;
        if let Some(kept) = self.statement().states.get(table) {
            return Ok(Arc::clone(kept));
        }
        let boot_id = *lock(&self.boot_id);
        let block = entry.read(boot_id).map_err(|source| SqlError::State { table, source })?;
        let kept = Arc::new(Kept::new(vec![block], Vec::new()));
        self.statement().states.insert(table, Arc::clone(&kept));
        Ok(kept)
    }

    fn statement(&self) -> MutexGuard<'_, Statement> {
        lock(&self.statement)
    }
}

fn hull(left: TimeRange, right: TimeRange) -> TimeRange {
    TimeRange { min: left.min.min(right.min), max: left.max.max(right.max) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
