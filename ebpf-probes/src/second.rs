//! Second programs on the tracepoints of exec, fork and exit.
//!
//! Since Linux 7.0 a program on a tracepoint can be preempted (`__DECLARE_TRACE` in
//! include/linux/tracepoint.h), and as long as it is, the kernel skips it for every other thread on that
//! CPU (`__bpf_trace_run` in kernel/trace/bpf_trace.c). There each of these tracepoints has two programs,
//! which to the kernel are different ones: the first leaves a mark of its thread, and the second does the
//! work when it finds none. What comes while both are held up on one CPU is skipped, and counted.
//!
//! A mark outlives its event when the second is skipped where the first was not. Should the same thread's
//! next event of that kind find the first one skipped, the mark hides it from the second: the event is missed,
//! and counted so, since it is not among those made up for.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap};
use bygone_probe_abi::LIFE_CLASSES;

use crate::counters::add;
use crate::offsets::SECOND;

/// The class of the event that the first program took, by thread. The collector sets the size before
/// loading.
#[map]
static TAKEN: HashMap<u64, u32> = HashMap::with_max_entries(1, 0);

/// Runs that the first programs left to the second ones, for want of room for a mark, by class.
#[map]
static LEFT: Array<u64> = Array::with_max_entries(LIFE_CLASSES as u32, 0);

/// Runs that the kernel or the first programs skipped and the second ones made up for, by class.
#[map]
static MADE_UP: Array<u64> = Array::with_max_entries(LIFE_CLASSES as u32, 0);

/// Whether the first program of a class is to do the work. Where it cannot leave a mark, the second does.
#[inline(always)]
pub fn first_takes(class: u32) -> bool {
    if SECOND.load() == 0 {
        return true;
    }
    let is_marked = TAKEN.insert(bpf_get_current_pid_tgid(), class, 0).is_ok();
    if !is_marked {
        count(&LEFT, class);
    }
    is_marked
}

/// Whether the second program of a class is to do the work.
#[inline(always)]
pub fn second_takes(class: u32) -> bool {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: the mark is copied, and only this thread's programs write or remove it.
    let mark = unsafe { TAKEN.get(&thread).copied() };
    if mark == Some(class) {
        // One that cannot be removed is written over by the next.
        let _removed = TAKEN.remove(&thread);
        return false;
    }
    count(&MADE_UP, class);
    true
}

#[inline(always)]
fn count(counts: &Array<u64>, class: u32) {
    if let Some(count) = counts.get_ptr_mut(class) {
        // SAFETY: the map holds one u64 per class.
        unsafe { add(count, 1) };
    }
}
