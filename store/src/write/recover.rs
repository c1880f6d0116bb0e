//! What the writer finds when it opens a store, and what it does about it.
//!
//! Nothing is repaired in place. Journals of earlier runs are checked frame by frame and handed to
//! the sealer; a manifest that does not end whole is gone on with in a new file; what no entry
//! names is moved to `orphans/` or adopted. Removed are only `*.tmp` files and journals that a
//! trusted entry replaces.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::damage::{Damage, DamageKind};
use crate::disk::{self, Folder};
use crate::journal::read::{Journal, JournalError};
use crate::layout;
use crate::lock::{Lock, LockError};
use crate::manifest::entry::{Entry, State, hash_bytes};
use crate::manifest::live;
use crate::manifest::log::ManifestLog;
use crate::manifest::read::{self as manifest, Ending, Manifest, ManifestError};
use crate::read::end;
use crate::segment::read::SegmentFile;
use crate::slots::{Slots, Stored};
use crate::write::error::OpenError;
use crate::write::losses::losses;
use crate::write::options::Opened;
use crate::write::seal::Full;

/// A store made ready for writing.
pub(super) struct Recovery {
    pub(super) opened: Opened,
    pub(super) manifest: ManifestLog,
    /// Journals of earlier runs that are still to be sealed.
    pub(super) unsealed: Vec<Full>,
    /// Number for the first new journal.
    pub(super) next_journal: u64,
    /// Per table, the largest eid found.
    pub(super) last_eids: BTreeMap<String, i64>,
    /// When something was last written, as far as files tell, in nanoseconds since the Unix epoch.
    pub(super) last_write_ns: Option<i64>,
}

/// Takes the lock and puts the folder in order.
pub(super) fn recover(dir: &Folder) -> Result<(Lock, Recovery), OpenError> {
    create_folders(dir)?;
    let lock = Lock::take(dir).map_err(|error| match error {
        LockError::Held { pid } => OpenError::Locked { path: dir.to_path_buf(), pid },
        LockError::Io(source) => OpenError::Lock { path: dir.to_path_buf(), source },
    })?;
    remove_temporary(dir)?;
    let found = manifest::read(dir).map_err(OpenError::Manifest)?;
    let mut numbers = journal_numbers(dir)?;
    let mut opened = Opened {
        first_start: found.number == 0
            && numbers.is_empty()
            && !dir.exists(&layout::leases_path(dir.path())),
        ..Opened::default()
    };
    remove_sealed(dir, &found.state, &mut numbers)?;
    let manifest = recover_manifest(dir, found, &numbers, &mut opened)?;
    // An adopted segment may hold the rows of journals that are still there.
    remove_sealed(dir, &manifest.state, &mut numbers)?;
    let mut last_eids = last_eids(&manifest.state);
    let next_journal = numbers.last().copied().unwrap_or(0).max(manifest.state.sealed_through) + 1;
    report_missing(dir, &manifest.state, &numbers, &mut opened);
    let unsealed = recover_journals(dir, &numbers, &mut last_eids, &mut opened)?;
    let last_write_ns = last_write_ns(dir, &manifest.state, &numbers);
    Ok((lock, Recovery { opened, manifest, unsealed, next_journal, last_eids, last_write_ns }))
}

/// The finding that the marks of used row numbers were lost.
pub(super) fn leases_damage() -> Damage {
    let detail = "the marks of used row numbers are lost; numbering skips ahead";
    Damage::new(DamageKind::Leases, "leases", detail)
}

/// When journals were last appended to, or, without any, last sealed.
fn last_write_ns(dir: &Folder, state: &State, journals: &[u64]) -> Option<i64> {
    let appended = journals.iter().filter_map(|number| {
        let modified = dir.modified(&layout::journal_path(dir.path(), *number))?;
        i64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
    });
    appended.chain(state.files.values().map(|file| file.sealed_ns)).max()
}

