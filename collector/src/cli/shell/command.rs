//! The commands of the shell: sqlite3's and osqueryi's with a dot, psql's with a backslash.

use anyhow::bail;
use clap::ValueEnum;

use crate::cli::output::Format;

/// What `.help` prints.
pub(super) const HELP: &str = "\
.tables [PART]    list the tables, or those whose names contain PART    also \\d, \\dt
.schema TABLE     print a table's columns and what they mean            also \\d TABLE
.mode FORM        print results as table, json, jsonl, csv or line
\\x                switch between table and line
.help             print this                                            also \\?
.quit             leave                                                 also \\q, Ctrl-D

Everything else is SQL and ends with a semicolon; it may span several lines. Tab completes names
of tables, columns and words of SQL. Ctrl-C interrupts a running statement.
";

/// The names of all commands, for completion.
pub(super) const NAMES: &[&str] =
    &[".exit", ".help", ".mode", ".quit", ".schema", ".tables", "\\d", "\\dt", "\\q", "\\x"];

/// A command of the shell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Quit,
    Tables(Option<String>),
    Schema(String),
    Mode(Format),
    /// Switch between `table` and `line`.
    Expand,
}

impl Command {
    /// The command in a line, `None` when the line is SQL.
    ///
    /// # Errors
    /// When the line begins like a command and is none.
    pub(super) fn parse(line: &str) -> anyhow::Result<Option<Self>> {
        let line = line.trim().trim_end_matches(';');
        if !is_command(line) {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let argument = words.next();
        if let Some(word) = words.next() {
            bail!("{name} takes one argument at most; not understood: {word}");
        }
        let command = match (name, argument) {
            (".help" | "\\?" | "help", None) => Self::Help,
            (".quit" | ".exit" | "\\q" | "quit" | "exit", None) => Self::Quit,
            (".tables" | "\\dt", part) => Self::Tables(part.map(str::to_owned)),
            ("\\d", None) => Self::Tables(None),
            (".schema" | "\\d", Some(table)) => Self::Schema(table.to_owned()),
            (".schema", None) => bail!(".schema needs a table: .schema process_events"),
            (".mode", Some(form)) => Self::Mode(format(form)?),
            (".mode", None) => bail!(".mode needs a form: table, json, jsonl, csv or line"),
            ("\\x", None) => Self::Expand,
            _ if NAMES.contains(&name) => bail!("{name} takes no argument"),
            _ => bail!("no such command: {name}; .help lists them"),
        };
        Ok(Some(command))
    }
}

/// Whether a line is a command rather than SQL. The words that everyone tries are.
pub(in crate::cli) fn is_command(line: &str) -> bool {
    let line = line.trim().trim_end_matches(';');
    line.starts_with(['.', '\\']) || ["exit", "quit", "help"].contains(&line)
}

fn format(name: &str) -> anyhow::Result<Format> {
    match Format::from_str(name, true) {
        Ok(format) => Ok(format),
        Err(_) => bail!("no such form: {name}; there are table, json, jsonl, csv and line"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_sql() {
        let parse = |line| Command::parse(line).unwrap();
        assert_eq!(parse("SELECT 1;"), None);
        assert_eq!(parse("  .quit "), Some(Command::Quit));
        assert_eq!(parse("\\q"), Some(Command::Quit));
        assert_eq!(parse(".tables"), Some(Command::Tables(None)));
        assert_eq!(parse("\\d"), Some(Command::Tables(None)));
        assert_eq!(parse("\\d users;"), Some(Command::Schema("users".to_owned())));
        assert_eq!(parse(".mode JSON"), Some(Command::Mode(Format::Json)));
        assert_eq!(parse("\\x"), Some(Command::Expand));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (line, message) in [
            (".schem users", "no such command: .schem; .help lists them"),
            (".quit now", ".quit takes no argument"),
            (".schema a b", ".schema takes one argument at most; not understood: b"),
            (".mode xml", "no such form: xml; there are table, json, jsonl, csv and line"),
        ] {
            assert_eq!(Command::parse(line).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn every_name_is_a_command() {
        for name in NAMES {
            let message = match Command::parse(name) {
                Ok(command) => {
                    assert!(command.is_some(), "{name}");
                    continue;
                }
                Err(error) => error.to_string(),
            };
            assert!(message.contains("needs"), "{message}");
        }
    }
}
