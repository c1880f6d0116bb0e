//! The namespaces of a task, by their inodes.

use crate::offsets::{
    CRED_USER_NS, MNT_NS_INUM, NET_INUM, NSPROXY_MNT, NSPROXY_NET, PID_LEVEL, PID_NS_INUM,
    PID_NUMBERS, TASK_NSPROXY, TASK_THREAD_PID, UPID_BYTES, UPID_NS, USER_NS_INUM,
};
use crate::read::{Access, Probing, has};
use crate::task;

/// A power of two above the highest level, which is 32 (`MAX_PID_NS_LEVEL` of
/// include/linux/pid_namespace.h).
const PID_LEVELS_BOUND: u32 = 64;

/// Inodes of namespaces, 0 where unknown.
pub struct Namespaces {
    pub pid: u32,
    pub mount: u32,
    pub network: u32,
    pub user: u32,
}

/// Those of a task.
#[inline(always)]
pub fn of<A: Access>(task: u64) -> Namespaces {
    let proxy = A::long(task, &TASK_NSPROXY);
    Namespaces {
        pid: pid::<A>(task),
        mount: A::int(A::long(proxy, &NSPROXY_MNT), &MNT_NS_INUM),
        network: A::int(A::long(proxy, &NSPROXY_NET), &NET_INUM),
        user: Probing::int(Probing::long(task::cred(task), &CRED_USER_NS), &USER_NS_INUM),
    }
}

/// The task's own pid namespace, which is that of its deepest number.
#[inline(always)]
fn pid<A: Access>(task: u64) -> u32 {
    if !has(&PID_LEVEL) || !has(&PID_NUMBERS) || !has(&UPID_NS) || !has(&UPID_BYTES) {
        return 0;
    }
    let pid = A::long(task, &TASK_THREAD_PID);
    // Bounded, as the verifier wants it of what is added to a typed pointer.
    let level = A::int(pid, &PID_LEVEL) % PID_LEVELS_BOUND;
    let number = pid
        .wrapping_add(u64::from(PID_NUMBERS.load()))
        .wrapping_add(u64::from(level).wrapping_mul(u64::from(UPID_BYTES.load())));
    Probing::int(Probing::long(number, &UPID_NS), &PID_NS_INUM)
}
