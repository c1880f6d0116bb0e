//! The publisher against the real kernel, on temporary folders.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::stat::Stat;
use super::tree::NotWatched;
use super::{FileInotify, FileInotifyConfig};
use crate::events::FileAction::{
    AttributesModified, Created, Deleted, MovedFrom, MovedTo, Updated,
};
use crate::events::{CollectorEvent, FileAction, FileEvent, Gap, GapReason, LedgerEntry};
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
        let patterns = patterns
            .iter()
            .map(pattern)
            .map(|path| path.replace("//", "/"))
            .collect();
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
        self.told(files)
            .into_iter()
            .filter(|told| *told == wanted)
            .count()
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
        Self {
            batches,
            stop,
            thread,
            files,
            collector,
            watermark_ns: i64::MIN,
        }
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
            Events::Process(_) => panic!("files are not processes"),
        }
        if let Some(watermark_ns) = batch.watermark_ns {
            assert!(watermark_ns >= self.watermark_ns, "the watermark went back");
            self.watermark_ns = watermark_ns;
        }
    }

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
            files
                .iter()
                .any(|event| event.target_path == path && event.action == Updated)
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
            CollectorEvent::Gap(_) | CollectorEvent::Capability(_) => None,
        })
        .collect();
    for entry in &entries {
        assert_eq!(
            entry.seen,
            entry.stored + entry.filtered + entry.merged + entry.lost
        );
        let end_ns = entry.time_ns + 10_000_000_000;
        let of_bucket = files
            .iter()
            .filter(|event| (entry.time_ns..end_ns).contains(&event.time_ns));
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
            CollectorEvent::Ledger(_) | CollectorEvent::Capability(_) => None,
        })
        .collect()
}

