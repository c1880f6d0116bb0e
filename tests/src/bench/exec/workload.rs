//! What is made to happen while something records.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::CHILD;
use super::storm::Kind;
use crate::bench::quantile;

/// Units of the tree that is like a build, and bytes of what each reads.
const UNITS: u32 = 200;
const HEADER_LINES: u32 = 1_500;

const TREE: &str = include_str!("tree.sh");

/// Seconds that processes took from their start to their end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spawned {
    /// All, one after the other.
    pub(super) all: f64,
    /// One in ten took less than this.
    pub(super) fast: f64,
}

/// Starts `/bin/true` and waits for its end, so many times. The standard library does it by
/// `posix_spawn(3)`.
pub(super) fn spawns(count: u32) -> anyhow::Result<Spawned> {
    let mut command = Command::new("/bin/true");
    let mut each = Vec::with_capacity(count as usize);
    let started = Instant::now();
    let mut before = started;
    for _ in 0..count {
        let status = command.status()?;
        anyhow::ensure!(status.success(), "/bin/true failed");
        let now = Instant::now();
        each.push((now - before).as_secs_f64());
        before = now;
    }
    each.sort_by(f64::total_cmp);
    Ok(Spawned { all: (before - started).as_secs_f64(), fast: quantile(&each, 0.1) })
}

/// The same, told apart from the others by its argument.
pub(super) fn marked(marker: &str) -> anyhow::Result<()> {
    let status = Command::new("/bin/true").arg(marker).status()?;
    anyhow::ensure!(status.success(), "/bin/true failed");
    Ok(())
}

/// Makes a tree of processes as a build does: [`UNITS`] units, as many at a time as there are cores,
/// each a shell that starts four programs, which read and write files of some 60 KiB in `folder`.
/// Says how long that took, what is prepared before and removed afterwards left out.
pub(super) fn tree(folder: &Path) -> anyhow::Result<Duration> {
    let folder = folder.join("tree");
    fs::create_dir(&folder).context("the tree's folder")?;
    let header: String = (0..HEADER_LINES)
        .map(|line| {
            format!("extern int function_{:05}(const char *text);\n", line * 7_919 % 100_000)
        })
        .collect();
    fs::write(folder.join("header.h"), header)?;
    for unit in 1..=UNITS {
        fs::write(folder.join(format!("unit-{unit}.c")), format!("int unit_{unit};\n"))?;
    }
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut make = Command::new("/bin/sh");
    make.args(["-c", TREE, "tree.sh", &UNITS.to_string(), &jobs.to_string()]);
    make.env("LC_ALL", "C").current_dir(&folder);
    let started = Instant::now();
    let status = make.status()?;
    let took = started.elapsed();
    let program = fs::read_to_string(folder.join("program")).context("what the tree made")?;
    let units = program.lines().count();
    anyhow::ensure!(status.success() && units == UNITS as usize, "the tree made {units} units");
    fs::remove_dir_all(&folder).context("remove the tree's files")?;
    Ok(took)
}

/// Processes that make others, each as fast as it goes.
pub(super) struct Storm(Vec<Child>);

impl Storm {
    pub(super) fn start(kind: Kind, spawners: usize, lasts: Duration) -> anyhow::Result<Self> {
        let seconds = lasts.as_secs_f64().to_string();
        let spawner = || {
            Command::new(std::env::current_exe()?)
                .args([CHILD, kind.name(), &seconds])
                .stdout(Stdio::piped())
                .spawn()
                .context("start a spawner")
        };
        (0..spawners).map(|_| spawner()).collect::<anyhow::Result<_>>().map(Self)
    }

    /// Waits for the end and says how many processes were made.
    pub(super) fn lives(self) -> anyhow::Result<u64> {
        let mut lives = 0;
        for spawner in self.0 {
            let output = spawner.wait_with_output()?;
            anyhow::ensure!(output.status.success(), "a spawner failed");
            lives += String::from_utf8(output.stdout)?.trim().parse::<u64>()?;
        }
        Ok(lives)
    }

    /// Ends it early.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        for mut spawner in self.0 {
            spawner.kill()?;
            spawner.wait()?;
        }
        Ok(())
    }
}
