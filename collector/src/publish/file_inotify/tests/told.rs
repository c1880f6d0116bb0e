//! What the queue and the scans of new directories tell.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use super::{Folder, Running, gaps};
use crate::events::FileAction::{
    AttributesModified, Created, Deleted, MovedFrom, MovedTo, Updated,
};
use crate::events::{CollectorEvent, FileAction, Gap};
use crate::publish::file_inotify::FileInotify;
use crate::publish::file_inotify::watcher::now_ns;

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
    assert!(files.iter().all(|event| !event.found_by_scan && event.category == "test"));
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
        files.iter().filter(|event| event.target_path.ends_with("/a/b/c/f")).count() >= ROUNDS
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
            assert_eq!(created.remove(&format!("{round}{below}")), Some(1), "{round}{below}");
        }
    }
    assert_eq!(created, HashMap::from([("end".to_owned(), 1)]));
    assert_eq!(gaps(&collector), Vec::<&Gap>::new());
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
    running.until("h", |files| files.iter().any(|event| event.target_path.ends_with("/old/h")));
    let (files, _) = running.finish();
    for path in ["new/f", "new/sub/g", "old", "old/h"] {
        assert_eq!(folder.count(&files, Created, path), 1, "{path}");
    }
    assert_eq!(folder.count(&files, MovedFrom, "old"), 1);
    assert_eq!(folder.count(&files, MovedTo, "new"), 1);
    assert_eq!(folder.count(&files, Created, "new/sub"), 0, "it was there before");
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
    running.until("f", |files| files.iter().any(|event| event.target_path.ends_with("/sub/f")));
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
    assert!(files.iter().all(|event| !event.target_path.contains("secret")));
}

#[test]
fn names_need_not_be_utf8() {
    let folder = Folder::new();
    let mut running = folder.watch(&["%%"]);
    let name = OsStr::from_bytes(b"na\xffme\n");
    fs::create_dir(folder.path("").join(name)).unwrap();
    fs::write(folder.path("").join(name).join("f"), "").unwrap();
    running.until("f", |files| files.iter().any(|event| event.target_path.ends_with("/f")));
    let (files, _) = running.finish();
    assert_eq!(folder.count(&files, Created, "na\\xffme\n"), 1);
    assert_eq!(folder.count(&files, Created, "na\\xffme\n/f"), 1);
}

#[test]
fn a_path_that_comes_later_is_watched_then() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("home/ann")).unwrap();
    let mut running = folder.watch(&["home/%/.ssh/%%", "later/on/%%"]);
    for below in ["home/ann/.ssh", "home/bob/.ssh", "home/bob/mail", "later/on/top"] {
        fs::create_dir_all(folder.path(below)).unwrap();
        fs::write(folder.path(below).join("f"), "").unwrap();
    }
    running.until("f", |files| files.iter().any(|event| event.target_path.ends_with("top/f")));
    running.until_marker(&folder.path("home/ann/.ssh/end"));
    let (files, _) = running.finish();
    let mut created: Vec<String> = folder.told(&files).into_iter().map(|(_, path)| path).collect();
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
    assert!(files.iter().all(|event| !event.target_path.contains("/data")));
    let filtered = |event: &CollectorEvent| match event {
        CollectorEvent::Ledger(entry) => entry.filtered,
        CollectorEvent::Gap(_) | CollectorEvent::Capability(_) | CollectorEvent::Audit(_) => 0,
    };
    // The change of mode is seen in the folder above; what is inside is not watched at all.
    assert!(collector.iter().map(filtered).sum::<u64>() >= 1);
}

#[test]
fn a_write_without_a_close_is_told() {
    let folder = Folder::new();
    fs::write(folder.path("log"), "").unwrap();
    let mut running = folder.watch(&["%%"]);
    let mut log = fs::OpenOptions::new().append(true).open(folder.path("log")).unwrap();
    for _ in 0..10 {
        log.write_all(b"line\n").unwrap();
    }
    running.until("the open log", |files| files.iter().any(|event| event.action == Updated));
    let size = running.files[0].stat.unwrap().size;
    assert_eq!(size, 50);
    log.write_all(b"line\n").unwrap();
    drop(log);
    running.until("the close", |files| files.len() > 1);
    let (files, collector) = running.finish();
    assert_eq!(folder.count(&files, Updated, "log"), 2, "one while open, one at the close");
    let merged = |event: &CollectorEvent| match event {
        CollectorEvent::Ledger(entry) => entry.merged,
        CollectorEvent::Gap(_) | CollectorEvent::Capability(_) | CollectorEvent::Audit(_) => 0,
    };
    // The write before the close waited for it; of the first ten the kernel may have merged some
    // itself, and one became the first row.
    assert!((1..=10).contains(&collector.iter().map(merged).sum::<u64>()));
}

