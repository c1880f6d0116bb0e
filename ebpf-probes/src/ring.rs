//! The one ring buffer that carries every record, in the order in which they were sent.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::bpf_ringbuf_output;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, RingBuf};

use crate::counters;

/// The collector sets the size before loading.
#[map]
static RING: RingBuf = RingBuf::with_byte_size(8 * 1024 * 1024, 0);

/// Not 0 while the reader looks into the rings by the clock, and need not be woken. The collector sets
/// it.
#[map]
static READER_AWAKE: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The flags with which a record is sent: to wake a reader that sleeps and has caught up, or nobody.
#[inline(always)]
pub fn wakeup() -> u64 {
    match READER_AWAKE.get(0) {
        Some(awake) if *awake != 0 => u64::from(BPF_RB_NO_WAKEUP),
        _ => 0,
    }
}

/// Sends a record of fixed size; counts it as lost in `class` when the ring is full.
#[inline(always)]
pub fn send<T>(record: &T, class: u32, time_ns: u64) {
    // SAFETY: the record is valid for its own size.
    if !unsafe { output(core::ptr::from_ref(record).cast(), size_of::<T>() as u64) } {
        counters::lost(class, time_ns);
    }
}

/// Sends `bytes` bytes from `from` and says whether the ring took them.
///
/// # Safety
/// `from` must be valid for `bytes` bytes.
#[inline(always)]
pub unsafe fn output(from: *const u8, bytes: u64) -> bool {
    let ring = (&raw const RING).cast_mut().cast();
    // SAFETY: the caller vouches for `from`; RING is a map that the loader has created.
    unsafe { bpf_ringbuf_output(ring, from.cast_mut().cast(), bytes, wakeup()) == 0 }
}
