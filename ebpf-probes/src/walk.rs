//! From a dentry up to the root, across mounts: the absolute path from the root of the mount
//! namespace of the process, also when the process has another root (`chroot`).
//!
//! Two walks in one program are too much for the verifier of older kernels, so each is a program of
//! its own, reached by a tail call; the last one, that of the cgroup, also sends the record. Rules that
//! leave processes out are a program between them (see `filter`).
//! Components are written leaf first, each with its NUL, and put in order by the collector.

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::ProgramArray;
use aya_ebpf::programs::BtfTracePointContext;
use bygone_probe_abi::{
    CLASS_EXEC, COMPONENT_MAX, COMPONENTS_MAX, EXEC_CGROUP_WALKED, EXEC_CWD_DETACHED,
    EXEC_CWD_TRUNCATED, EXEC_CWD_WALKED, EXEC_PATH_DETACHED, EXEC_PATH_TRUNCATED, EXEC_PATH_WALKED,
    EXEC_ROOT_PASSED, EXEC_SNAPSHOT, ExecRecord, FILTER_CGROUPS, FILTER_PARENTS, FILTER_PATHS,
    PATH_MAX, Slot, TAIL_BYTES, WALK_CGROUP, WALK_CWD, WALK_NONE, WALK_PATH,
};

use crate::offsets::{
    DENTRY_NAME, DENTRY_PARENT, MNT_NS_ANONYMOUS, MNT_NS_INUM, MOUNT_NS, MOUNT_PARENT, MOUNT_POINT,
    MOUNT_VFSMOUNT, SUPER_ROOT, VFSMOUNT_ROOT, VFSMOUNT_SUPER,
};
use crate::read::{Probing, Window, has, int, long, string};
use crate::{cgroup, counters, filter, ring, scratch, snapshot};

/// Entry of `walk` in the arrays of programs.
pub const NEXT: u32 = 0;
/// Entry of `parts`.
pub const PARTS: u32 = 1;
/// Entry of `filter`, there when there are rules about paths.
const FILTER: u32 = 2;

/// The collector fills the entries after loading.
#[map]
pub static WALK: ProgramArray = ProgramArray::with_max_entries(3, 0);

/// How a walk ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the root.
    Root,
    /// At a dentry that hangs on no directory, or at the top of a mount that hangs in no namespace.
    Detached,
    /// Before the root, because the limit was reached.
    Truncated,
}

/// Goes on in the program of an entry. Returns only when the kernel refuses.
#[inline(always)]
pub fn start(context: &BtfTracePointContext, entry: u32) {
    // SAFETY: the context is the one this program was given, and the entry has the same type.
    unsafe { WALK.tail_call(context, entry) };
}

/// Walks what the slot says is next, and sends the record after the last walk.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn walk(context: BtfTracePointContext) -> i32 {
    step(&context, &WALK);
    0
}

/// One walk; then the other by a tail call through `programs`, or the end of the record.
#[inline(always)]
pub fn step<C: EbpfContext>(context: &C, programs: &ProgramArray) {
    let Some(slot_pointer) = scratch::claimed() else {
        return;
    };
    // SAFETY: the slot is ours and lives as long as the map.
    let slot = unsafe { &mut *slot_pointer };
    if slot.walk != WALK_CGROUP {
        let is_path = slot.walk == WALK_PATH;
        climb_directory(slot);
        if is_path && filter::has(FILTER_PATHS | FILTER_PARENTS) {
            // SAFETY: the context is the one this program was given, and the entry has the same type.
            unsafe { programs.tail_call(context, FILTER) };
        }
        // SAFETY: the context is the one this program was given, and the entry has the same type.
        unsafe { programs.tail_call(context, NEXT) };
        // Only reached when the tail call was refused: the record goes without what is missing.
    } else {
        let before = slot.tail_len;
        if cgroup::climb(slot) {
            slot.record.flags |= EXEC_CGROUP_WALKED;
        }
        slot.record.cgroup_len = (slot.tail_len - before) as u32;
        if filter::has(FILTER_CGROUPS) {
            slot.walk = WALK_NONE;
            // SAFETY: as above.
            unsafe { programs.tail_call(context, FILTER) };
            // Only reached when the tail call was refused: what rules say is not known, so it goes.
        }
    }
    finish(slot);
    scratch::release(slot_pointer);
}

/// The walk of the program's path or of the working directory.
#[inline(always)]
fn climb_directory(slot: &mut Slot) {
    let before = slot.tail_len;
    let end = climb(slot);
    let written = (slot.tail_len - before) as u32;
    if slot.walk == WALK_PATH {
        slot.record.path_len = written;
        slot.record.flags |= match end {
            End::Root => EXEC_PATH_WALKED,
            End::Detached => EXEC_PATH_DETACHED,
            End::Truncated => EXEC_PATH_TRUNCATED,
        };
        slot.walk = WALK_CWD;
        slot.walk_dentry = slot.cwd_dentry;
        slot.walk_mount = slot.cwd_mount;
    } else {
        slot.record.cwd_len = written;
        slot.record.flags |= match end {
            End::Root => EXEC_CWD_WALKED,
            End::Detached => EXEC_CWD_DETACHED,
            End::Truncated => EXEC_CWD_TRUNCATED,
        };
        slot.walk = WALK_CGROUP;
    }
}

