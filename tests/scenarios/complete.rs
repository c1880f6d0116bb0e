//! `complete()`: 1 only where nothing can be missing.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use bygone_tests::{Daemon, Stopped, requires_bpf, sql, sql_rows, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_nanos()).expect("before 2262")
}

fn ready(daemon: &Daemon) {
    let ready = "SELECT count(*) > 0 ready FROM process_events WHERE syscall = 'execve'";
    wait_until("execs are recorded", || {
        assert!(Command::new("/bin/true").status().is_ok_and(|status| status.success()));
        (sql_rows(daemon.data_dir(), ready) == [json!({ "ready": 1 })]).then_some(())
    });
}

/// Whether a table is complete, and why not.
fn asked(stopped: &Stopped, table: &str, from_ns: i64, to_ns: i64) -> (Value, String) {
    let statement = format!(
        "SELECT complete('{table}', {from_ns}, {to_ns}) complete, \
         incomplete_reasons('{table}', {from_ns}, {to_ns}) reasons"
    );
    let row = sql_rows(&stopped.data_dir, &statement).remove(0);
    (row["complete"].clone(), row["reasons"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn what_was_watched_and_counted_is_complete_and_nothing_else() {
    if !requires_bpf() {
        return;
    }
    let before_ns = now_ns();
    let daemon = Daemon::start();
    ready(&daemon);
    let from_ns = now_ns();
    for _ in 0..50 {
        assert!(Command::new("/bin/true").status().is_ok_and(|status| status.success()));
    }
    let to_ns = now_ns();
    let stopped = daemon.stop();
    let after_ns = now_ns();

    for table in
        ["process_events", "process_fork_events", "process_exit_events", "process_lifetimes"]
    {
        let answer = asked(&stopped, table, from_ns, to_ns);
        assert_eq!(answer, (json!(1), String::new()), "{table}");
    }
    let (complete, reasons) = asked(&stopped, "process_events", before_ns, to_ns);
    assert!(complete == 0 && reasons.contains("exec: the history begins at "), "{reasons}");
    let (complete, reasons) = asked(&stopped, "process_events", from_ns, after_ns + 20_000_000_000);
    assert!(complete == 0 && reasons.contains("is recorded up to"), "{reasons}");
    assert!(reasons.contains("has not counted"), "{reasons}");
    let (complete, reasons) = asked(&stopped, "file_events", from_ns, to_ns);
    assert!(complete == 0 && reasons.contains("nothing watched"), "{reasons}");

    let daemon = Daemon::start_in(&stopped.data_dir, "");
    wait_until("the second start records", || {
        let runs = "SELECT count(*) n FROM capabilities WHERE kind = 'exec'";
        (sql_rows(daemon.data_dir(), runs) == [json!({ "n": 2 })]).then_some(())
    });
    ready(&daemon);
    let later_ns = now_ns();
    let stopped = daemon.stop();
    assert_eq!(asked(&stopped, "process_events", from_ns, to_ns).0, 1, "as it was");
    let (complete, reasons) = asked(&stopped, "process_events", from_ns, later_ns);
    assert_eq!(complete, 0);
    let gap = reasons.lines().find(|reason| reason.contains("daemon_down")).expect(&reasons);
    assert!(gap.starts_with("gap of process_ebpf from "), "{gap}");
    assert!(
        gap.ends_with("an unknown number lost; keep bygone run running, as a service"),
        "{gap}"
    );
}

#[test]
fn after_a_crash_nothing_is_complete_beyond_what_was_counted() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    ready(&daemon);
    let from_ns = now_ns();
    assert!(Command::new("/bin/true").status().is_ok_and(|status| status.success()));
    let to_ns = now_ns();
    let stopped = daemon.kill();
    let (complete, reasons) = asked(&stopped, "process_events", from_ns, to_ns);
    assert!(complete == 0 && reasons.contains("has not counted"), "{reasons}");
}

#[test]
fn what_cannot_be_complete_is_said() {
    let folder = TempDir::new().unwrap();
    let daemon = Daemon::start_in(&folder.path().join("data"), "[process]\nenabled = false\n");
    wait_until("the start is recorded", || {
        let rows = sql_rows(daemon.data_dir(), "SELECT count(*) > 0 n FROM capabilities");
        (rows == [json!({ "n": 1 })]).then_some(())
    });
    let stopped = daemon.stop();
    let reasons = asked(&stopped, "process_events", now_ns(), now_ns() + 1).1;
    assert!(reasons.contains("nothing watched") && reasons.contains("switched off"), "{reasons}");
    let stderr = |statement: &str| sql(&stopped.data_dir, statement).stderr;
    assert!(stderr("SELECT complete('users', 1, 2)").contains("users is no table of events"));
    assert!(stderr("SELECT complete('gaps', 1, 2)").contains("gaps tells of the other tables"));
    assert!(stderr("SELECT complete(1, 2, 3)").contains("takes the name of a table of events"));
    let null = sql_rows(&stopped.data_dir, "SELECT complete('file_events', NULL, 2) n");
    assert_eq!(null, [json!({ "n": null })]);
}
