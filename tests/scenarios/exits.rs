//! How processes end: exactly one exit row each, with the right code or signal.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use bygone_tests::{Daemon, requires_bpf, sql_rows, storm, wait_until};
use serde_json::json;

const SUBJECT: &str = env!("CARGO_BIN_EXE_bygone-test-subject");

fn subject(arguments: &[&str]) -> std::process::ExitStatus {
    Command::new(SUBJECT).args(arguments).stdin(Stdio::null()).status().expect("it starts")
}

/// The exit rows of processes whose arguments were exactly these.
fn exits_of(daemon: &Daemon, arguments: &[&str]) -> Vec<serde_json::Value> {
    let mut argv = vec![SUBJECT];
    argv.extend_from_slice(arguments);
    let statement = format!(
        "SELECT x.exit_code, x.signal, count(*) n, count(DISTINCT x.guid) processes \
         FROM process_events e JOIN process_exit_events x ON x.guid = e.guid \
         WHERE e.argv = '{}' GROUP BY 1, 2",
        json!(argv)
    );
    sql_rows(daemon.data_dir(), &statement)
}

#[test]
fn eight_threads_that_exit_as_one_are_one_row() {
    if !requires_bpf() {
        return;
    }
    let total = storm(1000);
    let daemon = Daemon::start();
    for _ in 0..total {
        assert_eq!(subject(&["threads", "7"]).code(), Some(7));
    }
    let expected = json!({ "exit_code": 7, "signal": null, "n": total, "processes": total });
    wait_until("every process has its exit", || {
        let rows = exits_of(&daemon, &["threads", "7"]);
        let count = rows.iter().filter_map(|row| row["n"].as_u64()).sum::<u64>();
        (count >= total).then_some(())
    });
    // A double would come at the same time as its twin: what is there now is all there is.
    assert_eq!(exits_of(&daemon, &["threads", "7"]), [expected]);
}

#[test]
fn a_deadly_signal_is_named() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    for signal in [9, 11, 15] {
        let number = signal.to_string();
        assert_eq!(subject(&["signal", &number]).signal(), Some(signal));
        let expected = json!({ "exit_code": null, "signal": signal, "n": 1, "processes": 1 });
        wait_until("the exit is visible", || {
            (exits_of(&daemon, &["signal", &number]) == [expected.clone()]).then_some(())
        });
    }
}

#[test]
fn exit_codes_are_those_that_the_parent_sees() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    for code in [0, 1, 2, 127, 255] {
        let script = format!("exit {code}");
        let status = Command::new("/bin/sh").args(["-c", &script]).status().unwrap();
        assert_eq!(status.code(), Some(code));
        let statement = format!(
            "SELECT x.exit_code FROM process_events e JOIN process_exit_events x USING (guid) \
             WHERE e.cmdline = '/bin/sh -c exit {code}'"
        );
        wait_until("the exit is visible", || {
            let rows = sql_rows(daemon.data_dir(), &statement);
            (rows == [json!({ "exit_code": code })]).then_some(())
        });
    }
}
