//! Which processes are left out, by rules that the collector makes of the configuration.
//!
//! It is decided when a program is started, and holds until the process starts another or ends: what it
//! does until then, its own forks and its end included, is counted as filtered and not sent, and those
//! that it forks are left out like it. What is found of a process stands in a map; what the map has no
//! room for is recorded rather than lost. Without rules nothing of this is asked: the verifier drops
//! what hangs on [`FILTERS`], a constant to it.
//!
//! Walks write names leaf first. So what lies below a path ends with that path's names, and a rule is a
//! comparison of ends, eight bytes at a time. It is made in a program of its own, reached by a tail call
//! behind the walk of the program's path, and once more behind that of the cgroup when there are rules
//! about cgroups.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{Array, HashMap, LruHashMap, ProgramArray};
use aya_ebpf::programs::BtfTracePointContext;
use bygone_probe_abi::{
    CLASS_EXEC, ENDED_MARKS_MAX, EXEC_CGROUP_WALKED, EXEC_PATH_WALKED, EXEC_SNAPSHOT,
    FILTER_CGROUPS, FILTER_PARENTS, FILTER_PATHS, FILTER_USERS, FILTER_USERS_MAX, Header,
    KIND_LEFT_OUT, LeftOutRecord, MARK_LEFT_OUT, MARK_PARENT, MARKS_MAX, Mark, Process,
    REACH_BELOW, RULE_WORDS, RULES_MAX, Rule, Slot, TAIL_BYTES, WALK_NONE,
};

use crate::offsets::{
    COLLECTOR, FILE_INODE, FILTER_RULES, FILTERS, INODE_NUMBER, MM_EXE_FILE, TASK_MM,
    TASK_REAL_PARENT, TASK_TGID,
};
use crate::read::{int, long};
use crate::{counters, ring, scratch, walk};

/// The rules. The collector sets the size and fills it before anything is attached.
#[map]
static RULES: Array<Rule> = Array::with_max_entries(RULES_MAX, 0);

/// Users whose programs are left out, likewise.
#[map]
static USERS: HashMap<u32, u8> = HashMap::with_max_entries(FILTER_USERS_MAX, 0);

/// What was found of processes, by their ids. The collector makes it small when there are no rules.
#[map]
static MARKS: LruHashMap<u32, Mark> = LruHashMap::with_max_entries(MARKS_MAX, 0);

/// Left out until their end, which came: what the kernel does of their account after that.
#[map]
static ENDED_MARKS: LruHashMap<u32, Mark> = LruHashMap::with_max_entries(ENDED_MARKS_MAX, 0);

/// Not 0 once all processes were looked at for the first time.
#[map]
static LOOKED: Array<u32> = Array::with_max_entries(1, 0);

/// Whether rules are to be compared with what was found running. Later looks leave nothing out: who was
/// recorded stays so until it starts another program, whatever its user, parent or cgroup became.
#[inline(always)]
pub fn is_first_look() -> bool {
    LOOKED.get(0).is_some_and(|looked| *looked == 0)
}

/// Whether there are rules of some of these kinds: `FILTER_…` flags.
#[inline(always)]
pub fn has(kinds: u32) -> bool {
    FILTERS.load() & kinds != 0
}

/// Whether there are any.
#[inline(always)]
pub fn any() -> bool {
    FILTERS.load() != 0
}

/// Whether there are any that a process may fall under: the collector and what it starts never do when it
/// audits itself, since it sees by them whether the probes still work.
#[inline(always)]
pub fn concerns(process: &Process, parent: &Process) -> bool {
    any() && process.pid != COLLECTOR.load() && parent.pid != COLLECTOR.load()
}

/// Whether a task is what the collector starts to audit itself.
#[inline(always)]
pub fn is_audit(task: u64) -> bool {
    let collector = COLLECTOR.load();
    collector != 0 && int(long(task, &TASK_REAL_PARENT), &TASK_TGID) == collector
}

/// Whether what a process does is left out.
#[inline(always)]
pub fn leaves_out(process: &Process) -> bool {
    any() && (marks(process) & MARK_LEFT_OUT != 0 || has_ended(process))
}

