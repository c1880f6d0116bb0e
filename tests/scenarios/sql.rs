//! The query side as a user meets it: outputs, joins with state, plans.

use std::io::Write;
use std::process::{Command, Stdio};

use bygone_tests::{Daemon, bygone, requires_bpf, sql, sql_rows, wait_until};
use serde_json::json;
use tempfile::TempDir;

fn recorded() -> bygone_tests::Stopped {
    let daemon = Daemon::start();
    let ready = "SELECT count(*) > 0 ready FROM process_events";
    wait_until("there are rows", || {
        (sql_rows(daemon.data_dir(), ready) == [json!({ "ready": 1 })]).then_some(())
    });
    daemon.stop()
}

#[test]
fn time_bounds_reach_the_table() {
    let folder = TempDir::new().unwrap();
    let plan = |condition: &str| {
        let statement =
            format!("EXPLAIN QUERY PLAN SELECT * FROM process_events WHERE {condition}");
        sql_rows(folder.path(), &statement)[0]["detail"].as_str().unwrap().to_owned()
    };
    let both = plan("time >= 100 AND time < 200");
    let lower = plan("time >= 100");
    let none = plan("pid = 1");
    assert!(both.contains("time") && both.contains(">=") && both.contains('<'), "{both}");
    assert!(lower.contains(">=") && !lower.contains('<'), "{lower}");
    assert!(!none.contains(">="), "{none}");
}

#[test]
fn events_join_with_the_state_of_the_host() {
    let folder = TempDir::new().unwrap();
    let statement = "SELECT p.pid, p.name, u.username FROM processes p \
                     JOIN users u ON p.uid = u.uid WHERE p.uid != 0";
    assert!(sql(folder.path(), statement).status.success());
    let own = format!(
        "SELECT u.username FROM processes p JOIN users u ON p.uid = u.uid WHERE p.pid = {}",
        std::process::id()
    );
    let rows = sql_rows(folder.path(), &own);
    let uid = rustix::process::getuid().as_raw();
    let name = "SELECT username FROM users WHERE uid = ";
    assert_eq!(rows, sql_rows(folder.path(), &format!("{name}{uid}")));
    assert_eq!(rows.len(), 1);
}

#[test]
fn sealed_and_unsealed_rows_are_one_table() {
    if !requires_bpf() {
        return;
    }
    let stopped = recorded();
    let count = "SELECT count(*) n, count(DISTINCT eid) eids FROM process_events";
    let sealed = sql_rows(&stopped.data_dir, count);
    assert_eq!(sealed[0]["n"], sealed[0]["eids"]);
    let daemon = Daemon::start_in(&stopped.data_dir, "[file]\nenabled = false\n");
    wait_until("the second start's snapshot is added to the first's", || {
        let both = sql_rows(daemon.data_dir(), count);
        assert_eq!(both[0]["n"], both[0]["eids"]);
        (both[0]["n"].as_u64() > sealed[0]["n"].as_u64()).then_some(())
    });
}

#[test]
fn a_copied_folder_can_be_read() {
    if !requires_bpf() {
        return;
    }
    let stopped = recorded();
    let copy = stopped.data_dir.with_file_name("copy");
    let copied = Command::new("cp").arg("-r").arg(&stopped.data_dir).arg(&copy).status();
    assert!(copied.unwrap().success());
    let count = "SELECT count(*) n FROM process_events";
    assert_eq!(sql_rows(&copy, count), sql_rows(&stopped.data_dir, count));
}

#[test]
fn every_output_holds_the_same_rows() {
    let folder = TempDir::new().unwrap();
    let statement = "SELECT 1 AS a, 'x,\"y\"' AS b, NULL AS c UNION ALL SELECT 2, 'z', 2.5";
    let output = |format: &str| {
        let output = bygone()
            .args(["sql", "-o", format, "--data-dir"])
            .args([folder.path().as_os_str(), statement.as_ref()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let rows = json!([{ "a": 1, "b": "x,\"y\"", "c": null }, { "a": 2, "b": "z", "c": 2.5 }]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&output("json")).unwrap(), rows);
    let lines: Vec<serde_json::Value> =
        output("jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json!(lines), rows);
    // RFC 4180: lines end with CRLF.
    assert_eq!(output("csv"), "a,b,c\r\n1,\"x,\"\"y\"\"\",\r\n2,z,2.5\r\n");
    for format in ["table", "line"] {
        let text = output(format);
        for value in ["x,\"y\"", "2.5", "z"] {
            assert!(text.contains(value), "{format}: {text}");
        }
    }
}

#[test]
fn statements_are_read_from_standard_input() {
    let folder = TempDir::new().unwrap();
    let mut child = bygone()
        .args(["sql", "-o", "csv", "--data-dir"])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"SELECT 1 AS one;\nSELECT sqrt(16) AS four;\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("one\r\n1\r\n") && text.contains("four\r\n4.0\r\n"), "{text}");
}
