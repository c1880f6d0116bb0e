//! Looking at directories: for what the queue did not tell.
//!
//! A directory is watched first and listed afterwards, so that nothing falls between. What is made
//! in between is both listed and told: [`super::watcher::Watcher::reported`] holds what a scan
//! reported until the queue has been empty once, since every event of that time has then been
//! read, and an event in it is counted as merged.
//!
//! The disk is ahead of the queue, so a path may lead elsewhere than the queue has told so far.
//! Then the directory is astray: it is looked at again once the queue has told everything up to
//! then, under the path that its renames have led to. And when the queue tells that a directory has
//! gone, whatever a scan has reported below its path goes with it, even if a later directory is
//! meant; the queue tells of that one next, and it is looked at from the start.
//!
//! Scans run in short slices between reads of the queue, so that a large tree does not make the
//! queue overflow.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::Dir;

use super::stat::Stat;
use super::tree::{Entries, Entry, NotWatched};
use super::watcher::Watcher;
use crate::events::FileAction;
use crate::publish::path_pattern::Role;

/// How long scans may run between two reads of the queue.
const SLICE: Duration = Duration::from_millis(10);

/// How often a directory is looked for where the queue has told it.
const TRIES_MAX: u8 = 4;

/// Why a directory is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// For the first time: its entries are what was there before, except those created since the
    /// source was attached.
    Initial,
    /// It has just come into the tree: all its entries are news.
    New,
    /// Events were lost: the differences to the baseline are news.
    Rescan,
}

/// One directory to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) path: PathBuf,
    pub(super) mode: Mode,
    /// How often it was astray since the queue told of a rename.
    tries: u8,
}

impl Job {
    pub(super) const fn new(path: PathBuf, mode: Mode) -> Self {
        Self { path, mode, tries: 0 }
    }
}

/// One directory while it is listed.
struct Listing {
    path: PathBuf,
    descriptor: i32,
    mode: Mode,
    /// What was known of the entries before; those still here are taken out one by one.
    before: Entries,
    /// Whether `before` had all entries.
    complete: bool,
}

impl Watcher {
    /// Works on the jobs for a short while.
    pub(super) fn scan_slice(&mut self) {
        self.scan_until(Instant::now() + SLICE);
    }

    /// Works on the jobs until none is left or the time has come.
    pub(super) fn scan_until(&mut self, deadline: Instant) {
        while let Some(job) = self.jobs.pop_front() {
            self.look_at(job);
            if Instant::now() >= deadline {
                break;
            }
        }
        self.report_blocked();
    }

    /// Looks at every watched directory again: events were lost.
    pub(super) fn rescan(&mut self) {
        let job = |path: &Arc<Path>| Job::new(path.to_path_buf(), Mode::Rescan);
        let jobs: Vec<Job> = self.tree.paths().map(job).collect();
        self.jobs.extend(jobs);
    }

