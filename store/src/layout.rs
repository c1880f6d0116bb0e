//! Where things are in a data folder.
//!
//! ```text
//! lock                              flock by the one writer, its pid inside
//! leases                            per table, the first eid that no run has been allowed to give
//! heartbeat                         per source, the watermark up to which all is stored and synced
//! manifest/<n>                      what is sealed
//! journal/<n>.bj                    what is not
//! segments/<table>/<level>-<n>.parquet
//! orphans/                          segments that no manifest entry names, moved here and kept
//! ```

use std::path::{Path, PathBuf};

/// Extension of a journal.
pub(crate) const JOURNAL_EXTENSION: &str = "bj";

/// Extension of a segment.
pub(crate) const SEGMENT_EXTENSION: &str = "parquet";

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

/// A segment's path relative to the data folder, as the manifest has it.
pub(crate) fn segment_name(table: &str, level: u32, number: u64) -> String {
    format!("segments/{table}/{level}-{number}.{SEGMENT_EXTENSION}")
}

pub(crate) fn orphans_dir(dir: &Path) -> PathBuf {
    dir.join("orphans")
}
