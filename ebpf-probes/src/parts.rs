//! Arguments too long for the record of an exec, and the environment: pieces over a ring of their own.
//!
//! They go before the record itself, so that who has read the record finds all of them read. A user's
//! processes may send so many bytes a second: a storm of long argument lists takes the room of other
//! long ones, never that of the records.

use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_ringbuf_output};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{LruHashMap, RingBuf};
use aya_ebpf::programs::BtfTracePointContext;
use bygone_probe_abi::{
    ARGUMENTS_MAX, CLASS_EXEC, EXEC_ARGUMENTS_FAULT, EXEC_ARGUMENTS_TRUNCATED, EXEC_ENVIRONMENT,
    EXEC_ENVIRONMENT_FAULT, EXEC_PARTS_BUDGET, EXEC_PARTS_FULL, Header, KIND_PART, PART_ARGUMENTS,
    PART_BUDGET, PART_ENVIRONMENT, PART_MAX, PART_RECORD_MAX, PART_RUNS_MAX, PARTS_PER_RUN,
    PartRecord, Slot,
};

use crate::offsets::{ENVIRONMENT, MM_ENV_START, TASK_MM};
use crate::read::{has, long};
use crate::{counters, ring, scratch, task, walk};

/// Users whose budgets are kept.
const USERS_MAX: u32 = 1024;

const SECOND_NS: u64 = 1_000_000_000;

/// The ring of the pieces. The collector sets the size before loading.
#[map]
static BULK: RingBuf = RingBuf::with_byte_size(4 * 1024 * 1024, 0);

/// What a user's processes sent in a second.
#[repr(C)]
#[derive(Clone, Copy)]
struct Spent {
    second: u64,
    bytes: u64,
}

#[map]
static SPENT: LruHashMap<u32, Spent> = LruHashMap::with_max_entries(USERS_MAX, 0);

/// Sets the slot, whose `part_base` is where the arguments begin, to the pieces that there are to
/// send; false when there are none.
#[inline(always)]
pub fn prepare(slot: &mut Slot) -> bool {
    let start = slot.part_base;
    slot.part_runs = 0;
    slot.part_what = PART_ARGUMENTS;
    slot.part_start = start + ARGUMENTS_MAX as u64;
    slot.part_end = start.wrapping_add(slot.record.arguments_bytes);
    let environment = ENVIRONMENT.load() != 0 && has(&MM_ENV_START);
    if environment {
        slot.record.flags |= EXEC_ENVIRONMENT;
    }
    let longer = slot.record.flags & (EXEC_ARGUMENTS_TRUNCATED | EXEC_ARGUMENTS_FAULT);
    if longer == EXEC_ARGUMENTS_TRUNCATED {
        return true;
    }
    slot.part_start = slot.part_end;
    environment && slot.record.environment_bytes > 0
}

/// Sends pieces, calls itself while there are more, then goes on with the walks.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn parts(context: BtfTracePointContext) -> i32 {
    let Some(slot_pointer) = scratch::claimed() else {
        return 0;
    };
    // SAFETY: the slot is ours and lives as long as the map.
    let slot = unsafe { &mut *slot_pointer };
    slot.part_runs += 1;
    let mut count = 0;
    while count < PARTS_PER_RUN {
        count += 1;
        if slot.part_start >= slot.part_end && !environment_next(slot) {
            break;
        }
        if !send(slot) {
            slot.part_start = slot.part_end;
        }
    }
    let more = slot.part_start < slot.part_end || slot.part_what == PART_ARGUMENTS;
    if more && count == PARTS_PER_RUN && slot.part_runs < PART_RUNS_MAX {
        walk::start(&context, walk::PARTS);
    }
    walk::start(&context, walk::NEXT);
    // Only reached when the tail call was refused.
    let time_ns = slot.record.header.time_ns;
    scratch::release(slot_pointer);
    counters::lost(CLASS_EXEC, time_ns);
    0
}

