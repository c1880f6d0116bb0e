//! Processes seen without BPF.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use bygone_tests::{Daemon, requires_connector, sql_rows, storm, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

const SUBJECT: &str = env!("CARGO_BIN_EXE_bygone-test-subject");

/// A daemon that watches processes as `section` says, and nothing else.
fn start(folder: &TempDir, section: &str) -> Daemon {
    let config = format!("[process]\n{section}\n[file]\nenabled = false\n");
    Daemon::start_in(&folder.path().join("data"), &config)
}

/// A process that ends with code 3 when its standard input is closed.
fn subject(what: &str) -> Child {
    Command::new(SUBJECT).args(["wait", what]).stdin(Stdio::piped()).spawn().unwrap()
}

/// The only row of a statement, once there is one.
fn row(data_dir: &Path, statement: &str) -> Value {
    wait_until(statement, || {
        let rows = sql_rows(data_dir, statement);
        assert!(rows.len() < 2, "{rows:?}");
        rows.into_iter().next()
    })
}

#[test]
fn looks_at_proc_tell_of_lives_and_of_what_they_miss() {
    let folder = TempDir::new().unwrap();
    let mut before = subject("before");
    let daemon = start(&folder, "tier = \"scan\"\nscan_interval = \"100ms\"");
    let mut during = subject("during");
    let data_dir = daemon.data_dir();
    let path = std::fs::canonicalize(SUBJECT).unwrap();
    for (child, argument) in [(&mut before, "before"), (&mut during, "during")] {
        let pid = child.id();
        let found = format!(
            "SELECT guid, syscall, cmdline, path, parent, start_exact, uid, cwd \
             FROM process_events WHERE pid = {pid}"
        );
        let found = row(data_dir, &found);
        let expected = json!({
            "guid": found["guid"],
            "syscall": "snapshot",
            "cmdline": format!("{SUBJECT} wait {argument}"),
            "path": path,
            "parent": std::process::id(),
            "start_exact": 0,
            "uid": rustix::process::getuid().as_raw(),
            "cwd": std::env::current_dir().unwrap(),
        });
        assert_eq!(found, expected);

        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(3));
        let gone = format!(
            "SELECT guid, path, exit_code, signal, core_dumped, source, \
             alive_ns < time_ns bounded FROM process_exit_events WHERE pid = {pid}"
        );
        let expected = json!({
            "guid": found["guid"],
            "path": path,
            "exit_code": null,
            "signal": null,
            "core_dumped": null,
            "source": "scan",
            "bounded": 1,
        });
        assert_eq!(row(data_dir, &gone), expected);
    }
    // Each lives for a millisecond or two, or for some ten where the processor is emulated.
    let short_lived = "i=0; while [ $i -lt 50 ]; do (:); i=$((i + 1)); done";
    assert!(Command::new("sh").args(["-c", short_lived]).status().unwrap().success());
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.log);
    let gap = "SELECT count(*) > 0 told FROM gaps WHERE source = 'process_scan' \
               AND reason = 'source_overflow' AND lost IS NULL AND detail LIKE '%unseen'";
    assert_eq!(sql_rows(&stopped.data_dir, gap), [json!({ "told": 1 })]);
    let capability = "SELECT kind, source, reason LIKE '%[process] tier = \"scan\"%' chosen, \
                      blind_to LIKE '%less than 100ms%' short_lived FROM capabilities \
                      WHERE kind IN ('exec', 'exit') ORDER BY kind";
    let of = |kind: &str| json!({ "kind": kind, "source": "process_scan", "chosen": 1, "short_lived": 1 });
    assert_eq!(sql_rows(&stopped.data_dir, capability), [of("exec"), of("exit")]);
    let books = "SELECT count(*) n FROM ledger WHERE source = 'process_scan' \
                 AND (seen != stored + filtered + merged + lost OR missed IS NOT NULL)";
    assert_eq!(sql_rows(&stopped.data_dir, books), [json!({ "n": 0 })]);
    let exits = "SELECT (SELECT sum(stored) FROM ledger WHERE class = 'exit') \
                 = (SELECT count(*) FROM process_exit_events) balanced";
    assert_eq!(sql_rows(&stopped.data_dir, exits), [json!({ "balanced": 1 })]);
}

#[test]
fn a_tier_that_stands_in_for_another_ends_its_gap() {
    if !requires_connector() {
        return;
    }
    let folder = TempDir::new().unwrap();
    for tier in ["connector", "scan", "scan"] {
        let stopped = start(&folder, &format!("tier = \"{tier}\"")).stop();
        assert!(stopped.status.success(), "{}", stopped.log);
    }
    let gaps = "SELECT source FROM gaps WHERE reason = 'daemon_down' AND source LIKE 'process%' \
                ORDER BY time_ns";
    let of = |source: &str| json!({ "source": source });
    let expected = [of("process_connector"), of("process_scan")];
    assert_eq!(sql_rows(&folder.path().join("data"), gaps), expected);
}