#[test]
fn a_directory_renamed_before_it_was_looked_at_is_found_under_its_new_path() {
    let folder = Folder::new();
    let mut publisher = FileInotify::attach(&folder.config(&["%%"])).unwrap();
    let mut buffer = vec![0; 65_536];
    fs::create_dir_all(folder.path("a/x")).unwrap();
    fs::write(folder.path("a/x/f"), "").unwrap();
    let batch = publisher.read(&mut buffer).unwrap();
    let watcher = publisher.watcher_mut();
    watcher.handle(now_ns(), batch);
    // One job: `a` is watched and listed, `a/x` waits.
    watcher.scan_until(Instant::now());
    assert_eq!(watcher.jobs.len(), 1);
    fs::rename(folder.path("a"), folder.path("b")).unwrap();
    let mut running = Running::start(publisher);
    running.until_marker(&folder.path("end"));
    let (files, _) = running.finish();
    assert_eq!(folder.count(&files, Created, "b/x/f"), 1);
}

#[test]
fn a_directory_looked_for_before_its_rename_is_told_is_found_all_the_same() {
    let folder = Folder::new();
    let mut publisher = FileInotify::attach(&folder.config(&["%%"])).unwrap();
    let mut buffer = vec![0; 65_536];
    fs::create_dir_all(folder.path("a/x")).unwrap();
    fs::write(folder.path("a/x/f"), "").unwrap();
    let batch = publisher.read(&mut buffer).unwrap();
    let watcher = publisher.watcher_mut();
    watcher.handle(now_ns(), batch);
    watcher.scan_until(Instant::now());
    assert_eq!(watcher.jobs.len(), 1, "`a` is listed, `a/x` waits");
    // Another `a/x` stands there before the queue has told where the first one went.
    fs::rename(folder.path("a"), folder.path("b")).unwrap();
    fs::create_dir_all(folder.path("a/x")).unwrap();
    fs::write(folder.path("a/x/g"), "").unwrap();
    watcher.scan_slice();
    assert_eq!((watcher.jobs.len(), watcher.astray.len()), (0, 1));
    let mut running = Running::start(publisher);
    running.until("g", |files| files.iter().any(|event| event.target_path.ends_with("/g")));
    running.until_marker(&folder.path("end"));
    let (files, _) = running.finish();
    for (path, count) in [("b/x/f", 1), ("a/x/g", 1), ("a/x/f", 0), ("b/x/g", 0)] {
        assert_eq!(folder.count(&files, Created, path), count, "{path}");
    }
}

#[test]
fn a_directory_found_before_the_end_of_the_last_one_there_is_told_anew() {
    let folder = Folder::new();
    let mut publisher = FileInotify::attach(&folder.config(&["%%"])).unwrap();
    let mut buffer = vec![0; 65_536];
    fs::create_dir(folder.path("a")).unwrap();
    let batch = publisher.read(&mut buffer).unwrap();
    let watcher = publisher.watcher_mut();
    watcher.handle(now_ns(), batch);
    fs::remove_dir(folder.path("a")).unwrap();
    fs::create_dir(folder.path("a")).unwrap();
    fs::write(folder.path("a/f"), "").unwrap();
    // It finds the second `a`, of which the queue has told nothing.
    watcher.scan_slice();
    let mut running = Running::start(publisher);
    running.until_marker(&folder.path("end"));
    let (files, _) = running.finish();
    let told = folder.told(&files);
    let last = |wanted: (FileAction, &str)| {
        let at = told.iter().rposition(|(action, path)| (*action, path.as_str()) == wanted);
        at.unwrap_or_else(|| panic!("{wanted:?} was not told"))
    };
    assert!(last((Deleted, "a")) < last((Created, "a")));
    assert!(last((Created, "a")) < last((Created, "a/f")));
}

#[test]
fn a_directory_renamed_over_one_that_a_scan_has_reported_is_looked_at() {
    let (folder, outside) = (Folder::new(), Folder::new());
    fs::create_dir(outside.path("comes")).unwrap();
    fs::write(outside.path("comes/f"), "").unwrap();
    let mut publisher = FileInotify::attach(&folder.config(&["%%"])).unwrap();
    let mut buffer = vec![0; 65_536];
    fs::create_dir_all(folder.path("a/b")).unwrap();
    let batch = publisher.read(&mut buffer).unwrap();
    let watcher = publisher.watcher_mut();
    watcher.handle(now_ns(), batch);
    watcher.scan_slice();
    // The kernel tells no end of the empty `a/b` that the rename replaces.
    fs::rename(outside.path("comes"), folder.path("a/b")).unwrap();
    let mut running = Running::start(publisher);
    running.until_marker(&folder.path("end"));
    let (files, _) = running.finish();
    assert_eq!(folder.count(&files, MovedTo, "a/b"), 1);
    assert_eq!(folder.count(&files, Created, "a/b/f"), 1);
}
