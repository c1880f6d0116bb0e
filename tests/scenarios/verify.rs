//! `bygone verify` on what a daemon recorded.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bygone_tests::{Daemon, bygone, requires_bpf};

struct Checked {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn verify(data_dir: &Path, arguments: &[&str]) -> Checked {
    let mut command = bygone();
    command.args(["verify", "--data-dir"]).arg(data_dir).args(arguments).stdin(Stdio::null());
    let output = command.output().unwrap();
    Checked {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A data folder whose journals are all sealed.
fn recorded() -> (tempfile::TempDir, PathBuf) {
    let daemon = Daemon::start();
    for _ in 0..20 {
        assert!(Command::new("/bin/true").stdin(Stdio::null()).status().unwrap().success());
    }
    let stopped = daemon.stop();
    assert!(stopped.status.success(), "{}", stopped.log);
    (stopped.folder.unwrap(), stopped.data_dir)
}

fn flip_a_byte(path: &Path) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let offset = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

#[test]
fn a_changed_segment_is_named_and_a_noted_head_is_found() {
    if !requires_bpf() {
        return;
    }
    let (_folder, data_dir) = recorded();
    let whole = verify(&data_dir, &[]);
    assert_eq!((whole.code, whole.stderr.as_str()), (Some(0), ""));
    assert!(whole.stdout.ends_with("nothing was changed or taken away\n"), "{}", whole.stdout);

    let head = verify(&data_dir, &["--head"]).stdout;
    assert_eq!(head.trim_end().len(), 64, "{head}");
    assert!(whole.stdout.contains(&format!("head {head}")), "{}", whole.stdout);
    assert_eq!(verify(&data_dir, &["--head", head.trim_end()]).code, Some(0));
    let unknown = "0123456789abcdef".repeat(4);
    let missed = verify(&data_dir, &["--head", &unknown]);
    assert_eq!(missed.code, Some(1));
    assert!(missed.stderr.contains("cut off or changed"), "{}", missed.stderr);
    let malformed = verify(&data_dir, &["--head", "5a1f"]);
    assert_eq!(malformed.code, Some(2));
    assert!(malformed.stderr.contains("64 hexadecimal digits"), "{}", malformed.stderr);

    let mut segments = std::fs::read_dir(data_dir.join("segments/process_events")).unwrap();
    let segment = segments.next().unwrap().unwrap().path();
    flip_a_byte(&segment);
    let changed = verify(&data_dir, &[]);
    assert_eq!(changed.code, Some(1));
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(changed.stderr.contains(name), "{}", changed.stderr);
    assert!(changed.stderr.contains("manifest/1, entry "), "{}", changed.stderr);
    let newer = verify(&data_dir, &["--since", "now"]);
    assert_eq!(newer.code, Some(0), "older than asked for");
    assert!(newer.stdout.contains("taken away in what was read; "), "{}", newer.stdout);
    assert!(newer.stdout.ends_with("were left out\n"), "{}", newer.stdout);
}

#[test]
fn what_cannot_be_checked_is_told_from_what_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let empty = verify(folder.path(), &[]);
    assert_eq!(empty.code, Some(2));
    assert!(empty.stderr.contains("start `bygone run`"), "{}", empty.stderr);
    assert_eq!(verify(folder.path(), &["--sinse", "now"]).code, Some(2));

    // A folder cannot be read as a manifest, not even by root.
    std::fs::create_dir_all(folder.path().join("manifest/1")).unwrap();
    for arguments in [&[][..], &["--head"]] {
        let unreadable = verify(folder.path(), arguments);
        assert_eq!(unreadable.code, Some(2), "{}", unreadable.stderr);
    }
    let nonsense = verify(folder.path(), &["--since", "nonsense"]);
    assert_eq!(nonsense.code, Some(2));
    assert!(nonsense.stderr.contains("--since"), "{}", nonsense.stderr);
}
