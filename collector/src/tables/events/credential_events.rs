//! `credential_events`, from the kernel's probes.

use bygone_store::{Computed, EventTable};

use crate::events::{Action, ActionEvent};
use crate::tables::Subscriber;

/// Changes of user, group or capabilities of a process without an exec.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct CredentialEvents {
    /// When, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub time_ns: i64,
    /// Process id of who did it, in the initial pid namespace.
    pub pid: u32,
    /// Path of the program that it runs; null when it is not known.
    #[column(bloom)]
    pub path: Option<String>,
    /// Its real user id.
    pub uid: u32,
    /// Its thread.
    pub tid: u32,
    /// Start of its process, in nanoseconds since boot.
    #[column(bloom)]
    pub start_ns: u64,
    /// Identity of its process, as in `process_events`.
    #[column(guid(pid, start_ns))]
    pub guid: Computed,
    /// The system call: `setuid` and its like, `capset`, `unshare` or `setns`.
    pub syscall: String,
    /// Real user id before.
    pub old_uid: u32,
    /// Real user id now.
    pub new_uid: u32,
    /// Effective user id before.
    pub old_euid: u32,
    /// Effective user id now.
    pub new_euid: u32,
    /// Saved user id before.
    pub old_suid: u32,
    /// Saved user id now.
    pub new_suid: u32,
    /// Real group id before.
    pub old_gid: u32,
    /// Real group id now.
    pub new_gid: u32,
    /// Effective group id before.
    pub old_egid: u32,
    /// Effective group id now.
    pub new_egid: u32,
    /// Capabilities in effect before, as bits (`capabilities(7)`).
    pub old_cap_effective: u64,
    /// Capabilities in effect now.
    pub new_cap_effective: u64,
}

impl Subscriber for CredentialEvents {
    type Event = ActionEvent;

    const CLASSES: &'static [&'static str] = &["credential"];

    fn row(event: &ActionEvent) -> Option<Self> {
        let Action::Credentials(change) = &event.action else {
            return None;
        };
        let (before, after) = (change.before, change.after);
        let ([old_uid, old_euid, old_suid], [old_gid, old_egid, _]) = (before.users, before.groups);
        let ([new_uid, new_euid, new_suid], [new_gid, new_egid, _]) = (after.users, after.groups);
        Some(Self {
            time_ns: event.time_ns,
            pid: event.actor.pid,
            path: event.path.as_deref().map(str::to_owned),
            uid: event.uid,
            tid: event.tid,
            start_ns: event.actor.start_ns,
            guid: Computed,
            syscall: change.call.to_owned(),
            old_uid,
            new_uid,
            old_euid,
            new_euid,
            old_suid,
            new_suid,
            old_gid,
            new_gid,
            old_egid,
            new_egid,
            old_cap_effective: before.effective,
            new_cap_effective: after.effective,
        })
    }
}
