//! A daemon that is killed in a storm.

use std::process::{Command, Stdio};

use bygone_tests::{Daemon, requires_bpf, sql_rows, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

const CONFIG: &str = "[file]\nenabled = false\n[store]\nsync = \"always\"\n";
const COUNT: &str = "SELECT count(*) n, count(DISTINCT eid) eids, max(eid) last \
                     FROM process_events WHERE cmdline LIKE '%storm %'";

fn storm(round: u32, count: u32) {
    for index in 0..count {
        let words = ["storm".to_owned(), format!("{round}-{index}")];
        let status = Command::new("/bin/echo").args(words).stdout(Stdio::null()).status();
        assert!(status.unwrap().success());
    }
}

fn count(rows: &[Value], column: &str) -> u64 {
    rows[0][column].as_u64().unwrap()
}

#[test]
fn rows_seen_before_a_kill_are_there_after_it() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    let mut last_eid = 0;
    let mut rows_before = 0;
    for round in 0..3 {
        let daemon = Daemon::start_in(&data_dir, CONFIG);
        let storm = std::thread::spawn(move || storm(round, 300));
        let seen = wait_until("a part of the storm is visible", || {
            let rows = sql_rows(&data_dir, COUNT);
            (count(&rows, "n") >= rows_before + 50).then_some(rows)
        });
        let killed = daemon.kill();
        assert_eq!(killed.status.code(), None, "{}", killed.log);
        let rows = sql_rows(&data_dir, COUNT);
        assert!(count(&rows, "n") >= count(&seen, "n"), "{rows:?} after {seen:?}");
        assert_eq!(count(&rows, "n"), count(&rows, "eids"), "an eid was given twice");
        assert!(count(&rows, "last") > last_eid);
        last_eid = count(&rows, "last");
        rows_before = count(&rows, "n");
        storm.join().unwrap();
    }
    let daemon = Daemon::start_in(&data_dir, CONFIG);
    let down = "SELECT count(*) n, sum(end_ns >= time_ns) ordered, sum(lost IS NULL) unknown \
                FROM gaps WHERE reason = 'daemon_down' AND source = 'process_ebpf'";
    let expected = json!({ "n": 3, "ordered": 3, "unknown": 3 });
    wait_until("each kill is a gap", || {
        (sql_rows(&data_dir, down) == [expected.clone()]).then_some(())
    });
    assert!(daemon.stop().status.success());
}
