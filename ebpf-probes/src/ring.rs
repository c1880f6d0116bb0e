//! The one ring buffer that carries every record, in the order in which they were sent.

use aya_ebpf::helpers::generated::bpf_ringbuf_output;
use aya_ebpf::macros::map;
use aya_ebpf::maps::RingBuf;

use crate::counters;

/// The collector sets the size before loading.
#[map]
static RING: RingBuf = RingBuf::with_byte_size(8 * 1024 * 1024, 0);

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
    // SAFETY: the caller vouches for `from`; RING is a map that the loader has created. Flags 0
    // wakes a reader that has caught up and no other.
    unsafe { bpf_ringbuf_output(ring, from.cast_mut().cast(), bytes, 0) == 0 }
}
