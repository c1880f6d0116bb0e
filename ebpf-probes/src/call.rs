//! System calls by which a process acts on others, on the kernel, or on its own rights.
//!
//! One program at the beginning of each notes the arguments, one at its end sends the record: both are
//! attached to the tracepoint of each call that is watched, and a map says by a call's number what it
//! is. A call that finds no room in the map of those on their way is counted as lost. Memory made
//! executable is told at the beginning alone: programs map memory all the time, and what the call
//! returns would cost each of them a second look.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_probe_read_user_str};
use aya_ebpf::macros::{map, tracepoint};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::TracePointContext;
use bygone_probe_abi::{
    ACT_TEXT_MAX, ActRecord, CALL_BPF, CALL_CREDENTIALS, CALL_MEMFD, CALL_MMAP, CALL_MOUNT,
    CALL_MOVE_MOUNT, CALL_MPROTECT, CALL_NONE, CALL_PIVOT_ROOT, CALL_PTRACE, CALL_READ_MEMORY,
    CALL_UNMOUNT, CALL_WRITE_MEMORY, CALLS_MAX, CLASS_BPF, CLASS_CREDENTIAL, CLASS_MEMFD,
    CLASS_MEMORY_EXEC, CLASS_MOUNT, CLASS_PTRACE, Call, SYSCALLS_MAX,
};

use crate::offsets::{TASK_PTRACE_ENTRY, TASK_PTRACED};
use crate::read::{Probing, at, has};
use crate::{act, counters, task};

/// What each system call does, by its number. The collector fills it.
#[map]
static SYSCALLS: Array<u32> = Array::with_max_entries(SYSCALLS_MAX, 0);

/// Calls on their way, by thread.
#[map]
static CALLS: HashMap<u64, Call> = HashMap::with_max_entries(CALLS_MAX, 0);

/// Offsets in the context of the tracepoints of system calls (`sys_enter_…/format` in tracefs).
pub const NUMBER: usize = 8;
pub const ARGUMENTS: usize = 16;
pub const RETURNED: usize = 16;

/// `PROT_EXEC` of `mmap(2)`.
pub const PROT_EXEC: u64 = 4;

/// Requests of `ptrace(2)` by which a process comes to control another, or changes it.
const PTRACE_TRACEME: u64 = 0;
const PTRACE_POKETEXT: u64 = 4;
const PTRACE_POKEUSER: u64 = 6;
const PTRACE_SETREGS: u64 = 13;
const PTRACE_ATTACH: u64 = 16;
const PTRACE_SETREGSET: u64 = 0x4205;
const PTRACE_SEIZE: u64 = 0x4206;

/// Commands of `bpf(2)`: those that load or attach a program.
const BPF_PROG_LOAD: u64 = 5;
const BPF_PROG_ATTACH: u64 = 8;
const BPF_RAW_TRACEPOINT_OPEN: u64 = 17;
const BPF_LINK_CREATE: u64 = 28;

/// Where the name of the program is in the arguments of `BPF_PROG_LOAD`.
const BPF_NAME_OFFSET: u64 = 48;

/// Declares the programs for the beginning of calls, by how many arguments they read: the kernel
/// attaches none that reads more than a call has.
macro_rules! enter {
    ($($name:ident $count:literal;)*) => {$(
        #[doc = concat!("Beginning of a watched call, of which ", $count, " arguments are noted.")]
        #[tracepoint]
        pub fn $name(context: TracePointContext) -> i32 {
            begin::<$count>(&context);
            0
        }
    )*};
}

enter! {
    call_enter_1 1;
    call_enter_2 2;
    call_enter_3 3;
    call_enter_4 4;
    call_enter_5 5;
}

