//! Processes that ran before the daemon.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use bygone_tests::{Daemon, requires_bpf, sql_rows, wait_until};
use serde_json::json;

#[test]
fn a_process_from_before_has_the_guid_of_its_exit() {
    if !requires_bpf() {
        return;
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_bygone-test-subject"))
        .args(["wait", "snapshot"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let daemon = Daemon::start();
    let statement = format!(
        "SELECT guid, syscall, cmdline, path, parent, start_exact FROM process_events \
         WHERE pid = {pid}"
    );
    let row = wait_until("the snapshot is visible", || {
        let rows = sql_rows(daemon.data_dir(), &statement);
        assert!(rows.len() < 2, "{rows:?}");
        rows.into_iter().next()
    });
    let subject = env!("CARGO_BIN_EXE_bygone-test-subject");
    assert_eq!(row["syscall"], "snapshot");
    assert_eq!(row["cmdline"], json!(format!("{subject} wait snapshot")));
    assert_eq!(row["path"], json!(std::fs::canonicalize(subject).unwrap()));
    assert_eq!(row["parent"], json!(std::process::id()));
    assert_eq!(row["start_exact"], 1);

    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let exit = format!("SELECT guid, exit_code, path FROM process_exit_events WHERE pid = {pid}");
    let expected = json!({ "guid": row["guid"], "exit_code": 3, "path": row["path"] });
    wait_until("the exit is visible", || {
        (sql_rows(daemon.data_dir(), &exit) == [expected.clone()]).then_some(())
    });
}

/// Holds a child in an exec, and says its id.
const HELD_IN_EXEC: &str =
    include_str!("../../collector/src/publish/process_ebpf/fixtures/held_in_exec.py");

/// One that holds a child in an exec until its input ends, and the child's id.
fn held_in_exec() -> (Child, String) {
    let mut holder = Command::new("python3");
    holder.args(["-c", HELD_IN_EXEC]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (holder, line.trim().to_owned())
}

/// It is left to the exec record that should come next, and told of when that has not come for a while:
/// after the daemon itself, which the look found later.
#[test]
fn a_process_held_in_an_exec_is_told_of_after_a_while() {
    if !requires_bpf() {
        return;
    }
    let (mut holder, held) = held_in_exec();
    let daemon = Daemon::start();
    let rows = format!(
        "SELECT pid = {held} AS held, syscall, cmdline FROM process_events \
         WHERE syscall = 'snapshot' AND pid IN ({held}, {}) ORDER BY eid",
        daemon.pid()
    );
    let rows = wait_until("both are found", || {
        let rows = sql_rows(daemon.data_dir(), &rows);
        (rows.len() >= 2).then_some(rows)
    });
    assert_eq!(rows[0]["held"], 0);
    let expected = json!({ "held": 1, "syscall": "snapshot", "cmdline": "sleep 3600" });
    assert_eq!(rows[1..], [expected]);
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
}

#[test]
fn a_process_that_ends_in_an_exec_is_told_of() {
    if !requires_bpf() {
        return;
    }
    let (mut holder, held) = held_in_exec();
    let daemon = Daemon::start();
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    let exits = format!("SELECT guid, signal FROM process_exit_events WHERE pid = {held}");
    let exit = wait_until("its end is there", || sql_rows(daemon.data_dir(), &exits).pop());
    assert_eq!(exit["signal"], 9);
    let starts = format!("SELECT guid, syscall FROM process_events WHERE pid = {held}");
    let expected = json!({ "guid": exit["guid"], "syscall": "snapshot" });
    assert_eq!(sql_rows(daemon.data_dir(), &starts), [expected]);
}

#[test]
fn the_daemon_and_kernel_threads_are_there() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    let own = format!("SELECT count(*) n FROM process_events WHERE pid = {}", daemon.pid());
    wait_until("the daemon's own process is recorded", || {
        (sql_rows(daemon.data_dir(), &own) == [json!({ "n": 1 })]).then_some(())
    });
    let kernel = "SELECT path, kernel_thread FROM process_events WHERE pid = 2";
    let expected = json!({ "path": null, "kernel_thread": 1 });
    assert_eq!(sql_rows(daemon.data_dir(), kernel), [expected]);
}