/// Appends the components from the slot's dentry up.
#[inline(always)]
pub fn climb(slot: &mut Slot) -> End {
    let mut dentry = slot.walk_dentry;
    if dentry == 0 {
        return End::Truncated;
    }
    let mut mount = slot.walk_mount;
    let mut root = long(mount, &VFSMOUNT_ROOT);
    let before = slot.tail_len;
    let limit = before + PATH_MAX as u64;
    // The root of the process matters for the program's path only.
    let process_root = if slot.walk == WALK_PATH { slot.root_dentry } else { 0 };
    let mut end = End::Truncated;
    let mut count = 0;
    while count < COMPONENTS_MAX {
        count += 1;
        if dentry == process_root && mount == slot.root_mount {
            slot.record.root_len = (slot.tail_len - before) as u32;
            slot.record.flags |= EXEC_ROOT_PASSED;
        }
        if dentry == root {
            let is_first = slot.walk == WALK_PATH && mount == slot.walk_mount;
            if is_first && is_whole(mount, root) {
                slot.record.mount_components = count - 1;
            }
            let outer = mount.wrapping_sub(u64::from(MOUNT_VFSMOUNT.load()));
            let parent = long(outer, &MOUNT_PARENT);
            if parent == outer {
                end = if hangs_free(outer) { End::Detached } else { End::Root };
                break;
            }
            dentry = long(outer, &MOUNT_POINT);
            mount = parent.wrapping_add(u64::from(MOUNT_VFSMOUNT.load()));
            root = long(mount, &VFSMOUNT_ROOT);
            continue;
        }
        let window = Window::<Probing, 6>::of(&mut slot.window, dentry);
        if !append(slot, limit, window.long(&DENTRY_NAME)) {
            break;
        }
        let parent = window.long(&DENTRY_PARENT);
        if parent == dentry {
            end = End::Detached;
            break;
        }
        dentry = parent;
    }
    if end == End::Detached && slot.tail_len + PATH_MAX as u64 == limit {
        // The walk began at the top of the mount: that is the first name, and the only one.
        append(slot, limit, long(dentry, &DENTRY_NAME));
    }
    end
}

/// Whether a mount shows its file system from the root on.
#[inline(always)]
fn is_whole(mount: u64, root: u64) -> bool {
    if !has(&VFSMOUNT_SUPER) || !has(&SUPER_ROOT) {
        return false;
    }
    long(long(mount, &VFSMOUNT_SUPER), &SUPER_ROOT) == root
}

/// Whether a mount that is its own parent belongs to no namespace: it was unmounted lazily while in
/// use (no namespace at all), or never mounted (an anonymous one, whose inode is 0 or, since 6.18, one
/// for all of them; see `prepend_path` in fs/d_path.c). The kernel's internal mounts have an error
/// in place of the namespace, and count as the root.
#[inline(always)]
fn hangs_free(mount: u64) -> bool {
    /// Errors in place of a pointer are from here on (`IS_ERR`).
    const ERRORS: u64 = (-4095_i64) as u64;
    if !has(&MOUNT_NS) {
        return false;
    }
    let namespace = long(mount, &MOUNT_NS);
    if namespace == 0 {
        return true;
    }
    if namespace >= ERRORS || !has(&MNT_NS_INUM) {
        return false;
    }
    let inode = int(namespace, &MNT_NS_INUM);
    inode == 0 || inode == MNT_NS_ANONYMOUS.load()
}

/// Appends one name with its NUL; false when there is no room.
#[inline(always)]
fn append(slot: &mut Slot, limit: u64, name: u64) -> bool {
    // Hidden from the compiler, or it drops the check that the verifier needs to see.
    let offset = core::hint::black_box(slot.tail_len);
    if offset > limit || offset > (TAIL_BYTES - COMPONENT_MAX) as u64 {
        return false;
    }
    // SAFETY: the tail has COMPONENT_MAX bytes from `offset` on.
    let read =
        unsafe { string(slot.tail.as_mut_ptr().add(offset as usize), COMPONENT_MAX as u32, name) };
    slot.tail_len = offset + read;
    read != 0
}

/// Appends the script's path and sends the record.
#[inline(always)]
pub fn finish(slot: &mut Slot) {
    let offset = core::hint::black_box(slot.tail_len);
    if slot.script != 0 && offset <= (TAIL_BYTES - PATH_MAX) as u64 {
        // SAFETY: the tail has PATH_MAX bytes from `offset` on.
        let read = unsafe {
            string(slot.tail.as_mut_ptr().add(offset as usize), PATH_MAX as u32, slot.script)
        };
        slot.record.script_len = read as u32;
        slot.tail_len = offset + read;
    }
    let tail_len = core::hint::black_box(slot.tail_len);
    let mut sent = false;
    if tail_len <= TAIL_BYTES as u64 {
        let bytes = size_of::<ExecRecord>() as u64 + tail_len;
        slot.record.header.length = bytes as u32;
        let slot_pointer: *const Slot = slot;
        // SAFETY: the tail follows the record in the slot without a hole.
        sent = unsafe { ring::output((&raw const (*slot_pointer).record).cast(), bytes) };
    }
    if sent {
        return;
    }
    if slot.record.flags & EXEC_SNAPSHOT != 0 {
        snapshot::count_lost();
    } else {
        counters::lost(CLASS_EXEC, slot.record.header.time_ns);
    }
}