/// The beginning of a watched call, of which so many arguments are noted.
#[inline(always)]
pub fn begin<const COUNT: usize>(context: &TracePointContext) {
    let Some((number, what)) = watched(context) else {
        return;
    };
    let mut call = Call { act: what, number, arguments: [0; 6], ids: [0; 6], effective: 0 };
    let mut index = 0;
    while index < COUNT {
        call.arguments[index] = field(context, ARGUMENTS + index * 8);
        index += 1;
    }
    if !may_matter(&call) {
        return;
    }
    if what == CALL_MMAP || what == CALL_MPROTECT {
        send_memory(&call);
        return;
    }
    if what == CALL_CREDENTIALS {
        let (ids, effective) = act::credentials(task::current());
        call.ids = ids;
        call.effective = effective;
    }
    if CALLS.insert(bpf_get_current_pid_tgid(), call, 0).is_err() {
        let time_ns = task::boot_ns();
        let class = class(what);
        counters::seen(class, time_ns);
        counters::lost(class, time_ns);
    }
}

/// Sends the record of memory that is to be executable.
#[inline(always)]
fn send_memory(call: &Call) {
    let Some(mut entry) = act::begin(CLASS_MEMORY_EXEC, call.act) else {
        return;
    };
    // SAFETY: the record is ours until it is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.call = call.number;
    record.numbers = call.arguments;
    act::submit(entry);
}

/// End of a watched call.
#[tracepoint]
pub fn call_exit(context: TracePointContext) -> i32 {
    let thread = bpf_get_current_pid_tgid();
    let Some(call) = CALLS.get_ptr(thread) else {
        return 0;
    };
    // SAFETY: the entry lives at least until this program ends, and only this thread writes it.
    let call = unsafe { *call };
    // It was there a moment ago, and nobody else removes it.
    let _removed = CALLS.remove(thread);
    let returned: i64 = field::<u64>(&context, RETURNED) as i64;
    let (after, effective) = act::credentials(task::current());
    if call.act == CALL_CREDENTIALS && after == call.ids && effective == call.effective {
        return 0;
    }
    let Some(mut entry) = act::begin(class(call.act), call.act) else {
        return 0;
    };
    // SAFETY: the record is ours until it is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.call = call.number;
    record.returned = returned;
    record.numbers = call.arguments;
    record.ids = [call.ids, after];
    record.effective = [call.effective, effective];
    text(record, &call);
    if call.act == CALL_PTRACE {
        traced(record);
    }
    act::submit(entry);
    0
}

/// The number of the call and what it does; `None` when it is not watched.
#[inline(always)]
fn watched(context: &TracePointContext) -> Option<(u32, u32)> {
    let number = field::<u64>(context, NUMBER) as u32;
    let what = *SYSCALLS.get(number)?;
    (what != CALL_NONE).then_some((number, what))
}

/// What the tracepoint says at an offset, a multiple of eight as those of all these fields are.
#[inline(always)]
pub fn field<T: crate::read::Integer>(context: &TracePointContext, offset: usize) -> T {
    // SAFETY: the context of these tracepoints is aligned and longer than any offset used here.
    unsafe { context.as_ptr().cast::<u8>().add(offset).cast::<T>().read() }
}

/// Whether a call can be one that is recorded, by its arguments.
#[inline(always)]
fn may_matter(call: &Call) -> bool {
    let [first, _, third, ..] = call.arguments;
    match call.act {
        CALL_PTRACE => {
            first == PTRACE_TRACEME
                || (first >= PTRACE_POKETEXT && first <= PTRACE_POKEUSER)
                || first == PTRACE_SETREGS
                || first == PTRACE_ATTACH
                || first == PTRACE_SETREGSET
                || first == PTRACE_SEIZE
        }
        CALL_MPROTECT => third & PROT_EXEC != 0,
        CALL_BPF => {
            first == BPF_PROG_LOAD
                || first == BPF_PROG_ATTACH
                || first == BPF_RAW_TRACEPOINT_OPEN
                || first == BPF_LINK_CREATE
        }
        _ => true,
    }
}

