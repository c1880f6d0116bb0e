//! Segments on disk that no trusted entry of the manifest names.

use std::collections::BTreeSet;
use std::io;

use crate::disk::{self, Folder};
use crate::guard::Unreadable;
use crate::layout;
use crate::manifest::entry::{SegmentEntry, State};
use crate::segment::read;

/// What was found beside the manifest.
#[derive(Debug, Default)]
pub(crate) struct Unnamed {
    /// Segments that hold the only copy of their rows: their journal is gone, and no trusted
    /// entry has removed it.
    pub(crate) adopted: Vec<SegmentEntry>,
    /// Segments to put aside, relative to the data folder: left over from a seal that was not
    /// finished, or from a removal that was.
    pub(crate) orphans: Vec<String>,
    /// Segments that cannot be read and may hold the only copy of their rows.
    pub(crate) unreadable: Vec<(String, Unreadable)>,
}

/// Looks at the segments that `state` does not name. `journals` are those on disk.
pub(crate) fn unnamed(dir: &Folder, state: &State, journals: &[u64]) -> io::Result<Unnamed> {
    let journals: BTreeSet<u64> = journals.iter().copied().collect();
    let mut unnamed = Unnamed::default();
    for name in names(dir)? {
        if state.files.contains_key(&name) {
            continue;
        }
        let described = read::describe(dir, &name);
        let journal = match &described {
            Ok(entry) => Some(entry.journal),
            Err(_) => number(&name),
        };
        let only_copy = journal
            .is_none_or(|number| number > state.sealed_through && !journals.contains(&number));
        match described {
            _ if !only_copy => unnamed.orphans.push(name),
            Ok(entry) => unnamed.adopted.push(entry),
            Err(error) => unnamed.unreadable.push((name, error)),
        }
    }
    Ok(unnamed)
}

/// All segments on disk, relative to the data folder.
fn names(dir: &Folder) -> io::Result<Vec<String>> {
    let segments = layout::segments_dir(dir.path());
    let mut names = Vec::new();
    for table in dir.names(&segments)? {
        let path = segments.join(&table);
        if !dir.is_dir(&path) {
            continue;
        }
        for name in dir.names(&path)? {
            let extension = name.rsplit_once('.').map(|(_, extension)| extension);
            if extension == Some(layout::SEGMENT_EXTENSION) {
                names.push(format!("segments/{table}/{name}"));
            }
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The number in a segment's name, which is its journal's at level 0.
fn number(name: &str) -> Option<u64> {
    let (_, file) = name.rsplit_once('/')?;
    let (stem, _) = file.rsplit_once('.')?;
    disk::number(stem.strip_prefix("0-")?)
}
