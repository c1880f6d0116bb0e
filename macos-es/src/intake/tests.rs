//! The queue's bounds and its books.

use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use super::{IntakeLimits, LOSSES_MAX, Received, intake};
use crate::decode::{DecodeError, DecodeFailure};
use crate::fixture::Fixture;
use crate::message::{EsClass, EsEvent, EsMessage, EsSequence};
use crate::source::{EsLoss, EsLossKind};

const SECOND_NS: i64 = 1_000_000_000;
const LIMITS: IntakeLimits = IntakeLimits { messages_max: 4, bytes_max: 1_000_000 };
const NOW: Duration = Duration::ZERO;

/// An exit with a place in the sequence, `second` seconds after the epoch.
fn exit(seq_num: u64, global: u64, second: i64) -> EsMessage {
    let mut message = Fixture::load(include_str!("../../fixtures/exit.es"), 8).decode().unwrap();
    message.header.time_ns = second * SECOND_NS;
    message.header.sequence.seq_num = Some(seq_num);
    message.header.sequence.global_seq_num = Some(global);
    message
}

fn failure(seq_num: u64, global: u64, second: i64) -> Box<DecodeFailure> {
    Box::new(DecodeFailure {
        sequence: Some(EsSequence {
            class: Some(EsClass::Exit),
            seq_num: Some(seq_num),
            global_seq_num: Some(global),
        }),
        time_ns: Some(second * SECOND_NS),
        error: DecodeError::NullPointer { field: "process" },
    })
}

fn numbers(received: &Received) -> Vec<u64> {
    received.messages.iter().filter_map(|message| message.header.sequence.seq_num).collect()
}

fn loss(kind: EsLossKind, class: Option<EsClass>, lost: u64, from: i64, to: i64) -> EsLoss {
    let (start_ns, end_ns) = (from * SECOND_NS, to * SECOND_NS);
    EsLoss { kind, class, lost, start_ns, end_ns, detail: None }
}

#[test]
fn messages_come_out_in_order_and_once() {
    let (intake, reader) = intake(LIMITS);
    for number in 0..3 {
        intake.accept(Ok(exit(number, number, 1)));
    }
    let received = reader.receive(NOW);
    assert_eq!(numbers(&received), [0, 1, 2]);
    assert_eq!((received.losses, received.closed), (vec![], false));
    assert!(reader.receive(NOW).messages.is_empty());
}

#[test]
fn what_finds_the_queue_full_is_counted_and_not_taken_for_dropped() {
    let (intake, reader) = intake(LIMITS);
    for number in 0..7 {
        intake.accept(Ok(exit(number, number, 20 + i64::try_from(number).unwrap())));
    }
    let received = reader.receive(NOW);
    assert_eq!(numbers(&received), [0, 1, 2, 3]);
    let exit_class = Some(EsClass::Exit);
    assert_eq!(received.losses, [loss(EsLossKind::QueueFull, exit_class, 3, 24, 26)]);
    intake.accept(Ok(exit(7, 7, 30)));
    let received = reader.receive(NOW);
    assert_eq!((numbers(&received), received.losses), (vec![7], vec![]));
}

#[test]
fn bytes_are_bounded_and_freed() {
    let (intake, reader) = intake(LIMITS);
    let mut exec = Fixture::load(include_str!("../../fixtures/exec.es"), 8).decode().unwrap();
    let EsEvent::Exec(event) = &mut exec.event else { panic!("not an exec") };
    event.arguments = vec![vec![b'x'; 600_000]];
    for round in 0..2_u64 {
        for part in 0..2 {
            exec.header.sequence.seq_num = Some(round * 2 + part);
            exec.header.sequence.global_seq_num = exec.header.sequence.seq_num;
            intake.accept(Ok(exec.clone()));
        }
        let received = reader.receive(NOW);
        assert_eq!(numbers(&received), [round * 2]);
        let [loss] = &*received.losses else { panic!("one loss: {:?}", received.losses) };
        assert_eq!((loss.kind, loss.lost), (EsLossKind::QueueFull, 1));
    }
}

#[test]
fn drops_are_told_in_total_and_by_class_with_their_span() {
    let (intake, reader) = intake(LIMITS);
    intake.accept(Ok(exit(0, 0, 10)));
    intake.accept(Ok(exit(3, 9, 12)));
    let received = reader.receive(NOW);
    assert_eq!(
        received.losses,
        [
            loss(EsLossKind::Dropped, None, 8, 10, 12),
            loss(EsLossKind::DroppedOfClass, Some(EsClass::Exit), 2, 10, 12),
        ]
    );
}

#[test]
fn before_version_4_drops_are_told_by_class() {
    let (intake, reader) = intake(LIMITS);
    for (number, second) in [(0, 1), (2, 2)] {
        let mut message = exit(number, 0, second);
        message.header.sequence.global_seq_num = None;
        intake.accept(Ok(message));
    }
    let class = Some(EsClass::Exit);
    assert_eq!(
        reader.receive(NOW).losses,
        [
            loss(EsLossKind::Dropped, class, 1, 1, 2),
            loss(EsLossKind::DroppedOfClass, class, 1, 1, 2),
        ]
    );
}

#[test]
fn what_cannot_be_decoded_is_counted_and_not_taken_for_dropped() {
    let (intake, reader) = intake(LIMITS);
    intake.accept(Err(failure(0, 0, 1)));
    intake.accept(Err(failure(1, 1, 2)));
    intake.accept(Ok(exit(2, 2, 3)));
    let received = reader.receive(NOW);
    assert_eq!(numbers(&received), [2]);
    let expected = EsLoss {
        detail: Some("process is null".to_owned()),
        ..loss(EsLossKind::Undecoded, Some(EsClass::Exit), 2, 1, 2)
    };
    assert_eq!(received.losses, [expected]);
}

#[test]
fn losses_are_bounded_and_their_sum_is_kept() {
    let (intake, reader) = intake(LIMITS);
    let count = u64::try_from(LOSSES_MAX).unwrap() * 3;
    for number in 0..count {
        intake.accept(Err(failure(number, number, i64::try_from(number).unwrap() * 10)));
    }
    let losses = reader.receive(NOW).losses;
    assert_eq!(losses.len(), LOSSES_MAX);
    assert_eq!(losses.iter().map(|loss| loss.lost).sum::<u64>(), count);
}

#[test]
fn a_waiting_reader_is_woken_and_gathers() {
    let (intake, reader) = intake(LIMITS);
    let (ready, go) = sync_channel(0);
    let writer = thread::spawn(move || {
        go.recv().unwrap();
        intake.accept(Ok(exit(0, 0, 1)));
        intake
    });
    ready.send(()).unwrap();
    assert_eq!(numbers(&reader.receive(Duration::from_secs(60))), [0]);
    drop(writer.join().unwrap());
}

#[test]
fn the_end_is_told_after_the_rest() {
    let (intake, reader) = intake(LIMITS);
    intake.accept(Ok(exit(0, 0, 1)));
    drop(intake);
    let received = reader.receive(Duration::from_secs(60));
    assert_eq!((numbers(&received), received.closed), (vec![0], true));
    assert!(reader.receive(Duration::from_secs(60)).closed);
}
