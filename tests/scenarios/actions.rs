//! What processes do to others and to the kernel, as rows.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use bygone_tests::{Daemon, requires_bpf, sql_rows, wait_until};
use serde_json::json;

#[test]
fn a_signal_joins_its_sender_with_its_victim() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    let mut sleeper = Command::new("/bin/sleep");
    let mut victim = sleeper.arg("3600").uid(65534).stdin(Stdio::null()).spawn().unwrap();
    let script = format!("kill -TERM {}", victim.id());
    assert!(Command::new("/bin/sh").args(["-c", &script]).status().unwrap().success());
    assert!(!victim.wait().unwrap().success());
    let statement = format!(
        "SELECT sender.cmdline AS sender, victim.cmdline AS victim, signal_events.signal, target_uid, \
         ended.signal AS ended_by \
         FROM signal_events \
         JOIN process_events AS sender ON sender.guid = signal_events.guid \
         JOIN process_events AS victim ON victim.guid = signal_events.target_guid \
         JOIN process_exit_events AS ended ON ended.guid = signal_events.target_guid \
         WHERE target_pid = {}",
        victim.id()
    );
    let expected = json!({
        "sender": format!("/bin/sh -c {script}"), "victim": "/bin/sleep 3600", "signal": 15,
        "target_uid": 65534, "ended_by": 15,
    });
    wait_until("the signal, its sender and its victim are there", || {
        (sql_rows(daemon.data_dir(), &statement) == [expected.clone()]).then_some(())
    });
}

#[test]
fn a_change_of_user_and_a_file_in_memory_are_rows() {
    if !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    let program = "import os; os.memfd_create('of the scenario'); os.setuid(65534)";
    assert!(Command::new("python3").args(["-c", program]).status().unwrap().success());
    let statement = "SELECT credential_events.syscall, old_uid, new_uid, new_cap_effective, \
                     memfd_events.name, result >= 3 AS opened FROM credential_events \
                     JOIN memfd_events USING (guid) WHERE new_euid = 65534 AND old_euid = 0";
    let expected = json!({
        "syscall": "setuid", "old_uid": 0, "new_uid": 65534, "new_cap_effective": 0,
        "name": "of the scenario", "opened": 1,
    });
    wait_until("both are there", || {
        (sql_rows(daemon.data_dir(), statement).contains(&expected)).then_some(())
    });
}

#[test]
fn a_loaded_object_and_opened_memory_are_rows() {
    if !requires_bpf() {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let object = folder.path().join("object.so");
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libraries = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let library = libraries.into_iter().find_map(|path| path.strip_suffix("libc.so.6")).unwrap();
    std::fs::copy(format!("{library}libdl.so.2"), &object).unwrap();
    // What is large would be hashed before it, which takes its time where processors are emulated.
    let data = tempfile::TempDir::new().unwrap();
    let config = "[executable]\nmax_bytes = \"64KiB\"\n[file]\nenabled = false\n";
    let daemon = Daemon::start_in(data.path(), config);
    let preloaded = Command::new("/bin/sleep").arg("0").env("LD_PRELOAD", &object).status();
    assert!(preloaded.unwrap().success());
    let statement = format!(
        "SELECT image.path AS loader, image.size = content.size AS same, content.kind, \
         hash_status, length(sha256) AS digits FROM image_events AS image \
         JOIN process_events USING (guid) \
         JOIN executable_events AS content USING (device, inode, ctime_ns, size) \
         WHERE image_path = '{}'",
        object.display()
    );
    let loader = std::fs::canonicalize("/bin/sleep").unwrap();
    let expected = json!({
        "loader": loader, "same": 1, "kind": "image", "hash_status": "hashed", "digits": 64,
    });
    wait_until("the object is there with its hash", || {
        (sql_rows(daemon.data_dir(), &statement) == [expected.clone()]).then_some(())
    });

    let mut sleeper = Command::new("/bin/sleep");
    let mut victim = sleeper.arg("3600").stdin(Stdio::null()).spawn().unwrap();
    let program = format!("import os; os.open('/proc/{}/mem', os.O_RDWR)", victim.id());
    assert!(Command::new("python3").args(["-c", &program]).status().unwrap().success());
    victim.kill().unwrap();
    victim.wait().unwrap();
    let statement = format!(
        "SELECT memory, request, requested_pid, victim.cmdline AS victim FROM ptrace_events \
         JOIN process_events AS victim ON victim.guid = ptrace_events.target_guid \
         WHERE target_pid = {0}",
        victim.id()
    );
    let expected = json!({
        "memory": "read_write", "request": null, "requested_pid": victim.id(),
        "victim": "/bin/sleep 3600",
    });
    wait_until("the opening of its memory is there", || {
        (sql_rows(daemon.data_dir(), &statement).contains(&expected)).then_some(())
    });
}

#[test]
fn what_is_switched_off_is_said() {
    if !requires_bpf() {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let config = "[process]\nsyscalls = false\nsignals = \"none\"\n[file]\nenabled = false\n";
    let daemon = Daemon::start_in(folder.path(), config);
    let statement = "SELECT kind, reason FROM capabilities WHERE kind IN ('signal', 'mount')";
    let reason = |setting: &str| format!("switched off by the configuration: [process] {setting}");
    let expected = [
        json!({ "kind": "signal", "reason": reason("signals = \"none\"") }),
        json!({ "kind": "mount", "reason": reason("syscalls = false") }),
    ];
    wait_until("the capabilities are there", || {
        (sql_rows(daemon.data_dir(), statement) == expected).then_some(())
    });
}
