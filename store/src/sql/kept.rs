//! Rows kept in memory for the rest of a statement, and hash indexes on them.
//!
//! SQLite has no automatic index on a virtual table: the inner side of a join is scanned once per
//! row of the outer one. So the scan of a state table is kept at once (it must not change within
//! the statement), and a scan of events that is repeated is kept at its third time (`repeated`).
//! Equality is then answered from an index on its columns.
//!
//! An index is two arrays of row numbers: per hash the first row, per row the next one with that
//! hash. Keys are not copied: a row that is found is compared with what is looked for. Chains are
//! in row order, so that rows found keep the order of the scan.
//!
//! **Invariant:** what a statement keeps of events stays within its memory; an index that does not
//! fit is left out, and its rows are looked for one by one.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{self, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;

use crate::sql::bounds::TimeRange;
use crate::sql::order::OrderedBy;
use crate::sql::rows::{Block, Cell, Key};

/// Values looked for: columns and the value in each.
pub(super) type Wants = Vec<(usize, Key)>;

/// All rows of a scan. They are numbered from 0 in the order of the scan.
pub(super) struct Kept {
    blocks: Vec<Box<dyn Block>>,
    /// Per block, the number of its first row; the last is the count of all.
    starts: Vec<usize>,
    /// By the columns.
    indexes: Mutex<HashMap<Vec<usize>, Asked>>,
    /// Memory of the indexes.
    index_bytes: AtomicUsize,
}

/// What has become of an index.
enum Asked {
    /// It was asked for once.
    Once,
    /// It is there.
    Built(Arc<Index>),
    /// There is no room for it: its rows are looked for one by one.
    TooLarge,
}

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// Rows by the values in some columns.
pub(super) struct Index {
    hasher: RandomState,
    heads: Vec<u32>,
    next: Vec<u32>,
}

impl Index {
    fn build(kept: &Kept, columns: &[usize]) -> Self {
        let rows = kept.len();
        let hasher = crate::sql::hash::state();
        let mut heads = vec![NONE; rows.next_power_of_two()];
        let mut next = vec![NONE; rows];
        for row in (0..rows).rev() {
            let (Some(hash), Ok(number)) = (hash_row(&hasher, kept, columns, row), row.try_into())
            else {
                // A row with a null in it equals nothing.
                continue;
            };
            let slot = slot(hash, heads.len());
            if let (Some(head), Some(next)) = (heads.get_mut(slot), next.get_mut(row)) {
                *next = std::mem::replace(head, number);
            }
        }
        Self { hasher, heads, next }
    }

    /// Memory of an index on so many rows.
    const fn bytes(rows: usize) -> usize {
        (rows.next_power_of_two() + rows) * size_of::<u32>()
    }

    /// The rows with these values, in order.
    pub(super) fn rows(&self, kept: &Kept, wants: &Wants) -> Vec<u32> {
        let mut found = Vec::new();
        let mut hash = self.hasher.build_hasher();
        wants.iter().for_each(|(_, key)| hash_key(&mut hash, key));
        let slot = slot(hash.finish(), self.heads.len());
        let mut row = self.heads.get(slot).copied().unwrap_or(NONE);
        while row != NONE {
            if kept.matches(wants, row as usize) {
                found.push(row);
            }
            row = self.next.get(row as usize).copied().unwrap_or(NONE);
        }
        found
    }
}

const fn slot(hash: u64, slots: usize) -> usize {
    (hash as usize) & slots.saturating_sub(1)
}

/// `None` when one of the values is null.
fn hash_row(hasher: &RandomState, kept: &Kept, columns: &[usize], row: usize) -> Option<u64> {
    let (block, row) = kept.at(row)?;
    let mut hash = hasher.build_hasher();
    for column in columns {
        hash_cell(&mut hash, block.cell(*column, row))?;
    }
    Some(hash.finish())
}

fn hash_cell(hash: &mut impl Hasher, cell: Cell<'_>) -> Option<()> {
    match cell {
        Cell::Value(crate::table::ValueRef::Text(text)) => text.hash(hash),
        Cell::Guid { boot_id: [a, b, c, d, ..], pid, start_ns } => {
            ([a, b, c, d], pid, start_ns).hash(hash);
        }
        other => other.integer()?.hash(hash),
    }
    Some(())
}

/// As [`hash_cell`] of a cell that equals the key.
fn hash_key(hash: &mut impl Hasher, key: &Key) {
    match key {
        Key::Integer(integer) => integer.hash(hash),
        Key::Text(text) => text.hash(hash),
        Key::Guid { boot, pid, start_ns } => (*boot, *pid, *start_ns).hash(hash),
    }
}

impl Kept {
    pub(super) fn new(blocks: Vec<Box<dyn Block>>) -> Self {
        let mut starts = Vec::with_capacity(blocks.len() + 1);
        let mut rows = 0;
        starts.push(0);
        for block in &blocks {
            rows += block.len();
            starts.push(rows);
        }
        Self { blocks, starts, indexes: Mutex::default(), index_bytes: AtomicUsize::default() }
    }

    /// Memory of the indexes, in bytes.
    pub(super) fn index_bytes(&self) -> usize {
        self.index_bytes.load(atomic::Ordering::Relaxed)
    }

    /// How many rows.
    pub(super) fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// A row's block and its place in it.
    pub(super) fn at(&self, row: usize) -> Option<(&dyn Block, usize)> {
        let block = self.starts.partition_point(|start| *start <= row).checked_sub(1)?;
        Some((self.blocks.get(block)?.as_ref(), row - self.starts.get(block)?))
    }

