//! EndpointSecurity, Apple's source of process events, decoded to types free of the framework.
//!
//! The system hands each event to a callback as an `es_message_t` full of pointers. [`layout`]
//! mirrors the parts of that structure that are read, [`view`] follows its pointers, and
//! [`decode()`] copies what they lead to into [`EsMessage`]. An [`Intake`] in the callback counts
//! what the system dropped and passes the rest through a bounded queue, whose other end the
//! reader drains through [`EsSource`].
//!
//! All of it compiles and is tested on every system; only the client itself (`EsClient`) is
//! compiled for macOS alone, where the mirror is also checked, at compile time, against the
//! binding's structures.
//!
//! **Invariant:** this crate subscribes to NOTIFY events only, so it can never delay or forbid
//! what a process does, and it knows nothing of the rest of Bygone.

mod decode;
mod intake;
pub mod layout;
mod message;
mod sequence;
mod source;
pub mod view;

#[cfg(target_os = "macos")]
mod client;
#[cfg(test)]
mod fixture;
#[cfg(target_os = "macos")]
mod layout_check;
#[cfg(target_os = "macos")]
mod system;

pub use decode::{DecodeError, DecodeFailure, decode};
pub use intake::{Intake, IntakeLimits, IntakeReader, intake};
pub use message::{
    AuditToken, ByClass, EsClass, EsEvent, EsExec, EsExit, EsFile, EsFork, EsHeader, EsMessage,
    EsProcess, EsSequence, EsStat,
};
pub use sequence::{SequenceGap, SequenceLedger};
pub use source::{EsLoss, EsLossKind, EsSource, Received};

#[cfg(target_os = "macos")]
pub use client::{EsClient, StartError};
#[cfg(target_os = "macos")]
pub use system::{SystemError, boot_session_uuid, boot_time_ns};