/// Goes over from the arguments to the environment; false when that is not wanted or was sent.
#[inline(always)]
fn environment_next(slot: &mut Slot) -> bool {
    if slot.part_what != PART_ARGUMENTS {
        return false;
    }
    slot.part_what = PART_ENVIRONMENT;
    if slot.record.flags & EXEC_ENVIRONMENT == 0 {
        return false;
    }
    let start = long(long(task::current(), &TASK_MM), &MM_ENV_START);
    slot.part_base = start;
    slot.part_start = start;
    slot.part_end = start.wrapping_add(slot.record.environment_bytes);
    slot.part_start < slot.part_end
}

/// Sends the next piece; false when no more of this text can be sent.
#[inline(always)]
fn send(slot: &mut Slot) -> bool {
    let left = slot.part_end - slot.part_start;
    let bytes = core::hint::black_box(if left < PART_MAX as u64 { left } else { PART_MAX as u64 });
    if bytes == 0 || bytes > PART_MAX as u64 {
        return false;
    }
    if !may_spend(slot.record.uid, slot.record.header.time_ns, bytes) {
        slot.record.flags |= EXEC_PARTS_BUDGET;
        return false;
    }
    // The tail behind the arguments is free until the walks.
    // SAFETY: the tail has PART_RECORD_MAX bytes from ARGUMENTS_MAX on.
    let record = unsafe { slot.tail.as_mut_ptr().add(ARGUMENTS_MAX) }.cast::<PartRecord>();
    let length = size_of::<PartRecord>() as u64 + bytes;
    let header =
        Header { kind: KIND_PART, length: length as u32, time_ns: slot.record.header.time_ns };
    // SAFETY: the place is within the tail, which is aligned to 8 as the slot's sizes show.
    unsafe {
        *record = PartRecord {
            header,
            process: slot.record.process,
            offset: slot.part_start.wrapping_sub(slot.part_base),
            what: slot.part_what,
            bytes: bytes as u32,
        };
    }
    // SAFETY: PART_MAX bytes follow the record in the tail.
    let text = unsafe { record.add(1) };
    let from = slot.part_start as *const core::ffi::c_void;
    // SAFETY: `text` is valid for `bytes` bytes; any address may be asked for.
    if unsafe { bpf_probe_read_user(text.cast(), bytes as u32, from) } != 0 {
        slot.record.flags |= match slot.part_what {
            PART_ARGUMENTS => EXEC_ARGUMENTS_FAULT,
            _ => EXEC_ENVIRONMENT_FAULT,
        };
        return false;
    }
    let length = core::hint::black_box(length);
    if length > PART_RECORD_MAX as u64 {
        return false;
    }
    let bulk = (&raw const BULK).cast_mut().cast();
    // SAFETY: the record and its text are valid for `length` bytes; BULK is a map that the loader has
    // created.
    if unsafe { bpf_ringbuf_output(bulk, record.cast(), length, ring::wakeup()) } != 0 {
        slot.record.flags |= EXEC_PARTS_FULL;
        return false;
    }
    slot.record.parts += 1;
    slot.part_start += bytes;
    true
}

/// Takes bytes from the user's budget of this second; false when it is used up. Two CPUs may both
/// take the last of it.
#[inline(always)]
fn may_spend(uid: u32, time_ns: u64, bytes: u64) -> bool {
    let second = time_ns / SECOND_NS;
    if let Some(spent) = SPENT.get_ptr_mut(uid) {
        // SAFETY: the entry lives at least until this program ends; its fields are plain numbers.
        let spent = unsafe { &mut *spent };
        if spent.second != second {
            spent.second = second;
            spent.bytes = 0;
        }
        spent.bytes += bytes;
        return spent.bytes <= PART_BUDGET;
    }
    SPENT.insert(uid, Spent { second, bytes }, 0).is_ok()
}
