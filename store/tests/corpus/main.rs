//! The fuzz targets of `store/fuzz` over their corpus, in every run of the tests.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

#[path = "../../fuzz/src/disk.rs"]
mod disk;
#[path = "../../fuzz/src/targets.rs"]
#[expect(unreachable_pub, reason = "in the fuzzing crate they are its interface")]
mod targets;

use std::path::Path;

type Target = fn(&[u8]);

fn run(name: &str, target: Target) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        target(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs > 1, "{inputs} inputs");
    for (_, _, input) in targets::seeds().iter().filter(|(of, _, _)| *of == name) {
        target(input);
    }
}

#[test]
fn journals() {
    run("journal", targets::journal);
}

#[test]
fn manifests() {
    run("manifest", targets::manifest);
}

#[test]
fn segments() {
    run("segment", targets::segment);
}
