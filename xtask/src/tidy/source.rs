//! The files of the tree, as the rules see them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use walkdir::{DirEntry, WalkDir};

/// One file.
#[derive(Debug)]
pub(super) struct Source {
    /// From the root of the workspace, with `/` between its parts.
    pub(super) path: String,
    /// Its content; empty when that is not UTF-8.
    pub(super) text: String,
}

impl Source {
    /// A file that only a test knows.
    #[cfg(test)]
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub(super) fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }

    /// Whether it is input to a test rather than something we wrote.
    pub(super) fn is_fixture(&self) -> bool {
        self.path.split('/').any(|part| part == "fixtures")
    }

    /// The lines that are not comments, each with its number from 1.
    pub(super) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Reads every file below `root` except what cargo and git keep there.
///
/// # Errors
/// When a file or folder cannot be read.
pub(super) fn read(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for entry in WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(is_ours) {
        let entry = entry.context("walk the tree")?;
        if !entry.file_type().is_file() {
            continue;
        }
        let bytes =
            fs::read(entry.path()).with_context(|| format!("read {}", entry.path().display()))?;
        let path = entry.path().strip_prefix(root).context("stay below the root")?;
        sources.push(Source {
            path: path.to_string_lossy().replace('\\', "/"),
            text: String::from_utf8(bytes).unwrap_or_default(),
        });
    }
    Ok(sources)
}

fn is_ours(entry: &DirEntry) -> bool {
    entry.file_name() != "target" && entry.file_name() != ".git"
}
