//! Arrays of the kernel's that the programs write and the collector reads, or the other way about, through
//! memory that both share.
//!
//! Asking bpf(2) for an element instead keeps the kernel from running programs at perf's tracepoints, which
//! those of system calls are, on that CPU until it has answered (`bpf_disable_instrumentation` in
//! include/linux/bpf.h); where the question is preempted, what other threads do there meanwhile is skipped.
//! Besides, the counters alone are a hundred questions a second.
//!
//! The kernel maps an array made with `BPF_F_MMAPABLE` since Linux 5.5, as one run of elements, each padded
//! to 8 bytes (`array_map_mmap` in kernel/bpf/arraymap.c). The programs add to words by single
//! instructions, so that a word is never seen half written.
#![expect(unsafe_code, reason = "memory is shared with the kernel")]

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Ebpf;
use aya::maps::{Map, MapData, MapError};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::attach_error::AttachError;

/// An array of words of 8 bytes, shared with the kernel.
#[derive(Debug)]
pub(crate) struct Words {
    start: NonNull<AtomicU64>,
    count: usize,
    /// Programs that are loaded later name its descriptor.
    array: Option<MapData>,
}

// SAFETY: the memory belongs to no thread, and words are read and written as one.
unsafe impl Send for Words {}

impl Words {
    /// Maps the array `name` of `count` words.
    ///
    /// # Errors
    /// When the programs have no such array, or the kernel refuses to map so much of it.
    pub(super) fn take(
        ebpf: &mut Ebpf,
        name: &'static str,
        count: usize,
    ) -> Result<Self, AttachError> {
        let Some(Map::Array(map)) = ebpf.take_map(name) else {
            return Err(AttachError::Part { name });
        };
        let mut words = Self::map(map.fd(), count)
            .map_err(|source| AttachError::Map { name, source: MapError::IoError(source) })?;
        words.array = Some(map);
        Ok(words)
    }

    fn map(descriptor: impl AsFd, count: usize) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let bytes = count * size_of::<AtomicU64>();
        // SAFETY: nothing else is at an address that the kernel chooses.
        let start = unsafe {
            mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, descriptor, 0)
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, count, array: None })
    }

    /// All words, in order.
    pub(crate) fn all(&self) -> &[AtomicU64] {
        // SAFETY: `count` words are mapped until this is dropped. They are aligned, since a mapping begins
        // with a page, and any bytes are a word.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }

    /// The word at `index`; 0 behind the end.
    pub(crate) fn get(&self, index: usize) -> u64 {
        self.all().get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: this was mapped by `map`, and no reference to it outlives `self`.
        let unmapped =
            unsafe { munmap(self.start.as_ptr().cast(), self.count * size_of::<AtomicU64>()) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    use super::*;

    #[test]
    fn words_are_what_the_other_side_writes() {
        let memory = memfd_create("bygone-words", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&memory, 4096).unwrap();
        let words = Words::map(&memory, 3).unwrap();
        rustix::io::pwrite(&memory, &7_u64.to_ne_bytes(), 8).unwrap();
        assert_eq!([0, 1, 2, 3].map(|index| words.get(index)), [0, 7, 0, 0]);
        words.all()[2].store(9, Ordering::Relaxed);
        let mut bytes = [0; 8];
        rustix::io::pread(&memory, &mut bytes, 16).unwrap();
        assert_eq!(u64::from_ne_bytes(bytes), 9);
        drop(words);
        assert!(Words::map(&memory, usize::MAX / 8).is_err());
    }
}
