//! From scripted messages to batches.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use bygone_macos::{
    AuditToken, EsClass, EsEvent, EsExec, EsExit, EsFile, EsFork, EsHeader, EsLoss, EsLossKind,
    EsMessage, EsProcess, EsSequence, EsSource, EsStat, Received,
};

use super::translate::{TranslateError, Translator};
use super::{LAG_NS, ProcessEs, SOURCE};
use crate::events::{
    CollectorEvent, Credentials, ExecEvent, ExitEvent, ForkEvent, Gap, GapReason, LedgerEntry,
    Noticed, ProcessEvent, ProcessKey, ProgramFile,
};
use crate::host::mask::Mask;
use crate::publish::privacy::Privacy;
use crate::publish::{BATCH_EVENTS_MAX, Batch, Events, Publisher, Stop};

const SECOND_NS: i64 = 1_000_000_000;
/// The host of these tests started 1,000 seconds after the epoch.
const BOOT_NS: i64 = 1_000 * SECOND_NS;

fn token(pid: u32, pidversion: u32) -> AuditToken {
    AuditToken { auid: 501, euid: 0, egid: 21, ruid: 501, rgid: 20, pid, asid: 7, pidversion }
}

fn file(path: &[u8]) -> EsFile {
    let stat = EsStat {
        dev: -2,
        ino: 42,
        mode: 0o100_755,
        uid: 3,
        gid: 4,
        size: 5,
        atime: 6,
        mtime: 7,
        ctime: 8,
        birthtime: 9,
    };
    EsFile { path: path.to_vec(), path_truncated: false, stat }
}

/// A process started `start` seconds after boot by pid 1, which runs /sbin/launchd.
fn process(pid: u32, pidversion: u32, start: i64, path: &[u8]) -> EsProcess {
    EsProcess {
        audit_token: token(pid, pidversion),
        ppid: 1,
        original_ppid: 1,
        group_id: 10,
        session_id: 11,
        codesigning_flags: 0,
        is_platform_binary: false,
        is_es_client: false,
        cdhash: [0; 20],
        signing_id: Vec::new(),
        team_id: Vec::new(),
        executable: file(path),
        tty: None,
        start_ns: Some(BOOT_NS + start * SECOND_NS),
        responsible: None,
        parent: Some(token(1, 2)),
    }
}

/// A message `second` seconds after boot.
fn message(second: i64, process: EsProcess, event: EsEvent) -> EsMessage {
    let sequence =
        EsSequence { class: Some(event.class()), seq_num: Some(0), global_seq_num: Some(0) };
    let header = EsHeader {
        version: 8,
        time_ns: BOOT_NS + second * SECOND_NS,
        mach_time: 0,
        thread_id: Some(77),
        sequence,
    };
    EsMessage { header, process, event }
}

fn exit(second: i64, status: i32) -> EsMessage {
    message(second, process(50, 3, 20, b"/bin/cat"), EsEvent::Exit(EsExit { status }))
}

fn fork(second: i64) -> EsMessage {
    let child = process(50, 3, second, b"/sbin/launchd");
    let launchd = process(1, 2, 1, b"/sbin/launchd");
    message(second, launchd, EsEvent::Fork(Box::new(EsFork { child })))
}

fn exec(second: i64) -> EsMessage {
    let event = EsExec {
        target: process(50, 4, 20, b"/usr/bin/python3"),
        exec_path: None,
        script: Some(file(b"/opt/r\xffn")),
        cwd: Some(file(b"/tmp")),
        last_fd: None,
        cpu_type: None,
        arguments: vec![b"python3".to_vec(), Vec::new(), b"\xff".to_vec()],
        arguments_bytes: 11,
        arguments_truncated: false,
    };
    message(second, process(50, 3, 20, b"/bin/sh"), EsEvent::Exec(Box::new(event)))
}

/// Translates with nothing known of the system's processes.
fn translate(translator: &mut Translator, message: &EsMessage) -> ProcessEvent {
    translator.translate(message, |_| None).unwrap()
}

