//! A process replaced its program: the tracepoint `sched_process_exec`.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use bygone_probe_abi::{
    ARGUMENTS_MAX, CLASS_EXEC, EXEC_ARGUMENTS_FAULT, EXEC_ARGUMENTS_TRUNCATED, EXEC_FILE,
    EXEC_FILE_TIMES, ExecRecord, FILTER_PARENTS, Header, KIND_EXEC, MARK_LEFT_OUT, Process, Slot,
    TTY_MAX, WALK_PATH,
};

use crate::offsets::{
    BPRM_ENVC, BPRM_FILENAME, BPRM_INTERPRETER, CRED_EFFECTIVE, CRED_EGID, CRED_EUID, CRED_FSGID,
    CRED_FSUID, CRED_GID, CRED_PERMITTED, CRED_SGID, CRED_SUID, CRED_UID, FILE_DENTRY, FILE_INODE,
    FILE_MOUNT, FS_CWD_DENTRY, FS_CWD_MOUNT, FS_ROOT_DENTRY, FS_ROOT_MOUNT, INODE_ATIME,
    INODE_CTIME, INODE_CTIME_NSEC, INODE_GID, INODE_LINKS, INODE_MODE, INODE_MTIME, INODE_NUMBER,
    INODE_SIZE, INODE_SUPER, INODE_UID, MM_ARG_END, MM_ARG_START, MM_ENV_END, MM_ENV_START,
    MM_EXE_FILE, PID_NUMBERS, PID_TYPE_SESSION, SIGNAL_PIDS, SIGNAL_TTY, SUPER_DEVICE, SUPER_MAGIC,
    TASK_AUDIT_SESSION, TASK_FS, TASK_LOGIN_UID, TASK_MM, TASK_SIGNAL, TTY_NAME, UPID_NR,
};
use crate::read::{Access, Probing, Typed, Window, has, string};
use crate::spare::programs;
use crate::{cgroup, counters, filter, namespaces, parts, scratch, task, walk};

/// Bytes of arguments read at once, so that a page that is not there costs only what follows it.
const ARGUMENTS_STEP: u64 = 2048;

