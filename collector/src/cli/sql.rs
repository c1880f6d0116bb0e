//! `bygone sql`: statements from arguments, from standard input, or in a shell.

use std::io::{self, IsTerminal, Read};
use std::time::Duration;

use anyhow::{Context, bail};
use bygone_store::sql::{Session, statements};
use clap::Args;

use super::data::DataArguments;
use super::failure::Failure;
use super::output::{Format, OutputArguments};
use super::terminal::{Screen, stdout};
use super::{log, shell, warnings};
use crate::config::{LogLevel, parse_size};

/// Statements read from standard input, in bytes.
const STDIN_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Ask in SQL: one statement, a script on standard input, or a shell
#[derive(Args, Debug)]
#[command(after_help = "\
The tables are read-only and can be read while bygone run writes, after it was killed, and from a \
copied folder. bygone tables lists them, bygone schema explains their columns. When the range of \
time that was read has gaps, a line on standard error says so.

Beside SQLite's functions there are ns(TEXT), the nanoseconds since 1970 of a time in words, \
iso(NS), the reverse, and row_count(TABLE, FROM_NS, TO_NS), which counts events without reading \
them. Times in statements are numbers: time in seconds, time_ns in nanoseconds.

Exit code: 0 when every statement was answered (damaged files and gaps are told as warnings), 1 when \
one failed, 2 for wrong usage.

Examples:
  bygone sql 'SELECT time, pid, cmdline FROM process_events ORDER BY time_ns DESC LIMIT 10'
  bygone sql -o json \"SELECT * FROM gaps WHERE reason = 'ring_full'\"
  bygone sql \"SELECT path, count(*) FROM process_events WHERE time_ns > ns('yesterday') GROUP BY path\"
  bygone sql --timeout 30s --max-memory 512MiB -o csv < report.sql > report.csv
  bygone sql                                        (a shell; .help inside it)")]
pub(super) struct SqlArguments {
    /// Statements, each one or several separated by semicolons
    #[arg(value_name = "STATEMENT")]
    statements: Vec<String>,
    #[command(flatten)]
    output: OutputArguments,
    /// Do not tell of gaps in the range read
    #[arg(long)]
    no_warnings: bool,
    /// End a statement that runs longer, for instance 30s or 5m [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    timeout: Option<Duration>,
    /// End a statement that needs more memory for sorting, grouping and joining; with KiB, MiB or
    /// GiB, otherwise in bytes; at least 8MiB
    #[arg(long, value_name = "SIZE", value_parser = memory, default_value = "1GiB")]
    max_memory: usize,
    #[command(flatten)]
    data: DataArguments,
}

/// How results are printed, and what is said beside them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Printing {
    pub(super) format: Format,
    pub(super) screen: Screen,
    pub(super) warn_of_gaps: bool,
}

pub(super) fn run(arguments: &SqlArguments) -> Result<(), Failure> {
    log::init(LogLevel::Warn);
    let session = arguments.data.session()?.with_memory_max(arguments.max_memory);
    let session = match arguments.timeout {
        Some(timeout) => session.with_timeout(timeout),
        None => session,
    };
    let printing = Printing {
        format: arguments.output.format(),
        screen: Screen::of_stdout(),
        warn_of_gaps: !arguments.no_warnings,
    };
    if !arguments.statements.is_empty() {
        return execute_all(&session, &arguments.statements, printing);
    }
    if io::stdin().is_terminal() {
        return Ok(shell::run(&session, printing)?);
    }
    let script = script()?;
    refuse_commands(&script).map_err(Failure::usage)?;
    Ok(execute(&session, &script, printing)?)
}

