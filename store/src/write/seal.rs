//! Sealing journals: their rows, sorted, as segments of each table.
//!
//! Several journals are sealed at once when they fill up quickly, so that row groups are large
//! enough to be moved whole by later merges. Rows that are far out of time go to segments of their
//! own ("late"), since one of them would stretch the range of times of a whole segment.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::damage::Damage;
use crate::disk::Folder;
use crate::journal::read::{Journal, JournalError};
use crate::layout;
use crate::limits::{LATE_AFTER, LATE_BEFORE};
use crate::manifest::entry::{Entry, SegmentEntry};
use crate::manifest::log::ManifestLog;
use crate::manifest::read::ManifestError;
use crate::schema::TableSchema;
use crate::segment::series::{Series, SeriesPlan, discard};
use crate::segment::write::SegmentWriteError;
use crate::write::losses::losses;
use crate::write::window::{self, Source, TableColumns, Window, WindowError};

/// A journal that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) number: u64,
    /// Where it ends; `u64::MAX` for all of it.
    pub(crate) end: u64,
    /// Whether what is torn or damaged in it has been reported: it was checked at the start.
    pub(crate) reported: bool,
}

/// Why journals were not sealed. They stay, and are read as they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("cannot read journal {number}")]
    Journal { number: u64, source: JournalError },
    #[error("cannot put the rows of table {table} in order")]
    Order { table: String, source: WindowError },
    #[error("cannot write segments of table {table}")]
    Segment { table: String, source: SegmentWriteError },
    #[error("cannot note the sealing of journal {number}")]
    Manifest { number: u64, source: ManifestError },
}

/// Seals journals, in the order of their numbers, and removes them. What of them cannot be read is
/// added to `damage`, unless it was reported before: the check at the start finds all but frames
/// that cannot be decoded although their checksums are right. `now_ns` is the present, in
/// nanoseconds since the Unix epoch.
pub(crate) fn seal(
    dir: &Folder,
    manifest: &mut ManifestLog,
    tables: &[&'static TableSchema],
    journals: &[Full],
    now_ns: i64,
    damage: &mut Vec<Damage>,
) -> Result<(), SealError> {
    let Some(last) = journals.last() else {
        return Ok(());
    };
    let number = last.number;
    // An entry of which it is not known whether it is on disk must not name what is written now.
    manifest.make_ready().map_err(|source| SealError::Manifest { number, source })?;
    let mut found = Vec::new();
    let sources = open(dir, journals, &mut found)?;
    let mut files: Vec<SegmentEntry> = Vec::new();
    for name in table_names(&sources) {
        let Some(table) = TableColumns::new(&sources, &name) else { continue };
        let work = TableWork { dir, sources: &sources, table: &table, tables, now_ns };
        let (segments, bad) = work.seal().inspect_err(|_| discard(dir, &files))?;
        files.extend(segments);
        let reported = |number| journals.iter().any(|full| full.number == number && full.reported);
        let news = bad.into_iter().filter(|bad| !(bad.by_checksum && reported(bad.journal)));
        found.extend(news.map(|bad| bad.damage));
    }
    let first_journal = journals.first().map_or(number, |first| first.number);
    let entry = Entry::Seal { first_journal, journal: number, files };
    let noted = manifest.append_or_discard(&entry);
    noted.map_err(|source| SealError::Manifest { number, source })?;
    damage.append(&mut found);
    for full in journals {
        if let Err(error) = dir.remove(&layout::journal_path(dir.path(), full.number)) {
            // The entry removes it for every reader, and the next start removes the file.
            tracing::warn!(error = %error, full.number, "A sealed journal cannot be removed");
        }
    }
    Ok(())
}

fn open(
    dir: &Folder,
    journals: &[Full],
    found: &mut Vec<Damage>,
) -> Result<Vec<Source>, SealError> {
    let mut sources = Vec::with_capacity(journals.len());
    for full in journals {
        let failed = |source| SealError::Journal { number: full.number, source };
        let journal = Journal::open(dir, full.number).map_err(failed)?;
        let index = journal.index(None, full.end).map_err(failed)?;
        if !full.reported {
            found.extend(losses(&journal, &index));
        }
        sources.push(Source { journal, index });
    }
    Ok(sources)
}

/// The tables of some journals, each once.
fn table_names(sources: &[Source]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for table in sources.iter().flat_map(|source| &source.journal.header.tables) {
        if !names.contains(&table.name) {
            names.push(table.name.clone());
        }
    }
    names
}

/// One table of the journals that are sealed.
struct TableWork<'a> {
    dir: &'a Folder,
    sources: &'a [Source],
    table: &'a TableColumns,
    tables: &'a [&'static TableSchema],
    now_ns: i64,
}

