//! The self-audit of the daemon: it is told, and nothing that it does is shown.

use aya::maps::{Array, Map, MapData, MapInfo};
use bygone_tests::{Daemon, bygone, requires_bpf, sql_rows, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

const CONFIG: &str = "[file]\nenabled = false\n[process]\naudit_interval = \"1s\"\n";

#[test]
fn it_passes_every_time_and_nobody_sees_what_it_does() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let daemon = Daemon::start_in(&folder.path().join("data"), CONFIG);
    let pid = daemon.pid();
    wait_until("three audits", || {
        let audits = "SELECT count(*) >= 3 are FROM audits";
        (sql_rows(daemon.data_dir(), audits) == [json!({ "are": 1 })]).then_some(())
    });
    // What it starts at its beginning, to see that programs are caught, is told, before the first audit.
    let started = format!(
        "SELECT count(*) n FROM process_events WHERE parent = {pid} AND cmdline LIKE '%audit%'"
    );
    assert_eq!(sql_rows(daemon.data_dir(), &started), [json!({ "n": 0 })]);
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.log);
    let wrong = "SELECT count(*) n FROM audits WHERE failed IS NOT NULL OR source != 'process_ebpf' \
                 OR passed NOT LIKE 'exec,fork,exit,signal,%memfd%'";
    assert_eq!(sql_rows(&stopped.data_dir, wrong), [json!({ "n": 0 })]);
    // Other collectors' audits are told, and have other process ids in their names.
    let own = [
        format!("process_fork_events WHERE caller = {pid} AND time_ns > first"),
        format!("process_exit_events WHERE parent = {pid} AND time_ns > first"),
        format!("memfd_events WHERE name = 'bygone-self-audit-{pid}'"),
        format!("mount_events WHERE target = '/bygone-self-audit/{pid}'"),
    ];
    for own in own {
        let (table, own) = own.split_once(' ').unwrap();
        let shown = format!("SELECT * FROM {table}, (SELECT min(time_ns) first FROM audits) {own}");
        assert_eq!(sql_rows(&stopped.data_dir, &shown), [] as [Value; 0], "{table}");
    }
    let filtered = "SELECT class, sum(filtered) >= 3 counted, \
                    sum(seen) = sum(stored + filtered + merged + lost) closed FROM ledger \
                    WHERE class IN ('exec', 'fork', 'exit', 'memfd', 'signal') GROUP BY class";
    let rows = sql_rows(&stopped.data_dir, filtered);
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row["counted"] == 1 && row["closed"] == 1), "{rows:?}");
    let gaps = "SELECT count(*) n FROM gaps WHERE reason = 'audit_failed'";
    assert_eq!(sql_rows(&stopped.data_dir, gaps), [json!({ "n": 0 })]);
    for command in ["status", "doctor"] {
        let output =
            bygone().arg(command).arg("--data-dir").arg(&stopped.data_dir).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.contains(" ago: exec, fork, exit, signal"));
        assert!(line.is_some_and(|line| line.contains("passed ")), "{text}");
    }
}

/// Makes the probes of a daemon deaf to a system call: takes it out of the map of those that are watched,
/// as anybody who may use BPF can.
fn silence(pid: u32, call: libc::c_long) {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let texts = descriptors.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
    let id_in = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("prog_id:"))?;
        line.trim().parse::<u32>().ok()
    };
    let programs: Vec<u32> = texts.filter_map(id_in).collect();
    let loaded = aya::programs::loaded_programs().filter_map(Result::ok);
    let of_daemon = loaded.filter(|program| programs.contains(&program.id()));
    let mut maps: Vec<u32> =
        of_daemon.filter_map(|program| program.map_ids().ok().flatten()).flatten().collect();
    maps.sort_unstable();
    maps.dedup();
    let mut silenced = 0;
    for id in maps {
        if MapInfo::from_id(id).unwrap().name_as_str() != Some("SYSCALLS") {
            continue;
        }
        let mut map: Array<MapData, u32> =
            Map::Array(MapData::from_id(id).unwrap()).try_into().unwrap();
        map.set(u32::try_from(call).unwrap(), 0, 0).unwrap();
        silenced += 1;
    }
    assert_eq!(silenced, 1);
}

#[test]
fn what_is_silenced_from_outside_is_a_gap_and_mended() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let daemon = Daemon::start_in(&folder.path().join("data"), CONFIG);
    let one = |statement: &str| {
        let statement = format!("SELECT EXISTS ({statement}) told");
        wait_until(&statement, || {
            (sql_rows(daemon.data_dir(), &statement) == [json!({ "told": 1 })]).then_some(())
        });
    };
    one("SELECT 1 FROM audits WHERE failed IS NULL");
    silence(daemon.pid(), libc::SYS_memfd_create);
    one("SELECT 1 FROM audits WHERE failed = 'memfd'");
    // It is attached anew, and works.
    one("SELECT 1 FROM gaps WHERE reason = 'publisher_down'");
    one("SELECT 1 FROM audits WHERE failed IS NULL AND time_ns > \
         (SELECT max(end_ns) FROM gaps WHERE reason = 'publisher_down')");
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.log);
    let gap = "SELECT source, lost, detail LIKE 'class memfd: %' of_class, min(time_ns) time_ns, \
               max(end_ns) end_ns FROM gaps WHERE reason = 'audit_failed'";
    let gap = sql_rows(&stopped.data_dir, gap).remove(0);
    assert_eq!(
        (&gap["source"], &gap["lost"], &gap["of_class"]),
        (&json!("process_ebpf"), &json!(null), &json!(1))
    );
    // Of other kinds of event nothing is missing meanwhile.
    let range = format!("{}, {}", gap["time_ns"], gap["end_ns"]);
    let asked = format!(
        "SELECT complete('memfd_events', {range}) memfd, \
         incomplete_reasons('memfd_events', {range}) LIKE '%audit_failed%' why, \
         incomplete_reasons('process_events', {range}) LIKE '%audit_failed%' others"
    );
    let asked = sql_rows(&stopped.data_dir, &asked).remove(0);
    assert_eq!((&asked["memfd"], &asked["why"]), (&json!(0), &json!(1)), "{asked}");
    assert_ne!(asked["others"], json!(1), "{asked}");
    let last =
        "SELECT count(*) n FROM capabilities WHERE kind = 'memfd' AND source = 'process_ebpf'";
    assert_eq!(sql_rows(&stopped.data_dir, last), [json!({ "n": 2 })]);
}
