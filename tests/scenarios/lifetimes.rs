//! Where processes came from and what came from them: the view and the functions over execs, forks
//! and exits.

use std::process::{Child, ChildStdin, Command, Stdio};

use bygone_tests::{Daemon, requires_bpf, sql, sql_rows, wait_until};
use serde_json::{Value, json};

fn shell(script: &str) -> Child {
    Command::new("/bin/sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the shell starts")
}

/// The one row of a statement, once it is there.
fn row(daemon: &Daemon, statement: &str) -> Value {
    wait_until(statement, || {
        let mut rows = sql_rows(daemon.data_dir(), statement);
        assert!(rows.len() < 2, "{rows:?}");
        rows.pop()
    })
}

#[test]
fn a_program_runs_from_its_exec_to_the_next_or_to_the_exit() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    let mut child = shell("read wait; exec /bin/sh -c '(exit 5); exit 6'");
    let running = format!(
        "SELECT end_ns, lasted_ns, ended_by, exit_code FROM process_lifetimes \
         WHERE pid = {} AND cmdline LIKE '%read wait%'",
        child.id()
    );
    let nothing = json!({ "end_ns": null, "lasted_ns": null, "ended_by": null, "exit_code": null });
    assert_eq!(row(&daemon, &running), nothing);
    let guid = format!("SELECT guid FROM process_events WHERE pid = {}", child.id());
    let guid = row(&daemon, &guid)["guid"].as_str().unwrap().to_owned();
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(6));

    let programs = format!(
        "SELECT cmdline, started_by, ended_by, exit_code, lasted_ns = end_ns - time_ns sum, \
         cpu_ns > 0 cpu FROM process_lifetimes WHERE guid = '{guid}' ORDER BY time_ns"
    );
    let script = "(exit 5); exit 6";
    let expected = [
        json!({
            "cmdline": format!("/bin/sh -c read wait; exec /bin/sh -c '{script}'"),
            "started_by": "execve", "ended_by": "execve", "exit_code": null, "sum": 1, "cpu": null,
        }),
        json!({
            "cmdline": format!("/bin/sh -c {script}"),
            "started_by": "execve", "ended_by": "exit", "exit_code": 6, "sum": 1, "cpu": 1,
        }),
    ];
    wait_until("both programs have ended", || {
        (sql_rows(daemon.data_dir(), &programs) == expected).then_some(())
    });
    let forked = format!(
        "SELECT cmdline, started_by, ended_by, exit_code FROM process_lifetimes \
         WHERE parent_guid = '{guid}'"
    );
    let expected =
        json!({ "cmdline": null, "started_by": "fork", "ended_by": "exit", "exit_code": 5 });
    assert_eq!(row(&daemon, &forked), expected);

    // Another start finds what still runs; it is not a second lifetime.
    let own = format!(
        "SELECT started_by, end_ns, ended_by FROM process_lifetimes WHERE pid = {}",
        std::process::id()
    );
    let expected = json!({ "started_by": "snapshot", "end_ns": null, "ended_by": null });
    assert_eq!(row(&daemon, &own), expected);
    let stopped = daemon.stop();
    let daemon = Daemon::start_in(&stopped.data_dir, "");
    let snapshots =
        format!("SELECT count(*) n FROM process_events WHERE pid = {}", std::process::id());
    wait_until("the second start has its own snapshot", || {
        (sql_rows(daemon.data_dir(), &snapshots) == [json!({ "n": 2 })]).then_some(())
    });
    assert_eq!(row(&daemon, &own), expected);
}

#[test]
fn ancestors_and_descendants_do_not_follow_who_takes_an_orphan() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    let mut middle =
        shell("exec 3<&0; /bin/sh -c '/bin/cat <&3; exit 3' orphan 3<&3 & /bin/echo a; exit 0");
    let stdin = middle.stdin.take();
    assert_eq!(middle.wait().unwrap().code(), Some(0));
    let cat = row(
        &daemon,
        "SELECT c.guid, c.pid, c.parent FROM process_events c JOIN process_events o \
         ON c.parent_guid = o.guid AND o.cmdline LIKE '%orphan' WHERE c.path LIKE '%/cat'",
    );
    let guid = cat["guid"].as_str().unwrap();
    let orphan = std::fs::read_to_string(format!("/proc/{}/status", cat["parent"])).unwrap();
    let parent = orphan.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
    assert_ne!(parent, middle.id().to_string(), "it is an orphan");

    let ancestors = format!(
        "SELECT depth, pid, cmdline, end_ns IS NULL running FROM process_ancestors('{guid}') \
         WHERE depth < 4"
    );
    let rows = sql_rows(daemon.data_dir(), &ancestors);
    let pids: Vec<&Value> = rows.iter().map(|row| &row["pid"]).collect();
    let (middle_id, own_id) = (json!(middle.id()), json!(std::process::id()));
    assert_eq!(pids[..4], [&cat["pid"], &cat["parent"], &middle_id, &own_id], "{rows:?}");
    let running: Vec<&Value> = rows.iter().map(|row| &row["running"]).collect();
    assert_eq!(running[..4], [1, 1, 0, 1], "{rows:?}");
    assert_eq!(rows[1]["cmdline"], "/bin/sh -c /bin/cat <&3; exit 3 orphan");

    descendants(&daemon, &middle, stdin);
    // The exit's parent is who reaped it.
    let reaper = format!(
        "SELECT parent <> {} other FROM process_exit_events WHERE pid = {}",
        middle.id(),
        cat["parent"]
    );
    assert_eq!(row(&daemon, &reaper), json!({ "other": 1 }));
}

