//! What the fuzz targets do with their input. The store's tests run the same over the corpus.
//!
//! `journal`, `manifest` and `segment` put their input where a hostile or broken disk would have it,
//! in a store that is whole otherwise, and then do what users do: read, verify, open to write, read
//! again. Nothing may panic, and sealing may not change which rows there are.
//!
//! `sql` makes a statement of its input, with what the store's tests of SQL have for that, and
//! compares its rows with those of ordinary tables of SQLite.

#[path = "../../tests/sql/control/mod.rs"]
#[expect(unused_imports, reason = "the tests of SQL use all of it")]
mod control;
mod disk;
mod sql;
mod targets;

pub use sql::sql;
pub use targets::{Ways, journal, manifest, segment};

/// Inputs to begin with: by target, each with a name.
pub fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    [targets::seeds(), sql::seeds()].concat()
}
