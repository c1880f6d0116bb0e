//! A writer killed by SIGKILL at some moment, again and again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use bygone_store::{Damage, DamageKind, Reader};

use crate::fixture::{SampleEvents, open_small, read_snapshot, sample};

const CYCLES: u64 = 200;

/// Cycles in one data folder: each reads all of it again.
const CYCLES_EACH: u64 = 20;

/// Names the data folder to the child, and the cycle.
const CHILD: &str = "BYGONE_STORE_TEST_CHILD";

/// Appends and syncs until it is killed, and says what it has done.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn child(argument: &str) {
    let (cycle, dir) = argument.split_once(' ').unwrap();
    let (mut writer, opened) = open_small(Path::new(dir), 16 << 10);
    let lost: Vec<&Damage> = opened.recovered.iter().filter(|d| d.kind.loses_rows()).collect();
    println!("\nopened {lost:?}");
    let cycle: i64 = cycle.parse().unwrap();
    for number in 0.. {
        let rows = (0..10).map(|row| sample(cycle * 1_000_000 + number * 10 + row));
        let appended = writer.append(rows).unwrap().unwrap();
        println!("appended {} {}", appended.first_eid, appended.last_eid);
        if number % 3 == 0 {
            writer.sync().unwrap();
            println!("synced {}", appended.last_eid);
        }
        writer.tick().unwrap();
    }
}

/// What a child said before it was killed.
#[derive(Default)]
struct Said {
    appended: Vec<(i64, i64)>,
    synced: i64,
}

fn run_and_kill(dir: &Path, cycle: u64) -> Said {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::kills_lose_nothing_synced", "--nocapture"])
        .env(CHILD, format!("{cycle} {}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Said::default();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let kill_after = 5 + cycle as usize * 37 % 300;
    for line in lines {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["appended", first, last] => {
                said.appended.push((first.parse().unwrap(), last.parse().unwrap()));
                if said.appended.len() == kill_after {
                    child.kill().unwrap();
                }
            }
            ["synced", last] => said.synced = last.parse().unwrap(),
            // The kernel may cut a write short when it kills: a frame that nobody was told of.
            ["opened", ..] => {
                let torn = line.matches("kind: TornTail").count();
                assert!(torn == line.matches("kind: ").count() && torn < 2, "{cycle}: {line}");
            }
            _ => {}
        }
    }
    assert!(!child.wait().unwrap().success());
    assert!(said.appended.len() >= kill_after, "cycle {cycle} ended early");
    said
}

#[test]
fn kills_lose_nothing_synced() {
    if let Ok(argument) = std::env::var(CHILD) {
        return child(&argument);
    }
    for first in (0..CYCLES).step_by(CYCLES_EACH as usize) {
        kill_again_and_again(first..first + CYCLES_EACH);
    }
}

fn kill_again_and_again(cycles: std::ops::Range<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let mut given: BTreeMap<i64, i64> = BTreeMap::new();
    let mut seen: BTreeMap<i64, SampleEvents> = BTreeMap::new();
    for cycle in cycles {
        let said = run_and_kill(dir.path(), cycle);
        for (first, last) in &said.appended {
            let before = given.range(..=last).next_back();
            assert!(before.is_none_or(|(_, end)| end < first), "eid {first} was given before");
            given.insert(*first, *last);
        }
        let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
        let rows = read_snapshot(&snapshot, i64::MIN, i64::MAX);
        // As in `run_and_kill`.
        let damage = snapshot.damage();
        let is_cut_short = damage.iter().all(|damage| damage.kind == DamageKind::TornTail);
        assert!(is_cut_short && damage.len() < 2, "cycle {cycle}: {damage:?}");
        let now: BTreeMap<i64, SampleEvents> = rows.iter().cloned().collect();
        assert_eq!(now.len(), rows.len(), "an eid twice in cycle {cycle}");
        for (eid, row) in &seen {
            assert_eq!(now.get(eid), Some(row), "eid {eid} after cycle {cycle}");
        }
        // The kernel keeps what was appended, synced or not, when only the process dies.
        for (first, last) in &said.appended {
            for eid in *first..=*last {
                assert!(now.contains_key(&eid), "eid {eid} of cycle {cycle} is gone");
            }
        }
        assert!(now.contains_key(&said.synced));
        seen = now;
    }
}
