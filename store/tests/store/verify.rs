//! `verify`: whatever of the sealed history is changed or taken away, it says so and where.

use std::path::{Path, PathBuf};

use bygone_store::verify::EntryAt;
use bygone_store::{Reader, Verified, VerifyRequest};

use crate::fixture::{copy, files, open_small, samples};

/// A store of two runs: several segments, two manifest files, nothing unsealed.
fn sealed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for run in 0..2 {
        let (mut writer, _) = open_small(dir.path(), 1_500);
        for batch in 0..6 {
            let start = run * 1_000 + batch * 20;
            writer.append(samples(start..start + 20)).unwrap();
        }
        writer.close().unwrap();
        if run == 0 {
            tear_manifest(dir.path());
        }
    }
    dir
}

/// What a loss of power leaves: the next run begins a new manifest file.
fn tear_manifest(dir: &Path) {
    let path = manifests(dir).pop().unwrap();
    let mut content = std::fs::read(&path).unwrap();
    content.extend_from_slice(b"0123456789abcdef {\"type\":\"se");
    std::fs::write(path, content).unwrap();
}

/// The manifest files by number.
fn manifests(dir: &Path) -> Vec<PathBuf> {
    let mut found = files(dir, "manifest");
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
    found.retain(|path| number(path).is_some());
    found.sort_by_key(number);
    found
}

fn verify(dir: &Path, request: &VerifyRequest) -> Verified {
    Reader::open(dir).unwrap().verify(request, |_, _| {}).unwrap()
}

fn all(dir: &Path) -> Verified {
    verify(dir, &VerifyRequest::default())
}

/// A copy of the store with a change.
fn changed(dir: &Path, change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let copied = tempfile::tempdir().unwrap();
    copy(dir, copied.path());
    change(copied.path());
    copied
}

fn flip(path: &Path, offset: usize) {
    let mut content = std::fs::read(path).unwrap();
    content[offset] ^= 0x04;
    std::fs::write(path, content).unwrap();
}

#[test]
fn what_is_whole_is_said_to_be() {
    let dir = sealed();
    let mut told = Vec::new();
    let reader = Reader::open(dir.path()).unwrap();
    let verified = reader.verify(&VerifyRequest::default(), |done, of| told.push((done, of)));
    let verified = verified.unwrap();
    assert_eq!(verified.faults, []);
    assert_eq!(verified.notes.len(), 1, "the torn end: {:?}", verified.notes);
    assert_eq!(manifests(dir.path()).len(), 2);
    assert_eq!(verified.head, reader.head().unwrap());
    assert_eq!(verified.segments as usize, files(dir.path(), "segments").len());
    assert!(verified.entries > verified.segments);
    assert_eq!(told.len(), verified.segments as usize);
    assert_eq!(told.last(), Some(&(verified.bytes, verified.bytes)));
}

#[test]
fn a_changed_byte_of_a_segment_is_found_and_its_entry_named() {
    let dir = sealed();
    for segment in files(dir.path(), "segments") {
        let name = segment.strip_prefix(dir.path()).unwrap();
        let length = std::fs::metadata(&segment).unwrap().len() as usize;
        for offset in (0..length).step_by(length / 7) {
            let copied = changed(dir.path(), |dir| flip(&dir.join(name), offset));
            let [fault] = all(copied.path()).faults.try_into().unwrap();
            assert!(fault.at.is_some_and(|at| at.line > 1 || at.file == 2), "{fault}");
            assert!(fault.detail.starts_with(name.to_str().unwrap()), "{fault}");
        }
        let copied = changed(dir.path(), |dir| std::fs::remove_file(dir.join(name)).unwrap());
        let [fault] = all(copied.path()).faults.try_into().unwrap();
        assert!(fault.to_string().ends_with(" is missing"), "{fault}");
    }
}

#[test]
fn any_changed_byte_of_the_manifest_is_found() {
    let dir = sealed();
    for (number, manifest) in (1..).zip(manifests(dir.path())) {
        let name = manifest.strip_prefix(dir.path()).unwrap();
        let content = std::fs::read(&manifest).unwrap();
        // The first manifest's torn end is no entry; what is kept of it is checked beside it.
        let lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
        let mut start = 0;
        for (line, text) in (1..).zip(lines) {
            for offset in (start..start + text.len()).step_by(5).chain([start + text.len() - 1]) {
                let copied = changed(dir.path(), |dir| flip(&dir.join(name), offset));
                let faults = all(copied.path()).faults;
                let first = faults.first().unwrap_or_else(|| panic!("{number}, byte {offset}"));
                // A line feed that is changed makes two lines one.
                let at = first.at.unwrap();
                assert_eq!((at.file, at.line), (number, line), "byte {offset}: {first}");
            }
            start += text.len();
        }
    }
}