/// Whether a process was left out and has had its exit: what it does until it is gone, such as telling
/// its parent, is left out, too.
#[inline(always)]
fn has_ended(process: &Process) -> bool {
    // SAFETY: the entry lives at least until this program ends; its fields are plain numbers.
    ENDED_MARKS
        .get_ptr(process.pid)
        .is_some_and(|mark| unsafe { (*mark).start_ns } == process.start_ns)
}

/// Forgets a process that ends, and says whether it was left out.
#[inline(always)]
pub fn end(process: &Process) -> bool {
    if forget(process) & MARK_LEFT_OUT == 0 {
        return false;
    }
    let mark = Mark { start_ns: process.start_ns, marks: MARK_LEFT_OUT, reserved: 0 };
    // What cannot be noted is recorded.
    let _noted = ENDED_MARKS.insert(process.pid, mark, 0);
    true
}

/// What is noted of a process: `MARK_…` flags.
#[inline(always)]
pub fn marks(process: &Process) -> u32 {
    let Some(mark) = MARKS.get_ptr(process.pid) else {
        return 0;
    };
    // SAFETY: the entry lives at least until this program ends; its fields are plain numbers.
    let mark = unsafe { *mark };
    if mark.start_ns == process.start_ns { mark.marks } else { 0 }
}

/// What is noted of a process that has started another program, or ends; it is forgotten.
#[inline(always)]
pub fn forget(process: &Process) -> u32 {
    let before = marks(process);
    // Also when it is of an earlier process of this id. Nothing is lost if there is none.
    let _removed = MARKS.remove(process.pid);
    before
}

/// A new process is what its creator is, until it starts a program. Says whether it is left out.
#[inline(always)]
pub fn inherit(creator: &Process, new: &Process) -> bool {
    let marks = marks(creator);
    if marks != 0 {
        note(new, marks);
    }
    marks & MARK_LEFT_OUT != 0
}

/// What can be said of a process without a path: by its user, and by its parent.
#[inline(always)]
pub fn by_identity(uid: u32, parent: &Process) -> u32 {
    if has(FILTER_USERS) && USERS.get_ptr(uid).is_some() {
        return MARK_LEFT_OUT;
    }
    if has(FILTER_PARENTS) && marks(parent) & MARK_PARENT != 0 {
        return MARK_LEFT_OUT;
    }
    0
}

/// Leaves a process out from now on that was what `before` says. Who recorded it is told, so that it
/// is not waited for; should the ring be full, its end will be missed there.
#[inline(always)]
pub fn leave_out(process: Process, before: u32, marks: u32, time_ns: u64) {
    note(&process, marks);
    if before & MARK_LEFT_OUT != 0 {
        return;
    }
    let length = size_of::<LeftOutRecord>() as u32;
    let header = Header { kind: KIND_LEFT_OUT, length, time_ns };
    let record = LeftOutRecord { header, process };
    // SAFETY: the record is valid for its own size.
    unsafe { ring::output((&raw const record).cast(), u64::from(length)) };
}

/// A process of which this cannot be noted is recorded.
#[inline(always)]
fn note(process: &Process, marks: u32) {
    let mark = Mark { start_ns: process.start_ns, marks, reserved: 0 };
    let _noted = MARKS.insert(process.pid, mark, 0);
}

/// Compares what was walked with the rules, and goes on with what is not left out.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn filter(context: BtfTracePointContext) -> i32 {
    step(&context, &walk::WALK);
    0
}

