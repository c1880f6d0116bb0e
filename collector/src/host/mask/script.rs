//! Masking in the text of a script, of which the language is not known.
//!
//! A name that matches has a value behind `=`, `:` and what is made of them (`+=`, `:=`, `=>`), behind
//! a comma when the name is quoted, and, when the name begins with dashes, behind blanks. The value is a
//! word of a shell directly behind `=` and behind blanks, else a quoted text, also on a line below, what
//! stands in brackets with the rest of the line on which they end, a block of YAML (`|`, `>`), or the
//! rest of the line. Within quotes it goes on to their end. What this masks too much is in the file
//! still; what it masks too little could not be taken back. Not seen are values that no sign joins to
//! their names: what a function is called with (`set_password("x")`), and a word on the line below.
//!
//! The text is short, 4 KiB at most: places are looked for from each name on.

use super::{MASK, Mask, without_dashes};

impl Mask {
    /// Masks the text of a script; `None` when there is nothing to mask.
    #[must_use]
    pub fn script(&self, text: &[u8]) -> Option<Vec<u8>> {
        if self.patterns.is_empty() {
            return None;
        }
        let script = Script(text);
        let mut out = Vec::with_capacity(text.len());
        let (mut at, mut masked) = (0, false);
        while at < text.len() {
            let start = script.skip(at, |byte| !is_of_name(byte));
            let end = script.skip(start, is_of_name);
            let is_masked = self.names(script.part(start, end));
            let value = if is_masked { script.value(start, end) } else { None };
            let (kept, next) = value.unwrap_or((end, end));
            out.extend_from_slice(script.part(at, kept));
            if value.is_some() {
                out.extend_from_slice(MASK);
                masked = true;
            }
            at = next;
        }
        masked.then_some(out)
    }

    /// Whether the values of a name are masked, or those of what it has behind its last dot.
    fn names(&self, name: &[u8]) -> bool {
        let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
        [name, last].into_iter().any(|name| self.matches(without_dashes(name)))
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || !byte.is_ascii()
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

const fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// The text, with places in it.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn at(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn part(&self, start: usize, end: usize) -> &[u8] {
        self.0.get(start..end).unwrap_or_default()
    }

