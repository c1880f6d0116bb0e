//! The tools that checks need, each at one version, installed when absent.
//!
//! They are built without optimization, which takes seconds where a release build takes minutes,
//! and stand in a cache folder of their own, so that nothing of the user's is replaced.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::build_ebpf;
use crate::process::{cargo, run};
use crate::python;

/// A tool published on crates.io whose executable has the crate's name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

/// Checks licences, sources, versions and advisories of the dependencies.
pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

/// Finds dependencies that nothing uses.
pub(crate) const CARGO_MACHETE: Tool = Tool { name: "cargo-machete", version: "0.9.2" };

/// Runs fuzz targets. Only `cargo xtask fuzz` needs it.
pub(crate) const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };

/// Installs every tool that the checks need and that is absent.
///
/// # Errors
/// When one cannot be built.
pub(crate) fn install_all() -> Result<()> {
    for tool in [CARGO_DENY, CARGO_MACHETE] {
        println!("{} {}: {}", tool.name, tool.version, tool.ensure()?.display());
    }
    println!("python packages: {}", python::packages()?.display());
    build_ebpf::install_toolchain()
}

impl Tool {
    /// The executable: the one on the search path when its version is right, else our own, which
    /// is built when absent.
    ///
    /// # Errors
    /// When it is absent and cannot be built.
    pub(crate) fn ensure(self) -> Result<PathBuf> {
        if self.is_on_path() {
            return Ok(PathBuf::from(self.name));
        }
        let root = cache_folder()?.join(format!("tools/{}-{}", self.name, self.version));
        let executable = root.join("bin").join(self.name);
        if !executable.exists() {
            let mut install = cargo();
            install
                .args(["install", "--quiet", "--locked", self.name, "--version", self.version])
                .arg("--root")
                .arg(&root)
                // Its own, so that it neither waits for a build of the workspace nor hinders it.
                .arg("--target-dir")
                .arg(root.join("build"))
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
            run(&mut install).with_context(|| format!("install {}", self.name))?;
            std::fs::remove_dir_all(root.join("build")).context("remove what the build left")?;
        }
        Ok(executable)
    }

    fn is_on_path(self) -> bool {
        Command::new(self.name).arg("--version").output().is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).split_whitespace().any(|w| w == self.version)
        })
    }
}

/// Where what the commands install stands: `$XDG_CACHE_HOME/bygone`, by default under `~/.cache`.
///
/// # Errors
/// When there is no home folder.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => env::home_dir().context("no home folder to keep tools in")?.join(".cache"),
    };
    Ok(base.join("bygone"))
}