/// The class that a call is counted in.
#[inline(always)]
fn class(what: u32) -> u32 {
    match what {
        CALL_PTRACE | CALL_READ_MEMORY | CALL_WRITE_MEMORY => CLASS_PTRACE,
        CALL_CREDENTIALS => CLASS_CREDENTIAL,
        CALL_MOUNT | CALL_UNMOUNT | CALL_MOVE_MOUNT | CALL_PIVOT_ROOT => CLASS_MOUNT,
        CALL_MMAP | CALL_MPROTECT => CLASS_MEMORY_EXEC,
        CALL_MEMFD => CLASS_MEMFD,
        _ => CLASS_BPF,
    }
}

/// Reads the name or path that a call was given, from user memory at its end.
#[inline(always)]
fn text(record: &mut ActRecord, call: &Call) {
    let [first, second, third, fourth, ..] = call.arguments;
    let from = match call.act {
        CALL_MOUNT => second,
        CALL_UNMOUNT | CALL_PIVOT_ROOT | CALL_MEMFD => first,
        CALL_MOVE_MOUNT => fourth,
        CALL_BPF if first == BPF_PROG_LOAD => second.wrapping_add(BPF_NAME_OFFSET),
        CALL_BPF => {
            record.numbers[3] = u64::from(user::<u32>(second));
            return;
        }
        _ => return,
    };
    // SAFETY: the text has ACT_TEXT_MAX bytes; any address may be asked for.
    let read = unsafe {
        bpf_probe_read_user_str(
            record.text.as_mut_ptr().cast(),
            ACT_TEXT_MAX as u32,
            from as *const core::ffi::c_void,
        )
    };
    act::set_text(record, read);
    match call.act {
        CALL_MOUNT => {
            short(&mut record.source, first);
            short(&mut record.file_system, third);
        }
        CALL_PIVOT_ROOT => short(&mut record.source, second),
        CALL_BPF => record.numbers[3] = u64::from(user::<u32>(second)),
        _ => {}
    }
}

/// Reads a text that is at most as long as its place; what cannot be read leaves it empty.
#[inline(always)]
fn short<const N: usize>(to: &mut [u8; N], from: u64) {
    if from != 0 {
        let from = from as *const core::ffi::c_void;
        // SAFETY: the place has N bytes; any address may be asked for.
        unsafe { bpf_probe_read_user_str(to.as_mut_ptr().cast(), N as u32, from) };
    }
}

/// The integer at a user address, 0 when it cannot be read.
#[inline(always)]
fn user<T: crate::read::Integer>(address: u64) -> T {
    let mut value = core::mem::MaybeUninit::<T>::zeroed();
    let from = address as *const core::ffi::c_void;
    // SAFETY: the helper writes size_of::<T>() bytes; zeros are a value of every such type.
    unsafe {
        bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
        value.assume_init()
    }
}

/// Who is traced. The kernel puts a process that was just attached in front of the list of those that
/// its tracer traces; one that lets itself be traced is its own target.
#[inline(always)]
fn traced(record: &mut ActRecord) {
    if record.returned < 0 {
        return;
    }
    if record.numbers[0] == PTRACE_TRACEME {
        record.target = record.actor;
        return;
    }
    if !has(&TASK_PTRACED) || !has(&TASK_PTRACE_ENTRY) {
        return;
    }
    let head = task::current().wrapping_add(u64::from(TASK_PTRACED.load()));
    let first: u64 = at(head);
    let attached = record.numbers[0] == PTRACE_ATTACH || record.numbers[0] == PTRACE_SEIZE;
    // Of several traced ones it is not known here which was written to: the collector asks by its id.
    let second: u64 = at(first);
    if first != head && first != 0 && (attached || second == head) {
        record.target =
            task::process::<Probing>(first.wrapping_sub(u64::from(TASK_PTRACE_ENTRY.load())));
    }
}
