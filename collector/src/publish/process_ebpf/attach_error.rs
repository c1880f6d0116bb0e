//! Why the programs cannot be loaded or attached, in words, and what can be done about it.

use aya::programs::ProgramError;

use super::load::RING_BYTES_DEFAULT;
use super::rights;
use crate::publish::btf::BtfError;

/// Characters of the verifier's log that an error carries; its end says what is wrong.
const LOG_TAIL_CHARS: usize = 600;

/// Why processes cannot be watched from within the kernel.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kernel does not describe its types.
    #[error("the kernel does not describe its types (BTF)")]
    Types(#[source] BtfError),
    /// The description of the kernel's types is one that the loader does not understand.
    #[error("the loader cannot read the kernel's types (BTF)")]
    Parse(#[source] aya::BtfError),
    /// No class of events can be recorded for want of a member.
    #[error("{reason}")]
    MissingMember {
        /// The member, in words.
        reason: String,
    },
    /// The size of the ring is not one the kernel takes.
    #[error("a ring of {bytes} bytes cannot be made: the size must be a power of two from 4096 on")]
    RingSize {
        /// The size asked for.
        bytes: u32,
    },
    /// This process lacks a right.
    #[error("no right to load programs into the kernel: this takes {missing}")]
    NoRight {
        /// Names of capabilities.
        missing: String,
    },
    /// The kernel refuses in spite of all rights.
    #[error("the kernel refuses to load programs: {why}")]
    Refused {
        /// Lockdown, or what else is known.
        why: String,
    },
    /// The programs' object could not be prepared, or a map not made.
    #[error("cannot prepare the programs")]
    Prepare(#[source] Box<aya::EbpfError>),
    /// The object lacks a part: it was built from another version.
    #[error("the programs have no `{name}`: rebuild them with `cargo xtask build-ebpf`")]
    Part {
        /// The part.
        name: &'static str,
    },
    /// A map of the object is of another type than expected.
    #[error("the map `{name}` cannot be used")]
    Map {
        /// The map.
        name: &'static str,
        /// What does not fit.
        source: aya::maps::MapError,
    },
    /// The kernel rejected a program.
    #[error("the kernel rejects the program `{program}`: {log}")]
    Verify {
        /// The program.
        program: &'static str,
        /// End of the verifier's log.
        log: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program could not be loaded or attached.
    #[error("cannot attach the program `{program}` to `{hook}`")]
    Attach {
        /// The program.
        program: &'static str,
        /// The tracepoint or iterator.
        hook: &'static str,
        /// What the library said.
        source: ProgramError,
    },
    /// A program is attached and did not run when it should have.
    #[error("the `{class}` probe is attached and does not fire")]
    Silent {
        /// The class of events.
        class: &'static str,
    },
    /// The number of CPUs could not be learned.
    #[error("cannot learn the number of CPUs")]
    Cpus(#[source] std::io::Error),
}

impl AttachError {
    /// What the user can do about it, where something can be done.
    #[must_use]
    pub fn mend(&self) -> Option<String> {
        let words = match self {
            Self::NoRight { missing } => format!("run as root, or with {missing}"),
            Self::Types(_) => "boot a kernel built with CONFIG_DEBUG_INFO_BTF".to_owned(),
            Self::RingSize { bytes } => {
                let near = bytes.checked_next_power_of_two().unwrap_or(RING_BYTES_DEFAULT);
                format!("set ring_bytes to {}", near.max(4096))
            }
            Self::MissingMember { .. }
            | Self::Parse(_)
            | Self::Refused { .. }
            | Self::Prepare(_)
            | Self::Part { .. }
            | Self::Map { .. }
            | Self::Verify { .. }
            | Self::Attach { .. }
            | Self::Silent { .. }
            | Self::Cpus(_) => return None,
        };
        Some(words)
    }
}

/// Tells a want of rights from a program that the verifier does not take.
pub(super) fn explain(
    program: &'static str,
    hook: &'static str,
    error: ProgramError,
) -> AttachError {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let log = log.trim();
            if io_error.raw_os_error() == Some(libc::EPERM) && log.is_empty() {
                return refused();
            }
            let skipped = log.chars().count().saturating_sub(LOG_TAIL_CHARS);
            let log = log.chars().skip(skipped).collect();
            AttachError::Verify { program, log, source: io_error }
        }
        source => AttachError::Attach { program, hook, source },
    }
}

/// What stands behind a bare EPERM.
pub(super) fn refused() -> AttachError {
    let missing = rights::missing();
    if !missing.is_empty() {
        return AttachError::NoRight { missing: missing.join(" and ") };
    }
    let why = rights::lockdown().map_or_else(
        || "no reason given, and no capability is missing; a security module may forbid it".into(),
        |mode| format!("it is in lockdown ({mode})"),
    );
    AttachError::Refused { why }
}

/// Whether EPERM is at the end of the error's sources.
pub(super) fn forbidden(error: &aya::EbpfError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let code = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        if code == Some(libc::EPERM) {
            return true;
        }
        next = error.source();
    }
    false
}
