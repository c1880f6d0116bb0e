//! What follows from which messages.

use super::*;

const OFFSET: i64 = 1_000;

fn fork(child: u32, parent: u32) -> Entry {
    Entry::Fork { child, start_ns: None, parent, parent_start_ns: None }
}

fn exit(pid: u32, status: u32) -> Entry {
    Entry::Exit { pid, status, parent: 0, start_ns: None }
}

fn details(pid: u32, start_ns: u64, path: &str) -> Box<ExecEvent> {
    Box::new(ExecEvent {
        process: ProcessKey { pid, start_ns },
        tid: pid,
        path: Some(path.to_owned()),
        credentials: Credentials { uid: 5, euid: 6, ..Credentials::default() },
        ..ExecEvent::default()
    })
}

fn apply(lives: &mut Lives, entry: Entry, boot_ns: u64) -> Option<ProcessEvent> {
    match lives.apply(entry, boot_ns, OFFSET) {
        Outcome::Event(event) => Some(event),
        Outcome::Nothing | Outcome::Later => None,
    }
}

fn exec_of(lives: &mut Lives, pid: u32, read: Option<Box<ExecEvent>>, boot_ns: u64) -> ExecEvent {
    match apply(lives, Entry::Exec { pid, details: read }, boot_ns) {
        Some(ProcessEvent::Exec(exec)) => *exec,
        other => panic!("{other:?}"),
    }
}

fn exit_of(lives: &mut Lives, pid: u32, status: u32, boot_ns: u64) -> ExitEvent {
    match apply(lives, exit(pid, status), boot_ns) {
        Some(ProcessEvent::Exit(exit)) => exit,
        other => panic!("{other:?}"),
    }
}

const TICK: u64 = TICK_NS;

#[test]
fn a_life_keeps_its_identity_and_program() {
    let mut lives = Lives::default();
    let shell = exec_of(&mut lives, 7, Some(details(7, 3 * TICK, "/bin/sh")), 9 * TICK);
    assert_eq!((shell.time_ns, shell.start_exact), ((9 * TICK).cast_signed() + OFFSET, false));
    let forked = apply(&mut lives, fork(8, 7), 10 * TICK + 5);
    let Some(ProcessEvent::Fork(forked)) = forked else { panic!("{forked:?}") };
    let child = ProcessKey { pid: 8, start_ns: 10 * TICK };
    assert_eq!((forked.process, forked.parent), (child, Some(shell.process)));
    assert_eq!((forked.path.as_deref(), forked.uid), (Some("/bin/sh"), 5));
    // What is read afterwards may be of the tick before.
    let read = details(8, 9 * TICK, "/bin/true");
    let exec = exec_of(&mut lives, 8, Some(read), 10 * TICK + 7);
    assert_eq!((exec.process, exec.path.as_deref()), (child, Some("/bin/true")));
    assert_eq!(exec.parent_path, None, "the parent that was read is not known");
    let exit = exit_of(&mut lives, 8, 3 << 8, 10 * TICK + 9);
    assert_eq!((exit.process, exit.path.as_deref()), (child, Some("/bin/true")));
    assert_eq!((exit.exit_code, exit.signal, exit.core_dumped), (Some(3), None, Some(false)));
    assert!(!lives.knows(8));
}

#[test]
fn an_exec_that_could_not_be_read_has_what_was_told() {
    let mut lives = Lives::default();
    exec_of(&mut lives, 7, Some(details(7, TICK, "/bin/sh")), TICK);
    assert!(apply(&mut lives, fork(8, 7), 2 * TICK).is_some());
    let entry = Entry::Users { pid: 8, real: 5, effective: 0 };
    assert_eq!(lives.apply(entry, 2 * TICK + 1, 0), Outcome::Nothing);
    let exec = exec_of(&mut lives, 8, None, 2 * TICK + 2);
    assert_eq!((exec.path, exec.arguments, exec.arguments_truncated), (None, None, true));
    let Credentials { uid, euid, suid, fsuid, .. } = exec.credentials;
    assert_eq!((uid, euid, suid, fsuid), (5, 0, 0, Some(0)));
    assert_eq!(exec.parent, Some(ProcessKey { pid: 7, start_ns: TICK }));
    // The program is not the parent's any more, and which it is nobody knows.
    assert_eq!(exit_of(&mut lives, 8, 9, 2 * TICK + 3).path, None);
}

#[test]
fn what_is_not_known_is_not_guessed() {
    let mut lives = Lives::default();
    let exec = exec_of(&mut lives, 9, None, TICK);
    assert_eq!((exec.process.start_ns, exec.credentials), (START_UNKNOWN, CREDENTIALS_UNKNOWN));
    // What was read is of a process that started after the exec: another one with the id.
    let exec = exec_of(&mut lives, 10, Some(details(10, 9 * TICK, "/bin/later")), 2 * TICK);
    assert_eq!((exec.path, exec.process.start_ns), (None, START_UNKNOWN));
}

