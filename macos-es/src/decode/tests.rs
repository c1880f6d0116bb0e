//! Golden messages of every version, and messages that the system would not make.

use expect_test::{Expect, expect};

use super::{DecodeError, DecodeFailure};
use crate::fixture::Fixture;
use crate::layout::RawString;
use crate::message::{EsClass, EsEvent, EsExec, EsFile, EsMessage, EsProcess};

const EXEC: &str = include_str!("../../fixtures/exec.es");
const FORK: &str = include_str!("../../fixtures/fork.es");
const EXIT: &str = include_str!("../../fixtures/exit.es");

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn file(file: &EsFile) -> String {
    let stat = &file.stat;
    format!(
        "{} cut {} dev {} ino {} mode {:o} owner {}:{} size {} times {} {} {} {}",
        text(&file.path),
        file.path_truncated,
        stat.dev,
        stat.ino,
        stat.mode,
        stat.uid,
        stat.gid,
        stat.size,
        stat.atime,
        stat.mtime,
        stat.ctime,
        stat.birthtime,
    )
}

fn process(process: &EsProcess) -> String {
    let cdhash: String = process.cdhash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{:?}\n  ppid {} {} group {} session {} flags {:x} platform {} client {} cdhash {cdhash}\n  \
         signed {:?} {:?} tty {:?} start {:?}\n  responsible {:?}\n  parent {:?}\n  file {}",
        process.audit_token,
        process.ppid,
        process.original_ppid,
        process.group_id,
        process.session_id,
        process.codesigning_flags,
        process.is_platform_binary,
        process.is_es_client,
        text(&process.signing_id),
        text(&process.team_id),
        process.tty.as_deref().map(text),
        process.start_ns,
        process.responsible.map(|token| (token.pid, token.pidversion)),
        process.parent.map(|token| (token.pid, token.pidversion)),
        file(&process.executable),
    )
}

fn message(message: &EsMessage) -> String {
    let event = match &message.event {
        EsEvent::Exec(exec) => {
            let arguments: Vec<_> = exec.arguments.iter().map(|bytes| text(bytes)).collect();
            format!(
                "exec {}\n  given {:?} script {:?} cwd {:?} last_fd {:?} cpu {:?}\n  \
                 {} bytes, truncated {}: {arguments:?}",
                process(&exec.target),
                exec.exec_path.as_deref().map(text),
                exec.script.as_ref().map(|file| text(&file.path)),
                exec.cwd.as_ref().map(|file| text(&file.path)),
                exec.last_fd,
                exec.cpu_type,
                exec.arguments_bytes,
                exec.arguments_truncated,
            )
        }
        EsEvent::Fork(fork) => format!("fork {}", process(&fork.child)),
        EsEvent::Exit(exit) => format!("exit status {}", exit.status),
    };
    format!("{:?}\nby {}\n{event}\n", message.header, process(&message.process))
}

fn check(fixture: &str, version: u32, expected: &Expect) {
    expected.assert_eq(&message(&Fixture::load(fixture, version).decode().unwrap()));
}

/// Which fields each version has, as one line per version.
fn fields(exec: &EsExec, message: &EsMessage) -> String {
    let sequence = &message.header.sequence;
    let process = &exec.target;
    let present = [
        ("seq_num", sequence.seq_num.is_some()),
        ("tty", process.tty.is_some()),
        ("script", exec.script.is_some()),
        ("start", process.start_ns.is_some()),
        ("cwd", exec.cwd.is_some()),
        ("global", sequence.global_seq_num.is_some()),
        ("thread", message.header.thread_id.is_some()),
        ("responsible", process.responsible.is_some()),
        ("parent", process.parent.is_some()),
        ("last_fd", exec.last_fd.is_some()),
        ("cpu", exec.cpu_type.is_some()),
        ("exec_path", exec.exec_path.is_some()),
    ];
    let names: Vec<_> = present.iter().filter(|field| field.1).map(|field| field.0).collect();
    names.join(" ")
}

