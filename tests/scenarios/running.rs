//! Starting and stopping the daemon.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use bygone_tests::{Daemon, bygone, bygone_as_nobody, requires_bpf, sql_rows, wait_until};
use serde_json::json;
use tempfile::TempDir;

#[test]
fn a_second_daemon_is_refused_with_the_first_ones_pid() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    let second = bygone().arg("run").arg("--data-dir").arg(daemon.data_dir()).output().unwrap();
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&daemon.pid().to_string()), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_clean_stop_flushes_and_the_next_start_says_how_long_it_was_down() {
    if !requires_bpf() {
        return;
    }
    let first = Daemon::start();
    let stopped = first.stop();
    assert!(stopped.status.success(), "{}", stopped.log);
    let no_gap = "SELECT * FROM gaps WHERE reason = 'daemon_down'";
    assert!(sql_rows(&stopped.data_dir, no_gap).is_empty(), "the first start has no gap");
    let second = Daemon::start_in(&stopped.data_dir, "[file]\nenabled = false\n");
    let gap = "SELECT source, end_ns > time_ns ordered, lost, \
               (SELECT count(*) FROM capabilities WHERE kind = 'exec' AND tier IS NOT NULL) starts \
               FROM gaps WHERE reason = 'daemon_down' AND source = 'process_ebpf'";
    let expected = json!({ "source": "process_ebpf", "ordered": 1, "lost": null, "starts": 2 });
    wait_until("the gap is visible", || {
        (sql_rows(second.data_dir(), gap) == [expected.clone()]).then_some(())
    });
}

#[test]
fn a_data_folder_that_is_removed_while_running_is_an_error() {
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    let config = "[process]\nenabled = false\n[file]\nenabled = false\n";
    for again in [false, true] {
        let daemon = Daemon::start_in(&data_dir, config);
        std::fs::remove_dir_all(&data_dir).unwrap();
        if again {
            std::fs::create_dir(&data_dir).unwrap();
        }
        let stopped = daemon.stop();
        assert_eq!(stopped.status.code(), Some(1), "{}", stopped.log);
        let last = stopped.log.lines().last().unwrap();
        let words = format!("the data folder {} was removed or replaced", data_dir.display());
        assert!(last.contains(&words) && last.contains("is lost"), "{}", stopped.log);
        assert!(!stopped.log.contains("everything collected is on disk"), "{}", stopped.log);
    }
}

#[test]
fn a_data_folder_that_is_open_to_others_is_warned_of_and_left_so() {
    let folder = TempDir::new().unwrap();
    let config = "[process]\nenabled = false\n[file]\nenabled = false\n";
    for (mode, warned) in [(0o700, false), (0o755, true)] {
        let data_dir = folder.path().join(format!("data-{mode:o}"));
        std::fs::create_dir(&data_dir).unwrap();
        std::fs::set_permissions(&data_dir, Permissions::from_mode(mode)).unwrap();
        let stopped = Daemon::start_in(&data_dir, config).stop();
        assert!(stopped.status.success(), "{}", stopped.log);
        let mend = format!("chmod 700 {}", data_dir.display());
        assert_eq!(stopped.log.matches(&mend).count(), usize::from(warned), "{}", stopped.log);
        let left = std::fs::metadata(&data_dir).unwrap().permissions().mode();
        assert_eq!(left & 0o777, mode);
    }
}

#[test]
fn what_is_not_watched_is_said_at_start_and_recorded() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    let log = daemon.log();
    for kind in ["exec", "fork", "exit"] {
        let line = log.lines().find(|line| line.contains(&format!("kind=\"{kind}\"")));
        assert!(line.is_some_and(|line| line.contains("process_ebpf")), "{kind}: {log}");
    }
    let rows = "SELECT kind, source FROM capabilities \
                WHERE kind IN ('exec', 'executable', 'exit', 'file', 'fork') ORDER BY kind";
    let row = |kind: &str| json!({ "kind": kind, "source": "process_ebpf" });
    let off = json!({ "kind": "file", "source": null });
    wait_until("capabilities are recorded", || {
        let content = json!({ "kind": "executable", "source": "executable" });
        let expected = [row("exec"), content, row("exit"), off.clone(), row("fork")];
        (sql_rows(daemon.data_dir(), rows) == expected).then_some(())
    });
}

