//! The thread that seals full journals.
//!
//! It runs at low priority and takes one journal at a time, in the order of their numbers. Its
//! queue is bounded: further full journals wait on disk, where readers read them as they are. A
//! journal that cannot be sealed (a full disk) is tried again after a while, and the others wait,
//! since the manifest says up to which number journals are sealed. It owns the manifest while it
//! runs.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::damage::Damage;
use crate::disk::Folder;
use crate::limits::{SEAL_QUEUE_MAX, SEAL_RETRY};
use crate::manifest::log::ManifestLog;
use crate::schema::TableSchema;
use crate::write::error::OpenError;
use crate::write::seal::{self, Full};

/// Niceness of the thread, from 0 to 19.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// What the sealer could not read.
type Findings = Arc<Mutex<Vec<Damage>>>;

/// The writer's side.
#[derive(Debug)]
pub(super) struct Sealer {
    /// `None` once the thread was told to end.
    queue: Option<SyncSender<Full>>,
    /// Journals that found the queue full.
    waiting: VecDeque<Full>,
    thread: Option<JoinHandle<()>>,
    findings: Findings,
}

impl Sealer {
    pub(super) fn start(
        dir: &Folder,
        manifest: ManifestLog,
        tables: &'static [&'static TableSchema],
        unsealed: Vec<Full>,
    ) -> Result<Self, OpenError> {
        let (queue, full) = sync_channel(SEAL_QUEUE_MAX);
        let findings = Findings::default();
        let work = Work { dir: dir.clone(), manifest, tables, findings: Arc::clone(&findings) };
        let builder = Builder::new().name("sealer".to_owned());
        let thread = builder.spawn(move || work.run(&full)).map_err(OpenError::Sealer)?;
        let mut sealer =
            Self { queue: Some(queue), waiting: unsealed.into(), thread: Some(thread), findings };
        sealer.offer();
        Ok(sealer)
    }

    /// Adds a journal that is full.
    pub(super) fn add(&mut self, number: u64, end: u64) {
        self.waiting.push_back(Full { number, end, reported: false });
        self.offer();
    }

    /// Hands over what waits, as far as there is room.
    pub(super) fn offer(&mut self) {
        while let (Some(queue), Some(full)) = (&self.queue, self.waiting.front()) {
            match queue.try_send(*full) {
                Ok(()) => self.waiting.pop_front(),
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => break,
            };
        }
    }

    /// Whether the thread has ended although it was not told to.
    pub(super) fn is_gone(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends the thread as a panic would.
    #[cfg(test)]
    pub(super) fn fail(&mut self) {
        self.queue = None;
        while !self.is_gone() {
            std::thread::yield_now();
        }
    }

    /// What could not be read since the last call.
    pub(super) fn take_findings(&self) -> Vec<Damage> {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut findings)
    }

    /// Seals what waits and ends the thread; says whether it ended well.
    pub(super) fn finish(mut self) -> bool {
        let queue = self.queue.take();
        let mut waiting = self.waiting.drain(..);
        let handed_over = queue.is_some_and(|queue| waiting.all(|full| queue.send(full).is_ok()));
        drop(waiting);
        self.join() && handed_over
    }

    fn join(&mut self) -> bool {
        self.thread.take().is_none_or(|thread| thread.join().is_ok())
    }
}

impl Drop for Sealer {
    /// Waits for the thread: it must not touch the folder once the lock is given up.
    fn drop(&mut self) {
        self.queue = None;
        if !self.join() {
            tracing::error!("The sealer has failed; journals stay unsealed");
        }
    }
}

/// The thread's side.
struct Work {
    dir: Folder,
    manifest: ManifestLog,
    tables: &'static [&'static TableSchema],
    findings: Findings,
}

impl Work {
    fn run(mut self, queue: &Receiver<Full>) {
        lower_priority();
        let mut pending = VecDeque::new();
        let mut open = true;
        while open {
            // With a failed journal at the front, wait a while; else for the next one.
            let wait = if pending.is_empty() { Duration::MAX } else { SEAL_RETRY };
            match queue.recv_timeout(wait) {
                Ok(full) => pending.push_back(full),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
            while let Some(full) = pending.front()
                && self.seal(*full)
            {
                pending.pop_front();
            }
        }
    }

    fn seal(&mut self, full: Full) -> bool {
        let mut damage = Vec::new();
        let sealed = seal::seal(&self.dir, &mut self.manifest, self.tables, full, &mut damage);
        match sealed {
            Ok(()) => {
                let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
                findings.extend(damage);
                true
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(error = %error, cause, "A journal stays unsealed for now");
                false
            }
        }
    }
}

/// Makes the calling thread yield to all others. On Linux a priority is a thread's own; on macOS
/// it would be the whole process's.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(error = %error, "The sealer runs at normal priority");
    }
}
