//! Scratch slots in which exec records are built, several per CPU.
//!
//! A record is too large for the stack and its size is not known before it is built. A program can
//! be interrupted on its CPU by another task's since kernel 5.11, so one slot per CPU would be
//! shared by both. A slot is claimed by entering its number in a map, which exactly one claimant
//! manages; that works on every kernel, unlike an atomic exchange, which needs 5.12. The programs
//! reached by tail calls find the slot again by its owner, the thread that runs.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap};
use bygone_probe_abi::{SLOTS_PER_CPU, Slot};

/// The collector sets the number to the host's CPUs times [`SLOTS_PER_CPU`] before loading.
#[map]
static SLOTS: Array<Slot> = Array::with_max_entries(SLOTS_PER_CPU, 0);

/// Numbers of the slots in use. The collector sets the size as for `SLOTS`.
#[map]
static CLAIMS: HashMap<u32, u32> = HashMap::with_max_entries(SLOTS_PER_CPU, 0);

/// Claims a slot of this CPU for the running thread; `None` when all are in use.
#[inline(always)]
pub fn claim() -> Option<*mut Slot> {
    let first = first();
    let mut count = 0;
    while count < SLOTS_PER_CPU {
        let index = first + count;
        if CLAIMS.insert(index, 1, u64::from(BPF_NOEXIST)).is_ok() {
            let slot = SLOTS.get_ptr_mut(index)?;
            // SAFETY: the slot is ours until it is released, and lives as long as the map.
            unsafe {
                (*slot).owner = bpf_get_current_pid_tgid();
                (*slot).index = index;
            }
            return Some(slot);
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
    // SAFETY: the slot is ours until the claim is removed below.
    let index = unsafe {
        (*slot).owner = 0;
        (*slot).index
    };
    // A claim that is there can be removed; there is nobody to tell if it were not.
    let _removed = CLAIMS.remove(index);
}

#[inline(always)]
fn first() -> u32 {
    // SAFETY: the helper takes nothing. Programs do not change CPU while they run.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    cpu * SLOTS_PER_CPU
}
