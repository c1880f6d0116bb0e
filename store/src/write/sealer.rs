//! The writer's side of the thread that seals, merges and expires.
//!
//! The thread ([`crate::write::maintain`]) owns the manifest while it runs. Between the two is a
//! list of full journals behind a lock that is held for moments only. With
//! [`WAITING_JOURNALS_MAX`](crate::limits::WAITING_JOURNALS_MAX) of them the writer begins no other
//! because its own is full or old; readers read them as they are.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::damage::Damage;
use crate::disk::Folder;
use crate::manifest::log::ManifestLog;
use crate::retention::Expired;
use crate::schema::TableSchema;
use crate::write::error::OpenError;
use crate::write::maintain::Work;
use crate::write::options::WriterOptions;
use crate::write::seal::Full;

/// A journal that waits to be sealed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) full: Full,
    pub(super) since: Instant,
}

/// What both threads know.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Journals in the order of their numbers.
    pub(super) journals: VecDeque<Waiting>,
    /// The thread is to seal what is left and end.
    pub(super) closing: bool,
    /// Nothing is left to do for now.
    pub(super) settled: bool,
    /// Sealing has failed and is tried again later.
    pub(super) stalled: bool,
    /// What could not be read.
    pub(super) findings: Vec<Damage>,
    /// What was given up, a record per table.
    pub(super) expired: Vec<Expired>,
}

/// [`Desk`] with what wakes those who wait for it to change.
#[derive(Debug, Default)]
pub(super) struct Shared {
    desk: Mutex<Desk>,
    pub(super) changed: Condvar,
}

impl Shared {
    /// A panic of the other thread leaves the desk whole: each change is one step.
    pub(super) fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something changes, at most `timeout`.
    pub(super) fn wait<'a>(
        &self,
        desk: MutexGuard<'a, Desk>,
        timeout: Duration,
    ) -> MutexGuard<'a, Desk> {
        let waited = self.changed.wait_timeout(desk, timeout);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The writer's side.
#[derive(Debug)]
pub(super) struct Sealer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Sealer {
    pub(super) fn start(
        dir: &Folder,
        manifest: ManifestLog,
        tables: &'static [&'static TableSchema],
        options: &WriterOptions,
        unsealed: Vec<Full>,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::default());
        let work = Work::new(dir, manifest, tables, options, Arc::clone(&shared));
        // Those of earlier runs have waited long enough.
        let since = Instant::now().checked_sub(options.seal_wait).unwrap_or_else(Instant::now);
        let journals = unsealed.into_iter().map(|full| Waiting { full, since });
        shared.lock().journals.extend(journals);
        let builder = Builder::new().name("sealer".to_owned());
        let thread = builder.spawn(move || work.run()).map_err(OpenError::Sealer)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Adds a journal that is full.
    pub(super) fn add(&mut self, number: u64, end: u64) {
        let mut desk = self.shared.lock();
        let full = Full { number, end, reported: false };
        desk.journals.push_back(Waiting { full, since: Instant::now() });
        desk.settled = false;
        drop(desk);
        self.shared.changed.notify_all();
    }

    /// How many journals wait to be sealed.
    pub(super) fn waiting(&self) -> usize {
        self.shared.lock().journals.len()
    }

    /// Whether the thread has ended although it was not told to.
    pub(super) fn is_gone(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends the thread as a panic would.
    #[cfg(test)]
    pub(super) fn fail(&mut self) {
        self.close();
        while !self.is_gone() {
            std::thread::yield_now();
        }
    }

    /// What could not be read since the last call.
    pub(super) fn take_findings(&self) -> Vec<Damage> {
        std::mem::take(&mut self.shared.lock().findings)
    }

    /// What was given up since the last call.
    pub(super) fn take_expired(&self) -> Vec<Expired> {
        std::mem::take(&mut self.shared.lock().expired)
    }

    /// Waits until all is sealed and merged that is to be, or sealing has failed, at most `timeout`;
    /// says whether all is.
    pub(super) fn settle(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut desk = self.shared.lock();
        while !desk.settled && !desk.stalled && !self.is_gone() {
            let Some(left) = until.checked_duration_since(Instant::now()) else { break };
            desk = self.shared.wait(desk, left);
        }
        desk.settled
    }

    /// Seals what waits and ends the thread; says whether it ended well.
    pub(super) fn finish(mut self) -> bool {
        self.close();
        self.join()
    }

    fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
    }

    fn join(&mut self) -> bool {
        self.thread.take().is_none_or(|thread| thread.join().is_ok())
    }
}

impl Drop for Sealer {
    /// Waits for the thread: it must not touch the folder once the lock is given up.
    fn drop(&mut self) {
        self.close();
        if !self.join() {
            tracing::error!("The sealer has failed; journals stay unsealed");
        }
    }
}
