//! How the C library's allocator keeps memory that was freed.
//!
//! By default each thread gets an arena of its own, and the size from which on a block is mapped by
//! itself grows up to 32 MiB with the blocks that are freed. A collector that takes in a storm and
//! seals it would so keep for good what it needed for a moment: 60 MiB instead of 39 after 300,000
//! events. With one arena and a fixed size, what is freed goes back to the system. The numbers are
//! those of `mallopt(3)`; other allocators are left as they are.
#![cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "the allocator's settings have no safe wrapper")
)]

/// Bytes from which on a block is mapped by itself, and unmapped when it is freed.
#[cfg(target_env = "gnu")]
const MAP_BYTES: i32 = 64 << 10;

/// Bytes that may stay free at the end of the heap.
#[cfg(target_env = "gnu")]
const TRIM_BYTES: i32 = 128 << 10;

/// Sets the allocator to keep little, for a process that runs for months. To be called before other
/// threads start, which would have taken arenas.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_MMAP_THRESHOLD, MAP_BYTES),
        (libc::M_TRIM_THRESHOLD, TRIM_BYTES),
    ] {
        // SAFETY: the function takes two numbers, and may be called at any time.
        if unsafe { libc::mallopt(parameter, value) } != 1 {
            tracing::debug!(parameter, value, "The allocator does not take this setting");
        }
    }
}

/// Gives memory that was freed back to the system: many small pieces, which the allocator would keep.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function only returns free pages of the allocator, and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