#[test]
fn each_version_of_an_exec_has_the_fields_it_brought() {
    let mut lines = String::new();
    for version in 1..=10 {
        let message = Fixture::load(EXEC, version).decode().unwrap();
        let EsEvent::Exec(exec) = &message.event else { panic!("not an exec") };
        lines += &format!("{version}: {}\n", fields(exec, &message));
        assert_eq!(exec.target.executable.path, b"/usr/bin/python3");
        assert_eq!(exec.arguments.len(), 5);
    }
    expect![[r#"
        1: 
        2: seq_num tty script
        3: seq_num tty script start cwd
        4: seq_num tty script start cwd global thread responsible parent last_fd
        5: seq_num tty script start cwd global thread responsible parent last_fd
        6: seq_num tty script start cwd global thread responsible parent last_fd cpu
        7: seq_num tty script start cwd global thread responsible parent last_fd cpu exec_path
        8: seq_num tty script start cwd global thread responsible parent last_fd cpu exec_path
        9: seq_num tty script start cwd global thread responsible parent last_fd cpu exec_path
        10: seq_num tty script start cwd global thread responsible parent last_fd cpu exec_path
    "#]]
    .assert_eq(&lines);
}

#[test]
fn an_exec_of_the_first_version() {
    check(
        EXEC,
        1,
        &expect![[r#"
        EsHeader { version: 1, time_ns: 1764037923456789012, mach_time: 81234567890, thread_id: None, sequence: EsSequence { class: Some(Exec), seq_num: None, global_seq_num: None } }
        by AuditToken { auid: 501, euid: 501, egid: 20, ruid: 501, rgid: 20, pid: 4242, asid: 100012, pidversion: 9001 }
          ppid 4000 4000 group 4242 session 4000 flags 26014b01 platform true client false cdhash 00112233445566778899aabbccddeeff00112233
          signed "com.apple.zsh" "" tty None start None
          responsible None
          parent None
          file /bin/zsh cut false dev 16777231 ino 1152921500312524246 mode 100755 owner 0:0 size 1361200 times 1700000001 1700000002 1700000003 1700000000
        exec AuditToken { auid: 501, euid: 0, egid: 20, ruid: 501, rgid: 20, pid: 4242, asid: 100012, pidversion: 9002 }
          ppid 4000 4000 group 4242 session 4000 flags 22000000 platform false client true cdhash ffeeddccbbaa99887766554433221100ffeeddcc
          signed "org.python.python" "TEAM123456" tty None start None
          responsible None
          parent None
          file /usr/bin/python3 cut true dev 16777231 ino 77 mode 104755 owner 502:80 size 168432 times 1700000011 1700000012 1700000013 1700000010
          given None script None cwd None last_fd None cpu None
          43 bytes, truncated false: ["/usr/bin/python3", "./report", "", "two\\nlines", "byte\\xff"]
    "#]],
    );
}

#[test]
fn an_exec_of_the_latest_version() {
    check(
        EXEC,
        8,
        &expect![[r#"
        EsHeader { version: 8, time_ns: 1764037923456789012, mach_time: 81234567890, thread_id: Some(987654), sequence: EsSequence { class: Some(Exec), seq_num: Some(41), global_seq_num: Some(107) } }
        by AuditToken { auid: 501, euid: 501, egid: 20, ruid: 501, rgid: 20, pid: 4242, asid: 100012, pidversion: 9001 }
          ppid 4000 4000 group 4242 session 4000 flags 26014b01 platform true client false cdhash 00112233445566778899aabbccddeeff00112233
          signed "com.apple.zsh" "" tty Some("/dev/ttys003") start Some(1764037900123456000)
          responsible Some((4000, 8000))
          parent Some((4000, 8000))
          file /bin/zsh cut false dev 16777231 ino 1152921500312524246 mode 100755 owner 0:0 size 1361200 times 1700000001 1700000002 1700000003 1700000000
        exec AuditToken { auid: 501, euid: 0, egid: 20, ruid: 501, rgid: 20, pid: 4242, asid: 100012, pidversion: 9002 }
          ppid 4000 4000 group 4242 session 4000 flags 22000000 platform false client true cdhash ffeeddccbbaa99887766554433221100ffeeddcc
          signed "org.python.python" "TEAM123456" tty Some("/dev/ttys003") start Some(1764037900123456000)
          responsible Some((4000, 8000))
          parent Some((4000, 8000))
          file /usr/bin/python3 cut true dev 16777231 ino 77 mode 104755 owner 502:80 size 168432 times 1700000011 1700000012 1700000013 1700000010
          given Some("/Users/ada/./report") script Some("/Users/ada/report") cwd Some("/Users/ada") last_fd Some(255) cpu Some((16777228, 2))
          43 bytes, truncated false: ["/usr/bin/python3", "./report", "", "two\\nlines", "byte\\xff"]
    "#]],
    );
}

#[test]
fn a_fork_of_the_first_version() {
    check(
        FORK,
        1,
        &expect![[r#"
        EsHeader { version: 1, time_ns: 1764037924999999999, mach_time: 81234999999, thread_id: None, sequence: EsSequence { class: Some(Fork), seq_num: None, global_seq_num: None } }
        by AuditToken { auid: 4294967295, euid: 0, egid: 0, ruid: 0, rgid: 0, pid: 1, asid: 100000, pidversion: 2 }
          ppid 0 0 group 1 session 1 flags 26014b01 platform true client false cdhash 0000000000000000000000000000000000000000
          signed "com.apple.xpc.launchd" "" tty None start None
          responsible None
          parent None
          file /sbin/launchd cut false dev 0 ino 0 mode 0 owner 0:0 size 0 times 0 0 0 0
        fork AuditToken { auid: 4294967295, euid: 0, egid: 0, ruid: 4294967294, rgid: 4294967294, pid: 4300, asid: 100000, pidversion: 9100 }
          ppid 1 1 group 1 session 1 flags 26014b01 platform true client false cdhash 0000000000000000000000000000000000000000
          signed "com.apple.xpc.launchd" "" tty None start None
          responsible None
          parent None
          file /sbin/launchd cut false dev 0 ino 0 mode 0 owner 0:0 size 0 times 0 0 0 0
    "#]],
    );
}

#[test]
fn a_fork_of_the_latest_version() {
    check(
        FORK,
        8,
        &expect![[r#"
        EsHeader { version: 8, time_ns: 1764037924999999999, mach_time: 81234999999, thread_id: None, sequence: EsSequence { class: Some(Fork), seq_num: Some(7), global_seq_num: Some(108) } }
        by AuditToken { auid: 4294967295, euid: 0, egid: 0, ruid: 0, rgid: 0, pid: 1, asid: 100000, pidversion: 2 }
          ppid 0 0 group 1 session 1 flags 26014b01 platform true client false cdhash 0000000000000000000000000000000000000000
          signed "com.apple.xpc.launchd" "" tty None start Some(1763990000000001000)
          responsible Some((1, 2))
          parent Some((0, 0))
          file /sbin/launchd cut false dev 0 ino 0 mode 0 owner 0:0 size 0 times 0 0 0 0
        fork AuditToken { auid: 4294967295, euid: 0, egid: 0, ruid: 4294967294, rgid: 4294967294, pid: 4300, asid: 100000, pidversion: 9100 }
          ppid 1 1 group 1 session 1 flags 26014b01 platform true client false cdhash 0000000000000000000000000000000000000000
          signed "com.apple.xpc.launchd" "" tty None start Some(1764037924999999000)
          responsible Some((1, 2))
          parent Some((1, 2))
          file /sbin/launchd cut false dev 0 ino 0 mode 0 owner 0:0 size 0 times 0 0 0 0
    "#]],
    );
}

#[test]
fn an_exit_of_the_first_version() {
    check(
        EXIT,
        1,
        &expect![[r#"
        EsHeader { version: 1, time_ns: 1764037925000000000, mach_time: 81235000000, thread_id: None, sequence: EsSequence { class: Some(Exit), seq_num: None, global_seq_num: None } }
        by AuditToken { auid: 501, euid: 501, egid: 20, ruid: 501, rgid: 20, pid: 4300, asid: 100012, pidversion: 9101 }
          ppid 1 4000 group 4300 session 4300 flags 0 platform false client false cdhash 0000000000000000000000000000000000000000
          signed "" "" tty None start None
          responsible None
          parent None
          file /Users/ada/crash cut false dev 0 ino 0 mode 0 owner 0:0 size 0 times 0 0 0 0
        exit status 139
    "#]],
    );
}

#[test]
fn an_exit_of_the_latest_version() {
    check(
        EXIT,
        8,
        &expect![[r#"
        EsHeader { version: 8, time_ns: 1764037925000000000, mach_time: 81235000000, thread_id: Some(5000000000), sequence: EsSequence { class: Some(Exit), seq_num: Some(0), global_seq_num: Some(109) } }
        by AuditToken { auid: 501, euid: 501, egid: 20, ruid: 501, rgid: 20, pid: 4300, asid: 100012, pidversion: 9101 }
          ppid 1 4000 group 4300 session 4300 flags 0 platform false client false cdhash 0000000000000000000000000000000000000000
          signed "" "" tty None start Some(1764037924999999000)
          responsible Some((4300, 9101))
          parent Some((1, 2))
          file /Users/ada/crash cut false dev 0 ino 0 mode 0 owner 0:0 size 0 times 0 0 0 0
        exit status 139
    "#]],
    );
}

#[test]
fn every_version_of_fork_and_exit_decodes() {
    for version in 1..=10 {
        let fork = Fixture::load(FORK, version).decode().unwrap();
        assert_eq!(fork.event.class(), EsClass::Fork);
        assert_eq!(fork.header.sequence.seq_num, (version >= 2).then_some(7));
        let exit = Fixture::load(EXIT, version).decode().unwrap();
        assert_eq!(exit.event.class(), EsClass::Exit);
        assert_eq!(exit.header.thread_id, (version >= 4).then_some(5_000_000_000));
    }
}

/// Changes bytes of an exec and expects an error.
fn check_refused(block: &str, offset: usize, bytes: &[u8], expected: &DecodeError) {
    let mut fixture = Fixture::load(EXEC, 8);
    fixture.set(block, offset, bytes);
    let failure = fixture.decode().unwrap_err();
    assert_eq!(failure.error, *expected);
    let DecodeFailure { sequence: Some(sequence), .. } = *failure else { panic!("no sequence") };
    assert_eq!((sequence.seq_num, sequence.global_seq_num), (Some(41), Some(107)));
}

#[test]
fn pointers_that_are_always_set_must_be() {
    for (block, offset, field) in [
        ("message", 0x28, "process"),
        ("message", 0x68, "exec.target"),
        ("message", 0x88, "exec.cwd"),
        ("target", 0x70, "executable"),
        ("caller", 0x70, "executable"),
    ] {
        check_refused(block, offset, &[0; 8], &DecodeError::NullPointer { field });
        let odd = Fixture::load(EXEC, 8).address(block) | 1;
        let refused = DecodeError::MisalignedPointer { field };
        check_refused(block, offset, &odd.to_le_bytes(), &refused);
    }
    for (block, offset, field) in
        [("message", 0xd0, "thread"), ("message", 0x80, "exec.script"), ("target", 0x78, "tty")]
    {
        let refused = DecodeError::MisalignedPointer { field };
        check_refused(block, offset, &0x1001_u64.to_le_bytes(), &refused);
    }
}

#[test]
fn pointers_that_may_be_null_are_absent() {
    let mut fixture = Fixture::load(EXEC, 8);
    fixture.set("message", 0xd0, &[0; 8]);
    fixture.set("message", 0x80, &[0; 8]);
    fixture.set("target", 0x78, &[0; 8]);
    let message = fixture.decode().unwrap();
    let EsEvent::Exec(exec) = message.event else { panic!("not an exec") };
    assert_eq!((message.header.thread_id, exec.script, exec.target.tty), (None, None, None));
}

#[test]
fn lengths_of_strings_are_bounded() {
    for (block, offset, field, bytes_max) in [
        ("python", 0x00, "path", 65_536),
        ("zsh", 0x00, "path", 65_536),
        ("tty", 0x00, "path", 65_536),
        ("message", 0x70, "exec.dyld_exec_path", 65_536),
        ("target", 0x50, "signing_id", 65_536),
        ("caller", 0x60, "team_id", 65_536),
    ] {
        for length in [bytes_max + 1, usize::MAX] {
            let refused = DecodeError::StringLength { field, length, bytes_max };
            check_refused(block, offset, &length.to_le_bytes(), &refused);
        }
        let mut null_with_length = 5_u64.to_le_bytes().to_vec();
        null_with_length.extend_from_slice(&[0; 8]);
        check_refused(block, offset, &null_with_length, &DecodeError::NullPointer { field });
    }
}

#[test]
fn times_must_be_times() {
    let nsec = |fraction| DecodeError::Time { field: "time", sec: 1_764_037_923, fraction };
    check_refused("message", 0x10, &(-1_i64).to_le_bytes(), &nsec(-1));
    check_refused("message", 0x10, &1_000_000_000_i64.to_le_bytes(), &nsec(1_000_000_000));
    let far = DecodeError::Time { field: "time", sec: i64::MAX, fraction: 456_789_012 };
    check_refused("message", 0x08, &i64::MAX.to_le_bytes(), &far);
    let start = |fraction| DecodeError::Time { field: "start_time", sec: 1_764_037_900, fraction };
    check_refused("target", 0x88, &1_000_000_i32.to_le_bytes(), &start(1_000_000_000));
    check_refused("caller", 0x88, &i32::MIN.to_le_bytes(), &start(-2_147_483_648_000));
}

#[test]
fn a_failure_tells_the_time_where_it_can_be_read() {
    let mut fixture = Fixture::load(EXEC, 8);
    fixture.set("target", 0x70, &[0; 8]);
    assert_eq!(fixture.decode().unwrap_err().time_ns, Some(1_764_037_923_456_789_012));
    fixture.set("message", 0x10, &[0xff; 8]);
    assert_eq!(fixture.decode().unwrap_err().time_ns, None);
}

#[test]
fn unknown_events_and_versions_are_refused() {
    let mut fixture = Fixture::load(EXEC, 8);
    fixture.set("message", 0x60, &10_u32.to_le_bytes());
    let failure = fixture.decode().unwrap_err();
    assert_eq!(failure.error, DecodeError::EventType { event_type: 10 });
    assert_eq!(failure.sequence.unwrap().class, None);
    assert_eq!(failure.sequence.unwrap().global_seq_num, Some(107));
    let failure = Fixture::load(EXEC, 0).decode().unwrap_err();
    assert_eq!(failure.error, DecodeError::Version { version: 0 });
    assert_eq!(failure.sequence, None);
}

#[test]
fn arguments_are_bounded_in_number_and_length() {
    let mut fixture = Fixture::load(EXEC, 8);
    fixture.claimed_count = Some(u32::MAX);
    let refused = DecodeError::ArgumentCount { count: u32::MAX };
    assert_eq!(fixture.decode().unwrap_err().error, refused);

    let mut fixture = Fixture::load(EXEC, 8);
    fixture.arguments.push(RawString { length: usize::MAX, data: std::ptr::null() });
    let refused = DecodeError::StringLength {
        field: "exec argument",
        length: usize::MAX,
        bytes_max: 1_048_576,
    };
    assert_eq!(fixture.decode().unwrap_err().error, refused);

    let mut fixture = Fixture::load(EXEC, 8);
    fixture.arguments.push(RawString { length: 1, data: std::ptr::null() });
    let refused = DecodeError::NullPointer { field: "exec argument" };
    assert_eq!(fixture.decode().unwrap_err().error, refused);
}

#[test]
fn arguments_beyond_the_bound_are_counted_but_not_kept() {
    let mut fixture = Fixture::load(EXEC, 8);
    fixture.arguments.clear();
    for _ in 0..5 {
        let token = fixture.string(vec![b'x'; 300_000]);
        fixture.arguments.push(token);
    }
    let EsEvent::Exec(exec) = fixture.decode().unwrap().event else { panic!("not an exec") };
    assert_eq!((exec.arguments.len(), exec.arguments_bytes), (3, 1_500_005));
    assert!(exec.arguments_truncated);
}

#[test]
fn an_exec_without_arguments_has_none() {
    let mut fixture = Fixture::load(EXEC, 8);
    fixture.arguments.clear();
    let EsEvent::Exec(exec) = fixture.decode().unwrap().event else { panic!("not an exec") };
    assert_eq!((exec.arguments.len(), exec.arguments_bytes), (0, 0));
    assert!(!exec.arguments_truncated);
}
