//! The store beside SQLite and DuckDB: the same rows ([`super::generator`]), the same questions, one
//! run.
//!
//! The order: rows into Bygone, all but the last 140,000 sealed; the same rows into SQLite; each
//! question to both, answers compared; those for which an index can be made to SQLite once more,
//! with one; the rest sealed; each question to DuckDB. So Bygone is asked with three unsealed
//! journals in place, two of them full. All files are in the cache of
//! the system, each question is asked once to warm up, then several times, and the median counts.
//! An answer that differs between stores fails the benchmark. Bygone is asked through
//! [`Session`], as `bygone sql` does, and each value of an answer is looked at.

mod digest;
mod duckdb;
mod fill;
mod marks;
mod memory;
mod queries;
mod report;
mod sqlite;
mod stored;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::Context as _;
use bygone_store::Reader;
use bygone_store::sql::{Session, SessionOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Options, bench_folder, print, quantile};
use crate::bygone;
use digest::Digest;
use fill::Written;
use marks::Marks;
use memory::Memory;
use queries::Query;
use report::{Better, Measure};
use sqlite::Sqlite;
use stored::TABLES;

/// The first argument of the processes that the benchmark starts to measure their memory.
pub const CHILD: &str = "store-child";

/// Rows of the runs, unless others are asked for.
pub const ROWS: [u64; 2] = [1_000_000, 10_000_000];

/// The generator's seed.
const SEED: u64 = 20_261_001;

/// Rows appended at a time, in all tables; SQLite's transactions are as long.
const BATCH: usize = 8_192;

/// Rows of the writer whose memory is measured: enough for hundreds of journals.
const WRITER_ROWS_MAX: u64 = 3_000_000;

/// How often a question is asked after the first time.
const RUNS: usize = 5;

/// Milliseconds above which it is asked twice more only, and not at all.
const SLOW_MS: f64 = 2_000.0;
const VERY_SLOW_MS: f64 = 20_000.0;

/// Starts of the program.
const STARTS: usize = 20;

const MEBIBYTE: f64 = 1_048_576.0;

/// Measures the store and keeps the figures in `target/bench/store.json`.
pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let folder = bench_folder()?;
    let rows = if options.rows.is_empty() { ROWS.to_vec() } else { options.rows.clone() };
    let mut runs = Vec::new();
    for rows in rows {
        runs.push(run_with(rows, &folder)?);
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let kept = json!({ "cores": cores, "sqlite_settings": sqlite::SETTINGS, "runs": runs });
        let path = folder.join("store.json");
        fs::write(&path, serde_json::to_string_pretty(&kept)?).context("keep the figures")?;
    }
    Ok(())
}

/// What a process started by the benchmark does.
///
/// # Errors
/// When it cannot.
pub fn child(arguments: &[String]) -> anyhow::Result<()> {
    memory::child(arguments)
}

