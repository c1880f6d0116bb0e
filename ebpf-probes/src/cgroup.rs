//! The cgroup of a task.
//!
//! On a host with cgroup v1, or with both, processes stay at the root of the default hierarchy, and
//! where they are is told by the hierarchies of the controllers: `pids`, else `memory`.

use bygone_probe_abi::{
    ABSENT, CGROUP_COMPONENTS_MAX, CGROUP_MAX, COMPONENT_MAX, Slot, TAIL_BYTES,
};

use crate::offsets::{
    CGROUP_MEMORY, CGROUP_NODE, CGROUP_PIDS, CSS_CGROUP, CSS_SET_DEFAULT, CSS_SET_SUBSYSTEMS,
    KERNFS_ID, KERNFS_NAME, KERNFS_PARENT, TASK_CGROUPS,
};
use crate::read::{Access, Probing, Window, has, string};

/// The `kernfs_node` of the task's cgroup and its id, 0 where unknown.
#[inline(always)]
pub fn node<A: Access>(task: u64) -> (u64, u64) {
    let set = A::long(task, &TASK_CGROUPS);
    let mut node = A::long(A::long(set, &CSS_SET_DEFAULT), &CGROUP_NODE);
    if is_root::<A>(node) {
        let pids = controlled::<A>(set, CGROUP_PIDS.load());
        if is_root::<A>(pids) {
            let memory = controlled::<A>(set, CGROUP_MEMORY.load());
            if !is_root::<A>(memory) {
                node = memory;
            }
        } else {
            node = pids;
        }
    }
    // Of which hierarchy it is, and so whether it is a typed pointer, is lost on the verifier here.
    (node, Probing::long(node, &KERNFS_ID))
}

/// Whether a node has no parent, as when there is none at all.
#[inline(always)]
fn is_root<A: Access>(node: u64) -> bool {
    node == 0 || A::long(node, &KERNFS_PARENT) == 0
}

/// The node in the hierarchy of a controller, 0 when there is none.
#[inline(always)]
fn controlled<A: Access>(set: u64, controller: u32) -> u64 {
    if controller == ABSENT || !has(&CSS_SET_SUBSYSTEMS) {
        return 0;
    }
    let entry = set
        .wrapping_add(u64::from(CSS_SET_SUBSYSTEMS.load()))
        .wrapping_add(u64::from(controller) * 8);
    let state: u64 = A::at(entry);
    A::long(A::long(state, &CSS_CGROUP), &CGROUP_NODE)
}

/// Appends the names from the slot's cgroup up, leaf first, each with its NUL; true when that
/// reached the root, which has no name.
#[inline(always)]
pub fn climb(slot: &mut Slot) -> bool {
    let mut node = slot.cgroup_node;
    if node == 0 || !has(&KERNFS_PARENT) || !has(&KERNFS_NAME) {
        return false;
    }
    let limit = slot.tail_len + CGROUP_MAX as u64;
    let mut count = 0;
    while count < CGROUP_COMPONENTS_MAX {
        count += 1;
        let window = Window::<Probing, 4>::of(&mut slot.window, node);
        let parent = window.long(&KERNFS_PARENT);
        if parent == 0 {
            return true;
        }
        // Hidden from the compiler, or it drops the check that the verifier needs to see.
        let offset = core::hint::black_box(slot.tail_len);
        if offset > limit || offset > (TAIL_BYTES - COMPONENT_MAX) as u64 {
            return false;
        }
        // SAFETY: the tail has COMPONENT_MAX bytes from `offset` on.
        let to = unsafe { slot.tail.as_mut_ptr().add(offset as usize) };
        // SAFETY: as above.
        let read = unsafe { string(to, COMPONENT_MAX as u32, window.long(&KERNFS_NAME)) };
        if read == 0 {
            return false;
        }
        slot.tail_len = offset + read;
        node = parent;
    }
    false
}
