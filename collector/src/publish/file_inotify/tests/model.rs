//! Random work in a tree, and the events replayed: they must lead to the tree that is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Folder, Running};
use crate::events::{FileAction, FileEvent};
use crate::publish::file_inotify::FileInotify;

/// A small generator, so that a seed gives the same work on every host.
struct Random(u64);

impl Random {
    /// Below `bound`, by xorshift64.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    /// One of few directories, so that they are used again and again.
    fn directory(&mut self, top: &Path) -> PathBuf {
        let depth = 1 + self.below(3);
        (0..depth).fold(top.to_path_buf(), |path, _| path.join(["a", "b", "c"][self.below(3)]))
    }

    fn file(&mut self, top: &Path) -> PathBuf {
        self.directory(top).join(["x", "y"][self.below(2)])
    }
}

/// Makes, writes, moves and removes at random. Some attempts fail, which is meant.
fn work(random: &mut Random, top: &Path, outside: &Path, steps: usize) {
    for step in 0..steps {
        let directory = random.directory(top);
        let done = match random.below(10) {
            0 | 1 => fs::create_dir_all(&directory),
            2 | 3 => fs::create_dir_all(&directory)
                .and_then(|()| fs::write(random.file(&directory), step.to_string())),
            4 => fs::remove_file(random.file(top)),
            5 => fs::remove_dir_all(&directory),
            6 => fs::rename(random.file(top), random.file(top)),
            7 => fs::rename(&directory, random.directory(top)),
            8 => fs::rename(&directory, outside.join(step.to_string())),
            _ => {
                let inner = outside.join(format!("{step}-in"));
                fs::create_dir_all(inner.join("a/b"))
                    .and_then(|()| fs::write(inner.join("a/x"), ""))
                    .and_then(|()| fs::rename(inner, &directory))
            }
        };
        drop(done);
    }
}

/// Everything below `top`, as text.
fn walk(top: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![top.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path.clone());
            }
            found.insert(path.display().to_string());
        }
    }
    found
}

/// The paths that exist after `events`, beginning with none.
fn replay(events: &[FileEvent]) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let mut moving: Vec<(u32, BTreeSet<String>)> = Vec::new();
    for event in events {
        let path = &event.target_path;
        match event.action {
            FileAction::Created => {
                paths.insert(path.clone());
            }
            FileAction::Deleted => drop(take_below(&mut paths, path)),
            FileAction::MovedFrom => {
                moving.push((event.transaction_id, take_below(&mut paths, path)));
            }
            FileAction::MovedTo => {
                drop(take_below(&mut paths, path));
                paths.insert(path.clone());
                let at = moving.iter().position(|(id, _)| *id == event.transaction_id);
                let moved = at.map(|at| moving.remove(at).1).unwrap_or_default();
                paths.extend(moved.iter().map(|below| format!("{path}{below}")));
            }
            FileAction::Updated
            | FileAction::AttributesModified
            | FileAction::Opened
            | FileAction::Accessed => {}
        }
    }
    paths
}

/// Takes `path` and what lies below it out; gives what was below, without the front.
fn take_below(paths: &mut BTreeSet<String>, path: &str) -> BTreeSet<String> {
    paths.remove(path);
    let front = format!("{path}/");
    let below: Vec<String> = paths.iter().filter(|one| one.starts_with(&front)).cloned().collect();
    for one in &below {
        paths.remove(one);
    }
    below.iter().filter_map(|one| one.strip_prefix(path)).map(ToOwned::to_owned).collect()
}

/// Works with `seed` while the publisher runs and compares at the end.
fn check(seed: u64, steps: usize) {
    let (folder, outside) = (Folder::new(), Folder::new());
    let top = folder.path("top");
    fs::create_dir(&top).unwrap();
    let mut running = Running::start(FileInotify::attach(&folder.config(&["top/%%"])).unwrap());
    let mut random = Random(seed);
    for _ in 0..4 {
        work(&mut random, &top, &outside.path(""), steps / 4);
        // Elsewhere in the tree everything has been told by then.
        running.until_marker(&top.join(format!("marker-{}", random.below(1 << 20))));
    }
    // Whatever the last scan found of the work must have been read.
    running.until_marker(&top.join("end"));
    let (files, _) = running.finish();
    let (told, there) = (replay(&files), walk(&top));
    let missing: Vec<&String> = there.difference(&told).collect();
    let excess: Vec<&String> = told.difference(&there).collect();
    assert!(missing.is_empty() && excess.is_empty(), "seed {seed}: {missing:#?} {excess:#?}");
}

#[test]
fn replayed_events_lead_to_the_tree_that_is_there() {
    for seed in 1..=4_u64 {
        check(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), 500);
    }
}
