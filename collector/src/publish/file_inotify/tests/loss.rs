//! What is lost, found again, and said to be out of sight.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use super::{Folder, PATIENCE, Running, gaps};
use crate::events::FileAction::{AttributesModified, Created, Deleted, Updated};
use crate::events::GapReason;
use crate::publish::Publisher;
use crate::publish::file_inotify::stat::Stat;
use crate::publish::file_inotify::tree::NotWatched;
use crate::publish::file_inotify::{FileInotify, FileInotifyConfig};

/// One change of each kind that a rescan has to find.
fn change_each_kind(folder: &Folder) {
    fs::write(folder.path("changed"), "longer than before").unwrap();
    fs::remove_file(folder.path("removed")).unwrap();
    fs::set_permissions(folder.path("chmodded"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_dir_all(folder.path("tree")).unwrap();
    fs::create_dir_all(folder.path("new/deep")).unwrap();
    fs::write(folder.path("new/deep/f"), "").unwrap();
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
    change_each_kind(&folder);
    let mut running = Running::start(publisher);
    let last = folder.path("new/deep/f").display().to_string();
    running.until("the rescan", |files| files.iter().any(|event| event.target_path == last));
    running.until_marker(&folder.path("new/deep/end"));
    let (files, collector) = running.finish();

    let overflows = gaps(&collector);
    assert_eq!(overflows.len(), 1);
    assert_eq!((overflows[0].reason, overflows[0].lost), (GapReason::SourceOverflow, None));
    assert!(overflows[0].time_ns <= overflows[0].end_ns);
    let mut created: HashMap<String, usize> = HashMap::new();
    for (_, path) in folder.told(&files).into_iter().filter(|(action, _)| *action == Created) {
        *created.entry(path).or_default() += 1;
    }
    for number in 0..count {
        assert_eq!(created.get(&format!("many/{number}")), Some(&1), "many/{number}");
    }
    let found = |action, path: &str| {
        let told = folder.count(&files, action, path);
        let whole = folder.path(path).display().to_string();
        let scanned = files.iter().filter(|event| event.target_path == whole);
        (told, scanned.filter(|event| event.action == action).all(|event| event.found_by_scan))
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
    assert!(files.iter().all(|event| event.target_path != kept), "nothing happened to it");
}

#[test]
fn what_is_made_while_watches_are_set_up_is_told_once() {
    // Which of the two is faster is chance.
    const TRIES: usize = 10;
    let told = (0..TRIES).any(|_| told_while_watches_are_set_up() > 0);
    assert!(told, "nothing was made while watches were set up");
}

/// Makes folders and files while watches are set up below them. Each must be told once if it came after
/// that began; says how many came.
fn told_while_watches_are_set_up() -> usize {
    let folder = Folder::new();
    for number in 0..300 {
        fs::create_dir_all(folder.path(&format!("z{number}/below"))).unwrap();
    }
    let config = folder.config(&["%%"]);
    let (publisher, made) = std::thread::scope(|scope| {
        let (go, wait) = sync_channel(0);
        let maker = scope.spawn(|| {
            wait.into_iter().next();
            let made: Vec<String> =
                (0..400).map(|number| format!("z{}/{number}/f", number % 300)).collect();
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
        // Where the file system does not tell, it cannot be said what came first.
        let Some(btime_ns) = stat.btime_ns else {
            return 1;
        };
        let told = folder.count(&files, Created, &path);
        let expected = usize::from(btime_ns >= attached_ns);
        assert_eq!(told, expected, "{path}, made {} ns after attaching", btime_ns - attached_ns);
        told_count += told;
    }
    told_count
}

#[test]
fn limits_are_said_in_words() {
    let folder = Folder::new();
    for number in 0..20 {
        fs::write(folder.path(&format!("{number}")), "").unwrap();
    }
    let config = FileInotifyConfig { baseline_entries_max: 5, ..folder.config(&["%%"]) };
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
    assert!(blind_to.contains("2 directories and all below them, beyond fs.inotify"), "{blind_to}");
}

#[test]
fn attaching_says_why_it_cannot() {
    let pattern = |text: &str| FileInotifyConfig {
        categories: BTreeMap::from([("test".to_owned(), vec![text.to_owned()])]),
        ..FileInotifyConfig::default()
    };
    let error = FileInotify::attach(&pattern("relative")).unwrap_err();
    assert_eq!(error.to_string(), "the paths to watch cannot be used");
    assert_eq!(error.mend().as_deref(), Some("correct the pattern in the section [file]"));
    let error = FileInotify::attach(&FileInotifyConfig {
        categories: BTreeMap::new(),
        ..FileInotifyConfig::default()
    });
    assert_eq!(
        error.unwrap_err().to_string(),
        "not one of the configured directories can be watched"
    );
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