    /// Whether a row has these values.
    pub(super) fn matches(&self, wants: &Wants, row: usize) -> bool {
        self.at(row).is_some_and(|(block, row)| {
            wants.iter().all(|(column, key)| block.cell(*column, row).equals(key))
        })
    }

    /// How two rows are ordered by some columns; null comes first.
    pub(super) fn compare(&self, left: u32, right: u32, by: &[OrderedBy]) -> Ordering {
        let cell =
            |row: u32, column| self.at(row as usize).map(|(block, row)| block.cell(column, row));
        for by in by {
            let Some(column) = by.column else { continue };
            let order = match (cell(left, column), cell(right, column)) {
                (Some(left), Some(right)) => left.compare(&right),
                _ => Ordering::Equal,
            };
            if order != Ordering::Equal {
                return if by.descending { order.reverse() } else { order };
            }
        }
        Ordering::Equal
    }

    /// The rows whose times lie in a range. The rows must be in order of time.
    pub(super) fn range(&self, range: TimeRange) -> std::ops::Range<usize> {
        let time = |row| {
            let (block, row) = self.at(row)?;
            block.time_ns(row)
        };
        let first = |holds: &dyn Fn(i64) -> bool| {
            let (mut low, mut high) = (0, self.len());
            while low < high {
                let middle = low + (high - low) / 2;
                if time(middle).is_none_or(holds) { high = middle } else { low = middle + 1 }
            }
            low
        };
        let from = first(&|time| time >= range.min);
        from..first(&|time| time > range.max).max(from)
    }

    /// The index on the columns of `wants`; `None` when there is no room for it and when `wants` is
    /// empty. Unless `at_once`, also at the first question for these columns. `charge` takes its
    /// memory, unless that is too much.
    pub(super) fn index(
        &self,
        wants: &Wants,
        at_once: bool,
        charge: impl FnOnce(usize) -> bool,
    ) -> Option<Arc<Index>> {
        if wants.is_empty() {
            return None;
        }
        let columns: Vec<usize> = wants.iter().map(|(column, _)| *column).collect();
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        match indexes.get(&columns) {
            Some(Asked::Built(index)) => return Some(Arc::clone(index)),
            Some(Asked::TooLarge) => return None,
            None if !at_once => {
                indexes.insert(columns, Asked::Once);
                return None;
            }
            None | Some(Asked::Once) => {}
        }
        let rows = self.len();
        if u32::try_from(rows).is_err() || !charge(Index::bytes(rows)) {
            indexes.insert(columns, Asked::TooLarge);
            return None;
        }
        self.index_bytes.fetch_add(Index::bytes(rows), atomic::Ordering::Relaxed);
        let index = Arc::new(Index::build(self, &columns));
        indexes.insert(columns, Asked::Built(Arc::clone(&index)));
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbers;

    impl Block for Numbers {
        fn len(&self) -> usize {
            10
        }

        fn cell(&self, column: usize, row: usize) -> Cell<'_> {
            Cell::Integer(i64::try_from(column * (row % 5)).unwrap())
        }

        fn rowid(&self, row: usize) -> i64 {
            i64::try_from(row).unwrap()
        }

        fn time_ns(&self, row: usize) -> Option<i64> {
            i64::try_from(row / 3 * 10).ok()
        }
    }

    fn kept() -> Kept {
        Kept::new(vec![Box::new(Numbers), Box::new(Numbers)])
    }

    fn wants(column: usize, value: i64) -> Wants {
        vec![(column, Key::Integer(value))]
    }

    #[test]
    fn an_index_finds_rows_in_order() {
        let kept = kept();
        let index = kept.index(&wants(2, 6), true, |_| true).unwrap();
        assert_eq!(index.rows(&kept, &wants(2, 6)), [3, 8, 13, 18]);
        assert_eq!(index.rows(&kept, &wants(2, 7)), [0_u32; 0]);
        let both = vec![(1, Key::Integer(3)), (2, Key::Integer(6))];
        let index = kept.index(&both, true, |_| true).unwrap();
        assert_eq!(index.rows(&kept, &both), [3, 8, 13, 18]);
    }

    #[test]
    fn an_index_that_does_not_fit_is_left_out() {
        let kept = kept();
        let unasked = |_| panic!("it must not be asked for");
        assert!(kept.index(&wants(1, 6), false, unasked).is_none(), "the first question");
        let mut charged = 0;
        let charge = |bytes| {
            charged = bytes;
            true
        };
        assert!(kept.index(&wants(1, 6), false, charge).is_some());
        assert_eq!(charged, (32 + 20) * 4);
        assert!(kept.index(&wants(1, 6), false, unasked).is_some(), "it is there");
        assert!(kept.index(&wants(3, 6), true, |_| false).is_none(), "no room");
        assert!(kept.index(&wants(3, 6), true, unasked).is_none(), "not asked again");
    }

    #[test]
    fn ranges_of_times() {
        let kept = Kept::new(vec![Box::new(Numbers)]);
        let range = |min, max| kept.range(TimeRange { min, max });
        assert_eq!(range(i64::MIN, i64::MAX), 0..10);
        assert_eq!(range(10, 20), 3..9);
        assert_eq!(range(11, 19), 6..6);
        assert_eq!(range(31, 40), 10..10);
    }
}
