//! Why a statement failed, in words that name the thing and the mend.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::types::ValueRef;
use thiserror::Error;

use crate::ReadError;
use crate::sql::state::ScanFailure;

/// Why a statement failed.
#[derive(Debug, Error)]
pub enum SqlError {
    /// SQLite could not be set up.
    #[error("cannot set up SQLite")]
    Setup(#[source] rusqlite::Error),
    /// There is no such table.
    #[error("no such table: {name}{}", meant(.nearest.as_deref(), "see `bygone tables`"))]
    NoSuchTable {
        /// The name in the statement.
        name: String,
        /// The known name that is most like it.
        nearest: Option<String>,
    },
    /// Events are to be counted of a table that has none.
    #[error(
        "{table} is a state table and has no history to count; write SELECT count(*) FROM {table}"
    )]
    NoHistory {
        /// The state table.
        table: &'static str,
    },
    /// There is no such column.
    #[error("no such column: {name}{}", meant(.nearest.as_deref(), "see `bygone schema TABLE`"))]
    NoSuchColumn {
        /// The name in the statement.
        name: String,
        /// The known name that is most like it.
        nearest: Option<String>,
    },
    /// SQLite does not understand the statement.
    #[error("{message}, at line {line}, column {column}")]
    Syntax {
        /// SQLite's message.
        message: String,
        /// Line of the place, from 1.
        line: usize,
        /// Column of the place in characters, from 1.
        column: usize,
    },
    /// One of several statements failed.
    #[error("statement {number}, line {line}")]
    Statement {
        /// Which, from 1.
        number: usize,
        /// Line of its first word, from 1.
        line: usize,
        /// Why.
        source: Box<Self>,
    },
    /// The statement would do something else than read.
    #[error("{what} is not allowed: the session is read-only")]
    NotAllowed {
        /// What it would do.
        what: String,
    },
    /// There is no store in the data folder.
    #[error(
        "{path} holds no recorded history; start `bygone run`, or name another folder by --data-dir",
        path = .path.display()
    )]
    NoStore {
        /// The folder.
        path: PathBuf,
    },
    /// The store could not be read.
    #[error("cannot read the table {table}")]
    Read {
        /// The table of events.
        table: &'static str,
        /// What the store said.
        source: ReadError,
    },
    /// A state table could not be read.
    #[error("cannot read the table {table}")]
    State {
        /// The state table.
        table: &'static str,
        /// What its scan said.
        source: ScanFailure,
    },
    /// A function of the program could not answer.
    #[error("cannot answer {name}()")]
    Function {
        /// Its name.
        name: &'static str,
        /// What it said.
        source: ScanFailure,
    },
    /// A function that is a table was used without its arguments.
    #[error("{name} is a function; write {usage}")]
    NoArgument {
        /// Its name.
        name: &'static str,
        /// How it is called.
        usage: String,
    },
    /// A time was compared with text.
    #[error(
        "{column} is a number and cannot be compared with the text '{text}'; write \
         time_ns and ns('{text}')"
    )]
    NotATime {
        /// The column.
        column: &'static str,
        /// The text.
        text: String,
    },
    /// The statement needs more memory than it may have.
    #[error(
        "the statement needs more than {} of memory; narrow its range of time or raise \
         --max-memory", size(*.bytes_max)
    )]
    TooMuchMemory {
        /// How much it may have, in bytes.
        bytes_max: usize,
    },
    /// The statement ran longer than it may.
    #[error(
        "the statement ran longer than {}; narrow its range of time or raise --timeout",
        span(*.timeout)
    )]
    TimedOut {
        /// How long it may run.
        timeout: Duration,
    },
    /// The statement was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// The result could not be written.
    #[error("cannot write the result")]
    Output(#[source] io::Error),
    /// Anything else that SQLite refuses or fails at, in its words.
    #[error("{message}")]
    Sqlite {
        /// SQLite's message.
        message: String,
    },
}

impl SqlError {
    /// That a column of times was compared with a value.
    pub(super) fn not_a_time(column: &'static str, value: ValueRef<'_>) -> Self {
        let text = match value {
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        Self::NotATime { column, text }
    }
}

/// Bytes in words; whole units only.
fn size(bytes: usize) -> String {
    const UNITS: [(usize, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{} {name}", bytes / unit))
}

/// A span in words: `5s`, `250ms`, `1.5s`.
fn span(span: Duration) -> String {
    let millis = span.as_millis();
    if millis < 1000 { format!("{millis}ms") } else { format!("{}s", span.as_secs_f64()) }
}

fn meant(nearest: Option<&str>, otherwise: &str) -> String {
    nearest.map_or_else(|| format!("; {otherwise}"), |name| format!("; did you mean {name}?"))
}

/// The most similar of `names`, when one is similar enough to be meant.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    const SIMILAR: f64 = 0.7;
    let name = name.to_lowercase();
    names
        .map(|known| (strsim::normalized_damerau_levenshtein(&name, known), known))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, known)| known.to_owned())
}

/// Line and column, from 1, of a byte in a text.
pub(super) fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count();
    (before.matches('\n').count() + 1, column + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_names_are_meant() {
        let names = || ["process_events", "file_events", "users"].into_iter();
        assert_eq!(nearest("proces_event", names()).as_deref(), Some("process_events"));
        assert_eq!(nearest("USER", names()).as_deref(), Some("users"));
        assert_eq!(nearest("kernel_modules", names()), None);
    }

    #[test]
    fn places_are_counted_from_one() {
        assert_eq!(position("SELECT", 0), (1, 1));
        assert_eq!(position("SELECT\n ä x", 11), (2, 4));
        assert_eq!(position("x", 99), (1, 2));
    }
}
