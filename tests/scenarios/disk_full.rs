//! A disk that fills up while the daemon runs, on a small tmpfs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use bygone_tests::{Daemon, requires_bpf, sql_rows, wait_until};
use serde_json::json;
use tempfile::TempDir;

/// A mounted tmpfs, unmounted when dropped.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn mount(size: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder.path());
        assert!(command.status().unwrap().success());
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

fn start_processes(count: u32) {
    for _ in 0..count {
        assert!(Command::new("/bin/true").stdin(Stdio::null()).status().unwrap().success());
    }
}

#[test]
fn a_full_disk_is_one_gap_and_the_books_stay_closed() {
    if !requires_bpf() {
        return;
    }
    let disk = Tmpfs::mount("2m");
    let data_dir = disk.path().join("data");
    let daemon = Daemon::start_in(&data_dir, "[file]\nenabled = false\n");
    start_processes(50);
    let filler = disk.path().join("filler");
    // Until there is no room left, which is the error that ends it.
    assert!(fs::write(&filler, vec![0; 4 << 20]).is_err());
    wait_until("the store refuses rows", || {
        start_processes(50);
        daemon.log().contains("The store refuses rows").then_some(())
    });
    start_processes(200);
    fs::remove_file(&filler).unwrap();
    wait_until("the store takes rows again", || {
        start_processes(10);
        daemon.log().contains("The store takes rows again").then_some(())
    });
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.log);

    let gaps = "SELECT count(*) n, sum(lost) >= 400 much, max(end_ns > time_ns) ordered FROM gaps \
                WHERE reason = 'disk_full'";
    assert_eq!(sql_rows(&data_dir, gaps), [json!({ "n": 1, "much": 1, "ordered": 1 })]);
    let books = "SELECT class, sum(seen) = sum(stored + filtered + lost) closed, sum(stored) stored, \
                 sum(lost) > 0 lost FROM ledger WHERE class IN ('exec', 'fork', 'exit') \
                 GROUP BY class ORDER BY class";
    let rows = |table: &str, condition: &str| {
        let statement = format!("SELECT count(*) n FROM {table} WHERE {condition}");
        sql_rows(&data_dir, &statement)[0]["n"].clone()
    };
    let expected = [
        ("exec", rows("process_events", "syscall != 'snapshot'")),
        ("exit", rows("process_exit_events", "true")),
        ("fork", rows("process_fork_events", "true")),
    ];
    let expected = expected
        .map(|(class, rows)| json!({ "class": class, "closed": 1, "stored": rows, "lost": 1 }));
    assert_eq!(sql_rows(&data_dir, books), expected);
    let open = "SELECT * FROM ledger WHERE seen != stored + filtered + merged + lost";
    assert_eq!(sql_rows(&data_dir, open), Vec::<serde_json::Value>::new());
}
