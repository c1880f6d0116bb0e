//! A signal was sent: the tracepoint `signal_generate`.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use bygone_probe_abi::{ACT_BY_KERNEL, ACT_SIGNAL, CLASS_SIGNAL, SIGNALS_ALL, SIGNALS_NONE};

use crate::offsets::{SIGHAND_ACTION, SIGINFO_CODE, SIGNALS, TASK_SIGHAND};
use crate::read::{Probing, at, has, int, long};
use crate::{act, task};

/// `SEND_SIG_NOINFO` and `SEND_SIG_PRIV` in place of a pointer (include/linux/sched/signal.h).
const NO_INFO: u64 = 0;
const BY_KERNEL: u64 = 1;

/// `TRACE_SIGNAL_DELIVERED` of `include/trace/events/signal.h`.
const DELIVERED: u32 = 0;

const SIGKILL: u32 = 9;

/// Signals whose default is to stop, to go on, or nothing: SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN,
/// SIGTTOU, SIGURG, SIGWINCH. The numbers are those of every architecture that Bygone runs on.
const HARMLESS: u64 = 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 21 | 1 << 22 | 1 << 23 | 1 << 28;

/// Bytes of `struct k_sigaction`: a `struct sigaction` of the kernel, whose first member is the handler.
const ACTION_BYTES: u64 = 32;

/// `signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, int group,
/// int result)`, in the context of the sender.
#[raw_tracepoint(tracepoint = "signal_generate")]
pub fn signal(context: RawTracePointContext) -> i32 {
    let number: u32 = context.arg(0);
    let info: u64 = context.arg(1);
    let target: u64 = context.arg(2);
    let result: u32 = context.arg(4);
    if SIGNALS.load() == SIGNALS_NONE || !is_wanted(number, target, result) {
        return 0;
    }
    let Some(mut entry) = act::begin(CLASS_SIGNAL, ACT_SIGNAL) else {
        return 0;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the record is ours until it is submitted.
    let record = unsafe { &mut *record };
    record.target = task::process::<Probing>(target);
    record.numbers[0] = u64::from(number);
    record.numbers[1] = match info {
        NO_INFO | BY_KERNEL => 0,
        info => u64::from(int(info, &SIGINFO_CODE)),
    };
    record.numbers[2] = u64::from(task::owner(target).0);
    record.numbers[3] = u64::from(result);
    if info == BY_KERNEL || (info > BY_KERNEL && record.numbers[1] as i32 > 0) {
        record.flags |= ACT_BY_KERNEL;
    }
    act::submit(entry);
    0
}

/// Whether a signal is recorded: all, or those that will end the target by default, and those to a
/// process of another user that do more than tell it something.
#[inline(always)]
fn is_wanted(number: u32, target: u64, result: u32) -> bool {
    if SIGNALS.load() == SIGNALS_ALL {
        return true;
    }
    if number < 64 && HARMLESS >> number & 1 != 0 {
        return false;
    }
    let (own, _) = task::owner(task::current());
    if own != task::owner(target).0 {
        return true;
    }
    result == DELIVERED && (number == SIGKILL || handler(number, target) == 0)
}

/// The handler of a signal: 0 is the default, 1 to ignore it, which is 1 as well when nothing is known.
#[inline(always)]
fn handler(number: u32, target: u64) -> u64 {
    if number == 0 || !has(&TASK_SIGHAND) || !has(&SIGHAND_ACTION) {
        return 1;
    }
    let hand: u64 = long(target, &TASK_SIGHAND);
    let actions = hand.wrapping_add(u64::from(SIGHAND_ACTION.load()));
    at(actions.wrapping_add(u64::from(number - 1) * ACTION_BYTES))
}