const LAUNCHD: ProcessKey = ProcessKey { pid: 1, start_ns: 1_000_000_000 };
const CHILD: ProcessKey = ProcessKey { pid: 50, start_ns: 20_000_000_000 };

fn expected_exec() -> ExecEvent {
    ExecEvent {
        time_ns: 1_030_000_000_000,
        process: CHILD,
        tid: 77,
        parent: Some(LAUNCHD),
        start_exact: true,
        credentials: Credentials {
            uid: 501,
            euid: 0,
            suid: 0,
            fsuid: None,
            gid: 20,
            egid: 21,
            sgid: 21,
            fsgid: None,
            auid: Some(501),
            audit_session_id: Some(7),
        },
        session_id: Some(11),
        path: Some("/usr/bin/python3".to_owned()),
        path_truncated: false,
        script_path: Some(r"/opt/r\xffn".to_owned()),
        file: Some(ProgramFile {
            device: 0xffff_fffe,
            inode: 42,
            mode: 0o100_755,
            owner_uid: 3,
            owner_gid: 4,
            atime: Some(6),
            mtime: Some(7),
            ctime: Some(8),
            btime: Some(9),
            ..ProgramFile::default()
        }),
        cwd: Some("/tmp".to_owned()),
        arguments: Some(b"python3\0\0\xff\0".to_vec()),
        arguments_bytes: 11,
        arguments_truncated: false,
        ..ExecEvent::default()
    }
}

#[test]
fn a_life_keeps_one_identity() {
    let mut translator = Translator::new(BOOT_NS);
    let forked = translate(&mut translator, &fork(20));
    let expected = ForkEvent {
        time_ns: 1_020_000_000_000,
        process: CHILD,
        parent: Some(LAUNCHD),
        caller: LAUNCHD,
        clone_flags: None,
        namespaces: None,
        uid: 501,
        gid: 20,
        path: Some("/sbin/launchd".to_owned()),
    };
    assert_eq!(forked, ProcessEvent::Fork(expected));
    let executed = translate(&mut translator, &exec(30));
    assert_eq!(executed, ProcessEvent::Exec(Box::new(expected_exec())));
    let exited = translate(&mut translator, &exit(40, 139));
    let expected = ExitEvent {
        time_ns: 1_040_000_000_000,
        process: CHILD,
        parent: Some(LAUNCHD),
        uid: 501,
        gid: 20,
        exit_code: None,
        signal: Some(11),
        core_dumped: Some(true),
        noticed: Noticed::Told,
        cpu_ns: None,
        lifetime_ns: Some(20_000_000_000),
        usage: None,
        path: Some("/bin/cat".to_owned()),
    };
    assert_eq!(exited, ProcessEvent::Exit(expected));
}

/// The parent in the exit of a process whose parent no message has told of.
fn parent_from(start_of: impl Fn(u32) -> Option<i64>) -> Option<ProcessKey> {
    let event = Translator::new(BOOT_NS).translate(&exit(40, 0), start_of).unwrap();
    let ProcessEvent::Exit(event) = event else { panic!("not an exit") };
    event.parent
}

#[test]
fn an_unheard_parent_is_asked_for_and_never_guessed() {
    assert_eq!(parent_from(|pid| (pid == 1).then_some(BOOT_NS + SECOND_NS)), Some(LAUNCHD));
    assert_eq!(parent_from(|_| None), None);
    // Its pid was given to another process after the message.
    assert_eq!(parent_from(|_| Some(BOOT_NS + 41 * SECOND_NS)), None);
}

#[test]
fn a_parent_that_ran_another_program_is_the_same_process() {
    let mut translator = Translator::new(BOOT_NS);
    translate(&mut translator, &exec(30));
    for pidversion in [3, 4] {
        let mut message = exit(40, 0);
        message.process = process(60, 9, 35, b"/bin/ls");
        message.process.parent = Some(token(50, pidversion));
        let ProcessEvent::Exit(event) = translate(&mut translator, &message) else {
            panic!("not an exit")
        };
        assert_eq!(event.parent, Some(CHILD));
    }
}

