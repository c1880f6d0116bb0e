//! Rule about fixtures: each is used by a test.
//!
//! A fixture is used when code names its file, or ends a string with its folder: the test then
//! reads the whole folder.

use super::Finding;
use super::source::Source;

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let code: Vec<&str> =
        sources.iter().filter(|source| source.is_rust()).map(|source| &*source.text).collect();
    let fixtures = sources.iter().filter(|source| source.is_fixture() && !is_readme(source));
    fixtures
        .filter(|fixture| !is_used(fixture, &code))
        .map(|fixture| Finding::new(fixture, 0, "no test uses this fixture"))
        .collect()
}

/// Says where fixtures come from.
fn is_readme(source: &Source) -> bool {
    source.path.ends_with("/README.md")
}

fn is_used(fixture: &Source, code: &[&str]) -> bool {
    let (folder, file) = fixture.path.rsplit_once('/').unwrap_or(("", &fixture.path));
    let below = folder.rsplit_once("fixtures").map_or("", |(_, below)| below);
    let folder_ends = [format!("fixtures{below}\""), format!("fixtures{below}/\"")];
    code.iter().any(|text| {
        text.contains(file) || folder_ends.iter().any(|end| text.contains(end.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::{Source, check};

    fn unused(code: &str) -> Vec<String> {
        let sources = [
            Source::new("tests/src/a.rs", code),
            Source::new("tests/fixtures/README.md", ""),
            Source::new("tests/fixtures/es/exec.bin", ""),
            Source::new("tests/fixtures/es/exit.bin", ""),
        ];
        check(&sources).into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn a_fixture_is_named_or_its_folder_is_read() {
        let both = ["tests/fixtures/es/exec.bin", "tests/fixtures/es/exit.bin"];
        assert_eq!(unused("fn a() {}"), both);
        assert_eq!(unused("include_bytes!(\"../fixtures/es/exec.bin\")"), both[1..]);
        assert!(unused("read_dir(\"fixtures/es\")").is_empty());
        assert!(unused("read_dir(\"fixtures/es/\")").is_empty());
        assert_eq!(unused("read_dir(\"fixtures\")"), both);
    }
}
