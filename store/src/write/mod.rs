//! Writing: the one writer of a store, what it finds when it opens it, and the sealer beside it.

mod compact;
mod error;
mod losses;
mod maintain;
mod merge;
mod niceness;
mod options;
mod recover;
mod remove;
mod seal;
mod sealer;
mod window;
mod writer;

pub use error::{AppendError, HeartbeatError, OpenError, WriteError};
pub use options::{Appended, Clock, Opened, Synced, WriterOptions};
pub use writer::Writer;
