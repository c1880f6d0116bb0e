//! What the source can and cannot see, in words.

use super::SOURCE;
use super::tree::NotWatched;
use super::watcher::{Watcher, now_ns};
use crate::events::Capability;

/// What inotify never tells.
const BLIND_TO: &str = "who made the change; writes through shared memory maps; changes made on \
    another machine to a network file system; what a later mount covers or brings; entries that \
    came and went in a new directory before it was watched; files reached through symbolic links; \
    the exact time (rows have the time of reading)";

impl Watcher {
    /// What can be seen at this moment.
    pub(super) fn capability(&self) -> Capability {
        let mut blind_to = BLIND_TO.to_owned();
        let mut also = |count: usize, what: &str| {
            if count > 0 {
                blind_to.push_str(&format!("; {count} directories {what}"));
            }
        };
        let blocked =
            |why: fn(&NotWatched) -> bool| self.blocked.values().filter(|by| why(by)).count();
        also(
            blocked(|why| *why == NotWatched::Limit),
            "and all below them, beyond fs.inotify.max_user_watches",
        );
        also(
            blocked(|why| *why == NotWatched::Denied),
            "and all below them, which the collector may not read",
        );
        also(
            blocked(|why| matches!(why, NotWatched::Failed(_))),
            "and all below them, which could not be opened",
        );
        also(self.jobs.len(), "that are still to be looked at");
        also(
            self.tree.incomplete_count(),
            "whose entries the baseline has no room for, after an overflow",
        );
        Capability {
            time_ns: now_ns(),
            kind: "file".to_owned(),
            source: Some(SOURCE.to_owned()),
            tier: Some("inotify".to_owned()),
            blind_to,
            reason: Some(
                "sources that also name the process are not part of this version".to_owned(),
            ),
        }
    }
}
