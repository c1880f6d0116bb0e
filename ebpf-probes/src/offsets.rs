//! Offsets of kernel members, and other facts about the running kernel, set before loading.

use aya_ebpf::Global;
use bygone_probe_abi::{ABSENT, members};

macro_rules! globals {
    ($($name:ident $structure:literal $member:literal $need:ident;)*) => {
        $(
            #[doc = concat!("Offset of `", $structure, ".", $member, "`.")]
            #[unsafe(no_mangle)]
            pub static $name: Global<u32> = Global::new(ABSENT);
        )*
    };
}
members!(globals);

/// Which bit of `struct task_struct` is `in_execve`.
#[unsafe(no_mangle)]
pub static TASK_IN_EXEC_BIT: Global<u32> = Global::new(ABSENT);

/// Size of `struct upid`.
#[unsafe(no_mangle)]
pub static UPID_BYTES: Global<u32> = Global::new(ABSENT);

/// Value of `MNT_NS_ANON_INO` in `enum init_ns_ino`.
#[unsafe(no_mangle)]
pub static MNT_NS_ANONYMOUS: Global<u32> = Global::new(ABSENT);

/// Value of `pids_cgrp_id` in `enum cgroup_subsys_id`.
#[unsafe(no_mangle)]
pub static CGROUP_PIDS: Global<u32> = Global::new(ABSENT);

/// Value of `memory_cgrp_id`, likewise.
#[unsafe(no_mangle)]
pub static CGROUP_MEMORY: Global<u32> = Global::new(ABSENT);

/// Which signals are recorded: a `SIGNALS_…`.
#[unsafe(no_mangle)]
pub static SIGNALS: Global<u32> = Global::new(0);

/// Which files mapped to be executed are recorded: an `IMAGES_…`.
#[unsafe(no_mangle)]
pub static IMAGES: Global<u32> = Global::new(0);

/// Whether the environment is to be sent.
#[unsafe(no_mangle)]
pub static ENVIRONMENT: Global<u32> = Global::new(0);

/// Which kinds of rules there are that leave processes out: `FILTER_…` flags.
#[unsafe(no_mangle)]
pub static FILTERS: Global<u32> = Global::new(0);

/// Whether exec, fork and exit have spare programs.
#[unsafe(no_mangle)]
pub static SPARES: Global<u32> = Global::new(0);

/// Process id of the collector.
#[unsafe(no_mangle)]
pub static COLLECTOR: Global<u32> = Global::new(0);

/// How many rules about paths there are.
#[unsafe(no_mangle)]
pub static FILTER_RULES: Global<u32> = Global::new(0);

/// Value of `PIDTYPE_SID` in `enum pid_type`.
#[unsafe(no_mangle)]
pub static PID_TYPE_SESSION: Global<u32> = Global::new(ABSENT);
