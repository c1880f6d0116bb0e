//! Probing reads of kernel memory.

use core::mem::MaybeUninit;

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use bygone_probe_abi::ABSENT;

/// Types of which every bit pattern, zeros included, is a value.
pub trait Integer: Copy {}
impl Integer for u16 {}
impl Integer for u32 {}
impl Integer for i32 {}
impl Integer for i64 {}
impl Integer for u64 {}

/// The integer at `address`, 0 when it cannot be read.
#[inline(always)]
pub fn at<T: Integer>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes size_of::<T>() bytes in any case: what it read, or zeros.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const core::ffi::c_void,
        );
        value.assume_init()
    }
}

/// The integer in `member` of the struct at `base`, 0 when it cannot be read, `absent` when the
/// running kernel has no such member.
#[inline(always)]
pub fn member_or<T: Integer>(base: u64, member: &Global<u32>, absent: T) -> T {
    let offset = member.load();
    if offset == ABSENT {
        return absent;
    }
    at(base.wrapping_add(u64::from(offset)))
}

/// The 32-bit integer in `member` of the struct at `base`, 0 when there is none.
#[inline(always)]
pub fn int(base: u64, member: &Global<u32>) -> u32 {
    member_or(base, member, 0)
}

/// The pointer or 64-bit integer in `member` of the struct at `base`, 0 when there is none.
#[inline(always)]
pub fn long(base: u64, member: &Global<u32>) -> u64 {
    member_or(base, member, 0)
}

/// Whether the running kernel has `member`.
#[inline(always)]
pub fn has(member: &Global<u32>) -> bool {
    member.load() != ABSENT
}

/// Copies the string at `address` with its NUL to `to`, at most `bytes_max` of it, and returns how
/// many bytes that were; 0 when it cannot be read.
///
/// # Safety
/// `to` must be valid for `bytes_max` bytes.
#[inline(always)]
pub unsafe fn string(to: *mut u8, bytes_max: u32, address: u64) -> u64 {
    // SAFETY: the caller vouches for `to`; any address may be asked for.
    let read = unsafe {
        bpf_probe_read_kernel_str(to.cast(), bytes_max, address as *const core::ffi::c_void)
    };
    if read < 0 { 0 } else { read as u64 }
}