/// The program's path, or after the last walk the cgroup; then the next walk by a tail call through
/// `programs`, or the end of the record.
#[inline(always)]
pub fn step<C: EbpfContext>(context: &C, programs: &ProgramArray) {
    let Some(slot_pointer) = scratch::claimed() else {
        return;
    };
    // SAFETY: the slot is ours and lives as long as the map.
    let slot = unsafe { &mut *slot_pointer };
    let is_last = slot.walk == WALK_NONE;
    let is_later_look = slot.record.flags & EXEC_SNAPSHOT != 0 && !is_first_look();
    if !is_later_look && concerns(&slot.record.process, &slot.record.parent) {
        compare(slot, is_last);
    }
    if slot.marks & MARK_LEFT_OUT != 0 {
        let time_ns = slot.record.header.time_ns;
        leave_out(slot.record.process, slot.marks_before, slot.marks, time_ns);
        if slot.record.flags & EXEC_SNAPSHOT == 0 {
            counters::filtered(CLASS_EXEC, time_ns);
        } else {
            take_back(slot);
        }
        scratch::release(slot_pointer);
        return;
    }
    if slot.marks != 0 && (is_last || !has(FILTER_CGROUPS)) {
        note(&slot.record.process, slot.marks);
        if slot.record.flags & EXEC_SNAPSHOT != 0 {
            take_back(slot);
        }
    }
    if !is_last {
        // SAFETY: the context is the one this program was given, and the entry has the same type.
        unsafe { programs.tail_call(context, walk::NEXT) };
        // Only reached when the tail call was refused: the record goes without what is missing.
    }
    walk::finish(slot);
    scratch::release(slot_pointer);
}

/// A process that was found running may have started another program while it was looked at, of which
/// nothing was noted, or something else: then what was noted is taken back.
#[inline(always)]
fn take_back(slot: &mut Slot) {
    let file = long(long(slot.task, &TASK_MM), &MM_EXE_FILE);
    if long(long(file, &FILE_INODE), &INODE_NUMBER) != slot.record.inode {
        forget(&slot.record.process);
    }
}

/// Adds to the slot's marks what the rules say of the names that were walked last.
#[inline(always)]
fn compare(slot: &mut Slot, is_cgroup: bool) {
    let (kinds, bytes, walked) = if is_cgroup {
        (FILTER_CGROUPS, slot.record.cgroup_len, EXEC_CGROUP_WALKED)
    } else {
        (FILTER_PATHS | FILTER_PARENTS, slot.record.path_len, EXEC_PATH_WALKED)
    };
    // Hidden from the compiler, or it drops the check that the verifier needs to see.
    let end = core::hint::black_box(slot.tail_len);
    if slot.record.flags & walked == 0 || end > TAIL_BYTES as u64 {
        return;
    }
    let window = slot.window.as_mut_ptr();
    // The last bytes of the names, whatever stands before them when they are fewer: the record lies
    // before the tail, so that the address is within the slot.
    let from = slot.tail.as_ptr().wrapping_add(end as usize).wrapping_sub(RULE_WORDS * 8);
    // SAFETY: the window has RULE_WORDS words; any address may be asked for.
    unsafe { bpf_probe_read_kernel(window.cast(), RULE_WORDS as u32 * 8, from.cast()) };
    let mut index = 0;
    while index < RULES_MAX {
        if index >= FILTER_RULES.load() {
            break;
        }
        let Some(rule) = RULES.get_ptr(index) else {
            break;
        };
        index += 1;
        // SAFETY: the entry lives as long as the map, and nobody writes it.
        let rule = unsafe { &*rule };
        if rule.what & kinds != 0 && matches(window, bytes, rule) {
            slot.marks |= if rule.what == FILTER_PARENTS { MARK_PARENT } else { MARK_LEFT_OUT };
        }
    }
}

/// Whether names of so many bytes, of which the last stand in the window, are those of the rule or lie
/// below them.
#[inline(always)]
fn matches(window: *const u64, bytes: u32, rule: &Rule) -> bool {
    if bytes != rule.bytes {
        if rule.reach != REACH_BELOW || bytes < rule.bytes {
            return false;
        }
        // A name ends before those of the rule: the byte before them is a terminator.
        let last = RULE_WORDS as u64 * 8 - 1;
        let before = core::hint::black_box(last.wrapping_sub(u64::from(rule.bytes)));
        if before > last {
            return false;
        }
        // SAFETY: the byte is in the window.
        if unsafe { *window.cast::<u8>().add(before as usize) } != 0 {
            return false;
        }
    }
    let mut index = RULE_WORDS;
    while index > 0 {
        index -= 1;
        // SAFETY: the window has RULE_WORDS words.
        let mut word = unsafe { *window.add(index) };
        let is_first = index as u32 == rule.first;
        if is_first {
            word &= rule.mask;
        }
        if word != rule.words[index] {
            return false;
        }
        if is_first {
            return true;
        }
    }
    false
}
