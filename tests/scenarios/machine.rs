//! What only a machine of its own can be asked for, since all of it is changed: `cargo xtask vmtest`
//! boots some. Elsewhere these tests are passed over, in CI too.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bygone_tests::{Daemon, requires_bpf, sql_rows, wait_until};
use serde_json::{Value, json};

/// Set where the machine is the tests' own.
const OWN_MACHINE: &str = "BYGONE_TEST_OWN_MACHINE";

const PID_MAX: &str = "/proc/sys/kernel/pid_max";

/// Pids below 300 are given once only, after boot; so these are hardly more than a hundred.
const FEW_PIDS: u32 = 450;

/// Processes that are started at most until pids come again: the range several times over.
const PROCESSES_MAX: u32 = 2_000;

fn requires_own_machine() -> bool {
    let own = std::env::var_os(OWN_MACHINE).is_some();
    #[expect(clippy::print_stderr, reason = "says why a test is passed over")]
    if !own {
        eprintln!("passed over: the machine is not the tests' own");
    }
    own
}

/// Few pids, until this is dropped.
struct FewPids {
    before: String,
}

impl FewPids {
    fn new() -> Self {
        let before = std::fs::read_to_string(PID_MAX).unwrap();
        std::fs::write(PID_MAX, FEW_PIDS.to_string()).unwrap();
        Self { before }
    }
}

impl Drop for FewPids {
    fn drop(&mut self) {
        std::fs::write(PID_MAX, &self.before).unwrap();
    }
}

#[test]
fn processes_that_have_had_the_same_pid_are_told_apart() {
    if !requires_own_machine() || !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    let few = FewPids::new();
    let mut expected: Vec<Value> = Vec::new();
    let mut pids = HashSet::new();
    let mut again = 0;
    while again < 100 {
        assert!(expected.len() < PROCESSES_MAX as usize, "pids do not come again");
        let code = expected.len() % 250;
        let script = format!("exit {code}");
        let mut child = Command::new("/bin/sh").args(["-c", &script]).spawn().unwrap();
        assert_eq!(child.wait().unwrap().code(), i32::try_from(code).ok());
        again += usize::from(!pids.insert(child.id()));
        let cmdline = format!("/bin/sh -c {script}");
        expected.push(json!({ "pid": child.id(), "cmdline": cmdline, "exit_code": code }));
    }
    drop(few);
    let from = format!(
        "FROM process_events e JOIN process_exit_events x USING (guid) \
         WHERE e.parent = {} AND e.cmdline LIKE '/bin/sh -c exit %'",
        std::process::id()
    );
    let rows = format!("SELECT e.pid, e.cmdline, x.exit_code {from}");
    let mut found = wait_until("every process has its row", || {
        let rows = sql_rows(daemon.data_dir(), &rows);
        (rows.len() >= expected.len()).then_some(rows)
    });
    let count = expected.len();
    for rows in [&mut expected, &mut found] {
        rows.sort_by_key(ToString::to_string);
    }
    assert_eq!(found, expected);
    let guids = format!("SELECT count(DISTINCT guid) guids, count(DISTINCT e.pid) pids {from}");
    let expected = json!({ "guids": count, "pids": pids.len() });
    assert_eq!(sql_rows(daemon.data_dir(), &guids), [expected]);
}

#[test]
fn a_module_is_told_with_its_file_and_its_signer() {
    if !requires_own_machine() || !requires_bpf() {
        return;
    }
    let daemon = Daemon::start();
    // One that was loaded at the start, for tests that have had their turn.
    let mut files = std::fs::read_dir("/vmtest/modules").unwrap().map(|file| file.unwrap().path());
    let is_it = |file: &PathBuf| file.to_string_lossy().contains("/overlay.ko");
    let file = files.find(is_it).unwrap();
    let run = |program: &str, of: &Path| Command::new(program).arg(of).status().unwrap().success();
    assert!(run("rmmod", Path::new("overlay")) && run("insmod", &file));
    let inode = std::fs::metadata(&file).unwrap().ino();
    // What is compressed may be unpacked by insmod, so that the kernel is given no file.
    let is_plain = file.extension().is_some_and(|extension| extension == "ko");
    let statement = format!(
        "SELECT module_events.action, name, module_path, inode = {inode} AS same, signed, \
         signer IS NULL AS nobody, cmdline \
         FROM module_events JOIN process_events USING (guid) WHERE name = 'overlay' \
         ORDER BY module_events.time_ns"
    );
    let found = wait_until("both are there", || {
        let rows = sql_rows(daemon.data_dir(), &statement);
        (rows.len() == 2).then_some(rows)
    });
    let [removed, loaded] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((&removed["action"], &removed["module_path"]), (&json!("REMOVED"), &Value::Null));
    assert_eq!((&loaded["action"], &loaded["signed"]), (&json!("LOADED"), &json!(1)));
    assert_eq!(loaded["cmdline"], json!(format!("insmod {}", file.display())));
    if is_plain {
        assert_eq!((&loaded["module_path"], &loaded["same"]), (&json!(file), &json!(1)));
        assert_eq!(loaded["nobody"], json!(0));
    }
}
