//! What a segment says of itself, for the day when the manifest cannot.

use std::io;

use crate::disk::Folder;
use crate::guard::Unreadable;
use crate::layout;
use crate::manifest::entry::SegmentEntry;
use crate::segment::read::SegmentFile;
use crate::segment::{FORMAT, key};

/// A segment by its own metadata.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    /// As the manifest would have it; the hash is empty.
    pub(crate) entry: SegmentEntry,
    /// The journals that it was sealed from, at level 0.
    pub(crate) journals: Vec<u64>,
    /// Paths of the segments whose rows it and its other parts hold.
    pub(crate) replaces: Vec<String>,
    /// The path that it was given when it was written.
    pub(crate) written_as: String,
    /// Place among the files that were written together.
    pub(crate) part: u32,
    /// Whether it is the last of them.
    pub(crate) last: bool,
}

/// What a segment says of itself; `name` is its path relative to the data folder.
pub(crate) fn describe(dir: &Folder, name: &str) -> Result<Described, Unreadable> {
    let failed = |error: io::Error| Unreadable(error.to_string());
    let file = SegmentFile::open(dir, &dir.join(name)).map_err(failed)?;
    let metadata = file.metadata()?;
    let pairs = metadata.file_metadata().key_value_metadata();
    let find = |key: &str| {
        let pair = pairs.into_iter().flatten().find(|pair| pair.key == key);
        pair.and_then(|pair| pair.value.clone())
    };
    let text =
        |key: &str| find(key).ok_or_else(|| Unreadable(format!("its metadata has no {key}")));
    let number = |key: &str| {
        let number = text(key)?.parse::<i64>();
        number.map_err(|error| Unreadable(format!("its {key} is no number: {error}")))
    };
    let format = number(key::FORMAT)?;
    if format > i64::from(FORMAT) {
        return Err(Unreadable(format!("its format {format} is newer than this program's")));
    }
    let optional = |key: &str| find(key).and_then(|value| value.parse::<i64>().ok()).unwrap_or(0);
    let journal = number(key::JOURNAL)?.cast_unsigned();
    let entry = SegmentEntry {
        path: name.to_owned(),
        table: text(key::TABLE)?,
        level: u32::try_from(number(key::LEVEL)?).unwrap_or(u32::MAX),
        late: find(key::LATE).as_deref() == Some("true"),
        first_journal: optional(key::FIRST_JOURNAL).cast_unsigned(),
        journal,
        sha256: String::new(),
        bytes: file.bytes(),
        rows: number(key::ROWS)?.cast_unsigned(),
        first_eid: number(key::FIRST_EID)?,
        last_eid: number(key::LAST_EID)?,
        min_time_ns: number(key::MIN_TIME)?,
        max_time_ns: number(key::MAX_TIME)?,
        sealed_ns: optional(key::SEALED),
    };
    let journals = find(key::JOURNALS).unwrap_or_else(|| journal.to_string());
    let own_name = || layout::segment_name(&entry.table, false, entry.level, journal, 0);
    Ok(Described {
        written_as: find(key::PATH).unwrap_or_else(own_name),
        journals: journals.split(',').filter_map(|number| number.parse().ok()).collect(),
        replaces: find(key::REPLACES)
            .iter()
            .flat_map(|text| text.lines())
            .map(str::to_owned)
            .collect(),
        part: u32::try_from(optional(key::PART)).unwrap_or(0),
        last: find(key::LAST).as_deref() != Some("false"),
        entry,
    })
}