#[test]
fn a_removed_manifest_file_is_found() {
    let dir = sealed();
    let copied = changed(dir.path(), |dir| std::fs::remove_file(&manifests(dir)[0]).unwrap());
    let faults = all(copied.path()).faults;
    assert_eq!(faults[0].at, Some(EntryAt { file: 1, line: 1 }), "{faults:?}");
}

#[test]
fn entries_cut_off_are_missed_by_a_noted_head() {
    let dir = sealed();
    let head = Some(Reader::open(dir.path()).unwrap().head().unwrap());
    let request = VerifyRequest { head, ..VerifyRequest::default() };
    assert_eq!(verify(dir.path(), &request).faults, []);
    let cut = changed(dir.path(), |dir| {
        let path = manifests(dir).pop().unwrap();
        let content = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = content.split_inclusive('\n').collect();
        std::fs::write(path, lines[..lines.len() - 1].concat()).unwrap();
    });
    assert_eq!(all(cut.path()).faults, [], "without the head nothing tells");
    let [fault] = verify(cut.path(), &request).faults.try_into().unwrap();
    assert_eq!(fault.at, None);
    let gone = changed(dir.path(), |dir| std::fs::remove_file(&manifests(dir)[1]).unwrap());
    assert!(!verify(gone.path(), &request).faults.is_empty());
    // The head stays in the chain when the store grows.
    let (mut writer, _) = open_small(dir.path(), 1_500);
    writer.append(samples(5_000..5_020)).unwrap();
    writer.close().unwrap();
    assert_eq!(verify(dir.path(), &request).faults, []);
}

#[test]
fn a_changed_entry_stays_found_after_a_restart() {
    let dir = sealed();
    let manifest = manifests(dir.path()).pop().unwrap();
    let content = std::fs::read(&manifest).unwrap();
    let last_line = content[..content.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    flip(&manifest, last_line + 100);
    open_small(dir.path(), 1_500).0.close().unwrap();
    let faults = all(dir.path()).faults;
    assert_eq!(faults.first().and_then(|fault| fault.at).map(|at| at.file), Some(2), "{faults:?}");
}

#[test]
fn an_incomplete_last_line_is_what_a_crash_leaves() {
    let dir = sealed();
    tear_manifest(dir.path());
    let verified = all(dir.path());
    assert_eq!(verified.faults, []);
    assert_eq!(verified.notes.len(), 2, "{:?}", verified.notes);
    // Once accounted for, those bytes must stay.
    let copied = changed(dir.path(), |dir| {
        let path = &manifests(dir)[0];
        let length = std::fs::metadata(path).unwrap().len() as usize;
        flip(path, length - 3);
    });
    assert!(!all(copied.path()).faults.is_empty());
}

#[test]
fn old_segments_can_be_left_out() {
    let dir = sealed();
    let since_ns = Some(1_000 * 1_000);
    let verified = verify(dir.path(), &VerifyRequest { since_ns, head: None });
    assert_eq!(verified.faults, []);
    assert!(verified.skipped > 0 && verified.segments > 0, "{verified:?}");
    assert_eq!(
        (verified.skipped + verified.segments) as usize,
        files(dir.path(), "segments").len()
    );
}

#[test]
fn a_newer_format_is_not_judged() {
    use sha2::{Digest, Sha256};
    let dir = sealed();
    let copied = changed(dir.path(), |dir| {
        let path = &manifests(dir)[0];
        let content = std::fs::read_to_string(path).unwrap();
        let (first, rest) = content.split_once('\n').unwrap();
        let json = first.split_once(' ').unwrap().1.replace("\"format\":2", "\"format\":3");
        let hash = Sha256::digest(format!("{} {json}", "0".repeat(64)));
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(path, format!("{hash} {json}\n{rest}")).unwrap();
    });
    let reader = Reader::open(copied.path()).unwrap();
    let error = reader.verify(&VerifyRequest::default(), |_, _| {}).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.ends_with("has format 3, newer than this program's 2"), "{source}");
}