#[test]
fn a_process_of_many_threads_ends_with_the_last() {
    let mut lives = Lives::default();
    assert!(apply(&mut lives, fork(1 << 30, 1), TICK).is_some());
    let pid = 1 << 30;
    assert_eq!(lives.apply(Entry::Thread { pid }, TICK + 1, 0), Outcome::Nothing);
    assert_eq!(lives.apply(exit(pid, 0), TICK + 2, 0), Outcome::Later);
    assert!(lives.are_ending());
    let last = Entry::ThreadExit { pid, status: 4 << 8 };
    assert_eq!(lives.apply(last, TICK + 3, 0), Outcome::Nothing);
    // No process can have this id: it is gone from /proc.
    let events = lives.settle(0, &mut Vec::new());
    let [ProcessEvent::Exit(exit)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((exit.time_ns, exit.exit_code), ((TICK + 3).cast_signed(), Some(4)));
    assert!(!lives.are_ending() && lives.take_cancelled() == 0);
}

#[test]
fn a_first_thread_that_another_takes_the_place_of_is_no_end() {
    let mut lives = Lives::default();
    let pid = std::process::id();
    assert!(apply(&mut lives, fork(pid, 1), TICK).is_some());
    lives.apply(Entry::Thread { pid }, TICK + 1, 0);
    assert_eq!(lives.apply(exit(pid, 0), TICK + 2, 0), Outcome::Later);
    exec_of(&mut lives, pid, None, TICK + 3);
    assert_eq!((lives.are_ending(), lives.take_cancelled(), lives.take_cancelled()), (false, 1, 0));
    assert!(lives.knows(pid));
}

#[test]
fn after_a_loss_one_thread_is_not_taken_for_granted() {
    let mut lives = Lives::default();
    assert!(apply(&mut lives, fork(8, 7), TICK).is_some());
    lives.forget_threads();
    assert_eq!(lives.apply(exit(8, 0), TICK + 2, 0), Outcome::Later);
}

#[test]
fn who_was_there_before_is_a_parent_and_found_later() {
    let mut lives = Lives::default();
    // No process can have the last of these ids.
    for pid in [2, 3, 1 << 30] {
        lives.remember(*details(pid, TICK, "/bin/sh"));
    }
    let forked = apply(&mut lives, fork(8, 2), 2 * TICK);
    let Some(ProcessEvent::Fork(forked)) = forked else { panic!("{forked:?}") };
    assert_eq!((forked.uid, forked.path.as_deref()), (5, Some("/bin/sh")));
    assert_eq!(lives.apply(exit(1 << 30, 0), 2 * TICK + 1, 0), Outcome::Later);
    let ends = lives.settle(0, &mut Vec::new());
    let [ProcessEvent::Exit(end)] = ends.as_slice() else { panic!("{ends:?}") };
    assert_eq!((end.uid, end.path.as_deref()), (5, Some("/bin/sh")));
    lives.begin_look();
    let key = |pid, start_ns| ProcessKey { pid, start_ns };
    let live = [key(2, TICK), key(8, 2 * TICK)];
    // The third had ended before anything was told, so that it leaves no trace.
    assert_eq!(lives.end_look(live, 3 * TICK, OFFSET), (vec![], vec![key(2, TICK)]));
    assert!(lives.knows(2) && !lives.knows(3));
    let found = Entry::Found(details(2, TICK, "/bin/sh"));
    assert!(matches!(lives.apply(found.clone(), 3 * TICK, 0), Outcome::Event(_)));
    assert_eq!(lives.apply(found, 3 * TICK, 0), Outcome::Nothing);
}

#[test]
fn a_look_closes_and_opens_what_differs() {
    let mut lives = Lives::default();
    for pid in [2, 3, 4] {
        exec_of(&mut lives, pid, Some(details(pid, TICK, "/bin/sh")), 2 * TICK);
    }
    lives.begin_look();
    // It ended and another was created after the look.
    lives.forget_threads();
    assert!(apply(&mut lives, fork(6, 2), 101 * TICK).is_some());
    assert_eq!(exit_of(&mut lives, 6, 0, 102 * TICK).process.pid, 6);
    let key = |pid, start_ns| ProcessKey { pid, start_ns };
    let live = [key(2, TICK), key(3, 50 * TICK), key(6, 101 * TICK), key(7, 60 * TICK)];
    let (ends, unknown) = lives.end_look(live, 100 * TICK, OFFSET);
    let gone: Vec<_> = ends
        .iter()
        .map(|end| match end {
            ProcessEvent::Exit(exit) => (exit.process, exit.exit_code, exit.noticed),
            other => panic!("{other:?}"),
        })
        .collect();
    let alive_ns = (2 * TICK).cast_signed() + OFFSET;
    let noticed = Noticed::Reconciled { alive_ns };
    assert_eq!(gone, [(key(3, TICK), None, noticed), (key(4, TICK), None, noticed)]);
    assert_eq!(unknown, [key(3, 50 * TICK), key(7, 60 * TICK)]);
    let found = Entry::Found(details(7, 60 * TICK, "/bin/cat"));
    assert!(matches!(lives.apply(found.clone(), 103 * TICK, 0), Outcome::Event(_)));
    assert_eq!(lives.apply(found, 103 * TICK, 0), Outcome::Nothing);
}

#[test]
fn a_program_whose_start_was_lost_is_found() {
    let mut lives = Lives::default();
    exec_of(&mut lives, 7, Some(details(7, TICK, "/bin/sh")), TICK);
    let process = ProcessKey { pid: 7, start_ns: TICK };
    let runs = |path: &str| Some(path.to_owned());
    assert_eq!(lives.changed([(&process, &runs("/bin/sh"))]), []);
    assert_eq!(lives.changed([(&process, &None)]), []);
    assert_eq!(lives.changed([(&process, &runs("/bin/cat"))]), [process]);
    let found = |path| Entry::Found(details(7, TICK, path));
    assert_eq!(lives.apply(found("/bin/sh"), 2 * TICK, 0), Outcome::Nothing);
    assert!(matches!(lives.apply(found("/bin/cat"), 2 * TICK, 0), Outcome::Event(_)));
    assert_eq!(lives.changed([(&process, &runs("/bin/cat"))]), []);
}
