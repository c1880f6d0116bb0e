//! The publisher: attaching, and the loop that reads, scans and sends.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::Context;
use inotify::Inotify;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::SOURCE;
use super::config::FileInotifyConfig;
use super::translate::{RawBatch, read_queue};
use super::watcher::{AttachError, Watcher, clock_offset_ns, now_ns};
use crate::events::{Capability, CollectorEvent};
use crate::publish::{
    BATCH_EVENTS_MAX, Batch, Closed, Events, PublishError, Publisher, Sink, Stop,
};

/// Bytes read from the queue at once: at least 240 events with names of the greatest length.
const BUFFER_BYTES: usize = 64 * 1024;

/// How long the loop waits for an event before it looks at the stop sign.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 90_000_000 };

/// How often a quiet source says up to when it has told everything.
const WATERMARK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a queue that never empties may put off the rescan after an overflow.
const RESCAN_WAIT_MAX: Duration = Duration::from_secs(1);

/// How often directories that could not be watched are tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// How long the work left at a stop may take.
const STOP_MAX: Duration = Duration::from_secs(2);

/// Changes to files below configured paths, from inotify(7).
///
/// ```no_run
/// use bygone::publish::Publisher;
/// use bygone::publish::file_inotify::{FileInotify, FileInotifyConfig};
///
/// let mut config = FileInotifyConfig::default();
/// config.categories.insert("configuration".to_owned(), vec!["/etc/%%".to_owned()]);
/// let files = FileInotify::attach(&config)?;
/// println!("blind to: {}", files.capabilities()[0].blind_to);
/// # Ok::<(), bygone::publish::file_inotify::AttachError>(())
/// ```
#[derive(Debug)]
pub struct FileInotify {
    inotify: Inotify,
    watcher: Watcher,
}

impl FileInotify {
    /// Watches every directory that the configuration covers, for at most
    /// [`FileInotifyConfig::setup_max`]; the rest follows while events are read.
    ///
    /// # Errors
    /// When a pattern cannot be used, the kernel gives no inotify instance, or not one directory
    /// can be watched.
    pub fn attach(config: &FileInotifyConfig) -> Result<Self, AttachError> {
        let inotify = Inotify::init().map_err(AttachError::Init)?;
        let mut watcher = Watcher::new(config, &inotify)?;
        let started = Instant::now();
        watcher.scan_until(started + config.setup_max);
        if watcher.tree.count() == 0 {
            return Err(AttachError::NothingWatched);
        }
        watcher.capability_changed = !watcher.jobs.is_empty();
        tracing::debug!(
            directories = watcher.tree.count(),
            ms = started.elapsed().as_millis(),
            left = watcher.jobs.len(),
            "Files are watched"
        );
        Ok(Self { inotify, watcher })
    }

    /// How many directories are watched.
    #[must_use]
    pub fn directory_count(&self) -> usize {
        self.watcher.tree.count()
    }

    #[cfg(test)]
    pub(super) const fn watcher_attached_ns(&self) -> i64 {
        self.watcher.attached_ns
    }

    #[cfg(test)]
    pub(super) const fn watcher_mut(&mut self) -> &mut Watcher {
        &mut self.watcher
    }

    /// Waits for an event, not at all when there is other work.
    fn wait(&self) -> Result<(), PublishError> {
        let busy = !self.watcher.jobs.is_empty();
        let wait = if busy { Timespec { tv_sec: 0, tv_nsec: 0 } } else { WAIT };
        let mut queue = [PollFd::from_borrowed_fd(self.inotify.as_fd(), PollFlags::IN)];
        match poll(&mut queue, Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("waiting for inotify events"),
        }
    }

