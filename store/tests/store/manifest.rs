//! A manifest that is torn, broken or gone, and files that it does not name.

use std::path::Path;

use bygone_store::DamageKind;

use crate::fixture::{copy, files, open, read, rows, sample, samples};

/// Four sealed journals of ten rows.
fn four_segments(dir: &Path) {
    for round in 0..4 {
        let (mut writer, _) = open(dir);
        writer.append(samples(round * 10..round * 10 + 10)).unwrap();
        writer.close().unwrap();
    }
    assert_eq!(files(dir, "segments").len(), 4);
}

fn kinds(dir: &Path) -> Vec<DamageKind> {
    let (writer, opened) = open(dir);
    writer.close().unwrap();
    opened.recovered.iter().map(|damage| damage.kind).collect()
}

#[test]
fn damage_anywhere_in_the_manifest_loses_no_row() {
    let dir = tempfile::tempdir().unwrap();
    four_segments(dir.path());
    let manifest = files(dir.path(), "manifest").remove(0);
    let whole = std::fs::read(&manifest).unwrap();
    for offset in (0..whole.len()).step_by(97) {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let mut bytes = whole.clone();
        bytes[offset] ^= 0x11;
        let path = copied.path().join("manifest").join(manifest.file_name().unwrap());
        std::fs::write(path, &bytes).unwrap();
        let (found, _) = read(copied.path());
        assert_eq!(found.len(), 40, "a reader, with byte {offset} damaged");

        let found = kinds(copied.path());
        let damaged = |kind: &DamageKind| {
            matches!(kind, DamageKind::ManifestTorn | DamageKind::ManifestBroken)
        };
        assert_eq!(found.iter().filter(|kind| damaged(kind)).count(), 1, "{found:?}");
        assert_eq!(rows(copied.path()), samples(0..40), "byte {offset}");
        assert_eq!(files(copied.path(), "segments").len(), 4, "byte {offset}");
        assert_eq!(kinds(copied.path()), [], "the second time nothing is wrong any more");
    }
}

#[test]
fn a_torn_end_is_kept_and_the_journal_counts() {
    let dir = tempfile::tempdir().unwrap();
    four_segments(dir.path());
    let (mut writer, _) = open(dir.path());
    writer.append([sample(40)]).unwrap();
    let copied = tempfile::tempdir().unwrap();
    copy(dir.path(), copied.path());
    drop(writer);
    let manifest = files(copied.path(), "manifest").remove(0);
    let mut bytes = std::fs::read(&manifest).unwrap();
    bytes.extend_from_slice(b"0123456789abcdef {\"type\":\"se");
    std::fs::write(&manifest, &bytes).unwrap();

    assert_eq!(read(copied.path()).0.len(), 41);
    assert_eq!(kinds(copied.path()), [DamageKind::ManifestTorn]);
    assert_eq!(rows(copied.path()), samples(0..41));
    assert_eq!(std::fs::read(&manifest).unwrap(), bytes, "it is left as it was");
    let kept = std::fs::read(copied.path().join("manifest.torn-1")).unwrap();
    assert_eq!(kept, b"0123456789abcdef {\"type\":\"se");
}

#[test]
fn a_manifest_that_is_gone_is_rebuilt_from_the_segments() {
    let dir = tempfile::tempdir().unwrap();
    four_segments(dir.path());
    std::fs::remove_dir_all(dir.path().join("manifest")).unwrap();
    assert_eq!(kinds(dir.path()), [DamageKind::Adopted; 4]);
    assert_eq!(rows(dir.path()), samples(0..40));
}

#[test]
fn a_segment_that_no_entry_names_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    four_segments(dir.path());
    let segments = files(dir.path(), "segments");
    let stray = segments[0].with_file_name("0-1000.parquet");
    std::fs::copy(&segments[0], stray).unwrap();
    assert_eq!(rows(dir.path()), samples(0..40), "a reader does not count it");
    assert_eq!(kinds(dir.path()), [DamageKind::Orphan]);
    assert_eq!(files(dir.path(), "orphans").len(), 1);
    assert_eq!(rows(dir.path()), samples(0..40));
}

/// A crash between the renaming of a segment and the manifest's entry leaves both the segment and
/// the journal.
#[test]
fn a_seal_cut_short_doubles_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    writer.append(samples(0..10)).unwrap();
    let before = tempfile::tempdir().unwrap();
    copy(dir.path(), before.path());
    writer.close().unwrap();
    copy(&dir.path().join("segments"), &before.path().join("segments"));
    std::fs::write(before.path().join("journal/9.tmp"), b"half a journal").unwrap();

    assert_eq!(rows(before.path()), samples(0..10));
    assert_eq!(kinds(before.path()), [DamageKind::Orphan]);
    assert_eq!(rows(before.path()), samples(0..10));
    assert_eq!(files(before.path(), "journal"), [] as [std::path::PathBuf; 0]);
}

/// A crash between the manifest's entry and the unlinking of the journal leaves both.
#[test]
fn a_journal_that_is_sealed_already_doubles_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    writer.append(samples(0..10)).unwrap();
    let before = tempfile::tempdir().unwrap();
    copy(dir.path(), before.path());
    writer.close().unwrap();
    copy(&before.path().join("journal"), &dir.path().join("journal"));

    assert_eq!(files(dir.path(), "journal").len(), 1);
    assert_eq!(rows(dir.path()), samples(0..10));
    assert_eq!(kinds(dir.path()), []);
    assert_eq!(rows(dir.path()), samples(0..10));
    assert_eq!(files(dir.path(), "journal"), [] as [std::path::PathBuf; 0]);
}

/// Names that stand for the number of a journal or manifest in another way are no such files.
#[test]
fn a_stray_name_is_not_a_number() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    writer.append(samples(0..10)).unwrap();
    let (journal, manifest) = (dir.path().join("journal"), dir.path().join("manifest"));
    for name in ["01.bj", "+1.bj", "007.bj"] {
        std::fs::copy(journal.join("1.bj"), journal.join(name)).unwrap();
    }
    assert_eq!(rows(dir.path()), samples(0..10));
    writer.close().unwrap();
    std::fs::write(manifest.join("09"), b"no manifest").unwrap();
    assert_eq!(rows(dir.path()), samples(0..10));
    for _ in 0..2 {
        assert_eq!(kinds(dir.path()), []);
        assert_eq!(rows(dir.path()), samples(0..10));
    }
    assert_eq!(files(dir.path(), "journal").len(), 3, "they are left alone");
}
