//! What the configuration leaves out of the history, and what it merges.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use bygone_tests::{Daemon, bygone, requires_bpf, requires_connector, sql_rows, storm, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A copy of a program at a path that no other test runs.
fn copy(folder: &Path, of: &str, name: &str) -> PathBuf {
    let copy = folder.canonicalize().unwrap().join(name);
    std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
    std::fs::copy(of, &copy).unwrap();
    copy
}

fn run(program: &Path, arguments: &[&str]) {
    let mut command = Command::new(program);
    assert!(command.args(arguments).stdin(Stdio::null()).status().unwrap().success());
}

fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_nanos()).expect("before 2262")
}

fn row(data_dir: &Path, statement: &str) -> Value {
    sql_rows(data_dir, statement).remove(0)
}

/// The one object that `bygone status` prints.
fn status(data_dir: &Path, arguments: &[&str]) -> String {
    let mut command = bygone();
    command.args(["status", "--data-dir"]).arg(data_dir).args(arguments);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until the daemon records programs.
fn ready(daemon: &Daemon, program: &Path) {
    let ready = format!(
        "SELECT count(*) > 0 AS ready FROM process_events WHERE path = '{}'",
        program.display()
    );
    wait_until("execs are recorded", || {
        run(program, &[]);
        (sql_rows(daemon.data_dir(), &ready) == [json!({ "ready": 1 })]).then_some(())
    });
}

const OPEN_BOOKS: &str = "SELECT count(*) AS n FROM ledger WHERE excluded > filtered \
                          OR seen != stored + filtered + merged + lost";

#[test]
fn excluded_programs_are_counted_and_not_recorded() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (tool, told) = (
        copy(folder.path(), "/bin/true", "opt/build/a/cc"),
        copy(folder.path(), "/bin/true", "told"),
    );
    let parent = copy(folder.path(), "/bin/sh", "parent");
    // A way over a link, as /bin is one of /usr/bin.
    std::os::unix::fs::symlink("opt", folder.path().join("link")).unwrap();
    let config = format!(
        "[process]\nexclude_paths = [\"{0}/link/build/%%\"]\nexclude_parents = [\"{1}\"]\nimages = \"none\"\n\
         [file]\nenabled = false\n[executable]\nenabled = false\n",
        folder.path().display(),
        parent.display()
    );
    let daemon = Daemon::start_in(&folder.path().join("data"), &config);
    ready(&daemon, &told);
    let from_ns = now_ns();
    for _ in 0..20 {
        run(&tool, &[]);
    }
    run(&parent, &["-c", "/bin/true; true"]);
    run(&told, &["after"]);
    let to_ns = now_ns();
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.log);
    let data_dir = &stopped.data_dir;

    let rows = format!(
        "SELECT sum(path = '{}') AS tool, sum(path = '{}') AS parent, sum(parent_path = '{1}') AS children, \
         sum(cmdline LIKE '%told after') AS told FROM process_events",
        tool.display(),
        parent.display()
    );
    assert_eq!(row(data_dir, &rows), json!({ "tool": 0, "parent": 1, "children": 0, "told": 1 }));
    let ledger = "SELECT class, sum(excluded) AS excluded, sum(lost) AS lost FROM ledger \
                  WHERE class IN ('exec', 'exit') GROUP BY class ORDER BY class";
    let of = |class: &str| json!({ "class": class, "excluded": 21, "lost": 0 });
    assert_eq!(sql_rows(data_dir, ledger), [of("exec"), of("exit")]);
    assert_eq!(row(data_dir, OPEN_BOOKS), json!({ "n": 0 }));
    assert_eq!(row(data_dir, "SELECT count(*) AS n FROM gaps"), json!({ "n": 0 }));
    // Nothing is made up of those that ended unrecorded.
    let reconciled = "SELECT count(*) AS n FROM process_exit_events WHERE source != 'event'";
    assert_eq!(row(data_dir, reconciled), json!({ "n": 0 }));

    let reasons = format!(
        "SELECT complete('process_events', {from_ns}, {to_ns}) AS complete, \
         incomplete_reasons('process_events', {from_ns}, {to_ns}) AS reasons"
    );
    let answer = row(data_dir, &reasons);
    let says = "exec: 21 events were filtered by configuration ([process] exclude_…) from ";
    assert_eq!(answer["complete"], 0);
    assert!(answer["reasons"].as_str().is_some_and(|reasons| reasons.contains(says)), "{answer}");

    let text = status(data_dir, &[]);
    assert!(
        text.contains("filtered  21 exec, 21 exit in the last day, by [process] exclude_…\n"),
        "{text}"
    );
    let object: Value = serde_json::from_str(&status(data_dir, &["-o", "json"])).unwrap();
    assert_eq!(object["last_day"]["filtered"], json!({ "exec": 21, "exit": 21 }));
}

