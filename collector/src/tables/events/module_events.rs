//! `module_events`, from the kernel's probes.

use bygone_store::{Computed, EventTable};

use crate::events::{Action, ActionEvent};
use crate::tables::Subscriber;

/// Modules of the kernel that were loaded or removed.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct ModuleEvents {
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
    /// `LOADED` or `REMOVED`.
    pub action: String,
    /// Name of the module.
    #[column(bloom)]
    pub name: Option<String>,
    /// Path of the file that it was loaded from, from the root of the mount namespace of who did it;
    /// null when it was removed, or handed to the kernel from memory.
    #[column(bloom)]
    pub module_path: Option<String>,
    /// Device of that file, as `device` in `executable_events`.
    pub device: Option<u64>,
    /// Inode of that file.
    pub inode: Option<u64>,
    /// Whether it carries a valid signature; null where the kernel does not check.
    pub signed: Option<bool>,
    /// Who signed it: the common name of the certificate's issuer, from the signature behind the file.
    /// Whether that is valid says `signed` alone. Null when there is none, when the file is compressed or
    /// on FUSE or a network file system, or when it is not what was loaded any more.
    pub signer: Option<String>,
    /// Its taints, as bits (`TAINT_…` in the kernel's `include/linux/panic.h`): 4096 for one that is not
    /// part of the kernel's source, 8192 for one without a signature.
    pub taints: u64,
}

impl Subscriber for ModuleEvents {
    type Event = ActionEvent;

    const CLASSES: &'static [&'static str] = &["module"];

    fn row(event: &ActionEvent) -> Option<Self> {
        let Action::Module(module) = &event.action else {
            return None;
        };
        let file = module.file.as_deref();
        Some(Self {
            time_ns: event.time_ns,
            pid: event.actor.pid,
            path: event.path.as_deref().map(str::to_owned),
            uid: event.uid,
            tid: event.tid,
            start_ns: event.actor.start_ns,
            guid: Computed,
            action: if module.loaded { "LOADED" } else { "REMOVED" }.to_owned(),
            name: module.name.clone(),
            module_path: file.and_then(|file| file.path.clone()),
            device: file.map(|file| file.file.device),
            inode: file.map(|file| file.file.inode),
            signed: module.is_signed,
            signer: file.and_then(|file| file.signer.clone()),
            taints: module.taints,
        })
    }
}
