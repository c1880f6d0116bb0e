//! Characters that could act on a terminal, or deceive its reader, written visibly.
//!
//! Paths and arguments are chosen by whoever runs a program: an escape sequence in them must not
//! reach the terminal of whoever asks about it. What is escaped: control characters (C0, DEL and
//! C1) and the marks that change the direction or the line of text. A backslash stays as it is,
//! so that the text can be read; where it must be exact, JSON is.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal could take `character` for more than a sign to show.
pub(super) fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// The text with every active character as `\n`, `\r`, `\t`, `\xHH` or `\u{H…}`.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_active) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len().saturating_add(16));
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            _ if !is_active(character) => escaped.push(character),
            _ => push_code(&mut escaped, character),
        }
    }
    Cow::Owned(escaped)
}

fn push_code(escaped: &mut String, character: char) {
    let code = u32::from(character);
    let written = if character.is_ascii() {
        write!(escaped, "\\x{code:02x}")
    } else {
        write!(escaped, "\\u{{{code:x}}}")
    };
    // Writing to a `String` cannot fail.
    written.unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_active_character_is_left() {
        let hostile: String = (0..0x3000).filter_map(char::from_u32).collect();
        let escaped = visible(&hostile);
        assert!(!escaped.chars().any(is_active), "{escaped}");
    }

    #[test]
    fn escapes_are_readable() {
        assert_eq!(visible("a\nb\tc\rd"), "a\\nb\\tc\\rd");
        assert_eq!(visible("\u{1b}[2J\u{7f}"), "\\x1b[2J\\x7f");
        assert_eq!(visible("\u{9b}2J\u{202e}exe"), "\\u{9b}2J\\u{202e}exe");
    }

    #[test]
    fn plain_text_is_not_copied() {
        assert!(matches!(visible("/usr/bin/ä\\x1b 語"), Cow::Borrowed(_)));
    }
}
