//! A storm of processes through a buffer that is far too small, while the collector is held up: the
//! books close to the event.

use std::process::{Command, Stdio};

use bygone_tests::{Daemon, requires_bpf, sql_rows, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

/// Processes of the storm.
const COUNT: u64 = 4_000;

/// Half of them, many at once, that end at once.
fn half_a_storm() {
    let script = format!(
        "i=0; while [ $i -lt {} ]; do for n in 1 2 3 4 5 6 7 8; do /bin/true of-the-storm & done; \
         wait; i=$((i + 1)); done",
        COUNT / 32
    );
    let start = || {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap()
    };
    for mut shell in [start(), start()] {
        assert!(shell.wait().unwrap().success());
    }
}

#[test]
fn the_books_of_a_storm_close_exactly() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    // Files that a busy host leaves no time to read are losses of their own.
    let config = "[process]\nring_bytes = \"64KiB\"\n[file]\nenabled = false\n\
                  [executable]\nenabled = false\n";
    let daemon = Daemon::start_in(&data_dir, config);
    let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap()).unwrap();
    half_a_storm();
    kill_process(pid, Signal::STOP).unwrap();
    half_a_storm();
    kill_process(pid, Signal::CONT).unwrap();
    wait_until("the loss is told", || {
        let told = "SELECT count(*) > 0 AS told FROM gaps WHERE reason = 'ring_full'";
        (sql_rows(&data_dir, told) == [json!({ "told": 1 })]).then_some(())
    });
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.log);

    let open = "SELECT * FROM ledger WHERE seen != stored + filtered + merged + lost";
    assert_eq!(sql_rows(&data_dir, open), Vec::<serde_json::Value>::new());
    // What the ledger says of each class is what is in its table, and what was lost is told by gaps.
    let books = "WITH rows(class, n) AS (
            SELECT 'exec', count(*) FROM process_events WHERE syscall != 'snapshot' UNION ALL
            SELECT 'fork', count(*) FROM process_fork_events UNION ALL
            SELECT 'exit', count(*) FROM process_exit_events WHERE source = 'event')
        SELECT class, sum(stored) = n AS stored,
            sum(seen + coalesce(missed, 0)) >= 4000 AS seen FROM ledger
        JOIN rows USING (class) GROUP BY class ORDER BY class";
    let closed = |class: &str| json!({ "class": class, "stored": 1, "seen": 1 });
    assert_eq!(sql_rows(&data_dir, books), ["exec", "exit", "fork"].map(closed));
    let lost = "SELECT source, sum(lost) AS ledger, \
                (SELECT coalesce(sum(lost), 0) FROM gaps WHERE gaps.source = ledger.source) AS gaps \
                FROM ledger GROUP BY source";
    let sources = sql_rows(&data_dir, lost);
    assert!(sources.iter().any(|row| row["source"] == "process_ebpf"));
    for row in sources {
        assert_eq!(row["ledger"], row["gaps"], "{row}");
    }
    // Each exec of the storm is a row, or was lost, or skipped by the kernel; nothing is there twice.
    let own = "SELECT count(*) AS rows, count(DISTINCT guid) AS processes, \
               (SELECT sum(lost + coalesce(missed, 0)) FROM ledger WHERE class = 'exec') AS lost FROM process_events \
               WHERE cmdline = '/bin/true of-the-storm'";
    let own = &sql_rows(&data_dir, own)[0];
    let number = |name: &str| own[name].as_u64().unwrap();
    assert_eq!(number("rows"), number("processes"));
    let missing = COUNT - number("rows");
    assert!((1..=number("lost")).contains(&missing), "{missing} of the storm are not there, {own}");
    let stalled = "SELECT count(*) > 0 AS told FROM gaps WHERE reason = 'publisher_stalled'";
    assert_eq!(sql_rows(&data_dir, stalled), [json!({ "told": 1 })]);
}
