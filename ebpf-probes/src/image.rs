//! Files mapped to be executed: shared objects, and whatever else a process maps so by itself.
//!
//! Told at the beginning of `mmap(2)`, as memory made executable is. A content that is known by device,
//! inode, change time and size costs a look into a map: what is recorded by default is its first
//! mapping. The path is walked in a program of its own, as that of an exec is.
//!
//! A module's file goes the same way from `finit_module(2)`, uncounted: it completes the event of the
//! module, which the kernel tells without one.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{map, tracepoint};
use aya_ebpf::maps::{LruHashMap, ProgramArray};
use aya_ebpf::programs::TracePointContext;
use bygone_probe_abi::{
    CLASS_IMAGE, Header, IMAGE_FILE_TIMES, IMAGE_MODULE, IMAGE_PATH_DETACHED, IMAGE_PATH_TRUNCATED,
    IMAGE_PATH_WALKED, IMAGES_FIRST, IMAGES_MAX, IMAGES_NONE, ImageKey, ImageRecord, KIND_IMAGE,
    Slot, TAIL_BYTES, WALK_IMAGE, WINDOW_WORDS,
};

use crate::call::{ARGUMENTS, NUMBER, PROT_EXEC, field};
use crate::offsets::{
    FILE_DENTRY, FILE_INODE, FILE_MOUNT, IMAGES, INODE_CTIME, INODE_CTIME_NSEC, INODE_GID,
    INODE_LINKS, INODE_MODE, INODE_NUMBER, INODE_SIZE, INODE_SUPER, INODE_UID, SUPER_DEVICE,
    SUPER_MAGIC,
};
use crate::read::{Probing, Window, has, int, long, member_or};
use crate::walk::{End, NEXT};
use crate::{act, call, counters, files, filter, namespaces, scratch, task, walk};

/// The right to load modules, by its bit.
const CAP_SYS_MODULE: u64 = 1 << 16;

/// `MAP_ANONYMOUS` of `mmap(2)`.
const MAP_ANONYMOUS: u64 = 0x20;

/// What was mapped before. The least recently mapped is forgotten first.
#[map]
static MAPPED: LruHashMap<ImageKey, u32> = LruHashMap::with_max_entries(IMAGES_MAX, 0);

/// The one entry in use is `image_walk`; the collector fills it after loading.
#[map]
static IMAGE_WALK: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Beginning of `mmap(2)`, which programs call all the time, for the most part for what is not to be
/// executed.
#[tracepoint]
pub fn mmap_enter(context: TracePointContext) -> i32 {
    let protection: u64 = field(&context, ARGUMENTS + 2 * 8);
    if protection & PROT_EXEC == 0 {
        return 0;
    }
    if field::<u64>(&context, ARGUMENTS + 3 * 8) & MAP_ANONYMOUS != 0 {
        call::begin::<4>(&context);
        return 0;
    }
    if IMAGES.load() == IMAGES_NONE {
        return 0;
    }
    let file = files::of_descriptor(field::<u64>(&context, ARGUMENTS + 4 * 8) as u32);
    let inode = long(file, &FILE_INODE);
    // No such descriptor: the call will fail.
    if inode == 0 {
        return 0;
    }
    let key = key(inode);
    if IMAGES.load() == IMAGES_FIRST && MAPPED.get_ptr(&key).is_some() {
        return 0;
    }
    let current = task::current();
    // The audit's own process would take the first mapping of what others map.
    if filter::is_audit(current) || filter::leaves_out(&task::process::<Probing>(current)) {
        let time_ns = task::boot_ns();
        counters::seen(CLASS_IMAGE, time_ns);
        counters::filtered(CLASS_IMAGE, time_ns);
        return 0;
    }
    if IMAGES.load() == IMAGES_FIRST && !note_first(&key) {
        return 0;
    }
    let time_ns = task::boot_ns();
    counters::seen(CLASS_IMAGE, time_ns);
    if !tell(&context, file, &key, protection as u32, 0, time_ns) {
        lost(&key, time_ns);
    }
    0
}

/// Beginning of `finit_module(2)`.
#[tracepoint]
pub fn module_enter(context: TracePointContext) -> i32 {
    // The kernel refuses who has not the right, after this.
    let (_, effective) = act::credentials(task::current());
    if effective & CAP_SYS_MODULE == 0 {
        return 0;
    }
    let file = files::of_descriptor(field::<u64>(&context, ARGUMENTS) as u32);
    let inode = long(file, &FILE_INODE);
    if inode != 0 {
        // Without a slot the module's event goes without its file.
        let _told = tell(&context, file, &key(inode), 0, IMAGE_MODULE, task::boot_ns());
    }
    0
}

#[inline(always)]
fn key(inode: u64) -> ImageKey {
    let mut words = [0; WINDOW_WORDS];
    let window = Window::<Probing, 16>::of(&mut words, inode);
    ImageKey {
        inode: window.long(&INODE_NUMBER),
        ctime: window.member_or(&INODE_CTIME, 0),
        file_bytes: window.long(&INODE_SIZE),
        device: int(window.long(&INODE_SUPER), &SUPER_DEVICE),
        ctime_nanoseconds: window.int(&INODE_CTIME_NSEC),
    }
}

