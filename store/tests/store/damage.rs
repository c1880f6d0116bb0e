//! Torn and flipped bytes, and bytes made to look like frames.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bygone_store::{Damage, DamageKind, Writer};

use crate::fixture::{
    SampleEvents, copy, files, only_journal, open, open_small, read, sample, samples,
};

/// Five frames of ten rows; returns where each begins, and where the last ends.
fn five_frames(dir: &Path) -> (Writer, Vec<u64>) {
    let (mut writer, _) = open(dir);
    let length = |dir: &Path| std::fs::metadata(only_journal(dir)).unwrap().len();
    let mut offsets = vec![length(dir)];
    for frame in 0..5 {
        writer.append(samples(frame * 10..frame * 10 + 10)).unwrap();
        offsets.push(length(dir));
    }
    (writer, offsets)
}

fn numbers(dir: &Path) -> (Vec<u32>, Vec<Damage>) {
    let (rows, damage) = read(dir);
    (rows.into_iter().map(|(_, row)| row.pid).collect(), damage)
}

/// Opens the copy to write, closes it, and reads it. The number of a lost row is not given again.
fn reopened(dir: &Path) -> (Vec<Damage>, Vec<u32>) {
    let (mut writer, opened) = open(dir);
    let appended = writer.append([sample(99)]).unwrap().unwrap();
    assert!(appended.first_eid > 50, "{appended:?}");
    writer.close().unwrap();
    let (mut numbers, damage) = numbers(dir);
    assert_eq!(damage, [], "after recovery nothing is damaged any more");
    assert_eq!(numbers.pop(), Some(99));
    (opened.recovered, numbers)
}

#[test]
fn a_tail_torn_at_any_byte_loses_only_the_last_frame() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, offsets) = five_frames(dir.path());
    let (start, end) = (offsets[4], offsets[5]);
    for length in start..end {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let journal = std::fs::File::options().write(true).open(only_journal(copied.path()));
        journal.unwrap().set_len(length).unwrap();
        assert_eq!(numbers(copied.path()).0, (0..40).collect::<Vec<_>>(), "at {length}");
        // Opening is dear; a few lengths of each part of the frame stand for all.
        if (length - start) % 61 == 0 {
            let (recovered, numbers) = reopened(copied.path());
            assert_eq!(numbers, (0..40).collect::<Vec<_>>(), "at {length}");
            let kinds: Vec<_> = recovered.iter().map(|damage| damage.kind).collect();
            let torn = if length == start { vec![] } else { vec![DamageKind::TornTail] };
            assert_eq!(kinds, torn, "at {length}");
        }
    }
}

#[test]
fn a_flipped_byte_loses_only_its_frame_and_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, offsets) = five_frames(dir.path());
    let (start, end) = (offsets[2], offsets[3]);
    let expected: Vec<u32> = (0..20).chain(30..50).collect();
    for offset in start..end {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        flip(&only_journal(copied.path()), offset);
        let (numbers, damage) = numbers(copied.path());
        assert_eq!(numbers, expected, "at {offset}");
        let [damage] = damage.as_slice() else { panic!("at {offset}: {damage:?}") };
        let in_header = offset - start < 64;
        let kind = if in_header { DamageKind::Hole } else { DamageKind::Frame };
        assert_eq!(damage.kind, kind, "at {offset}");
        let times = if in_header { (19_000, 30_000) } else { (20_000, 29_000) };
        assert_eq!(damage.time_ns, Some(times), "at {offset}");
        assert!(damage.kind.loses_rows());
        if (offset - start) % 61 == 0 {
            let (recovered, numbers) = reopened(copied.path());
            assert_eq!(numbers, expected, "at {offset}");
            assert_eq!(recovered.iter().map(|d| d.kind).collect::<Vec<_>>(), [kind]);
        }
    }
}

/// Seals the journal of a running writer; returns what the sealer found.
fn sealed_while_running(dir: &Path, mut writer: Writer) -> Vec<Damage> {
    let (journal, deadline) = (only_journal(dir), Instant::now() + Duration::from_secs(60));
    writer.append([SampleEvents { note: "x".repeat(64 << 10), ..sample(99) }]).unwrap();
    writer.append([sample(100)]).unwrap();
    while journal.exists() && Instant::now() < deadline {
        writer.tick().unwrap();
        std::thread::yield_now();
    }
    assert!(!journal.exists(), "it was not sealed");
    let damage = findings_settled(|| writer.take_damage());
    writer.close().unwrap();
    damage
}

