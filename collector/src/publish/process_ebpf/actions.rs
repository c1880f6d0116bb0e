//! From the record of an act to its event.

use bygone_probe_abi as abi;

use super::calls;
use super::decode::{key, known, real_ns};
use crate::events::{
    AccessAction, Action, ActionEvent, BpfAction, CredentialsAction, MemoryAccess,
    MemoryExecAction, MemoryFileAction, ModuleAction, MountAction, Rights, SignalAction, Target,
};
use crate::host::text::lossless;

/// Requests of `ptrace(2)` that are recorded.
const REQUESTS: &[(u64, &str)] = &[
    (0, "PTRACE_TRACEME"),
    (4, "PTRACE_POKETEXT"),
    (5, "PTRACE_POKEDATA"),
    (6, "PTRACE_POKEUSER"),
    (13, "PTRACE_SETREGS"),
    (16, "PTRACE_ATTACH"),
    (0x4205, "PTRACE_SETREGSET"),
    (0x4206, "PTRACE_SEIZE"),
];

/// Commands of `bpf(2)` that are recorded.
const COMMANDS: &[(u64, &str)] = &[
    (5, "BPF_PROG_LOAD"),
    (8, "BPF_PROG_ATTACH"),
    (17, "BPF_RAW_TRACEPOINT_OPEN"),
    (28, "BPF_LINK_CREATE"),
];

/// `BPF_PROG_LOAD`.
const PROG_LOAD: u64 = 5;

const PROT_WRITE: u64 = 2;

/// The class of an act, and the event without the program that its actor runs; `None` for an act that
/// is not known.
pub(crate) fn event(record: &abi::ActRecord, offset_ns: i64) -> Option<(u32, ActionEvent)> {
    let (class, action) = action(record)?;
    let event = ActionEvent {
        time_ns: real_ns(record.header.time_ns, offset_ns),
        actor: key(record.actor),
        tid: record.tid,
        uid: record.uid,
        path: None,
        action,
    };
    Some((class, event))
}

fn action(record: &abi::ActRecord) -> Option<(u32, Action)> {
    let call = || calls::name(record.call).unwrap_or("unknown");
    Some(match record.act {
        abi::ACT_SIGNAL => (abi::CLASS_SIGNAL, Action::Signal(signal(record))),
        abi::ACT_MODULE_LOAD | abi::ACT_MODULE_FREE => {
            (abi::CLASS_MODULE, Action::Module(module(record)))
        }
        abi::CALL_PTRACE
        | abi::CALL_READ_MEMORY
        | abi::CALL_WRITE_MEMORY
        | abi::ACT_OPEN_MEMORY => (abi::CLASS_PTRACE, Action::Access(access(record, call()))),
        abi::CALL_CREDENTIALS => {
            let [before, after] = [0, 1].map(|index: usize| rights(record, index));
            let change = CredentialsAction { call: call(), before, after };
            (abi::CLASS_CREDENTIAL, Action::Credentials(change))
        }
        abi::CALL_MOUNT | abi::CALL_UNMOUNT | abi::CALL_MOVE_MOUNT | abi::CALL_PIVOT_ROOT => {
            (abi::CLASS_MOUNT, Action::Mount(mount(record, call())))
        }
        abi::CALL_MMAP | abi::CALL_MPROTECT => {
            (abi::CLASS_MEMORY_EXEC, Action::MemoryExec(memory_exec(record, call())))
        }
        abi::CALL_MEMFD => {
            let [_, flags, ..] = record.numbers;
            let file = MemoryFileAction { name: text(record), flags, result: record.returned };
            (abi::CLASS_MEMFD, Action::MemoryFile(file))
        }
        abi::CALL_BPF => (abi::CLASS_BPF, Action::Bpf(bpf(record))),
        _ => return None,
    })
}