/// The descendants of the shell that is gone, while its orphan runs and when all have ended.
fn descendants(daemon: &Daemon, middle: &Child, stdin: Option<ChildStdin>) {
    let root = format!(
        "SELECT guid FROM process_events WHERE pid = {} AND syscall = 'execve'",
        middle.id()
    );
    let root = row(daemon, &root)["guid"].as_str().unwrap().to_owned();
    let descendants = format!(
        "SELECT depth, path, exit_code, end_ns IS NULL running, \
         ifnull(parent_guid, '') <> guid other FROM process_descendants('{root}') ORDER BY depth, time_ns"
    );
    let dash = std::fs::canonicalize("/bin/sh").unwrap();
    let line = |depth: u32, path: &str, exit_code: Option<u32>, running: u32| {
        json!({
            "depth": depth, "path": std::fs::canonicalize(path).unwrap(), "exit_code": exit_code,
            "running": running, "other": 1,
        })
    };
    let sh = dash.to_str().unwrap();
    let expected = [
        line(0, sh, Some(0), 0),
        line(1, sh, None, 1),
        line(1, "/bin/echo", Some(0), 0),
        line(2, "/bin/cat", None, 1),
    ];
    wait_until("all but the orphan and its child have ended", || {
        (sql_rows(daemon.data_dir(), &descendants) == expected).then_some(())
    });

    drop(stdin);
    let expected = [
        line(0, sh, Some(0), 0),
        line(1, sh, Some(3), 0),
        line(1, "/bin/echo", Some(0), 0),
        line(2, "/bin/cat", Some(0), 0),
    ];
    wait_until("all have ended", || {
        (sql_rows(daemon.data_dir(), &descendants) == expected).then_some(())
    });
}

#[test]
fn what_ran_before_the_daemon_has_ancestors_and_descendants() {
    if !requires_bpf() {
        return;
    }
    let mut child = shell("read wait");
    let daemon = Daemon::start();
    let guid = format!("SELECT guid FROM process_events WHERE pid = {}", child.id());
    let guid = row(&daemon, &guid)["guid"].as_str().unwrap().to_owned();
    let ancestors = format!(
        "SELECT pid, path IS NOT NULL known FROM process_ancestors('{guid}') WHERE depth = 1"
    );
    assert_eq!(row(&daemon, &ancestors), json!({ "pid": std::process::id(), "known": 1 }));
    let own = format!(
        "SELECT d.depth, d.end_ns IS NULL running FROM process_events e, \
         process_descendants(e.guid) d WHERE e.pid = {} AND d.guid = '{guid}'",
        std::process::id()
    );
    assert_eq!(row(&daemon, &own), json!({ "depth": 1, "running": 1 }));
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_wrong_argument_is_said_to_be_one() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    wait_until("there are rows", || {
        let count = sql_rows(daemon.data_dir(), "SELECT count(*) > 0 n FROM process_events");
        (count == [json!({ "n": 1 })]).then_some(())
    });
    let stderr = |statement: &str| {
        let output = sql(daemon.data_dir(), statement);
        assert!(!output.status.success(), "{statement}");
        output.stderr
    };
    let none = stderr("SELECT * FROM process_ancestors('4711')");
    assert!(none.contains("takes the guid of a process") && none.contains("'4711'"), "{none}");
    let missing = stderr("SELECT * FROM process_descendants");
    assert!(missing.contains("write process_descendants(process)"), "{missing}");
    let unknown = "SELECT * FROM process_ancestors('00000000-1-1')";
    assert!(sql_rows(daemon.data_dir(), unknown).is_empty());
}
