//! The one writer of a store.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::damage::Damage;
use crate::disk::Folder;
use crate::journal::append::{Draft, JournalWriter, Unsynced};
use crate::lease::Leases;
use crate::limits::{TABLES_MAX, UNSYNCED_BYTES_MAX, WAITING_JOURNALS_MAX};
use crate::lock::Lock;
use crate::retention::Expired;
use crate::schema::TableSchema;
use crate::segment::{BOOT_ID, CLOCK_OFFSET, EID};
use crate::slots::Slots;
use crate::table::EventTable;
use crate::wire::WireTable;
use crate::write::error::{AppendError, HeartbeatError, OpenError, WriteError};
use crate::write::options::{Appended, Opened, Synced, WriterOptions};
use crate::write::recover;
use crate::write::sealer::Sealer;

/// Appends rows to a store. There is one per data folder; it holds the folder's lock.
#[derive(Debug)]
pub struct Writer {
    dir: Folder,
    options: WriterOptions,
    tables: &'static [&'static TableSchema],
    wire: Vec<WireTable>,
    leases: Leases,
    heartbeat: Slots,
    journal: JournalWriter,
    unsynced: Unsynced,
    /// The journal is of no more use: a write or sync has failed, and no new one could be begun.
    broken: bool,
    clock_offset_ns: i64,
    sealer: Sealer,
    _lock: Lock,
}

