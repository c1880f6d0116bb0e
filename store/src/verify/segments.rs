//! The content of the segments that the manifest names.

use std::collections::BTreeMap;
use std::io;

use crate::disk::Folder;
use crate::manifest::entry::SegmentEntry;
use crate::manifest::read as manifest;
use crate::read::ReadError;
use crate::segment::read::SegmentFile;
use crate::verify::{EntryAt, Fault, Verified};

/// Reads every segment that has rows from `since_ns` on and compares its hash.
pub(super) fn check(
    dir: &Folder,
    live: &BTreeMap<String, (EntryAt, SegmentEntry)>,
    since_ns: Option<i64>,
    verified: &mut Verified,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), ReadError> {
    let wanted = |entry: &SegmentEntry| since_ns.is_none_or(|since| entry.max_time_ns >= since);
    let total =
        live.values().filter(|(_, entry)| wanted(entry)).map(|(_, entry)| entry.bytes).sum();
    for (at, entry) in live.values() {
        if !wanted(entry) {
            verified.skipped += 1;
            continue;
        }
        if let Some(detail) = fault_of(dir, entry)?
            && is_named(dir, entry)?
        {
            verified.faults.push(Fault { at: Some(*at), detail });
        }
        verified.segments += 1;
        verified.bytes += entry.bytes;
        progress(verified.bytes, total);
    }
    Ok(())
}

/// What is wrong with a segment; `None` when nothing is.
fn fault_of(dir: &Folder, entry: &SegmentEntry) -> Result<Option<String>, ReadError> {
    let path = dir.join(&entry.path);
    let file = match SegmentFile::open(dir, &path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some(format!("{} is missing", entry.path)));
        }
        Err(source) => return Err(ReadError::Segment { path, source }),
    };
    match file.sha256() {
        Ok(sha256) if sha256 == entry.sha256 => Ok(None),
        Ok(sha256) => Ok(Some(format!(
            "{} was changed: its SHA-256 is {sha256}, not {}",
            entry.path, entry.sha256
        ))),
        Err(source) => Err(ReadError::Segment { path, source }),
    }
}

/// Whether the manifest still names a segment: the writer may have removed it meanwhile.
fn is_named(dir: &Folder, entry: &SegmentEntry) -> Result<bool, ReadError> {
    let now = manifest::read(dir).map_err(ReadError::Manifest)?;
    Ok(!now.is_whole() || now.state.files.contains_key(&entry.path))
}