#[test]
fn each_action_is_told_in_order() {
    let folder = Folder::new();
    let mut running = folder.watch(&["%%"]);
    fs::write(folder.path("f"), "one").unwrap();
    fs::set_permissions(folder.path("f"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(folder.path("f"), folder.path("g")).unwrap();
    fs::hard_link(folder.path("g"), folder.path("h")).unwrap();
    fs::remove_file(folder.path("g")).unwrap();
    running.until_marker(&folder.path("end"));
    let (files, _) = running.finish();
    let told = folder.told(&files);
    let expected = [
        (Created, "f"),
        (Updated, "f"),
        (AttributesModified, "f"),
        (MovedFrom, "f"),
        (MovedTo, "g"),
        (Created, "h"),
        (Deleted, "g"),
        (Created, "end"),
        (Updated, "end"),
    ];
    let expected = expected.map(|(action, path)| (action, path.to_owned()));
    assert_eq!(told, expected);
    assert!(
        files
            .iter()
            .all(|event| !event.found_by_scan && event.category == "test")
    );
    assert_ne!(files[3].transaction_id, 0);
    assert_eq!(files[3].transaction_id, files[4].transaction_id);
    let (gone, linked) = (files[6].stat, files[5].stat.unwrap());
    assert_eq!(gone, None);
    assert_eq!((linked.size, linked.mode & 0o777), (3, 0o600));
}

#[test]
fn entries_of_new_directories_are_told_exactly_once() {
    const ROUNDS: usize = 200;
    let folder = Folder::new();
    let mut running = folder.watch(&["%%"]);
    let make = |round: usize| {
        let deep = folder.path(&format!("{round}/a/b/c"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("f"), "x").unwrap();
    };
    std::thread::scope(|scope| {
        scope.spawn(|| (0..ROUNDS / 2).for_each(make));
        scope.spawn(|| (ROUNDS / 2..ROUNDS).for_each(make));
    });
    running.until("all files", |files| {
        files
            .iter()
            .filter(|event| event.target_path.ends_with("/a/b/c/f"))
            .count()
            >= ROUNDS
    });
    running.until_marker(&folder.path("end"));
    let (files, collector) = running.finish();
    let mut created: HashMap<String, usize> = HashMap::new();
    for (action, path) in folder.told(&files) {
        if action == Created {
            *created.entry(path).or_default() += 1;
        }
    }
    for round in 0..ROUNDS {
        for below in ["", "/a", "/a/b", "/a/b/c", "/a/b/c/f"] {
            assert_eq!(
                created.remove(&format!("{round}{below}")),
                Some(1),
                "{round}{below}"
            );
        }
    }
    assert_eq!(created, HashMap::from([("end".to_owned(), 1)]));
    assert_eq!(gaps(&collector), Vec::<&Gap>::new());
}

#[test]
fn short_lived_trees_leave_no_watch() {
    let folder = Folder::new();
    let mut publisher = FileInotify::attach(&folder.config(&["%%"])).unwrap();
    let before = publisher.directory_count();
    let mut buffer = vec![0; 65_536];
    let mut retry_at = Instant::now();
    for round in 0..100 {
        let top = folder.path(&format!("{round}"));
        fs::create_dir_all(top.join("a/b")).unwrap();
        publisher.round(&mut buffer, &mut retry_at).unwrap();
        fs::remove_dir_all(&top).unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    while publisher.directory_count() != before && Instant::now() < deadline {
        publisher.round(&mut buffer, &mut retry_at).unwrap();
    }
    assert_eq!(publisher.directory_count(), before);
}

#[test]
fn an_overflow_is_a_gap_and_its_changes_are_found() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let folder = Folder::new();
    for old in ["kept", "changed", "removed", "chmodded", "tree/below/f"] {
        fs::create_dir_all(folder.path(old).parent().unwrap()).unwrap();
        fs::write(folder.path(old), "old").unwrap();
    }
    fs::create_dir(folder.path("many")).unwrap();
    let publisher = FileInotify::attach(&folder.config(&["%%"])).unwrap();
    // Two events each, so that the queue is full long before the end.
    let count = limit * 3 / 4;
    for number in 0..count {
        fs::write(folder.path(&format!("many/{number}")), "").unwrap();
    }
    fs::write(folder.path("changed"), "longer than before").unwrap();
    fs::remove_file(folder.path("removed")).unwrap();
    fs::set_permissions(folder.path("chmodded"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_dir_all(folder.path("tree")).unwrap();
    fs::create_dir_all(folder.path("new/deep")).unwrap();
    fs::write(folder.path("new/deep/f"), "").unwrap();
    let mut running = Running::start(publisher);
    let last = folder.path("new/deep/f").display().to_string();
    running.until("the rescan", |files| {
        files.iter().any(|event| event.target_path == last)
    });
    running.until_marker(&folder.path("new/deep/end"));
    let (files, collector) = running.finish();

    let overflows = gaps(&collector);
    assert_eq!(overflows.len(), 1);
    assert_eq!(
        (overflows[0].reason, overflows[0].lost),
        (GapReason::SourceOverflow, None)
    );
    assert!(overflows[0].time_ns <= overflows[0].end_ns);
    let mut created: HashMap<String, usize> = HashMap::new();
    for (_, path) in folder
        .told(&files)
        .into_iter()
        .filter(|(action, _)| *action == Created)
    {
        *created.entry(path).or_default() += 1;
    }
    for number in 0..count {
        assert_eq!(
            created.get(&format!("many/{number}")),
            Some(&1),
            "many/{number}"
        );
    }
    let found = |action, path: &str| {
        let told = folder.count(&files, action, path);
        let whole = folder.path(path).display().to_string();
        let scanned = files.iter().filter(|event| event.target_path == whole);
        (
            told,
            scanned
                .filter(|event| event.action == action)
                .all(|event| event.found_by_scan),
        )
    };
    assert_eq!(found(Updated, "changed"), (1, true));
    assert_eq!(found(Deleted, "removed"), (1, true));
    assert_eq!(found(AttributesModified, "chmodded"), (1, true));
    for gone in ["tree", "tree/below", "tree/below/f"] {
        assert_eq!(found(Deleted, gone), (1, true), "{gone}");
    }
    for new in ["new", "new/deep", "new/deep/f"] {
        assert_eq!(found(Created, new), (1, true), "{new}");
    }
    let kept = folder.path("kept").display().to_string();
    assert!(
        files.iter().all(|event| event.target_path != kept),
        "nothing happened to it"
    );
}

#[test]
fn a_renamed_directory_keeps_its_watches_under_the_new_path() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("old/sub")).unwrap();
    let mut running = folder.watch(&["%%"]);
    fs::rename(folder.path("old"), folder.path("new")).unwrap();
    fs::write(folder.path("new/f"), "").unwrap();
    fs::write(folder.path("new/sub/g"), "").unwrap();
    // The old path is another directory now.
    fs::create_dir(folder.path("old")).unwrap();
    fs::write(folder.path("old/h"), "").unwrap();
    running.until_marker(&folder.path("end"));
    running.until("h", |files| {
        files
            .iter()
            .any(|event| event.target_path.ends_with("/old/h"))
    });
    let (files, _) = running.finish();
    for path in ["new/f", "new/sub/g", "old", "old/h"] {
        assert_eq!(folder.count(&files, Created, path), 1, "{path}");
    }
    assert_eq!(folder.count(&files, MovedFrom, "old"), 1);
    assert_eq!(folder.count(&files, MovedTo, "new"), 1);
    assert_eq!(
        folder.count(&files, Created, "new/sub"),
        0,
        "it was there before"
    );
}

#[test]
fn directories_move_in_and_out() {
    let (folder, outside) = (Folder::new(), Folder::new());
    fs::create_dir_all(folder.path("leaves/sub")).unwrap();
    fs::create_dir_all(outside.path("comes/sub")).unwrap();
    fs::write(outside.path("comes/sub/f"), "").unwrap();
    let mut running = folder.watch(&["%%"]);
    fs::rename(folder.path("leaves"), outside.path("left")).unwrap();
    fs::rename(outside.path("comes"), folder.path("came")).unwrap();
    running.until("f", |files| {
        files
            .iter()
            .any(|event| event.target_path.ends_with("/sub/f"))
    });
    // Not watched any longer.
    fs::write(outside.path("left/sub/secret"), "").unwrap();
    fs::write(folder.path("came/sub/g"), "").unwrap();
    running.until_marker(&folder.path("end"));
    let (files, _) = running.finish();
    assert_eq!(folder.count(&files, MovedFrom, "leaves"), 1);
    assert_eq!(folder.count(&files, MovedTo, "came"), 1);
    for path in ["came/sub", "came/sub/f", "came/sub/g"] {
        assert_eq!(folder.count(&files, Created, path), 1, "{path}");
    }
    assert!(
        files
            .iter()
            .all(|event| !event.target_path.contains("secret"))
    );
}

#[test]
fn names_need_not_be_utf8() {
    let folder = Folder::new();
    let mut running = folder.watch(&["%%"]);
    let name = OsStr::from_bytes(b"na\xffme\n");
    fs::create_dir(folder.path("").join(name)).unwrap();
    fs::write(folder.path("").join(name).join("f"), "").unwrap();
    running.until("f", |files| {
        files.iter().any(|event| event.target_path.ends_with("/f"))
    });
    let (files, _) = running.finish();
    assert_eq!(folder.count(&files, Created, "na\\xffme\n"), 1);
    assert_eq!(folder.count(&files, Created, "na\\xffme\n/f"), 1);
}

#[test]
fn a_path_that_comes_later_is_watched_then() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("home/ann")).unwrap();
    let mut running = folder.watch(&["home/%/.ssh/%%", "later/on/%%"]);
    for below in [
        "home/ann/.ssh",
        "home/bob/.ssh",
        "home/bob/mail",
        "later/on/top",
    ] {
        fs::create_dir_all(folder.path(below)).unwrap();
        fs::write(folder.path(below).join("f"), "").unwrap();
    }
    running.until("f", |files| {
        files
            .iter()
            .any(|event| event.target_path.ends_with("top/f"))
    });
    running.until_marker(&folder.path("home/ann/.ssh/end"));
    let (files, _) = running.finish();
    let mut created: Vec<String> = folder
        .told(&files)
        .into_iter()
        .map(|(_, path)| path)
        .collect();
    created.sort_unstable();
    created.dedup();
    let expected = [
        "home/ann/.ssh",
        "home/ann/.ssh/end",
        "home/ann/.ssh/f",
        "home/bob/.ssh",
        "home/bob/.ssh/f",
        "later/on",
        "later/on/top",
        "later/on/top/f",
    ];
    assert_eq!(created, expected);
}

#[test]
fn what_is_left_out_is_not_told() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("data/journal")).unwrap();
    let mut config = folder.config(&["%%"]);
    config.exclude = vec![folder.path("data").display().to_string()];
    let mut running = Running::start(FileInotify::attach(&config).unwrap());
    fs::write(folder.path("data/journal/1"), "").unwrap();
    fs::set_permissions(folder.path("data"), fs::Permissions::from_mode(0o700)).unwrap();
    running.until_marker(&folder.path("end"));
    let (files, collector) = running.finish();
    assert!(
        files
            .iter()
            .all(|event| !event.target_path.contains("/data"))
    );
    let filtered = |event: &CollectorEvent| match event {
        CollectorEvent::Ledger(entry) => entry.filtered,
        CollectorEvent::Gap(_) | CollectorEvent::Capability(_) => 0,
    };
    // The change of mode is seen in the folder above; what is inside is not watched at all.
    assert!(collector.iter().map(filtered).sum::<u64>() >= 1);
}

