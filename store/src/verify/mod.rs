//! Checking that nothing recorded was changed or taken away.
//!
//! # What it can tell
//! Every entry of the manifest holds the hash of the one before it, and the SHA-256 of every
//! segment that it adds. So whoever changes a byte of a sealed segment, removes one, or changes,
//! removes or inserts an entry, must write every later entry anew; and whoever has noted the hash
//! of the newest entry elsewhere (the *head*) can tell that too.
//!
//! # What it cannot
//! The journals are not sealed yet and are protected by checksums only, which anyone can compute.
//! Entries cut off the end are missed only by a head that was noted after them. Root on a host
//! whose head was never sent away can write the whole chain anew.
//!
//! # A torn end
//! A loss of power can leave an incomplete last line. It is told from a changed one by its missing
//! line feed, and is a [`Note`], not a [`Fault`]. The next start keeps those bytes beside the
//! manifest and notes their hash in a `recovered` entry, which is checked as well.
//!
//! **Invariant:** reads only, takes no lock, and runs beside a writer: a file that has gone since
//! the manifest was read counts as missing only if the manifest still names it.

mod chain;
mod segments;

use std::fmt;

use crate::disk::Folder;
use crate::read::ReadError;

/// What to check.
#[derive(Clone, Debug, Default)]
pub struct VerifyRequest {
    /// Segments whose rows are all older than this, in nanoseconds since the Unix epoch, are not
    /// read. The manifest is checked whole in any case.
    pub since_ns: Option<i64>,
    /// A head noted earlier, which must be in the chain.
    pub head: Option<String>,
}

/// Where an entry of the manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryAt {
    /// Number of the manifest file.
    pub file: u64,
    /// Line in it, from 1.
    pub line: u64,
}

impl fmt::Display for EntryAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "manifest/{}, entry {}", self.file, self.line)
    }
}

/// Something was changed or taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The entry that is broken, or that names what is; `None` for a head that is not found.
    pub at: Option<EntryAt>,
    /// What is wrong, in words.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{at}: {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

/// Something worth knowing that a crash explains.
pub type Note = Fault;

/// The outcome of a check.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Hash of the newest entry; empty when there is none.
    pub head: String,
    /// Entries of the manifest that were checked.
    pub entries: u64,
    /// Segments that were read whole.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Segments that were not read, because they are older than asked for.
    pub skipped: u64,
    /// What is broken, in the order of the entries.
    pub faults: Vec<Fault>,
    /// What a crash explains.
    pub notes: Vec<Note>,
}

/// Checks a store; `progress` is told the bytes read and the bytes to read, now and then.
pub(crate) fn verify(
    dir: &Folder,
    request: &VerifyRequest,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verified, ReadError> {
    let chain = chain::walk(dir, request.head.as_deref())?;
    let mut verified = Verified {
        head: chain.head,
        entries: chain.entries,
        faults: chain.faults,
        notes: chain.notes,
        ..Verified::default()
    };
    segments::check(dir, &chain.live, request.since_ns, &mut verified, progress)?;
    verified.faults.sort_by_key(|fault| (fault.at.is_none(), fault.at));
    Ok(verified)
}
