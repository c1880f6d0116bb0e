//! Deleting files that no longer count.
//!
//! A file that an entry has removed stays for a while, for readers that pinned it before; not when
//! space is short. What waits stands in the manifest's checkpoints, so that it is not forgotten.
//!
//! **Invariant:** files are deleted in the order in which they were removed, and those of one entry
//! are durably gone before any of a later one. So a segment that is still there is never outlived
//! by what it replaced, which the rebuilding of a lost manifest relies on
//! ([`crate::manifest::live`]).

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::disk::Folder;
use crate::manifest::entry::{Removed, State};

/// How many of the files that wait are due. `now_ns` is the present, in nanoseconds since the Unix
/// epoch; for want of space so many are that `excess` bytes become free. A clock that was set back
/// makes a file due as well, rather than never.
pub(super) fn due(state: &State, now_ns: i64, grace: Duration, excess: u64) -> usize {
    let mut freed = 0;
    let due = |file: &&Removed| {
        let waited = now_ns.saturating_sub(file.at_ns).unsigned_abs();
        let due = freed < excess || Duration::from_nanos(waited) >= grace;
        freed += file.bytes;
        due
    };
    state.removed.iter().take_while(due).count()
}

/// Deletes the first `count` of the files that wait. Stops at the first that cannot be deleted.
pub(super) fn delete(dir: &Folder, state: &mut State, count: usize) -> io::Result<()> {
    let mut left = count;
    while left > 0
        && let Some(first) = state.removed.first()
    {
        let at_ns = first.at_ns;
        let together = state.removed.iter().take(left).take_while(|file| file.at_ns == at_ns);
        let together = together.count();
        let mut folders = BTreeSet::new();
        for file in state.removed.iter().take(together) {
            let path = dir.join(&file.path);
            match dir.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => folders.extend(path.parent().map(Path::to_path_buf)),
            }
        }
        for folder in folders.iter().filter(|folder| dir.exists(folder)) {
            dir.sync_dir(folder)?;
        }
        state.removed.drain(..together);
        left -= together;
    }
    Ok(())
}
