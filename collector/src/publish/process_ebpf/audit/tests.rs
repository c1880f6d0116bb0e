//! What an audit takes from the rings, and what it concludes.

use bygone_probe_abi as abi;

use super::*;
use crate::events::{
    ActionEvent, ExecEvent, ExitEvent, ForkEvent, MemoryFileAction, Noticed, ProcessKey, Target,
};

const SECOND: u64 = 1_000_000_000;
const CHILD: u32 = 77;
const OWN: u32 = 5;
/// The name that [`OWN`] gives its file in memory.
const NAME: &str = "bygone-self-audit-5";
const STRANGER: u32 = 9;

const FORK: usize = abi::CLASS_FORK as usize;
const EXEC: usize = abi::CLASS_EXEC as usize;
const EXIT: usize = abi::CLASS_EXIT as usize;
const SIGNAL: usize = abi::CLASS_SIGNAL as usize;
const MEMFD: usize = abi::CLASS_MEMFD as usize;

const fn key(pid: u32) -> ProcessKey {
    ProcessKey { pid, start_ns: 1 }
}

fn course() -> Course {
    let mut expected = [false; CLASS_COUNT];
    for class in [FORK, EXEC, EXIT, MEMFD] {
        expected[class] = true;
    }
    Course {
        pid: CHILD,
        own_pid: OWN,
        began_ns: SECOND,
        ended_ns: None,
        seen: [false; CLASS_COUNT],
        expected,
        seen_sides: [false; 2],
        excuses: [3; CLASS_COUNT],
    }
}

fn life(boot_ns: u64, class: usize, event: ProcessEvent) -> Record {
    Record { boot_ns, class, event: Decoded::Life(event), within_mount: None, in_exec: false }
}

fn exec(boot_ns: u64, pid: u32, snapshot: bool) -> Record {
    let exec = ExecEvent { process: key(pid), snapshot, ..ExecEvent::default() };
    life(boot_ns, EXEC, ProcessEvent::Exec(Box::new(exec)))
}

fn fork(boot_ns: u64, caller: u32) -> Record {
    let fork = ForkEvent {
        time_ns: 0,
        process: key(CHILD),
        parent: None,
        caller: key(caller),
        clone_flags: None,
        namespaces: None,
        uid: 0,
        gid: 0,
        path: None,
    };
    life(boot_ns, FORK, ProcessEvent::Fork(fork))
}

fn exit(boot_ns: u64) -> Record {
    let exit = ExitEvent {
        time_ns: 0,
        process: key(CHILD),
        parent: None,
        uid: 0,
        gid: 0,
        exit_code: None,
        signal: Some(9),
        core_dumped: Some(false),
        noticed: Noticed::Told,
        cpu_ns: None,
        lifetime_ns: None,
        usage: None,
        path: None,
    };
    life(boot_ns, EXIT, ProcessEvent::Exit(exit))
}

fn act(boot_ns: u64, class: usize, actor: u32, action: Action) -> Record {
    let event =
        ActionEvent { time_ns: 0, actor: key(actor), tid: actor, uid: 0, path: None, action };
    Record { boot_ns, class, event: Decoded::Act(event, 0), within_mount: None, in_exec: false }
}

fn memfd(boot_ns: u64, name: &str) -> Record {
    let file = MemoryFileAction { name: Some(name.to_owned()), flags: 0, result: 3 };
    act(boot_ns, MEMFD, CHILD, Action::MemoryFile(file))
}

fn signal(actor: u32, target: u32, signal: i32) -> Record {
    let action = SignalAction {
        target: Target { process: Some(key(target)), path: None },
        target_uid: 0,
        signal: signal.unsigned_abs(),
        code: 0,
        by_kernel: false,
        delivered: true,
    };
    act(2 * SECOND, SIGNAL, actor, Action::Signal(action))
}

