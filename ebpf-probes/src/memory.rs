//! The memory of another process, opened as a file: `/proc/PID/mem` and `/proc/PID/task/TID/mem`.
//!
//! Looked at is the file that `open(2)` and its like returned, not the path they were given: whatever
//! links and descriptors led there, it is the same file. A process's own memory is left out.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use bygone_probe_abi::{ACT_OPEN_MEMORY, CLASS_PTRACE, OPEN_READ, OPEN_WRITE, Process};

use crate::call::{NUMBER, RETURNED, field};
use crate::offsets::{
    DENTRY_NAME, DENTRY_SHORT_NAME, FILE_DENTRY, FILE_INODE, FILE_MODE, INODE_SUPER, PID_TASKS,
    PROC_INODE, PROC_PID, SUPER_MAGIC, TASK_PID, TASK_PID_LINKS,
};
use crate::read::{Probing, at, has, int, long};
use crate::{act, files, task};

/// `PROC_SUPER_MAGIC` of `include/uapi/linux/magic.h`.
const PROC: u64 = 0x9fa0;

/// The file's name, with its NUL.
const NAME: u32 = u32::from_ne_bytes(*b"mem\0");

/// End of a call that opens a file.
#[tracepoint]
pub fn open_exit(context: TracePointContext) -> i32 {
    let returned: i64 = field::<u64>(&context, RETURNED) as i64;
    if returned < 0 {
        return 0;
    }
    let file = files::of_new_descriptor(returned as u32);
    let dentry = long(file, &FILE_DENTRY);
    // A name as short as this is in the dentry itself: every file that is opened comes by here, and
    // this is one read less. Behind a longer name anything may stand there.
    if has(&DENTRY_SHORT_NAME) && int(dentry, &DENTRY_SHORT_NAME) != NAME {
        return 0;
    }
    if at::<u32>(long(dentry, &DENTRY_NAME)) == NAME {
        send(&context, file, returned);
    }
    0
}

/// Sends the record, unless the file of that name is something else.
#[inline(always)]
fn send(context: &TracePointContext, file: u64, returned: i64) {
    let inode = long(file, &FILE_INODE);
    if !has(&SUPER_MAGIC) || long(long(inode, &INODE_SUPER), &SUPER_MAGIC) != PROC {
        return;
    }
    if !has(&PROC_INODE) || !has(&PROC_PID) || !has(&PID_TASKS) || !has(&TASK_PID_LINKS) {
        return;
    }
    let pid = long(inode.wrapping_sub(u64::from(PROC_INODE.load())), &PROC_PID);
    if pid == 0 {
        return;
    }
    // The first list of each is that of `PIDTYPE_PID`: it holds the one thread with this number.
    let link = long(pid, &PID_TASKS);
    let thread = match link {
        0 => 0,
        link => link.wrapping_sub(u64::from(TASK_PID_LINKS.load())),
    };
    let target = match thread {
        // It has ended since.
        0 => Process { pid: 0, reserved: 0, start_ns: 0 },
        thread => task::process::<Probing>(thread),
    };
    if target.pid == (bpf_get_current_pid_tgid() >> 32) as u32 {
        return;
    }
    let Some(mut entry) = act::begin(CLASS_PTRACE, ACT_OPEN_MEMORY) else {
        return;
    };
    // SAFETY: the record is ours until it is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.target = target;
    record.call = field::<u64>(context, NUMBER) as u32;
    record.returned = returned;
    record.numbers[0] = u64::from(int(file, &FILE_MODE)) & (OPEN_READ | OPEN_WRITE);
    record.numbers[1] = u64::from(int(thread, &TASK_PID));
    act::submit(entry);
}