impl Writer {
    /// Opens the store in `dir`, creating it when it is missing, and hands what an earlier run
    /// left unsealed to the sealer.
    ///
    /// # Errors
    /// When another process has it open, or when a file cannot be used.
    pub fn open(
        dir: &Path,
        tables: &'static [&'static TableSchema],
        options: WriterOptions,
    ) -> Result<(Self, Opened), OpenError> {
        let wire = describe(tables)?;
        let dir = &Folder::new(dir, Arc::clone(&options.disk));
        let (lock, recovery) = recover::recover(dir)?;
        let mut opened = recovery.opened;
        let (leases, damaged) =
            Leases::open(dir, tables, &recovery.last_eids).map_err(OpenError::Leases)?;
        opened.recovered.extend(damaged.then(recover::leases_damage));
        let now_ns = options.clock.now_ns();
        let (heartbeat, last) =
            recover::heartbeat(dir, &mut opened, recovery.last_write_ns, now_ns)?;
        opened.last_heartbeat = last;
        // A journal must never be there without the marks of the row numbers in it.
        dir.sync_dir(dir.path())
            .map_err(|source| OpenError::Folder { path: dir.to_path_buf(), source })?;

        let none = Unsynced::default();
        let (number, boot_id) = (recovery.next_journal, options.boot_id);
        let journal = JournalWriter::create(dir, number, boot_id, &wire, u64::MAX, &none, now_ns)
            .map_err(|source| OpenError::Journal { path: dir.to_path_buf(), source })?;
        let sealer = Sealer::start(dir, recovery.manifest, tables, &options, recovery.unsealed)?;
        let writer = Self {
            dir: dir.clone(),
            options,
            tables,
            wire,
            leases,
            heartbeat,
            journal,
            unsynced: none,
            broken: false,
            clock_offset_ns: 0,
            sealer,
            _lock: lock,
        };
        Ok((writer, opened))
    }

    /// Sets what boot-time nanoseconds plus it is real time, for the rows appended from now on.
    pub fn set_clock_offset(&mut self, offset_ns: i64) {
        self.clock_offset_ns = offset_ns;
    }

    /// Appends rows. When it returns they are with the kernel and every reader sees them; they
    /// are on disk after the next [`Self::sync`]. `None` when there were no rows.
    ///
    /// A row longer than [`crate::limits::ROW_BYTES_MAX`] is left out and a warning logged.
    ///
    /// # Errors
    /// When rows cannot be written. Those of earlier frames of the same call (4,096 rows or 1 MiB
    /// each) are appended all the same; the error says how many.
    pub fn append<T: EventTable>(
        &mut self,
        rows: impl IntoIterator<Item = T>,
    ) -> Result<Option<Appended>, AppendError> {
        let table = self.table_index(T::SCHEMA.name)?;
        let mut rows = rows.into_iter();
        let mut appended: Option<Appended> = None;
        let mut refused = 0;
        loop {
            let before = appended.map_or(0, |appended| appended.rows);
            self.make_ready(before)?;
            let Some(draft) = self.unsynced.draft(&mut rows, &mut refused) else {
                break;
            };
            let first_eid = self.write(table, draft, before)?;
            let last_eid = first_eid + i64::from(draft.rows) - 1;
            let total = appended.get_or_insert(Appended { first_eid, last_eid, rows: 0 });
            total.last_eid = last_eid;
            total.rows += u64::from(draft.rows);
        }
        if refused > 0 {
            tracing::error!(table = T::SCHEMA.name, refused, "Rows over the size limit are lost");
        }
        Ok(appended)
    }

    /// Puts every appended row on disk.
    ///
    /// # Errors
    /// When that is not certain. The rows are kept in memory and written to a new journal as soon
    /// as one can be begun.
    pub fn sync(&mut self) -> Result<Synced, WriteError> {
        self.sync_journal().map_err(WriteError::Sync)?;
        Ok(Synced { last_eid: self.leases.last_given() })
    }

    /// Notes, per source, the watermark up to which every event is stored and synced, in
    /// nanoseconds since the Unix epoch. Call it after [`Self::sync`]; it is on disk on return.
    ///
    /// # Errors
    /// When it cannot be written. The one before it stands.
    pub fn heartbeat(&mut self, watermarks: &[(&str, i64)]) -> Result<(), HeartbeatError> {
        self.heartbeat.write(&watermarks).map_err(HeartbeatError)
    }

    /// Begins a new journal when the present one is old enough, and hands full ones to the
    /// sealer; not while too many wait for it. Call it at least every few seconds.
    ///
    /// # Errors
    /// When no new journal can be begun, and the old one is used on; or when the sealer has
    /// failed, so that journals pile up.
    pub fn tick(&mut self) -> Result<(), WriteError> {
        if self.is_due() {
            self.rotate()?;
        }
        if self.sealer.is_gone() { Err(WriteError::Sealer) } else { Ok(()) }
    }

    /// Begins a new journal and waits until all before it are sealed and all segments merged that
    /// are to be, at most `timeout`; says whether that is so.
    ///
    /// # Errors
    /// When no new journal can be begun.
    pub fn settle(&mut self, timeout: Duration) -> Result<bool, WriteError> {
        if self.journal.frames > 0 {
            self.rotate()?;
        }
        Ok(self.sealer.settle(timeout))
    }

    /// What the sealer could not read since the last call: rows that were on disk and are lost.
    #[must_use]
    pub fn take_damage(&mut self) -> Vec<Damage> {
        self.sealer.take_findings()
    }

    /// What was given up since the last call, because of its age or for want of space: a record per
    /// table.
    #[must_use]
    pub fn take_expired(&mut self) -> Vec<Expired> {
        self.sealer.take_expired()
    }

    /// Syncs, seals what is left, and gives back unused row numbers.
    ///
    /// # Errors
    /// When rows may not be on disk, or the sealer has failed. The folder's lock is free in any
    /// case.
    pub fn close(mut self) -> Result<(), WriteError> {
        self.sync_journal().map_err(WriteError::Sync)?;
        self.sealer.add(self.journal.number(), u64::MAX);
        let sealed = self.sealer.finish();
        self.leases.close().map_err(WriteError::Leases)?;
        sealed.then_some(()).ok_or(WriteError::Sealer)
    }

    fn table_index(&self, name: &'static str) -> Result<usize, AppendError> {
        let index = self.tables.iter().position(|table| table.name == name);
        index.ok_or(AppendError::UnknownTable { table: name })
    }

    /// Sees to it that there is a journal with room.
    fn make_ready(&mut self, appended: u64) -> Result<(), AppendError> {
        let failed = |source| AppendError::Write { appended, source };
        if self.broken {
            self.replace_journal().map_err(failed)?;
        }
        if self.unsynced.bytes() >= UNSYNCED_BYTES_MAX {
            self.sync_journal().map_err(failed)?;
        }
        if self.journal.bytes >= self.options.journal_bytes_max
            && self.may_rotate()
            && let Err(WriteError::Rotate(error) | WriteError::Sync(error)) = self.rotate()
        {
            // The old journal still takes rows, unless it is broken.
            tracing::warn!(error = %error, "No new journal could be begun; using the old one on");
            if self.broken {
                return Err(failed(error));
            }
        }
        Ok(())
    }

    /// Writes the drafted frame; returns the first row's number.
    fn write(&mut self, table: usize, draft: Draft, appended: u64) -> Result<i64, AppendError> {
        let failed = |source| AppendError::Write { appended, source };
        let table_id = u16::try_from(table).unwrap_or(u16::MAX);
        let first_eid = match self.leases.give(table, draft.rows) {
            Ok(first_eid) => first_eid,
            Err(error) => {
                self.unsynced.discard();
                return Err(AppendError::Leases { appended, source: error });
            }
        };
        let offset_ns = self.clock_offset_ns;
        let frame = self.unsynced.finish(draft, table_id, first_eid, offset_ns, &self.journal);
        if let Err(error) = self.journal.write(frame) {
            tracing::warn!(error = %error, "The journal cannot be written; beginning a new one");
            self.broken = true;
            if let Err(error) = self.replace_journal() {
                self.unsynced.discard();
                return Err(failed(error));
            }
        }
        Ok(first_eid)
    }

    fn sync_journal(&mut self) -> io::Result<()> {
        if !self.broken {
            if self.unsynced.is_empty() {
                return Ok(());
            }
            match self.journal.sync() {
                Ok(()) => {
                    self.unsynced.clear();
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(error = %error, "The journal cannot be synced; beginning a new one");
                    self.broken = true;
                }
            }
        }
        self.replace_journal()
    }

    /// Gives up a journal at its last synced frame and writes the rest to a new one.
    fn replace_journal(&mut self) -> io::Result<()> {
        let end = self.journal.synced_bytes;
        let next = self.create_next(end)?;
        self.sealer.add(self.journal.number(), end);
        self.journal = next;
        self.unsynced.clear();
        self.broken = false;
        Ok(())
    }

    fn is_due(&self) -> bool {
        let old = self.journal.created.elapsed() >= self.options.journal_age_max;
        let full = self.journal.bytes >= self.options.journal_bytes_max;
        self.broken || ((full || (old && self.journal.frames > 0)) && self.may_rotate())
    }

    /// Whether the sealer keeps up.
    fn may_rotate(&self) -> bool {
        self.sealer.waiting() < WAITING_JOURNALS_MAX
    }

    fn rotate(&mut self) -> Result<(), WriteError> {
        let number = self.journal.number();
        self.sync_journal().map_err(WriteError::Sync)?;
        if self.journal.number() != number {
            return Ok(()); // The sync failed and has begun a new one.
        }
        let next = self.create_next(u64::MAX).map_err(WriteError::Rotate)?;
        self.sealer.add(number, u64::MAX);
        self.journal = next;
        Ok(())
    }

    /// Creates the next journal. `end` is where the present one ends; what is unsynced goes over.
    fn create_next(&self, end: u64) -> io::Result<JournalWriter> {
        let (number, boot_id) = (self.journal.number() + 1, self.options.boot_id);
        let now_ns = self.options.clock.now_ns();
        JournalWriter::create(&self.dir, number, boot_id, &self.wire, end, &self.unsynced, now_ns)
    }
}