#[test]
fn only_what_the_stimulus_does_is_taken_and_each_once() {
    let mut course = course();
    let now = 2 * SECOND;
    let mut taken = |record: Record| course.takes(&record);
    assert!(!taken(fork(SECOND - 1, OWN)), "an earlier process of this id");
    assert!(!taken(fork(now, STRANGER)), "another one's child");
    assert!(taken(fork(now, OWN)) && !taken(fork(now, OWN)));
    assert!(!taken(exec(now, STRANGER, false)));
    assert!(taken(exec(now, CHILD, false)));
    assert!(!taken(exec(now, CHILD, false)), "a second program is not what was asked of it");
    assert!(taken(exec(now, CHILD, true)) && taken(exec(now, CHILD, true)), "found by looks");
    assert!(!taken(memfd(now, "another")) && !taken(memfd(now, "bygone-self-audit-6")));
    assert!(taken(memfd(now, NAME)) && !taken(memfd(now, NAME)));
    assert!(!taken(signal(CHILD, STRANGER, 9)) && !taken(signal(STRANGER, CHILD, 9)));
    assert!(taken(signal(CHILD, CHILD, 9)) && !taken(signal(CHILD, CHILD, 9)));
    assert!(taken(signal(CHILD, OWN, libc::SIGCHLD)), "the collector is told of the end");
    assert!(taken(exit(now)));
    course.ended_ns = Some(3 * SECOND);
    assert!(!course.takes(&exec(3 * SECOND + 1, CHILD, true)), "a later process of this id");
}

#[test]
fn it_passes_when_all_came_and_fails_when_one_did_not() {
    let now = 2 * SECOND;
    let mut whole = course();
    for record in [fork(now, OWN), exec(now, CHILD, false), memfd(now, NAME), exit(now)] {
        assert!(whole.takes(&record));
        assert_eq!(whole.outcome(9 * SECOND, &[3; CLASS_COUNT]), None, "it has not ended");
    }
    whole.ended_ns = Some(3 * SECOND);
    assert_eq!(whole.outcome(3 * SECOND, &[3; CLASS_COUNT]), None, "not all was read");
    let outcome = whole.outcome(3 * SECOND + 1, &[3; CLASS_COUNT]).unwrap();
    let passed = [FORK, EXEC, EXIT, MEMFD];
    assert!((0..CLASS_COUNT).all(|class| outcome.passed[class] == passed.contains(&class)));
    assert_eq!(outcome.failed, [false; CLASS_COUNT]);

    let mut silenced = course();
    for record in [fork(now, OWN), exec(now, CHILD, false), exit(now)] {
        assert!(silenced.takes(&record));
    }
    silenced.ended_ns = Some(3 * SECOND);
    assert_eq!(silenced.outcome(3 * SECOND + WAIT_NS - 1, &[3; CLASS_COUNT]), None);
    let outcome = silenced.outcome(3 * SECOND + WAIT_NS, &[3; CLASS_COUNT]).unwrap();
    assert!((0..CLASS_COUNT).all(|class| outcome.failed[class] == (class == MEMFD)));
    let mut lost = [3; CLASS_COUNT];
    lost[MEMFD] += 1;
    let outcome = silenced.outcome(3 * SECOND + WAIT_NS, &lost).unwrap();
    assert!(!outcome.failed[MEMFD] && !outcome.passed[MEMFD] && outcome.passed[EXEC]);
}

#[test]
fn a_class_that_fails_is_a_gap_from_its_last_pass_to_its_next() {
    let outcome = |class: usize, passes: bool| {
        let mut of_class = [false; CLASS_COUNT];
        of_class[class] = true;
        let none = [false; CLASS_COUNT];
        match passes {
            true => Outcome { passed: of_class, failed: none },
            false => Outcome { passed: none, failed: of_class },
        }
    };
    let standing = Standing { told_ns: 10, ..Standing::default() };
    let mut all = Standings([standing; CLASS_COUNT]);
    let pass = outcome(MEMFD, true);
    let fail = outcome(MEMFD, false);
    assert_eq!(all.conclude(&pass, 100, 110), []);
    assert_eq!(all.conclude(&Outcome::default(), 200, 210), [], "undecided");
    assert_eq!(all.conclude(&fail, 300, 310), [(MEMFD, 100, 310)]);
    assert!(all.is_doubtful() && all.broken().is_none());
    assert_eq!(all.conclude(&fail, 400, 410), [(MEMFD, 310, 410)]);
    assert!(!all.is_doubtful());
    assert_eq!(all.broken(), Some("memfd"));
    assert_eq!(all.conclude(&pass, 500, 510), [(MEMFD, 410, 500)]);
    assert_eq!(all.broken(), None);
    assert_eq!(all.conclude(&pass, 600, 610), []);
    // One that has never passed may not work here at all: it is a gap, and nothing is attached anew.
    for (began_ns, told_ns) in [(700, 10), (800, 710), (900, 810)] {
        let fail = outcome(EXEC, false);
        assert_eq!(all.conclude(&fail, began_ns, began_ns + 10), [(EXEC, told_ns, began_ns + 10)]);
    }
    assert_eq!(all.broken(), None);
}
