//! QEMU, which emulates the machines.
//!
//! The one on the search path is taken; where there is none, Debian's packages of it, with the
//! libraries that this system lacks, are unpacked into the cache. Every instruction is emulated
//! (TCG), also where the processor could help (KVM): machines that run tests are often virtual
//! themselves, and a kernel's tests should not depend on where they run.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::cache;
use super::kernels::Architecture;
use crate::apt::{self, Apt};

/// How long a machine may run. On two idle cores it takes a third of it, beside other work all of half.
const RUN_MAX: Duration = Duration::from_secs(1800);

/// How often it is looked whether a machine has gone off.
const POLL: Duration = Duration::from_millis(100);

/// Memory of a machine, in MiB. Its file system, of which there are two copies, is in it.
const MEMORY_MIB: &str = "2048";

/// An emulator that can be started.
#[derive(Debug)]
pub(super) struct Emulator {
    architecture: Architecture,
    program: PathBuf,
    /// Where its packages were unpacked, unless it is the system's own.
    unpacked: Option<PathBuf>,
}

impl Emulator {
    /// Finds it, and unpacks it when it is absent.
    ///
    /// # Errors
    /// When it is absent and cannot be had.
    pub(super) fn ensure(architecture: Architecture) -> Result<Self> {
        let (name, package) = match architecture {
            Architecture::X86_64 => ("qemu-system-x86_64", "qemu-system-x86"),
            Architecture::Aarch64 => ("qemu-system-aarch64", "qemu-system-arm"),
        };
        let own = Self { architecture, program: PathBuf::from(name), unpacked: None };
        if own.works() {
            return Ok(own);
        }
        let suite = apt::own_suite()?;
        let unpacked = cache::folder(&format!("{package}-{suite}"), |folder| {
            println!("downloading {package}");
            let apt = Apt::new(&folder.join("apt"), &[&suite], None)?;
            apt.download_with_dependencies(&[package])?;
            apt.unpack(folder)
        })
        .with_context(|| format!("get {package}"))?;
        let program = unpacked.join("usr/bin").join(name);
        let emulator = Self { architecture, program, unpacked: Some(unpacked) };
        ensure!(emulator.works(), "{name} does not start");
        Ok(emulator)
    }

    fn works(&self) -> bool {
        let version = self.command().arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    }

    /// The program, with the libraries and the firmware that were unpacked with it.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let Some(unpacked) = &self.unpacked else {
            return command;
        };
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libraries = ["usr/lib", "lib"].map(|lib| unpacked.join(lib).join(&triplet));
        let mut path = OsString::new();
        for folder in &libraries {
            path.push(folder);
            path.push(":");
        }
        path.push(std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default());
        command.env("LD_LIBRARY_PATH", path);
        command.env("QEMU_MODULE_DIR", unpacked.join("usr/lib").join(&triplet).join("qemu"));
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(unpacked.join(firmware));
        }
        command
    }

    /// Boots a kernel and waits until the machine goes off. What it writes to its serial line goes
    /// to the file `log`.
    ///
    /// # Errors
    /// When the emulator fails or the machine does not come to its end; it is then killed.
    pub(super) fn run(
        &self,
        kernel: &Path,
        image: &Path,
        preempt_full: bool,
        log: &Path,
    ) -> Result<()> {
        let output = File::create(log).with_context(|| format!("make {}", log.display()))?;
        let errors = output.try_clone().context("share the log")?;
        let mut command = self.command();
        match self.architecture {
            Architecture::X86_64 => command.args(["-machine", "pc"]),
            Architecture::Aarch64 => command.args(["-machine", "virt"]),
        };
        command
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY_MIB])
            .args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(image)
            .arg("-append")
            .arg(self.kernel_arguments(preempt_full));
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .context("start the emulator")?;
        let status = wait(child, RUN_MAX)?;
        ensure!(status.success(), "the emulator ended with {status}");
        Ok(())
    }

    fn kernel_arguments(&self, preempt_full: bool) -> String {
        let console = match self.architecture {
            Architecture::X86_64 => "ttyS0",
            Architecture::Aarch64 => "ttyAMA0",
        };
        let preempt = if preempt_full { " preempt=full" } else { "" };
        // A panic ends the machine. Messages of the kernel would come amid the lines of tests.
        format!("console={console} loglevel=1 panic=-1{preempt}")
    }
}

/// Waits for the end of a child, at most so long; one that has not ended by then is killed.
fn wait(mut child: Child, at_most: Duration) -> Result<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < at_most {
        if let Some(status) = child.try_wait().context("wait for the emulator")? {
            return Ok(status);
        }
        thread::park_timeout(POLL);
    }
    child.kill().context("kill the emulator")?;
    child.wait().context("wait for the killed emulator")?;
    bail!("the machine did not come to its end within {} s", at_most.as_secs());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_does_not_end_is_killed() {
        let child = || Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let error = wait(child(), Duration::from_millis(150)).unwrap_err();
        assert!(error.to_string().starts_with("the machine did not come to its end"), "{error}");
        let mut ended = child();
        drop(ended.stdin.take());
        assert!(wait(ended, Duration::from_secs(60)).unwrap().success());
    }
}
