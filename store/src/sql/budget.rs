//! How much memory a statement takes.
//!
//! Two things of events are held for the length of a statement: rows kept for repeated scans and
//! the distinct values of groupings. Each has its own bound, over which a statement is slower and
//! as right. With a limit set on all its memory, these and SQLite's own share one budget, and what
//! does not fit is an error.
//!
//! SQLite counts and limits its memory for the whole process, not per connection. So the limit is
//! only for processes that run one statement at a time.

#![expect(unsafe_code, reason = "SQLite's limit of memory is not in rusqlite")]

use rusqlite::ffi::{sqlite3_hard_heap_limit64, sqlite3_memory_used};

use crate::limits::{GROUPS_BYTES_MAX, KEPT_BYTES_MAX};

/// SQLite is left at least so much memory, in bytes: it cannot even say what is wrong with none.
const SQLITE_BYTES_MIN: usize = 1 << 20;

/// What memory is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Rows for repeated scans.
    Kept,
    /// Distinct values.
    Groups,
    /// Rows that are needed whole.
    Rows,
}

/// The memory of a session's statements, in bytes.
#[derive(Debug)]
pub(super) struct Budget {
    /// For rows kept.
    pub(super) kept_max: usize,
    /// For distinct values.
    pub(super) groups_max: usize,
    /// For everything, SQLite's memory included.
    pub(super) memory_max: Option<usize>,
    kept: usize,
    groups: usize,
    rows: usize,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self {
            kept_max: KEPT_BYTES_MAX,
            groups_max: GROUPS_BYTES_MAX,
            memory_max: None,
            kept: 0,
            groups: 0,
            rows: 0,
        }
    }

    /// At the beginning of a statement.
    pub(super) fn begin(&mut self) {
        (self.kept, self.groups, self.rows) = (0, 0, 0);
        self.limit_sqlite();
    }

    /// After a statement.
    pub(super) fn end(&mut self) {
        (self.kept, self.groups, self.rows) = (0, 0, 0);
        if self.memory_max.is_some() {
            set_limit(0);
        }
    }

    /// Takes memory; false when it is too much.
    pub(super) fn take(&mut self, what: Use, bytes: usize) -> bool {
        let own_max = match what {
            Use::Kept => self.kept_max,
            Use::Groups => self.groups_max,
            Use::Rows => usize::MAX,
        };
        let fits = self.of(what).saturating_add(bytes) <= own_max
            && self.memory_max.is_none_or(|max| {
                self.held().saturating_add(bytes).saturating_add(sqlite_bytes()) <= max
            });
        if fits {
            *self.of(what) += bytes;
            self.limit_sqlite();
        }
        fits
    }

    /// Gives memory back that was taken.
    pub(super) fn give_back(&mut self, what: Use, bytes: usize) {
        let held = self.of(what);
        *held = held.saturating_sub(bytes);
        self.limit_sqlite();
    }

    const fn of(&mut self, what: Use) -> &mut usize {
        match what {
            Use::Kept => &mut self.kept,
            Use::Groups => &mut self.groups,
            Use::Rows => &mut self.rows,
        }
    }

    const fn held(&self) -> usize {
        self.kept.saturating_add(self.groups).saturating_add(self.rows)
    }

    fn limit_sqlite(&self) {
        if let Some(max) = self.memory_max {
            set_limit(max.saturating_sub(self.held()).max(SQLITE_BYTES_MIN));
        }
    }
}

/// What SQLite has taken in this process, in bytes.
fn sqlite_bytes() -> usize {
    // SAFETY: it reads a counter under SQLite's own lock.
    let bytes = unsafe { sqlite3_memory_used() };
    usize::try_from(bytes).unwrap_or(0)
}

/// Limits SQLite's memory in this process; 0 lifts the limit.
fn set_limit(bytes: usize) {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    // SAFETY: it sets a number under SQLite's own lock; what is allocated stays so.
    unsafe { sqlite3_hard_heap_limit64(bytes) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_use_has_its_bound_and_all_share_the_limit() {
        let mut budget = Budget { kept_max: 100, ..Budget::new() };
        assert!(budget.take(Use::Kept, 100) && !budget.take(Use::Kept, 1));
        assert!(budget.take(Use::Groups, 1000));
        budget.give_back(Use::Kept, 40);
        assert!(budget.take(Use::Kept, 40));

        let limit = sqlite_bytes() + 4 * SQLITE_BYTES_MIN;
        let mut budget = Budget { memory_max: Some(limit), ..Budget::new() };
        assert!(budget.take(Use::Rows, 2 * SQLITE_BYTES_MIN));
        assert!(!budget.take(Use::Groups, 3 * SQLITE_BYTES_MIN));
        budget.give_back(Use::Rows, 2 * SQLITE_BYTES_MIN);
        assert!(budget.take(Use::Groups, 3 * SQLITE_BYTES_MIN));
        budget.end();
    }
}
