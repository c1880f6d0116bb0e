//! The thread that seals full journals, and what else is done beside the writer.
//!
//! It stands back behind the rest of the host ([`crate::write::niceness`]) and does one thing at a
//! time. Journals are taken in the order of
//! their numbers, since the manifest says up to which number they are sealed; those that cannot be
//! sealed (a full disk) are tried again after a while, and the others wait. A journal that is full
//! by size waits a little for others to be sealed with it; one that is full by age does not.
//!
//! When nothing is to be sealed, segments are merged, and what is not to be kept is given up: when
//! space is short, before anything is merged. Files are deleted when they have not counted for long
//! enough, or for want of space. A merge is given up when the writer closes or journals pile up: it
//! leaves nothing but time lost.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::disk::Folder;
use crate::layout;
use crate::limits::{
    BEHIND_JOURNALS, MAINTAIN_EVERY, MERGE_RETRY, SEAL_BYTES_MAX, SEAL_JOURNALS, SEAL_RETRY,
};
use crate::manifest::entry::{Entry, SegmentEntry};
use crate::manifest::log::ManifestLog;
use crate::retention::{self, Expired, Space};
use crate::schema::TableSchema;
use crate::write::compact::{self, CompactError, Job};
use crate::write::merge::MergeError;
use crate::write::niceness::Niceness;
use crate::write::options::WriterOptions;
use crate::write::remove;
use crate::write::seal::{self, Full};
use crate::write::sealer::{Desk, Shared};

/// The thread's side.
pub(super) struct Work {
    dir: Folder,
    manifest: ManifestLog,
    tables: &'static [&'static TableSchema],
    options: WriterOptions,
    shared: Arc<Shared>,
    /// Not to seal before then: the last attempt has failed.
    retry: Option<Instant>,
    /// When to look next whether there is something to delete.
    look: Instant,
    /// Not to merge before then: the last attempt has failed.
    merge_from: Instant,
    /// Paths of segments that are not merged: those that cannot be read, and, until an instant,
    /// those whose merge could not be written.
    unfit: BTreeMap<String, Option<Instant>>,
}

/// What to do next.
enum Task {
    Seal(Vec<Full>),
    Compact(Job),
    /// Give up segments and delete files.
    Expire,
    /// Wait, at most for so long.
    Wait(Duration),
    End,
}

