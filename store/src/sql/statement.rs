//! What all cursors of one statement share.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Local};

use crate::limits::{RANGES_MAX, SCANS_REMEMBERED_MAX};
use crate::schema::TableSchema;
use crate::sql::bounds::TimeRange;
use crate::sql::budget::{Budget, Use};
use crate::sql::clock::Clock;
use crate::sql::direct::Stream;
use crate::sql::error::SqlError;
use crate::sql::event::{EventBlock, Layout};
use crate::sql::kept::Kept;
use crate::sql::repeated::{Answer, Keep, Near, Repeated, Request};
use crate::sql::rows::Block;
use crate::sql::state::{ScanFailure, StateTableEntry};
use crate::{Damage, Filter, Order, ReadError, Reader, Scan, ScanRequest, Snapshot};

/// What a kept row is taken to cost, in bytes, before it is read.
const ROW_BYTES: usize = 64;

/// Shared by a session, its virtual tables and their cursors.
pub(super) struct Context {
    data_dir: PathBuf,
    boot_id: Mutex<Option<[u8; 16]>>,
    budget: Mutex<Budget>,
    clock: Arc<Clock>,
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
    scanned: HashMap<&'static str, Vec<TimeRange>>,
    /// Why a virtual table failed; SQLite carries only a message.
    failure: Option<SqlError>,
    /// What the authorizer refused.
    refused: Option<String>,
    planned: Planned,
    passing: Passing,
}