#[test]
fn unset_audit_ids_are_absent() {
    let mut message = exec(30);
    let EsEvent::Exec(event) = &mut message.event else { panic!("not an exec") };
    event.target.audit_token.auid = u32::MAX;
    event.target.audit_token.asid = 0;
    let event = translate(&mut Translator::new(BOOT_NS), &message);
    let ProcessEvent::Exec(event) = event else { panic!("not an exec") };
    assert_eq!((event.credentials.auid, event.credentials.audit_session_id), (None, None));
}

#[test]
fn a_process_older_than_the_boot_time_starts_with_it() {
    let mut message = exit(40, 0);
    message.process.start_ns = Some(BOOT_NS - 5);
    let event = translate(&mut Translator::new(BOOT_NS), &message);
    let ProcessEvent::Exit(event) = event else { panic!("not an exit") };
    assert_eq!(event.process, ProcessKey { pid: 50, start_ns: 0 });
}

#[test]
fn without_a_start_there_is_no_event() {
    let mut message = exit(40, 0);
    message.header.version = 2;
    message.process.start_ns = None;
    let error = Translator::new(BOOT_NS).translate(&message, |_| None).unwrap_err();
    assert_eq!(error, TranslateError::NoStart { version: 2 });
}

/// A source that gives what it was told to, then stops the publisher or ends by itself.
struct Script {
    rounds: VecDeque<Received>,
    stop: Option<Stop>,
    after_stop: Vec<EsMessage>,
    stopped: bool,
}

impl EsSource for Script {
    fn receive(&mut self, _: Duration) -> Received {
        if self.stopped {
            let messages = std::mem::take(&mut self.after_stop);
            return Received { messages, losses: Vec::new(), closed: true };
        }
        let mut received = self.rounds.pop_front().unwrap_or_default();
        if self.rounds.is_empty() {
            match &self.stop {
                Some(stop) => stop.set(),
                None => received.closed = true,
            }
        }
        received
    }

    fn start_of(&self, _: u32) -> Option<i64> {
        None
    }

    fn stop(&mut self) {
        self.stopped = true;
    }
}

fn round(messages: Vec<EsMessage>, losses: Vec<EsLoss>) -> Received {
    Received { messages, losses, closed: false }
}

/// Everything published, in order.
#[derive(Default)]
struct Published {
    processes: usize,
    gaps: Vec<Gap>,
    ledger: Vec<LedgerEntry>,
    watermarks: Vec<i64>,
    largest_batch: usize,
}

fn collect(batches: &Receiver<Batch>) -> Published {
    let mut published = Published::default();
    for batch in batches.try_iter() {
        assert_eq!((batch.source, batch.clock_offset_ns), (SOURCE, BOOT_NS));
        published.largest_batch = published.largest_batch.max(batch.events.count());
        match batch.events {
            Events::Process(events) => published.processes += events.len(),
            Events::Collector(events) => {
                for event in events {
                    match event {
                        CollectorEvent::Gap(gap) => published.gaps.push(gap),
                        CollectorEvent::Ledger(entry) => published.ledger.push(entry),
                        CollectorEvent::Capability(_) | CollectorEvent::Audit(_) => {
                            panic!("neither is sent")
                        }
                    }
                }
            }
            Events::File(_) | Events::Summary(_) | Events::Action(_) | Events::Executable(_) => {
                panic!("no file event is sent")
            }
        }
        published.watermarks.extend(batch.watermark_ns);
    }
    published
}

/// Runs the publisher over a script, with one more message received after it was stopped.
fn publish(rounds: Vec<Received>, after_stop: Vec<EsMessage>) -> Published {
    let (sink, batches) = sync_channel(64);
    let stop = Stop::default();
    let script =
        Script { rounds: rounds.into(), stop: Some(stop.clone()), after_stop, stopped: false };
    Box::new(ProcessEs::new(Box::new(script), BOOT_NS, Privacy::default()))
        .run(&sink, &stop)
        .unwrap();
    collect(&batches)
}

