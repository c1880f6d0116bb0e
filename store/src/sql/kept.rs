//! Rows kept in memory for the rest of a statement, and hash indexes on them.
//!
//! SQLite has no automatic index on a virtual table: the inner side of a join is scanned once per
//! row of the outer one. So the scan of a state table is kept at once (it must not change within
//! the statement), and a scan of events that is repeated with the same range and columns is kept
//! at its third time. Equality is then answered from an index on its columns, built at the second
//! question.
//!
//! **Invariant:** what a statement keeps of events stays within
//! [`KEPT_BYTES_MAX`](crate::limits::KEPT_BYTES_MAX) unless the session says otherwise; a scan that
//! does not fit is read again each time, which is slower and as right.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::sql::rows::{Block, Key};

/// A row among the kept ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) block: usize,
    pub(super) row: usize,
}

/// Values looked for: columns and the value in each.
pub(super) type Wants = Vec<(usize, Key)>;

/// All rows of a scan.
pub(super) struct Kept {
    blocks: Vec<Box<dyn Block>>,
    /// The columns of the index whose memory is counted with the blocks.
    paid: Vec<usize>,
    /// By the columns.
    indexes: Mutex<HashMap<Vec<usize>, Asked>>,
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

/// Rows by the values in some columns.
#[derive(Default)]
pub(super) struct Index {
    rows: HashMap<Vec<Key>, Vec<At>>,
}

impl Index {
    /// The rows with these values.
    pub(super) fn rows(&self, wants: &Wants) -> Vec<At> {
        let key: Vec<Key> = wants.iter().map(|(_, key)| key.clone()).collect();
        self.rows.get(&key).cloned().unwrap_or_default()
    }
}

impl Kept {
    /// Rows, with the memory of an index on the columns `paid` counted already.
    pub(super) fn new(blocks: Vec<Box<dyn Block>>, mut paid: Vec<usize>) -> Self {
        paid.sort_unstable();
        Self { blocks, paid, indexes: Mutex::default() }
    }

    pub(super) fn block(&self, index: usize) -> Option<&dyn Block> {
        self.blocks.get(index).map(AsRef::as_ref)
    }

    /// The index on the columns of `wants`; `None` at the first question for these columns, when
    /// there is no room for it, and when `wants` is empty. `charge` takes the memory of one that is
    /// not counted yet, unless that is too much.
    pub(super) fn index(
        &self,
        wants: &Wants,
        charge: impl FnOnce(usize) -> bool,
    ) -> Option<Arc<Index>> {
        if wants.is_empty() {
            return None;
        }
        let columns: Vec<usize> = wants.iter().map(|(column, _)| *column).collect();
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        match indexes.get(&columns) {
            None => {
                indexes.insert(columns, Asked::Once);
                None
            }
            Some(Asked::Built(index)) => Some(Arc::clone(index)),
            Some(Asked::TooLarge) => None,
            Some(Asked::Once) if columns != self.paid && !charge(self.index_bytes(&columns)) => {
                indexes.insert(columns, Asked::TooLarge);
                None
            }
            Some(Asked::Once) => {
                let index = Arc::new(self.build(&columns));
                indexes.insert(columns, Asked::Built(Arc::clone(&index)));
                Some(index)
            }
        }
    }

    fn index_bytes(&self, columns: &[usize]) -> usize {
        self.blocks.iter().map(|block| index_bytes(block.as_ref(), columns)).sum()
    }

    fn build(&self, columns: &[usize]) -> Index {
        let mut index = Index::default();
        for (block, rows) in self.blocks.iter().enumerate() {
            for row in 0..rows.len() {
                let key: Option<Vec<Key>> =
                    columns.iter().map(|column| rows.cell(*column, row).key()).collect();
                // A row with a null in it equals nothing.
                if let Some(key) = key {
                    index.rows.entry(key).or_default().push(At { block, row });
                }
            }
        }
        index
    }
}

/// What an index entry is taken to cost beside its keys, in bytes.
const ENTRY_BYTES: usize = 96;

/// Memory that a block takes when kept, with an index on some of its columns.
pub(super) fn bytes(block: &dyn Block, keys: &[usize]) -> usize {
    block.bytes() + index_bytes(block, keys)
}

/// Memory of an index on some columns of a block.
fn index_bytes(block: &dyn Block, keys: &[usize]) -> usize {
    if keys.is_empty() {
        return 0;
    }
    (0..block.len()).map(|row| entry_bytes(block, keys, row)).sum()
}

fn entry_bytes(block: &dyn Block, keys: &[usize], row: usize) -> usize {
    let keys = keys.iter().filter_map(|column| block.cell(*column, row).key());
    ENTRY_BYTES + keys.map(|key| key.bytes()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::rows::Cell;

    struct Numbers;

    impl Block for Numbers {
        fn len(&self) -> usize {
            10
        }

        fn cell(&self, column: usize, row: usize) -> Cell<'_> {
            Cell::Integer(i64::try_from(column * row).unwrap())
        }

        fn rowid(&self, row: usize) -> i64 {
            i64::try_from(row).unwrap()
        }

        fn bytes(&self) -> usize {
            160
        }
    }

    #[test]
    fn a_further_index_is_charged_and_left_out_when_it_does_not_fit() {
        let kept = Kept::new(vec![Box::new(Numbers)], vec![1]);
        let wants = |column| vec![(column, Key::Integer(6))];
        let unasked = |_| panic!("it is paid for");
        assert!(kept.index(&wants(1), unasked).is_none(), "the first question");
        let found = kept.index(&wants(1), unasked).unwrap().rows(&wants(1));
        assert_eq!(found.len(), 1);

        let mut charged = 0;
        assert!(kept.index(&wants(2), |_| panic!("not built yet")).is_none());
        let index = kept.index(&wants(2), |bytes| {
            charged = bytes;
            true
        });
        assert!(index.is_some());
        assert!(charged >= 10 * ENTRY_BYTES, "{charged}");

        assert!(kept.index(&wants(3), |_| true).is_none());
        assert!(kept.index(&wants(3), |_| false).is_none(), "no room");
        assert!(kept.index(&wants(3), |_| panic!("asked twice")).is_none());
    }
}
