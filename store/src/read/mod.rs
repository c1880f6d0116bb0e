//! Reading: a reader, its snapshots, and scans over them.
//!
//! # What it must do
//! A statement sees one state of the store from its first row to its last, however long it runs,
//! while the writer appends, rotates and seals beside it. The reader takes no lock, writes
//! nothing, and works as well on a folder whose writer was killed, on a copy, and on a read-only
//! mount.
//!
//! # How
//! A [`Snapshot`] is a position in the manifest and, for every journal that the
//! manifest does not yet replace, an open file with a length. What is appended later lies beyond
//! the length; a journal that is unlinked later stays readable through the open file. The pin
//! itself races with the writer, who may seal a journal between the reading of the manifest and
//! the listing of the folder. Since a journal is unlinked only after its entry is in the manifest,
//! it is enough to look at the manifest again at the end: when it has not moved, no journal has
//! gone since it was read; when it has, the pin is taken anew.
//!
//! A [`Scan`] goes through the segments and frames whose times overlap the request (`unordered`), or
//! takes them by their earliest or latest time as far as it is asked for rows (`ordered`). Of a
//! segment, it leaves out row groups and pages by their statistics, bloom filters and page index
//! (`prune`), decodes the columns that filters look at, and the other wanted ones for the rows that
//! passed (`segments`, `stretch`); a column that holds one value there is not decoded (`constant`). A scan that yields many rows goes on ahead on a thread of its own (`scan`). A
//! snapshot that is asked for many small ranges can keep what it decodes (`kept`).
//!
//! What cannot be read is left out and noted in [`Snapshot::damage`]; an error is only what the
//! reader can do something about, such as a missing permission.
//!
//! The content of a segment is checked by its own encoding only: a changed byte that still decodes
//! is read as a value. Only recomputing the SHA-256 that the manifest holds, as `verify` does,
//! would tell.
//!
//! **Invariants:** a row is in a snapshot once or not at all. Of two snapshots taken one after
//! the other, the later one has every row of the earlier one.

mod batch;
mod cache;
mod constant;
mod count;
mod filter;
mod journals;
mod kept;
mod merge;
mod ordered;
mod pages;
mod pattern;
mod predicate;
mod projection;
mod prune;
mod reader;
mod scan;
mod segment;
mod segments;
mod snapshot;
mod stretch;
mod unordered;
mod usage;

pub use batch::ScanBatch;
pub use filter::{Filter, FilterColumn, Order, Test};
pub(crate) use reader::end;
pub use reader::{ReadError, Reader};
pub use scan::{RowParts, Scan, ScanRequest};
pub use snapshot::{Estimate, Snapshot};
pub use usage::{TableUsage, Usage};
