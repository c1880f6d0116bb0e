//! Rules about a file as text: its head, its length, and paths of somebody's machine.

use super::Finding;
use super::source::Source;

/// Lines of a file of Rust.
const FILE_LINES_MAX: usize = 600;

/// Folders that exist on one machine only. Joined here, so that this file does not hold them.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/.cargo"),
    concat!("/ro", "ot/.rustup"),
    concat!("/ro", "ot/.cache"),
    concat!("/ho", "me/runner/"),
];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if source.is_rust() {
        findings.extend(head(source));
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            let message = format!("{lines} lines; split it, the limit is {FILE_LINES_MAX}");
            findings.push(Finding::new(source, 0, message));
        }
    }
    if !source.is_fixture() {
        findings.extend(machine_paths(source));
    }
    findings
}

fn head(source: &Source) -> Option<Finding> {
    (!source.text.starts_with("//! "))
        .then(|| Finding::new(source, 1, "open it with a `//!` paragraph that says what it is"))
}

fn machine_paths(source: &Source) -> impl Iterator<Item = Finding> {
    source.text.lines().enumerate().flat_map(move |(index, line)| {
        let found = MACHINE_PATHS.iter().filter(move |path| starts_a_path(line, path));
        found.map(move |path| {
            Finding::new(source, index + 1, format!("`{path}` is a path of one machine"))
        })
    })
}

/// Whether `path` stands in `line` as the start of an absolute path, not inside a longer one.
fn starts_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|start| start.chars().next_back());
        before.is_none_or(|c| !c.is_alphanumeric() && !"/._-~}*".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::{FILE_LINES_MAX, Source, check};

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_says_at_its_head_what_it_is() {
        assert_eq!(
            messages("a.rs", "use std::fmt;\n"),
            ["a.rs:1: open it with a `//!` paragraph that says what it is"]
        );
        assert!(messages("a.rs", "//! What it is.\n").is_empty());
        assert!(messages("a.toml", "[package]\n").is_empty());
    }

    #[test]
    fn a_file_has_a_longest_length() {
        let head = "//! A.\n";
        assert!(messages("a.rs", &(head.to_owned() + &"\n".repeat(FILE_LINES_MAX - 1))).is_empty());
        assert_eq!(
            messages("a.rs", &(head.to_owned() + &"\n".repeat(FILE_LINES_MAX))),
            ["a.rs: 601 lines; split it, the limit is 600"]
        );
    }

    #[test]
    fn paths_of_one_machine_are_found_where_a_path_starts() {
        let path = concat!("/wo", "rk/");
        let found = messages("README.md", &format!("one\nrun `{path}main/x`\n"));
        assert_eq!(found, [format!("README.md:2: `{path}` is a path of one machine")]);
        assert!(messages("README.md", &format!("/var/lib/overlay2{path}x\n")).is_empty());
        assert!(messages("tests/fixtures/a", &format!("{path}main")).is_empty());
    }
}
