//! The one thread that writes to the store.
//!
//! It appends each batch as it comes, so that a row is visible to readers at once, and syncs on
//! the configured interval. After a sync it notes, per source, the watermark up to which all is on
//! disk: from there on a later start reports `daemon_down`.
//!
//! When the store refuses rows (a full disk), their events are counted and the loop goes on; the
//! first batch that can be written again is preceded by what was lost (see `losses`).

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context;
use bygone_store::Writer;

use super::damage;
use super::expiry;
use super::losses::Losses;
use super::sources::{self, Tee};
use crate::config::Sync as SyncPolicy;
use crate::events::{CollectorEvent, Gap, GapReason};
use crate::publish::{Batch, Events};
use crate::tables;

/// How long the heartbeat file may be behind what is on disk.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How long the loop waits for a batch before it looks at rotation and the clock.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Gaps that wait for the store to take rows again; with more, the oldest are dropped.
const UNTOLD_MAX: usize = 1024;

/// The store's writer and what it still owes the disk.
pub(super) struct WriterLoop {
    writer: Writer,
    sync: SyncPolicy,
    /// Per source, the watermark up to which everything was appended.
    ///
    /// A source that is not there in this run keeps the one it had, so that its gap grows.
    watermarks: BTreeMap<String, i64>,
    /// Whether anything was appended since the last sync.
    unsynced: bool,
    synced_at: Instant,
    heartbeat_at: Instant,
    /// Sources in the last heartbeat.
    noted: usize,
    /// Events that the store refused.
    losses: Losses,
    /// What the store gave up or could not read back, and is not yet told.
    untold: Vec<Gap>,
    /// Whether the last rotation failed, which is said once.
    rotation_failed: bool,
    /// Who else is shown the batches.
    tees: Vec<Tee>,
}

impl WriterLoop {
    /// `watermarks` are those of the run before; `tees` are shown every batch.
    pub(super) fn new(
        writer: Writer,
        sync: SyncPolicy,
        watermarks: &[(String, i64)],
        tees: Vec<Tee>,
    ) -> Self {
        let now = Instant::now();
        Self {
            writer,
            sync,
            watermarks: watermarks.iter().cloned().collect(),
            unsynced: false,
            synced_at: now,
            heartbeat_at: now,
            noted: watermarks.len(),
            losses: Losses::default(),
            untold: Vec::new(),
            rotation_failed: false,
            tees,
        }
    }

