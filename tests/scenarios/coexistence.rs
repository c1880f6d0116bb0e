//! Several that record at once: none takes anything from another.

use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use bygone_tests::bench::exec::monitor::{Monitor, Running};
use bygone_tests::{Daemon, requires_bpf, sql_rows, wait_until};
use serde_json::json;
use tempfile::TempDir;

const COUNT: u64 = 500;

/// Those of the others that can be had here, with what they write in `folder`. In CI both can.
fn others(folder: &TempDir) -> Vec<(Monitor, Running)> {
    let start = |monitor: Monitor| match monitor.absent() {
        None => Some((monitor, monitor.start(folder.path()).unwrap())),
        Some(why) => {
            assert!(std::env::var_os("CI").is_none(), "{}: {why}", monitor.name());
            None
        }
    };
    [Monitor::Execsnoop, Monitor::Auditd].into_iter().filter_map(start).collect()
}

#[test]
fn two_collectors_bpftrace_and_auditd_see_the_same() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let daemons = [Daemon::start(), Daemon::start()];
    let others = others(&folder);
    let since_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    for _ in 0..COUNT {
        let mut program = Command::new("/bin/true");
        assert!(program.stdin(Stdio::null()).status().unwrap().success());
    }
    let mine = format!(
        "SELECT count(*) AS rows, count(DISTINCT guid) AS processes FROM process_events \
         WHERE cmdline = '/bin/true' AND parent = {}",
        std::process::id()
    );
    for daemon in &daemons {
        wait_until("every exec has its row", || {
            let rows = sql_rows(daemon.data_dir(), &mine);
            (rows == [json!({ "rows": COUNT, "processes": COUNT })]).then_some(())
        });
    }
    for (monitor, running) in others {
        let seen = running.stop(since_ns).unwrap();
        // How many they drop on a busy machine is their own affair.
        assert!(seen >= COUNT / 2, "{} has seen {seen}", monitor.name());
    }
    // Each has the other among its processes.
    let pids = daemons.each_ref().map(Daemon::pid);
    let stopped = daemons.map(Daemon::stop);
    for (stopped, other) in stopped.iter().zip([pids[1], pids[0]]) {
        assert!(stopped.status.success(), "{}", stopped.log);
        let books = "SELECT sum(lost) AS lost, sum(missed) AS missed, \
                     sum(seen = stored + filtered + merged + lost) = count(*) AS closed FROM ledger \
                     WHERE class IN ('exec', 'fork', 'exit')";
        let expected = json!({ "lost": 0, "missed": 0, "closed": 1 });
        assert_eq!(sql_rows(&stopped.data_dir, books), [expected]);
        let there = format!("SELECT count(*) > 0 AS there FROM process_events WHERE pid = {other}");
        assert_eq!(sql_rows(&stopped.data_dir, &there), [json!({ "there": 1 })]);
    }
}
