//! `bygone status` beside a daemon and after it, and what retention takes.

use std::path::Path;
use std::process::{Command, Stdio};

use bygone_tests::{Daemon, bygone, requires_bpf};

fn status(data_dir: &Path, arguments: &[&str]) -> String {
    let mut command = bygone();
    command.args(["status", "--data-dir"]).arg(data_dir).args(arguments).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_stored_and_who_writes_is_told() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    assert!(Command::new("/bin/true").stdin(Stdio::null()).status().unwrap().success());
    let running = status(daemon.data_dir(), &[]);
    let words = format!("writer    running as process {}\n", daemon.pid());
    assert!(running.contains(&words), "{running}");
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.log);
    let text = status(&stopped.data_dir, &[]);
    assert!(text.contains("writer    not running; its last sign of life was"), "{text}");
    assert!(text.contains("\nprocess_events  "), "{text}");
    let table = status(&stopped.data_dir, &["--retention", "-o", "csv"]);
    let row = table.lines().find(|line| line.starts_with("process_events,")).unwrap();
    assert!(row.ends_with(",0,0,0"), "nothing goes: {row}");
    let mut refused = bygone();
    refused.args(["status", "-o", "csv", "--data-dir"]).arg(&stopped.data_dir);
    let refused = refused.stdin(Stdio::null()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("add --retention"));

    // Under a configuration that keeps nothing, all would go; the dry run takes nothing.
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("bygone.toml");
    std::fs::write(&config, "[retention]\nmax_bytes = 1\n").unwrap();
    let arguments = ["--retention", "-o", "csv", "--config", config.to_str().unwrap()];
    for _ in 0..2 {
        let table = status(&stopped.data_dir, &arguments);
        let row = table.lines().find(|line| line.starts_with("process_events,")).unwrap();
        let cells: Vec<&str> = row.split(',').collect();
        assert_eq!(cells[7..10], cells[1..4], "{row}");
        assert_ne!(cells[7], "0", "{row}");
    }
}