impl Work {
    pub(super) fn new(
        dir: &Folder,
        manifest: ManifestLog,
        tables: &'static [&'static TableSchema],
        options: &WriterOptions,
        shared: Arc<Shared>,
    ) -> Self {
        let (dir, options) = (dir.clone(), options.clone());
        let now = Instant::now();
        Self {
            dir,
            manifest,
            tables,
            options,
            shared,
            retry: None,
            look: now,
            merge_from: now,
            unfit: BTreeMap::new(),
        }
    }

    pub(super) fn run(mut self) {
        let mut niceness = Niceness::of_thread();
        let shared = Arc::clone(&self.shared);
        let mut desk = shared.lock();
        loop {
            niceness.follow(desk.journals.len());
            match self.next(&desk) {
                Task::Seal(journals) => {
                    drop(desk);
                    let sealed = self.seal(&journals);
                    if sealed {
                        (self.options.after_work)();
                    }
                    desk = shared.lock();
                    self.look = Instant::now();
                    match sealed {
                        true => {
                            self.retry = None;
                            desk.journals.drain(..journals.len());
                        }
                        // What cannot be sealed at the end is left to the next start.
                        false if desk.closing => break,
                        false => self.retry = Some(Instant::now() + SEAL_RETRY),
                    }
                }
                Task::Compact(job) => {
                    drop(desk);
                    self.compact(&job);
                    (self.options.after_work)();
                    self.look = Instant::now();
                    desk = shared.lock();
                }
                Task::Expire => {
                    drop(desk);
                    self.expire();
                    desk = shared.lock();
                }
                Task::Wait(timeout) => {
                    let settled = desk.journals.is_empty();
                    let stalled = !settled && self.retry.is_some();
                    if (desk.settled, desk.stalled) != (settled, stalled) {
                        (desk.settled, desk.stalled) = (settled, stalled);
                        shared.changed.notify_all();
                    }
                    desk = shared.wait(desk, timeout);
                }
                Task::End => break,
            }
        }
    }

    /// What to do next: sealing before anything else.
    fn next(&mut self, desk: &Desk) -> Task {
        let retry = self.retry.and_then(|retry| retry.checked_duration_since(Instant::now()));
        let sealing = match retry {
            _ if desk.journals.is_empty() && desk.closing => Task::End,
            _ if desk.journals.is_empty() => Task::Wait(MAINTAIN_EVERY),
            Some(left) if !desk.closing => Task::Wait(left),
            _ => self.journals(desk),
        };
        let Task::Wait(left) = sealing else {
            return sealing;
        };
        let due = self.look <= Instant::now();
        if due && self.space().excess(&self.manifest.state, &self.options.retention) > 0 {
            return Task::Expire;
        }
        if self.merge_from <= Instant::now()
            && !is_behind(desk)
            && let Some(job) = self.job(self.options.clock.now_ns())
        {
            return Task::Compact(job);
        }
        match due {
            true => Task::Expire,
            false => Task::Wait(left.min(self.look.saturating_duration_since(Instant::now()))),
        }
    }

    /// What the disk holds.
    fn space(&self) -> Space {
        let folder = layout::journal_dir(self.dir.path());
        let names = self.dir.names(&folder).unwrap_or_default();
        let sizes = names.iter().map(|name| self.dir.bytes(&folder.join(name)).unwrap_or(0));
        Space { journal_bytes: sizes.sum(), free_bytes: self.dir.free_bytes().ok() }
    }

    /// Gives up what is not to be kept, and deletes what has waited long enough, or what must go
    /// for want of space.
    fn expire(&mut self) {
        self.look = Instant::now() + MAINTAIN_EVERY;
        let (now_ns, retention) = (self.options.clock.now_ns(), &self.options.retention);
        let space = self.space();
        let excess = space.excess(&self.manifest.state, retention);
        let gone = retention::plan(&self.manifest.state, space, retention, now_ns);
        let gone: Vec<SegmentEntry> = gone.into_iter().cloned().collect();
        let at_ns = self.manifest.state.next_removal(now_ns);
        if !gone.is_empty() {
            let removes = gone.iter().map(|file| file.path.clone()).collect();
            match self.manifest.append_for_room(&Entry::Expire { at_ns, removes }) {
                Ok(()) => {
                    let gone: Vec<&SegmentEntry> = gone.iter().collect();
                    Expired::add(&mut self.shared.lock().expired, &gone);
                }
                Err(error) => warn("Old segments are kept for now", &error),
            }
        }
        let (state, grace) = (&self.manifest.state, self.options.reader_grace);
        let count = remove::due(state, now_ns, grace, excess);
        if let Err(error) = remove::delete(&self.dir, &mut self.manifest.state, count) {
            tracing::warn!(error = %error, "A file that no longer counts stays for now");
        }
        if let Err(error) = self.manifest.keep_reserve() {
            tracing::debug!(error = %error, "No space is set aside for a full disk");
        }
    }

    /// What is to be merged, if anything.
    fn job(&self, now_ns: i64) -> Option<Job> {
        let known = |file: &SegmentEntry| self.tables.iter().any(|table| table.name == file.table);
        let now = Instant::now();
        let unfit = |file: &SegmentEntry| {
            self.unfit.get(&file.path).is_some_and(|until| until.is_none_or(|until| until > now))
        };
        let skip = |file: &SegmentEntry| unfit(file) || !known(file);
        compact::plan(&self.manifest.state, now_ns, &skip)
    }

    fn compact(&mut self, job: &Job) {
        let shared = Arc::clone(&self.shared);
        let stop = || {
            let desk = shared.lock();
            desk.closing || is_behind(&desk)
        };
        let (dir, manifest) = (&self.dir, &mut self.manifest);
        let now_ns = self.options.clock.now_ns();
        let done = compact::compact(dir, manifest, self.tables, job, now_ns, &stop);
        match done {
            Ok(()) | Err(CompactError::Merge { source: MergeError::Stopped, .. }) => {}
            Err(error) => {
                warn("Segments are not merged for now", &error);
                self.leave_out(job, &error);
            }
        }
    }

    /// Sees to it that a merge that failed does not keep others from being done.
    fn leave_out(&mut self, job: &Job, error: &CompactError) {
        let all = || job.inputs.iter().map(|file| file.path.clone());
        let (paths, until): (Vec<String>, _) = match error {
            CompactError::Merge {
                source: MergeError::Read { path, .. } | MergeError::Column { path, .. },
                ..
            } => (vec![path.clone()], None),
            CompactError::Merge { source: MergeError::Open { path, .. }, .. } => {
                (all().filter(|name| self.dir.join(name) == *path).collect(), None)
            }
            CompactError::Table { .. }
            | CompactError::Merge { source: MergeError::Order(_) | MergeError::Stopped, .. } => {
                (all().collect(), None)
            }
            // Most likely the disk is full, and nothing can be written; or these cannot be.
            CompactError::Merge { source: MergeError::Write(_), .. }
            | CompactError::Segment { .. }
            | CompactError::Manifest { .. } => {
                self.merge_from = Instant::now() + MAINTAIN_EVERY;
                (all().collect(), Some(Instant::now() + MERGE_RETRY))
            }
        };
        self.unfit.retain(|path, _| self.manifest.state.files.contains_key(path));
        self.unfit.extend(paths.into_iter().map(|path| (path, until)));
    }

    /// Which journals to seal, if any.
    fn journals(&self, desk: &Desk) -> Task {
        let mut journals = Vec::new();
        let mut bytes = 0;
        let mut full_by_age = false;
        for waiting in &desk.journals {
            let path = layout::journal_path(self.dir.path(), waiting.full.number);
            let more = self.dir.bytes(&path).unwrap_or(0);
            if !journals.is_empty() && bytes + more > SEAL_BYTES_MAX {
                break;
            }
            full_by_age |= more < self.options.journal_bytes_max;
            bytes += more;
            journals.push(waiting.full);
        }
        let enough = self.options.journal_bytes_max.saturating_mul(SEAL_JOURNALS);
        let waited = desk.journals.front().map(|waiting| waiting.since.elapsed());
        let left = self.options.seal_wait.saturating_sub(waited.unwrap_or_default());
        if desk.closing || full_by_age || left.is_zero() || bytes >= enough.min(SEAL_BYTES_MAX) {
            Task::Seal(journals)
        } else {
            Task::Wait(left)
        }
    }

    fn seal(&mut self, journals: &[Full]) -> bool {
        let mut damage = Vec::new();
        let (dir, manifest) = (&self.dir, &mut self.manifest);
        let now_ns = self.options.clock.now_ns();
        let sealed = seal::seal(dir, manifest, self.tables, journals, now_ns, &mut damage);
        match sealed {
            Ok(()) => {
                self.shared.lock().findings.extend(damage);
                true
            }
            Err(error) => {
                warn("Journals stay unsealed for now", &error);
                false
            }
        }
    }
}

/// Whether so many journals wait that merges must.
fn is_behind(desk: &Desk) -> bool {
    desk.journals.len() > BEHIND_JOURNALS
}

fn warn(what: &str, error: &dyn Error) {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    tracing::warn!(error = %error, cause = causes.join(": "), "{what}");
}