/// What is lost in a journal of this run is told once, by the sealer.
#[test]
fn the_sealer_reports_holes_and_bad_frames() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open_small(dir.path(), 32 << 10);
    let length = |dir: &Path| std::fs::metadata(only_journal(dir)).unwrap().len();
    let start = length(dir.path());
    writer.append(samples(0..10)).unwrap();
    let second = length(dir.path());
    writer.append(samples(10..20)).unwrap();
    flip(&only_journal(dir.path()), start + 8);
    flip(&only_journal(dir.path()), second + 80);
    let damage = sealed_while_running(dir.path(), writer);
    let kinds: Vec<_> = damage.iter().map(|damage| damage.kind).collect();
    assert_eq!(kinds, [DamageKind::Hole, DamageKind::Frame], "{damage:?}");
    assert_eq!(numbers(dir.path()), (vec![99, 100], vec![]));
}

/// What the start has reported the sealer does not report again.
#[test]
fn a_finding_of_the_start_is_reported_once() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, offsets) = five_frames(dir.path());
    drop(writer);
    let journal = only_journal(dir.path());
    flip(&journal, offsets[1] + 80);
    flip(&journal, offsets[3] + 8);
    let (mut writer, opened) = open(dir.path());
    let mut kinds: Vec<_> = opened.recovered.iter().map(|damage| damage.kind).collect();
    kinds.sort_by_key(|kind| format!("{kind:?}"));
    assert_eq!(kinds, [DamageKind::Frame, DamageKind::Hole]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while journal.exists() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(!journal.exists(), "it was not sealed");
    assert_eq!(findings_settled(|| writer.take_damage()), []);
}

/// Asks for a moment, since findings may come a little after the journal has gone.
fn findings_settled(mut findings: impl FnMut() -> Vec<Damage>) -> Vec<Damage> {
    let until = Instant::now() + Duration::from_millis(200);
    let mut found = Vec::new();
    while Instant::now() < until {
        found.extend(findings());
        std::thread::yield_now();
    }
    found
}

fn flip(path: &Path, offset: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x5a], offset).unwrap();
}

#[test]
fn a_journal_without_a_header_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = five_frames(dir.path());
    drop(writer);
    flip(&only_journal(dir.path()), 40);
    let (found, damage) = numbers(dir.path());
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(damage[0].kind, DamageKind::JournalHeader);
    let (mut writer, opened) = open(dir.path());
    assert_eq!(opened.recovered[0].kind, DamageKind::JournalHeader);
    assert_eq!(files(dir.path(), "orphans").len(), 1);
    writer.append([sample(7)]).unwrap();
    writer.close().unwrap();
    assert_eq!(numbers(dir.path()), (vec![7], vec![]));
    assert_eq!(files(dir.path(), "orphans").len(), 1);
}

/// A program's argument may hold the bytes of a frame: of another journal, or of this one's
/// format with a guessed salt. Even when the frame around it is damaged, so that the reader looks
/// for the next one byte by byte, it is not taken for one.
#[test]
fn a_frame_within_an_argument_is_not_taken_for_one() {
    let other = tempfile::tempdir().unwrap();
    let (writer, offsets) = five_frames(other.path());
    let bytes = std::fs::read(only_journal(other.path())).unwrap();
    let frame = &bytes[offsets[1] as usize..offsets[2] as usize];
    drop(writer);

    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    // Text is UTF-8, so the argument carries the frame as a `Vec<u8>` would: see the raw write.
    let filler = "x".repeat(frame.len());
    writer.append([sample(0)]).unwrap();
    let start = std::fs::metadata(only_journal(dir.path())).unwrap().len();
    writer.append([SampleEvents { note: filler, ..sample(1) }]).unwrap();
    writer.append([sample(2)]).unwrap();

    let journal = only_journal(dir.path());
    let content = std::fs::read(&journal).unwrap();
    let at = content.windows(frame.len()).position(|bytes| bytes.iter().all(|byte| *byte == b'x'));
    let file = std::fs::File::options().write(true).open(&journal).unwrap();
    file.write_all_at(frame, at.unwrap() as u64).unwrap();
    flip(&journal, start + 8);
    let (numbers, damage) = numbers(dir.path());
    assert_eq!(numbers, [0, 2]);
    assert_eq!(damage.iter().map(|damage| damage.kind).collect::<Vec<_>>(), [DamageKind::Hole]);
}

