//! Reads of kernel memory.
//!
//! A pointer that the verifier knows the type of, as those given to a program of the type BTF tracepoint
//! and those read from there on, is followed by a load, which costs next to nothing ([`Typed`]). Any
//! other address is read by a helper, which costs some 20 ns each time ([`Probing`]). Both give 0 where
//! memory cannot be read. A pointer is a typed one no more once it was kept in a map or added to by a
//! number that is not the same at each run. A member that is marked `__rcu` may be null to the verifier
//! where the kernel's types tell of the mark, as those that clang has built do, and may then not even be
//! added to: of those only what verifiers list as safe (`BTF_TYPE_SAFE_RCU`) is followed by loads.

use core::marker::PhantomData;
use core::mem::MaybeUninit;

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use bygone_probe_abi::{ABSENT, WINDOW_WORDS};

/// Types of which every bit pattern, zeros included, is a value.
pub trait Integer: Copy {}
impl Integer for u16 {}
impl Integer for u32 {}
impl Integer for i32 {}
impl Integer for i64 {}
impl Integer for u64 {}

/// A way to read.
pub trait Access {
    /// Whether several members of a struct are read at once ([`Window`]).
    const AT_ONCE: bool;

    /// The integer at `address`, 0 when it cannot be read.
    fn at<T: Integer>(address: u64) -> T;

    /// The integer in `member` of the struct at `base`, 0 when it cannot be read, `absent` when the
    /// running kernel has no such member.
    #[inline(always)]
    fn member_or<T: Integer>(base: u64, member: &Global<u32>, absent: T) -> T {
        let offset = member.load();
        if offset == ABSENT {
            return absent;
        }
        Self::at(base.wrapping_add(u64::from(offset)))
    }

    /// The 32-bit integer in `member` of the struct at `base`, 0 when there is none.
    #[inline(always)]
    fn int(base: u64, member: &Global<u32>) -> u32 {
        Self::member_or(base, member, 0)
    }

    /// The pointer or 64-bit integer in `member` of the struct at `base`, 0 when there is none.
    #[inline(always)]
    fn long(base: u64, member: &Global<u32>) -> u64 {
        Self::member_or(base, member, 0)
    }
}

/// By the helper, from any address.
pub struct Probing;

impl Access for Probing {
    const AT_ONCE: bool = true;

    #[inline(always)]
    fn at<T: Integer>(address: u64) -> T {
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
}

/// By a load, from a pointer whose type the verifier knows.
pub struct Typed;

impl Access for Typed {
    const AT_ONCE: bool = false;

    #[inline(always)]
    fn at<T: Integer>(address: u64) -> T {
        // SAFETY: the verifier refuses the program unless a member of this size is there, and the kernel
        // answers a fault with 0. Volatile, so that the load is made as it stands here.
        unsafe { (address as *const T).read_volatile() }
    }
}

/// [`Probing::at`].
#[inline(always)]
pub fn at<T: Integer>(address: u64) -> T {
    Probing::at(address)
}

/// [`Probing::member_or`].
#[inline(always)]
pub fn member_or<T: Integer>(base: u64, member: &Global<u32>, absent: T) -> T {
    Probing::member_or(base, member, absent)
}

/// [`Probing::int`].
#[inline(always)]
pub fn int(base: u64, member: &Global<u32>) -> u32 {
    Probing::int(base, member)
}

/// [`Probing::long`].
#[inline(always)]
pub fn long(base: u64, member: &Global<u32>) -> u64 {
    Probing::long(base, member)
}

/// Whether the running kernel has `member`.
#[inline(always)]
pub fn has(member: &Global<u32>) -> bool {
    member.load() != ABSENT
}

/// The first words of a kernel struct, or those from one of its members on, read at once into the
/// slot where that is cheaper: a call of the helper costs more than the bytes it copies. Never more words than the struct
/// has, lest the read touch a page that is not there. The slot has one window, so the last counts.
pub struct Window<A, const WORDS: usize> {
    access: PhantomData<A>,
    base: u64,
    first: u32,
    words: *const u8,
}

impl<A: Access, const WORDS: usize> Window<A, WORDS> {
    /// Those of the struct at `base`; zeros when it cannot be read.
    #[inline(always)]
    pub fn of(slot_window: &mut [u64; WINDOW_WORDS], base: u64) -> Self {
        Self::read(slot_window, base, 0)
    }

    /// Those from `member` on. The kernel must have it.
    #[inline(always)]
    pub fn from(slot_window: &mut [u64; WINDOW_WORDS], base: u64, member: &Global<u32>) -> Self {
        Self::read(slot_window, base, member.load())
    }

    #[inline(always)]
    fn read(slot_window: &mut [u64; WINDOW_WORDS], base: u64, first: u32) -> Self {
        const { assert!(WORDS <= WINDOW_WORDS) };
        let words = slot_window.as_mut_ptr();
        let from = base.wrapping_add(u64::from(first)) as *const core::ffi::c_void;
        if A::AT_ONCE {
            // SAFETY: the slot has the words; any address may be asked for.
            unsafe { bpf_probe_read_kernel(words.cast(), WORDS as u32 * 8, from) };
        }
        Self { access: PhantomData, base, first, words: words.cast_const().cast() }
    }

    /// As [`Access::member_or`]; a member that lies outside is read by itself.
    #[inline(always)]
    pub fn member_or<T: Integer>(&self, member: &Global<u32>, absent: T) -> T {
        let offset = member.load();
        if offset == ABSENT {
            return absent;
        }
        if !A::AT_ONCE {
            return A::at(self.base.wrapping_add(u64::from(offset)));
        }
        // Hidden from the compiler, or it drops the check that the verifier needs to see.
        let inside = core::hint::black_box(u64::from(offset.wrapping_sub(self.first)));
        if inside > (WORDS * 8 - size_of::<T>()) as u64 {
            return A::at(self.base.wrapping_add(u64::from(offset)));
        }
        // SAFETY: `inside` and the integer's size end within the words, which live as long as the
        // slot, and the kernel aligns its members.
        unsafe { self.words.add(inside as usize).cast::<T>().read() }
    }

    /// As [`Access::int`].
    #[inline(always)]
    pub fn int(&self, member: &Global<u32>) -> u32 {
        self.member_or(member, 0)
    }

    /// As [`Access::long`].
    #[inline(always)]
    pub fn long(&self, member: &Global<u32>) -> u64 {
        self.member_or(member, 0)
    }
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
