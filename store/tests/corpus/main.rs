//! The fuzz targets of `store/fuzz` over their corpus, in every run of the tests.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

#[path = "../sql/control/mod.rs"]
#[expect(unused_imports, reason = "the tests of SQL use all of it")]
mod control;
#[path = "../../fuzz/src/disk.rs"]
mod disk;
#[path = "../../fuzz/src/sql.rs"]
#[expect(unreachable_pub, reason = "in the fuzzing crate it is its interface")]
mod sql;
#[path = "../../fuzz/src/targets.rs"]
#[expect(unreachable_pub, reason = "in the fuzzing crate they are its interface")]
mod targets;

use std::path::Path;

use targets::Ways;

type Target = fn(&[u8]);

fn run(name: &str, target: Target) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        target(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs > 1, "{inputs} inputs");
    let seeds = [targets::seeds(), sql::seeds()].concat();
    for (_, _, input) in seeds.iter().filter(|(of, _, _)| *of == name) {
        target(input);
    }
}

/// As the fuzzer does, and then everything.
fn thoroughly(target: fn(&[u8], Ways), data: &[u8]) {
    target(data, Ways::of(data));
    target(data, Ways::All);
}

#[test]
fn journals() {
    run("journal", |data| thoroughly(targets::journal, data));
}

#[test]
fn manifests() {
    run("manifest", |data| thoroughly(targets::manifest, data));
}

#[test]
fn segments() {
    run("segment", |data| thoroughly(targets::segment, data));
}

#[test]
fn statements() {
    run("sql", sql::sql);
}