impl TableWork<'_> {
    fn seal(&self) -> Result<(Vec<SegmentEntry>, Vec<window::Bad>), SealError> {
        let mut window = Window::new(self.sources, self.table);
        let mut series = [false, true].map(|late| {
            let mut series = Series::new(self.dir, self.plan(&window, late));
            series.expect(window.rows());
            series
        });
        let name = || self.table.name.clone();
        let order = |source| SealError::Order { table: name(), source };
        let write = |source| SealError::Segment { table: name(), source };
        while let Some(ordered) = window.next().map_err(order)? {
            if ordered.restarts {
                // Of both: what begins anew may be in a later batch.
                for series in &mut series {
                    series.restart().map_err(write)?;
                }
            }
            for (batch, late) in self.parts(&ordered.batch) {
                if let Some(series) = series.get_mut(usize::from(late)) {
                    series.write(&batch).map_err(write)?;
                }
            }
        }
        let mut files = Vec::new();
        for series in series {
            let finished = series.finish().inspect_err(|_| discard(self.dir, &files));
            files.extend(finished.map_err(write)?);
        }
        Ok((files, window.bad))
    }

    fn plan(&self, window: &Window<'_>, late: bool) -> SeriesPlan {
        let journals: Vec<u64> =
            self.sources.iter().map(|source| source.journal.key().number).collect();
        let number = journals.last().copied().unwrap_or(0);
        SeriesPlan {
            table: self.table.name.clone(),
            level: 0,
            number,
            late,
            first_journal: journals.first().copied().unwrap_or(number),
            journal: number,
            sealed_ns: self.now_ns,
            journals,
            replaces: Vec::new(),
            schema: SchemaRef::clone(window.schema()),
            time: self.table.time.clone(),
            bloom: bloom(&self.table.name, self.tables),
        }
    }

    /// Rows in order, parted into those in time and those that are late.
    fn parts(&self, batch: &RecordBatch) -> Vec<(RecordBatch, bool)> {
        let opened = self.sources.iter().map(|source| source.journal.header.created_ns).min();
        let from = opened.unwrap_or(self.now_ns).saturating_sub(nanoseconds(LATE_BEFORE));
        let to = self.now_ns.saturating_add(nanoseconds(LATE_AFTER));
        let time = batch.schema().index_of(&self.table.time).unwrap_or(usize::MAX);
        let keys = window::keys(batch, time);
        let early = keys.partition_point(|(time, _)| *time < from);
        let future = keys.partition_point(|(time, _)| *time <= to).max(early);
        let ranges = [(0, early, true), (early, future, false), (future, keys.len(), true)];
        let filled = ranges.into_iter().filter(|(from, to, _)| from < to);
        filled.map(|(from, to, late)| (batch.slice(from, to - from), late)).collect()
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The columns that are to have a bloom filter, by the tables that this run knows.
pub(super) fn bloom(table: &str, tables: &[&'static TableSchema]) -> Vec<String> {
    let known = tables.iter().find(|known| known.name == table);
    let columns = known.into_iter().flat_map(|known| known.stored());
    columns
        .filter(|(_, column, _)| column.bloom)
        .map(|(_, column, _)| column.name.to_owned())
        .collect()
}