#[test]
fn a_write_without_a_close_is_told() {
    let folder = Folder::new();
    fs::write(folder.path("log"), "").unwrap();
    let mut running = folder.watch(&["%%"]);
    let mut log = fs::OpenOptions::new()
        .append(true)
        .open(folder.path("log"))
        .unwrap();
    for _ in 0..10 {
        log.write_all(b"line\n").unwrap();
    }
    running.until("the open log", |files| {
        files.iter().any(|event| event.action == Updated)
    });
    let size = running.files[0].stat.unwrap().size;
    assert_eq!(size, 50);
    log.write_all(b"line\n").unwrap();
    drop(log);
    running.until("the close", |files| files.len() > 1);
    let (files, collector) = running.finish();
    assert_eq!(
        folder.count(&files, Updated, "log"),
        2,
        "one while open, one at the close"
    );
    let merged = |event: &CollectorEvent| match event {
        CollectorEvent::Ledger(entry) => entry.merged,
        CollectorEvent::Gap(_) | CollectorEvent::Capability(_) => 0,
    };
    // The write before the close waited for it; of the first ten the kernel may have merged some
    // itself, and one became the first row.
    assert!((1..=10).contains(&collector.iter().map(merged).sum::<u64>()));
}

#[test]
fn what_is_made_while_watches_are_set_up_is_told_once() {
    let folder = Folder::new();
    for number in 0..300 {
        fs::create_dir_all(folder.path(&format!("z{number}/below"))).unwrap();
    }
    let config = folder.config(&["%%"]);
    let (publisher, made) = std::thread::scope(|scope| {
        let (go, wait) = sync_channel(0);
        let maker = scope.spawn(|| {
            wait.into_iter().next();
            let made: Vec<String> = (0..400)
                .map(|number| format!("z{}/{number}/f", number % 300))
                .collect();
            for path in &made {
                fs::create_dir(folder.path(path).parent().unwrap()).unwrap();
                fs::write(folder.path(path), "").unwrap();
            }
            made
        });
        go.send(()).unwrap();
        let publisher = FileInotify::attach(&config).unwrap();
        (publisher, maker.join().unwrap())
    });
    let attached_ns = publisher.watcher_attached_ns();
    let mut running = Running::start(publisher);
    running.until_marker(&folder.path("end"));
    let (files, _) = running.finish();
    let mut told_count = 0;
    for path in made {
        let stat = Stat::of_path(&folder.path(&path)).unwrap();
        let Some(btime_ns) = stat.btime_ns else {
            return;
        };
        let told = folder.count(&files, Created, &path);
        let expected = usize::from(btime_ns >= attached_ns);
        assert_eq!(
            told,
            expected,
            "{path}, made {} ns after attaching",
            btime_ns - attached_ns
        );
        told_count += told;
    }
    assert!(told_count > 0, "nothing was made while watches were set up");
}