/// Runs the statements of all arguments; of several it names the one that fails.
fn execute_all(session: &Session, all: &[String], printing: Printing) -> Result<(), Failure> {
    let name = |result: anyhow::Result<()>, index: usize| match all.len() {
        1 => result,
        _ => result.with_context(|| format!("argument {}", index + 1)),
    };
    for (index, sql) in all.iter().enumerate() {
        name(refuse_commands(sql), index).map_err(Failure::usage)?;
    }
    for (index, sql) in all.iter().enumerate() {
        name(execute(session, sql, printing), index)?;
    }
    Ok(())
}

/// Says what to do instead of a command of the shell, which is no statement.
fn refuse_commands(sql: &str) -> anyhow::Result<()> {
    for statement in statements(sql) {
        let first = statement.text.lines().next().unwrap_or_default();
        if shell::is_command(first) {
            bail!(
                "line {}: {} is a command of the shell (bygone sql on a terminal), not SQL; use \
                 bygone tables, bygone schema TABLE or -o FORM",
                statement.line,
                first.trim()
            );
        }
    }
    Ok(())
}

/// Runs the statements of `sql` and prints their results, then what is to be known about them.
pub(super) fn execute(session: &Session, sql: &str, printing: Printing) -> anyhow::Result<()> {
    let mut sink = printing.format.sink(stdout(), printing.screen);
    let executed = session.execute(sql, sink.as_mut())?;
    drop(sink);
    warnings::print(session, &executed, printing.warn_of_gaps);
    Ok(())
}

/// Least memory of a statement: SQLite alone needs some.
const MEMORY_BYTES_MIN: usize = 8 << 20;

/// How much memory a statement may take.
fn memory(text: &str) -> Result<usize, String> {
    match parse_size(text).and_then(|bytes| usize::try_from(bytes).ok()) {
        Some(bytes) if bytes >= MEMORY_BYTES_MIN => Ok(bytes),
        Some(_) => Err("at least 8MiB are needed".to_owned()),
        None => Err("write it as 512MiB, 2GiB or a number of bytes".to_owned()),
    }
}

/// How long a statement may run.
fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(timeout) if timeout > Duration::ZERO => Ok(timeout),
        Ok(_) => Err("no statement ends in no time; leave --timeout out for no limit".to_owned()),
        Err(_) => Err("write a duration such as 30s or 5m".to_owned()),
    }
}

/// All of standard input.
fn script() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut input = io::stdin().lock().take(STDIN_BYTES_MAX.saturating_add(1));
    input.read_to_end(&mut bytes).context("cannot read standard input")?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > STDIN_BYTES_MAX {
        bail!("the script on standard input is longer than {STDIN_BYTES_MAX} bytes");
    }
    String::from_utf8(bytes).context("the script on standard input is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_the_shell_are_no_statements() {
        for sql in [".tables", "\\d users", "help", "SELECT 1;\n -- and\n.mode json\nSELECT 2;"] {
            assert!(refuse_commands(sql).is_err(), "{sql}");
        }
        let message = refuse_commands("SELECT 1;\n .mode json\nSELECT 2;").unwrap_err().to_string();
        assert!(message.starts_with("line 2: .mode json is a command of the shell"), "{message}");
        assert!(message.contains("bygone tables"), "{message}");
        for sql in ["SELECT 1\n.5", "SELECT '\n.tables'", "-- .tables\nSELECT 1; -- help", ""] {
            assert!(refuse_commands(sql).is_ok(), "{sql}");
        }
    }

    #[test]
    fn memory_has_a_least() {
        assert_eq!(memory("512MiB"), Ok(512 << 20));
        assert_eq!(memory("8388608"), Ok(8 << 20));
        for text in ["", "5MB", "1MiB", "0"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_timeout_is_a_duration_above_zero() {
        assert_eq!(timeout("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(timeout("abc").unwrap_err(), "write a duration such as 30s or 5m");
        assert_eq!(timeout("30").unwrap_err(), "write a duration such as 30s or 5m");
        for text in ["0", "0s"] {
            assert!(timeout(text).unwrap_err().contains("leave --timeout out"), "{text}");
        }
    }
}