/// Notes a content as mapped, and says whether that was the first time: of several that map it at the
/// same time one is the first.
#[inline(always)]
fn note_first(key: &ImageKey) -> bool {
    /// `EEXIST`.
    const EXISTS: i32 = -17;
    // What cannot be noted is told.
    MAPPED.insert(key, 1, u64::from(BPF_NOEXIST)) != Err(EXISTS)
}

/// Counts a mapping as lost, and forgets its content, so that the next one is told.
#[inline(always)]
fn lost(key: &ImageKey, time_ns: u64) {
    counters::lost(CLASS_IMAGE, time_ns);
    // It may not be there.
    let _removed = MAPPED.remove(key);
}

/// Fills a record and goes on with the walk of the path. Returns only when that is not possible, with
/// false.
#[inline(always)]
fn tell(
    context: &TracePointContext,
    file: u64,
    key: &ImageKey,
    protection: u32,
    flags: u32,
    time_ns: u64,
) -> bool {
    let Some(slot_pointer) = scratch::claim() else {
        return false;
    };
    // SAFETY: the slot is ours and lives as long as the map.
    let slot = unsafe { &mut *slot_pointer };
    slot.walk = WALK_IMAGE;
    slot.walk_dentry = long(file, &FILE_DENTRY);
    slot.walk_mount = long(file, &FILE_MOUNT);
    slot.tail_len = size_of::<ImageRecord>() as u64;
    // SAFETY: the record is all integers, has room in the tail, and is ours while the slot is.
    let record = unsafe { &mut *record(slot) };
    let current = task::current();
    let inode = long(file, &FILE_INODE);
    record.header = Header { kind: KIND_IMAGE, length: 0, time_ns };
    record.actor = task::process::<Probing>(current);
    record.tid = bpf_get_current_pid_tgid() as u32;
    record.uid = task::owner(current).0;
    record.call = field::<u64>(context, NUMBER) as u32;
    record.flags = if has(&INODE_CTIME) { flags | IMAGE_FILE_TIMES } else { flags };
    record.mount_namespace = namespaces::of::<Probing>(current).mount;
    record.device = key.device;
    record.mode = u32::from(member_or::<u16>(inode, &INODE_MODE, 0));
    record.owner_uid = int(inode, &INODE_UID);
    record.owner_gid = int(inode, &INODE_GID);
    record.file_system = long(long(inode, &INODE_SUPER), &SUPER_MAGIC) as u32;
    record.links = member_or(inode, &INODE_LINKS, u32::MAX);
    record.ctime_nanoseconds = key.ctime_nanoseconds;
    record.ctime = key.ctime;
    record.inode = key.inode;
    record.file_bytes = key.file_bytes;
    record.protection = protection;
    record.path_len = 0;
    // SAFETY: the context is the one this program was given, and the entry has the same type.
    unsafe { IMAGE_WALK.tail_call(context, NEXT) };
    // Only reached when the tail call was refused.
    scratch::release(slot_pointer);
    false
}

/// The walk of the path, and the end of the record.
#[tracepoint]
pub fn image_walk(_context: TracePointContext) -> i32 {
    let Some(slot_pointer) = scratch::claimed() else {
        return 0;
    };
    // SAFETY: the slot is ours and lives as long as the map.
    let slot = unsafe { &mut *slot_pointer };
    let before = slot.tail_len;
    let end = walk::climb(slot);
    let length = core::hint::black_box(slot.tail_len);
    // SAFETY: the record was filled by the program before this one.
    let record = unsafe { &mut *record(slot) };
    record.path_len = (length - before) as u32;
    record.flags |= match end {
        End::Root => IMAGE_PATH_WALKED,
        End::Detached => IMAGE_PATH_DETACHED,
        End::Truncated => IMAGE_PATH_TRUNCATED,
    };
    record.header.length = length as u32;
    let mut sent = false;
    if length <= TAIL_BYTES as u64 {
        // SAFETY: the record and its path are `length` bytes from the beginning of the tail.
        sent = unsafe { act::output(slot.tail.as_ptr(), length) };
    }
    if !sent && record.flags & IMAGE_MODULE == 0 {
        let ImageRecord { inode, ctime, file_bytes, device, ctime_nanoseconds, .. } = *record;
        let key = ImageKey { inode, ctime, file_bytes, device, ctime_nanoseconds };
        lost(&key, record.header.time_ns);
    }
    scratch::release(slot_pointer);
    0
}

/// Where the record is built: at the beginning of the tail, which is aligned to 8 as the slot's sizes
/// show.
#[inline(always)]
fn record(slot: &mut Slot) -> *mut ImageRecord {
    slot.tail.as_mut_ptr().cast()
}
