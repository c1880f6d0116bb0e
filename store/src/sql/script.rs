//! The statements of a text, for messages that name one: what runs is what SQLite takes for the
//! next statement.

use crate::sql::error::{SqlError, position};

/// A statement in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptStatement<'a> {
    /// Line of its first word, from 1.
    pub line: usize,
    /// Its text, from its first word to the semicolon or the end.
    pub text: &'a str,
}

/// The statements of a text that are separated by semicolons. What holds nothing but blanks and
/// comments is none.
///
/// ```
/// use bygone_store::sql::statements;
///
/// let found = statements("SELECT ';'; -- one;\n SELECT 2");
/// assert_eq!(found.iter().map(|one| one.text).collect::<Vec<_>>(), ["SELECT ';'", "SELECT 2"]);
/// assert_eq!(found[1].line, 2);
/// ```
#[must_use]
pub fn statements(sql: &str) -> Vec<ScriptStatement<'_>> {
    let mut found = Vec::new();
    let mut begun = None;
    let mut at = 0;
    // Counted along, so that a long script is read once.
    let (mut line, mut counted) = (1, 0);
    while let Some(rest) = sql.as_bytes().get(at..).filter(|rest| !rest.is_empty()) {
        let (token, length) = token(rest);
        match (token, begun) {
            (Token::Word, None) => {
                line += newlines(sql, counted, at);
                counted = at;
                begun = Some(at);
            }
            (Token::Semicolon, Some(start)) => {
                let text = sql.get(start..at).unwrap_or_default();
                found.push(ScriptStatement { line, text });
                begun = None;
            }
            _ => {}
        }
        at += length;
    }
    if let Some(start) = begun {
        found.push(ScriptStatement { line, text: sql.get(start..).unwrap_or_default().trim_end() });
    }
    found
}

fn newlines(sql: &str, from: usize, to: usize) -> usize {
    let (line, _) = position(sql.get(from..).unwrap_or_default(), to - from);
    line - 1
}

/// What counts of a token here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// A blank or a comment.
    Nothing,
    Semicolon,
    Word,
}

/// The token at the begin of a text that is not empty, and its length in bytes. A word may come in
/// pieces.
fn token(text: &[u8]) -> (Token, usize) {
    // Up to and with `end`, or all when it is missing: SQLite then refuses the statement.
    let until = |from: usize, end: &[u8]| {
        let inner = text.get(from..).unwrap_or_default();
        let found = inner.windows(end.len()).position(|part| part == end);
        found.map_or(text.len(), |found| from + found + end.len())
    };
    match text {
        [b';', ..] => (Token::Semicolon, 1),
        [b'-', b'-', ..] => (Token::Nothing, until(2, b"\n")),
        [b'/', b'*', ..] => (Token::Nothing, until(2, b"*/")),
        [quote @ (b'\'' | b'"' | b'`'), ..] => (Token::Word, until(1, &[*quote])),
        [b'[', ..] => (Token::Word, until(1, b"]")),
        [byte, ..] if byte.is_ascii_whitespace() => (Token::Nothing, 1),
        _ => (Token::Word, 1),
    }
}

/// An error of the statement `number`, from 1, of a text: it names which that is, unless it is the
/// only one.
pub(super) fn locate(error: SqlError, sql: &str, number: usize) -> SqlError {
    let statements = statements(sql);
    match statements.get(number.saturating_sub(1)) {
        Some(statement) if statements.len() > 1 => {
            SqlError::Statement { number, line: statement.line, source: Box::new(error) }
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expected: &[(usize, &str)]) {
        let found: Vec<(usize, &str)> =
            statements(sql).iter().map(|statement| (statement.line, statement.text)).collect();
        assert_eq!(found, expected, "{sql}");
    }

    #[test]
    fn semicolons_separate_statements() {
        check("", &[]);
        check(" ;;\n -- a;\n /* b; */ ", &[]);
        check("SELECT 1", &[(1, "SELECT 1")]);
        check("SELECT 1;\n\nSELECT\n2;\n", &[(1, "SELECT 1"), (3, "SELECT\n2")]);
        check(".tables\nSELECT 1;", &[(1, ".tables\nSELECT 1")]);
        check("-- first\nSELECT 'ä';SELECT 2\n", &[(2, "SELECT 'ä'"), (2, "SELECT 2")]);
    }

    #[test]
    fn quoted_and_commented_semicolons_do_not() {
        let quoted = "SELECT 'it''s;', \";\", `;`, [;], 4 - 2 / 1";
        check(quoted, &[(1, quoted)]);
        check(
            "SELECT 1 -- ;\n + 2; SELECT /* ;\n; */ 3",
            &[(1, "SELECT 1 -- ;\n + 2"), (2, "SELECT /* ;\n; */ 3")],
        );
        check("SELECT '; SELECT 2", &[(1, "SELECT '; SELECT 2")]);
        check("SELECT 1; /* open ;", &[(1, "SELECT 1")]);
    }
}