/// The ledger's sums of what a storm of one program made, and the tables' own.
fn sums(data_dir: &Path, path: &Path) -> Value {
    let statement = format!(
        "SELECT (SELECT count(*) FROM process_events WHERE path = '{0}' AND syscall != 'snapshot') AS execs, \
         (SELECT coalesce(sum(count), 0) FROM process_summary_events WHERE path = '{0}' AND kind = 'exec') AS merged, \
         (SELECT sum(count) FROM process_summary_events) = (SELECT sum(merged) FROM ledger \
           WHERE class IN ('exec', 'fork', 'exit')) AS agree, \
         (SELECT count(*) FROM process_fork_events f WHERE f.parent_guid = (SELECT guid FROM process_events \
           WHERE cmdline LIKE '/bin/sh -c : over-the-limit;%') AND NOT EXISTS (SELECT 1 FROM process_exit_events x \
             WHERE x.guid = f.guid)) AS endless, \
         (SELECT sum(lost) FROM ledger) AS lost",
        path.display()
    );
    row(data_dir, &statement)
}

#[test]
fn what_is_above_the_limit_is_in_summaries_to_the_event() {
    if !requires_bpf() {
        return;
    }
    let count = storm(1_000);
    let folder = TempDir::new().unwrap();
    let (tool, told) =
        (copy(folder.path(), "/bin/true", "tool"), copy(folder.path(), "/bin/true", "told"));
    let config =
        "[process]\nrate_limit = 2\n[file]\nenabled = false\n[executable]\nenabled = false\n";
    let daemon = Daemon::start_in(&folder.path().join("data"), config);
    ready(&daemon, &told);
    let from_ns = now_ns();
    let script = format!(
        ": over-the-limit; i=0; while [ $i -lt {count} ]; do {}; i=$((i + 1)); done",
        tool.display()
    );
    run(Path::new("/bin/sh"), &["-c", &script]);
    let to_ns = now_ns();
    // A summary comes while the daemon runs, not only at its end.
    wait_until("a summary is there", || {
        let told = "SELECT count(*) > 0 AS told FROM process_summary_events WHERE kind = 'exec'";
        (sql_rows(daemon.data_dir(), told) == [json!({ "told": 1 })]).then_some(())
    });
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.log);
    let data_dir = &stopped.data_dir;

    let sums = sums(data_dir, &tool);
    let number = |name: &str| sums[name].as_u64().unwrap();
    assert_eq!(number("execs") + number("merged"), count, "{sums}");
    assert!((2..count / 2).contains(&number("execs")), "{sums}");
    assert_eq!((number("agree"), number("lost"), number("endless")), (1, 0, 0), "{sums}");
    assert_eq!(row(data_dir, OPEN_BOOKS), json!({ "n": 0 }));
    let stored = "WITH rows(class, n) AS (
            SELECT 'exec', count(*) FROM process_events WHERE syscall != 'snapshot' UNION ALL
            SELECT 'fork', count(*) FROM process_fork_events UNION ALL
            SELECT 'exit', count(*) FROM process_exit_events WHERE source = 'event')
        SELECT sum(n = stored) AS n FROM rows JOIN (SELECT class, sum(stored) AS stored FROM ledger GROUP BY class) \
        USING (class)";
    assert_eq!(row(data_dir, stored), json!({ "n": 3 }));
    let summary = format!(
        "SELECT DISTINCT s.uid, s.exe_inode, s.parent_path, s.parent_guid = e.guid AS same, s.end_ns >= s.time_ns \
         AND s.end_ns - s.time_ns < 1000000000 AS second FROM process_summary_events s JOIN process_events e \
         ON e.cmdline LIKE '/bin/sh -c : over-the-limit;%' WHERE s.path = '{}' AND s.kind = 'exec'",
        tool.display()
    );
    let inode = std::os::unix::fs::MetadataExt::ino(&tool.metadata().unwrap());
    let expected = json!({
        "uid": rustix::process::getuid().as_raw(),
        "exe_inode": inode,
        "parent_path": Path::new("/bin/sh").canonicalize().unwrap(),
        "same": 1,
        "second": 1,
    });
    assert_eq!(sql_rows(data_dir, &summary), [expected]);

    let reasons = |table: &str| {
        let asked = format!("SELECT incomplete_reasons('{table}', {from_ns}, {to_ns}) AS reasons");
        row(data_dir, &asked)["reasons"].as_str().map(str::to_owned)
    };
    let says = "events were merged into process_summary_events from ";
    assert!(reasons("process_events").is_some_and(|reasons| reasons.contains(says)));
    // Other reasons there may be: not every kernel tells what it skipped.
    assert!(reasons("process_summary_events").is_none_or(|reasons| !reasons.contains("merged")));
    let text = status(data_dir, &[]);
    assert!(text.contains(" in the last day, see process_summary_events\n"), "{text}");
}

