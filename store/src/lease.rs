//! The numbers that rows are given.
//!
//! A row's `eid` is given once and never again, even when the row itself is lost with the power.
//! So numbers are leased: a mark on disk runs ahead of those in use by up to a million, and a run
//! that finds the mark of an unclean stop goes on there. A clean stop lowers the mark to the first
//! unused number. The mark outlives the rows.

use std::collections::BTreeMap;

use crate::disk::Folder;
use crate::layout;
use crate::limits::LEASE_EIDS;
use crate::schema::TableSchema;
use crate::slots::{Slots, SlotsError, Stored};

/// Per table, the first eid that no run has been allowed to give.
type Marks = BTreeMap<String, i64>;

/// The numbers of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    next: i64,
    end: i64,
}

/// The numbers of all tables.
#[derive(Debug)]
pub(crate) struct Leases {
    slots: Slots,
    /// Marks as on disk, also of tables that this run does not know.
    marks: Marks,
    names: Vec<&'static str>,
    leases: Vec<Lease>,
}

impl Leases {
    /// Leases numbers for every table. `floor` is, per table, the largest eid found in the store:
    /// it counts when the marks are lost. Says whether they were damaged.
    pub(crate) fn open(
        dir: &Folder,
        tables: &[&'static TableSchema],
        floor: &BTreeMap<String, i64>,
    ) -> Result<(Self, bool), SlotsError> {
        let (slots, stored) = Slots::open::<Marks>(dir, &layout::leases_path(dir.path()))?;
        let (mut marks, damaged) = match stored {
            Stored::Value(marks) => (marks, false),
            Stored::Nothing => (Marks::new(), !floor.is_empty()),
            Stored::Damaged => (Marks::new(), true),
        };
        for (name, last) in floor {
            // Without a mark, rows may have been given that are lost: skip a whole lease.
            let skip = if damaged { LEASE_EIDS.cast_signed() } else { 0 };
            let mark = marks.entry(name.clone()).or_insert(1);
            *mark = (*mark).max(last.saturating_add(1).saturating_add(skip));
        }
        let names: Vec<_> = tables.iter().map(|table| table.name).collect();
        let first = |name: &&str| marks.get(*name).copied().unwrap_or(1);
        let leases = names.iter().map(first).map(|next| Lease { next, end: next }).collect();
        let mut leases = Self { slots, marks, names, leases };
        leases.extend_all()?;
        Ok((leases, damaged))
    }

    /// Gives `count` numbers to rows of the table with this index; returns the first.
    ///
    /// # Panics
    /// When there is no such table.
    pub(crate) fn give(&mut self, table: usize, count: u32) -> Result<i64, SlotsError> {
        let Lease { next: first, end } = self.leases[table];
        let next = first + i64::from(count);
        if next > end {
            self.extend_all()?;
        }
        self.leases[table].next = next;
        Ok(first)
    }

    /// Per table, the last eid given, 0 if none was.
    pub(crate) fn last_given(&self) -> Vec<(&'static str, i64)> {
        self.names.iter().zip(&self.leases).map(|(name, lease)| (*name, lease.next - 1)).collect()
    }

    /// Gives back what was not used.
    pub(crate) fn close(&mut self) -> Result<(), SlotsError> {
        for (name, lease) in self.names.iter().zip(&self.leases) {
            self.marks.insert((*name).to_owned(), lease.next);
        }
        self.slots.write(&self.marks)
    }

    fn extend_all(&mut self) -> Result<(), SlotsError> {
        let mut leases = self.leases.clone();
        for (name, lease) in self.names.iter().zip(&mut leases) {
            lease.end = lease.end.max(lease.next.saturating_add(LEASE_EIDS.cast_signed()));
            self.marks.insert((*name).to_owned(), lease.end);
        }
        self.slots.write(&self.marks)?;
        self.leases = leases;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fixture::SMALL;

    fn open(dir: &Path, floor: &[(&str, i64)]) -> (Leases, bool) {
        let floor = floor.iter().map(|(name, last)| ((*name).to_owned(), *last)).collect();
        Leases::open(&Folder::real(dir), &[SMALL], &floor).unwrap()
    }

    #[test]
    fn a_clean_stop_goes_on_and_an_unclean_one_skips() {
        let dir = tempfile::tempdir().unwrap();
        let (mut leases, damaged) = open(dir.path(), &[]);
        assert!(!damaged);
        assert_eq!(leases.give(0, 3).unwrap(), 1);
        assert_eq!(leases.give(0, 1).unwrap(), 4);
        leases.close().unwrap();
        let (mut leases, _) = open(dir.path(), &[("small_events", 4)]);
        assert_eq!(leases.give(0, 1).unwrap(), 5);
        let (mut leases, damaged) = open(dir.path(), &[("small_events", 5)]);
        assert!(!damaged);
        assert_eq!(leases.give(0, 1).unwrap(), 1_000_005);
    }

    #[test]
    fn a_lease_grows_before_it_is_used_up() {
        let dir = tempfile::tempdir().unwrap();
        let (mut leases, _) = open(dir.path(), &[]);
        let count = LEASE_EIDS as u32;
        assert_eq!(leases.give(0, count).unwrap(), 1);
        assert_eq!(leases.give(0, 1).unwrap(), 1_000_001);
        let (mut leases, _) = open(dir.path(), &[]);
        assert_eq!(leases.give(0, 1).unwrap(), 2_000_001);
    }

    #[test]
    fn lost_marks_are_made_up_from_the_rows() {
        let dir = tempfile::tempdir().unwrap();
        let (mut leases, damaged) = open(dir.path(), &[("small_events", 7)]);
        assert!(damaged);
        assert_eq!(leases.give(0, 1).unwrap(), 1_000_008);
    }
}
