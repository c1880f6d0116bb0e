//! Who a task is: its process, its parent, its ids.

use bygone_probe_abi::Process;

use crate::offsets::{
    CRED_GID, CRED_UID, TASK_CRED, TASK_GROUP_LEADER, TASK_REAL_PARENT, TASK_START, TASK_TGID,
};
use crate::read::{Access, Probing};

/// The process that the thread `task` belongs to. Its start is the group leader's, so that an exec
/// by another thread keeps the identity.
#[inline(always)]
pub fn process<A: Access>(task: u64) -> Process {
    let leader = A::long(task, &TASK_GROUP_LEADER);
    Process { pid: A::int(task, &TASK_TGID), reserved: 0, start_ns: A::long(leader, &TASK_START) }
}

/// The process that will be told when `task` ends.
#[inline(always)]
pub fn parent<A: Access>(task: u64) -> Process {
    process::<A>(A::long(task, &TASK_REAL_PARENT))
}

/// The thread that runs now.
#[inline(always)]
pub fn current() -> u64 {
    // SAFETY: the helper takes nothing and can be called by every program here.
    unsafe { aya_ebpf::helpers::generated::bpf_get_current_task() }
}

/// Nanoseconds since boot, suspended time included.
#[inline(always)]
pub fn boot_ns() -> u64 {
    // SAFETY: as in `current`.
    unsafe { aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns() }
}

/// The credentials of a task, of which everything is to be probed: see [`crate::read`].
#[inline(always)]
pub fn cred(task: u64) -> u64 {
    Probing::long(task, &TASK_CRED)
}

/// Real user and group id.
#[inline(always)]
pub fn owner(task: u64) -> (u32, u32) {
    let cred = cred(task);
    (Probing::int(cred, &CRED_UID), Probing::int(cred, &CRED_GID))
}
