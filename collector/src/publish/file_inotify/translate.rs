//! From events of the queue to file events.
//!
//! `IN_CLOSE_WRITE` is what makes an `UPDATED` row. `IN_MODIFY` comes once per write, so it only
//! waits for the close, and makes a row itself when the writer keeps the file open or there was
//! none (`truncate(2)`): at most one per file and [`MODIFY_WAIT`].
//!
//! A rename is two events with one cookie. When a directory's second one is not in the batch (the
//! reader waits a moment for it), the directory has left the watched paths and its watches end.
//! The two rows of a directory's rename have the cookie in common only if what was told below the
//! old path is now below the new one; otherwise everything below the new one is told anew.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::ops::Bound;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use inotify::{EventMask, Inotify};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::books::Outcome;
use super::scan::{Job, Mode};
use super::stat::Stat;
use super::tree::Entry;
use super::watcher::{Watcher, now_ns};
use crate::events::FileAction;
use crate::publish::path_pattern::Role;

/// How long a write waits for the close of its file.
pub(super) const MODIFY_WAIT: Duration = Duration::from_secs(1);

/// Files whose close may be waited for at once; a write to more of them makes a row at once.
const PENDING_MAX: usize = 4096;

/// Events that are read before they are handled.
const BATCH_MAX: usize = 4096;

/// How long the second half of a rename may be behind the first.
const RENAME_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// An event as the queue has it.
#[derive(Clone, Debug)]
pub(super) struct RawEvent {
    descriptor: i32,
    mask: EventMask,
    cookie: u32,
    name: Option<OsString>,
}

/// A file that was written to and not yet closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    /// When the first write was seen.
    pub(super) time_ns: i64,
    due: Instant,
}

/// What one read of the queue gave.
#[derive(Debug, Default)]
pub(super) struct RawBatch {
    pub(super) events: Vec<RawEvent>,
    /// Whether the queue was empty afterwards.
    pub(super) emptied: bool,
}

/// Reads what the queue holds, up to a bound, and the second halves of renames.
pub(super) fn read_queue(inotify: &mut Inotify, buffer: &mut [u8]) -> std::io::Result<RawBatch> {
    let mut batch = RawBatch::default();
    while batch.events.len() < BATCH_MAX && !batch.emptied {
        read_once(inotify, buffer, &mut batch)?;
    }
    if lacks_second_half(&batch.events) {
        if batch.emptied {
            let mut queue = [PollFd::from_borrowed_fd(inotify.as_fd(), PollFlags::IN)];
            poll(&mut queue, Some(&RENAME_WAIT))?;
        }
        read_once(inotify, buffer, &mut batch)?;
    }
    Ok(batch)
}