/// Checks the tables and describes them for the journal's header.
fn describe(tables: &'static [&'static TableSchema]) -> Result<Vec<WireTable>, OpenError> {
    let mut names = BTreeMap::new();
    let mut wire = Vec::with_capacity(tables.len());
    for table in tables {
        let refuse = |reason| OpenError::Table { table: table.name, reason };
        if names.insert(table.name, ()).is_some() {
            return Err(refuse("another table has its name"));
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if table.name.is_empty() || !table.name.bytes().all(plain) {
            return Err(refuse("its name is not snake case"));
        }
        if table.stored().any(|(_, column, _)| [EID, BOOT_ID, CLOCK_OFFSET].contains(&column.name))
        {
            return Err(refuse("a column has a name that the store uses"));
        }
        wire.push(WireTable::of(table).ok_or_else(|| refuse("it has no time column"))?);
        if wire.len() > TABLES_MAX {
            return Err(refuse("there are too many tables"));
        }
    }
    Ok(wire)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{SMALL, Small};
    use crate::layout;
    use crate::read::{Reader, ScanRequest};
    use crate::table::ValueRef;

    static TABLES: &[&TableSchema] = &[SMALL];

    fn open(dir: &Path) -> Writer {
        let (writer, opened) = Writer::open(dir, TABLES, WriterOptions::new([1; 16])).unwrap();
        assert_eq!(opened.recovered, []);
        writer
    }

    fn rows(pids: std::ops::Range<u32>) -> Vec<Small> {
        pids.map(|pid| Small { time_ns: i64::from(pid), pid, path: None }).collect()
    }

    /// The pids by eid.
    fn read(dir: &Path) -> Vec<(i64, u32)> {
        let snapshot = Reader::open(dir).unwrap().snapshot().unwrap();
        let mut found = Vec::new();
        for batch in snapshot.scan(SMALL, &ScanRequest::new(0..=i64::MAX, vec![1])).unwrap() {
            let batch = batch.unwrap();
            for row in 0..batch.len() {
                let ValueRef::U32(pid) = batch.columns()[0].value(row) else { panic!("no pid") };
                found.push((batch.eid().unwrap().value(row), pid));
            }
        }
        assert_eq!(snapshot.damage(), []);
        found.sort_unstable();
        found
    }

    fn expected(pids: std::ops::Range<u32>) -> Vec<(i64, u32)> {
        pids.map(|pid| (i64::from(pid) + 1, pid)).collect()
    }

    /// What happens after a failed write or sync, as if one had failed.
    #[test]
    fn unsynced_rows_go_over_to_a_new_journal() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path());
        writer.append(rows(0..5)).unwrap();
        writer.sync().unwrap();
        writer.append(rows(5..7)).unwrap();
        writer.append(rows(7..9)).unwrap();
        writer.broken = true;
        assert_eq!(read(dir.path()), expected(0..9));
        writer.append(rows(9..12)).unwrap();
        assert_eq!(writer.journal.number(), 2);
        assert_eq!(writer.journal.frames, 3, "two frames went over");
        assert_eq!(read(dir.path()), expected(0..12));
        writer.broken = true;
        writer.sync().unwrap();
        assert_eq!(writer.journal.number(), 3);
        assert_eq!(read(dir.path()), expected(0..12));
        drop(writer);
        assert_eq!(read(dir.path()), expected(0..12));
        open(dir.path()).close().unwrap();
        assert_eq!(read(dir.path()), expected(0..12), "sealed by the next run");
    }

    /// While no new journal can be begun, appends fail, nothing acknowledged is lost, and the
    /// first that can be written again goes on.
    #[test]
    fn a_full_disk_is_survived() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path());
        writer.append(rows(0..5)).unwrap();
        writer.broken = true;
        let obstacle = layout::journal_path(dir.path(), 2).with_extension("tmp");
        std::fs::create_dir(&obstacle).unwrap();
        for _ in 0..3 {
            let error = writer.append(rows(90..92)).unwrap_err();
            assert!(matches!(error, AppendError::Write { appended: 0, .. }), "{error}");
            assert!(matches!(writer.sync().unwrap_err(), WriteError::Sync(_)));
            assert!(writer.tick().is_err());
            assert_eq!(read(dir.path()), expected(0..5));
        }
        std::fs::remove_dir(&obstacle).unwrap();
        writer.append(rows(5..8)).unwrap();
        assert_eq!(read(dir.path()), expected(0..8));
        writer.close().unwrap();
        assert_eq!(read(dir.path()), expected(0..8));
    }

    #[test]
    fn an_error_says_how_many_rows_were_appended() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path());
        let obstacle = layout::journal_path(dir.path(), 2).with_extension("tmp");
        std::fs::create_dir(&obstacle).unwrap();
        writer.journal.fail_from_frame = 1;
        let rows_max = crate::limits::FRAME_ROWS_MAX;
        let error = writer.append(rows(0..rows_max + 10)).unwrap_err();
        let AppendError::Write { appended, .. } = error else { panic!("{error}") };
        assert_eq!(appended, u64::from(rows_max));
        assert_eq!(read(dir.path()), expected(0..rows_max));
    }

    #[test]
    fn a_row_over_the_limit_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path());
        let long = "x".repeat(crate::limits::ROW_BYTES_MAX);
        let row = |pid, path: &str| Small { time_ns: 0, pid, path: Some(path.to_owned()) };
        let appended = writer.append([row(0, "a"), row(1, &long), row(2, "b")]).unwrap();
        assert_eq!(appended.map(|appended| appended.rows), Some(2));
        let fits = &long[..long.len() - 64];
        writer.append([row(3, fits)]).unwrap();
        assert_eq!(read(dir.path()), [(1, 0), (2, 2), (3, 3)]);
        writer.close().unwrap();
        assert_eq!(read(dir.path()), [(1, 0), (2, 2), (3, 3)]);
    }

    #[test]
    fn a_sealer_that_is_gone_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path());
        writer.tick().unwrap();
        writer.sealer.fail();
        writer.append(rows(0..2)).unwrap();
        assert!(matches!(writer.tick(), Err(WriteError::Sealer)));
        assert_eq!(read(dir.path()), expected(0..2));
    }

    #[test]
    fn a_journal_is_rotated_by_age_and_an_empty_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path());
        writer.options.journal_age_max = Duration::ZERO;
        writer.tick().unwrap();
        assert_eq!(writer.journal.number(), 1);
        writer.append(rows(0..2)).unwrap();
        writer.tick().unwrap();
        assert_eq!(writer.journal.number(), 2);
        assert_eq!(read(dir.path()), expected(0..2));
    }
}