/// Which tables SQLite has asked plans for.
enum Planned {
    Nothing,
    One(&'static str),
    Several,
}

/// Whether a scan's rows go past SQLite.
enum Passing {
    No,
    Wanted,
    Given(Box<Stream>),
}

/// A scan of events that can be repeated: a table and the text of a plan.
type ScanKey = (&'static str, Arc<str>);

/// A scan that may be answered from kept rows.
pub(super) struct Repeatable<'a> {
    pub(super) schema: &'static TableSchema,
    /// The plan's text.
    pub(super) plan: &'a Arc<str>,
    pub(super) layout: &'a Layout,
    /// Whether the rows must come in order of time.
    pub(super) ordered: bool,
    /// The filters of arguments, those that are there.
    pub(super) filters: &'a dyn Fn(&[Option<crate::sql::repeated::Argument>]) -> Vec<Filter>,
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
            scanned: HashMap::new(),
            failure: None,
            refused: None,
            planned: Planned::Nothing,
            passing: Passing::No,
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
            budget: Mutex::new(Budget::new()),
            clock: Arc::new(Clock::new()),
            reader: Mutex::default(),
            statement: Mutex::new(Statement::new()),
            interrupted: Arc::default(),
        }
    }

    /// Begins a statement: what the one before shared is let go.
    pub(super) fn begin(&self) {
        self.interrupted.store(false, Ordering::Release);
        *self.statement() = Statement::new();
        self.budget().begin();
        self.clock.begin();
    }

    /// Lets go of what a statement shared.
    pub(super) fn end(&self) {
        *self.statement() = Statement::new();
        self.budget().end();
        self.clock.end();
    }

    /// Ends a statement and says what it read.
    pub(super) fn finish(&self) -> Finished {
        let statement = std::mem::replace(&mut *self.statement(), Statement::new());
        self.budget().end();
        self.clock.end();
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

    pub(super) fn set_reader(&self, reader: Reader) {
        *lock(&self.reader) = Some(reader);
    }

    pub(super) fn set_kept_bytes_max(&self, bytes: usize) {
        self.budget().kept_max = bytes;
    }

    pub(super) fn set_groups_bytes_max(&self, bytes: usize) {
        self.budget().groups_max = bytes;
    }

    pub(super) fn set_memory_max(&self, bytes: usize) {
        let mut budget = self.budget();
        budget.memory_max = Some(bytes);
        (budget.kept_max, budget.groups_max) = (bytes / 2, bytes);
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn interrupt_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupted)
    }

    /// # Errors
    /// When the statement was interrupted or has run too long.
    pub(super) fn check_interrupt(&self) -> Result<(), SqlError> {
        if self.interrupted.load(Ordering::Acquire) {
            return Err(SqlError::Interrupted);
        }
        self.clock.check()
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

    pub(super) fn note_planned(&self, table: &'static str) {
        let planned = &mut self.statement().planned;
        *planned = match planned {
            Planned::Nothing => Planned::One(table),
            Planned::One(known) if *known == table => Planned::One(table),
            Planned::One(_) | Planned::Several => Planned::Several,
        };
    }

    /// Whether the statement is about one table.
    pub(super) fn has_one_table(&self) -> bool {
        matches!(self.statement().planned, Planned::One(_))
    }

    /// Asks the next scan to hand over its rows.
    pub(super) fn ask_for_stream(&self) {
        self.statement().passing = Passing::Wanted;
    }

    /// Takes the rows of a scan, if they were asked for and there are any.
    pub(super) fn offer(&self, take: impl FnOnce() -> Option<Stream>) {
        let passing = &mut self.statement().passing;
        if matches!(passing, Passing::Wanted)
            && let Some(stream) = take()
        {
            *passing = Passing::Given(Box::new(stream));
        }
    }

    /// The rows that were handed over.
    pub(super) fn take_stream(&self) -> Option<Box<Stream>> {
        match std::mem::replace(&mut self.statement().passing, Passing::No) {
            Passing::Given(stream) => Some(stream),
            Passing::No | Passing::Wanted => None,
        }
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
        let (interrupted, clock) = (Arc::clone(&self.interrupted), Arc::clone(&self.clock));
        snapshot.stop_when(move || interrupted.load(Ordering::Acquire) || clock.check().is_err());
        self.statement().snapshot = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// Per source, the time up to which everything is known and on disk.
    pub(super) fn watermarks(&self) -> Result<Vec<(String, i64)>, SqlError> {
        self.snapshot("heartbeat")?;
        let reader = lock(&self.reader);
        let read = reader.as_ref().map_or_else(|| Ok(Vec::new()), Reader::heartbeat);
        read.map_err(|source| SqlError::Read { table: "heartbeat", source })
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
        request: &ScanRequest,
    ) -> Result<Scan, SqlError> {
        self.snapshot(schema.name)?
            .scan(schema, request)
            .map_err(|source| self.read_error(schema.name, source))
    }

    /// How many rows a table has in a range.
    pub(super) fn count(
        &self,
        schema: &'static TableSchema,
        range: TimeRange,
    ) -> Result<u64, SqlError> {
        self.note_scan(schema.name, range);
        self.snapshot(schema.name)?
            .count(schema, &range.inclusive())
            .map_err(|source| self.read_error(schema.name, source))
    }

    /// Why a table could not be read, or why it was not.
    pub(super) fn read_error(&self, table: &'static str, source: ReadError) -> SqlError {
        match (source, self.check_interrupt()) {
            (ReadError::Stopped, Err(why)) => why,
            (source, _) => SqlError::Read { table, source },
        }
    }

    /// Why a function of the program failed: what the store said, where it was that.
    pub(super) fn function_error(&self, name: &'static str, source: ScanFailure) -> SqlError {
        let source = match source.downcast::<SqlError>() {
            Ok(error) => return *error,
            Err(source) => source,
        };
        match (source.downcast_ref::<ReadError>(), self.check_interrupt()) {
            (Some(ReadError::Stopped), Err(why)) => why,
            _ => SqlError::Function { name, source },
        }
    }

    /// The rows of a repeated scan of events; `None` when it did not run often enough yet, or when
    /// its rows are too many.
    pub(super) fn near(
        &self,
        scan: &Repeatable<'_>,
        request: &Request,
    ) -> Result<Option<Near>, SqlError> {
        let key: ScanKey = (scan.schema.name, Arc::clone(scan.plan));
        let snapshot = self.snapshot(scan.schema.name)?;
        let rows = |range: TimeRange| snapshot.estimate(scan.schema, &range.inclusive()).rows;
        let keep = {
            let mut statement = self.statement();
            let remembered = statement.scans.len();
            match statement.scans.get_mut(&key) {
                None if remembered < SCANS_REMEMBERED_MAX => {
                    statement.scans.insert(key, Repeated::first(request));
                    return Ok(None);
                }
                None => return Ok(None),
                Some(repeated) => {
                    let rows_max = self.budget().kept_max / ROW_BYTES;
                    match repeated.again(request, rows, rows_max as u64) {
                        Answer::Scan => return Ok(None),
                        Answer::Kept(near) => return Ok(Some(near)),
                        Answer::Keep(keep) => keep,
                    }
                }
            }
        };
        self.keep(scan, key, keep)
    }

    /// Reads what is to be kept.
    fn keep(
        &self,
        scan: &Repeatable<'_>,
        key: ScanKey,
        keep: Keep,
    ) -> Result<Option<Near>, SqlError> {
        let by_time = keep.by_time;
        let mut read = self.read_all(scan, &keep)?;
        if read.is_none() {
            // Other windows of this scan may take the room.
            let freed = self.statement().scans.get_mut(&key).map_or(0, Repeated::let_go);
            self.give_back(Use::Kept, freed);
            if freed > 0 {
                read = self.read_all(scan, &keep)?;
            }
        }
        let mut statement = self.statement();
        let Some(repeated) = statement.scans.get_mut(&key) else { return Ok(None) };
        let Some((kept, bytes)) = read else {
            repeated.refuse();
            drop(statement);
            // A look-up reads few pages, and would search all that is decoded.
            if by_time {
                self.keep_decoded(scan.schema.name)?;
            }
            return Ok(None);
        };
        let (near, freed) = repeated.keep(Arc::new(kept), keep, bytes);
        self.give_back(Use::Kept, freed);
        Ok(Some(near))
    }

    /// Lets the store keep what it decodes: a repeated scan of which not all rows fit reads much of
    /// it again and again.
    fn keep_decoded(&self, table: &'static str) -> Result<(), SqlError> {
        let bytes = self.budget().kept_max / 2;
        if self.take(Use::Kept, bytes) {
            self.snapshot(table)?.keep_decoded(bytes);
        }
        Ok(())
    }

    /// That a statement needs more memory than it may have.
    pub(super) fn too_much(&self) -> SqlError {
        let budget = self.budget();
        let bytes_max = budget.memory_max.unwrap_or(budget.groups_max);
        SqlError::TooMuchMemory { bytes_max }
    }

    /// Takes memory; false when it is too much.
    pub(super) fn take(&self, what: Use, bytes: usize) -> bool {
        self.budget().take(what, bytes)
    }

    /// Gives memory back that was taken.
    pub(super) fn give_back(&self, what: Use, bytes: usize) {
        self.budget().give_back(what, bytes);
    }

    /// All rows of a scan and their memory, which is taken; `None` when there is not enough.
    fn read_all(
        &self,
        scan: &Repeatable<'_>,
        keep: &Keep,
    ) -> Result<Option<(Kept, usize)>, SqlError> {
        let layout =
            Arc::new(if keep.by_time { scan.layout.with_times() } else { scan.layout.clone() });
        let order = if keep.by_time || scan.ordered { Order::Ascending } else { Order::Any };
        let request = layout.request(keep.range, (scan.filters)(&keep.fixed), order);
        let mut blocks: Vec<EventBlock> = Vec::new();
        let mut bytes = 0;
        for batch in self.scan(scan.schema, &request)? {
            self.check_interrupt()?;
            let table = scan.schema.name;
            let batch = batch.map_err(|source| self.read_error(table, source))?;
            let block = EventBlock::new(batch, Arc::clone(&layout));
            let more = block.bytes(blocks.last());
            if !self.take(Use::Kept, more) {
                self.give_back(Use::Kept, bytes);
                return Ok(None);
            }
            bytes += more;
            blocks.push(block);
        }
        let boxed = |block| Box::new(block) as Box<dyn Block>;
        Ok(Some((Kept::new(blocks.into_iter().map(boxed).collect()), bytes)))
    }

    /// The rows of a state table, read once per statement.
    pub(super) fn kept_state(&self, entry: &StateTableEntry) -> Result<Arc<Kept>, SqlError> {
        let table = entry.schema().name;
        if let Some(kept) = self.statement().states.get(table) {
            return Ok(Arc::clone(kept));
        }
        let boot_id = *lock(&self.boot_id);
        let block = entry.read(boot_id).map_err(|source| SqlError::State { table, source })?;
        let kept = Arc::new(Kept::new(vec![block]));
        self.statement().states.insert(table, Arc::clone(&kept));
        Ok(kept)
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        lock(&self.budget)
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
