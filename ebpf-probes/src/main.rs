//! Programs that run in the kernel: they watch processes start, fork and end, and send each as one
//! record over one ring buffer; what is too long for a record goes over another before it.
//!
//! One file per hook. What the collector must agree with is in `bygone-probe-abi`. No offset of a
//! kernel struct is compiled in: the collector resolves them from the running kernel's BTF and
//! sets the globals of [`offsets`] before it loads this object.
//!
//! **Invariants:** every kernel pointer is followed with a probing read, or with a load that the verifier
//! has checked ([`read`]); both give 0 where memory is not readable. An event is counted as seen before
//! anything else is done with it, and as lost when its record cannot be sent; no loop is without a bound.
#![no_std]
#![no_main]
// One instruction in `counters`; building `core` for this target needs unstable features anyway.
#![feature(asm_experimental_arch)]

mod act;
mod call;
mod cgroup;
mod counters;
mod exec;
mod exit;
mod files;
mod filter;
mod fork;
mod image;
mod memory;
mod module;
mod namespaces;
mod offsets;
mod parts;
mod read;
mod ring;
mod scratch;
mod signal;
mod snapshot;
mod spare;
mod task;
mod walk;

/// The kernel lets only programs under the GPL call some of the helpers used here.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: nothing here panics, and the verifier would refuse a program that could.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
