//! Arguments of every shape are recorded exactly or marked as cut.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use bygone_tests::{Daemon, requires_bpf, sql_rows, wait_until};
use serde_json::{Value, json};

/// Runs `/bin/true TAG ARGUMENT…` and gives its row.
fn recorded(daemon: &Daemon, tag: &str, arguments: &[OsString]) -> Value {
    let status = Command::new("/bin/true").arg(tag).args(arguments).stdin(Stdio::null()).status();
    assert!(status.unwrap().success());
    let statement = format!(
        "SELECT argv, cmdline, argv_bytes, cmdline_size, argv_truncated, overflows \
         FROM process_events WHERE cmdline LIKE '/bin/true {tag}%'"
    );
    wait_until("the row is visible", || sql_rows(daemon.data_dir(), &statement).into_iter().next())
}

fn bytes_of(tag: &str, arguments: &[OsString]) -> usize {
    let rest: usize = arguments.iter().map(|argument| argument.len() + 1).sum();
    "/bin/true".len() + 1 + tag.len() + 1 + rest
}

fn check_exact(daemon: &Daemon, tag: &str, arguments: &[OsString], shown: &[String]) {
    let row = recorded(daemon, tag, arguments);
    let mut argv = vec!["/bin/true".to_owned(), tag.to_owned()];
    argv.extend_from_slice(shown);
    let bytes = bytes_of(tag, arguments);
    let expected = json!({
        "argv": json!(argv).to_string(), "cmdline": argv.join(" "), "argv_bytes": bytes,
        "cmdline_size": bytes, "argv_truncated": 0, "overflows": null,
    });
    assert_eq!(row, expected);
}

fn check_text(daemon: &Daemon, tag: &str, arguments: &[&str]) {
    let given: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let shown: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    check_exact(daemon, tag, &given, &shown);
}

#[test]
fn arguments_are_exact_or_marked() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    let thirty: Vec<String> = (0..30).map(|index| format!("argument-{index}")).collect();
    let thirty: Vec<&str> = thirty.iter().map(String::as_str).collect();
    check_text(&daemon, "thirty", &thirty);
    check_text(&daemon, "empty", &["", "after", ""]);
    check_text(&daemon, "newline", &["one\ntwo", "tab\there", "\"quoted\" 'and' $more"]);
    check_text(&daemon, "unicode", &["größe", "日本語", "🦀"]);
    check_text(&daemon, "six-kib", &["x".repeat(6 * 1024).as_str(), "end"]);
    // Bytes that are not UTF-8 become \xHH; a backslash that would read as one is escaped.
    let raw = [OsString::from_vec(b"a\xff\x80z".to_vec()), OsString::from(r"c:\xff\x")];
    check_exact(&daemon, "raw", &raw, &[r"a\xff\x80z".to_owned(), r"c:\x5cxff\x".to_owned()]);
}

#[test]
fn long_arguments_are_exact_and_their_line_is_cut() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    // One argument may have at most 128 KiB.
    let long = [OsString::from("y".repeat(100 * 1024)), OsString::from("z".repeat(100 * 1024))];
    let row = recorded(&daemon, "long", &long);
    let bytes = bytes_of("long", &long);
    assert_eq!((&row["argv_truncated"], &row["overflows"]), (&json!(0), &json!("cmdline")));
    assert_eq!((&row["argv_bytes"], &row["cmdline_size"]), (&json!(bytes), &json!(bytes)));
    let argv: Vec<String> = serde_json::from_str(row["argv"].as_str().unwrap()).unwrap();
    assert_eq!(argv[..2], ["/bin/true", "long"]);
    let kept: Vec<OsString> = argv[2..].iter().map(OsString::from).collect();
    assert!(kept == long, "the arguments are not exact");
    assert_eq!(row["cmdline"].as_str().unwrap().len(), 64 << 10);
}

#[test]
fn what_is_not_to_be_recorded_is_masked() {
    if !requires_bpf() {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let config = "[process]\nenv = [\"API_TOKEN\", \"LANG\"]\nmask = [\"*token*\"]\n";
    let daemon = Daemon::start_in(folder.path(), config);
    let mut command = Command::new("/bin/true");
    command.args(["masked", "--token", "secret", "--user=me"]).env_clear();
    let status = command.env("LANG", "C").env("API_TOKEN", "secret").env("HOME", "/").status();
    assert!(status.unwrap().success());
    let statement = "SELECT cmdline, argv, env, env_count, masked FROM process_events \
                     WHERE cmdline LIKE '/bin/true masked%'";
    let row = wait_until("the row is visible", || {
        sql_rows(daemon.data_dir(), statement).into_iter().next()
    });
    assert_eq!(row["cmdline"], "/bin/true masked --token *** --user=me");
    assert_eq!(row["argv"], r#"["/bin/true","masked","--token","***","--user=me"]"#);
    let variables: Vec<&str> = row["env"].as_str().unwrap().split(' ').collect();
    assert!(variables.contains(&"API_TOKEN=***") && variables.contains(&"LANG=C"));
    assert_eq!((variables.len(), &row["env_count"], &row["masked"]), (2, &json!(3), &json!(1)));
}

#[test]
fn a_program_with_the_set_user_id_bit_is_told() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    // Below /tmp, which is mounted so that the bit counts here.
    let folder = tempfile::TempDir::new().unwrap();
    let program = folder.path().join("helper");
    std::fs::copy("/bin/true", &program).unwrap();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    mode(&program, 0o4755);
    mode(folder.path(), 0o755);
    let script = format!("{0}; {0} again", program.display());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script]).uid(65534).gid(65534);
    assert!(command.status().unwrap().success());
    let statement = format!(
        "SELECT DISTINCT uid, euid, setuid, setgid, parent_cmdline, mode FROM process_events \
         WHERE path = '{}'",
        program.display()
    );
    let row = wait_until("the row is visible", || {
        sql_rows(daemon.data_dir(), &statement).into_iter().next()
    });
    let expected = json!({
        "uid": 65534, "euid": 0, "setuid": 1, "setgid": 0, "mode": "0104755",
        "parent_cmdline": format!("/bin/sh -c {script}"),
    });
    assert_eq!(row, expected);
}

#[test]
fn a_script_keeps_its_own_path() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    let folder = tempfile::TempDir::new().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/bin/sh\nexit 5\n").unwrap();
    let readable_and_executable = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, readable_and_executable).unwrap();
    assert_eq!(Command::new(&script).status().unwrap().code(), Some(5));
    let statement = format!(
        "SELECT path, script_path FROM process_events WHERE script_path = '{}'",
        script.display()
    );
    let row = wait_until("the row is visible", || {
        sql_rows(daemon.data_dir(), &statement).into_iter().next()
    });
    assert_eq!(row["path"], json!(std::fs::canonicalize("/bin/sh").unwrap()));
}
