//! Space set aside for the entry that makes room on a full disk.
//!
//! Segments that are given up stand in the manifest before they are deleted, and on a full disk
//! there is no space to say so. So a file of zeros lies beside the manifest. Its blocks become those
//! of the next manifest file by being written over: at no time are they free for others, such as the
//! journal. A file system that never writes over (btrfs, ZFS) may refuse this too; then room must be
//! made by other means.
//!
//! It counts as a file under construction, so that a start removes it: that needs space as well.

use std::io;
use std::path::Path;

use crate::disk::{DiskFile, Folder};
use crate::layout;
use crate::limits::RESERVE_BYTES_MIN;

/// Makes the reserve, or makes it anew, large enough beside a manifest file of `manifest_bytes`: for
/// a checkpoint, which is no longer than all of that, and an entry, which names files of it.
pub(super) fn keep(dir: &Folder, manifest_bytes: u64) -> io::Result<()> {
    let path = layout::manifest_reserve_path(dir.path());
    let bytes = (2 * manifest_bytes).next_power_of_two().max(RESERVE_BYTES_MIN);
    if dir.bytes(&path).is_ok_and(|found| found >= bytes) {
        return Ok(());
    }
    let made = fill(dir, &path, bytes);
    if made.is_err() {
        // Half of it would only take the space of others.
        dir.remove(&path)?;
    }
    made
}

fn fill(dir: &Folder, path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = dir.create(path)?;
    let zeros = vec![0; usize::try_from(RESERVE_BYTES_MIN).unwrap_or(usize::MAX)];
    for _ in 0..bytes / RESERVE_BYTES_MIN {
        file.write_all(&zeros)?;
    }
    file.sync()
}

/// Makes the reserve the file `path` with `content`, in one step; the file is there for certain on
/// return. Returns it, to write at its end.
pub(super) fn turn_into(
    dir: &Folder,
    path: &Path,
    content: &[u8],
) -> io::Result<Box<dyn DiskFile>> {
    let reserve = layout::manifest_reserve_path(dir.path());
    let bytes = content.len() as u64;
    if dir.bytes(&reserve)? < bytes {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let file = dir.open_in_place(&reserve)?;
    file.write_all_at(0, content)?;
    file.set_len(bytes)?;
    file.sync()?;
    dir.rename_durable(&reserve, path)?;
    dir.append(path)
}
