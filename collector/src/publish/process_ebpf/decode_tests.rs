//! Tests of the decoder: records captured from a kernel, and what could be done to them.
//!
//! The captures are in `fixtures/`. `BYGONE_CAPTURE=1 cargo test -p bygone captures` writes new
//! ones.

use bygone_probe_abi::{self as abi, CLASSES};
use expect_test::{expect, expect_file};
use zerocopy::IntoBytes;

use super::{DecodeError, Decoded, Record, absolute, decode};
use crate::events::{ProcessEvent, ProcessKey};

const EXEC: &[u8] = include_bytes!("fixtures/exec.bin");
const SCRIPT: &[u8] = include_bytes!("fixtures/script.bin");
const SNAPSHOT: &[u8] = include_bytes!("fixtures/snapshot.bin");
const FORK: &[u8] = include_bytes!("fixtures/fork.bin");
const EXIT: &[u8] = include_bytes!("fixtures/exit.bin");

const IMAGE: &[u8] = include_bytes!("fixtures/image.bin");
const OPEN_MEMORY: &[u8] = include_bytes!("fixtures/open_memory.bin");

const ALL: [&[u8]; 7] = [EXEC, SCRIPT, SNAPSHOT, FORK, EXIT, IMAGE, OPEN_MEMORY];

fn record(bytes: &[u8]) -> Record {
    decode(bytes, 1_000_000_000).unwrap()
}

#[test]
fn the_captured_exec_decodes_as_before() {
    expect_file!["fixtures/exec.txt"].assert_debug_eq(&record(EXEC).event);
}

#[test]
fn a_process_that_is_left_out_is_told() {
    let record = |length: u32| abi::LeftOutRecord {
        header: abi::Header { kind: abi::KIND_LEFT_OUT, length, time_ns: 9 },
        process: abi::Process { pid: 7, reserved: 0, start_ns: 8 },
    };
    let decoded = decode(record(32).as_bytes(), 0).unwrap();
    let process = ProcessKey { pid: 7, start_ns: 8 };
    assert_eq!((decoded.boot_ns, decoded.event), (9, Decoded::LeftOut(process)));
    let record = record(31);
    let short = &record.as_bytes()[..31];
    assert_eq!(decode(short, 0), Err(DecodeError::Short { bytes: 31 }));
}

