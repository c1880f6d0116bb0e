//! Records of what processes do to others, to the kernel, or to themselves.
//!
//! They have a size of their own and a ring of their own, which is small: what floods it takes no room
//! of the records of processes.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_ringbuf_output;
use aya_ebpf::macros::map;
use aya_ebpf::maps::RingBuf;
use aya_ebpf::maps::ring_buf::RingBufEntry;
use bygone_probe_abi::{
    ACT_SOURCE_MAX, ACT_TEXT_FAULT, ACT_TEXT_MAX, ACT_TYPE_MAX, ActRecord, Header, KIND_ACT,
    Process,
};

use crate::offsets::{
    CRED_EFFECTIVE, CRED_EGID, CRED_EUID, CRED_GID, CRED_SGID, CRED_SUID, CRED_UID, TASK_CRED,
};
use crate::read::{Probing, int, long};
use crate::{counters, filter, namespaces, ring, task};

/// Room for what a busy host does between two looks of the reader, 20 ms apart: some three thousand records.
#[map]
static ACTS: RingBuf = RingBuf::with_byte_size(2 * 1024 * 1024, 0);

/// A record in the ring that is being filled.
pub type Entry = RingBufEntry<ActRecord>;

/// Counts an act of the running process as seen and makes room for its record; counts it as lost when
/// there is none, and as filtered when what the process does is left out.
#[inline(always)]
pub fn begin(class: u32, act: u32) -> Option<Entry> {
    let time_ns = task::boot_ns();
    counters::seen(class, time_ns);
    let current = task::current();
    let actor = task::process::<Probing>(current);
    if filter::leaves_out(&actor) {
        counters::filtered(class, time_ns);
        return None;
    }
    let Some(mut entry) = ACTS.reserve::<ActRecord>(0) else {
        counters::lost(class, time_ns);
        return None;
    };
    let (uid, _) = task::owner(current);
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record, of which every field is written here.
    unsafe {
        (*record).header =
            Header { kind: KIND_ACT, length: size_of::<ActRecord>() as u32, time_ns };
        (*record).actor = actor;
        (*record).target = Process { pid: 0, reserved: 0, start_ns: 0 };
        (*record).tid = bpf_get_current_pid_tgid() as u32;
        (*record).uid = uid;
        (*record).act = act;
        (*record).flags = 0;
        (*record).call = 0;
        (*record).pid_namespace = namespaces::of::<Probing>(current).pid;
        (*record).reserved = 0;
        (*record).text_bytes = 0;
        (*record).returned = 0;
        (*record).numbers = [0; 6];
        (*record).ids = [[0; 6]; 2];
        (*record).effective = [0; 2];
        (*record).text = [0; ACT_TEXT_MAX];
        (*record).source = [0; ACT_SOURCE_MAX];
        (*record).file_system = [0; ACT_TYPE_MAX];
    }
    Some(entry)
}

/// Sends a record that is filled.
#[inline(always)]
pub fn submit(entry: Entry) {
    entry.submit(ring::wakeup());
}

/// Sends `bytes` bytes from `from` over the same ring and says whether it took them.
///
/// # Safety
/// `from` must be valid for `bytes` bytes.
#[inline(always)]
pub unsafe fn output(from: *const u8, bytes: u64) -> bool {
    let acts = (&raw const ACTS).cast_mut().cast();
    // SAFETY: the caller vouches for `from`; ACTS is a map that the loader has created.
    unsafe { bpf_ringbuf_output(acts, from.cast_mut().cast(), bytes, ring::wakeup()) == 0 }
}

/// Notes how much of the text was read.
#[inline(always)]
pub fn set_text(record: &mut ActRecord, read: i64) {
    if read > 0 {
        record.text_bytes = read as u32;
    } else {
        record.flags |= ACT_TEXT_FAULT;
    }
}

/// Real, effective and saved user, then group ids of a task, and its capabilities in effect.
#[inline(always)]
pub fn credentials(task: u64) -> ([u32; 6], u64) {
    let cred = long(task, &TASK_CRED);
    let ids = [
        int(cred, &CRED_UID),
        int(cred, &CRED_EUID),
        int(cred, &CRED_SUID),
        int(cred, &CRED_GID),
        int(cred, &CRED_EGID),
        int(cred, &CRED_SGID),
    ];
    (ids, long(cred, &CRED_EFFECTIVE))
}