    /// The place behind all bytes that are such.
    fn skip(&self, at: usize, is: impl Fn(u8) -> bool) -> usize {
        let rest = self.0.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|byte| is(**byte)).count()
    }

    /// The place behind blanks, and behind a line's end that does not count.
    fn blanks(&self, at: usize) -> usize {
        let at = self.skip(at, is_blank);
        match self.part(at, at + 2) {
            b"\\\n" => self.skip(at + 2, is_blank),
            _ => at,
        }
    }

    fn line_end(&self, at: usize) -> usize {
        self.skip(at, |byte| byte != b'\n')
    }

    /// Where the value of the name at a place begins and ends; `None` when none follows.
    fn value(&self, start: usize, end: usize) -> Option<(usize, usize)> {
        let open = self.open_quote(start);
        let closed = self.skip(end, |byte| is_quote(byte) || matches!(byte, b')' | b']' | b'}'));
        let is_quoted = self.part(end, closed).iter().any(|byte| is_quote(*byte));
        let sign = self.blanks(closed);
        let behind =
            self.skip(sign, |byte| matches!(byte, b'+' | b':' | b'?' | b'=' | b'>' | b'~'));
        let signs = self.part(sign, behind);
        let first = self.blanks(behind);
        let (first, is_word) = match self.at(sign) {
            _ if signs.iter().any(|byte| matches!(byte, b'=' | b':')) => {
                let is_word = sign == end && first == behind && signs.ends_with(b"=");
                (if is_word { first } else { self.below(first) }, is_word)
            }
            Some(b',') if is_quoted => (self.blanks(sign + 1), false),
            _ if self.at(start) == Some(b'-') && closed == end && sign > end => (sign, true),
            _ => return None,
        };
        let last = match (open.filter(|_| !is_quoted), self.at(first)) {
            (Some(quote), _) => self.quoted_end(first, quote, false).min(self.line_end(first)),
            (None, Some(b'[' | b'{')) => self.line_end(self.brackets_end(first)),
            (None, _) if is_word => self.word_end(first),
            (None, Some(b'(')) => self.line_end(self.brackets_end(first)),
            (None, Some(b'|' | b'>')) if signs == b":" => self.block_end(start, first),
            (None, _) => self.text_end(first),
        };
        (last > first).then_some((first, last))
    }

    /// Where a quoted text begins on a line below, when nothing stands on this one; else the place.
    fn below(&self, at: usize) -> usize {
        if !matches!(self.at(at), Some(b'\r' | b'\n')) {
            return at;
        }
        let next = self.skip(at, |byte| byte.is_ascii_whitespace());
        if self.quote_from(next).is_some() { next } else { at }
    }

    /// The place of the quote of a text that begins here, which may have letters before it, as b"…" in
    /// Python.
    fn quote_from(&self, at: usize) -> Option<(usize, u8)> {
        let quote = self.skip(at, |byte| byte.is_ascii_alphabetic());
        let byte = self.at(quote).filter(|byte| is_quote(*byte) && quote <= at + 2)?;
        Some((quote, byte))
    }

    /// The quote that is open at a place, as far as its line tells.
    fn open_quote(&self, at: usize) -> Option<u8> {
        let line = self.part(0, at).rsplit(|byte| *byte == b'\n').next()?;
        let (mut open, mut escaped) = (None, false);
        for byte in line {
            match open {
                _ if escaped => escaped = false,
                _ if *byte == b'\\' => escaped = true,
                None if is_quote(*byte) => open = Some(*byte),
                Some(quote) if quote == *byte => open = None,
                _ => {}
            }
        }
        open
    }

    /// The place of the quote that ends a text of which this is within, or the end of all. In double
    /// quotes commands and variables (`$(…)`, `${…}`) have quotes of their own, if they end. In single
    /// ones nothing is escaped in a shell, and may be elsewhere.
    fn quoted_end(&self, at: usize, quote: u8, is_shell: bool) -> usize {
        if let Some(behind) = self.closed(at, quote, is_shell) {
            return behind - 1;
        }
        let mut at = at;
        while let Some(byte) = self.at(at).filter(|byte| *byte != quote) {
            at += if byte == b'\\' && quote != b'\'' { 2 } else { 1 };
        }
        at.min(self.0.len())
    }

    /// The place behind the bracket that closes the one here, or the end of all.
    fn brackets_end(&self, at: usize) -> usize {
        self.closed(at + 1, b')', false).unwrap_or(self.0.len())
    }

    /// The place behind what closes a quote or brackets of which this is within; `None` when nothing
    /// does. Brackets of all kinds count as the same.
    fn closed(&self, mut at: usize, by: u8, is_shell: bool) -> Option<usize> {
        let mut open = vec![by];
        while let Some(within) = open.last().copied() {
            let byte = self.at(at)?;
            at += 1;
            match (within, byte) {
                (b'\'', b'\\') if is_shell => {}
                (_, b'\\') => at += 1,
                (b')', b')' | b']' | b'}') => {
                    open.pop();
                }
                (b'"' | b'\'' | b'`', _) if byte == within => {
                    open.pop();
                }
                (b'"', b'$') if matches!(self.at(at), Some(b'(' | b'{')) => {
                    at += 1;
                    open.push(b')');
                }
                (b'"', b'`') => open.push(byte),
                (b')' | b'`', byte) if is_quote(byte) => open.push(byte),
                (b')', b'(' | b'[' | b'{') => open.push(b')'),
                _ => {}
            }
        }
        Some(at.min(self.0.len()))
    }

    /// The end of a word of a shell, of which parts may be quoted or in brackets.
    fn word_end(&self, mut at: usize) -> usize {
        while let Some(byte) = self.at(at) {
            at = match byte {
                b' ' | b'\t' | b'\n' => break,
                b'\\' => at + 2,
                byte if is_quote(byte) => self.quoted_end(at + 1, byte, true) + 1,
                b'(' => self.brackets_end(at),
                b'$' if self.at(at + 1) == Some(b'{') => self.brackets_end(at + 1),
                _ => at + 1,
            };
        }
        at.min(self.0.len())
    }

    /// The end of the lines that are indented more than that of the name.
    fn block_end(&self, name: usize, first: usize) -> usize {
        let before = self.part(0, name).iter().rev().take_while(|byte| **byte != b'\n').count();
        let line = name - before;
        let indent = self.skip(line, |byte| byte == b' ') - line;
        let mut end = self.line_end(first);
        while end < self.0.len() {
            let text = self.skip(end + 1, |byte| byte == b' ');
            let is_empty = matches!(self.at(text), None | Some(b'\r' | b'\n'));
            if !is_empty && text - (end + 1) <= indent {
                break;
            }
            end = self.line_end(text);
        }
        end
    }

    /// The end of quoted texts that follow one another, also joined by signs, else of the line; of one
    /// that ends with an open bracket, that where this is closed.
    fn text_end(&self, first: usize) -> usize {
        let mut at = first;
        let mut next = self.blanks(first);
        while let Some((quote, byte)) = self.quote_from(next) {
            at = (self.quoted_end(quote + 1, byte, false) + 1).min(self.0.len());
            let sign = self.blanks(at);
            let behind = self.skip(sign, |byte| matches!(byte, b'+' | b'.' | b'|' | b'&'));
            next = match behind > sign {
                true => self.skip(behind, |byte| byte.is_ascii_whitespace()),
                false => sign,
            };
        }
        if at > first {
            return at;
        }
        let end = self.line_end(first);
        let blank = self.part(first, end).iter().rev().take_while(|byte| is_blank(**byte)).count();
        match self.part(first, end - blank).last() {
            Some(b'(' | b'[') => self.line_end(self.brackets_end(end - blank - 1)),
            _ => end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Mask;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mask = Mask::new(&["*password*".to_owned(), "token".to_owned()]);
        let masked = mask.script(text.as_bytes());
        let masked = masked.map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(masked.as_deref().unwrap_or(text), expected, "{text}");
        assert_eq!(masked.is_some(), text != expected);
    }

    #[test]
    fn words_of_a_shell() {
        check("#!/bin/sh\nexport TOKEN=abc; ls\n", "#!/bin/sh\nexport TOKEN=*** ls\n");
        check("TOKEN=abc ./run 'x y'\n", "TOKEN=*** ./run 'x y'\n");
        check("DB_PASSWORD='a b'\"c d\"e ls", "DB_PASSWORD=*** ls");
        check("TOKEN+=a\\ b c", "TOKEN+=*** c");
        check("mysql --password secret db\n", "mysql --password *** db\n");
        check("mysql --password \\\n  'se cret' db", "mysql --password \\\n  *** db");
        check("mysql --password=$(cat f) db", "mysql --password=*** db");
        check("TOKEN=(a b\n c) x", "TOKEN=*** x");
        check("curl -d \"password=a b\" url", "curl -d \"password=***\" url");
        check("curl \"x?token=a&b=c\" url", "curl \"x?token=***\" url");
        check("curl -H 'token: a b' url", "curl -H 'token: ***' url");
        check("[ \"$TOKEN\" = \"a b\" ]", "[ \"$TOKEN\" = *** ]");
        check("TOKEN=\"never closed\nls\n", "TOKEN=***");
        check("TOKEN=\"$(echo \"se cret\")\" ls", "TOKEN=*** ls");
        check("TOKEN=$(a \"$(b \"c d\" e)\" f) ls", "TOKEN=*** ls");
        check("curl -d \"password=$(cat \"a b\") c\" url", "curl -d \"password=***\" url");
        check("TOKEN=\"a $(b\" ls\nx", "TOKEN=*** ls\nx");
        check("TOKEN=${TOKEN:-se cret} ls", "TOKEN=*** ls");
        check("TOKEN=\"${TOKEN:-\"my secret\"}\" ls", "TOKEN=*** ls");
        check("TOKEN=\"`echo \"a b\"`\" ls", "TOKEN=*** ls");
        check("TOKEN='a\\' ls", "TOKEN=*** ls");
    }

    #[test]
    fn other_languages() {
        check("token = 'a b' # c\n", "token = *** # c\n");
        check("token = b\"a\" 'b'\nx", "token = ***\nx");
        check("self.token = get(1)\nx", "self.token = ***\nx");
        check("login(password=\"a\", user=\"b\")", "login(password=*** user=\"b\")");
        check("{\"token\": \"a\\\"b\", \"x\": 1}", "{\"token\": ***, \"x\": 1}");
        check("os.environ['TOKEN'] = 'a'\n", "os.environ['TOKEN'] = ***\n");
        check("setenv(\"TOKEN\", \"a\", 1)", "setenv(\"TOKEN\", ***, 1)");
        check("run([\"--password\", \"a\"])", "run([\"--password\", ***])");
        check("$my_password => 'a';\n", "$my_password => ***;\n");
        check("password: a b; c\nd", "password: ***\nd");
        check("token := \"a\"", "token := ***");
        check("password = (\n  \"a\"\n  'b'\n)\nx", "password = ***\nx");
        check("token = [\"a)\",\n 'b'] + c\nx", "token = ***\nx");
        check("{\"token\":\r\n  \"a b\", \"x\": 1}", "{\"token\":\r\n  ***, \"x\": 1}");
        check("token =\n  b'a' # c", "token =\n  *** # c");
        check("token = (never closed\nx", "token = ***");
        check("connect(token=[\"a\", \"b c\"])\nx", "connect(token=***\nx");
        check("token={\"x\": \"a b\"}\nx", "token=***\nx");
        check("token: {\n value: \"x\"\n}\nx", "token: ***\nx");
        check("token = 'it\\'s a secret'\nx", "token = ***\nx");
        check("token = \"a\" +\n  \"b\" # c", "token = *** # c");
        check("token = 'a' . 'b';\nx", "token = ***;\nx");
        check("token = decode(\n  \"a\")\nx", "token = ***\nx");
        check(" token: |\n   a\n\n   b\n x: y", " token: ***\n x: y");
    }

    #[test]
    fn what_need_not_be_masked_is_left() {
        for text in [
            "",
            "#!/bin/sh\n",
            "password",
            "read password\nls",
            "tokens=1",
            "token=",
            "token:\n x",
            "token:\n  name: x",
            "--password",
            "--password\nx",
            "echo $TOKEN x",
            "(password) x",
            "a=token b",
        ] {
            check(text, text);
        }
        assert_eq!(Mask::default().script(b"token=abc"), None);
    }

    #[test]
    fn any_bytes_end() {
        let mask = Mask::new(&["*".to_owned()]);
        for seed in 0..2000_u32 {
            let byte = |at: u32| {
                b"a=: \\\n\"',-)\xc3\xff."[(seed.wrapping_mul(2_654_435_761) >> at) as usize % 14]
            };
            let text: Vec<u8> = (0..24).map(byte).collect();
            let masked = mask.script(&text).unwrap_or_default();
            assert!(masked.len() <= text.len() * 4, "{text:?}");
        }
    }
}
