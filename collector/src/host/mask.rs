//! Values that are not to be recorded: passwords in arguments, in the environment and in scripts.
//!
//! A name is given as a pattern. In `NAME=VALUE`, also behind dashes, the value of a name that
//! matches is replaced; behind a word of dashes and such a name (`--password secret`) the next word
//! is. Case does not matter. Scripts have more ways to give a name a value (`script`).
//!
//! **Invariant:** what is masked has lost its bytes and their number: [`MASK`] stands in their place.

mod script;

/// What stands in place of a value.
pub const MASK: &[u8] = b"***";

/// Names whose values are masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    patterns: Vec<Vec<u8>>,
}

impl Mask {
    /// Masks values of names that match one of `patterns`, in which `*` stands for any text.
    #[must_use]
    pub fn new(patterns: &[String]) -> Self {
        let lower = |pattern: &String| pattern.to_ascii_lowercase().into_bytes();
        Self { patterns: patterns.iter().map(lower).collect() }
    }

    /// Masks words that are each ended by a NUL; `None` when there is nothing to mask.
    #[must_use]
    pub fn words(&self, words: &[u8]) -> Option<Vec<u8>> {
        if self.patterns.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(words.len());
        let (mut masked, mut whole) = (false, false);
        for word in words.split_inclusive(|byte| *byte == 0) {
            let (text, end) = match word.split_last() {
                Some((0, text)) => (text, &word[text.len()..]),
                _ => (word, &word[word.len()..]),
            };
            let kept = if whole { 0 } else { self.kept(text).unwrap_or(text.len()) };
            whole = !whole && self.announces(text);
            out.extend_from_slice(&text[..kept]);
            if kept < text.len() {
                out.extend_from_slice(MASK);
                masked = true;
            }
            out.extend_from_slice(end);
        }
        masked.then_some(out)
    }

    /// How much of `NAME=VALUE` is kept, when the name is one whose value is masked.
    fn kept(&self, word: &[u8]) -> Option<usize> {
        let name = word.iter().position(|byte| *byte == b'=')?;
        self.matches(without_dashes(word.get(..name)?)).then_some(name + 1)
    }

    /// Whether the value is the next word.
    fn announces(&self, word: &[u8]) -> bool {
        let name = without_dashes(word);
        name.len() < word.len() && !name.contains(&b'=') && self.matches(name)
    }

    fn matches(&self, name: &[u8]) -> bool {
        let name = name.to_ascii_lowercase();
        !name.is_empty() && self.patterns.iter().any(|pattern| is_match(pattern, &name))
    }
}

fn without_dashes(word: &[u8]) -> &[u8] {
    let dashes = word.iter().take_while(|byte| **byte == b'-').count();
    word.get(dashes..).unwrap_or_default()
}

/// Whether a text is as a pattern says, in time bounded by the product of their lengths.
fn is_match(pattern: &[u8], text: &[u8]) -> bool {
    let (mut of_pattern, mut of_text) = (0, 0);
    // Where the last star stood, and the text that it has not taken yet.
    let mut star: Option<(usize, usize)> = None;
    while of_text < text.len() {
        match pattern.get(of_pattern) {
            Some(b'*') => {
                star = Some((of_pattern, of_text));
                of_pattern += 1;
            }
            Some(byte) if text.get(of_text) == Some(byte) => {
                of_pattern += 1;
                of_text += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                of_pattern = at + 1;
                of_text = taken + 1;
            }
        }
    }
    pattern.iter().skip(of_pattern).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::{Mask, is_match};

    #[track_caller]
    fn check(words: &str, expected: Option<&str>) {
        let mask = Mask::new(&["*password*".to_owned(), "token".to_owned()]);
        let masked = mask.words(words.replace('|', "\0").as_bytes());
        let masked = masked.map(|bytes| String::from_utf8(bytes).unwrap().replace('\0', "|"));
        assert_eq!(masked.as_deref(), expected, "{words}");
    }

    #[test]
    fn values_of_names_are_masked() {
        check("curl|--token=abc|x|", Some("curl|--token=***|x|"));
        check("TOKEN=abc|PATH=/bin|", Some("TOKEN=***|PATH=/bin|"));
        check("mysql|--password|s3cret|db|", Some("mysql|--password|***|db|"));
        check("mysql|-db-Password|a=b|db|", Some("mysql|-db-Password|***|db|"));
        check("DB_PASSWORD=a=b", Some("DB_PASSWORD=***"));
        // The next word is a value whatever it looks like.
        check("x|--password|--token|y|", Some("x|--password|***|y|"));
    }

    #[test]
    fn what_need_not_be_masked_is_left() {
        for words in ["", "|", "ls|-l|", "password|abc|", "tokens=abc|", "token=|", "a=token|"] {
            check(words, None);
        }
        check("x|--password|", None);
        assert_eq!(Mask::default().words(b"token=abc\0"), None);
    }

    #[test]
    fn a_star_stands_for_any_text() {
        let check = |pattern: &str, text: &str| is_match(pattern.as_bytes(), text.as_bytes());
        assert!(check("*", "") && check("*", "a") && check("a*c", "abbc") && check("a*c", "ac"));
        assert!(check("*ab", "aab") && check("*a*b*", "xxaxxbxx") && check("", ""));
        assert!(!check("a*c", "abcd") && !check("", "a") && !check("a", "") && !check("*a", "ab"));
    }
}
