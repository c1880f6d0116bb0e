//! Bytes from the kernel as text, without losing any.
//!
//! Paths and arguments are bytes on Linux. Text that is valid UTF-8 stays as it is. Each byte that
//! is not becomes `\xHH`, two lower-case hexadecimal digits. So that this can be undone, a
//! backslash that begins what would read as such a group is itself written `\x5c`; every other
//! backslash stays.
//!
//! **Invariant:** `bytes(&lossless(b)) == b` for all bytes.

/// The bytes as text, from which [`bytes`] makes the same bytes again.
#[must_use]
pub fn lossless(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.contains("\\x")
    {
        return text.to_owned();
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        push_valid(&mut out, chunk.valid());
        for byte in chunk.invalid() {
            push_escaped(&mut out, *byte);
        }
    }
    out
}

/// Words that are each ended by a NUL, on one line: the first `bytes_max` bytes of them, less what
/// would be a part of a character.
#[must_use]
pub fn cmdline(words: &[u8], bytes_max: usize) -> String {
    /// Bytes of a character behind its first, at most.
    const FOLLOWING_MAX: usize = 3;
    let ended = words.strip_suffix(&[0]).unwrap_or(words);
    let follows = |at: &usize| ended.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let parted = (0..=FOLLOWING_MAX).map(|back| bytes_max.saturating_sub(back));
    let end = parted.into_iter().find(|at| !follows(at)).unwrap_or(bytes_max);
    let line = lossless(ended.get(..end).unwrap_or(ended));
    // Neither UTF-8 nor an escape reaches across a NUL.
    if line.contains('\0') { line.replace('\0', " ") } else { line }
}

/// What [`lossless`] made `text` from.
#[must_use]
pub fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if let Some(byte) = escaped(rest) {
            out.push(byte);
            rest = rest.get(4..).unwrap_or_default();
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

fn push_valid(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if escaped(from.as_bytes()).is_some() {
            push_escaped(out, b'\\');
        } else {
            out.push('\\');
        }
        rest = from.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
}

fn push_escaped(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\x");
    for nibble in [byte >> 4, byte & 0xf] {
        out.push(char::from(DIGITS[usize::from(nibble)]));
    }
}

/// The byte that `text` begins with, if it begins with `\xHH`.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'\\', b'x', high, low, ..] = text else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{bytes, lossless};

    #[test]
    fn text_stays_and_bytes_are_shown() {
        assert_eq!(lossless(b"/bin/ls"), "/bin/ls");
        assert_eq!(lossless("größe".as_bytes()), "größe");
        assert_eq!(lossless(b"a\xffb"), "a\\xffb");
        assert_eq!(lossless(b"\xc3"), "\\xc3");
        assert_eq!(lossless(br"\n \x \xg1 C:\dir"), r"\n \x \xg1 C:\dir");
        assert_eq!(lossless(br"\x41"), r"\x5cx41");
        assert_eq!(lossless(br"\\x41"), r"\\x5cx41");
        assert_eq!(lossless(b""), "");
    }

    #[test]
    fn an_escape_split_by_an_invalid_byte_is_reversible() {
        let hostile = b"\\x\xff4\\\xffx41\\x4\xff";
        assert_eq!(bytes(&lossless(hostile)), hostile);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(input in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(bytes(&lossless(&input)), input);
        }

        #[test]
        fn bytes_that_look_like_escapes_come_back(input in r"[\\x0-9a-fA-F\xff]{0,24}") {
            prop_assert_eq!(bytes(&lossless(input.as_bytes())), input.as_bytes());
        }

        #[test]
        fn raw_escapes_come_back(
            input in proptest::collection::vec(proptest::sample::select(b"\\x5cC4\xff\xc3".to_vec()), 0..24)
        ) {
            prop_assert_eq!(bytes(&lossless(&input)), input);
        }
    }
}