fn read_once(
    inotify: &mut Inotify,
    buffer: &mut [u8],
    batch: &mut RawBatch,
) -> std::io::Result<()> {
    match inotify.read_events(buffer) {
        Ok(events) => {
            batch.emptied = false;
            batch.events.extend(events.map(|event| RawEvent {
                descriptor: event.wd.get_watch_descriptor_id(),
                mask: event.mask,
                cookie: event.cookie,
                name: event.name.map(ToOwned::to_owned),
            }));
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            batch.emptied = true;
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether the last rename of a directory is cut in two. Halves follow each other closely, so only
/// the end of the batch is looked at.
fn lacks_second_half(events: &[RawEvent]) -> bool {
    let end = events.iter().rev().take(64);
    let first = |event: &&RawEvent| event.mask.contains(EventMask::MOVED_FROM | EventMask::ISDIR);
    end.clone().find(first).is_some_and(|from| {
        !end.take_while(|event| event.cookie != from.cookie || event.mask != from.mask)
            .any(|event| event.mask.contains(EventMask::MOVED_TO) && event.cookie == from.cookie)
    })
}

/// One event about one entry of a watched directory.
struct EntryEvent {
    time_ns: i64,
    descriptor: i32,
    name: OsString,
    path: PathBuf,
    directory: bool,
    cookie: u32,
}

impl Watcher {
    /// Handles what was read at `time_ns`.
    pub(super) fn handle(&mut self, time_ns: i64, batch: RawBatch) {
        let arrivals: HashMap<u32, i32> = batch
            .events
            .iter()
            .filter(|event| event.mask.contains(EventMask::MOVED_TO | EventMask::ISDIR))
            .map(|event| (event.cookie, event.descriptor))
            .collect();
        for event in batch.events {
            self.handle_event(time_ns, event, &arrivals);
        }
        for (_, left) in std::mem::take(&mut self.moving) {
            self.gone_below(&left);
        }
        if batch.emptied {
            // Everything that the queue could tell about what scans reported has been read.
            self.reported.clear();
            self.look_again();
            self.empty_ns = now_ns();
        }
    }

    fn handle_event(&mut self, time_ns: i64, event: RawEvent, arrivals: &HashMap<u32, i32>) {
        let RawEvent { descriptor, mask, cookie, name } = event;
        if mask.contains(EventMask::Q_OVERFLOW) {
            return self.overflowed(time_ns);
        }
        if mask.contains(EventMask::IGNORED) {
            return self.tree.ended(descriptor);
        }
        let Some(directory) = self.tree.directory(descriptor) else {
            // It has left the watched paths; the queue still held this.
            return self.books.record(time_ns, Outcome::Filtered);
        };
        let Some(name) = name else {
            let path = directory.path.to_path_buf();
            return self.handle_self(time_ns, &path, mask);
        };
        let path = directory.path.join(&name);
        let directory = mask.contains(EventMask::ISDIR);
        let event = EntryEvent { time_ns, descriptor, name, path, directory, cookie };
        if mask.contains(EventMask::CREATE) {
            self.created(&event);
        } else if mask.contains(EventMask::MODIFY) {
            self.modified(&event);
        } else if mask.contains(EventMask::CLOSE_WRITE) {
            self.changed(&event, FileAction::Updated);
        } else if mask.contains(EventMask::ATTRIB) {
            self.changed(&event, FileAction::AttributesModified);
        } else if mask.contains(EventMask::DELETE) {
            self.deleted(&event);
        } else if mask.contains(EventMask::MOVED_FROM) {
            let arrives =
                arrivals.get(&cookie).is_some_and(|to| self.tree.directory(*to).is_some());
            self.moved_from(&event, arrives);
        } else if mask.contains(EventMask::MOVED_TO) {
            self.moved_to(&event);
        } else {
            self.books.record(time_ns, Outcome::Filtered);
        }
    }

    /// An event about a watched directory itself. The directory it lies in tells the same, unless
    /// that one is not watched.
    fn handle_self(&mut self, time_ns: i64, path: &Path, mask: EventMask) {
        let above = path.parent().and_then(|parent| self.tree.at(parent)).map(|above| above.role);
        if mask.contains(EventMask::UNMOUNT) {
            // What the mount had covered is visible again.
            self.jobs.push_back(Job::new(path.to_owned(), Mode::Initial));
            self.books.record(time_ns, Outcome::Filtered);
        } else if mask.contains(EventMask::ATTRIB) {
            if above == Some(Role::Content) {
                self.books.record(time_ns, Outcome::Merged);
            } else {
                let stat = Stat::of_path(path);
                self.told(time_ns, path, FileAction::AttributesModified, 0, stat.as_ref());
            }
        } else if above.is_some() {
            self.books.record(time_ns, Outcome::Merged);
        } else if mask.contains(EventMask::DELETE_SELF) {
            self.gone_below(path);
            self.told(time_ns, path, FileAction::Deleted, 0, None);
        } else {
            self.gone_below(path);
            self.told(time_ns, path, FileAction::MovedFrom, 0, None);
        }
    }

    fn created(&mut self, event: &EntryEvent) {
        if self.reported.remove(&event.path) == Some(FileAction::Created) {
            return self.books.record(event.time_ns, Outcome::Merged);
        }
        let stat = self.remember(event);
        self.told(event.time_ns, &event.path, FileAction::Created, 0, stat.as_ref());
        if event.directory {
            self.look_below(&event.path);
        }
    }

    fn remember(&mut self, event: &EntryEvent) -> Option<Stat> {
        if self.patterns.category(&event.path).is_none()
            && !(event.directory && self.patterns.role(&event.path).is_some())
        {
            return None;
        }
        let stat = Stat::of_path(&event.path);
        if let Some(stat) = &stat {
            self.tree.remember(event.descriptor, &event.name, Entry::from(stat));
        }
        stat
    }

    /// Has everything below a directory that is new to the tree reported.
    fn look_below(&mut self, path: &Path) {
        if self.patterns.role(path).is_some() {
            self.jobs.push_back(Job::new(path.to_owned(), Mode::New));
        }
    }

    fn modified(&mut self, event: &EntryEvent) {
        if self.patterns.category(&event.path).is_none() {
            self.books.record(event.time_ns, Outcome::Filtered);
        } else if self.pending.contains_key(&event.path) {
            self.books.record(event.time_ns, Outcome::Merged);
        } else if self.pending.len() < PENDING_MAX {
            let pending = Pending { time_ns: event.time_ns, due: Instant::now() + MODIFY_WAIT };
            self.pending.insert(event.path.clone(), pending);
        } else {
            self.changed(event, FileAction::Updated);
        }
    }

    fn changed(&mut self, event: &EntryEvent, action: FileAction) {
        if action == FileAction::Updated
            && let Some(pending) = self.pending.remove(&event.path)
        {
            self.books.record(pending.time_ns, Outcome::Merged);
        }
        let before = self.tree.entry(event.descriptor, &event.name).copied();
        let stat = self.remember(event);
        let as_reported = before.is_some() && before == stat.as_ref().map(Entry::from);
        if as_reported && self.reported.get(&event.path) == Some(&action) {
            return self.books.record(event.time_ns, Outcome::Merged);
        }
        self.told(event.time_ns, &event.path, action, 0, stat.as_ref());
    }

    fn deleted(&mut self, event: &EntryEvent) {
        self.write_pending(&event.path);
        if self.reported.remove(&event.path) == Some(FileAction::Deleted) {
            return self.books.record(event.time_ns, Outcome::Merged);
        }
        self.tree.forget(event.descriptor, &event.name);
        if event.directory {
            self.gone_below(&event.path);
        }
        self.told(event.time_ns, &event.path, FileAction::Deleted, 0, None);
    }

    /// A directory has gone from `path`: what is watched and reported there ends with it. Another
    /// one may stand there already that a scan has found; the queue tells of it next.
    fn gone_below(&mut self, path: &Path) {
        self.tree.remove_below(path);
        drop(take_below(&mut self.reported, path));
        drop(take_below(&mut self.blocked, path));
    }

    /// Follows a rename of a directory with everything below it.
    fn follow(&mut self, from: &Path, to: &Path) {
        self.gone_below(to);
        self.tree.move_below(from, to);
        self.move_jobs(from, to);
        let reported = take_below(&mut self.reported, from);
        self.reported.extend(reported.into_iter().map(|(rest, action)| (to.join(rest), action)));
        let blocked = take_below(&mut self.blocked, from);
        self.blocked.extend(blocked.into_iter().map(|(rest, why)| (to.join(rest), why)));
    }

    fn moved_from(&mut self, event: &EntryEvent, arrives: bool) {
        self.write_pending(&event.path);
        if self.reported.remove(&event.path) == Some(FileAction::Deleted) {
            return self.books.record(event.time_ns, Outcome::Merged);
        }
        self.tree.forget(event.descriptor, &event.name);
        if event.directory && arrives {
            self.moving.insert(event.cookie, event.path.clone());
        } else if event.directory {
            self.gone_below(&event.path);
        }
        self.told(event.time_ns, &event.path, FileAction::MovedFrom, event.cookie, None);
    }

    fn moved_to(&mut self, event: &EntryEvent) {
        let from = self.moving.remove(&event.cookie);
        let known = from.as_ref().filter(|from| self.tree.at(from).is_some());
        let reported = self.reported.remove(&event.path) == Some(FileAction::Created);
        let before = self.tree.entry(event.descriptor, &event.name).map(|entry| entry.identity);
        let stat = self.remember(event);
        // A rename puts another entry in the place of the one that a scan has reported.
        let as_reported = before == stat.as_ref().map(|stat| stat.identity);
        if reported && as_reported && known.is_none() {
            if event.directory {
                self.look_below(&event.path);
            }
            return self.books.record(event.time_ns, Outcome::Merged);
        }
        let follows =
            known.is_some_and(|from| self.still_covered(from, &event.path, stat.as_ref()));
        let whole = !event.directory || follows || (from.is_some() && known.is_none());
        let cookie = if whole { event.cookie } else { 0 };
        self.told(event.time_ns, &event.path, FileAction::MovedTo, cookie, stat.as_ref());
        match from {
            Some(from) if follows => self.follow(&from, &event.path),
            from if event.directory => {
                if let Some(from) = from {
                    self.gone_below(&from);
                }
                self.gone_below(&event.path);
                self.look_below(&event.path);
            }
            _ => {}
        }
    }

    /// Whether a renamed directory is known and covered as before, so that only paths change.
    fn still_covered(&self, from: &Path, to: &Path, stat: Option<&Stat>) -> bool {
        let known = self.tree.at(from).map(|directory| directory.identity);
        known.is_some()
            && known == stat.map(|stat| stat.identity)
            && self.patterns.covers_all_below(from)
            && self.patterns.covers_all_below(to)
    }

    /// Makes the row of a write whose close is not waited for any longer.
    fn write_pending(&mut self, path: &Path) {
        let Some(pending) = self.pending.remove(path) else {
            return;
        };
        let stat = Stat::of_path(path);
        let place = path.parent().and_then(|parent| self.tree.at(parent)).zip(path.file_name());
        if let Some((directory, name)) = place
            && let Some(stat) = &stat
        {
            let descriptor = directory.descriptor();
            self.tree.remember(descriptor, name, Entry::from(stat));
        }
        self.told(pending.time_ns, path, FileAction::Updated, 0, stat.as_ref());
    }

    /// Makes the rows of writes that have waited long enough; of all when `now` is `None`.
    pub(super) fn write_due(&mut self, now: Option<Instant>) {
        let is_due = |pending: &Pending| now.is_none_or(|now| pending.due <= now);
        let due = self.pending.iter().filter(|(_, pending)| is_due(pending));
        let mut due: Vec<(i64, PathBuf)> =
            due.map(|(path, pending)| (pending.time_ns, path.clone())).collect();
        due.sort_unstable();
        for (_, path) in due {
            self.write_pending(&path);
        }
    }

    fn overflowed(&mut self, time_ns: i64) {
        let detail = "the queue overflowed (limit: fs.inotify.max_queued_events); a rescan follows";
        tracing::warn!("The inotify queue overflowed; scanning for what it lost");
        self.gap(self.empty_ns.min(time_ns), time_ns, detail.to_owned());
        self.rescan_due.get_or_insert_with(Instant::now);
    }
}

/// Takes what lies below `path` out of `map`, `path` itself included; gives the paths from there.
fn take_below<T>(map: &mut BTreeMap<PathBuf, T>, path: &Path) -> Vec<(PathBuf, T)> {
    let from = map.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
    let below: Vec<PathBuf> =
        from.map(|(below, _)| below).take_while(|below| below.starts_with(path)).cloned().collect();
    let take = |below: PathBuf| {
        let rest = below.strip_prefix(path).ok()?.to_owned();
        Some((rest, map.remove(&below)?))
    };
    below.into_iter().filter_map(take).collect()
}
