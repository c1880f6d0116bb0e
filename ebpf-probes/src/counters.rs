//! Counts of what was seen, lost and left out, per CPU, class and bucket of the event's own time.

use core::arch::asm;

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use bygone_probe_abi::{BUCKET_NS, BUCKETS, COUNTERS_MAX, Counter};

/// Those of CPU 0, then those of the next. The collector sets the number to [`COUNTERS_MAX`] times the CPUs
/// up to the highest before loading. An array per CPU could not be mapped.
#[map]
static COUNTERS: Array<Counter> = Array::with_max_entries(COUNTERS_MAX, BPF_F_MMAPABLE);

/// Counts an event of `class` at `time_ns` as seen.
#[inline(always)]
pub fn seen(class: u32, time_ns: u64) {
    if let Some(counter) = counter(class, time_ns) {
        // SAFETY: the map holds this Counter; nothing writes it but these additions.
        unsafe { add(&raw mut (*counter).seen, 1) };
    }
}

/// Counts an event of `class` at `time_ns` as lost.
#[inline(always)]
pub fn lost(class: u32, time_ns: u64) {
    if let Some(counter) = counter(class, time_ns) {
        // SAFETY: as in `seen`.
        unsafe { add(&raw mut (*counter).lost, 1) };
    }
}

/// Counts an event of `class` at `time_ns` as left out by rules.
#[inline(always)]
pub fn filtered(class: u32, time_ns: u64) {
    if let Some(counter) = counter(class, time_ns) {
        // SAFETY: as in `seen`.
        unsafe { add(&raw mut (*counter).filtered, 1) };
    }
}

#[inline(always)]
fn counter(class: u32, time_ns: u64) -> Option<*mut Counter> {
    let bucket = (time_ns / BUCKET_NS) as u32 % BUCKETS;
    // SAFETY: the helper takes nothing. Programs do not change CPU while they run.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    COUNTERS.get_ptr_mut(cpu * COUNTERS_MAX + class * BUCKETS + bucket)
}

/// One instruction, so that a program which interrupts this one on the same CPU is not undone. The
/// standard library has no additions for this target, whose older kernels cannot return the sum.
///
/// # Safety
/// `count` must be an aligned u64 inside a map's value.
#[inline(always)]
pub unsafe fn add(count: *mut u64, number: u64) {
    // SAFETY: the caller vouches for `count`; a map's value lives as long as the program.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) count, in(reg) number) };
}
