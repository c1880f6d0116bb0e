//! SQL through the command line.

use std::path::Path;
use std::process::ExitStatus;

use serde_json::Value;

use crate::bygone;

/// What a command printed.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs `bygone sql -o json` over a data folder.
///
/// # Panics
/// When the program cannot be started or prints something other than UTF-8.
#[must_use]
pub fn sql(data_dir: &Path, statement: &str) -> Output {
    let output = bygone()
        .arg("sql")
        .arg("--data-dir")
        .arg(data_dir)
        .args(["-o", "json", statement])
        .output()
        .expect("bygone starts");
    Output {
        status: output.status,
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

/// The rows of a statement that must succeed, each a JSON object.
///
/// # Panics
/// When the statement fails or prints something other than a JSON array.
#[must_use]
pub fn sql_rows(data_dir: &Path, statement: &str) -> Vec<Value> {
    let output = sql(data_dir, statement);
    assert!(output.status.success(), "{statement}: {}", output.stderr);
    match serde_json::from_str(&output.stdout) {
        Ok(Value::Array(rows)) => rows,
        other => panic!("{statement}: not an array: {other:?}: {}", output.stdout),
    }
}
