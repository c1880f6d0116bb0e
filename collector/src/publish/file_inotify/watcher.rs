//! The state of the source: what is watched, what waits, and what is to be sent.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use inotify::Inotify;
use rustix::event::{Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use super::SOURCE;
use super::books::{Books, Outcome};
use super::config::FileInotifyConfig;
use super::scan::{Job, Mode};
use super::stat::Stat;
use super::translate::Pending;
use super::tree::{NotWatched, Tree};
use crate::events::{CollectorEvent, FileAction, FileEvent, Gap, GapReason};
use crate::host::text::lossless;
use crate::publish::path_pattern::{PatternError, Patterns};

/// Directories that could not be watched whose paths are kept to try again.
const BLOCKED_MAX: usize = 4096;

/// Why the source cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// A configured pattern cannot be used.
    #[error("the paths to watch cannot be used")]
    Pattern(#[source] PatternError),
    /// The kernel gives no inotify instance.
    #[error("the kernel gives no inotify instance (limit: fs.inotify.max_user_instances)")]
    Init(#[source] io::Error),
    /// Not one directory could be watched.
    #[error("not one of the configured directories can be watched")]
    NothingWatched,
}

impl AttachError {
    /// What the user can do about it, where something can be done.
    #[must_use]
    pub fn mend(&self) -> Option<String> {
        match self {
            Self::Pattern(_) => Some("correct the pattern in the section [file]".to_owned()),
            Self::Init(_) => Some("raise the sysctl fs.inotify.max_user_instances".to_owned()),
            Self::NothingWatched => Some(
                "set categories in the section [file] to folders that the collector may read"
                    .to_owned(),
            ),
        }
    }
}

/// Everything but the queue itself.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) patterns: Patterns,
    pub(super) tree: Tree,
    pub(super) books: Books,
    /// Directories to look at, nearest first.
    pub(super) jobs: VecDeque<Job>,
    /// Directories that were not found where the queue had told them last. They wait until it has
    /// told everything up to then: it may lead to where they are now.
    pub(super) astray: Vec<Job>,
    /// What scans reported since the queue was last empty: the queue may tell it once more.
    pub(super) reported: BTreeMap<PathBuf, FileAction>,
    /// Files that were written to and not yet closed.
    pub(super) pending: HashMap<PathBuf, Pending>,
    /// Directories on their way to another place in the same batch, by cookie.
    pub(super) moving: HashMap<u32, PathBuf>,
    /// Directories that could not be watched.
    pub(super) blocked: BTreeMap<PathBuf, NotWatched>,
    pub(super) blocked_reported: usize,
    /// Whether an overflow asks for a rescan, and since when.
    pub(super) rescan_due: Option<Instant>,
    /// When the source was attached: what was created before has an earlier stamp, what is created
    /// now a later one.
    pub(super) attached_ns: i64,
    /// When the queue was last seen empty.
    pub(super) empty_ns: i64,
    /// Whether what can be seen has changed since it was last said.
    pub(super) capability_changed: bool,
    pub(super) files: Vec<FileEvent>,
    pub(super) collector: Vec<CollectorEvent>,
}

impl Watcher {
    pub(super) fn new(config: &FileInotifyConfig, inotify: &Inotify) -> Result<Self, AttachError> {
        let patterns = Patterns::new(&config.categories, &config.exclude, &config.exclude_paths)
            .map_err(AttachError::Pattern)?;
        let attached_ns = wait_for_stamps();
        let root = Job::new(PathBuf::from("/"), Mode::Initial);
        Ok(Self {
            patterns,
            tree: Tree::new(inotify.watches(), config.baseline_entries_max),
            books: Books::default(),
            jobs: VecDeque::from([root]),
            astray: Vec::new(),
            reported: BTreeMap::new(),
            pending: HashMap::new(),
            moving: HashMap::new(),
            blocked: BTreeMap::new(),
            blocked_reported: 0,
            rescan_due: None,
            attached_ns,
            empty_ns: now_ns(),
            capability_changed: false,
            files: Vec::new(),
            collector: Vec::new(),
        })
    }

    /// A file event from the queue. Counts it as filtered when no pattern covers the path.
    pub(super) fn told(
        &mut self,
        time_ns: i64,
        path: &Path,
        action: FileAction,
        cookie: u32,
        stat: Option<&Stat>,
    ) {
        let stored = self.push(time_ns, path, action, cookie, false, stat);
        self.books.record(time_ns, if stored { Outcome::Stored } else { Outcome::Filtered });
    }

    /// A file event from a scan. What no pattern covers is no event at all.
    pub(super) fn found(&mut self, path: &Path, action: FileAction, stat: Option<&Stat>) {
        let time_ns = now_ns();
        if self.push(time_ns, path, action, 0, true, stat) {
            self.books.record(time_ns, Outcome::Stored);
        }
        self.reported.insert(path.to_owned(), action);
    }

    fn push(
        &mut self,
        time_ns: i64,
        path: &Path,
        action: FileAction,
        transaction_id: u32,
        found_by_scan: bool,
        stat: Option<&Stat>,
    ) -> bool {
        let Some(category) = self.patterns.category(path) else {
            return false;
        };
        self.files.push(FileEvent {
            time_ns,
            target_path: lossless(path.as_os_str().as_encoded_bytes()),
            category: category.as_ref().to_owned(),
            action,
            transaction_id,
            found_by_scan,
            stat: stat.map(Stat::for_event),
        });
        true
    }

    pub(super) fn gap(&mut self, time_ns: i64, end_ns: i64, detail: String) {
        self.collector.push(CollectorEvent::Gap(Gap {
            time_ns,
            end_ns,
            source: SOURCE.to_owned(),
            reason: GapReason::SourceOverflow,
            lost: None,
            detail: Some(detail),
        }));
    }

    /// Notes a directory that could not be watched.
    pub(super) fn block(&mut self, path: PathBuf, why: NotWatched) {
        if self.blocked.len() < BLOCKED_MAX {
            self.blocked.insert(path, why);
        }
    }

    /// Reports directories that could not be watched, once per rise of their number.
    pub(super) fn report_blocked(&mut self) {
        let limited = self.blocked.values().filter(|why| **why == NotWatched::Limit).count();
        if limited > self.blocked_reported {
            let now_ns = now_ns();
            let detail = format!(
                "fs.inotify.max_user_watches is reached: {limited} directories, and all below \
                 them, are not watched"
            );
            tracing::warn!(directories = limited, "The kernel gives no more inotify watches");
            self.gap(now_ns, now_ns, detail);
        }
        if limited != self.blocked_reported {
            self.blocked_reported = limited;
            self.capability_changed = true;
        }
    }

    /// Tries again to watch what could not be watched.
    pub(super) fn retry_blocked(&mut self) {
        let blocked = std::mem::take(&mut self.blocked);
        let job = |path| Job::new(path, Mode::Initial);
        self.jobs.extend(blocked.into_keys().map(job));
    }
}

/// Real time, in nanoseconds since the Unix epoch.
pub(super) fn now_ns() -> i64 {
    nanoseconds(ClockId::Realtime)
}

/// Takes the time, and waits until files that are created get stamps after it.
///
/// A stamp may be from the coarse clock, which is up to one tick (at most 10 ms) behind.
fn wait_for_stamps() -> i64 {
    const MILLISECOND: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let time_ns = now_ns();
    // An error or a clock set back ends the wait, which only makes the line less sharp.
    let ticks_max = 20;
    for _ in 0..ticks_max {
        if nanoseconds(ClockId::RealtimeCoarse) >= time_ns
            || poll(&mut [], Some(&MILLISECOND)).is_err()
        {
            break;
        }
    }
    time_ns
}

/// Real time less time since boot, in nanoseconds.
pub(super) fn clock_offset_ns() -> i64 {
    nanoseconds(ClockId::Realtime) - nanoseconds(ClockId::Boottime)
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
