//! Files mapped to be executed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::actions::{balanced, of, python};
use super::harness::{Recorded, quiet, record, run, storm};
use crate::events::{Action, ActionEvent, ImageAction};
use crate::host::exclude::Exclusions;
use crate::host::images::ImageChoice;
use crate::publish::process_ebpf::ProcessEbpfConfig;
use crate::publish::selection::Selection;

/// A shared object that nothing has mapped yet: a copy of the smallest of the C library.
fn copied_object(folder: &Path, name: &str) -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut mapped = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let libraries = mapped.find_map(|path| path.strip_suffix("libc.so.6")).unwrap();
    let copy = folder.join(name);
    std::fs::copy(format!("{libraries}libdl.so.2"), &copy).unwrap();
    copy
}

/// Has a program of Python load a shared object.
fn load(object: &Path) -> Command {
    let mut command = python("import ctypes, sys; ctypes.CDLL(sys.argv[1])");
    command.arg(object);
    command
}

fn images<'a>(recorded: &'a Recorded, path: &Path) -> Vec<(&'a ActionEvent, &'a ImageAction)> {
    let of_path = |event: &'a ActionEvent| match &event.action {
        Action::Image(image) if image.path.as_deref() == path.to_str() => Some((event, &**image)),
        _ => None,
    };
    recorded.actions.iter().filter_map(of_path).collect()
}

#[test]
fn the_first_mapping_of_a_shared_object_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let object = copied_object(folder.path(), "first.so");
    let preloaded = copied_object(folder.path(), "preloaded.so");
    let work = || {
        let (first, status) = run(&mut load(&object));
        assert!(status.success(), "{status}");
        assert!(run(&mut load(&object)).1.success());
        let (shell, status) = run(quiet("/bin/true").env("LD_PRELOAD", &preloaded));
        assert!(status.success());
        // Other content under the same name.
        let stat = std::fs::metadata(&object).unwrap();
        std::fs::remove_file(&object).unwrap();
        std::fs::rename(copied_object(folder.path(), "other.so"), &object).unwrap();
        let (again, status) = run(&mut load(&object));
        assert!(status.success());
        (first, again, shell, stat)
    };
    let Some((recorded, (first, again, shell, stat))) = record(&ProcessEbpfConfig::default(), work)
    else {
        return;
    };
    let of_object = images(&recorded, &object);
    let pids: Vec<u32> = of_object.iter().map(|(event, _)| event.actor.pid).collect();
    assert_eq!(pids, [first, again]);
    let (event, image) = of_object[0];
    assert_eq!(event.actor, recorded.exec(first).process);
    // Where Python is started by scripts, the process has run those before.
    let exec = recorded.execs.iter().rfind(|exec| exec.process == event.actor).unwrap();
    assert_eq!(event.path.as_deref(), exec.path.as_deref());
    let file = &image.file;
    assert_eq!((file.inode, file.size), (stat.ino(), Some(stat.size())));
    assert_eq!((file.mode, file.owner_uid, file.owner_gid), (stat.mode(), stat.uid(), stat.gid()));
    assert_eq!(file.ctime_ns, Some(stat.ctime() * 1_000_000_000 + stat.ctime_nsec()));
    assert!(!image.path_truncated && !image.writable);
    assert_eq!(image.mount_namespace, recorded.exec(first).namespaces.map(|own| own.mount));
    let (event, _) = images(&recorded, &preloaded)[0];
    assert_eq!(event.actor, recorded.exec(shell).process);
    balanced(&recorded, "image");
}

#[test]
fn a_file_without_a_name_and_a_writable_mapping_are_recorded_as_such() {
    let program = "import mmap, os\n\
                   fd = os.memfd_create('image of the test')\n\
                   os.write(fd, b'x' * 4096)\n\
                   flags = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC\n\
                   mmap.mmap(fd, 4096, prot=flags)\n\
                   mmap.mmap(fd, 4096)\n";
    let work = || run(&mut python(program));
    let Some((recorded, (pid, status))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    assert!(status.success());
    let own = of(&recorded, pid).into_iter().filter_map(|event| match &event.action {
        Action::Image(image) if image.writable => Some(image),
        _ => None,
    });
    let own: Vec<_> = own.collect();
    let [image] = own.as_slice() else { panic!("{own:?}") };
    assert_eq!(image.path.as_deref(), Some("memfd:image of the test"));
    assert!(image.file.in_memory && image.file.size == Some(4096), "{image:?}");
    balanced(&recorded, "image");
}

#[test]
fn all_images_or_none_are_recorded_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let object = copied_object(folder.path(), "asked.so");
    for (choice, expected) in [(ImageChoice::All, 2), (ImageChoice::None, 0)] {
        let config = ProcessEbpfConfig { images: choice, ..ProcessEbpfConfig::default() };
        let work = || [(); 2].map(|()| run(&mut load(&object)).1.success());
        let Some((recorded, loaded)) = record(&config, work) else { return };
        assert_eq!(loaded, [true; 2]);
        assert_eq!(images(&recorded, &object).len(), expected, "{choice:?}");
        balanced(&recorded, "image");
    }
}

#[test]
fn what_an_excluded_program_maps_first_is_recorded_of_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let object = copied_object(folder.path(), "shared.so");
    let excluded = folder.path().canonicalize().unwrap().join("excluded");
    std::fs::copy("/bin/true", &excluded).unwrap();
    let path = excluded.to_str().unwrap().to_owned();
    let exclusions = Exclusions::new(&[path], &[], &[], &[]).unwrap();
    let selection = Selection { exclusions, rate_limit: 0 };
    let config = ProcessEbpfConfig { selection, ..ProcessEbpfConfig::default() };
    let work = || {
        [excluded.as_path(), Path::new("/bin/true")].map(|program| {
            let (pid, status) = run(quiet(program).env("LD_PRELOAD", &object));
            assert!(status.success(), "{status}");
            pid
        })
    };
    let Some((recorded, [_, next])) = record(&config, work) else { return };
    let of_object = images(&recorded, &object);
    let pids: Vec<u32> = of_object.iter().map(|(event, _)| event.actor.pid).collect();
    assert_eq!(pids, [next]);
    // The excluded program's is counted as seen, and as left out.
    let (seen, stored, lost) = recorded.ledger("image");
    assert_eq!((seen, lost), (stored + 1, 0));
}

#[test]
fn many_at_once_map_each_content_first_once() {
    let folder = tempfile::tempdir().unwrap();
    let objects: Vec<PathBuf> = (0..storm(50))
        .map(|number| copied_object(folder.path(), &format!("{number}.so")))
        .collect();
    let work = || {
        let program = "import ctypes, sys\nfor path in sys.argv[1:]: ctypes.CDLL(path)\n";
        let start = |_| python(program).args(&objects).spawn().unwrap();
        let children: Vec<_> = (0..4).map(start).collect();
        children.into_iter().all(|mut child| child.wait().unwrap().success())
    };
    let Some((recorded, loaded)) = record(&ProcessEbpfConfig::default(), work) else { return };
    assert!(loaded);
    for object in &objects {
        assert_eq!(images(&recorded, object).len(), 1, "{}", object.display());
    }
    balanced(&recorded, "image");
}
