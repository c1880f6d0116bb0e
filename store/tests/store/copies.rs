//! Reading a folder that was copied from a running writer, and one that cannot be written to.

use std::os::unix::fs::PermissionsExt;

use crate::fixture::{copy, files, open_small, rows, samples};

#[test]
fn a_copied_and_read_only_folder_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open_small(dir.path(), 4 << 10);
    for start in 0..20 {
        writer.append(samples(start * 50..start * 50 + 50)).unwrap();
    }
    drop(writer);
    let copied = tempfile::tempdir().unwrap();
    copy(dir.path(), copied.path());
    for folder in ["journal", "manifest", "segments", "."] {
        for file in files(copied.path(), folder) {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o400)).unwrap();
        }
        let mode = std::fs::Permissions::from_mode(0o500);
        std::fs::set_permissions(copied.path().join(folder), mode).unwrap();
    }
    let before = files(copied.path(), ".");
    assert_eq!(rows(copied.path()), samples(0..1_000));
    assert_eq!(files(copied.path(), "."), before, "a reader writes nothing");
    let mode = std::fs::Permissions::from_mode(0o700);
    for folder in ["journal", "manifest", "segments", "."] {
        std::fs::set_permissions(copied.path().join(folder), mode.clone()).unwrap();
    }
}