/// Opens the heartbeat and reads what the run before noted. `last_write_ns` is when that wrote last,
/// `now_ns` the present.
pub(super) fn heartbeat(
    dir: &Folder,
    opened: &mut Opened,
    last_write_ns: Option<i64>,
    now_ns: i64,
) -> Result<(Slots, Vec<(String, i64)>), OpenError> {
    let (slots, stored) =
        Slots::open(dir, &layout::heartbeat_path(dir.path())).map_err(OpenError::Heartbeat)?;
    let last = match stored {
        Stored::Value(last) => last,
        Stored::Nothing => Vec::new(),
        Stored::Damaged => {
            let detail = "it cannot be read; until when the run before was complete is unknown";
            let damage = Damage::new(DamageKind::Heartbeat, "heartbeat", detail);
            let from = last_write_ns.unwrap_or(now_ns);
            opened.recovered.push(damage.times(from, now_ns));
            Vec::new()
        }
    };
    Ok((slots, last))
}

fn create_folders(dir: &Folder) -> Result<(), OpenError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| OpenError::Folder { path, source }
    };
    create_data_folder(dir).map_err(failed(dir.path()))?;
    let folders = [
        layout::journal_dir(dir.path()),
        layout::manifest_dir(dir.path()),
        layout::segments_dir(dir.path()),
    ];
    for folder in folders {
        dir.create_dir_private(&folder).map_err(failed(&folder))?;
    }
    dir.sync_dir(dir.path()).map_err(failed(dir.path()))
}

