//! `file_inotify`: changes to files below configured paths, told by inotify(7).
//!
//! ```text
//! inotify queue ─▶ raw events ─▶ translate ─▶ file events ─▶ channel
//!                                    │ ▲
//!                     new directory, │ │ entries found
//!                     overflow       ▼ │
//!                                  scan jobs ─ tree: watches and baseline
//! ```
//! The kernel watches single directories, so the tree of watches is kept here. Every directory on
//! the way to a configured path is watched too, with a smaller mask, so that a path that comes
//! into being later is noticed at once.
//!
//! What the queue alone would miss is found by scanning: the entries of a directory made before
//! its watch stood, and, after the queue overflowed, every difference to the baseline, which holds
//! what `stat(2)` last said of each entry. Both are marked `found_by_scan`. An entry that a scan
//! has reported and the queue tells once more is counted as merged, not reported twice: see
//! `scan`.
//!
//! **Invariants:** symbolic links are never followed below the literal front of a pattern. Each
//! kernel event has exactly one outcome in the ledger: stored, filtered or merged. What an
//! overflow threw away is not counted, since the kernel does not say how much it was: it is a gap
//! with unknown loss. Equal events that follow each other in the queue are one event, since the
//! kernel joins them before anybody can see them.

mod books;
mod capability;
mod config;
mod run;
mod scan;
mod stat;
#[cfg(test)]
mod tests;
mod translate;
mod tree;
mod watcher;

pub use config::FileInotifyConfig;
pub use run::FileInotify;
pub use watcher::AttachError;

/// Name of the source, as in `gaps`, `ledger` and `capabilities`.
pub const SOURCE: &str = "file_inotify";
