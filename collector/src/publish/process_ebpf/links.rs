//! The links that hold programs at tracepoints, opened so that it can be asked whether they are still
//! there.
//!
//! The kernel keeps a program attached as long as its link is open, and gives nobody else a way to detach
//! one of these. Gone is therefore a link whose descriptor was taken from the collector: by one who may
//! write into its memory.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use aya::programs::links::FdLink;
use aya::programs::trace_point::TracePointLink;
use aya::programs::{ProgramError, ProgramFd};

use bygone_probe_abi::CLASSES;

use super::attach_error::AttachError;
use super::calls::WatchedCalls;
use super::load::Attached;
use super::sys::{link_ids, open_raw_tracepoint, program_counts};

/// A program at a tracepoint, raw or BTF-typed.
#[derive(Debug)]
pub(crate) struct RawLink {
    /// Index in [`bygone_probe_abi::CLASSES`].
    pub(crate) class: usize,
    pub(crate) program: &'static str,
    pub(crate) link: OwnedFd,
    /// Those of the link and of its program.
    ids: Option<(u32, u32)>,
}

impl RawLink {
    /// Attaches a program to the tracepoint `name`, or, of the type BTF tracepoint, to the one that it
    /// was loaded for.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn attach(
        class: usize,
        (program, hook): (&'static str, &'static str),
        name: Option<&str>,
        loaded: &ProgramFd,
    ) -> Result<Self, AttachError> {
        let name = name.map(CString::new).transpose();
        let link = name
            .map_err(io::Error::from)
            .and_then(|name| open_raw_tracepoint(name.as_deref(), loaded.as_fd()))
            .map_err(ProgramError::IOError)
            .map_err(|source| AttachError::Attach { program, hook, source })?;
        let ids = link_ids(link.as_fd());
        Ok(Self { class, program, link, ids })
    }

    /// Whether it is what it was.
    pub(crate) fn is_there(&self) -> bool {
        link_ids(self.link.as_fd()) == self.ids
    }
}

impl Attached {
    /// The classes of which a program or its link is not there any more, each once, and what is missing,
    /// in words.
    pub(crate) fn gone(&self) -> Vec<(&'static str, String)> {
        let name = |class: usize| CLASSES.get(class).copied().unwrap_or("unknown");
        let links = self.links.iter().filter(|link| !link.is_there());
        let links = links.map(|link| {
            (name(link.class), format!("the program `{}` is not attached", link.program))
        });
        let programs = self.programs.iter().chain(&self.spare_programs);
        let programs = programs.filter(|(_, fd)| program_counts(fd.as_fd()).is_none());
        let programs = programs.map(|(class, _)| (name(*class), "its program is gone".to_owned()));
        let calls = self.calls.iter().flat_map(WatchedCalls::gone);
        let calls = calls.map(|(class, call)| (class, format!("{call} is not watched")));
        let mut all: Vec<(&'static str, String)> = links.chain(programs).chain(calls).collect();
        all.sort_unstable();
        all.dedup_by_key(|(class, _)| *class);
        all
    }
}

/// A program at the tracepoint of a system call.
pub(crate) enum CallLink {
    /// A link of its own, and its id.
    Linked(FdLink, u32),
    /// A perf event that the program was given to, below Linux 5.15: of it nothing can be asked.
    Perf { _link: TracePointLink },
}

impl CallLink {
    /// Takes what attaching gave, of a kernel that makes links.
    pub(crate) fn linked(link: TracePointLink) -> Option<Self> {
        let link = FdLink::try_from(link).ok()?;
        let id = link.info().ok()?.id();
        Some(Self::Linked(link, id))
    }

    /// Whether it is what it was, as far as that can be asked.
    pub(crate) fn is_there(&self) -> bool {
        match self {
            Self::Linked(link, id) => link.info().is_ok_and(|info| info.id() == *id),
            Self::Perf { .. } => true,
        }
    }
}
