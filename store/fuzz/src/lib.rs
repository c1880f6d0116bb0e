//! What the fuzz targets do with their input. The store's tests run the same over the corpus.
//!
//! Each target puts its input where a hostile or broken disk would have it, in a store that is
//! whole otherwise, and then does what users do: read, verify, open to write, read again. Nothing
//! may panic, and sealing may not change which rows there are.

mod disk;
mod targets;

pub use targets::{journal, manifest, seeds, segment};
