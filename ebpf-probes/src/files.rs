//! Open files of the running process.

use crate::offsets::{FILES_TABLE, TABLE_FILES, TABLE_SIZE, TASK_FILES};
use crate::read::{at, int, long};
use crate::task;

/// The `struct file` behind a descriptor that the running process names, 0 when there is none.
#[inline(always)]
pub fn of_descriptor(descriptor: u32) -> u64 {
    let table = table();
    // A descriptor below 0 is above any size.
    if descriptor >= int(table, &TABLE_SIZE) {
        return 0;
    }
    entry(table, descriptor)
}

/// The `struct file` behind a descriptor that the kernel has just given out, which is in the table.
#[inline(always)]
pub fn of_new_descriptor(descriptor: u32) -> u64 {
    entry(table(), descriptor)
}

#[inline(always)]
fn table() -> u64 {
    long(long(task::current(), &TASK_FILES), &FILES_TABLE)
}

#[inline(always)]
fn entry(table: u64, descriptor: u32) -> u64 {
    at(long(table, &TABLE_FILES).wrapping_add(u64::from(descriptor) * 8))
}
