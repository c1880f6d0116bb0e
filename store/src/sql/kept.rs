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
    /// By the columns; `None` after the first question.
    indexes: Mutex<HashMap<Vec<usize>, Option<Arc<Index>>>>,
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
    pub(super) fn new(blocks: Vec<Box<dyn Block>>) -> Self {
        Self { blocks, indexes: Mutex::default() }
    }

    pub(super) fn block(&self, index: usize) -> Option<&dyn Block> {
        self.blocks.get(index).map(AsRef::as_ref)
    }

    /// The index on the columns of `wants`; `None` at the first question for these columns, when
    /// it is not worth building, and when `wants` is empty.
    pub(super) fn index(&self, wants: &Wants) -> Option<Arc<Index>> {
        if wants.is_empty() {
            return None;
        }
        let columns: Vec<usize> = wants.iter().map(|(column, _)| *column).collect();
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        match indexes.get(&columns) {
            None => {
                indexes.insert(columns, None);
                None
            }
            Some(Some(index)) => Some(Arc::clone(index)),
            Some(None) => {
                let index = Arc::new(self.build(&columns));
                indexes.insert(columns, Some(Arc::clone(&index)));
                Some(index)
            }
        }
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
    let indexed = if keys.is_empty() {
        0
    } else {
        (0..block.len()).map(|row| entry_bytes(block, keys, row)).sum()
    };
    block.bytes() + indexed
}

fn entry_bytes(block: &dyn Block, keys: &[usize], row: usize) -> usize {
    let keys = keys.iter().filter_map(|column| block.cell(*column, row).key());
    ENTRY_BYTES + keys.map(|key| key.bytes()).sum::<usize>()
}
