//! Where things are in a data folder.
//!
//! ```text
//! lock                              flock by the one writer, its pid inside
//! leases                            per table, the first eid that no run has been allowed to give
//! heartbeat                         per source, the watermark up to which all is stored and synced
//! manifest/<n>                      what is sealed
//! manifest/reserve.tmp              space to note on a full disk what is given up
//! journal/<n>.bj                    what is not
//! segments/<table>/<level>-<n>.parquet, further parts <level>-<n>-<part>.parquet, rows far
//!                                   out of time late-<level>-<n>.parquet
//! orphans/                          segments that no manifest entry names, moved here and kept
//! ```

use std::path::{Path, PathBuf};

/// Extension of a journal.
pub(crate) const JOURNAL_EXTENSION: &str = "bj";

/// Extension of a segment.
pub(crate) const SEGMENT_EXTENSION: &str = "parquet";

/// What the name of a segment with rows far out of time begins with.
const LATE_PREFIX: &str = "late-";

/// Extension of a file under construction. Only such files are removed unasked.
pub(crate) const TEMPORARY_EXTENSION: &str = "tmp";

pub(crate) fn lock_path(dir: &Path) -> PathBuf {
    dir.join("lock")
}

pub(crate) fn leases_path(dir: &Path) -> PathBuf {
    dir.join("leases")
}

pub(crate) fn heartbeat_path(dir: &Path) -> PathBuf {
    dir.join("heartbeat")
}

pub(crate) fn manifest_dir(dir: &Path) -> PathBuf {
    dir.join("manifest")
}

pub(crate) fn manifest_path(dir: &Path, number: u64) -> PathBuf {
    manifest_dir(dir).join(number.to_string())
}

/// Space for the manifest on a full disk.
pub(crate) fn manifest_reserve_path(dir: &Path) -> PathBuf {
    manifest_dir(dir).join(format!("reserve.{TEMPORARY_EXTENSION}"))
}

/// Where the torn end of a manifest file is kept.
pub(crate) fn manifest_torn_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("manifest.torn-{number}"))
}

pub(crate) fn journal_dir(dir: &Path) -> PathBuf {
    dir.join("journal")
}

pub(crate) fn journal_path(dir: &Path, number: u64) -> PathBuf {
    journal_dir(dir).join(format!("{number}.{JOURNAL_EXTENSION}"))
}

/// A journal's path relative to the data folder.
pub(crate) fn journal_name(number: u64) -> String {
    format!("journal/{number}.{JOURNAL_EXTENSION}")
}

pub(crate) fn segments_dir(dir: &Path) -> PathBuf {
    dir.join("segments")
}

/// A segment's path relative to the data folder, as the manifest has it. At level 0 the number is
/// that of the last journal that was sealed. Files that were written together differ by `part`.
pub(crate) fn segment_name(table: &str, late: bool, level: u32, number: u64, part: u32) -> String {
    let late = if late { LATE_PREFIX } else { "" };
    match part {
        0 => format!("segments/{table}/{late}{level}-{number}.{SEGMENT_EXTENSION}"),
        part => format!("segments/{table}/{late}{level}-{number}-{part}.{SEGMENT_EXTENSION}"),
    }
}

/// Level and number in a segment's path; `None` when it is no such path.
pub(crate) fn segment_number(name: &str) -> Option<(u32, u64)> {
    let (_, file) = name.rsplit_once('/')?;
    let (stem, extension) = file.rsplit_once('.')?;
    let stem = stem.strip_prefix(LATE_PREFIX).unwrap_or(stem);
    let (level, rest) = stem.split_once('-').filter(|_| extension == SEGMENT_EXTENSION)?;
    let number = rest.split_once('-').map_or(rest, |(number, _)| number);
    Some((level.parse().ok()?, number.parse().ok()?))
}

pub(crate) fn orphans_dir(dir: &Path) -> PathBuf {
    dir.join("orphans")
}
