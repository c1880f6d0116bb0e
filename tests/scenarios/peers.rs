//! Our segments as others read them: DuckDB and pyarrow find in the files what `bygone sql` and the
//! store find.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bygone::events::{
    AccessAction, Action, ActionEvent, BpfAction, ContentDigest, ContentKey, CredentialsAction,
    ExecutableEvent, ExecutableKind, HashStatus, ImageAction, MemoryAccess, MemoryExecAction,
    MemoryFileAction, ModuleAction, ModuleFile, MountAction, PackageOwner, ProcessKey,
    ProcessSummaryEvent, ProgramFile, Rights, SignalAction, SummaryKind, Target,
};
use bygone::publish::Events;
use bygone::tables;
use bygone_store::schema::ColumnType;
use bygone_store::{EventTable, Reader, TableSchema, Writer, WriterOptions};
use bygone_tests::bench::generator::{Batch, CLOCK_OFFSET_NS, Generator, SocketEvents};
use bygone_tests::{Session, sql_rows};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Names the folder that the Python packages are in.
const PACKAGES: &str = "BYGONE_PYTHON_PACKAGES";

/// Asks both peers; what they are asked stands there.
const SCRIPT: &str = include_str!("peers.py");

/// Rows of the table of all types: more than one row group.
const ROWS: u64 = 140_000;

/// A column of every type that a table can have, each once with nulls and once without.
#[derive(Debug, EventTable)]
struct EveryType {
    /// When, in nanoseconds since the Unix epoch.
    #[column(time)]
    time_ns: i64,
    /// Yes or no.
    yes: bool,
    /// Yes, no or unknown.
    maybe: Option<bool>,
    /// 32 bits with a sign.
    small: i32,
    /// The same or null.
    small_or_null: Option<i32>,
    /// 64 bits with a sign.
    large: i64,
    /// The same or null.
    large_or_null: Option<i64>,
    /// 32 bits without a sign.
    count: u32,
    /// The same or null.
    count_or_null: Option<u32>,
    /// 64 bits without a sign, up to the largest.
    total: u64,
    /// The same or null.
    total_or_null: Option<u64>,
    /// A real.
    real: f64,
    /// A real or null.
    real_or_null: Option<f64>,
    /// Few different texts, for which a dictionary is right.
    #[column(bloom)]
    word: String,
    /// Many different texts, too many for a dictionary.
    #[column(bloom)]
    text: String,
    /// Texts that are few at first and many later, or null.
    mixed: Option<String>,
    /// Bytes.
    bytes: Vec<u8>,
    /// Bytes or null.
    bytes_or_null: Option<Vec<u8>>,
    /// Null in every row.
    absent: Option<String>,
}

fn every_type(number: u64) -> EveryType {
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let filled = number % 5 != 3;
    let mixed =
        if number < ROWS / 2 { format!("few {}", number % 3) } else { format!("many {number}") };
    EveryType {
        time_ns: START_NS + number as i64 * 1_000,
        yes: number.is_multiple_of(3),
        maybe: filled.then_some(number.is_multiple_of(2)),
        small: scattered as i32,
        small_or_null: filled.then_some((number % 100) as i32 - 50),
        large: scattered.cast_signed(),
        large_or_null: filled.then_some(-(number as i64)),
        count: scattered as u32,
        count_or_null: filled.then_some(u32::MAX - (number % 10) as u32),
        // SQL's integers end at 2^63 - 1; beyond it Bygone shows the two's complement.
        total: if number.is_multiple_of(2) { number } else { u64::MAX - number },
        total_or_null: filled.then_some(number * 1_000),
        real: number as f64 * 0.5 - 1_000.0,
        real_or_null: filled.then_some(number as f64 / 4.0),
        word: format!("word {}", scattered % 40),
        text: format!("text {scattered:x}, grüße"),
        mixed: filled.then_some(mixed),
        bytes: number.to_le_bytes().to_vec(),
        bytes_or_null: filled.then(|| vec![0, (number % 256) as u8]),
        absent: None,
    }
}

/// 2026-10-01 00:00:00 UTC.
const START_NS: i64 = 1_790_812_800_000_000_000;

/// Whether the packages are there; when not, that is said.
fn requires_python() -> bool {
    let found = python("import duckdb, pyarrow").output();
    if found.is_ok_and(|output| output.status.success()) {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "DuckDB and pyarrow must be there in CI");
    #[expect(clippy::print_stderr, reason = "says why a test is passed over")]
    {
        eprintln!("passed over: DuckDB and pyarrow are not there; `cargo xtask tools` brings them");
    }
    false
}

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", script]);
    if let Some(packages) = std::env::var_os(PACKAGES) {
        command.env("PYTHONPATH", packages);
    }
    command
}

