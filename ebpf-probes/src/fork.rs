//! A process created another: the tracepoint `task_newtask`, which has the flags of clone.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use bygone_probe_abi::{CLASS_FORK, ForkRecord, Header, KIND_FORK};

use crate::read::{Probing, Typed};
use crate::spare::programs;
use crate::{counters, filter, namespaces, ring, task};

/// The new task is a thread of its creator, not a process.
const CLONE_THREAD: u64 = 0x1_0000;
/// The new task is a child of its creator's parent.
const CLONE_PARENT: u64 = 0x8000;
/// The part of the flags that is the signal sent at exit, on kernels before 5.3; later ones keep the
/// signal apart. The kernel's own mask is 0xff, but no signal is above 64, and clone3 uses the
/// highest of these bits for `CLONE_NEWTIME` (0x80).
const EXIT_SIGNAL_MASK: u64 = 0x7f;

programs!("task_newtask" CLASS_FORK record, fork fork_spare fork_last);

/// `task_newtask(struct task_struct *task, u64 clone_flags)`, in the context of the creator.
#[inline(always)]
fn record(context: &BtfTracePointContext) {
    let new: u64 = context.arg(0);
    let flags: u64 = context.arg(1);
    if flags & CLONE_THREAD != 0 {
        return;
    }
    let time_ns = task::boot_ns();
    counters::seen(CLASS_FORK, time_ns);
    let (process, parent) = (task::process::<Typed>(new), task::parent::<Typed>(new));
    // Without that flag the kernel makes the new task a child of the one that runs (`copy_process`).
    let caller = match flags & CLONE_PARENT {
        0 => parent,
        _ => task::process::<Probing>(task::current()),
    };
    if filter::any() && filter::inherit(&caller, &process) {
        counters::filtered(CLASS_FORK, time_ns);
        return;
    }
    let (uid, gid) = task::owner(new);
    let own = namespaces::of::<Typed>(new);
    let record = ForkRecord {
        header: Header { kind: KIND_FORK, length: size_of::<ForkRecord>() as u32, time_ns },
        process,
        parent,
        caller,
        clone_flags: flags & !EXIT_SIGNAL_MASK,
        uid,
        gid,
        pid_namespace: own.pid,
        mount_namespace: own.mount,
        network_namespace: own.network,
        user_namespace: own.user,
    };
    ring::send(&record, CLASS_FORK, time_ns);
}
