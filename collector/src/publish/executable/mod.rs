//! The content of what is executed: its hashes, its entropy, and the package that it belongs to.
//!
//! Execs that other publishers tell of are offered to an [`Inbox`]. A thread of low priority
//! takes from it what was not met before, finds the file (`file`), and reads it once (`digest`). What
//! was read is remembered ([`Memory`]) beyond the end of the collector, so that it is read once in the
//! life of a content.
//!
//! **Invariants:** a hash is only told of content that was the executed one before and after it was
//! read. A content is remembered only some time after it was sent, when the store has it on disk, or
//! at an orderly stop. Every exec of new content is a row, known already, or counted as lost.

mod books;
mod digest;
mod file;
mod inbox;
mod memory;
mod run;
mod script;

use std::sync::Arc;

pub use self::inbox::Inbox;
pub use self::memory::{Memory, Ownership};
use super::{PublishError, Publisher, Sink, Stop};
use crate::events::Capability;
use crate::host::mask::Mask;

/// Name of this source.
pub const SOURCE: &str = "executable";

/// The one way to see it.
const TIER: &str = "read";

/// What can be set about the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutablesConfig {
    /// Files that are larger are not read, in bytes.
    pub bytes_max: u64,
    /// Whether files on FUSE and network file systems are read.
    pub read_network: bool,
    /// Whether the beginning of scripts is recorded.
    pub script_content: bool,
    /// Values that are not recorded of it.
    pub mask: Mask,
    /// How far the reading stands back behind the rest of the host, 0 to 19.
    pub niceness: i32,
}

/// The source.
pub struct Executables {
    inbox: Arc<Inbox>,
    memory: Box<dyn Memory>,
    config: ExecutablesConfig,
    since_ns: i64,
}

impl Executables {
    /// Lets the inbox take what it is offered from now on, at `now_ns` since the Unix epoch.
    #[must_use]
    pub fn attach(
        inbox: Arc<Inbox>,
        memory: Box<dyn Memory>,
        config: ExecutablesConfig,
        now_ns: i64,
    ) -> Self {
        inbox.open(true);
        Self { inbox, memory, config, since_ns: now_ns }
    }
}

impl Publisher for Executables {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn capabilities(&self) -> Vec<Capability> {
        let root = rustix::process::geteuid().is_root();
        let blind_to = if root { "" } else { "files that the user of the collector may not read" };
        vec![Capability {
            time_ns: self.since_ns,
            kind: SOURCE.to_owned(),
            source: Some(SOURCE.to_owned()),
            tier: Some(TIER.to_owned()),
            blind_to: blind_to.to_owned(),
            reason: (!root).then(|| "the collector does not run as root".to_owned()),
        }]
    }

    fn run(self: Box<Self>, sink: &Sink, stop: &Stop) -> Result<(), PublishError> {
        run::Runner::new(*self).run(sink, stop);
        Ok(())
    }
}
