//! Recorded datagrams, whole and damaged, and bytes by chance.

use proptest::prelude::*;

use super::*;

/// A recorded datagram.
fn recorded(name: &str) -> Vec<u8> {
    let lines = include_str!("fixtures/messages.txt").lines();
    let digits = lines.filter_map(|line| line.split_once(' ')).find(|(word, _)| *word == name);
    let digits = digits.unwrap_or_else(|| panic!("no datagram {name}")).1.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn of(name: &str) -> Message {
    parse(&recorded(name)).unwrap()
}

const SHELL: u32 = 0x4f6b;
const CHILD: u32 = 0x4f95;

#[test]
fn recorded_messages_tell_what_happened() {
    let task = |tid, pid| Task { tid, pid };
    assert_eq!(of("ack").what, What::Ack { error: 0 });
    let thread = What::Fork { parent: 0x4f68, child: task(0x4f94, SHELL) };
    assert_eq!(of("thread").what, thread);
    assert_eq!(of("fork").what, What::Fork { parent: SHELL, child: task(CHILD, CHILD) });
    assert_eq!(of("exec").what, What::Exec { pid: CHILD });
    let thread = What::Exit { task: task(0x4f94, SHELL), status: 0, parent: 0 };
    assert_eq!(of("thread_exit").what, thread);
    let exit = What::Exit { task: task(CHILD, CHILD), status: 0, parent: SHELL };
    assert_eq!(of("exit").what, exit);
    let killed = What::Exit { task: task(0x4f96, 0x4f96), status: 9, parent: SHELL };
    assert_eq!(of("killed").what, killed);
    assert_eq!(of("comm").what, What::Other);
    let (real, effective) = (7, 7);
    assert_eq!(of("users").what, What::Users { task: task(1580, 1580), real, effective });
    let (real, effective) = (8, 8);
    assert_eq!(of("groups").what, What::Groups { task: task(1580, 1580), real, effective });
}

#[test]
fn recorded_messages_have_number_cpu_and_time() {
    let exec = of("exec");
    assert_eq!((exec.cpu, exec.sequence), (1, 4));
    assert_eq!(exec.monotonic_ns, 0x2c77_d729_8bf7);
    assert_eq!((of("ack").ack, of("users").cpu), (1, 0));
}

#[test]
fn a_message_cut_anywhere_is_an_error() {
    for name in ["ack", "fork", "exec", "exit", "users", "comm"] {
        let whole = recorded(name);
        for length in 0..whole.len() {
            let error = parse(&whole[..length]).unwrap_err();
            let is_expected = matches!(error, ParseError::Short { .. } | ParseError::Length { .. });
            assert!(is_expected, "{name} cut to {length}: {error}");
        }
    }
}

#[test]
fn lengths_that_lie_are_errors() {
    let mut longer = recorded("fork");
    longer[0] += 1;
    assert_eq!(parse(&longer), Err(ParseError::Length { stated: 77, bytes: 76 }));
    let mut event = recorded("fork");
    event[NETLINK_BYTES + 16] += 1;
    assert_eq!(parse(&event), Err(ParseError::Length { stated: 41, bytes: 40 }));
    let mut none = recorded("fork");
    none[NETLINK_BYTES + 16] = 15;
    assert_eq!(parse(&none), Err(ParseError::Short { bytes: 76 }));
    // The union ends before the child's process.
    none[NETLINK_BYTES + 16] = 31;
    assert_eq!(parse(&none), Err(ParseError::Short { bytes: 76 }));
}

#[test]
fn an_exit_from_before_it_told_the_parent_parses() {
    let mut exit = recorded("exit");
    exit[NETLINK_BYTES + 16] = 32;
    let What::Exit { status, parent, .. } = parse(&exit).unwrap().what else { panic!() };
    assert_eq!((status, parent), (0, 0));
}

#[test]
fn another_connector_is_an_error() {
    let mut other = recorded("fork");
    other[NETLINK_BYTES] = 9;
    assert_eq!(parse(&other), Err(ParseError::Connector { index: 9, value: 1 }));
}

#[test]
fn a_request_is_as_the_kernel_reads_it() {
    let mut expected = Vec::new();
    for word in [40_u32, 3, 0, 0, 1, 1, 0, 77, 4, LISTEN] {
        expected.extend(word.to_ne_bytes());
    }
    assert_eq!(request(LISTEN, 77), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn bytes_by_chance_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..96)) {
        // Most are errors; what matters is that there is an answer.
        prop_assert!(parse(&bytes).is_ok() || parse(&bytes).is_err());
    }

    #[test]
    fn damaged_messages_never_panic(
        name in proptest::sample::select(vec!["ack", "fork", "exec", "exit", "users", "comm"]),
        at in 0_usize..76,
        value in any::<u8>(),
        length in 0_usize..=76,
    ) {
        let mut bytes = recorded(name);
        bytes[at] = value;
        bytes.truncate(length);
        if let Ok(message) = parse(&bytes) {
            prop_assert_eq!(length, 76);
            prop_assert!(at >= 20 || message == of(name) || at < 16, "{:?}", message);
        }
    }
}
