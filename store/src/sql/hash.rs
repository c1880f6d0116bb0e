//! The hash of the maps and indexes here: fast, and keyed anew per process, since what is hashed
//! comes from programs that may wish for collisions.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;

/// A hasher's state, with a key by chance.
pub(super) fn state() -> RandomState {
    let chance = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    RandomState::with_seeds(chance(), chance(), chance(), chance())
}
