//! What a reader keeps from one snapshot to the next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::damage::Damage;
use crate::journal::index::FrameIndex;
use crate::limits::{FOOTER_BYTES_MAX, JOURNAL_INDEXES_MAX, OPEN_SEGMENTS_MAX};
use crate::manifest::entry::State;
use crate::manifest::read::Position;
use crate::read::segment::OpenSegment;

/// The manifest as it was at some position.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) position: Position,
    pub(super) state: State,
    /// What was found wrong with it.
    pub(super) damage: Vec<Damage>,
}

/// Salt of a journal and its frames.
type KnownIndex = ([u8; 16], Arc<FrameIndex>);

/// Shared by a reader and its snapshots.
#[derive(Debug, Default)]
pub(super) struct Cache {
    manifest: Mutex<Option<Arc<Known>>>,
    indexes: Mutex<BTreeMap<u64, KnownIndex>>,
    /// Segments by path, those opened last at the back.
    segments: Mutex<VecDeque<(String, Arc<OpenSegment>)>>,
}

impl Cache {
    pub(super) fn manifest(&self) -> Option<Arc<Known>> {
        lock(&self.manifest).as_ref().map(Arc::clone)
    }

    pub(super) fn keep_manifest(&self, manifest: &Arc<Known>) {
        *lock(&self.manifest) = Some(Arc::clone(manifest));
    }

    /// The frames of a journal that are known already.
    pub(super) fn index(&self, number: u64, salt: &[u8; 16]) -> Option<Arc<FrameIndex>> {
        let indexes = lock(&self.indexes);
        let (known_salt, index) = indexes.get(&number)?;
        (known_salt == salt).then(|| Arc::clone(index))
    }

    pub(super) fn keep_index(&self, number: u64, salt: [u8; 16], index: &Arc<FrameIndex>) {
        let mut indexes = lock(&self.indexes);
        indexes.insert(number, (salt, Arc::clone(index)));
        while indexes.len() > JOURNAL_INDEXES_MAX {
            indexes.pop_first();
        }
    }

    /// A segment that is open already.
    pub(super) fn segment(&self, path: &str) -> Option<Arc<OpenSegment>> {
        let segments = lock(&self.segments);
        let found = segments.iter().find(|(known, _)| known == path)?;
        Some(Arc::clone(&found.1))
    }

    pub(super) fn keep_segment(&self, path: &str, segment: &Arc<OpenSegment>) {
        let mut segments = lock(&self.segments);
        segments.push_back((path.to_owned(), Arc::clone(segment)));
        let mut bytes: usize = segments.iter().map(|(_, segment)| segment.bytes()).sum();
        while segments.len() > OPEN_SEGMENTS_MAX || bytes > FOOTER_BYTES_MAX {
            let Some((_, first)) = segments.pop_front() else {
                return;
            };
            bytes -= first.bytes();
        }
    }

    /// Forgets the journals up to this number: they are sealed.
    pub(super) fn drop_indexes(&self, through: u64) {
        let mut indexes = lock(&self.indexes);
        *indexes = indexes.split_off(&through.saturating_add(1));
    }
}

/// A panic of another thread leaves these caches whole: each change is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