fn run_with(rows: u64, folder: &Path) -> anyhow::Result<Value> {
    let data = TempDir::new_in(folder).context("a folder for the data")?;
    let (ours, theirs) = (data.path().join("bygone"), data.path().join("other.sqlite"));
    print(format_args!("\n{rows} rows, seed {SEED}; SQLite: {}", sqlite::SETTINGS));
    let mut marks = Marks::default();
    let (written, now) = fill::bygone(&ours, rows, &mut marks)?;
    let (sqlite, written_sqlite) = fill::sqlite(&theirs, rows)?;
    let mut measures = appending(&written, &written_sqlite);
    let sqlite_bytes = sqlite.bytes()?;
    let questions = queries::all(&marks);
    let mut answered = Vec::new();
    for query in &questions {
        answered.push(ask(&ours, &sqlite, query)?);
    }
    sqlite.index()?;
    for (query, (measure, digest)) in questions.iter().zip(&mut answered) {
        if query.indexed {
            let (indexed, other) = median(|| sqlite.query(query.other_sql()))?;
            digest.agrees(&other, query.name, "SQLite with an index")?;
            measure.sqlite_without_index = measure.sqlite.replace(indexed);
        }
    }
    let starting = starting(&ours)?;
    drop(sqlite);
    fs::remove_file(&theirs).context("remove SQLite's database")?;

    fill::seal(&ours, &now)?;
    let database = data.path().join("other.duckdb");
    let duckdb = duckdb::ask(&ours, &database, &questions)?;
    let duckdb_bytes = duckdb.as_ref().map(|duckdb| duckdb.bytes);
    measures.extend(sizes(&ours, rows, &marks, sqlite_bytes, duckdb_bytes)?);
    for (query, (measure, digest)) in questions.iter().zip(&mut answered) {
        if let Some(duckdb) = &duckdb {
            compare(query, measure, *digest, duckdb)?;
        }
        for target in &query.targets {
            measure.judge(*target);
        }
    }
    measures.extend(answered.into_iter().map(|(measure, _)| measure));
    measures.extend(starting);
    let stream = memory::of_stream(&ours)?;
    measures.push(memory_measure(
        "private memory of a stream",
        marks.execs.rows as u64,
        stream,
        128.0,
    ));
    let writer_rows = rows.min(WRITER_ROWS_MAX);
    let writer = memory::of_writer(&data.path().join("writer"), writer_rows)?;
    measures.push(memory_measure("private memory of the writer", writer_rows, writer, 40.0));
    report::print_all(&measures);
    Ok(json!({
        "rows": rows,
        "seed": SEED,
        "duckdb": duckdb.map(|duckdb| duckdb.version),
        "measures": measures.iter().map(Measure::json).collect::<Vec<_>>(),
    }))
}

/// How fast rows are written.
fn appending(ours: &Written, theirs: &Written) -> Vec<Measure> {
    let rate = |written: &Written, seconds: f64| written.rows as f64 / seconds / 1e6;
    let measure = |name, bygone, sqlite, times: f64| {
        let mut measure = Measure::new(name, "M rows/s", ours.rows, bygone);
        measure.better = Better::More;
        measure.sqlite = Some(sqlite);
        if times > 0.0 {
            measure.target(format!(">= {times} x SQLite"), bygone >= times * sqlite);
        }
        measure
    };
    let cpu = |written: &Written| rate(written, written.append.cpu.as_secs_f64());
    let wall = |written: &Written| rate(written, written.append.wall.as_secs_f64());
    let all = |written: &Written| rate(written, written.all_cpu.as_secs_f64());
    vec![
        measure("append until in the kernel, CPU of its thread", cpu(ours), cpu(theirs), 3.5),
        measure("append until in the kernel, wall time", wall(ours), wall(theirs), 0.0),
        measure("append, seal and compact, CPU of all threads", all(ours), all(theirs), 1.2),
    ]
}

/// Bytes per row on disk: of Bygone those of the segments that are live, since files that others
/// have replaced go after a while.
fn sizes(
    ours: &Path,
    rows: u64,
    marks: &Marks,
    sqlite: u64,
    duckdb: Option<u64>,
) -> anyhow::Result<Vec<Measure>> {
    let snapshot = Reader::open(ours)?.snapshot()?;
    let (mut bytes, mut process_bytes, mut files) = (0, 0, 0);
    for segment in snapshot.segments() {
        files += 1;
        bytes += segment.bytes;
        process_bytes += if segment.table == "process_events" { segment.bytes } else { 0 };
    }
    let per_row = |bytes: u64| bytes as f64 / rows as f64;
    let all = per_row(bytes);
    let mut total = Measure::new("bytes per row on disk", "B", rows, all);
    total.sqlite = Some(per_row(sqlite));
    total.duckdb = duckdb.map(per_row);
    total.target("<= 0.2 x SQLite", all <= 0.2 * per_row(sqlite));
    if let Some(duckdb) = total.duckdb {
        total.target("<= DuckDB", all <= duckdb);
    }
    let execs = marks.execs.rows as u64;
    let per_exec = process_bytes as f64 / execs as f64;
    let mut process = Measure::new("bytes per process row on disk", "B", execs, per_exec);
    process.target("<= 30 B", per_exec <= 30.0);
    Ok(vec![total, process, Measure::new("segments", "files", rows, f64::from(files))])
}

