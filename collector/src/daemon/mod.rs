//! The daemon: it starts the publishers, feeds the store's one writer, and stops them in order.
//!
//! ```text
//! publisher threads ── bounded channel of batches ──▶ writer thread ──▶ journal
//!        ▲                                                  │
//!        └── Stop ◀── this thread: signals, failures ◀──────┘
//! ```
//! A stop runs along the same way: the publishers are told, drain their sources, send the rest and
//! end; the channel closes when the last of them is gone; the writer then syncs, seals and ends.
//! Nothing that was sent is dropped.
//!
//! **Invariants:** the writer's thread is the only one that touches the store. A publisher that
//! fails does not stop the others: its end is a row in `gaps` and in `capabilities`.

mod damage;
mod expiry;
mod folder;
mod losses;
mod run;
mod sources;
#[cfg(target_os = "linux")]
mod state_db;
mod supervise;
mod time;
mod writer;

pub use expiry::retention;
pub use run::run;
pub use sources::{Refusal, SourceReport, sources};
