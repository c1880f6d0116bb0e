//! The last thread of a process ended: the tracepoint `sched_process_exit`, one record per process.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::programs::BtfTracePointContext;
use bygone_probe_abi::{CLASS_EXIT, ExitRecord, Header, KIND_EXIT, Process};

use crate::offsets::{
    SIGNAL_FLAGS, SIGNAL_GROUP_EXIT_CODE, SIGNAL_LIVE, SIGNAL_READ, SIGNAL_RSS_MAX, SIGNAL_RUNTIME,
    SIGNAL_SYSTEM_TIME, SIGNAL_THREADS, SIGNAL_USER_TIME, SIGNAL_WRITTEN, TASK_EXIT_CODE,
    TASK_GROUP_LEADER, TASK_READ, TASK_RUNTIME, TASK_SIGNAL, TASK_SYSTEM_TIME, TASK_THREAD_NODE,
    TASK_USER_TIME, TASK_WRITTEN,
};
use crate::read::{Access, Probing, Typed, at, has};
use crate::spare::programs;
use crate::{counters, filter, ring, task};

/// `signal->flags`: the group was killed or ended as one, and `group_exit_code` says how.
const SIGNAL_GROUP_EXIT: u32 = 4;

/// What the kernel answers when a key is in a map already.
const EEXIST: i64 = 17;

/// Threads whose CPU time is added up one by one; those already gone are in the group's own sum.
const THREADS_MAX: u32 = 64;

/// Identity of a process whose end was already sent.
#[repr(C)]
struct Ended {
    pid: u64,
    start_ns: u64,
}

/// Processes whose end was sent lately, for kernels that do not say which thread was the last.
#[map]
static ENDED: LruHashMap<Ended, u8> = LruHashMap::with_max_entries(16_384, 0);

programs!(
    "sched_process_exit" CLASS_EXIT record_if_dead,
    exit_group_dead exit_dead_spare exit_dead_last
);

programs!(
    "sched_process_exit" CLASS_EXIT record_if_last,
    exit_live exit_live_spare exit_live_last
);

/// `sched_process_exit(struct task_struct *p, bool group_dead)`, where the tracepoint itself says
/// which thread was the last.
#[inline(always)]
fn record_if_dead(context: &BtfTracePointContext) {
    let group_dead: u64 = context.arg(1);
    if group_dead & 0xff != 0 {
        let ending: u64 = context.arg(0);
        send(ending, task::process::<Typed>(ending));
    }
}

/// `sched_process_exit(struct task_struct *p)` of older kernels. Two threads that end at once can
/// both find no thread alive, so the first to enter the process in a map sends the record. When the
/// map takes no entry, nobody knows who is first: the end counts as lost.
#[inline(always)]
fn record_if_last(context: &BtfTracePointContext) {
    let ending: u64 = context.arg(0);
    let signal = Typed::long(ending, &TASK_SIGNAL);
    if Typed::int(signal, &SIGNAL_LIVE) != 0 {
        return;
    }
    let process = task::process::<Typed>(ending);
    let key = Ended { pid: u64::from(process.pid), start_ns: process.start_ns };
    match ENDED.insert(key, 1, u64::from(BPF_NOEXIST)) {
        Ok(()) => send(ending, process),
        Err(error) if i64::from(error) == -EEXIST => {}
        Err(_) => {
            let time_ns = task::boot_ns();
            counters::seen(CLASS_EXIT, time_ns);
            counters::lost(CLASS_EXIT, time_ns);
        }
    }
}

#[inline(always)]
fn send(ending: u64, process: Process) {
    let time_ns = task::boot_ns();
    counters::seen(CLASS_EXIT, time_ns);
    if filter::any() && filter::end(&process) {
        counters::filtered(CLASS_EXIT, time_ns);
        return;
    }
    let signal = Typed::long(ending, &TASK_SIGNAL);
    let (uid, gid) = task::owner(ending);
    let usage = Usage::of(ending, signal);
    let record = ExitRecord {
        header: Header { kind: KIND_EXIT, length: size_of::<ExitRecord>() as u32, time_ns },
        process,
        parent: task::parent::<Typed>(ending),
        cpu_ns: usage.cpu_ns,
        user_ns: usage.user_ns,
        system_ns: usage.system_ns,
        rss_pages_max: Typed::long(signal, &SIGNAL_RSS_MAX),
        read_bytes: usage.read_bytes,
        written_bytes: usage.written_bytes,
        uid,
        gid,
        status: status(ending, signal),
        reserved: 0,
    };
    ring::send(&record, CLASS_EXIT, time_ns);
}

/// What wait(2) will say: the group's code if it ended as one, else the leader's.
#[inline(always)]
fn status(ending: u64, signal: u64) -> u32 {
    if Typed::int(signal, &SIGNAL_FLAGS) & SIGNAL_GROUP_EXIT != 0 {
        return Typed::int(signal, &SIGNAL_GROUP_EXIT_CODE);
    }
    Typed::int(Typed::long(ending, &TASK_GROUP_LEADER), &TASK_EXIT_CODE)
}

/// What a process has used.
struct Usage {
    cpu_ns: u64,
    user_ns: u64,
    system_ns: u64,
    read_bytes: u64,
    written_bytes: u64,
}

impl Usage {
    /// That of the threads already released plus that of those still listed. The sum of the released
    /// is read first: a thread released meanwhile is missed rather than counted twice, and the time
    /// since the scheduler last looked at this thread is missing, so this is a lower bound.
    #[inline(always)]
    fn of(ending: u64, signal: u64) -> Self {
        let mut usage = Self {
            cpu_ns: Typed::long(signal, &SIGNAL_RUNTIME),
            user_ns: Typed::long(signal, &SIGNAL_USER_TIME),
            system_ns: Typed::long(signal, &SIGNAL_SYSTEM_TIME),
            read_bytes: Typed::long(signal, &SIGNAL_READ),
            written_bytes: Typed::long(signal, &SIGNAL_WRITTEN),
        };
        if !has(&SIGNAL_THREADS) || !has(&TASK_THREAD_NODE) {
            return usage;
        }
        let head = signal.wrapping_add(u64::from(SIGNAL_THREADS.load()));
        let node_offset = u64::from(TASK_THREAD_NODE.load());
        let mut node: u64 = Typed::at(head);
        if node == ending.wrapping_add(node_offset) && Typed::at::<u64>(node) == head {
            usage.add::<Typed>(ending);
            return usage;
        }
        let mut count = 0;
        while count < THREADS_MAX {
            if node == head || node == 0 {
                break;
            }
            usage.add::<Probing>(node.wrapping_sub(node_offset));
            node = at(node);
            count += 1;
        }
        usage
    }

    /// Adds what a thread has used.
    #[inline(always)]
    fn add<A: Access>(&mut self, task: u64) {
        self.cpu_ns = self.cpu_ns.wrapping_add(A::long(task, &TASK_RUNTIME));
        self.user_ns = self.user_ns.wrapping_add(A::long(task, &TASK_USER_TIME));
        self.system_ns = self.system_ns.wrapping_add(A::long(task, &TASK_SYSTEM_TIME));
        self.read_bytes = self.read_bytes.wrapping_add(A::long(task, &TASK_READ));
        self.written_bytes = self.written_bytes.wrapping_add(A::long(task, &TASK_WRITTEN));
    }
}