fn signal(record: &abi::ActRecord) -> SignalAction {
    let [number, code, uid, outcome, ..] = record.numbers;
    SignalAction {
        target: Target { process: known(record.target), path: None },
        target_uid: low(uid),
        signal: low(number),
        code: low(code).cast_signed(),
        by_kernel: record.flags & abi::ACT_BY_KERNEL != 0,
        delivered: outcome == 0,
    }
}

fn module(record: &abi::ActRecord) -> ModuleAction {
    let [taints, signed, ..] = record.numbers;
    ModuleAction {
        name: text(record),
        loaded: record.act == abi::ACT_MODULE_LOAD,
        taints,
        is_signed: (signed < 2).then_some(signed == 1),
        file: None,
    }
}

fn access(record: &abi::ActRecord, call: &'static str) -> AccessAction {
    let [first, second, ..] = record.numbers;
    let is = |act| record.act == act;
    AccessAction {
        call,
        request: if is(abi::CALL_PTRACE) { named(REQUESTS, first) } else { None },
        memory: match record.act {
            abi::CALL_READ_MEMORY => Some(MemoryAccess::Read),
            abi::CALL_WRITE_MEMORY => Some(MemoryAccess::Write),
            abi::ACT_OPEN_MEMORY => opened(first),
            _ => None,
        },
        target: Target { process: known(record.target), path: None },
        target_id: low(match is(abi::CALL_PTRACE) || is(abi::ACT_OPEN_MEMORY) {
            true => second,
            false => first,
        }),
        result: record.returned,
    }
}

/// What memory was opened for.
fn opened(mode: u64) -> Option<MemoryAccess> {
    match (mode & abi::OPEN_READ != 0, mode & abi::OPEN_WRITE != 0) {
        (true, true) => Some(MemoryAccess::ReadWrite),
        (true, false) => Some(MemoryAccess::Read),
        (false, true) => Some(MemoryAccess::Write),
        (false, false) => None,
    }
}

fn rights(record: &abi::ActRecord, index: usize) -> Rights {
    let [real, effective, saved, group, effective_group, saved_group] =
        record.ids.get(index).copied().unwrap_or_default();
    Rights {
        users: [real, effective, saved],
        groups: [group, effective_group, saved_group],
        effective: record.effective.get(index).copied().unwrap_or_default(),
    }
}

fn mount(record: &abi::ActRecord, call: &'static str) -> MountAction {
    let [_, second, _, fourth, fifth, _] = record.numbers;
    MountAction {
        call,
        target: text(record),
        source: ended(&record.source),
        file_system: ended(&record.file_system),
        flags: match record.act {
            abi::CALL_MOUNT => fourth,
            abi::CALL_UNMOUNT => second,
            abi::CALL_MOVE_MOUNT => fifth,
            _ => 0,
        },
        result: record.returned,
    }
}

fn memory_exec(record: &abi::ActRecord, call: &'static str) -> MemoryExecAction {
    let [address, bytes, protection, ..] = record.numbers;
    MemoryExecAction { call, address, bytes, writable: protection & PROT_WRITE != 0 }
}

fn bpf(record: &abi::ActRecord) -> BpfAction {
    let [command, _, _, first, ..] = record.numbers;
    BpfAction {
        command: named(COMMANDS, command).unwrap_or("unknown"),
        program_type: (command == PROG_LOAD).then_some(low(first)),
        name: text(record),
        result: record.returned,
    }
}

fn named(names: &[(u64, &'static str)], number: u64) -> Option<&'static str> {
    names.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// The record's text, `None` when there is none or it could not be read.
fn text(record: &abi::ActRecord) -> Option<String> {
    let bytes = usize::try_from(record.text_bytes).unwrap_or(0);
    ended(record.text.get(..bytes)?)
}

/// A text that ends with a NUL; `None` when it is empty.
fn ended(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|byte| *byte == 0).next()?;
    (!text.is_empty()).then(|| lossless(text))
}

/// The low half: an `int` that was passed in a register.
fn low(number: u64) -> u32 {
    (number & 0xffff_ffff) as u32
}
