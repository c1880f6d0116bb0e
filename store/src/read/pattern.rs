//! Patterns of SQLite's `LIKE` and `GLOB`, with the exact meaning that SQLite gives them.
//!
//! Text is taken up to its first NUL, as SQLite does; a pattern likewise. Most patterns are one
//! literal with a wildcard before or after it: those compare bytes. All others are walked
//! character by character, and only the last `%` or `*` is ever gone back to, so that a match takes
//! at most (length of the text) × (length of the pattern) steps.
//!
//! **Invariant:** what [`Pattern::matches`] says is what `text LIKE pattern` or `text GLOB pattern`
//! says in SQLite; a property test asks SQLite.

use std::str::Chars;

/// A pattern made ready.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// Whether ASCII letters are compared without regard to case.
    folds: bool,
    prefix: Box<[u8]>,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    /// The whole text.
    Whole(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    /// Anywhere in the text.
    Within(Needle),
    /// Anything else.
    Tokens(Vec<Token>),
    /// No text matches.
    Never,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Any run of characters.
    Run,
    /// Any one character.
    One,
    Char(char),
    Set {
        inverted: bool,
        members: Vec<(char, char)>,
    },
}

impl Pattern {
    /// A pattern of `LIKE` without an escape character.
    pub(super) fn like(pattern: &str) -> Self {
        let tokens = until_nul(pattern).chars().map(|character| match character {
            '%' => Token::Run,
            '_' => Token::One,
            other => Token::Char(other),
        });
        // Which of both cases a letter of the prefix has is not known.
        let prefix = Box::default();
        Self { folds: true, prefix, shape: Shape::of(tokens.collect(), true) }
    }

    /// A pattern of `GLOB`.
    pub(super) fn glob(pattern: &str) -> Self {
        let mut characters = until_nul(pattern).chars();
        let mut tokens = Vec::new();
        while let Some(character) = characters.next() {
            tokens.push(match character {
                '*' => Token::Run,
                '?' => Token::One,
                '[' => match set(&mut characters) {
                    Some(set) => set,
                    None => {
                        let prefix = Box::default();
                        return Self { folds: false, prefix, shape: Shape::Never };
                    }
                },
                other => Token::Char(other),
            });
        }
        let prefix: String = tokens.iter().map_while(Token::literal).collect();
        let prefix = prefix.into_bytes().into_boxed_slice();
        Self { folds: false, prefix, shape: Shape::of(tokens, false) }
    }

    /// Whether a text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text = until_nul(text);
        let bytes = text.as_bytes();
        match &self.shape {
            Shape::Whole(whole) => self.equal(bytes, whole),
            Shape::Prefix(prefix) => {
                bytes.get(..prefix.len()).is_some_and(|start| self.equal(start, prefix))
            }
            Shape::Suffix(suffix) => {
                let start = bytes.len().checked_sub(suffix.len());
                start.and_then(|at| bytes.get(at..)).is_some_and(|end| self.equal(end, suffix))
            }
            Shape::Within(needle) => needle.is_in(bytes),
            Shape::Tokens(tokens) => matches_tokens(tokens, text, self.folds),
            Shape::Never => false,
        }
    }

    /// What every text that matches begins with, byte by byte; empty when that says nothing.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    fn equal(&self, left: &[u8], right: &[u8]) -> bool {
        if self.folds { left.eq_ignore_ascii_case(right) } else { left == right }
    }
}

impl Shape {
    fn of(tokens: Vec<Token>, folds: bool) -> Self {
        let (first, last) = (tokens.first(), tokens.last());
        let before = usize::from(first == Some(&Token::Run));
        let after = usize::from(tokens.len() > before && last == Some(&Token::Run));
        let middle = tokens.get(before..tokens.len() - after).unwrap_or_default();
        let literal: Option<String> = middle.iter().map(Token::literal).collect();
        let Some(literal) = literal else {
            return Self::Tokens(tokens);
        };
        let bytes = literal.into_bytes().into_boxed_slice();
        match (before > 0, after > 0) {
            (false, false) => Self::Whole(bytes),
            (false, true) => Self::Prefix(bytes),
            (true, false) => Self::Suffix(bytes),
            (true, true) => Self::Within(Needle::new(bytes, folds)),
        }
    }
}

impl Token {
    /// The character when it stands for itself byte by byte.
    fn literal(&self) -> Option<char> {
        match self {
            Self::Char(character) => Some(*character),
            _ => None,
        }
    }

    fn accepts(&self, character: char, folds: bool) -> bool {
        match self {
            Self::Run | Self::One => true,
            Self::Char(own) => *own == character || (folds && own.eq_ignore_ascii_case(&character)),
            Self::Set { inverted, members } => {
                let within = members.iter().any(|(from, to)| (*from..=*to).contains(&character));
                within != *inverted
            }
        }
    }
}

/// What is looked for anywhere in a text.
#[derive(Clone, Debug)]
struct Needle {
    bytes: Box<[u8]>,
    folds: bool,
    /// Offset of the byte that is looked for first, as the one that is the least common.
    rare: usize,
}

impl Needle {
    fn new(bytes: Box<[u8]>, folds: bool) -> Self {
        let rarity = |(_, byte): &(usize, &u8)| commonness(**byte);
        let rare = bytes.iter().enumerate().min_by_key(rarity).map_or(0, |(index, _)| index);
        Self { bytes, folds, rare }
    }

