//! The content of what is executed: read once, and only told of what really ran.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bygone_tests::{Daemon, requires_bpf, sql_rows, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The lowest priority may be none on a machine that runs tests.
const CONFIG: &str = "[file]\nenabled = false\n[executable]\nniceness = 0\n";

/// A program of its own content: a copy with something behind its end, which loaders leave alone.
fn program(folder: &Path, name: &str, mark: &str) -> PathBuf {
    let path = folder.join(name);
    let mut content = fs::read("/bin/true").unwrap();
    content.extend_from_slice(mark.as_bytes());
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn run(path: &Path) {
    assert!(Command::new(path).status().is_ok_and(|status| status.success()));
}

/// What the system's own tools say of a file.
fn sum(tool: &str, path: &Path) -> String {
    let output = Command::new(tool).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

fn rows(data_dir: &Path, path: &Path, columns: &str) -> Vec<Value> {
    let path = path.display();
    sql_rows(data_dir, &format!("SELECT {columns} FROM executable_events WHERE path = '{path}'"))
}

/// Waits until an exec has been answered after those that a test looks for.
fn settle(daemon: &Daemon, folder: &Path, name: &str) {
    let last = program(folder, name, name);
    run(&last);
    wait_until("a later exec was read", || {
        (!rows(daemon.data_dir(), &last, "1").is_empty()).then_some(())
    });
}

#[test]
fn a_program_is_hashed_once_also_after_a_restart() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = program(folder.path(), "twice", "first content");
    let (sha256, md5) = (sum("sha256sum", &path), sum("md5sum", &path));
    let daemon = Daemon::start_in(&folder.path().join("data"), CONFIG);
    run(&path);
    run(&path);
    settle(&daemon, folder.path(), "later");
    let columns = "kind, hash_status, sha256, md5, size, head, entropy > 1 AND entropy < 8 mixed, \
                   package, mode";
    let size = fs::metadata(&path).unwrap().len();
    let expected = json!({
        "kind": "program", "hash_status": "hashed", "sha256": sha256, "md5": md5, "size": size,
        "head": "7f454c46", "mixed": 1, "package": null, "mode": "0100755",
    });
    let mut found = rows(daemon.data_dir(), &path, columns);
    let head = found[0]["head"].as_str().unwrap()[..8].to_owned();
    found[0]["head"] = json!(head);
    assert_eq!(found, [expected]);
    let joined = format!(
        "SELECT count(*) n FROM process_events p JOIN executable_events x \
         ON x.device = p.exe_dev AND x.inode = p.exe_inode AND x.ctime_ns = p.exe_ctime WHERE p.path = '{}'",
        path.display()
    );
    assert_eq!(sql_rows(daemon.data_dir(), &joined), [json!({ "n": 2 })]);

    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.log);
    let daemon = Daemon::start_in(&stopped.data_dir, CONFIG);
    run(&path);
    settle(&daemon, folder.path(), "after the restart");
    assert_eq!(rows(daemon.data_dir(), &path, "1 one"), [json!({ "one": 1 })]);
    // Another content of the same file is another row.
    fs::write(&path, fs::read(program(folder.path(), "other", "second content")).unwrap()).unwrap();
    run(&path);
    wait_until("the new content is a row", || {
        let sums = rows(daemon.data_dir(), &path, "sha256");
        assert!(sums.len() <= 2, "{sums:?}");
        (sums.len() == 2 && sums[1] == json!({ "sha256": sum("sha256sum", &path) })).then_some(())
    });
    let stopped = daemon.stop();
    // What came in the last moment may not have been read; it is told.
    let ledger = "SELECT sum(seen) = sum(stored + merged + lost) closed, sum(merged) > 0 known, \
                  sum(lost) = (SELECT ifnull(sum(lost), 0) FROM gaps \
                  WHERE source = 'executable' AND reason = 'queue_full') told \
                  FROM ledger WHERE class = 'executable'";
    let expected = json!({ "closed": 1, "known": 1, "told": 1 });
    assert_eq!(sql_rows(&stopped.data_dir, ledger), [expected]);
}

#[test]
fn what_was_replaced_or_removed_has_no_hash() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let daemon = Daemon::start_in(&folder.path().join("data"), CONFIG);
    // The reader is kept busy, so that the file is another one by the time it is looked at.
    let replaced = program(folder.path(), "replaced", "before");
    let removed = program(folder.path(), "removed", "removed");
    let mut large = fs::read("/bin/true").unwrap();
    large.resize(32 << 20, 7);
    let busy = folder.path().join("busy");
    fs::write(&busy, large).unwrap();
    fs::set_permissions(&busy, fs::Permissions::from_mode(0o755)).unwrap();
    run(&busy);
    run(&replaced);
    run(&removed);
    fs::rename(program(folder.path(), "new", "after"), &replaced).unwrap();
    fs::remove_file(&removed).unwrap();
    let status = |path: &Path| {
        let found = rows(daemon.data_dir(), path, "hash_status, sha256, size IS NULL gone");
        (!found.is_empty()).then(|| found[0].clone())
    };
    let one = wait_until("the replaced file is told", || status(&replaced));
    assert_eq!((&one["hash_status"], &one["sha256"]), (&json!("changed"), &json!(null)));
    let one = wait_until("the removed file is told", || status(&removed));
    assert_eq!((&one["hash_status"], &one["sha256"]), (&json!("gone"), &json!(null)));
    let one = wait_until("the large file is told", || status(&busy));
    assert_eq!(
        (&one["hash_status"], &one["sha256"]),
        (&json!("hashed"), &json!(sum("sha256sum", &busy)))
    );
}

