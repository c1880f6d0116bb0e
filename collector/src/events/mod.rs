//! What publishers emit: facts about the host, free of any operating system's types.
//!
//! **Invariant:** nothing here has a `cfg(target_os)`; a field that only one system can fill is an
//! `Option`, and its documentation says which.

mod action;
mod collector;
mod executable;
mod file;
mod process;
mod summary;

pub use action::{
    AccessAction, Action, ActionEvent, BpfAction, CredentialsAction, ImageAction, MemoryAccess,
    MemoryExecAction, MemoryFileAction, ModuleAction, ModuleFile, MountAction, Rights,
    SignalAction, Target,
};
pub use collector::{AuditEntry, Capability, CollectorEvent, Gap, GapReason, LedgerEntry};
pub use executable::{
    ContentDigest, ContentKey, ExecutableEvent, ExecutableKind, HashStatus, PackageOwner,
};
pub use file::{FileAction, FileEvent, FileStat};
pub use process::{
    CapabilitySets, Container, Credentials, ExecEvent, ExitEvent, ForkEvent, Namespaces, Noticed,
    ProcessEvent, ProcessKey, ProgramFile, Usage,
};
pub use summary::{ProcessSummaryEvent, SummaryKind};
