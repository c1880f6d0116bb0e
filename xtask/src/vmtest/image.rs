//! A machine's file system: a small Debian, the programs, and what the machine does with them.
//!
//! The small Debian is made of packages of the suite that this system was installed from, since
//! the programs are linked against this system's libraries. It holds what the tests use: a shell,
//! the usual small programs, mount(8) and unshare(1).

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::archive::Archive;
use super::cache;
use super::kernels::{Architecture, KernelFiles};
use super::programs::{Programs, stripped, target_dir};
use crate::apt::{self, Apt};

/// What the tests need, with all that it depends on.
const PACKAGES: [&str; 8] =
    ["coreutils", "dash", "e2fsprogs", "kmod", "libgcc-s1", "mount", "python3", "util-linux"];

/// What is left out of the packages: two thirds of their bytes.
const WITHOUT: [&str; 8] = [
    "usr/share/bash-completion",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/perl5",
    "var",
];

/// Modules of the end-to-end tests that say nothing about a kernel: they test the store and the
/// shell, and some need programs that the machine does not have.
const SCENARIOS_WITHOUT: [&str; 8] = [
    "bad_input::",
    "coexistence::",
    "crash::",
    "disk_full::",
    "peers::",
    "schema::",
    "sql::",
    "verify::",
];

/// Modules that a quick run leaves out as well: what they test of the probes, others test too, and
/// every start of the daemon takes seconds of the emulated processor.
const QUICK_WITHOUT: [&str; 4] = ["complete::", "lifetimes::", "running::", "status::"];

/// Processes that a test starts at most in a quick run.
const QUICK_STORM: u32 = 100;

/// The module of scenarios that change the whole machine, a part of their own.
const MACHINE_TESTS: &str = "machine::";

/// The live tests of the process sources among the collector's unit tests: names that they begin with.
const LIVE_TESTS: &str = "publish::process_ebpf::live_tests:: publish::process_connector:: \
                          publish::process_scan::";

/// The parts of a machine's work that run tests.
pub(super) const TEST_PARTS: [&str; 3] = ["live", "scenarios", "machine"];

/// The part that asks what can be recorded.
pub(super) const DOCTOR_PART: &str = "doctor";

/// The folder of the small Debian's unpacked packages, which are downloaded when absent.
///
/// # Errors
/// When they cannot be had.
pub(super) fn packages(architecture: Architecture) -> Result<PathBuf> {
    let suite = apt::own_suite()?;
    let name = format!("vm-root/{suite}-{}-{}", architecture.debian(), PACKAGES.join("-"));
    cache::folder(&name, |folder| {
        println!("downloading packages of {suite} for the machines");
        let apt = Apt::new(&folder.join("apt"), &[&suite], architecture.foreign())?
            .with_nothing_installed();
        apt.download_with_dependencies(&PACKAGES)?;
        apt.unpack(folder)
    })
    .context("get packages for the machines")
}

/// Writes the file system to the file `image`.
///
/// # Errors
/// When something cannot be read or written.
pub(super) fn write(
    image: &Path,
    packages: &Path,
    kernel: &KernelFiles,
    (programs, architecture): (&Programs, Architecture),
    quick: bool,
) -> Result<()> {
    let file = File::create(image).with_context(|| format!("make {}", image.display()))?;
    let mut archive = Archive::new(BufWriter::new(file))?;
    archive.tree(packages, &WITHOUT)?;
    for folder in ["new", "proc", "root", "run", "sys", "tmp", "vmtest/modules"] {
        archive.folder(Path::new(folder))?;
    }
    archive.console()?;
    for module in &kernel.modules {
        let bytes = fs::read(module).with_context(|| format!("read {}", module.display()))?;
        let name = module.file_name().context("a module has a name")?;
        archive.file(&Path::new("vmtest/modules").join(name), 0o644, &bytes)?;
    }
    for program in programs.all() {
        archive.file(program, 0o755, &stripped(program, architecture, &target_dir())?)?;
    }
    archive.file(Path::new("etc/passwd"), 0o644, b"root:x:0:0:root:/root:/bin/sh\n")?;
    archive.file(Path::new("etc/group"), 0o644, b"root:x:0:\n")?;
    archive.file(Path::new("init"), 0o755, include_bytes!("start.sh"))?;
    archive.file(Path::new("vmtest/work.sh"), 0o755, include_bytes!("work.sh"))?;
    archive.file(Path::new("vmtest/parts.sh"), 0o644, parts(programs, quick).as_bytes())?;
    archive.finish().context("write the machine's file system")
}

/// The commands of the parts, for `work.sh`.
fn parts(programs: &Programs, quick: bool) -> String {
    let [live, scenarios, machine] = TEST_PARTS;
    let quoted = |path: &Path| quoted(&path.to_string_lossy());
    let left_out = SCENARIOS_WITHOUT.iter().chain(QUICK_WITHOUT.iter().filter(|_| quick));
    let skipped: String = left_out.map(|module| format!(" --skip {module}")).collect();
    // Tests that cannot run fail. With `--show-output` those that pass show what they measured.
    let mut text = String::from("export CI=true\n");
    if quick {
        text.push_str(&format!("export BYGONE_TEST_STORM={QUICK_STORM}\n"));
    }
    let scenario_tests = quoted(&programs.scenarios);
    let tests = "--show-output --color never --test-threads 2";
    text.push_str(&format!(
        "part {DOCTOR_PART} {} doctor --json\n\
         part {live} {} {LIVE_TESTS} {tests}\n\
         part {scenarios} {scenario_tests} {tests} --skip {MACHINE_TESTS}{skipped}\n\
         export BYGONE_TEST_OWN_MACHINE=1\n\
         part {machine} {scenario_tests} {MACHINE_TESTS} {tests}\n",
        quoted(&programs.bygone),
        quoted(&programs.unit_tests),
    ));
    text
}

/// A word of the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_quotes() {
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }

    #[test]
    fn every_part_is_run() {
        let programs = Programs {
            bygone: "/t/bygone".into(),
            subject: "/t/subject".into(),
            unit_tests: "/t/unit".into(),
            scenarios: "/t/scenarios".into(),
        };
        let text = parts(&programs, true);
        for part in TEST_PARTS.iter().chain([&DOCTOR_PART]) {
            assert_eq!(text.matches(&format!("part {part} ")).count(), 1, "{text}");
        }
        assert!(text.contains("export BYGONE_TEST_STORM=100\n"));
        assert!(text.contains(" --skip status::"));
        let whole = parts(&programs, false);
        assert!(!whole.contains("STORM") && !whole.contains("status::"));
        assert!(whole.contains(" --skip sql::"));
    }
}