#[test]
fn without_programs_in_the_kernel_the_same_rules_hold() {
    let folder = TempDir::new().unwrap();
    let (tool, told) = (
        copy(folder.path(), "/bin/sleep", "build/tool"),
        copy(folder.path(), "/bin/sleep", "told"),
    );
    let mut tiers = vec!["tier = \"scan\"\nscan_interval = \"100ms\""];
    if requires_connector() {
        tiers.push("tier = \"connector\"");
    }
    for (number, tier) in tiers.into_iter().enumerate() {
        let config = format!(
            "[process]\n{tier}\nexclude_paths = [\"{}/build/%%\"]\n[file]\nenabled = false\n[executable]\nenabled = false\n",
            folder.path().canonicalize().unwrap().display()
        );
        let daemon = Daemon::start_in(&folder.path().join(format!("data{number}")), &config);
        let data_dir = daemon.data_dir().to_owned();
        let start = |program: &Path| {
            let mut command = Command::new(program);
            command.arg("3600").stdin(Stdio::null()).spawn().unwrap()
        };
        let mut left_out = start(&tool);
        let mut recorded = start(&told);
        let rows = |pid: u32| {
            let both = format!(
                "SELECT (SELECT count(*) FROM process_events WHERE pid = {pid}) AS execs, \
                 (SELECT count(*) FROM process_exit_events WHERE pid = {pid}) AS exits"
            );
            row(&data_dir, &both)
        };
        let pid = recorded.id();
        let wait = |of: &str, expected: Value| {
            wait_until(of, || (rows(pid) == expected).then_some(()));
        };
        wait("the start is recorded", json!({ "execs": 1, "exits": 0 }));
        left_out.kill().unwrap();
        left_out.wait().unwrap();
        recorded.kill().unwrap();
        recorded.wait().unwrap();
        wait("the end is recorded", json!({ "execs": 1, "exits": 1 }));
        let stopped = daemon.stop();
        assert!(stopped.status.success(), "{}", stopped.log);
        assert_eq!(rows(left_out.id()), json!({ "execs": 0, "exits": 0 }), "{tier}");
        let ledger = "SELECT sum(excluded) AS n FROM ledger WHERE class = 'exit'";
        assert_eq!(row(&data_dir, ledger), json!({ "n": 1 }), "{tier}");
        assert_eq!(row(&data_dir, OPEN_BOOKS), json!({ "n": 0 }), "{tier}");
    }
}

#[test]
fn what_cannot_be_excluded_is_refused_with_key_value_and_mend() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bygone.toml");
    for (line, says) in [
        (
            "exclude_paths = [\"bin/true\"]",
            "`process.exclude_paths`: `bin/true` is not an absolute path: write it from `/` on",
        ),
        (
            "exclude_parents = [\"/usr/%/x\"]",
            "name one path, or all below one as in \"/opt/build/%%\"",
        ),
        (
            "exclude_cgroups = [\"/%%\"]",
            "`/%%` is everything: to record no processes at all, set enabled = false instead",
        ),
        (
            "exclude_uids = [\"no such user\"]",
            "this host knows no user \"no such user\": write the user id as a number",
        ),
        ("rate_limit = -1", "`process.rate_limit`"),
    ] {
        std::fs::write(&file, format!("[process]\n\n{line}\n")).unwrap();
        for command in ["config", "run"] {
            let mut refused = bygone();
            refused.arg(command).arg("--config").arg(&file).stdin(Stdio::null());
            if command == "run" {
                refused.arg("--data-dir").arg(folder.path().join("data"));
            }
            let output = refused.output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success(), "{line}");
            assert!(stderr.contains(says) && stderr.contains("bygone.toml:3:"), "{stderr}");
        }
    }
}
