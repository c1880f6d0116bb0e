//! Spare programs on the tracepoints of exec, fork and exit.
//!
//! Since Linux 7.0 a program on a tracepoint can be preempted (`__DECLARE_TRACE` in
//! include/linux/tracepoint.h), and as long as it is, the kernel skips it for every other thread on that
//! CPU (`__bpf_trace_run` in kernel/trace/bpf_trace.c). There each of these tracepoints has three programs,
//! which to the kernel are different ones: the first leaves a mark of its thread, and each of the others
//! does the work, and leaves the mark, when it finds none. The last takes the mark away. What comes while
//! all three are held up on one CPU is skipped, and counted.
//!
//! A mark outlives its event when the last was skipped, until the thread's next event of any of these kinds
//! or, if it had ended, that of another with its id. Marks that are never taken away fill the map in time;
//! then the last does all the work of threads without one. Should the same thread's next event of that kind
//! find the first one skipped, the mark hides it from the spares: the event is missed, and counted so,
//! since it is not among those made up for.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap};
use bygone_probe_abi::LIFE_CLASSES;

use crate::counters::add;
use crate::offsets::SPARES;

/// The class of the event that a program took, by thread. The collector sets the size before loading.
#[map]
static TAKEN: HashMap<u64, u32> = HashMap::with_max_entries(1, 0);

/// Runs that the first programs left to the spares, for want of room for a mark, by class.
#[map]
static LEFT: Array<u64> = Array::with_max_entries(LIFE_CLASSES as u32, BPF_F_MMAPABLE);

/// Runs that the kernel or the first programs skipped and the spares made up for, by class.
#[map]
static MADE_UP: Array<u64> = Array::with_max_entries(LIFE_CLASSES as u32, BPF_F_MMAPABLE);

/// Defines the programs of a tracepoint, which do the same work.
macro_rules! programs {
    ($hook:tt $class:ident $work:ident, $first:ident $spare:ident $last:ident) => {
        #[doc = concat!("The first program on `", $hook, "`.")]
        #[btf_tracepoint(function = $hook)]
        pub fn $first(context: BtfTracePointContext) -> i32 {
            if $crate::spare::first_takes($class) {
                $work(&context);
            }
            0
        }

        #[doc = concat!("A spare for `", stringify!($first), "`.")]
        #[btf_tracepoint(function = $hook)]
        pub fn $spare(context: BtfTracePointContext) -> i32 {
            if $crate::spare::spare_takes($class) {
                $work(&context);
            }
            0
        }

        #[doc = concat!("The last spare for `", stringify!($first), "`.")]
        #[btf_tracepoint(function = $hook)]
        pub fn $last(context: BtfTracePointContext) -> i32 {
            if $crate::spare::last_takes($class) {
                $work(&context);
            }
            0
        }
    };
}
pub(crate) use programs;

/// Whether the first program of a class is to do the work. Where it cannot leave a mark, a spare does.
#[inline(always)]
pub fn first_takes(class: u32) -> bool {
    if SPARES.load() == 0 {
        return true;
    }
    let is_marked = TAKEN.insert(bpf_get_current_pid_tgid(), class, 0).is_ok();
    if !is_marked {
        count(&LEFT, class);
    }
    is_marked
}

/// Whether a spare of a class is to do the work. Where it cannot leave a mark, the last does.
#[inline(always)]
pub fn spare_takes(class: u32) -> bool {
    let thread = bpf_get_current_pid_tgid();
    if is_taken(&thread, class) || TAKEN.insert(thread, class, 0).is_err() {
        return false;
    }
    count(&MADE_UP, class);
    true
}

/// Whether the last spare of a class is to do the work.
#[inline(always)]
pub fn last_takes(class: u32) -> bool {
    let thread = bpf_get_current_pid_tgid();
    if is_taken(&thread, class) {
        // One that cannot be removed is written over by the next.
        let _removed = TAKEN.remove(&thread);
        return false;
    }
    count(&MADE_UP, class);
    true
}

#[inline(always)]
fn is_taken(thread: &u64, class: u32) -> bool {
    // SAFETY: the mark is copied, and only this thread's programs write or remove it.
    unsafe { TAKEN.get(thread).copied() == Some(class) }
}

#[inline(always)]
fn count(counts: &Array<u64>, class: u32) {
    if let Some(count) = counts.get_ptr_mut(class) {
        // SAFETY: the map holds one u64 per class.
        unsafe { add(count, 1) };
    }
}
