//! DuckDB, through its Python package: with a database of its own, and on our Parquet files.
//!
//! Both run at DuckDB's defaults, which is all cores. `cargo xtask bench` installs the package and
//! names its folder in [`PACKAGES`]; without it DuckDB is left out.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use bygone_store::Reader;
use serde_json::{Value, json};

use super::digest::Digest;
use super::queries::Query;
use crate::bench::print;

/// Names the folder that the Python packages are in.
const PACKAGES: &str = "BYGONE_PYTHON_PACKAGES";

const SCRIPT: &str = include_str!("duckdb.py");

const RUNS: u32 = 5;

/// What DuckDB answered.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) version: String,
    /// Bytes of its own database.
    pub(super) bytes: u64,
    /// By the question's name.
    pub(super) own: BTreeMap<String, Answer>,
    pub(super) parquet: BTreeMap<String, Answer>,
}

/// The median time of one question, and what was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) milliseconds: f64,
    pub(super) digest: Digest,
}

/// Asks all questions over the segments in `data_dir`, with a database at `database`. `None` when
/// DuckDB is not there, which is said.
pub(super) fn ask(
    data_dir: &Path,
    database: &Path,
    queries: &[Query],
) -> anyhow::Result<Option<Answers>> {
    let questions: Vec<(&str, &str)> =
        queries.iter().map(|query| (query.name, query.other_sql())).collect();
    let asked = json!({
        "files": live_files(data_dir)?,
        "database": database,
        "queries": questions,
        "runs": RUNS,
    });
    if !python(&["-c", "import duckdb, pyarrow"]).output().is_ok_and(|tried| tried.status.success())
    {
        print(format_args!("DuckDB is left out: its Python package is not there"));
        return Ok(None);
    }
    let mut child = python(&["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start python3")?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    stdin.write_all(asked.to_string().as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    anyhow::ensure!(output.status.success(), "DuckDB's part failed");
    let answers: Value = serde_json::from_slice(&output.stdout).context("DuckDB's answers")?;
    parse(&answers).context("an answer of DuckDB lacks a part").map(Some)
}

/// The files of each table that are live. Those that others have replaced stay for a while.
fn live_files(data_dir: &Path) -> anyhow::Result<BTreeMap<String, Vec<PathBuf>>> {
    let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for segment in Reader::open(data_dir)?.snapshot()?.segments() {
        files.entry(segment.table.clone()).or_default().push(data_dir.join(&segment.path));
    }
    Ok(files)
}

fn python(arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(arguments);
    if let Some(packages) = std::env::var_os(PACKAGES) {
        command.env("PYTHONPATH", packages);
    }
    command
}

fn parse(answers: &Value) -> Option<Answers> {
    Some(Answers {
        version: answers["version"].as_str()?.to_owned(),
        bytes: answers["bytes"].as_u64()?,
        own: by_name(&answers["own"])?,
        parquet: by_name(&answers["parquet"])?,
    })
}

fn by_name(answers: &Value) -> Option<BTreeMap<String, Answer>> {
    answers.as_object()?.iter().map(|(name, answer)| Some((name.clone(), one(answer)?))).collect()
}

fn one(answer: &Value) -> Option<Answer> {
    let digest = &answer["digest"];
    Some(Answer {
        milliseconds: answer["ms"].as_f64()?,
        digest: Digest {
            rows: digest["rows"].as_u64()?,
            sum: digest["sum"].as_i64()?,
            text_bytes: digest["text_bytes"].as_u64()?,
        },
    })
}