/// What both peers find in the segments: per table and column, how many values are there, how many
/// different ones, the least and the largest, and their sum.
fn peers(data_dir: &Path, tables: &[&'static TableSchema]) -> Value {
    let described: Map<String, Value> = tables
        .iter()
        .map(|table| {
            let columns: Vec<Value> =
                table.stored().map(|(_, c, of)| json!([c.name, kind(of)])).collect();
            (table.name.to_owned(), columns.into())
        })
        .collect();
    let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for segment in Reader::open(data_dir).unwrap().snapshot().unwrap().segments() {
        files.entry(segment.table.clone()).or_default().push(data_dir.join(&segment.path));
    }
    let asked = json!({ "files": files, "tables": described });
    let mut child = python(SCRIPT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(asked.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the peers have failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn kind(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Bool => "bool",
        ColumnType::I32 | ColumnType::I64 | ColumnType::U32 | ColumnType::U64 => "integer",
        ColumnType::F64 => "real",
        ColumnType::Text => "text",
        ColumnType::Blob => "bytes",
    }
}

/// The statement that finds the same in SQL. Sums are of what fits: of integers their low 20 bits
/// and their signs, of text and bytes their lengths; text is looked at as bytes.
fn statement(table: &TableSchema) -> String {
    let columns: Vec<String> = table
        .stored()
        .map(|(_, column, column_type)| {
            let name = column.name;
            let (value, sum) = match column_type {
                ColumnType::Text | ColumnType::Blob => {
                    (format!("hex({name})"), format!("sum(length(CAST({name} AS BLOB)))"))
                }
                ColumnType::F64 => (name.to_owned(), format!("sum({name})")),
                _ => (name.to_owned(), format!("sum(({name} & 1048575) + 2097152 * ({name} < 0))")),
            };
            let present = format!("CASE WHEN {name} IS NULL THEN NULL ELSE {value} END");
            format!(
                "count({name}) AS {name}_count, count(DISTINCT {name}) AS {name}_distinct, \
                 min({present}) AS {name}_min, max({present}) AS {name}_max, \
                 coalesce({sum}, 0) AS {name}_sum"
            )
        })
        .collect();
    format!("SELECT count(*) AS rows, {} FROM {}", columns.join(", "), table.name)
}

/// An answer of SQL, in the form in which the peers give theirs.
fn ours(table: &TableSchema, row: &Value) -> Value {
    let columns: Map<String, Value> = table
        .stored()
        .map(|(_, column, _)| {
            let part = |part: &str| row[format!("{}_{part}", column.name)].clone();
            let found = json!({
                "count": part("count"),
                "distinct": part("distinct"),
                "min": part("min"),
                "max": part("max"),
                "sum": part("sum"),
            });
            (column.name.to_owned(), found)
        })
        .collect();
    json!({ "rows": row["rows"], "columns": columns })
}

/// Checks that all find the same; returns what the peers found.
fn compare(
    data_dir: &Path,
    tables: &[&'static TableSchema],
    ask: impl Fn(&str) -> Vec<Value>,
) -> Value {
    let found = peers(data_dir, tables);
    for table in tables {
        let rows = ask(&statement(table));
        let ours = ours(table, &rows[0]);
        assert!(ours["rows"].as_u64().unwrap() > 0, "{} has no row", table.name);
        for peer in ["duckdb", "pyarrow"] {
            let theirs = &found[peer][table.name];
            assert_eq!(theirs["rows"], ours["rows"], "{peer}: rows of {}", table.name);
            for (_, column, _) in table.stored() {
                let (ours, theirs) =
                    (&ours["columns"][column.name], &theirs["columns"][column.name]);
                assert_eq!(theirs, ours, "{peer}: {}.{}", table.name, column.name);
            }
        }
    }
    found
}

fn open(data_dir: &Path, tables: &'static [&'static TableSchema]) -> Writer {
    let (mut writer, _) = Writer::open(data_dir, tables, WriterOptions::new([7; 16])).unwrap();
    writer.set_clock_offset(CLOCK_OFFSET_NS);
    writer
}

/// Every type, with and without nulls, in several row groups.
#[test]
fn peers_read_every_type() {
    static TABLES: &[&TableSchema] = &[EveryType::SCHEMA, SocketEvents::SCHEMA];
    if !requires_python() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let mut writer = open(folder.path(), TABLES);
    writer.append((0..ROWS).map(every_type)).unwrap();
    let mut generator = Generator::new(20_000, 5);
    while let Some(batch) = generator.batch(1_000) {
        writer.append(batch.sockets).unwrap();
    }
    writer.close().unwrap();
    let session = Session::open_with(folder.path(), TABLES).unwrap();
    let found = compare(folder.path(), TABLES, |sql| session.rows(sql).unwrap());
    let groups = found["row_groups"]["every_type"].as_u64();
    assert!(groups.is_some_and(|groups| groups > 1), "{groups:?} row groups");
}

/// Every table of events that the program has, as `bygone sql` shows it.
#[test]
fn peers_read_every_table_of_events() {
    if !requires_python() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let mut writer = open(folder.path(), tables::event_schemas());
    let mut generator = Generator::new(30_000, 6);
    while let Some(Batch { execs, forks, exits, files, .. }) = generator.batch(1_000) {
        writer.append(execs).unwrap();
        writer.append(forks).unwrap();
        writer.append(exits).unwrap();
        writer.append(files).unwrap();
    }
    others(&mut writer);
    let summaries = Events::Summary(summaries());
    for events in [Events::Action(actions()), Events::Executable(executables()), summaries] {
        let outcome = tables::append(&mut writer, &events);
        assert!(outcome.error.is_none() && outcome.rows >= 60);
    }
    writer.close().unwrap();
    compare(folder.path(), tables::event_schemas(), |sql| sql_rows(folder.path(), sql));
}

/// Rows of the tables that the generator has none of.
fn others(writer: &mut Writer) {
    use tables::events::{audits::Audits, capabilities::Capabilities, gaps::Gaps, ledger::Ledger};
    let time_ns = |number: u32| START_NS + i64::from(number) * 10_000_000_000;
    let gap = |number: u32| Gaps {
        time_ns: time_ns(number),
        end_ns: time_ns(number) + 5,
        source: "process_ebpf".to_owned(),
        reason: if number.is_multiple_of(2) { "ring_full" } else { "daemon_down" }.to_owned(),
        lost: number.is_multiple_of(2).then_some(u64::from(number)),
        detail: number.is_multiple_of(3).then(|| format!("detail {number}")),
    };
    writer.append((0..100).map(gap)).unwrap();
    let balance = |number: u32| Ledger {
        time_ns: time_ns(number),
        source: "process_ebpf".to_owned(),
        class: "exec".to_owned(),
        seen: u64::from(number) * 3,
        stored: u64::from(number) * 2,
        filtered: u64::from(number),
        merged: 0,
        lost: 0,
        missed: (!number.is_multiple_of(4)).then_some(1),
        late: 0,
        excluded: 0,
    };
    writer.append((0..1_000).map(balance)).unwrap();
    let capability = |number: u32| Capabilities {
        time_ns: time_ns(number),
        kind: "exec".to_owned(),
        source: Some("process_ebpf".to_owned()),
        tier: number.is_multiple_of(2).then(|| "raw_tracepoint".to_owned()),
        blind_to: String::new(),
        reason: None,
    };
    writer.append((0..20).map(capability)).unwrap();
    let audit = |number: u32| Audits {
        time_ns: time_ns(number),
        source: "process_ebpf".to_owned(),
        passed: "exec,fork".to_owned(),
        failed: number.is_multiple_of(7).then(|| "memfd".to_owned()),
    };
    writer.append((0..60).map(audit)).unwrap();
}

const PROCESS: ProcessKey = ProcessKey { pid: 4_000, start_ns: 3_600_000_000_000 };

/// Ten of each kind of act.
fn actions() -> Vec<ActionEvent> {
    let path = |number: u32| (!number.is_multiple_of(3)).then(|| "/usr/bin/actor".into());
    let event = |number: u32, action: Action| ActionEvent {
        time_ns: START_NS + i64::from(number) * 7_000_000_000,
        actor: ProcessKey { pid: PROCESS.pid + number, ..PROCESS },
        tid: PROCESS.pid + number,
        uid: number % 2 * 1_000,
        path: path(number),
        action,
    };
    let all = (0..10).flat_map(|number| acts(number).map(|action| event(number, action)));
    all.collect()
}

fn acts(number: u32) -> [Action; 9] {
    let target = Target { process: number.is_multiple_of(2).then_some(PROCESS), path: None };
    let name = Some(format!("name-{number}"));
    let rights = |uid| Rights { users: [uid; 3], groups: [uid; 3], effective: u64::from(uid) };
    [
        Action::Signal(SignalAction {
            target: target.clone(),
            target_uid: 1_000,
            signal: 9 + number,
            code: -6,
            by_kernel: number.is_multiple_of(5),
            delivered: true,
        }),
        Action::Module(ModuleAction {
            name: name.clone(),
            loaded: number.is_multiple_of(2),
            taints: 4096,
            is_signed: (!number.is_multiple_of(4)).then_some(true),
            file: number.is_multiple_of(3).then(|| Box::new(module_file(number))),
        }),
        Action::Access(AccessAction {
            call: "ptrace",
            request: Some("PTRACE_ATTACH"),
            memory: number.is_multiple_of(2).then_some(MemoryAccess::Read),
            target,
            target_id: PROCESS.pid,
            result: -1,
        }),
        Action::Credentials(CredentialsAction {
            call: "setuid",
            before: rights(0),
            after: rights(1_000 + number),
        }),
        Action::Mount(MountAction {
            call: "mount",
            target: name.clone(),
            source: None,
            file_system: Some("tmpfs".to_owned()),
            flags: 14,
            result: 0,
        }),
        Action::MemoryExec(MemoryExecAction {
            call: "mprotect",
            address: 0x7fff_0000_0000 + u64::from(number) * 4096,
            bytes: 4096,
            writable: number.is_multiple_of(2),
        }),
        Action::MemoryFile(MemoryFileAction { name: name.clone(), flags: 1, result: 3 }),
        Action::Bpf(BpfAction {
            command: "BPF_PROG_LOAD",
            program_type: Some(number),
            name,
            result: i64::from(number),
        }),
        Action::Image(Box::new(ImageAction {
            path: Some(format!("/usr/lib/lib{number}.so")),
            path_truncated: number.is_multiple_of(7),
            file: file(number),
            mount_namespace: Some(4_026_531_832),
            writable: number.is_multiple_of(5),
        })),
    ]
}

fn module_file(number: u32) -> ModuleFile {
    ModuleFile {
        path: Some(format!("/lib/modules/module-{number}.ko")),
        file: file(number),
        mount_namespace: None,
        elsewhere: false,
        signer: number.is_multiple_of(2).then(|| "a key".to_owned()),
    }
}

fn file(number: u32) -> ProgramFile {
    ProgramFile {
        device: 65_024,
        inode: 100 + u64::from(number),
        ctime_ns: (!number.is_multiple_of(3)).then_some(START_NS),
        size: Some(40_000),
        links: Some(number % 2),
        ..ProgramFile::default()
    }
}

/// Contents, hashed and not.
fn executables() -> Vec<ExecutableEvent> {
    let event = |number: u8| {
        let of_program = number.is_multiple_of(2);
        let digest = of_program.then(|| ContentDigest {
            sha256: [number; 32],
            md5: [number; 16],
            // Sums of such are exact, in whatever order.
            entropy: f64::from(number) / 16.0,
            head: vec![0x7f, number],
        });
        ExecutableEvent {
            time_ns: START_NS + i64::from(number) * 1_000_000_000,
            process: PROCESS,
            uid: 0,
            snapshot: false,
            kind: if of_program { ExecutableKind::Program } else { ExecutableKind::Script },
            path: Some(format!("/usr/bin/program-{number}")),
            interpreter: (!of_program).then(|| "/usr/bin/dash".to_owned()),
            content: of_program.then_some(ContentKey {
                device: 65_024,
                inode: 100 + u64::from(number),
                ctime_ns: START_NS,
                size: 40_000,
            }),
            mtime: Some(1_700_000_000),
            mode: Some(0o100_755),
            owner_uid: Some(0),
            owner_gid: Some(0),
            status: if of_program { HashStatus::Hashed } else { HashStatus::Gone },
            digest,
            package: of_program.then(|| PackageOwner {
                manager: "dpkg",
                name: "coreutils".to_owned(),
                version: "9.1".to_owned(),
                intact: Some(true),
            }),
            script_content: (!of_program).then(|| b"#!/bin/sh\n".to_vec()),
            masked: !of_program,
        }
    };
    (0..60).map(event).collect()
}

fn summaries() -> Vec<ProcessSummaryEvent> {
    let event = |number: u32| {
        let time_ns = START_NS + i64::from(number) * 1_000_000_000;
        let is_one = number.is_multiple_of(2);
        ProcessSummaryEvent {
            time_ns,
            end_ns: time_ns + 999,
            kind: if is_one { SummaryKind::Exec } else { SummaryKind::Exit },
            count: u64::from(number) * 7,
            path: Some("/usr/bin/dash".to_owned()),
            script_path: (!is_one).then(|| format!("/opt/script-{number}")),
            device: 65_024,
            inode: 100 + u64::from(number),
            uid: is_one.then_some(number),
            parent: is_one.then_some(PROCESS),
            parent_path: is_one.then(|| "/usr/bin/make".to_owned()),
        }
    };
    (0..60).map(event).collect()
}
