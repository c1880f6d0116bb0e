//! Scratch slots in which exec records are built, several per CPU.
//!
//! A record is too large for the stack and its size is not known before it is built. A program can
//! be interrupted on its CPU by another task's since kernel 5.11, so one slot per CPU would be
//! shared by both. Whoever wants a slot counts itself in first and then reads the count: who reads 1
//! is alone and has it, until it counts itself out. Of two that interrupt each other there neither
//! may read 1; then both go on to the next slot. That takes no more than an addition, which every
//! kernel has, unlike an atomic exchange, which needs 5.12. The programs reached by tail calls find the
//! slot again by its owner, the thread that runs.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use bygone_probe_abi::{SLOTS_PER_CPU, Slot};

use crate::counters::add;

/// The collector sets the number to [`SLOTS_PER_CPU`] times the CPUs up to the highest before loading.
#[map]
static SLOTS: Array<Slot> = Array::with_max_entries(SLOTS_PER_CPU, 0);

/// Added to the count of claimants by who counts itself out.
const MINUS_ONE: u64 = u64::MAX;

/// Claims a slot of this CPU for the running thread; `None` when all are in use.
#[inline(always)]
pub fn claim() -> Option<*mut Slot> {
    let first = first();
    let mut count = 0;
    while count < SLOTS_PER_CPU {
        let slot = SLOTS.get_ptr_mut(first + count)?;
        // SAFETY: the slot lives as long as the map. Only additions write the count; the other fields
        // are written by who is alone.
        unsafe {
            let claims = &raw mut (*slot).claims;
            add(claims, 1);
            if claims.read_volatile() == 1 {
                (*slot).owner = bpf_get_current_pid_tgid();
                return Some(slot);
            }
            add(claims, MINUS_ONE);
        }
        count += 1;
    }
    None
}

/// The slot that the running thread claimed on this CPU.
#[inline(always)]
pub fn claimed() -> Option<*mut Slot> {
    let owner = bpf_get_current_pid_tgid();
    let first = first();
    let mut count = 0;
    while count < SLOTS_PER_CPU {
        let slot = SLOTS.get_ptr_mut(first + count)?;
        // SAFETY: the slot lives as long as the map; another thread's owner is never ours.
        if unsafe { (*slot).owner } == owner {
            return Some(slot);
        }
        count += 1;
    }
    None
}

/// Gives a slot back.
#[inline(always)]
pub fn release(slot: *mut Slot) {
    // SAFETY: the slot is ours until we count ourselves out.
    unsafe {
        (*slot).owner = 0;
        add(&raw mut (*slot).claims, MINUS_ONE);
    }
}

#[inline(always)]
fn first() -> u32 {
    // SAFETY: the helper takes nothing. Programs do not change CPU while they run.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    cpu * SLOTS_PER_CPU
}
