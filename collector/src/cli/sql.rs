//! `bygone sql`: statements from arguments, from standard input, or in a shell.

use std::io::{self, IsTerminal, Read};
use std::time::Duration;

use anyhow::{Context, bail};
use bygone_store::sql::Session;
use clap::Args;

use super::data::DataArguments;
use super::output::{Format, OutputArguments};
use super::terminal::{Screen, stdout};
use super::{log, shell, warnings};
use crate::config::LogLevel;

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
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// End a statement that needs more memory for sorting, grouping and joining; with KiB, MiB or
    /// GiB, otherwise in bytes
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1GiB")]
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

pub(super) fn run(arguments: &SqlArguments) -> anyhow::Result<()> {
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
        return arguments.statements.iter().try_for_each(|sql| execute(&session, sql, printing));
    }
    if io::stdin().is_terminal() {
        return shell::run(&session, printing);
    }
    execute(&session, &script()?, printing)
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

/// A size in bytes from `512MiB` and the like.
fn size(text: &str) -> Result<usize, String> {
    const UNITS: [(&str, usize); 4] =
        [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default().trim();
    let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let bytes =
        digits.parse().ok().zip(unit).and_then(|(number, (_, unit))| unit.checked_mul(number));
    match bytes {
        Some(bytes) if bytes >= MEMORY_BYTES_MIN => Ok(bytes),
        Some(_) => Err("at least 8MiB are needed".to_owned()),
        None => Err("write it as 512MiB, 2GiB or a number of bytes".to_owned()),
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
    use super::size;

    #[test]
    fn sizes() {
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("2 gib"), Ok(2 << 30));
        assert_eq!(size("8388608"), Ok(8 << 20));
        assert_eq!(size("9000KiB"), Ok(9000 << 10));
        for text in ["", "MiB", "5MB", "1.5GiB", "-1GiB", "1MiB", "99999999999999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
