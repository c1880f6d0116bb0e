//! What the end-to-end tests and the benchmarks share: a daemon in a folder of its own, and SQL over that folder.
//!
//! The tests run the program as a user does. They need root and BPF: with `CI` set a test that
//! cannot run fails, elsewhere it says why and is passed over.

pub mod bench;
mod daemon;
mod query;
mod storm;
mod wait;

#[cfg(target_os = "linux")]
pub use daemon::requires_connector;
pub use daemon::{Daemon, Stopped, bygone, bygone_as_nobody, requires_bpf};
pub use query::{Output, Session, sql, sql_rows};
pub use storm::storm;
pub use wait::wait_until;