    fn look_at(&mut self, job: Job) {
        let Some(role) = self.patterns.role(&job.path) else {
            return;
        };
        let watched = match self.tree.watch(&job.path, role) {
            Ok(watched) => watched,
            Err(NotWatched::Alias) => return,
            Err(NotWatched::Gone | NotWatched::Moving) => return self.go_astray(job),
            Err(why) => return self.block(job.path, why),
        };
        let mode = match (job.mode, watched.fresh) {
            // Another job has looked at it already.
            (Mode::Initial | Mode::New, false) => return,
            // What was known here was another directory.
            (Mode::Rescan, true) => Mode::New,
            (mode, _) => mode,
        };
        let complete = self.tree.directory(watched.descriptor).is_none_or(|known| known.complete);
        let before = match mode {
            Mode::Rescan => self.tree.take_entries(watched.descriptor),
            Mode::Initial | Mode::New => Entries::new(),
        };
        self.tree.set_complete(watched.descriptor, true);
        let descriptor = watched.descriptor;
        let mut listing = Listing { path: job.path, descriptor, mode, before, complete };
        let mut directory = match Dir::new(watched.file) {
            Ok(directory) => directory,
            Err(error) => return self.block(listing.path, NotWatched::Failed(error)),
        };
        // A directory that is removed meanwhile ends its listing with an error; the queue tells.
        while let Some(Ok(entry)) = directory.read() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let path = listing.path.join(name);
            let way = self.patterns.role(&path);
            if way.is_none() && self.patterns.category(&path).is_none() {
                continue;
            }
            let Ok(file) = directory.fd() else { break };
            if let Some(stat) = Stat::of_entry(file.as_fd(), entry.file_name()) {
                self.look_at_entry(&mut listing, name, &path, way, &stat);
            }
        }
        self.report_missing(listing);
    }

    fn go_astray(&mut self, mut job: Job) {
        job.tries += 1;
        if job.tries < TRIES_MAX {
            self.astray.push(job);
        }
    }

    /// Everything has been told up to when the astray were looked for: looks for them again.
    pub(super) fn look_again(&mut self) {
        self.jobs.extend(self.astray.drain(..));
    }

    /// Has what waits below `from` looked at below `to`.
    pub(super) fn move_jobs(&mut self, from: &Path, to: &Path) {
        for job in self.jobs.iter_mut().chain(&mut self.astray) {
            if let Ok(rest) = job.path.strip_prefix(from) {
                // Joining an empty path would add a slash.
                let whole = rest.as_os_str().is_empty();
                job.path = if whole { to.to_owned() } else { to.join(rest) };
                job.tries = 0;
            }
        }
    }

    fn look_at_entry(
        &mut self,
        listing: &mut Listing,
        name: &OsStr,
        path: &Path,
        way: Option<Role>,
        stat: &Stat,
    ) {
        let now = Entry::from(stat);
        let mut mode = listing.mode;
        match listing.mode {
            Mode::Initial => {
                let news = stat.btime_ns.is_some_and(|btime_ns| btime_ns >= self.attached_ns);
                if news {
                    self.found(path, FileAction::Created, Some(stat));
                }
            }
            Mode::New => self.found(path, FileAction::Created, Some(stat)),
            Mode::Rescan => match listing.before.remove(name) {
                Some(before) => {
                    if before.identity != now.identity && (before.directory || now.directory) {
                        self.report_deleted(path, before);
                        self.found(path, FileAction::Created, Some(stat));
                        mode = Mode::New;
                    } else if let Some(action) = difference(&before, &now) {
                        self.found(path, action, Some(stat));
                    }
                }
                // The baseline never had all entries of this directory: this one may be old.
                None if !listing.complete => {}
                None => {
                    self.found(path, FileAction::Created, Some(stat));
                    mode = Mode::New;
                }
            },
        }
        self.tree.remember(listing.descriptor, name, now);
        let looks_below = match mode {
            // Every known directory has a rescan of its own.
            Mode::Rescan => self.tree.at(path).is_none(),
            Mode::Initial | Mode::New => true,
        };
        if now.directory && way.is_some() && looks_below {
            let mode = if mode == Mode::Rescan { Mode::Initial } else { mode };
            self.jobs.push_back(Job::new(path.to_owned(), mode));
        }
    }

    /// Reports the entries of a rescanned directory that are no longer there.
    fn report_missing(&mut self, listing: Listing) {
        if listing.mode != Mode::Rescan {
            return;
        }
        for (name, before) in listing.before {
            let path = listing.path.join(&name);
            match Stat::of_path(&path) {
                None => self.report_deleted(&path, before),
                // Made again while the directory was listed; the queue tells.
                Some(stat) => self.tree.remember(listing.descriptor, &name, Entry::from(&stat)),
            }
        }
    }

    /// Reports an entry that is gone, and with a directory what was known below it.
    fn report_deleted(&mut self, path: &Path, before: Entry) {
        if before.directory {
            let removed = self.tree.remove_below(path);
            let watched: HashSet<Arc<Path>> =
                removed.iter().map(|(directory, _)| Arc::clone(directory)).collect();
            // What lies deeper first.
            for (directory, entries) in removed.into_iter().rev() {
                let below = entries.into_keys().map(|name| directory.join(name));
                for path in below.filter(|path| !watched.contains(path.as_path())) {
                    self.found(&path, FileAction::Deleted, None);
                }
                if *directory != *path {
                    self.found(&directory, FileAction::Deleted, None);
                }
            }
        }
        self.found(path, FileAction::Deleted, None);
    }
}

/// What happened to an entry between two looks at it.
fn difference(before: &Entry, now: &Entry) -> Option<FileAction> {
    let attributes = |entry: &Entry| (entry.mode, entry.uid, entry.gid);
    let content = |entry: &Entry| (entry.identity, entry.size, entry.mtime_ns);
    if !now.directory && content(before) != content(now) {
        Some(FileAction::Updated)
    } else if attributes(before) != attributes(now)
        || (!now.directory && before.ctime_ns != now.ctime_ns)
    {
        // A directory's times and size change with its entries, which are reported themselves.
        Some(FileAction::AttributesModified)
    } else {
        None
    }
}