#[test]
fn without_rights_it_records_what_it_can_and_says_what_not() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let command = bygone_as_nobody(folder.path());
    let watched = folder.path().join("watched");
    std::fs::create_dir(&watched).unwrap();
    let config = format!("[file.categories]\nmine = [\"{}/%%\"]\n", watched.display());
    let daemon = Daemon::start_by(command, &folder.path().join("data"), &config);
    let log = daemon.log();
    for kind in ["exec", "fork", "exit"] {
        let line = log.lines().find(|line| line.contains(&format!("kind=\"{kind}\"")));
        let line = line.unwrap_or_else(|| panic!("no line for {kind}: {log}"));
        // Since Linux 6.6 the connector takes no right; looks at /proc show no forks.
        let words = if kind == "fork" { "atching" } else { "process_" };
        assert!(line.contains(words) && line.contains("CAP_BPF"), "{line}");
    }
    std::fs::write(watched.join("file"), "text").unwrap();
    let recorded = "SELECT category FROM file_events WHERE action = 'CREATED'";
    wait_until("the file is recorded", || {
        (sql_rows(daemon.data_dir(), recorded) == [json!({ "category": "mine" })]).then_some(())
    });
    let capabilities = "SELECT kind, source, reason LIKE '%CAP_BPF%' named, blind_to != '' blind \
                        FROM capabilities WHERE kind IN ('exec', 'exit', 'fork') ORDER BY kind";
    let others = "SELECT count(*) AS n, count(source) AS seen FROM capabilities \
                  WHERE kind IN ('signal', 'ptrace', 'mount')";
    assert_eq!(sql_rows(daemon.data_dir(), others), [json!({ "n": 3, "seen": 0 })]);
    let rows = sql_rows(daemon.data_dir(), capabilities);
    let source = rows[0]["source"].as_str().unwrap();
    let fork = match source {
        "process_connector" => Some(source),
        "process_scan" => None,
        other => panic!("{other}"),
    };
    let row = |kind: &str, source: Option<&str>| json!({ "kind": kind, "source": source, "named": 1, "blind": 1 });
    assert_eq!(rows, [row("exec", Some(source)), row("exit", Some(source)), row("fork", fork)]);
    let mut own = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pid = own.id();
    let seen = format!("SELECT pid FROM process_events WHERE pid = {pid} AND cmdline = 'cat'");
    wait_until("the process is recorded", || {
        (sql_rows(daemon.data_dir(), &seen) == [json!({ "pid": pid })]).then_some(())
    });
    own.kill().unwrap();
    own.wait().unwrap();
    assert!(daemon.stop().status.success());
}

#[test]
fn a_source_that_was_switched_off_for_a_run_has_a_gap_over_it() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    let files = format!("[file.categories]\nmine = [\"{}/%%\"]\n", folder.path().display());
    for config in [files.as_str(), "[file]\nenabled = false\n", files.as_str()] {
        let stopped = Daemon::start_in(&data_dir, config).stop();
        assert!(stopped.status.success(), "{}", stopped.log);
    }
    let gaps = "SELECT (SELECT max(end_ns) - min(time_ns) FROM gaps WHERE source = 'file_inotify') \
                >= (SELECT max(end_ns) - min(time_ns) FROM gaps WHERE source = 'process_ebpf') \
                    - 1000000000 AS covered, \
                (SELECT count(*) FROM capabilities WHERE kind = 'file' AND source IS NULL) AS off";
    assert_eq!(sql_rows(&data_dir, gaps), [json!({ "covered": 1, "off": 1 })]);
}
