//! The publisher against the real kernel, on temporary folders.

mod loss;
mod model;
mod told;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{FileInotify, FileInotifyConfig};
use crate::events::FileAction::Updated;
use crate::events::{CollectorEvent, FileAction, FileEvent, Gap, LedgerEntry};
use crate::publish::{Batch, CHANNEL_BATCHES_MAX, Events, PublishError, Publisher, Stop};

/// How long a condition may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with everything below it watched.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(below)
    }

    fn config(&self, patterns: &[&str]) -> FileInotifyConfig {
        let pattern = |below: &&str| format!("{}/{below}", self.path("").display());
        let patterns = patterns.iter().map(pattern).map(|path| path.replace("//", "/")).collect();
        FileInotifyConfig {
            categories: BTreeMap::from([("test".to_owned(), patterns)]),
            exclude: Vec::new(),
            ..FileInotifyConfig::default()
        }
    }

    fn watch(&self, patterns: &[&str]) -> Running {
        Running::start(FileInotify::attach(&self.config(patterns)).unwrap())
    }

    /// Events without those of folders above, as action and path below this folder.
    fn told(&self, files: &[FileEvent]) -> Vec<(FileAction, String)> {
        let front = format!("{}/", self.path("").display()).replace("//", "/");
        let below = |event: &FileEvent| {
            let path = event.target_path.strip_prefix(&front)?;
            Some((event.action, path.to_owned()))
        };
        files.iter().filter_map(below).collect()
    }

    fn count(&self, files: &[FileEvent], action: FileAction, below: &str) -> usize {
        let wanted = (action, below.to_owned());
        self.told(files).into_iter().filter(|told| *told == wanted).count()
    }
}

/// A publisher on its thread.
struct Running {
    batches: Receiver<Batch>,
    stop: Stop,
    thread: JoinHandle<Result<(), PublishError>>,
    files: Vec<FileEvent>,
    collector: Vec<CollectorEvent>,
    watermark_ns: i64,
}

impl Running {
    fn start(publisher: FileInotify) -> Self {
        let (sink, batches) = sync_channel(CHANNEL_BATCHES_MAX);
        let stop = Stop::default();
        let its_stop = stop.clone();
        let thread = std::thread::spawn(move || Box::new(publisher).run(&sink, &its_stop));
        let (files, collector) = (Vec::new(), Vec::new());
        Self { batches, stop, thread, files, collector, watermark_ns: i64::MIN }
    }

    fn take(&mut self, batch: Batch) {
        match batch.events {
            Events::File(files) => {
                for event in files {
                    assert!(event.time_ns >= self.watermark_ns, "{event:?} is late");
                    self.files.push(event);
                }
            }
            Events::Collector(events) => self.collector.extend(events),
            Events::Process(_) | Events::Summary(_) | Events::Action(_) | Events::Executable(_) => {
                panic!("files are not processes")
            }
        }
        if let Some(watermark_ns) = batch.watermark_ns {
            assert!(watermark_ns >= self.watermark_ns, "the watermark went back");
            self.watermark_ns = watermark_ns;
        }
    }

    /// Takes batches until `done` of all events so far.
    fn until(&mut self, what: &str, done: impl Fn(&[FileEvent]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.files) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(batch) = self.batches.recv_timeout(left) else {
                panic!("waited in vain for: {what}; told: {:#?}", self.files);
            };
            self.take(batch);
        }
    }

    /// Makes one more file and waits until it is told, so that all before it has been told.
    fn until_marker(&mut self, path: &Path) {
        fs::write(path, "").unwrap();
        let path = path.display().to_string();
        self.until("marker", |files| {
            files.iter().any(|event| event.target_path == path && event.action == Updated)
        });
    }

    fn finish(mut self) -> (Vec<FileEvent>, Vec<CollectorEvent>) {
        self.stop.set();
        while let Ok(batch) = self.batches.recv_timeout(PATIENCE) {
            self.take(batch);
        }
        self.thread.join().unwrap().unwrap();
        check_books(&self.files, &self.collector);
        (self.files, self.collector)
    }
}

/// The ledger adds up, and its stored events are the events that were sent.
fn check_books(files: &[FileEvent], collector: &[CollectorEvent]) {
    let entries: Vec<&LedgerEntry> = collector
        .iter()
        .filter_map(|event| match event {
            CollectorEvent::Ledger(entry) => Some(entry),
            CollectorEvent::Gap(_) | CollectorEvent::Capability(_) | CollectorEvent::Audit(_) => {
                None
            }
        })
        .collect();
    for entry in &entries {
        assert_eq!(entry.seen, entry.stored + entry.filtered + entry.merged + entry.lost);
        let end_ns = entry.time_ns + 10_000_000_000;
        let of_bucket =
            files.iter().filter(|event| (entry.time_ns..end_ns).contains(&event.time_ns));
        assert_eq!(entry.stored, of_bucket.count() as u64, "{entry:?}");
    }
    let stored: u64 = entries.iter().map(|entry| entry.stored).sum();
    assert_eq!(stored, files.len() as u64);
}

fn gaps(collector: &[CollectorEvent]) -> Vec<&Gap> {
    collector
        .iter()
        .filter_map(|event| match event {
            CollectorEvent::Gap(gap) => Some(gap),
            CollectorEvent::Ledger(_)
            | CollectorEvent::Capability(_)
            | CollectorEvent::Audit(_) => None,
        })
        .collect()
}