programs!("sched_process_exec" CLASS_EXEC record, exec exec_spare exec_last);

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`, in the
/// context of the process, when the new program is in place.
#[inline(always)]
fn record(context: &BtfTracePointContext) {
    let task: u64 = context.arg(0);
    let tid: u32 = context.arg(1);
    let bprm: u64 = context.arg(2);
    let time_ns = task::boot_ns();
    counters::seen(CLASS_EXEC, time_ns);
    let (mut before, mut marks) = (0, 0);
    let (process, parent) = (task::process::<Typed>(task), task::parent::<Typed>(task));
    if filter::concerns(&process, &parent) {
        before = filter::forget(&process);
        marks = filter::by_identity(task::owner(task).0, &parent);
        // With rules about parents it is to be known, too, what this one is to its children.
        if marks & MARK_LEFT_OUT != 0 && !filter::has(FILTER_PARENTS) {
            filter::leave_out(process, before, marks, time_ns);
            counters::filtered(CLASS_EXEC, time_ns);
            return;
        }
    }
    let Some(slot) = scratch::claim() else {
        counters::lost(CLASS_EXEC, time_ns);
        return;
    };
    // SAFETY: the slot is ours and lives as long as the map.
    let slot_ref = unsafe { &mut *slot };
    fill::<Typed>(slot_ref, task, (process, parent), time_ns);
    slot_ref.marks_before = before;
    slot_ref.marks = marks;
    slot_ref.record.tid = tid;
    slot_ref.script = script(bprm);
    slot_ref.record.environment_count = Typed::int(bprm, &BPRM_ENVC);
    read_arguments(slot_ref);
    if parts::prepare(slot_ref) {
        walk::start(context, walk::PARTS);
    } else {
        walk::start(context, walk::NEXT);
    }
    // Only reached when the tail call was refused.
    scratch::release(slot);
    counters::lost(CLASS_EXEC, time_ns);
}

/// Address of the path as given to exec when the program is another than that, 0 otherwise.
#[inline(always)]
fn script(bprm: u64) -> u64 {
    if !has(&BPRM_FILENAME) || !has(&BPRM_INTERPRETER) {
        return 0;
    }
    let filename = Typed::long(bprm, &BPRM_FILENAME);
    if filename == Typed::long(bprm, &BPRM_INTERPRETER) { 0 } else { filename }
}

/// Fills what the tracepoint and the iterator have in common, and where the walks start.
#[inline(always)]
pub fn fill<A: Access>(
    slot: &mut Slot,
    task: u64,
    (process, parent): (Process, Process),
    time_ns: u64,
) {
    slot.record.header = Header { kind: KIND_EXEC, length: 0, time_ns };
    slot.record.process = process;
    slot.record.parent = parent;
    slot.record.flags = 0;
    slot.record.arguments_len = 0;
    slot.record.path_len = 0;
    slot.record.cwd_len = 0;
    slot.record.script_len = 0;
    slot.record.cgroup_len = 0;
    slot.record.environment_count = 0;
    slot.record.root_len = 0;
    slot.record.parts = 0;
    slot.record.mount_components = u32::MAX;
    slot.record.reserved = 0;
    slot.tail_len = 0;
    slot.walk = WALK_PATH;
    slot.task = task;
    slot.script = 0;
    credentials::<A>(slot, task);
    surroundings::<A>(&mut slot.record, task);
    let mm = A::long(task, &TASK_MM);
    let ranges = Window::<A, 4>::from(&mut slot.window, mm, &MM_ARG_START);
    let start = ranges.long(&MM_ARG_START);
    slot.part_base = start;
    slot.record.arguments_bytes = ranges.long(&MM_ARG_END).saturating_sub(start);
    slot.record.environment_bytes =
        ranges.long(&MM_ENV_END).saturating_sub(ranges.long(&MM_ENV_START));
    let file = A::long(mm, &MM_EXE_FILE);
    slot.walk_dentry = A::long(file, &FILE_DENTRY);
    slot.walk_mount = A::long(file, &FILE_MOUNT);
    program_file::<A>(slot, A::long(file, &FILE_INODE));
    let fs = A::long(task, &TASK_FS);
    slot.cwd_dentry = A::long(fs, &FS_CWD_DENTRY);
    slot.cwd_mount = A::long(fs, &FS_CWD_MOUNT);
    slot.root_dentry = A::long(fs, &FS_ROOT_DENTRY);
    slot.root_mount = A::long(fs, &FS_ROOT_MOUNT);
    let (node, id) = cgroup::node::<A>(task);
    slot.cgroup_node = node;
    slot.record.cgroup_id = id;
}

#[inline(always)]
fn credentials<A: Access>(slot: &mut Slot, task: u64) {
    let record = &mut slot.record;
    let cred = Window::<Probing, 9>::of(&mut slot.window, task::cred(task));
    record.uid = cred.int(&CRED_UID);
    record.euid = cred.int(&CRED_EUID);
    record.suid = cred.int(&CRED_SUID);
    record.fsuid = cred.int(&CRED_FSUID);
    record.gid = cred.int(&CRED_GID);
    record.egid = cred.int(&CRED_EGID);
    record.sgid = cred.int(&CRED_SGID);
    record.fsgid = cred.int(&CRED_FSGID);
    record.login_uid = A::member_or(task, &TASK_LOGIN_UID, u32::MAX);
    record.audit_session = A::member_or(task, &TASK_AUDIT_SESSION, u32::MAX);
    record.permitted = cred.long(&CRED_PERMITTED);
    record.effective = cred.long(&CRED_EFFECTIVE);
}

/// Session, terminal and namespaces.
#[inline(always)]
fn surroundings<A: Access>(record: &mut ExecRecord, task: u64) {
    record.session = session::<A>(task);
    let own = namespaces::of::<A>(task);
    record.pid_namespace = own.pid;
    record.mount_namespace = own.mount;
    record.network_namespace = own.network;
    record.user_namespace = own.user;
    record.tty = [0; TTY_MAX];
    let tty = A::long(A::long(task, &TASK_SIGNAL), &SIGNAL_TTY);
    if tty != 0 && has(&TTY_NAME) {
        let name = tty.wrapping_add(u64::from(TTY_NAME.load()));
        // SAFETY: the array has TTY_MAX bytes.
        unsafe { string(record.tty.as_mut_ptr(), TTY_MAX as u32, name) };
    }
}

/// The POSIX session in the initial pid namespace, whose number is the first.
#[inline(always)]
fn session<A: Access>(task: u64) -> u32 {
    let kind = PID_TYPE_SESSION.load();
    if !has(&SIGNAL_PIDS) || !has(&PID_NUMBERS) || !has(&UPID_NR) || !has(&PID_TYPE_SESSION) {
        return 0;
    }
    let pids = A::long(task, &TASK_SIGNAL).wrapping_add(u64::from(SIGNAL_PIDS.load()));
    let pid: u64 = A::at(pids.wrapping_add(u64::from(kind) * 8));
    Probing::int(pid.wrapping_add(u64::from(PID_NUMBERS.load())), &UPID_NR)
}

#[inline(always)]
fn program_file<A: Access>(slot: &mut Slot, inode: u64) {
    let record = &mut slot.record;
    let window = Window::<A, 16>::of(&mut slot.window, inode);
    record.inode = window.long(&INODE_NUMBER);
    record.mode = u32::from(window.member_or::<u16>(&INODE_MODE, 0));
    record.owner_uid = window.int(&INODE_UID);
    record.owner_gid = window.int(&INODE_GID);
    let file_system = window.long(&INODE_SUPER);
    record.device = A::int(file_system, &SUPER_DEVICE);
    record.file_system = A::long(file_system, &SUPER_MAGIC) as u32;
    record.file_bytes = window.long(&INODE_SIZE);
    record.links = window.member_or(&INODE_LINKS, u32::MAX);
    record.ctime_nanoseconds = window.int(&INODE_CTIME_NSEC);
    record.atime = window.member_or(&INODE_ATIME, 0);
    record.mtime = window.member_or(&INODE_MTIME, 0);
    record.ctime = window.member_or(&INODE_CTIME, 0);
    if inode != 0 {
        record.flags |= EXEC_FILE;
    }
    if has(&INODE_ATIME) && has(&INODE_MTIME) && has(&INODE_CTIME) {
        record.flags |= EXEC_FILE_TIMES;
    }
}

/// Copies the arguments as the kernel laid them out, up to the limit. The pages were written a
/// moment ago by exec; should one be gone nevertheless, what came before it is kept and marked.
#[inline(always)]
fn read_arguments(slot: &mut Slot) {
    let start = slot.part_base;
    let mut rest = slot.record.arguments_bytes;
    if rest > ARGUMENTS_MAX as u64 {
        rest = ARGUMENTS_MAX as u64;
        slot.record.flags |= EXEC_ARGUMENTS_TRUNCATED;
    }
    let mut read = 0;
    while read < ARGUMENTS_MAX as u64 {
        if rest == 0 {
            break;
        }
        let step = core::hint::black_box(if rest < ARGUMENTS_STEP { rest } else { ARGUMENTS_STEP });
        if step > ARGUMENTS_STEP {
            break;
        }
        // SAFETY: `read` is at most ARGUMENTS_MAX - ARGUMENTS_STEP, so the tail has the room.
        let to = unsafe { slot.tail.as_mut_ptr().add(read as usize) };
        let from = start.wrapping_add(read) as *const core::ffi::c_void;
        // SAFETY: `to` is valid for `step` bytes; any address may be asked for.
        if unsafe { bpf_probe_read_user(to.cast(), step as u32, from) } != 0 {
            slot.record.flags |= EXEC_ARGUMENTS_FAULT;
            break;
        }
        slot.tail_len = read + step;
        rest -= step;
        read += ARGUMENTS_STEP;
    }
    slot.record.arguments_len = slot.tail_len as u32;
}
