//! Many processes at once, from many threads: whatever a program in the kernel was interrupted by,
//! the pid, the path and the arguments of a row are those of one process.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use bygone_tests::{Daemon, requires_bpf, sql_rows, storm, wait_until};
use serde_json::{Value, json};

const THREADS: usize = 8;

/// Runs one of the programs after the other; what is to be found of each.
fn run_all(programs: &[PathBuf], thread: usize, count: u64) -> Vec<Value> {
    let run = |(number, program): (u64, &PathBuf)| {
        let argument = format!("storm {thread} {number}");
        let mut child = Command::new(program).arg(&argument).stdin(Stdio::null()).spawn().unwrap();
        assert!(child.wait().unwrap().success());
        let argv = json!([program, argument]).to_string();
        json!({ "pid": child.id(), "path": program, "argv": argv, "exit_path": program })
    };
    (0..count).zip(programs.iter().cycle().skip(thread)).map(run).collect()
}

#[test]
fn pid_and_path_of_each_row_agree() {
    if !requires_bpf() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    // Of different lengths, so that a part of another record would show.
    let programs: Vec<PathBuf> =
        [1, 20, 200].iter().map(|&length| folder.join("p".repeat(length))).collect();
    for program in &programs {
        std::fs::copy("/bin/true", program).unwrap();
    }
    let count = storm(1600) / THREADS as u64;
    let daemon = Daemon::start();
    let mut expected: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let programs = &programs;
                    move || run_all(programs, thread, count)
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let statement = format!(
        "SELECT e.pid, e.path, e.argv, x.path exit_path FROM process_events e \
         JOIN process_exit_events x USING (guid) WHERE e.path LIKE '{}/%'",
        folder.display()
    );
    let mut found = wait_until("every process has its row", || {
        let rows = sql_rows(daemon.data_dir(), &statement);
        (rows.len() >= expected.len()).then_some(rows)
    });
    for rows in [&mut expected, &mut found] {
        rows.sort_by_key(ToString::to_string);
    }
    assert_eq!(found, expected);
}