/// Creates the data folder and those above it, as far as they are missing. Its own entry is made
/// durable also when it is there: the run that created it may have ended before it could.
fn create_data_folder(dir: &Folder) -> io::Result<()> {
    let above = |path: &Path| match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => Path::new(".").to_path_buf(),
    };
    let missing = dir
        .path()
        .ancestors()
        .skip(1)
        .take_while(|path| *path != Path::new("") && !dir.exists(path));
    let changed: Vec<_> = std::iter::once(dir.path()).chain(missing).map(above).collect();
    dir.create_dir_private(dir.path())?;
    for folder in changed {
        match dir.sync_dir(&folder) {
            // A folder that may not be listed cannot be synced either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Removes what an earlier run did not finish writing.
fn remove_temporary(dir: &Folder) -> Result<(), OpenError> {
    let segments = layout::segments_dir(dir.path());
    let mut folders =
        vec![dir.to_path_buf(), layout::journal_dir(dir.path()), layout::manifest_dir(dir.path())];
    let listed = dir
        .names(&segments)
        .map_err(|source| OpenError::Folder { path: segments.clone(), source })?;
    folders.extend(listed.iter().map(|table| segments.join(table)).filter(|path| dir.is_dir(path)));
    for folder in folders {
        let failed = |source| OpenError::Folder { path: folder.clone(), source };
        for name in dir.names(&folder).map_err(failed)? {
            let extension = name.rsplit_once('.').map(|(_, extension)| extension);
            if extension == Some(layout::TEMPORARY_EXTENSION) {
                dir.remove(&folder.join(name)).map_err(failed)?;
            }
        }
    }
    Ok(())
}

fn journal_numbers(dir: &Folder) -> Result<Vec<u64>, OpenError> {
    let path = layout::journal_dir(dir.path());
    dir.numbered(&path, layout::JOURNAL_EXTENSION)
        .map_err(|source| OpenError::Folder { path, source })
}

/// Removes journals that a trusted entry replaces: the run before ended before it could.
fn remove_sealed(dir: &Folder, state: &State, numbers: &mut Vec<u64>) -> Result<(), OpenError> {
    for number in numbers.iter().filter(|number| **number <= state.sealed_through) {
        let path = layout::journal_path(dir.path(), *number);
        match dir.remove(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(OpenError::Folder { path, source });
            }
            _ => {}
        }
    }
    numbers.retain(|number| *number > state.sealed_through);
    Ok(())
}

/// Goes on with the manifest, and settles what it does not name.
fn recover_manifest(
    dir: &Folder,
    found: Manifest,
    journals: &[u64],
    opened: &mut Opened,
) -> Result<ManifestLog, OpenError> {
    let folder = |source| OpenError::Folder { path: layout::segments_dir(dir.path()), source };
    let gapless = disk::missing(found.state.sealed_through, journals).is_empty();
    let whole = found.is_whole() && gapless;
    let mut unnamed = live::unnamed(dir, &found.state, journals, whole).map_err(folder)?;
    for name in &unnamed.orphans {
        put_aside(dir, name)?;
        let detail = "no entry of the manifest names it; it was moved to orphans";
        opened.recovered.push(Damage::new(DamageKind::Orphan, name, detail));
    }
    for (name, error) in &unnamed.unreadable {
        put_aside(dir, name)?;
        opened.recovered.push(Damage::new(DamageKind::Segment, name, error));
    }
    opened.recovered.extend(unnamed.missing.iter().map(Damage::segment_missing));
    for entry in &mut unnamed.adopted {
        let path = dir.join(&entry.path);
        let hashed = SegmentFile::open(dir, &path).and_then(|file| file.sha256());
        entry.sha256 = hashed.map_err(|source| OpenError::Folder { path, source })?;
        let detail = "no trusted entry of the manifest names it; it was taken up again";
        opened.recovered.push(Damage::new(DamageKind::Adopted, &entry.path, detail));
    }
    let damaged = keep_damaged(dir, &found).map_err(OpenError::Manifest)?;
    let mut log = ManifestLog::open(dir, found).map_err(OpenError::Manifest)?;
    let missing = unnamed.missing.into_iter().map(|file| file.path);
    let removes: Vec<String> = unnamed.replaced.into_iter().chain(missing).collect();
    if damaged.is_some() || !unnamed.adopted.is_empty() || !removes.is_empty() {
        let what = damaged.as_ref().map_or("segments that no entry named", |kept| kept.what);
        let (kept, sha256) = damaged.map(|kept| (kept.name, kept.sha256)).unzip();
        if let Some(kept) = &kept {
            let detail = format!("{what}; the damaged part is kept as {kept}");
            let kind =
                if what == TORN { DamageKind::ManifestTorn } else { DamageKind::ManifestBroken };
            opened.recovered.push(Damage::new(kind, "manifest", detail));
        }
        let what = what.to_owned();
        log.append(&Entry::Recovered { what, kept, sha256, files: unnamed.adopted, removes })
            .map_err(OpenError::Manifest)?;
    }
    Ok(log)
}

const TORN: &str = "the manifest ended within an entry";
const BROKEN: &str = "the manifest was damaged before its end";

/// A copy of the damaged part of the manifest.
struct Kept {
    what: &'static str,
    name: String,
    sha256: String,
}

/// Keeps what of the manifest cannot be trusted; `None` when all can.
fn keep_damaged(dir: &Folder, found: &Manifest) -> Result<Option<Kept>, ManifestError> {
    let newest = found.position.number;
    let (what, offset) = match found.ending {
        _ if newest == 0 => return Ok(None),
        _ if found.number != newest => (BROKEN, 0),
        Ending::Whole => return Ok(None),
        Ending::Torn(offset) => (TORN, offset),
        Ending::Broken(offset) => (BROKEN, offset),
    };
    let path = layout::manifest_path(dir.path(), newest);
    let content =
        dir.read(&path).map_err(|source| ManifestError::Read { path: path.clone(), source })?;
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let damaged = content.get(start..).unwrap_or_default();
    let kept = layout::manifest_torn_path(dir.path(), newest);
    dir.create_durable(&kept, damaged)
        .map_err(|source| ManifestError::Write { path: kept, source })?;
    let name = format!("manifest.torn-{newest}");
    Ok(Some(Kept { what, name, sha256: hash_bytes(damaged) }))
}

/// Moves a file to `orphans/`. Its folders become part of its name there.
fn put_aside(dir: &Folder, name: &str) -> Result<(), OpenError> {
    let orphans = layout::orphans_dir(dir.path());
    let moved = dir.create_dir_private(&orphans).and_then(|()| {
        let target = orphans.join(free_name(name.replace('/', "-"), &dir.names(&orphans)?));
        dir.rename_durable(&dir.join(name), &target)
    });
    moved.map_err(|source| OpenError::Folder { path: orphans, source })
}

/// `name`, or when that is taken, with the first number behind it that is free.
fn free_name(name: String, taken: &[String]) -> String {
    let numbered = (1..=taken.len()).map(|number| format!("{name}.{number}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or(name)
}

fn last_eids(state: &State) -> BTreeMap<String, i64> {
    let mut last_eids = BTreeMap::new();
    for file in state.files.values() {
        raise(&mut last_eids, &file.table, file.last_eid);
    }
    last_eids
}

fn raise(last_eids: &mut BTreeMap<String, i64>, table: &str, eid: i64) {
    let last = last_eids.entry(table.to_owned()).or_insert(0);
    *last = (*last).max(eid);
}

/// Reports journals that are gone without an entry. Numbers have no gaps, save for journals that
/// an earlier start has put aside and reported.
fn report_missing(dir: &Folder, state: &State, numbers: &[u64], opened: &mut Opened) {
    let aside = |number: u64| {
        let flat = layout::journal_name(number).replace('/', "-");
        dir.exists(&layout::orphans_dir(dir.path()).join(flat))
    };
    for (first, last) in disk::missing(state.sealed_through, numbers) {
        if first != last || !aside(first) {
            opened.recovered.push(Damage::journals_missing(first, last));
        }
    }
}

/// Checks the journals of earlier runs, frame by frame, with two of them open at a time.
fn recover_journals(
    dir: &Folder,
    numbers: &[u64],
    last_eids: &mut BTreeMap<String, i64>,
    opened: &mut Opened,
) -> Result<Vec<Full>, OpenError> {
    let mut unsealed = Vec::new();
    let mut before: Option<Journal> = None;
    let mut settle = |journal: Journal, end: u64, recovered: &mut Vec<Damage>| {
        check(&journal, end, last_eids, recovered).map_err(OpenError::Recover)?;
        unsealed.push(Full { number: journal.key().number, end, reported: true });
        Ok(())
    };
    for number in numbers {
        match Journal::open(dir, *number) {
            Ok(journal) => {
                if let Some(before) = before.take() {
                    let end = end(&before, Some(&journal));
                    settle(before, end, &mut opened.recovered)?;
                }
                before = Some(journal);
            }
            Err(error @ JournalError::Header { .. }) => {
                let name = layout::journal_name(*number);
                put_aside(dir, &name)?;
                opened.recovered.push(Damage::new(DamageKind::JournalHeader, name, error));
            }
            Err(error) => return Err(OpenError::Recover(error)),
        }
    }
    if let Some(last) = before {
        let end = end(&last, None);
        settle(last, end, &mut opened.recovered)?;
    }
    Ok(unsealed)
}

fn check(
    journal: &Journal,
    end: u64,
    last_eids: &mut BTreeMap<String, i64>,
    recovered: &mut Vec<Damage>,
) -> Result<(), JournalError> {
    let index = journal.index(None, end)?;
    let name = layout::journal_name(journal.key().number);
    for frame in &index.frames {
        let table = journal.header.tables.get(usize::from(frame.header.table));
        let Some(table) = table else { continue };
        raise(last_eids, &table.name, frame.header.last_eid());
        if journal.payload(frame)?.is_none() {
            let why = "its checksum is wrong";
            recovered.push(Damage::frame(name.clone(), &table.name, &frame.header, why));
        }
    }
    recovered.extend(losses(journal, &index));
    Ok(())
}
