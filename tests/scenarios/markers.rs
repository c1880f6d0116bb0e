//! A thousand short processes: each is one exec row and one exit row, and nothing is lost.

use std::process::{Command, Stdio};

use bygone_tests::{Daemon, requires_bpf, sql_rows, storm, wait_until};
use serde_json::json;

fn echo(words: &[String]) {
    let status = Command::new("/bin/echo").args(words).stdout(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()));
}

#[test]
fn every_short_process_is_one_exec_and_one_exit() {
    if !requires_bpf() {
        return;
    }
    let total = storm(1000);
    let daemon = Daemon::start();
    for index in 1..=total {
        echo(&[format!("marker {index}")]);
    }
    let count = "SELECT count(*) n, count(DISTINCT cmdline) d FROM process_events \
                 WHERE cmdline LIKE '%marker %'";
    wait_until("all execs are visible while the daemon runs", || {
        let rows = sql_rows(daemon.data_dir(), count);
        (rows == [json!({ "n": total, "d": total })]).then_some(())
    });
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.log);

    let data_dir = &stopped.data_dir;
    assert_eq!(sql_rows(data_dir, count), [json!({ "n": total, "d": total })]);
    let exits = "SELECT count(*) pairs, count(DISTINCT e.guid) processes, \
                 sum(x.exit_code = 0) clean, sum(x.time_ns >= e.time_ns) ordered, \
                 sum(x.path = e.path) same_path \
                 FROM process_events e JOIN process_exit_events x ON x.guid = e.guid \
                 WHERE e.cmdline LIKE '%marker %'";
    let expected = json!({
        "pairs": total, "processes": total, "clean": total, "ordered": total, "same_path": total,
    });
    assert_eq!(sql_rows(data_dir, exits), [expected]);
    let forks = "SELECT count(DISTINCT f.guid) n FROM process_events e \
                 JOIN process_fork_events f ON f.guid = e.guid \
                 WHERE e.cmdline LIKE '%marker %' AND f.parent_guid = e.parent_guid";
    assert_eq!(sql_rows(data_dir, forks), [json!({ "n": total })]);
    let gaps = "SELECT * FROM gaps WHERE reason = 'ring_full'";
    assert!(sql_rows(data_dir, gaps).is_empty());
    let ledger = format!(
        "SELECT class, sum(seen) = sum(stored + filtered + merged + lost) closed, \
         sum(lost) lost, sum(stored) >= {total} enough FROM ledger \
         WHERE source = 'process_ebpf' AND class IN ('exec', 'fork', 'exit') \
         GROUP BY class ORDER BY class"
    );
    let closed = |class: &str| json!({ "class": class, "closed": 1, "lost": 0, "enough": 1 });
    assert_eq!(sql_rows(data_dir, &ledger), [closed("exec"), closed("exit"), closed("fork")]);
}

#[test]
fn an_exec_row_carries_its_context() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    let folder = tempfile::TempDir::new().unwrap();
    let cwd = folder.path().canonicalize().unwrap();
    let status = Command::new("/bin/echo")
        .args(["context", "of", "a row"])
        .current_dir(&cwd)
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    let statement = "SELECT path, cmdline, argv, cwd, uid, euid, gid, egid, parent, syscall, \
                     argv_truncated, status, exe_inode, exe_dev, mode, owner_uid, mnt_namespace, \
                     pid_namespace, net_namespace, user_namespace, start_exact, overflows, mtime, \
                     time = time_ns / 1000000000 same_time, abs(time - unixepoch()) < 3600 recent \
                     FROM process_events WHERE argv LIKE '%a row%'";
    let row = wait_until("the row is visible", || {
        sql_rows(daemon.data_dir(), statement).into_iter().find(|row| row["cwd"] == json!(cwd))
    });
    let echo = std::fs::canonicalize("/bin/echo").unwrap();
    let file = rustix::fs::stat(&echo).unwrap();
    let namespace = |name: &str| {
        let link = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        let text = link.to_str().unwrap();
        text.split(['[', ']']).nth(1).unwrap().parse::<u64>().unwrap()
    };
    let expected = json!({
        "path": echo, "cmdline": "/bin/echo context of a row",
        "argv": json!(["/bin/echo", "context", "of", "a row"]).to_string(),
        "cwd": cwd, "uid": 0, "euid": 0, "gid": 0, "egid": 0, "parent": std::process::id(),
        "syscall": "execve", "argv_truncated": 0, "status": 0, "exe_inode": file.st_ino,
        "exe_dev": file.st_dev, "mode": format!("0{:o}", file.st_mode), "owner_uid": file.st_uid,
        "mnt_namespace": namespace("mnt"), "pid_namespace": namespace("pid"),
        "net_namespace": namespace("net"), "user_namespace": namespace("user"),
        "start_exact": 1, "overflows": null, "mtime": file.st_mtime,
        "same_time": 1, "recent": 1,
    });
    assert_eq!(row, expected);
}