fn loss(kind: EsLossKind, class: Option<EsClass>, lost: u64) -> EsLoss {
    let (start_ns, end_ns) = (BOOT_NS + 20 * SECOND_NS, BOOT_NS + 25 * SECOND_NS);
    let detail = (kind == EsLossKind::Undecoded).then(|| "process is null".to_owned());
    EsLoss { kind, class, lost, start_ns, end_ns, detail }
}

#[test]
fn all_events_are_sent_also_those_left_at_the_end() {
    let rounds = vec![round(vec![fork(20), exec(30)], vec![]), round(vec![], vec![])];
    let published = publish(rounds, vec![exit(40, 0)]);
    assert_eq!(published.processes, 3);
    assert_eq!(published.gaps, []);
    let lag = |second: i64| BOOT_NS + second * SECOND_NS - LAG_NS;
    assert_eq!(published.watermarks.first(), Some(&lag(30)));
    assert_eq!(published.watermarks.last(), Some(&lag(40)));
    assert!(published.watermarks.is_sorted());
}

#[test]
fn a_storm_is_sent_in_bounded_batches() {
    let messages = vec![exit(20, 0); BATCH_EVENTS_MAX * 2 + 1];
    let published = publish(vec![round(messages, vec![])], vec![]);
    assert_eq!(published.processes, BATCH_EVENTS_MAX * 2 + 1);
    // Which bound is met first depends on the size of an event.
    let bounds = 1_000..=BATCH_EVENTS_MAX;
    assert!(bounds.contains(&published.largest_batch), "{}", published.largest_batch);
}

#[test]
fn the_ledger_counts_by_class_and_ten_seconds() {
    let rounds = vec![
        round(vec![fork(20), exec(21), exec(29), exec(35), exit(50, 0)], vec![]),
        // Late by more than the lag.
        round(vec![exec(22)], vec![]),
    ];
    let published = publish(rounds, vec![]);
    let counts: Vec<_> = published
        .ledger
        .iter()
        .map(|entry| {
            assert_eq!(entry.seen, entry.stored + entry.lost);
            let second = (entry.time_ns - BOOT_NS) / SECOND_NS;
            (second, entry.class.as_str(), entry.stored, entry.late)
        })
        .collect();
    let expected = [
        (20, "exec", 2, 0),
        (20, "fork", 1, 0),
        (30, "exec", 1, 0),
        (20, "exec", 1, 1),
        (50, "exit", 1, 0),
    ];
    assert_eq!(counts, expected);
}

#[test]
fn losses_become_gaps_once_and_count_in_the_ledger() {
    let exit_class = Some(EsClass::Exit);
    let losses = vec![
        loss(EsLossKind::Dropped, None, 5),
        loss(EsLossKind::DroppedOfClass, exit_class, 2),
        loss(EsLossKind::DroppedOfClass, Some(EsClass::Fork), 3),
        loss(EsLossKind::QueueFull, exit_class, 4),
        loss(EsLossKind::Undecoded, exit_class, 1),
    ];
    let published = publish(vec![round(vec![exit(26, 0)], losses)], vec![]);
    let gap = |reason, lost, detail: &str| Gap {
        time_ns: BOOT_NS + 20 * SECOND_NS,
        end_ns: BOOT_NS + 25 * SECOND_NS,
        source: SOURCE.to_owned(),
        reason,
        lost: Some(lost),
        detail: Some(detail.to_owned()),
    };
    let expected = [
        gap(GapReason::SourceOverflow, 5, "messages dropped by EndpointSecurity"),
        gap(GapReason::QueueFull, 4, "exit found the queue to the publisher full"),
        gap(GapReason::DecodeError, 1, "exit could not be decoded: process is null"),
    ];
    assert_eq!(published.gaps, expected);
    let counts: Vec<_> = published
        .ledger
        .iter()
        .map(|entry| (entry.class.as_str(), entry.seen, entry.stored, entry.lost))
        .collect();
    assert_eq!(counts, [("fork", 3, 0, 3), ("exit", 8, 1, 7)]);
}

