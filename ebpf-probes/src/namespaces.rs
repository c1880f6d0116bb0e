//! The namespaces of a task, by their inodes.

use crate::offsets::{
    CRED_USER_NS, MNT_NS_INUM, NET_INUM, NSPROXY_MNT, NSPROXY_NET, PID_LEVEL, PID_NS_INUM,
    PID_NUMBERS, TASK_CRED, TASK_NSPROXY, TASK_THREAD_PID, UPID_BYTES, UPID_NS, USER_NS_INUM,
};
use crate::read::{has, int, long};

/// Inodes of namespaces, 0 where unknown.
pub struct Namespaces {
    pub pid: u32,
    pub mount: u32,
    pub network: u32,
    pub user: u32,
}

/// Those of a task.
#[inline(always)]
pub fn of(task: u64) -> Namespaces {
    let proxy = long(task, &TASK_NSPROXY);
    Namespaces {
        pid: pid(task),
        mount: int(long(proxy, &NSPROXY_MNT), &MNT_NS_INUM),
        network: int(long(proxy, &NSPROXY_NET), &NET_INUM),
        user: int(long(long(task, &TASK_CRED), &CRED_USER_NS), &USER_NS_INUM),
    }
}

/// The task's own pid namespace, which is that of its deepest number.
#[inline(always)]
fn pid(task: u64) -> u32 {
    if !has(&PID_LEVEL) || !has(&PID_NUMBERS) || !has(&UPID_NS) || !has(&UPID_BYTES) {
        return 0;
    }
    let pid = long(task, &TASK_THREAD_PID);
    let level = int(pid, &PID_LEVEL);
    let number = pid
        .wrapping_add(u64::from(PID_NUMBERS.load()))
        .wrapping_add(u64::from(level).wrapping_mul(u64::from(UPID_BYTES.load())));
    int(long(number, &UPID_NS), &PID_NS_INUM)
}
