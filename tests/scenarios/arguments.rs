//! Arguments of every shape are recorded exactly or marked as cut.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
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
fn long_arguments_are_cut_and_say_so() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    // One argument may have at most 128 KiB.
    let long = [OsString::from("y".repeat(100 * 1024)), OsString::from("z".repeat(100 * 1024))];
    let row = recorded(&daemon, "long", &long);
    let bytes = bytes_of("long", &long);
    assert_eq!(row["argv_truncated"], 1);
    assert_eq!(row["overflows"], "cmdline");
    assert_eq!((&row["argv_bytes"], &row["cmdline_size"]), (&json!(bytes), &json!(bytes)));
    let argv: Vec<String> = serde_json::from_str(row["argv"].as_str().unwrap()).unwrap();
    assert_eq!(argv[..2], ["/bin/true", "long"]);
    assert_eq!(argv.len(), 3);
    assert!(argv[2].len() > 8000 && argv[2].bytes().all(|byte| byte == b'y'), "{}", argv[2].len());
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
    let readable_and_executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
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