#[test]
fn limits_are_said_in_words() {
    let folder = Folder::new();
    for number in 0..20 {
        fs::write(folder.path(&format!("{number}")), "").unwrap();
    }
    let config = FileInotifyConfig {
        baseline_entries_max: 5,
        ..folder.config(&["%%"])
    };
    let mut publisher = FileInotify::attach(&config).unwrap();
    let blind_to = publisher.capabilities().remove(0).blind_to;
    assert!(
        blind_to.contains("1 directories whose entries the baseline has no room"),
        "{blind_to}"
    );

    let watcher = publisher.watcher_mut();
    watcher.block(folder.path("a"), NotWatched::Limit);
    watcher.block(folder.path("b"), NotWatched::Limit);
    watcher.report_blocked();
    watcher.report_blocked();
    assert_eq!(gaps(&watcher.collector).len(), 1, "one gap for one rise");
    let blind_to = publisher.capabilities().remove(0).blind_to;
    assert!(
        blind_to.contains("2 directories and all below them, beyond fs.inotify"),
        "{blind_to}"
    );
}

#[test]
fn attaching_says_why_it_cannot() {
    let pattern = |text: &str| FileInotifyConfig {
        categories: BTreeMap::from([("test".to_owned(), vec![text.to_owned()])]),
        ..FileInotifyConfig::default()
    };
    let error = FileInotify::attach(&pattern("relative")).unwrap_err();
    assert_eq!(error.to_string(), "the paths to watch cannot be used");
    let error = FileInotify::attach(&FileInotifyConfig {
        categories: BTreeMap::new(),
        ..FileInotifyConfig::default()
    });
    assert_eq!(
        error.unwrap_err().to_string(),
        "not one of the configured directories can be watched"
    );
}
