//! Completion of names, and the end of a statement.

use std::collections::BTreeSet;

use bygone_store::TableSchema;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use super::command::{NAMES, is_command};
use crate::cli::tables;

/// Words of SQL and functions that are worth completing.
const WORDS: &str = "\
    AND AS ASC AVG( BETWEEN BY CASE CAST( COUNT( DESC DISTINCT ELSE END EXCEPT EXISTS EXPLAIN \
    FROM FULL GLOB GROUP GROUP_CONCAT( HAVING IN INNER INTERSECT IS ISO( JOIN JSON_EXTRACT( \
    LEFT LIKE LIMIT MAX( MIN( NOT NS( NULL OFFSET ON OR ORDER OUTER PLAN QUERY RECURSIVE RIGHT \
    SELECT SUM( THEN UNION USING VALUES WHEN WHERE WITH";

/// What the line editor asks while a line is edited.
pub(super) struct SqlHelper {
    tables: Vec<&'static TableSchema>,
}

impl SqlHelper {
    pub(super) fn new() -> Self {
        Self { tables: tables::all().collect() }
    }

    /// What may stand for the word that ends at `position`, and where the word begins.
    fn candidates(&self, line: &str, position: usize) -> (usize, Vec<String>) {
        let before = line.get(..position).unwrap_or(line);
        if is_command(before) && !before.trim_start().contains(char::is_whitespace) {
            let start = before.len().saturating_sub(before.trim_start().len());
            let word = before.trim_start();
            let names = NAMES.iter().filter(|name| name.starts_with(word));
            return (start, names.map(|&name| name.to_owned()).collect());
        }
        let is_name = |character: char| character.is_alphanumeric() || character == '_';
        let typed = before.rsplit(|character| !is_name(character)).next().unwrap_or_default();
        let start = before.len().saturating_sub(typed.len());
        let qualified = before.get(..start).is_some_and(|before| before.ends_with('.'));
        if typed.is_empty() && !qualified {
            return (start, Vec::new());
        }
        let word = typed.to_lowercase();
        let mut found = BTreeSet::new();
        if !qualified {
            found.extend(self.tables().filter(|name| name.starts_with(&word)));
        }
        if !is_command(before) {
            found.extend(self.columns(line).filter(|name| name.starts_with(&word)));
        }
        let mut found: BTreeSet<String> = found.into_iter().map(str::to_owned).collect();
        if !qualified && !is_command(before) {
            found.extend(words(typed));
        }
        (start, found.into_iter().collect())
    }

    fn tables(&self) -> impl Iterator<Item = &'static str> {
        self.tables.iter().map(|table| table.name)
    }

    /// The columns of the tables that the line names, or of all when it names none.
    fn columns(&self, line: &str) -> impl Iterator<Item = &'static str> {
        let narrow = self.tables().any(|name| line.contains(name));
        self.tables
            .iter()
            .filter(move |table| !narrow || line.contains(table.name))
            .flat_map(|table| table.columns.iter().map(|column| column.name))
    }
}

/// Words of SQL that begin with `word`, in its case.
fn words(word: &str) -> impl Iterator<Item = String> {
    let upper = word.to_uppercase();
    let lower_case = word.chars().any(char::is_lowercase);
    WORDS
        .split_whitespace()
        .filter(move |known| known.starts_with(&upper))
        .map(move |known| if lower_case { known.to_lowercase() } else { known.to_owned() })
}

impl Completer for SqlHelper {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(line, position))
    }
}

impl Validator for SqlHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Hinter for SqlHelper {
    type Hint = String;
}

impl Highlighter for SqlHelper {}

impl Helper for SqlHelper {}

/// Whether the input can be run: it is empty, a command, or SQL whose last statement has its
/// semicolon outside of quotes and comments.
fn is_complete(input: &str) -> bool {
    if input.trim().is_empty() || is_command(input) {
        return true;
    }
    let mut ended = false;
    let mut rest = input;
    while let Some(character) = rest.chars().next() {
        let after = rest.get(character.len_utf8()..).unwrap_or_default();
        let (blank, next) = match character {
            '\'' | '"' | '`' => (false, after.split_once(character).map(|(_, after)| after)),
            '[' => (false, after.split_once(']').map(|(_, after)| after)),
            '-' if after.starts_with('-') => (true, Some(after_line(after))),
            '/' if after.starts_with('*') => (true, after.split_once("*/").map(|(_, after)| after)),
            _ => (character.is_whitespace(), Some(after)),
        };
        let Some(next) = next else { return false };
        rest = next;
        if !blank {
            ended = character == ';';
        }
    }
    ended
}

fn after_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, after)| after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_with_a_semicolon() {
        for complete in [
            "",
            "SELECT 1;",
            "SELECT 1; -- done",
            "SELECT ';';",
            "SELECT 'it''s';",
            "SELECT 1 /* ; */;",
            ".tables",
            "\\d users",
            "SELECT \"a;b\"\nFROM t;\n",
        ] {
            assert!(is_complete(complete), "{complete}");
        }
        for incomplete in [
            "SELECT 1",
            "SELECT ';",
            "SELECT 1 -- ;",
            "SELECT 1 /* ;",
            "SELECT 1; SELECT 2",
            "SELECT 'it''s;",
        ] {
            assert!(!is_complete(incomplete), "{incomplete}");
        }
    }

    #[track_caller]
    fn check(line: &str, start: usize, candidates: &[&str]) {
        let (found_start, found) = SqlHelper::new().candidates(line, line.len());
        assert_eq!((found_start, found), (start, candidates.iter().map(|&c| c.into()).collect()));
    }

    #[test]
    fn names_and_words_are_completed() {
        check("sel", 0, &["select"]);
        check("SELECT * FROM process_ex", 14, &["process_exit_events"]);
        check(".sc", 0, &[".schema"]);
        check(".schema us", 8, &["users"]);
        check("SELECT * FROM users WHERE usern", 26, &["username"]);
        check("SELECT u.usern FROM users u WHERE u.usern", 36, &["username"]);
        check("SELECT ", 7, &[]);
    }
}
