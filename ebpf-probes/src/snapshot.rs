//! What ran before the probes were attached: the iterator over tasks, one exec record per process.
//!
//! The records go over the same ring, marked as a snapshot; they are not counted as seen, since no
//! exec happened. Arguments are in memory of another process, which cannot be read from here; the
//! collector adds them.

use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, ProgramArray};
use bygone_probe_abi::{
    EXEC_IN_EXEC, EXEC_KERNEL_THREAD, EXEC_SNAPSHOT, FILTER_PARENTS, MARK_LEFT_OUT,
};

use crate::offsets::{
    SIGNAL_LIVE, TASK_EXEC_ID, TASK_FLAGS, TASK_IN_EXEC_BIT, TASK_MM, TASK_PID, TASK_SIGNAL,
    TASK_TGID,
};
use crate::read::{Probing, at, has, int, long};
use crate::{exec, filter, scratch, task, walk};

/// `task->flags`: a thread of the kernel.
const PF_KTHREAD: u32 = 0x0020_0000;

/// Offset of the task in the context of the iterator, which is user-space API.
const CONTEXT_TASK: u64 = 8;

/// The entries in use are `snapshot_walk` and, with rules, `snapshot_filter`; the collector fills them
/// after loading.
#[map]
static SNAPSHOT_WALK: ProgramArray = ProgramArray::with_max_entries(3, 0);

/// Processes that could not be sent, for want of a slot or of room in the ring.
#[map]
static SNAPSHOT_LOST: Array<u64> = Array::with_max_entries(1, 0);

/// Context of a program of the iterator.
pub struct IteratorContext(*mut c_void);

impl EbpfContext for IteratorContext {
    fn as_ptr(&self) -> *mut c_void {
        self.0
    }
}

/// Called once per task, and once more without one at the end.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn snapshot(context: *mut c_void) -> i32 {
    let task: u64 = at(context as u64 + CONTEXT_TASK);
    if task == 0 || int(task, &TASK_PID) != int(task, &TASK_TGID) {
        return 0;
    }
    let exec_id = int(task, &TASK_EXEC_ID);
    let began_in_exec = is_in_exec(task);
    let time_ns = task::boot_ns();
    // A process whose threads have all ended has had, or is about to have, its exit record.
    if int(long(task, &TASK_SIGNAL), &SIGNAL_LIVE) == 0 {
        return 0;
    }
    let (mut before, mut marks) = (0, 0);
    let (process, parent) = (task::process::<Probing>(task), task::parent::<Probing>(task));
    if filter::concerns(&process, &parent) {
        before = filter::marks(&process);
        if before & MARK_LEFT_OUT != 0 {
            return 0;
        }
        if filter::is_first_look() {
            marks = filter::by_identity(task::owner(task).0, &parent);
        }
        if marks & MARK_LEFT_OUT != 0 && !filter::has(FILTER_PARENTS) {
            filter::leave_out(process, before, marks, time_ns);
            return 0;
        }
    }
    let Some(slot) = scratch::claim() else {
        count_lost();
        return 0;
    };
    // SAFETY: the slot is ours and lives as long as the map.
    let slot_ref = unsafe { &mut *slot };
    exec::fill::<Probing>(slot_ref, task, (process, parent), time_ns);
    slot_ref.marks_before = before;
    slot_ref.marks = marks;
    slot_ref.record.tid = slot_ref.record.process.pid;
    slot_ref.record.flags |= EXEC_SNAPSHOT;
    if int(task, &TASK_FLAGS) & PF_KTHREAD != 0 && long(task, &TASK_MM) == 0 {
        slot_ref.record.flags |= EXEC_KERNEL_THREAD;
    }
    if began_in_exec || is_in_exec(task) || exec_id != int(task, &TASK_EXEC_ID) {
        slot_ref.record.flags |= EXEC_IN_EXEC;
    }
    // SAFETY: the context is the one this program was given, and the entry has the same type.
    unsafe { SNAPSHOT_WALK.tail_call(&IteratorContext(context), walk::NEXT) };
    scratch::release(slot);
    count_lost();
    0
}

/// The walks of a snapshot.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn snapshot_walk(context: *mut c_void) -> i32 {
    walk::step(&IteratorContext(context), &SNAPSHOT_WALK);
    0
}

/// What rules say of a snapshot.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn snapshot_filter(context: *mut c_void) -> i32 {
    filter::step(&IteratorContext(context), &SNAPSHOT_WALK);
    0
}

/// Whether the main thread is in the middle of an exec: its memory may be the new program's already, and
/// the exec tracepoint comes later (`bprm_execve` in fs/exec.c of Linux 6.12). An exec that begins and ends
/// between two answers is told by the thread's `self_exec_id`, which each one raises.
#[inline(always)]
fn is_in_exec(task: u64) -> bool {
    if !has(&TASK_IN_EXEC_BIT) {
        return false;
    }
    let bit = TASK_IN_EXEC_BIT.load();
    let word: u32 = at(task.wrapping_add(u64::from(bit / 32 * 4)));
    word >> (bit % 32) & 1 != 0
}

/// Counts a snapshot that could not be sent. Only one reader of the iterator runs at a time.
#[inline(always)]
pub fn count_lost() {
    if let Some(count) = SNAPSHOT_LOST.get_ptr_mut(0) {
        // SAFETY: the map holds one u64 and no other program writes it.
        unsafe { *count += 1 };
    }
}
