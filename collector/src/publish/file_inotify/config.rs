//! What to watch, in osquery's conventions for `file_paths`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of [`super::FileInotify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInotifyConfig {
    /// Patterns of absolute paths per category. A path belongs to the first category, in the order
    /// of their names, that has a pattern for it. How they are written: see
    /// [`crate::publish::path_pattern`].
    pub categories: BTreeMap<String, Vec<String>>,
    /// Patterns of paths to leave out, each with everything below it.
    pub exclude: Vec<String>,
    /// Paths to leave out that are no patterns, each with everything below it. The collector's own
    /// data folder belongs here.
    pub exclude_paths: Vec<PathBuf>,
    /// Entries of which the baseline keeps what `stat(2)` said, about 200 bytes each. After an
    /// overflow, changes to entries beyond it cannot be found.
    pub baseline_entries_max: usize,
    /// How long [`super::FileInotify::attach`] may take to add watches. What is left is watched
    /// while events are already being read.
    pub setup_max: Duration,
}

impl Default for FileInotifyConfig {
    /// No categories, and no pseudo file systems in those that the caller adds.
    fn default() -> Self {
        Self {
            categories: BTreeMap::new(),
            exclude: ["/proc", "/sys", "/dev"].map(str::to_owned).to_vec(),
            exclude_paths: Vec::new(),
            baseline_entries_max: 65_536,
            setup_max: Duration::from_secs(5),
        }
    }
}
