//! `cargo xtask vmtest`: the end-to-end tests of processes inside virtual machines, on the kernels
//! that Debian ships.
//!
//! Each machine is emulated by QEMU, so that it needs neither KVM nor rights. It starts from an
//! initial file system with a small Debian, the built program and the built tests
//! ([`image`]), has no disk and no network, and writes what it does to its serial line, which
//! [`serial`] reads and [`report`] judges.
//!
//! **Invariant:** a machine is green only when it ran the kernel that was asked for, came to its
//! end, every part of its work ended well, and tests passed in each. What cannot be read is a
//! failure.
//!
//! What is downloaded stands in the cache folder and is kept there: remove it to get newer kernels.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use self::emulator::Emulator;
use self::kernels::{KERNELS, Kernel};
use self::report::Verdict;

mod archive;
mod cache;
mod emulator;
mod image;
mod kernels;
mod programs;
mod report;
mod serial;

/// What `cargo xtask ci` starts: the oldest that Debian still calls stable, and the stable one.
const CI_KERNELS: [&str; 2] = ["6.1", "6.12"];

/// What to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Names of kernels; all, and one with full preemption, when empty.
    pub(crate) kernels: Vec<String>,
    /// Boot them with full preemption.
    pub(crate) preempt_full: bool,
    /// Keep the output of machines that were green, too.
    pub(crate) keep_log: bool,
    /// Smaller storms and fewer scenarios.
    pub(crate) quick: bool,
    /// Boot a machine that was not green once more, and judge that: an emulated machine beside others
    /// can be slower than a test may wait. That it took a second time is said.
    pub(crate) again: bool,
}

/// The names that `cargo xtask vmtest` takes.
pub(crate) fn kernel_names() -> Vec<&'static str> {
    KERNELS.iter().map(|kernel| kernel.name).collect()
}

/// The step of `cargo xtask ci`.
///
/// # Errors
/// When a machine was not green.
pub(crate) fn run_in_ci() -> Result<()> {
    let kernels = CI_KERNELS.map(str::to_owned).to_vec();
    run(&Options { kernels, quick: true, again: true, ..Options::default() })
}

/// Boots the machines one after the other and prints what they found.
///
/// # Errors
/// When a machine was not green, after all have run.
pub(crate) fn run(options: &Options) -> Result<()> {
    let machines = machines(options);
    let mut verdicts = Vec::new();
    for machine in &machines {
        println!("== {}", machine.label());
        let mut verdict = machine.judged(options);
        println!("{}", verdict.text());
        if options.again && !verdict.is_green() {
            println!("== {}, once more", machine.label());
            keep_first(verdict.log.as_deref())?;
            verdict = machine.judged(options);
            verdict.is_second = true;
            println!("{}", verdict.text());
        }
        verdicts.push(verdict);
    }
    println!("{}", report::matrix(&verdicts));
    println!("{}", report::programs(&verdicts));
    ensure!(!verdicts.is_empty(), "no kernel was tested");
    let red = verdicts.iter().filter(|verdict| !verdict.is_green());
    let red: Vec<&str> = red.map(|verdict| verdict.label.as_str()).collect();
    if !red.is_empty() {
        bail!("not green: {}", red.join(", "));
    }
    Ok(())
}

/// Keeps what a machine wrote from being written over by its second start.
fn keep_first(log: Option<&Path>) -> Result<()> {
    let Some(log) = log else { return Ok(()) };
    std::fs::rename(log, log.with_extension("first.log")).context("keep the machine's output")
}

/// A kernel and how to boot it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Machine {
    kernel: &'static Kernel,
    preempt_full: bool,
}

/// The machines that the options ask for.
fn machines(options: &Options) -> Vec<Machine> {
    let mut machines: Vec<Machine> = KERNELS
        .iter()
        .filter(|kernel| {
            options.kernels.is_empty() || options.kernels.iter().any(|name| name == kernel.name)
        })
        .map(|kernel| Machine { kernel, preempt_full: options.preempt_full })
        .collect();
    if options.kernels.is_empty() && !options.preempt_full {
        let stable = KERNELS.iter().filter(|kernel| kernel.name == "6.12");
        machines.extend(stable.map(|kernel| Machine { kernel, preempt_full: true }));
    }
    machines
}

impl Machine {
    fn label(self) -> String {
        let preempt = if self.preempt_full { " preempt=full" } else { "" };
        format!("{}{preempt}", self.kernel.name)
    }

    /// As [`Machine::test`], where what cannot be tested has failed.
    fn judged(self, options: &Options) -> Verdict {
        let tested = self.test(options);
        tested.unwrap_or_else(|error| Verdict::failed(self.label(), format!("{error:#}")))
    }

    /// Gets what is lacking, boots, and judges.
    fn test(self, options: &Options) -> Result<Verdict> {
        let architecture = self.kernel.architecture;
        let emulator = Emulator::ensure(architecture)?;
        let kernel = self.kernel.ensure()?;
        let root = image::packages(architecture)?;
        let built = programs::build(architecture)?;
        let folder = programs::target_dir().join("vmtest");
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let name = self.label().replace(' ', "-");
        let image = folder.join(format!("{name}-{}.cpio", std::process::id()));
        image::write(&image, &root, &kernel, (&built, architecture), options.quick)?;
        let log = folder.join(format!("{name}.log"));
        let start = Instant::now();
        let ended = emulator.run(&kernel.image, &image, self.preempt_full, &log);
        let took = start.elapsed();
        std::fs::remove_file(&image).context("remove the machine's file system")?;
        self.judge(ended, &log, took, options.keep_log)
    }

    fn judge(
        self,
        ended: Result<()>,
        log: &Path,
        took: Duration,
        keep_log: bool,
    ) -> Result<Verdict> {
        let bytes = std::fs::read(log).with_context(|| format!("read {}", log.display()))?;
        let transcript = serial::parse(&String::from_utf8_lossy(&bytes));
        let mut verdict = report::judge(self.label(), &transcript, self.kernel, self.preempt_full);
        verdict.took = took;
        if let Err(error) = ended {
            verdict.faults.push(format!("{error:#}"));
        }
        if verdict.is_green() && !keep_log {
            std::fs::remove_file(log).context("remove the machine's output")?;
        } else {
            verdict.log = Some(log.to_owned());
        }
        Ok(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::kernels::Architecture;
    use super::*;

    fn labels(options: &Options) -> Vec<String> {
        machines(options).into_iter().map(Machine::label).collect()
    }

    #[test]
    fn all_kernels_and_one_with_full_preemption_are_the_default() {
        let all = labels(&Options::default());
        assert_eq!(all.len(), KERNELS.len() + 1);
        assert!(all.contains(&"6.1-aarch64".to_owned()));
        assert_eq!(all.last().unwrap(), "6.12 preempt=full");
    }

    #[test]
    fn chosen_kernels_are_those_and_no_others() {
        let kernels = vec!["6.1".to_owned()];
        let mut options = Options { kernels, ..Options::default() };
        assert_eq!(labels(&options), ["6.1"]);
        options.preempt_full = true;
        assert_eq!(labels(&options), ["6.1 preempt=full"]);
    }

    #[test]
    fn the_kernels_of_ci_exist_and_run_on_this_architecture() {
        for name in CI_KERNELS {
            let kernel = KERNELS.iter().find(|kernel| kernel.name == name).unwrap();
            assert_eq!(kernel.architecture, Architecture::X86_64);
        }
    }
}
