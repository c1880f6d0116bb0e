//! The journal: rows as they come, in files of a few megabytes.
//!
//! # What it must do
//! A row is visible to every reader as soon as [`crate::Writer::append`] returns, and on disk when
//! the next [`crate::Writer::sync`] returns. Readers take no lock and are told nothing; they look
//! at the files. Whatever happens to the writer or to single bytes of the disk, a reader never
//! shows a row that was not written, and misses only rows whose bytes are gone, and knows which.
//!
//! # How
//! A journal file is a header ([`header`]) and frames ([`frame`]), each appended with one write.
//! A frame holds rows of one table, and in its own header their count, numbers and range of
//! times, so that a reader can choose frames without decoding them. The payload is bincode, which
//! does not describe itself: the journal's header carries the schema of every table ([`crate::wire`]).
//!
//! - *Torn tail.* A frame counts only when its header is valid, all of it is there, and the
//!   payload's checksum holds. A reader stops at the first that is not, unless valid ones follow.
//! - *Damage in the middle.* The walk ([`index`]) looks for the next valid header and goes on; the
//!   hole is reported with the number of frames and the range of times that it can have had.
//! - *Salt.* The header's checksum covers 16 random bytes of this journal, so that a frame which
//!   an attacker has put into a program's arguments, and which therefore lies within a payload,
//!   is never taken for one, nor is one copied from another journal.
//! - *Failed sync.* After a failed `fdatasync` the kernel may have dropped the pages and calls
//!   them clean, so a second try proves nothing. The rows since the last good sync are still in
//!   the writer's memory; they are written and synced to the next journal, whose header says where
//!   this one now ends. It appears under its name only when complete, so a reader sees these rows
//!   in the one or the other and never twice.
//! - *Rotation.* At 8 MiB or 5 minutes the journal is synced and the next one begun; the full one
//!   is sealed into segments (`write::sealer`) and removed.
//!
//! **Invariants:** a journal's bytes never change once written, and no journal is written to by a
//! later run: recovery reads the old ones and begins a new one. Journals are numbered without a
//! gap from the last sealed one on.

pub(crate) mod append;
pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod index;
pub(crate) mod read;