    fn is_in(&self, text: &[u8]) -> bool {
        let Some(rare) = self.bytes.get(self.rare) else {
            return true;
        };
        let (lower, upper) = match self.folds {
            true => (rare.to_ascii_lowercase(), rare.to_ascii_uppercase()),
            false => (*rare, *rare),
        };
        let Some(last) = text.len().checked_sub(self.bytes.len()) else {
            return false;
        };
        let places = text.get(self.rare..=last + self.rare).unwrap_or_default();
        let at = |start: usize| text.get(start..start + self.bytes.len());
        let hit = |start: usize| match self.folds {
            true => at(start).is_some_and(|part| part.eq_ignore_ascii_case(&self.bytes)),
            false => at(start) == Some(&*self.bytes),
        };
        match lower == upper {
            true => memchr::memchr_iter(lower, places).any(hit),
            false => memchr::memchr2_iter(lower, upper, places).any(hit),
        }
    }
}

/// How common a byte is in paths and command lines, roughly.
fn commonness(byte: u8) -> u8 {
    match byte.to_ascii_lowercase() {
        b'/' | b' ' | b'-' | b'.' => 9,
        b'e' | b's' | b't' | b'i' | b'n' | b'r' | b'o' | b'a' | b'l' => 8,
        b'0'..=b'9' => 6,
        b'a'..=b'z' | b'_' => 5,
        0x80.. => 4,
        _ => 1,
    }
}

/// Reads a set after its `[`; `None` when it does not end.
fn set(characters: &mut Chars<'_>) -> Option<Token> {
    let mut members = Vec::new();
    let mut next = characters.next()?;
    let inverted = next == '^';
    if inverted {
        next = characters.next()?;
    }
    // A `]` at the start is a member and does not end the set.
    if next == ']' {
        members.push((']', ']'));
        next = characters.next()?;
    }
    let mut before = None;
    while next != ']' {
        let following = characters.clone().next();
        match before {
            Some(from) if next == '-' && following.is_some_and(|end| end != ']') => {
                members.push((from, characters.next()?));
                before = None;
            }
            _ => {
                members.push((next, next));
                before = Some(next);
            }
        }
        next = characters.next()?;
    }
    Some(Token::Set { inverted, members })
}

/// Walks a text. After a mismatch the last run is made one character longer.
fn matches_tokens(tokens: &[Token], text: &str, folds: bool) -> bool {
    let mut rest = text.chars();
    let mut position = 0;
    let mut retry: Option<(usize, Chars<'_>)> = None;
    loop {
        let token = tokens.get(position);
        if token == Some(&Token::Run) {
            position += 1;
            retry = Some((position, rest.clone()));
            continue;
        }
        let mut ahead = rest.clone();
        let matched = match (token, ahead.next()) {
            (None, None) => return true,
            (Some(token), Some(character)) => token.accepts(character, folds),
            _ => false,
        };
        if matched {
            (position, rest) = (position + 1, ahead);
            continue;
        }
        let Some((after_run, from)) = &mut retry else {
            return false;
        };
        if from.next().is_none() {
            return false;
        }
        (position, rest) = (*after_run, from.clone());
    }
}

fn until_nul(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::*;

    thread_local! {
        static SQLITE: Connection = Connection::open_in_memory().unwrap();
    }

    fn sqlite(operator: &str, text: &str, pattern: &str) -> bool {
        SQLITE.with(|connection| {
            let sql = format!("SELECT ?1 {operator} ?2");
            let mut statement = connection.prepare(&sql).unwrap();
            statement.query_row((text, pattern), |row| row.get(0)).unwrap()
        })
    }

    fn check(text: &str, pattern: &str) {
        let like = Pattern::like(pattern).matches(text);
        assert_eq!(like, sqlite("LIKE", text, pattern), "{text:?} LIKE {pattern:?}");
        let glob = Pattern::glob(pattern).matches(text);
        assert_eq!(glob, sqlite("GLOB", text, pattern), "{text:?} GLOB {pattern:?}");
    }

    /// Few different characters, so that texts and patterns have much in common.
    const TEXT: &str =
        "[abABkK%_*?^\\-\\]\\[äÄ\u{212a}\u{fffd}\u{fffe}\u{ffff}\u{10000}\0é/ ]{0,12}";

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn as_sqlite_matches(text in TEXT, pattern in TEXT) {
            check(&text, &pattern);
        }

        #[test]
        fn as_sqlite_matches_within(
            text in "[abAB/]{0,16}",
            literal in "[abAB/]{0,3}",
            before in "[%*]{0,2}",
            after in "[%*]{0,2}",
        ) {
            check(&text, &format!("{before}{literal}{after}"));
        }

        #[test]
        fn as_sqlite_reads_sets(text in "[a-f\\]^-]{0,2}", set in "[\\[^abcdf\\-\\]]{1,8}") {
            check(&text, &format!("[{set}"));
            check(&text, &format!("*[{set}]"));
            check(&text, &format!("[{set}]*"));
        }
    }

    #[test]
    fn corner_cases() {
        for text in ["", "a", "%", "]", "-", "ab", "\0", "a\0b", "K", "\u{212a}", "\u{fffe}"] {
            for pattern in
                ["", "%", "*", "?", "_", "[]]", "[^]]", "[", "[a", "[a-]", "[-a]", "[]-a]"]
            {
                check(text, pattern);
            }
            for pattern in ["a%b", "a\0b", "k", "\u{ffff}", "\u{fffd}", "**", "%%", "*?*", "[z-a]"]
            {
                check(text, pattern);
            }
        }
    }
}
