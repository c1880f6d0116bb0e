//! `cargo xtask tidy`: the rules of the style guide that no other tool checks.
//!
//! Each rule is a function from the committed texts to [`Finding`]s, so that it is tested without
//! files; the test `the_tree_is_tidy` applies them all to the tree in every test run.
//!
//! What other tools check is left to them: `unwrap`, `thread::sleep` and printing to clippy
//! (root `Cargo.toml`, `clippy.toml`), unused dependencies to cargo-machete, licences to cargo-deny.

use std::fmt;

use anyhow::{Result, bail};

use crate::process::root;

mod fixtures;
mod functions;
mod layout;
mod manifests;
mod source;
mod text;

use source::Source;

/// Functions that may be longer than the limit, each with its length; the list only shrinks.
const RATCHET_PATH: &str = "xtask/function-ratchet.txt";

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// From the root of the workspace, with `/` between its parts.
    path: String,
    /// Counted from 1; 0 when the finding is about the whole file.
    line: usize,
    message: String,
}

impl Finding {
    fn new(source: &Source, line: usize, message: impl Into<String>) -> Self {
        Self { path: source.path.clone(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Applies every rule to the tree and prints what breaks one.
///
/// # Errors
/// When anything does, or the tree cannot be read.
pub(crate) fn run() -> Result<()> {
    let findings = check(&source::read(&root())?);
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} places are not tidy", findings.len());
    }
    Ok(())
}

fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        findings.extend(text::check(source));
        findings.extend(layout::check(source));
    }
    findings.extend(functions::check(sources, RATCHET_PATH));
    findings.extend(manifests::check(sources));
    findings.extend(fixtures::check(sources));
    findings
}

#[cfg(test)]
mod tests {
    use super::{check, root, source};

    #[test]
    fn the_tree_is_tidy() {
        let sources = source::read(&root()).unwrap();
        assert!(sources.iter().any(|source| source.path == "xtask/src/tidy/mod.rs"));
        let findings: Vec<String> = check(&sources).iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}