    /// Appends batches until every sender is gone, then syncs, seals and closes the store. Says how
    /// many events it could not store.
    pub(super) fn run(mut self, batches: &Receiver<Batch>) -> anyhow::Result<u64> {
        loop {
            match batches.recv_timeout(self.wait()) {
                Ok(batch) => self.take(batch),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.keep_up();
        }
        self.tell_losses();
        self.report();
        self.sync();
        self.heartbeat();
        self.writer.close().context("closing the store")?;
        Ok(self.losses.total)
    }

    /// How long to wait for a batch before something else is due.
    fn wait(&self) -> Duration {
        match self.sync {
            SyncPolicy::Every(interval) if self.unsynced => {
                interval.saturating_sub(self.synced_at.elapsed()).min(WAIT_MAX)
            }
            SyncPolicy::Always | SyncPolicy::Every(_) | SyncPolicy::Never => WAIT_MAX,
        }
    }

    fn take(&mut self, mut batch: Batch) {
        self.writer.set_clock_offset(batch.clock_offset_ns);
        if let Events::Collector(events) = &mut batch.events {
            events.iter_mut().for_each(|event| self.complete(event));
        }
        self.tees.iter().for_each(|tee| tee(&batch));
        let (source, watermark_ns) = (batch.source, batch.watermark_ns);
        if batch.events.count() > 0 {
            self.append(batch);
        }
        if let Some(watermark_ns) = watermark_ns
            && self.losses.is_empty()
        {
            self.watermarks.insert(source.to_owned(), watermark_ns);
            // What it stands in for was not down meanwhile, but not in use.
            for other in sources::stand_ins(source) {
                self.watermarks.remove(other);
            }
        }
    }

    /// Adds to what a publisher says of itself what only the writer knows: which events were
    /// refused, and up to where a source that failed was complete. It took with it what it had
    /// read and not sent.
    fn complete(&mut self, event: &mut CollectorEvent) {
        match event {
            CollectorEvent::Ledger(entry) => self.losses.correct(entry),
            CollectorEvent::Gap(gap) if gap.reason == GapReason::PublisherDown => {
                let complete_ns = self.watermarks.get(&gap.source);
                gap.time_ns = complete_ns.map_or(gap.time_ns, |at| gap.time_ns.min(*at));
            }
            CollectorEvent::Gap(_) | CollectorEvent::Capability(_) | CollectorEvent::Audit(_) => {}
        }
    }

    fn append(&mut self, batch: Batch) {
        if !self.tell_losses() {
            let all: Vec<usize> = (0..batch.events.count()).collect();
            self.refuse(batch, &all);
            return;
        }
        let outcome = tables::append(&mut self.writer, &batch.events);
        self.unsynced |= outcome.rows > 0;
        if let Some(error) = outcome.error {
            let error = anyhow::Error::from(error);
            tracing::error!(
                error = format!("{error:#}"),
                source = batch.source,
                "The store refuses rows; counting them as lost until it takes them again"
            );
            self.refuse(batch, &outcome.refused);
        }
    }

    fn refuse(&mut self, batch: Batch, refused: &[usize]) {
        let complete_ns = self.watermarks.get(batch.source).copied();
        self.losses.refuse(batch, refused, complete_ns.unwrap_or_else(super::time::now_ns));
    }

    /// Writes what was lost; says whether the store takes rows.
    fn tell_losses(&mut self) -> bool {
        if self.losses.is_empty() {
            return true;
        }
        let events = Events::Collector(self.losses.take());
        let outcome = tables::append(&mut self.writer, &events);
        self.unsynced |= outcome.rows > 0;
        if let Events::Collector(events) = events {
            self.losses.put_back(events, &outcome.refused);
        }
        let told = outcome.error.is_none();
        if told {
            tracing::warn!(lost = self.losses.total, "The store takes rows again");
        }
        told
    }

    /// Rotates, syncs and notes the watermarks, each when it is due.
    fn keep_up(&mut self) {
        match self.writer.tick() {
            Ok(()) => self.rotation_failed = false,
            Err(error) if !self.rotation_failed => {
                self.rotation_failed = true;
                warn(&error.into(), "The journal could not be rotated; going on with the old one");
            }
            Err(_) => {}
        }
        self.report();
        let sync_due = match self.sync {
            SyncPolicy::Always => true,
            SyncPolicy::Every(interval) => self.synced_at.elapsed() >= interval,
            SyncPolicy::Never => false,
        };
        // A source that is new is noted at once: without a watermark there is no gap after a crash.
        let heartbeat_due =
            self.heartbeat_at.elapsed() >= HEARTBEAT_INTERVAL || self.noted < self.watermarks.len();
        if (self.unsynced && sync_due) || heartbeat_due {
            self.sync();
        }
        if heartbeat_due {
            self.heartbeat();
        }
    }

    /// Makes gaps of what the store gave up, and of what it could not read back. While it refuses
    /// rows, they wait.
    fn report(&mut self) {
        let known = self.untold.len();
        self.untold.extend(self.writer.take_damage().iter().filter_map(damage::gap));
        self.untold.extend(self.writer.take_expired().iter().map(expiry::gap));
        let news = self.untold.len() > known;
        let over = self.untold.len().saturating_sub(UNTOLD_MAX);
        if over > 0 {
            self.untold.drain(..over);
            tracing::warn!(gaps = over, "The store refuses rows; too much is missing to tell all");
        }
        if self.untold.is_empty() || !self.losses.is_empty() {
            return;
        }
        let gaps = self.untold.iter().cloned().map(CollectorEvent::Gap).collect();
        let outcome = tables::append(&mut self.writer, &Events::Collector(gaps));
        self.unsynced |= outcome.rows > 0;
        let mut refused = outcome.refused.iter().peekable();
        let mut index = 0;
        self.untold.retain(|_| {
            let kept = refused.next_if(|refused| **refused == index).is_some();
            index += 1;
            kept
        });
        if let Some(error) = outcome.error.filter(|_| news) {
            warn(&error.into(), "What is missing could not be recorded; trying again");
        }
    }

    fn sync(&mut self) {
        self.synced_at = Instant::now();
        if !self.unsynced {
            return;
        }
        match self.writer.sync() {
            Ok(_) => self.unsynced = false,
            Err(error) => warn(&error.into(), "Rows could not be synced to disk; trying again"),
        }
    }

    /// Notes the watermarks, unless rows before them may not be on disk. What was refused is only
    /// told by the watermarks standing still until its gap is written.
    fn heartbeat(&mut self) {
        self.heartbeat_at = Instant::now();
        if self.unsynced || !self.losses.is_empty() {
            return;
        }
        let watermarks: Vec<(&str, i64)> =
            self.watermarks.iter().map(|(source, at)| (source.as_str(), *at)).collect();
        match self.writer.heartbeat(&watermarks) {
            Ok(()) => self.noted = watermarks.len(),
            Err(error) => warn(&error.into(), "The heartbeat could not be written; trying again"),
        }
    }
}

fn warn(error: &anyhow::Error, message: &str) {
    tracing::warn!(error = format!("{error:#}"), "{message}");
}
