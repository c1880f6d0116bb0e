//! Sealing one journal: its rows, sorted, as one segment per table.

use crate::damage::Damage;
use crate::disk::Folder;
use crate::journal::index::{FrameAt, FrameIndex};
use crate::journal::read::{Journal, JournalError};
use crate::layout;
use crate::manifest::entry::{Entry, SegmentEntry};
use crate::manifest::log::ManifestLog;
use crate::manifest::read::ManifestError;
use crate::rows::{self, RowDecoder, Wanted};
use crate::schema::TableSchema;
use crate::segment::write::{self, SegmentRows, SegmentWriteError};
use crate::wire::WireTable;
use crate::write::losses::losses;

/// A journal that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) number: u64,
    /// Where it ends; `u64::MAX` for all of it.
    pub(crate) end: u64,
    /// Whether what is torn or damaged in it has been reported: it was checked at the start.
    pub(crate) reported: bool,
}

/// Why a journal was not sealed. It stays, and is read as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("cannot read journal {number}")]
    Journal { number: u64, source: JournalError },
    #[error("cannot write a segment of journal {number}")]
    Segment { number: u64, source: SegmentWriteError },
    #[error("cannot note the sealing of journal {number}")]
    Manifest { number: u64, source: ManifestError },
}

/// Seals a journal and removes it. What of it cannot be read is added to `damage`, unless it was
/// reported before: the check at the start finds all but frames that cannot be decoded although
/// their checksums are right.
pub(crate) fn seal(
    dir: &Folder,
    manifest: &mut ManifestLog,
    tables: &[&'static TableSchema],
    full: Full,
    damage: &mut Vec<Damage>,
) -> Result<(), SealError> {
    let number = full.number;
    let failed = |source| SealError::Journal { number, source };
    let journal = Journal::open(dir, number).map_err(failed)?;
    let index = journal.index(None, full.end).map_err(failed)?;
    if !full.reported {
        damage.extend(losses(&journal, &index));
    }
    let mut files = Vec::new();
    for id in 0..journal.header.tables.len() {
        let mut found = Vec::new();
        let rows = decode(&journal, &index, id, tables, &mut found).map_err(failed)?;
        let news = found.into_iter().filter(|bad| !(full.reported && bad.by_checksum));
        damage.extend(news.map(|bad| bad.damage));
        if let Some(rows) = rows {
            let written = write::write(dir, number, rows);
            files.push(written.map_err(|source| SealError::Segment { number, source })?);
        }
    }
    finish(dir, manifest, number, files)
}

/// Notes that segments replace a journal, then removes it.
fn finish(
    dir: &Folder,
    manifest: &mut ManifestLog,
    number: u64,
    files: Vec<SegmentEntry>,
) -> Result<(), SealError> {
    manifest
        .append(&Entry::Seal { journal: number, files })
        .map_err(|source| SealError::Manifest { number, source })?;
    if let Err(error) = dir.remove(&layout::journal_path(dir.path(), number)) {
        // The entry removes it for every reader, and the next start removes the file.
        tracing::warn!(error = %error, number, "A sealed journal cannot be removed");
    }
    Ok(())
}

/// A frame that is left out.
struct Bad {
    damage: Damage,
    /// Whether its checksum is wrong, which the check at the start would have found.
    by_checksum: bool,
}

/// The rows of the table with index `id` in the journal's schema; `None` when there are none.
fn decode(
    journal: &Journal,
    index: &FrameIndex,
    id: usize,
    tables: &[&'static TableSchema],
    found: &mut Vec<Bad>,
) -> Result<Option<SegmentRows>, JournalError> {
    let Some(table) = journal.header.tables.get(id) else {
        return Ok(None);
    };
    let mut frames: Vec<FrameAt> = index.frames.clone();
    frames.retain(|frame| usize::from(frame.header.table) == id);
    let decoder = RowDecoder::new(table, wanted(table));
    while !frames.is_empty() {
        let mut batch = decoder.batch();
        let mut bad = None;
        for (position, frame) in frames.iter().enumerate() {
            let decoded = match journal.payload(frame)? {
                Some(payload) => batch
                    .decode(&payload, frame.header.rows)
                    .map_err(|error| (error.to_string(), false)),
                None => Err(("its checksum is wrong".to_owned(), true)),
            };
            if let Err((reason, by_checksum)) = decoded {
                bad = Some((position, reason, by_checksum));
                break;
            }
        }
        let Some((position, reason, by_checksum)) = bad else {
            return Ok(Some(SegmentRows {
                table: table.clone(),
                columns: batch.finish(),
                eid: rows::eids(frames.iter().map(|frame| &frame.header)),
                clock_offset_ns: rows::clock_offsets(frames.iter().map(|frame| &frame.header)),
                boot_id: journal.header.boot_id,
                bloom: bloom(table, tables),
            }));
        };
        let header = frames.remove(position).header;
        let file = layout::journal_name(journal.key().number);
        let damage = Damage::frame(file, &table.name, &header, &reason);
        found.push(Bad { damage, by_checksum });
    }
    Ok(None)
}

fn wanted(table: &WireTable) -> Vec<Wanted<'_>> {
    let wanted = table.columns.iter().map(|column| Wanted {
        name: &column.name,
        column_type: column.column_type,
        nullable: column.nullable,
    });
    wanted.collect()
}

/// The columns that are to have a bloom filter, by the tables that this run knows.
fn bloom(table: &WireTable, tables: &[&'static TableSchema]) -> Vec<&'static str> {
    let known = tables.iter().find(|known| known.name == table.name);
    let columns = known.into_iter().flat_map(|known| known.stored());
    columns.filter(|(_, column, _)| column.bloom).map(|(_, column, _)| column.name).collect()
}