    /// One round: reads, translates, scans and makes what is due.
    pub(super) fn round(
        &mut self,
        buffer: &mut [u8],
        retry_at: &mut Instant,
    ) -> Result<i64, PublishError> {
        let batch = self.read(buffer)?;
        // Whatever is read later is not older than this.
        let watermark_ns = if batch.emptied { now_ns() } else { self.watcher.empty_ns };
        let emptied = batch.emptied;
        let watcher = &mut self.watcher;
        watcher.handle(now_ns(), batch);
        if let Some(since) = watcher.rescan_due
            && (emptied || since.elapsed() > RESCAN_WAIT_MAX)
        {
            watcher.rescan_due = None;
            watcher.rescan();
        }
        if retry_at.elapsed() > RETRY_INTERVAL {
            *retry_at = Instant::now();
            watcher.retry_blocked();
        }
        let had_jobs = !watcher.jobs.is_empty();
        watcher.scan_slice();
        watcher.capability_changed |= had_jobs && watcher.jobs.is_empty();
        watcher.write_due(Some(Instant::now()));
        let oldest_pending = watcher.pending.values().map(|pending| pending.time_ns).min();
        Ok(oldest_pending.map_or(watermark_ns, |oldest| oldest.min(watermark_ns)))
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<RawBatch, PublishError> {
        read_queue(&mut self.inotify, buffer).context("reading the inotify queue")
    }

    /// Drains what is left after the stop sign and makes everything that still waits.
    fn finish(&mut self, buffer: &mut [u8]) -> Result<(), PublishError> {
        let deadline = Instant::now() + STOP_MAX;
        loop {
            let batch = self.read(buffer)?;
            let emptied = batch.emptied;
            self.watcher.handle(now_ns(), batch);
            if self.watcher.rescan_due.take().is_some() {
                self.watcher.rescan();
            }
            self.watcher.scan_slice();
            let idle = self.watcher.jobs.is_empty() && self.watcher.astray.is_empty();
            if (emptied && idle) || Instant::now() > deadline {
                break;
            }
        }
        let left = self.watcher.jobs.len() + self.watcher.astray.len();
        if left > 0 {
            let now_ns = now_ns();
            let detail = format!("stopped before {left} directories were looked at");
            self.watcher.gap(self.watcher.empty_ns.min(now_ns), now_ns, detail);
        }
        self.watcher.write_due(None);
        let rest = self.watcher.books.close_all();
        self.watcher.collector.extend(rest.into_iter().map(CollectorEvent::Ledger));
        Ok(())
    }
}

impl Publisher for FileInotify {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn capabilities(&self) -> Vec<Capability> {
        vec![self.watcher.capability()]
    }

    fn run(mut self: Box<Self>, sink: &Sink, stop: &Stop) -> Result<(), PublishError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut said = self.watcher.capability().blind_to;
        let mut retry_at = Instant::now();
        let mut sent_at = Instant::now();
        while !stop.is_set() {
            self.wait()?;
            let watermark_ns = self.round(&mut buffer, &mut retry_at)?;
            let watcher = &mut self.watcher;
            let closed = watcher.books.close_settled(now_ns());
            watcher.collector.extend(closed.into_iter().map(CollectorEvent::Ledger));
            say_capability(watcher, &mut said);
            let quiet = watcher.files.is_empty() && watcher.collector.is_empty();
            if quiet && sent_at.elapsed() < WATERMARK_INTERVAL {
                continue;
            }
            sent_at = Instant::now();
            if send(watcher, sink, watermark_ns).is_err() {
                return Ok(());
            }
        }
        self.finish(&mut buffer)?;
        // A closed channel means that nobody is left to be told.
        send(&mut self.watcher, sink, now_ns()).or(Ok(()))
    }
}

/// Says what can be seen, when that has changed since it was said last.
fn say_capability(watcher: &mut Watcher, said: &mut String) {
    if !std::mem::take(&mut watcher.capability_changed) {
        return;
    }
    let capability = watcher.capability();
    if capability.blind_to != *said {
        said.clone_from(&capability.blind_to);
        watcher.collector.push(CollectorEvent::Capability(capability));
    }
}

/// Sends what has been gathered; the watermark goes with the last batch.
fn send(watcher: &mut Watcher, sink: &Sink, watermark_ns: i64) -> Result<(), Closed> {
    let clock_offset_ns = clock_offset_ns();
    let batch =
        |events, watermark_ns| Batch { source: SOURCE, watermark_ns, clock_offset_ns, events };
    if !watcher.collector.is_empty() {
        let events = Events::Collector(std::mem::take(&mut watcher.collector));
        sink.send(batch(events, None))?;
    }
    let mut files = std::mem::take(&mut watcher.files);
    while files.len() > BATCH_EVENTS_MAX {
        let rest = files.split_off(BATCH_EVENTS_MAX);
        sink.send(batch(Events::File(std::mem::replace(&mut files, rest)), None))?;
    }
    sink.send(batch(Events::File(files), Some(watermark_ns)))
}