#[test]
fn a_message_that_becomes_no_event_is_a_gap_and_lost() {
    let mut message = exit(20, 0);
    message.header.version = 2;
    message.process.start_ns = None;
    let published = publish(vec![round(vec![message], vec![])], vec![]);
    let [gap] = &*published.gaps else { panic!("one gap: {:?}", published.gaps) };
    assert_eq!(
        (gap.reason, gap.lost, gap.time_ns),
        (GapReason::DecodeError, Some(1), BOOT_NS + 20 * SECOND_NS)
    );
    let [entry] = &*published.ledger else { panic!("one entry: {:?}", published.ledger) };
    assert_eq!((entry.seen, entry.stored, entry.lost), (1, 0, 1));
}

#[test]
fn a_source_that_ends_by_itself_is_an_error_after_all_is_sent() {
    let (sink, batches) = sync_channel(64);
    let script = Script {
        rounds: vec![round(vec![exit(20, 0)], vec![])].into(),
        stop: None,
        after_stop: Vec::new(),
        stopped: false,
    };
    let publisher = Box::new(ProcessEs::new(Box::new(script), BOOT_NS, Privacy::default()));
    let error = publisher.run(&sink, &Stop::default()).unwrap_err();
    assert_eq!(error.to_string(), "the client of EndpointSecurity ended by itself");
    let published = collect(&batches);
    assert_eq!((published.processes, published.ledger.len()), (1, 1));
}

#[test]
fn masked_values_are_never_sent() {
    let (sink, batches) = sync_channel(64);
    let mut message = exec(20);
    if let EsEvent::Exec(exec) = &mut message.event {
        exec.arguments = [b"curl".as_slice(), b"--token", b"first"].map(<[u8]>::to_vec).into();
    }
    let rounds = VecDeque::from([Received { closed: true, ..round(vec![message], vec![]) }]);
    let script = Script { rounds, stop: None, after_stop: Vec::new(), stopped: false };
    let privacy = Privacy { mask: Mask::new(&["token".to_owned()]), ..Privacy::default() };
    let publisher = Box::new(ProcessEs::new(Box::new(script), BOOT_NS, privacy));
    assert!(publisher.run(&sink, &Stop::default()).is_err(), "the client ended by itself");
    let sent = batches.try_iter().find_map(|batch| match batch.events {
        Events::Process(events) => events.into_iter().next(),
        _ => None,
    });
    let Some(ProcessEvent::Exec(exec)) = sent else { panic!("{sent:?}") };
    assert_eq!(exec.arguments.as_deref(), Some(b"curl\0--token\0***\0".as_slice()));
    assert!(exec.masked);
}

#[test]
fn a_closed_channel_ends_the_publisher_quietly() {
    let (sink, batches) = sync_channel(64);
    drop(batches);
    let script = Script {
        rounds: vec![round(vec![exit(20, 0)], vec![])].into(),
        stop: None,
        after_stop: Vec::new(),
        stopped: false,
    };
    let publisher = Box::new(ProcessEs::new(Box::new(script), BOOT_NS, Privacy::default()));
    assert!(publisher.run(&sink, &Stop::default()).is_ok());
}

#[test]
fn each_kind_is_covered() {
    let script =
        Script { rounds: VecDeque::new(), stop: None, after_stop: Vec::new(), stopped: false };
    let publisher = ProcessEs::new(Box::new(script), BOOT_NS, Privacy::default());
    let capabilities = publisher.capabilities();
    let kinds: Vec<_> = capabilities.iter().map(|capability| capability.kind.as_str()).collect();
    assert_eq!(kinds, ["exec", "fork", "exit"]);
    assert!(capabilities.iter().all(|capability| capability.source.as_deref() == Some(SOURCE)));
}