#[test]
fn a_missing_or_damaged_segment_is_reported_and_the_others_are_read() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let (mut writer, _) = open(dir.path());
        writer.append(samples(round * 10..round * 10 + 10)).unwrap();
        writer.close().unwrap();
    }
    let segments = files(dir.path(), "segments");
    assert_eq!(segments.len(), 3);
    std::fs::write(&segments[0], b"PAR1 and no more").unwrap();
    std::fs::remove_file(&segments[1]).unwrap();
    let (numbers, damage) = numbers(dir.path());
    assert_eq!(numbers, (20..30).collect::<Vec<_>>());
    let mut kinds: Vec<_> = damage.iter().map(|damage| (damage.kind, damage.rows)).collect();
    kinds.sort_by_key(|(kind, _)| format!("{kind:?}"));
    let expected = [(DamageKind::Segment, Some(10)), (DamageKind::SegmentMissing, Some(10))];
    assert_eq!(kinds, expected);
}

/// No byte of a segment, flipped, ends the reader: it reports, or reads on.
#[test]
fn no_flipped_byte_of_a_segment_ends_the_reader() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open_small(dir.path(), 8 << 20);
    writer.append(samples(0..200)).unwrap();
    writer.close().unwrap();
    let segment = files(dir.path(), "segments").remove(0);
    let whole = std::fs::read(&segment).unwrap();
    let mut reported = 0;
    for offset in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[offset] ^= 0x5a;
        std::fs::write(&segment, &bytes).unwrap();
        let reader = bygone_store::Reader::open(dir.path()).unwrap();
        let snapshot = reader.snapshot().unwrap();
        let columns = (1..5).collect();
        let request = bygone_store::ScanRequest::new(i64::MIN..=i64::MAX, columns);
        let schema = <SampleEvents as bygone_store::EventTable>::SCHEMA;
        for batch in snapshot.scan(schema, &request).unwrap() {
            assert!(batch.unwrap().len() <= 200);
        }
        reported += snapshot.damage().len();
    }
    assert!(reported > whole.len() / 7 / 4, "{reported} of {} were reported", whole.len() / 7);
}

/// Numbers of journals have no gaps: one that is not there has been lost.
#[test]
fn a_journal_that_is_gone_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    // Without a run between them, the journals of several runs wait unsealed.
    let journals = three_journals(dir.path());
    std::fs::remove_file(&journals[1]).unwrap();
    let expected: Vec<u32> = (0..10).chain(20..30).collect();
    let (found, damage) = numbers(dir.path());
    assert_eq!(found, expected);
    let kinds = |damage: &[Damage]| damage.iter().map(|damage| damage.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&damage), [DamageKind::JournalMissing]);
    assert!(damage[0].kind.loses_rows());
    assert_eq!(damage[0].file, "journal/2.bj");
    let (writer, opened) = open(dir.path());
    assert_eq!(kinds(&opened.recovered), [DamageKind::JournalMissing]);
    writer.close().unwrap();
    assert_eq!(numbers(dir.path()), (expected, vec![]));
}

/// A manifest that has lost its last entry whole: the journal is gone, its segment is there.
#[test]
fn a_reader_takes_up_segments_whose_entry_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    writer.append(samples(0..10)).unwrap();
    writer.close().unwrap();
    let manifest = files(dir.path(), "manifest").remove(0);
    let whole = std::fs::read_to_string(&manifest).unwrap();
    let (mut writer, _) = open(dir.path());
    writer.append(samples(10..20)).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let cut: String = lines[..lines.len() - 1].iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&manifest, cut).unwrap();
    assert_eq!(numbers(dir.path()), ((0..20).collect(), vec![]));
}

/// Three unsealed journals of ten rows: copies taken while each was the newest.
fn three_journals(dir: &Path) -> Vec<std::path::PathBuf> {
    let work = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let (mut writer, _) = open(work.path());
        writer.append(samples(round * 10..round * 10 + 10)).unwrap();
        if round == 0 {
            copy(work.path(), dir);
        } else {
            copy(&work.path().join("journal"), &dir.join("journal"));
        }
        writer.close().unwrap();
    }
    files(dir, "journal")
}

/// A reader does not open any number of files; the writer's start does not either.
#[test]
fn too_many_unsealed_journals_are_an_error_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open(dir.path());
    let max = bygone_store::limits::JOURNALS_MAX;
    for number in 2..=max + 1 {
        std::fs::write(dir.path().join(format!("journal/{number}.bj")), b"").unwrap();
    }
    let error = bygone_store::Reader::open(dir.path()).unwrap().snapshot().unwrap_err();
    let expected = format!("{} journals of {}", max + 1, dir.path().display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    drop(writer);
}