/// Ends of a life: what the subject does, and the exit code and signal that it has then.
const ENDS: [(&[&str], Option<u32>, Option<u32>); 4] = [
    (&["threads", "7"], Some(7), None),
    (&["signal", "9"], None, Some(9)),
    (&["signal", "15"], None, Some(15)),
    (&["other"], Some(64), None),
];

#[test]
fn the_connector_tells_of_lives_and_how_they_end() {
    if !requires_connector() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let mut before = subject("before");
    let daemon = start(&folder, "tier = \"connector\"");
    let data_dir = daemon.data_dir();
    let path = std::fs::canonicalize(SUBJECT).unwrap();
    let mut during = subject("during");
    for (child, syscall) in [(&mut before, "snapshot"), (&mut during, "execve")] {
        let pid = child.id();
        let exec = format!(
            "SELECT guid, syscall, cmdline, path, parent, start_exact, uid, euid, exe_inode > 0 file \
             FROM process_events WHERE pid = {pid}"
        );
        let exec = row(data_dir, &exec);
        let argument = if syscall == "execve" { "during" } else { "before" };
        let expected = json!({
            "guid": exec["guid"],
            "syscall": syscall,
            "cmdline": format!("{SUBJECT} wait {argument}"),
            "path": path,
            "parent": std::process::id(),
            "start_exact": 0,
            "uid": rustix::process::getuid().as_raw(),
            "euid": rustix::process::geteuid().as_raw(),
            "file": 1,
        });
        assert_eq!(exec, expected);
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(3));
        let exit = format!(
            "SELECT guid, path, exit_code, signal, core_dumped, source, parent, alive_ns \
             FROM process_exit_events WHERE pid = {pid}"
        );
        let expected = json!({
            "guid": exec["guid"],
            "path": path,
            "exit_code": 3,
            "signal": null,
            "core_dumped": 0,
            "source": "event",
            "parent": std::process::id(),
            "alive_ns": null,
        });
        assert_eq!(row(data_dir, &exit), expected);
    }
    for (arguments, code, signal) in ENDS {
        let mut child = Command::new(SUBJECT).args(arguments).spawn().unwrap();
        child.wait().unwrap();
        let exit = format!(
            "SELECT exit_code, signal, (SELECT count(*) FROM process_fork_events f \
             WHERE f.guid = e.guid) forks FROM process_exit_events e WHERE pid = {}",
            child.id()
        );
        let expected = json!({ "exit_code": code, "signal": signal, "forks": 1 });
        assert_eq!(row(data_dir, &exit), expected, "{arguments:?}");
    }
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.log);
    balanced(&stopped.data_dir);
}

/// The books of the connector add up, and agree with the tables.
fn balanced(data_dir: &Path) {
    let books = "SELECT sum(seen) = sum(stored + filtered + merged + lost) adds_up, \
                 coalesce(sum(lost), 0) = (SELECT coalesce(sum(lost), 0) FROM gaps \
                   WHERE reason = 'source_overflow' AND source = 'process_connector') told, \
                 sum(stored) FILTER (WHERE class = 'exit') = (SELECT count(*) \
                   FROM process_exit_events WHERE source = 'event') exits, \
                 sum(stored) FILTER (WHERE class = 'exec') = (SELECT count(*) \
                   FROM process_events WHERE syscall = 'execve') execs, \
                 sum(stored) FILTER (WHERE class = 'fork') = (SELECT count(*) \
                   FROM process_fork_events) forks \
                 FROM ledger WHERE source = 'process_connector'";
    let expected = json!({ "adds_up": 1, "told": 1, "exits": 1, "execs": 1, "forks": 1 });
    assert_eq!(sql_rows(data_dir, books), [expected]);
}

#[test]
fn five_hundred_at_once_are_stored_or_counted_as_lost() {
    let count = storm(500);
    if !requires_connector() {
        return;
    }
    for buffer in ["64KiB", "64MiB"] {
        let folder = TempDir::new().unwrap();
        let section = format!("tier = \"connector\"\nring_bytes = \"{buffer}\"");
        let daemon = start(&folder, &section);
        let spawn = |_| Command::new("true").spawn().unwrap();
        let children: Vec<Child> = (0..count).map(spawn).collect();
        let pids: Vec<String> = children.iter().map(|child| child.id().to_string()).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let stopped = daemon.stop();
        assert!(stopped.status.success(), "{}", stopped.log);
        balanced(&stopped.data_dir);
        let pids = pids.join(",");
        let ours = format!(
            "SELECT (SELECT count(*) FROM process_fork_events WHERE pid IN ({pids})) \
             + (SELECT count(*) FROM process_events WHERE pid IN ({pids}) AND syscall = 'execve') \
             + (SELECT count(*) FROM process_exit_events WHERE pid IN ({pids}) AND source = 'event') \
             AS stored, coalesce(sum(lost), 0) lost FROM ledger WHERE source LIKE 'process%'"
        );
        let ours = &sql_rows(&stopped.data_dir, &ours)[0];
        let (stored, lost) = (ours["stored"].as_u64().unwrap(), ours["lost"].as_u64().unwrap());
        assert!(stored + lost >= 3 * count, "{buffer}: {ours}");
        assert!(stored == 3 * count || lost > 0, "{buffer}: {ours}");
    }
}