#[test]
fn a_program_that_was_deleted_is_read_while_it_runs() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let daemon = Daemon::start_in(&folder.path().join("data"), CONFIG);
    let path = folder.path().join("sleeper");
    fs::copy("/bin/cat", &path).unwrap();
    let sha256 = sum("sha256sum", &path);
    let mut child =
        Command::new(&path).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    fs::remove_file(&path).unwrap();
    // By the time it is looked at it may still have its name, or not.
    let columns = "hash_status LIKE 'hashed%' hashed, sha256";
    let expected = json!({ "hashed": 1, "sha256": sha256 });
    wait_until("it is hashed", || {
        let found = rows(daemon.data_dir(), &path, columns);
        assert!(found.iter().all(|row| *row == expected), "{found:?}");
        (!found.is_empty()).then_some(())
    });
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_package_owns_its_programs_and_a_script_has_its_own_hash() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("script");
    fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = Daemon::start_in(&folder.path().join("data"), CONFIG);
    run(&script);
    run(Path::new("/bin/true"));
    let expected = json!({
        "kind": "script", "interpreter": fs::canonicalize("/bin/sh").unwrap(),
        "hash_status": "hashed", "sha256": sum("sha256sum", &script), "head": "23212f62696e2f73680a6578697420300a",
    });
    let columns = "kind, interpreter, hash_status, sha256, head";
    wait_until("the script is told", || {
        (rows(daemon.data_dir(), &script, columns) == [expected.clone()]).then_some(())
    });
    let exec = format!(
        "SELECT interpreter, interpreter = path same FROM process_events WHERE script_path = '{}'",
        script.display()
    );
    let expected = json!({ "interpreter": fs::canonicalize("/bin/sh").unwrap(), "same": 1 });
    assert_eq!(sql_rows(daemon.data_dir(), &exec), [expected]);
    let programs = "SELECT count(interpreter) n FROM process_events WHERE script_path IS NULL";
    assert_eq!(sql_rows(daemon.data_dir(), programs), [json!({ "n": 0 })]);
    if !Path::new("/var/lib/dpkg/status").exists() {
        return;
    }
    let path = fs::canonicalize("/bin/true").unwrap();
    let expected =
        json!({ "package_manager": "dpkg", "package": "coreutils", "package_intact": 1 });
    wait_until("the program of a package is told", || {
        let found = rows(daemon.data_dir(), &path, "package_manager, package, package_intact");
        (found == [expected.clone()]).then_some(())
    });
    let version = Command::new("dpkg-query").args(["-W", "-f", "${Version}", "coreutils"]).output();
    let version = String::from_utf8(version.unwrap().stdout).unwrap();
    let told = rows(daemon.data_dir(), &path, "package_version version");
    assert_eq!(told, [json!({ "version": version })]);
}

#[test]
fn a_scripts_content_is_recorded_when_asked_for_and_masked() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("deploy");
    let content = "#!/bin/sh\nexport API_TOKEN='a b'\ntoken: c d\n";
    fs::write(&script, content).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let asked = |content: bool| {
        format!("{CONFIG}script_content = {content}\n[process]\nmask = [\"*token*\"]\n")
    };
    let columns = "hash_status, sha256, script_content, masked, head LIKE '23212f%' head";
    let told = json!({
        "hash_status": "hashed", "sha256": sum("sha256sum", &script), "masked": 1, "head": 1,
        "script_content": "#!/bin/sh\nexport API_TOKEN=***\ntoken: ***\n",
    });
    let mut untold = told.clone();
    untold["script_content"] = json!(null);
    // The first value begins among the first 32 bytes, which are masked also without the content.
    for (data, is_asked, expected) in [("with", true, told), ("without", false, untold)] {
        let daemon = Daemon::start_in(&folder.path().join(data), &asked(is_asked));
        let mut command = Command::new("./deploy");
        assert!(
            command
                .current_dir(folder.path())
                .status()
                .is_ok_and(|status| status.code() == Some(127))
        );
        wait_until("the script is told", || {
            let found = rows(daemon.data_dir(), &script, columns);
            (!found.is_empty()).then(|| assert_eq!(found, std::slice::from_ref(&expected)))
        });
        let programs = "SELECT count(script_content) + sum(masked) n FROM executable_events \
                        WHERE kind = 'program'";
        assert_eq!(sql_rows(daemon.data_dir(), programs), [json!({ "n": 0 })]);
    }
}

#[test]
fn it_can_be_switched_off_and_bounded() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = program(folder.path(), "bounded", "bounded");
    let bounded = "[file]\nenabled = false\n[executable]\nniceness = 0\nmax_bytes = \"4KiB\"\n";
    let daemon = Daemon::start_in(&folder.path().join("bounded-data"), bounded);
    run(&path);
    let expected = json!({ "hash_status": "too_large", "sha256": null });
    wait_until("it is told as too large", || {
        (rows(daemon.data_dir(), &path, "hash_status, sha256") == [expected.clone()]).then_some(())
    });
    let off = "[file]\nenabled = false\n[executable]\nenabled = false\n";
    let daemon = Daemon::start_in(&folder.path().join("off-data"), off);
    run(&path);
    let execs = format!("SELECT count(*) n FROM process_events WHERE path = '{}'", path.display());
    wait_until("the exec is recorded", || {
        (sql_rows(daemon.data_dir(), &execs) == [json!({ "n": 1 })]).then_some(())
    });
    let capability = "SELECT source, reason LIKE '%switched off%' off FROM capabilities \
                      WHERE kind = 'executable'";
    assert_eq!(sql_rows(daemon.data_dir(), capability), [json!({ "source": null, "off": 1 })]);
    let stopped = daemon.stop();
    assert!(rows(&stopped.data_dir, &path, "1").is_empty());
    assert!(!stopped.data_dir.join("state.db").exists());
}
