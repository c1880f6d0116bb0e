//! The manifest: which files make up the store.
//!
//! # What it must do
//! Sealing replaces a journal by segments, and later work replaces segments by others. A reader
//! must see the rows before or after such a step, never both or neither, and the step must
//! survive a loss of power at any instant. And afterwards anyone can check that no file was
//! changed or taken away.
//!
//! # How
//! `manifest/<n>` are text files of one entry per line: the entry's hash, a space, the entry in
//! JSON. The hash is SHA-256 over the hash before, a space and the JSON, so that it can be checked
//! with `sha256sum` alone. One entry is one step and replaces a set of files by another: `seal`
//! removes journals and adds their segments, each with size, rows, range of eids and times, and
//! SHA-256; `compact` removes segments and adds those that they were merged into; `expire` removes
//! segments.
//!
//! The order of a seal is: segments synced, renamed, their folders synced; then the entry appended
//! and synced; only then is the journal unlinked. A crash before the entry leaves segments that
//! no entry names, and the journal; a crash after it leaves a journal that an entry removes. Both
//! are told apart from the manifest alone.
//!
//! A segment that an entry removed stays for a while, for readers that pinned it before; what waits
//! to be deleted is part of the state ([`crate::write`], `remove.rs`).
//!
//! When an entry could not be written or synced, what may be there of it is cut off, and the next
//! file is begun, whose checkpoint does not have it, before anything is written under the names in
//! it. Where a failing disk lets nothing be cut off either, the file behind may break the chain,
//! and `verify` says so.
//!
//! On a full disk an entry that makes room goes to the next file, whose space was set aside
//! ([`reserve`]).
//!
//! Files are numbered, and each opens with a `checkpoint`: all that counted when it was begun, what
//! waits to be deleted, and the hash before. So only the newest is read, and it stays small.
//!
//! - *Torn end.* The last line is incomplete or its hash is wrong. It may never have been synced,
//!   or it may have been and was damaged since. The writer keeps the bytes as `manifest.torn-<n>`,
//!   begins a new manifest file, and notes both in a `recovered` entry.
//! - *Broken middle.* A wrong line with more after it. What comes before it counts.
//! - In both cases segments that no trusted entry names are looked at: each says what it replaces,
//!   and from what is still there follows which steps were finished and which segments count
//!   ([`live`]). Nothing is deleted.
//!
//! **Invariants:** an entry that is on disk is never changed or removed. A journal is unlinked only after the
//! entry that removes it is on disk. Journals are sealed in the order of their numbers.

pub(crate) mod entry;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod read;
mod reserve;
