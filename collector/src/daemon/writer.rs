//! The one thread that writes to the store.
//!
//! It appends each batch as it comes, so that a row is visible to readers at once, and syncs on
//! the configured interval. After a sync it notes, per source, the watermark up to which all is on
//! disk: from there on a later start reports `daemon_down`.
//!
//! When the store cannot take rows (a full disk), their events are counted and the loop goes on;
//! the first batch that can be written again is preceded by one `disk_full` gap for the whole
//! period.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context;
use bygone_store::Writer;

use super::damage;
use crate::config::Sync as SyncPolicy;
use crate::events::{CollectorEvent, Gap, GapReason};
use crate::publish::{Batch, Events};
use crate::tables;

/// How long the heartbeat file may be behind what is on disk.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How long the loop waits for a batch before it looks at rotation and the clock.
const WAIT_MAX: Duration = Duration::from_secs(1);

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
    /// Events that could not be written, as a gap that grows until one can.
    dropped: Option<Gap>,
}

impl WriterLoop {
    /// `watermarks` are those of the run before.
    pub(super) fn new(writer: Writer, sync: SyncPolicy, watermarks: &[(String, i64)]) -> Self {
        let now = Instant::now();
        Self {
            writer,
            sync,
            watermarks: watermarks.iter().cloned().collect(),
            unsynced: false,
            synced_at: now,
            heartbeat_at: now,
            noted: watermarks.len(),
            dropped: None,
        }
    }

    /// Appends batches until every sender is gone, then syncs, seals and closes the store.
    pub(super) fn run(mut self, batches: &Receiver<Batch>) -> anyhow::Result<()> {
        loop {
            match batches.recv_timeout(self.wait()) {
                Ok(batch) => self.take(batch),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.keep_up();
        }
        self.write_dropped();
        self.sync();
        self.heartbeat();
        self.writer.close().context("closing the store")
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
            events.iter_mut().for_each(|event| self.widen(event));
        }
        let stored = batch.events.count() == 0 || self.append(&batch);
        if let Some(watermark_ns) = batch.watermark_ns
            && stored
            && self.dropped.is_none()
        {
            self.watermarks.insert(batch.source.to_owned(), watermark_ns);
        }
    }

    /// A publisher that failed takes with it what it had read and not sent: its gap begins where
    /// its source was last complete.
    fn widen(&self, event: &mut CollectorEvent) {
        if let CollectorEvent::Gap(gap) = event
            && gap.reason == GapReason::PublisherDown
            && let Some(complete_ns) = self.watermarks.get(&gap.source)
        {
            gap.time_ns = gap.time_ns.min(*complete_ns);
        }
    }

    /// Appends a batch; says whether the store took it.
    fn append(&mut self, batch: &Batch) -> bool {
        if !self.write_dropped() {
            self.drop_events(batch);
            return false;
        }
        match tables::append(&mut self.writer, &batch.events) {
            Ok(_) => {
                self.unsynced = true;
                true
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::error!(
                    error = format!("{error:#}"),
                    source = batch.source,
                    "The store cannot take rows; counting them as lost"
                );
                self.drop_events(batch);
                false
            }
        }
    }

    fn drop_events(&mut self, batch: &Batch) {
        let now_ns = super::time::now_ns();
        let complete_ns = self.watermarks.get(batch.source).copied().unwrap_or(now_ns);
        let gap = self.dropped.get_or_insert_with(|| Gap {
            time_ns: now_ns,
            end_ns: now_ns,
            source: "*".to_owned(),
            reason: GapReason::DiskFull,
            lost: Some(0),
            detail: None,
        });
        gap.time_ns = gap.time_ns.min(complete_ns);
        gap.end_ns = now_ns;
        gap.lost = gap.lost.map(|lost| lost.saturating_add(batch.events.count() as u64));
    }

    /// Writes the gap of what was dropped; says whether the store takes rows again.
    fn write_dropped(&mut self) -> bool {
        let Some(gap) = self.dropped.take() else { return true };
        let events = Events::Collector(vec![CollectorEvent::Gap(gap.clone())]);
        let written = tables::append(&mut self.writer, &events).is_ok();
        if written {
            self.unsynced = true;
        } else {
            self.dropped = Some(gap);
        }
        written
    }

    /// Rotates, syncs and notes the watermarks, each when it is due.
    fn keep_up(&mut self) {
        if let Err(error) = self.writer.tick() {
            warn(&error.into(), "The journal could not be rotated; going on with the old one");
        }
        self.report_damage();
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

    /// Makes gaps of what the sealer could not read back.
    fn report_damage(&mut self) {
        let damage = self.writer.take_damage();
        let gaps: Vec<CollectorEvent> =
            damage.iter().filter_map(damage::gap).map(CollectorEvent::Gap).collect();
        if !gaps.is_empty() {
            match tables::append(&mut self.writer, &Events::Collector(gaps)) {
                Ok(_) => self.unsynced = true,
                Err(error) => warn(&error.into(), "Damage could not be recorded"),
            }
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

    /// Notes the watermarks, unless rows before them may not be on disk. What was dropped is only
    /// told by the watermarks standing still until its gap is written.
    fn heartbeat(&mut self) {
        self.heartbeat_at = Instant::now();
        if self.unsynced || self.dropped.is_some() {
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