#[test]
fn the_captured_script_keeps_both_paths() {
    let Decoded::Life(ProcessEvent::Exec(exec)) = record(SCRIPT).event else {
        panic!("not an exec")
    };
    expect![[r#"
        (
            Some(
                "/usr/bin/dash",
            ),
            Some(
                "/tmp/bygone-fixture",
            ),
            Some(
                [
                    47,
                    98,
                    105,
                    110,
                    47,
                    115,
                    104,
                    0,
                    47,
                    116,
                    109,
                    112,
                    47,
                    98,
                    121,
                    103,
                    111,
                    110,
                    101,
                    45,
                    102,
                    105,
                    120,
                    116,
                    117,
                    114,
                    101,
                    0,
                ],
            ),
            Some(
                "/",
            ),
        )
    "#]]
    .assert_debug_eq(&(exec.path, exec.script_path, exec.arguments, exec.cwd));
}

#[test]
fn the_captured_snapshot_carries_its_start_and_no_arguments() {
    let record = record(SNAPSHOT);
    assert!(record.is_snapshot());
    let Decoded::Life(ProcessEvent::Exec(exec)) = record.event else { panic!("not an exec") };
    assert_eq!(exec.time_ns, i64::try_from(exec.process.start_ns).unwrap() + 1_000_000_000);
    assert_eq!(exec.arguments, None);
    assert!(exec.arguments_bytes > 0);
}

#[test]
fn the_captured_fork_decodes_as_before() {
    expect![[r#"
        Life(
            Fork(
                ForkEvent {
                    time_ns: 1145560273510,
                    process: ProcessKey {
                        pid: 10117,
                        start_ns: 1144560269446,
                    },
                    parent: Some(
                        ProcessKey {
                            pid: 10087,
                            start_ns: 1143677735023,
                        },
                    ),
                    caller: ProcessKey {
                        pid: 10087,
                        start_ns: 1143677735023,
                    },
                    clone_flags: Some(
                        16640,
                    ),
                    namespaces: Some(
                        Namespaces {
                            pid: 4026531836,
                            mount: 4026531832,
                            network: 4026531833,
                            user: 4026531837,
                        },
                    ),
                    uid: 0,
                    gid: 0,
                    path: None,
                },
            ),
        )
    "#]]
    .assert_debug_eq(&record(FORK).event);
}

#[test]
fn the_captured_exit_decodes_as_before() {
    expect![[r#"
        Life(
            Exit(
                ExitEvent {
                    time_ns: 1145575574628,
                    process: ProcessKey {
                        pid: 10117,
                        start_ns: 1144560269446,
                    },
                    parent: Some(
                        ProcessKey {
                            pid: 10087,
                            start_ns: 1143677735023,
                        },
                    ),
                    uid: 0,
                    gid: 0,
                    exit_code: Some(
                        0,
                    ),
                    signal: None,
                    core_dumped: Some(
                        false,
                    ),
                    noticed: Told,
                    cpu_ns: Some(
                        1427716,
                    ),
                    lifetime_ns: Some(
                        15305182,
                    ),
                    usage: Some(
                        Usage {
                            user_ns: 0,
                            system_ns: 0,
                            rss_bytes_max: 63610880,
                            read_bytes: Some(
                                8192,
                            ),
                            written_bytes: Some(
                                0,
                            ),
                        },
                    ),
                    path: None,
                },
            ),
        )
    "#]]
    .assert_debug_eq(&record(EXIT).event);
}

#[test]
fn the_captured_image_decodes_as_before() {
    expect![[r#"
        Act(
            ActionEvent {
                time_ns: 1287869437609,
                actor: ProcessKey {
                    pid: 5573,
                    start_ns: 1286867114028,
                },
                tid: 5573,
                uid: 0,
                path: None,
                action: Image(
                    ImageAction {
                        path: Some(
                            "/usr/lib/x86_64-linux-gnu/libc.so.6",
                        ),
                        path_truncated: false,
                        file: ProgramFile {
                            device: 65024,
                            inode: 326279,
                            mode: 33261,
                            owner_uid: 0,
                            owner_gid: 0,
                            atime: None,
                            mtime: None,
                            ctime: Some(
                                1777320873,
                            ),
                            btime: None,
                            ctime_ns: Some(
                                1777320873000000000,
                            ),
                            size: Some(
                                1926232,
                            ),
                            links: Some(
                                1,
                            ),
                            in_memory: false,
                        },
                        mount_namespace: Some(
                            4026531832,
                        ),
                        writable: false,
                    },
                ),
            },
            0,
        )
    "#]]
    .assert_debug_eq(&record(IMAGE).event);
}

#[test]
fn the_captured_opening_of_memory_decodes_as_before() {
    expect![[r#"
        Act(
            ActionEvent {
                time_ns: 1287945021604,
                actor: ProcessKey {
                    pid: 5569,
                    start_ns: 1286545765803,
                },
                tid: 5570,
                uid: 0,
                path: None,
                action: Access(
                    AccessAction {
                        call: "openat",
                        request: None,
                        memory: Some(
                            Read,
                        ),
                        target: Target {
                            process: Some(
                                ProcessKey {
                                    pid: 5571,
                                    start_ns: 1286556293287,
                                },
                            ),
                            path: None,
                        },
                        target_id: 5571,
                        result: 107,
                    },
                ),
            },
            4026531836,
        )
    "#]]
    .assert_debug_eq(&record(OPEN_MEMORY).event);
}

#[test]
fn the_file_of_a_module_is_no_event() {
    let at = std::mem::offset_of!(bygone_probe_abi::ImageRecord, flags);
    let mut bytes = IMAGE.to_vec();
    bytes[at] |= u8::try_from(bygone_probe_abi::IMAGE_MODULE).unwrap();
    let Decoded::ModuleFile(process, tid, file) = record(&bytes).event else {
        panic!("not a module's file")
    };
    let Decoded::Act(event, _) = record(IMAGE).event else { panic!("not an act") };
    let crate::events::Action::Image(image) = event.action else { panic!("not an image") };
    assert_eq!((process, tid), (event.actor, event.tid));
    assert_eq!((file.path, file.file, file.signer), (image.path, image.file, None));
}

#[test]
fn a_record_of_any_other_length_is_refused() {
    for bytes in ALL {
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length], 0).is_err(), "length {length}");
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(matches!(decode(&longer, 0), Err(DecodeError::Length { .. })));
        // The right length stated, and still too much for what it holds.
        let length = u32::try_from(longer.len()).unwrap();
        longer[4..8].copy_from_slice(&length.to_le_bytes());
        assert!(decode(&longer, 0).is_err());
    }
}

#[test]
fn garbled_records_never_panic() {
    for bytes in ALL {
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut garbled = bytes.to_vec();
                garbled[at] = value;
                let decoded = decode(&garbled, i64::MAX);
                assert!(
                    decoded.is_err() || decoded.is_ok_and(|record| record.class < CLASSES.len())
                );
            }
        }
    }
}

#[test]
fn an_unknown_kind_is_named() {
    let mut bytes = EXIT.to_vec();
    bytes[0] = 77;
    assert_eq!(decode(&bytes, 0), Err(DecodeError::Kind { kind: 77 }));
}

#[test]
fn parts_that_do_not_add_up_are_refused() {
    // The length of the arguments, the first part of the tail.
    let at = std::mem::offset_of!(bygone_probe_abi::ExecRecord, arguments_len);
    for value in [0_u32, 1, u32::MAX] {
        let mut bytes = EXEC.to_vec();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        assert_eq!(decode(&bytes, 0), Err(DecodeError::Parts));
    }
}

#[test]
fn components_become_a_path() {
    assert_eq!(absolute(b"ls\0bin\0usr\0", true, false).as_deref(), Some("/usr/bin/ls"));
    assert_eq!(absolute(b"", true, false).as_deref(), Some("/"));
    assert_eq!(absolute(b"", false, false), None);
    assert_eq!(absolute(b"memfd:x\0", false, true).as_deref(), Some("memfd:x"));
    assert_eq!(absolute(b"a\0b\0/\0", false, true).as_deref(), Some("b/a"));
    assert_eq!(absolute(b"/\0", false, true), None);
    assert_eq!(absolute(b"c\0b\0", false, false).as_deref(), Some("b/c"));
    assert_eq!(absolute(b"\xff\0d\0", true, false).as_deref(), Some("/d/\\xff"));
}

/// Writes the fixtures when asked to; otherwise checks that they are of the kinds they should be.
#[test]
fn captures() {
    if std::env::var_os("BYGONE_CAPTURE").is_some() {
        super::super::live_tests::harness::capture();
        return;
    }
    let kinds: Vec<u8> = ALL.iter().map(|bytes| bytes[0]).collect();
    assert_eq!(kinds, [1, 1, 1, 2, 3, 6, 5]);
}
