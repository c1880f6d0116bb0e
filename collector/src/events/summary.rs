//! Events of processes that were counted rather than told one by one.

use super::process::ProcessKey;

/// What kind of event was merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SummaryKind {
    /// Starts of an executable.
    Exec,
    /// Processes forked by those that run it.
    Fork,
    /// Ends of those that run it, of which nothing else is told.
    Exit,
}

impl SummaryKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exec, Self::Fork, Self::Exit];

    /// The value of the column `kind`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Fork => "fork",
            Self::Exit => "exit",
        }
    }
}

/// Events of one kind and one executable that came too fast for rows of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSummaryEvent {
    /// When the first happened, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// When the last did.
    pub end_ns: i64,
    /// What they are.
    pub kind: SummaryKind,
    /// How many.
    pub count: u64,
    /// Path of the executable, as at its first start in this second.
    pub path: Option<String>,
    /// Path of the script, where the executable is the interpreter of one.
    pub script_path: Option<String>,
    /// Device of the executable's file, as `stat(2)`'s `st_dev`.
    pub device: u64,
    /// Its inode number.
    pub inode: u64,
    /// Real user id, where all had the same.
    pub uid: Option<u32>,
    /// The parent, likewise; of forks, who forked.
    pub parent: Option<ProcessKey>,
    /// What the parent runs, likewise and where it is known.
    pub parent_path: Option<String>,
}
