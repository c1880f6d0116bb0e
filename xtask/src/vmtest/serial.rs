//! What a machine wrote to its serial line, taken apart.
//!
//! Lines that begin with `@@` are those of `work.sh`: `@@ begin NAME`, `@@ end NAME STATUS` and
//! `@@ done`. What stands between the first two is the output of the part.

/// All parts, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Transcript {
    parts: Vec<Part>,
    /// Whether the machine came to its end.
    pub(super) done: bool,
}

/// A part of a machine's work.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    name: String,
    /// What it wrote.
    pub(super) lines: Vec<String>,
    /// How it ended; `None` when it did not.
    pub(super) status: Option<i32>,
}

impl Transcript {
    /// The part of that name, when it was begun.
    pub(super) fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }
}

impl Part {
    /// Whether it ended well.
    pub(super) fn succeeded(&self) -> bool {
        self.status == Some(0)
    }
}

/// A test's name and whether it passed, from a line such as `test markers::a_storm ... ok`.
pub(super) fn test(line: &str) -> Option<(&str, bool)> {
    let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    match result {
        "ok" => Some((name, true)),
        _ if result.starts_with("FAILED") => Some((name, false)),
        _ => None,
    }
}

/// Takes apart what a machine wrote.
pub(super) fn parse(text: &str) -> Transcript {
    let mut transcript = Transcript::default();
    let mut is_open = false;
    for line in text.lines() {
        // The line ends as a terminal's does.
        let line = line.trim_end_matches('\r');
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["@@", "begin", name] => {
                transcript.parts.push(Part { name: (*name).to_owned(), ..Part::default() });
                is_open = true;
            }
            ["@@", "end", name, status] => {
                if let Some(part) = transcript.parts.last_mut().filter(|part| part.name == *name) {
                    part.status = status.parse().ok();
                }
                is_open = false;
            }
            ["@@", "done"] => transcript.done = true,
            _ => {
                if let Some(part) = transcript.parts.last_mut().filter(|_| is_open) {
                    part.lines.push(line.to_owned());
                }
            }
        }
    }
    transcript
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_what_stands_between_the_marks() {
        let text = "insmod: no\r\n@@ begin kernel\r\n6.1.0\r\n\r\n@@ end kernel 0\r\nbetween\r\n\
                    @@ begin live\r\ntest a ... ok\r\n@@ end live 101\r\n@@ done\r\n";
        let transcript = parse(text);
        assert!(transcript.done);
        let kernel = transcript.part("kernel").unwrap();
        assert_eq!(
            (kernel.lines.as_slice(), kernel.status),
            (&["6.1.0".into(), String::new()][..], Some(0))
        );
        let live = transcript.part("live").unwrap();
        assert_eq!(
            (live.lines.as_slice(), live.status),
            (&["test a ... ok".into()][..], Some(101))
        );
        assert!(kernel.succeeded() && !live.succeeded());
    }

    #[test]
    fn a_part_that_did_not_end_did_not_succeed() {
        let transcript = parse("@@ begin live\ntest a ... ok\n");
        assert!(!transcript.done);
        assert_eq!(transcript.part("live").unwrap().status, None);
        assert!(transcript.part("scenarios").is_none());
        let other = parse("@@ begin live\n@@ end other 0\n@@ end live\n");
        assert_eq!(other.part("live").unwrap().status, None);
    }

    #[test]
    fn results_of_tests_are_read() {
        assert_eq!(test("test a::b ... ok"), Some(("a::b", true)));
        assert_eq!(test("test a::b ... FAILED"), Some(("a::b", false)));
        assert_eq!(test("test a::b ... ignored"), None);
        assert_eq!(test("test result: ok. 3 passed; 0 failed"), None);
        assert_eq!(test("test a::b has been running for over 60 seconds"), None);
    }
}
