//! Mistakes of users and damage on disk: one clear line on standard error, the right exit status,
//! no panic, nothing else lost.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bygone_tests::{
    Daemon, Output, bygone, bygone_as_nobody, requires_bpf, sql, sql_rows, wait_until,
};
use serde_json::json;
use tempfile::TempDir;

fn check_one_line(output: &Output, code: i32, says: &[&str]) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert_eq!(output.stdout, "", "nothing on standard output");
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    for part in says {
        assert!(output.stderr.contains(part), "{part:?} is not in {:?}", output.stderr);
    }
}

fn run(arguments: &[&str]) -> Output {
    let output = bygone().args(arguments).stdin(Stdio::null()).output().unwrap();
    Output {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder with the rows of one short run of the daemon that was then killed, so that its
/// journal is not sealed.
fn recorded() -> (TempDir, PathBuf) {
    let killed = Daemon::start();
    let ready = "SELECT count(*) > 10 ready FROM process_events";
    wait_until("there are rows", || {
        (sql_rows(killed.data_dir(), ready) == [json!({ "ready": 1 })]).then_some(())
    });
    let killed = killed.kill();
    (killed.folder.unwrap(), killed.data_dir)
}

#[test]
fn a_missing_table_is_named_with_the_nearest() {
    let folder = TempDir::new().unwrap();
    let output = sql(folder.path(), "SELECT * FROM proces_events");
    check_one_line(&output, 1, &["proces_events", "process_events"]);
}

#[test]
fn bad_sql_says_where() {
    let folder = TempDir::new().unwrap();
    check_one_line(&sql(folder.path(), "SELEC 1"), 1, &["SELEC"]);
    check_one_line(&sql(folder.path(), "SELECT nope FROM users"), 1, &["nope"]);
}

#[test]
fn the_statement_of_a_script_that_fails_is_named() {
    let folder = TempDir::new().unwrap();
    let output = sql(folder.path(), "-- one\nSELECT nope FROM users;\nSELECT 2");
    check_one_line(&output, 1, &["bygone: statement 1, line 2: no such column: nope"]);
    let output = run(&["sql", "SELECT 1 WHERE 0", "SELECT 1 WHERE 0; SELECT * FROM xyz"]);
    assert_eq!(output.status.code(), Some(1));
    let says = "bygone: argument 2: statement 2, line 1: no such table: xyz";
    assert!(output.stderr.contains(says), "{}", output.stderr);
}

#[test]
fn commands_of_the_shell_on_standard_input_say_what_to_do() {
    let folder = TempDir::new().unwrap();
    let output = sql(folder.path(), ".tables\n");
    check_one_line(&output, 2, &["line 1: .tables is a command of the shell", "bygone tables"]);
    let output = sql(folder.path(), "SELECT 1;\n.mode csv\nSELECT 2;\n");
    check_one_line(&output, 2, &["line 2: .mode csv", "-o FORM"]);
}

#[test]
fn nothing_can_be_changed() {
    let folder = TempDir::new().unwrap();
    for statement in [
        "DELETE FROM process_events",
        "CREATE TABLE t (a)",
        "ATTACH '/tmp/other.db' AS other",
        "PRAGMA journal_mode = DELETE",
    ] {
        check_one_line(&sql(folder.path(), statement), 1, &["read-only"]);
    }
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing");
    let output = sql(&missing, "SELECT * FROM process_events");
    check_one_line(&output, 1, &[missing.to_str().unwrap(), "bygone run"]);
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let path = file.to_str().unwrap();
    check_one_line(&sql(&file, "SELECT * FROM process_events"), 1, &[path]);
    check_one_line(&run(&["run", "--data-dir", path]), 1, &[path]);
}

#[test]
fn a_data_folder_of_another_user_is_named() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    let folder = TempDir::new().unwrap();
    let output = bygone_as_nobody(folder.path())
        .args(["sql", "--data-dir"])
        .arg(daemon.data_dir())
        .arg("SELECT * FROM process_events")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let says = [daemon.data_dir().to_str().unwrap(), "ermission denied"];
    assert!(says.iter().all(|part| stderr.contains(part)), "{stderr}");
}

#[test]
fn an_unknown_key_is_named_with_the_nearest() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("bygone.toml");
    std::fs::write(&config, "[store]\njournal_byte = 1\n").unwrap();
    let output = run(&["run", "--config", config.to_str().unwrap()]);
    check_one_line(&output, 1, &["journal_byte", "journal_bytes", "[store]", ":2:"]);
}

#[test]
fn what_cannot_be_used_is_refused_by_config_and_run_alike() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("bygone.toml");
    for (text, says) in [
        ("[retention.tables]\nfile_event = {}\n", ["file_event`", "`file_events`"]),
        ("[file]\nexclude = [\"tmp/%%\"]\n", ["file.exclude", "not an absolute path"]),
        ("[file.categories]\nweb = []\n", ["file.categories.web", "without patterns"]),
    ] {
        std::fs::write(&config, text).unwrap();
        for command in ["config", "run"] {
            let output = run(&[command, "--config", config.to_str().unwrap()]);
            check_one_line(&output, 1, &[":2:", says[0], says[1]]);
        }
    }
}

#[test]
fn wrong_words_are_usage_errors() {
    let output = run(&["sqll"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stderr.contains("sqll"), "{}", output.stderr);
    assert_eq!(run(&["sql", "-o", "yaml", "SELECT 1"]).status.code(), Some(2));
}

#[test]
fn a_flipped_byte_costs_one_frame_and_is_reported() {
    if !requires_bpf() {
        return;
    }
    let (_folder, data_dir) = recorded();
    let before = sql_rows(&data_dir, "SELECT count(*) n FROM process_events");
    let journal = only_file(&data_dir.join("journal"));
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&journal).unwrap();
    // Far enough behind the header to be in rows, and in the first half so that more follow.
    let place = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], place).unwrap();

    let output = sql(&data_dir, "SELECT count(*) n FROM process_events");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.contains(journal.file_name().unwrap().to_str().unwrap()), "{output:?}");
    let after = sql_rows(&data_dir, "SELECT count(*) n FROM process_events");
    assert!(after[0]["n"].as_u64() <= before[0]["n"].as_u64());

    let daemon = Daemon::start_in(&data_dir, "[file]\nenabled = false\n");
    let gaps = "SELECT count(*) > 0 reported FROM gaps WHERE reason = 'corrupt'";
    wait_until("the damage is a gap", || {
        (sql_rows(&data_dir, gaps) == [json!({ "reported": 1 })]).then_some(())
    });
    let kept = sql_rows(&data_dir, "SELECT count(*) n FROM process_events");
    assert!(kept[0]["n"].as_u64() >= after[0]["n"].as_u64(), "what was intact is kept");
    assert!(daemon.stop().status.success());
}

fn only_file(folder: &Path) -> PathBuf {
    let files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().unwrap()
}