/// Asks Bygone and SQLite one question.
fn ask(ours: &Path, sqlite: &Sqlite, query: &Query) -> anyhow::Result<(Measure, Digest)> {
    let session =
        Session::open(SessionOptions { data_dir: ours.to_owned(), events: TABLES, states: &[] })?;
    let (bygone, digest) = median(|| {
        let mut digest = Digest::default();
        let executed = session.execute(&query.sql, &mut digest)?;
        anyhow::ensure!(executed.damage.is_empty(), "damaged: {:?}", executed.damage);
        Ok(digest)
    })
    .with_context(|| query.name)?;
    let (theirs, other) = median(|| sqlite.query(query.other_sql()))?;
    digest.agrees(&other, query.name, "SQLite")?;
    let mut measure = Measure::new(query.name, "ms", query.rows as u64, bygone);
    measure.sqlite = Some(theirs);
    print(format_args!("{}: {digest:?}, {bygone:.2} ms, SQLite {theirs:.2} ms", query.name));
    Ok((measure, digest))
}

/// Adds DuckDB's times to a measure, once its answers are seen to be the same.
fn compare(
    query: &Query,
    measure: &mut Measure,
    digest: Digest,
    duckdb: &duckdb::Answers,
) -> anyhow::Result<()> {
    let answer = |answers: &std::collections::BTreeMap<String, duckdb::Answer>, who| {
        let answer = answers.get(query.name).with_context(|| format!("{}: {who}", query.name))?;
        digest.agrees(&answer.digest, query.name, who)?;
        anyhow::Ok(Some(answer.milliseconds))
    };
    measure.duckdb = answer(&duckdb.own, "DuckDB")?;
    measure.duckdb_on_parquet = answer(&duckdb.parquet, "DuckDB on our Parquet")?;
    Ok(())
}

/// The median time of some work in milliseconds, and its answer, which must not change.
fn median(mut work: impl FnMut() -> anyhow::Result<Digest>) -> anyhow::Result<(f64, Digest)> {
    let mut once = || {
        let started = Instant::now();
        let digest = work()?;
        anyhow::Ok((started.elapsed().as_secs_f64() * 1e3, digest))
    };
    let (first, digest) = once()?;
    if first > VERY_SLOW_MS {
        return Ok((first, digest));
    }
    let mut times = Vec::new();
    for _ in 0..if first > SLOW_MS { 2 } else { RUNS } {
        let (milliseconds, again) = once()?;
        anyhow::ensure!(again == digest, "two answers: {digest:?}, then {again:?}");
        times.push(milliseconds);
    }
    times.sort_by(f64::total_cmp);
    Ok((quantile(&times, 0.5), digest))
}

/// How long the program takes to start, and to start and read one row of the store.
fn starting(ours: &Path) -> anyhow::Result<Vec<Measure>> {
    let mut measures = Vec::new();
    for (name, sql) in [
        ("start of the program and SELECT 1", "SELECT 1"),
        ("the same and the first row of a table", "SELECT time_ns FROM process_events LIMIT 1"),
    ] {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let mut command = bygone();
            command.args(["sql", "--no-warnings", "--data-dir"]).arg(ours).arg(sql);
            let started = Instant::now();
            let output = command.stdin(Stdio::null()).output().context("start bygone")?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
            let error = String::from_utf8_lossy(&output.stderr);
            anyhow::ensure!(output.status.success(), "{sql}: {error}");
        }
        times.sort_by(f64::total_cmp);
        let mut measure = Measure::new(name, "ms", 1, quantile(&times, 0.5));
        measure.target("<= 20 ms", measure.bygone <= 20.0);
        measures.push(measure);
    }
    Ok(measures)
}

fn memory_measure(name: &str, rows: u64, memory: Memory, most: f64) -> Measure {
    let (median, peak) = (memory.median / MEBIBYTE, memory.most / MEBIBYTE);
    let mut measure = Measure::new(name, "MiB", rows, median);
    measure.target(format!("<= {most} MiB (at most {peak:.1})"), peak <= most);
    measure
}
