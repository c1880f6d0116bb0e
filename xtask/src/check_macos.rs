//! `cargo xtask check-macos`: type-checks the whole workspace for macOS, on any system.
//!
//! No SDK and no C compiler for macOS are needed. The standard library is checked from its source
//! where the toolchain has no built one for the target, which takes cargo's unstable `build-std`.
//! C code that dependencies bring is not compiled: checking links nothing, so that a program that
//! does nothing stands in for compiler and archiver.
//!
//! It has a target folder of its own: its flags would make other builds start anew.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::process::{self, cargo, root};
use crate::rust_src;

/// Where today's Macs are; the layouts that are asserted are the same on the older ones.
const TARGET: &str = "aarch64-apple-darwin";

/// Succeeds whatever its arguments.
const DO_NOTHING: &str = "true";

/// Type-checks the workspace.
///
/// # Errors
/// When the code does not compile for macOS, or the standard library's source is not to be had.
pub fn run() -> Result<()> {
    let mut command = cargo();
    command
        .args(["check", "--workspace", "--target", TARGET])
        .arg("--target-dir")
        .arg(target_dir());
    if !has_built_library()? {
        rust_src::ensure()?;
        command.args(["-Z", "build-std=std,panic_abort"]).env("RUSTC_BOOTSTRAP", "1");
    }
    if cfg!(not(target_os = "macos")) {
        let suffix = TARGET.replace('-', "_");
        command
            .env(format!("CC_{suffix}"), DO_NOTHING)
            .env(format!("AR_{suffix}"), DO_NOTHING)
            // Else it is asked of a program that only macOS has.
            .env("SDKROOT", root())
            .env("MACOSX_DEPLOYMENT_TARGET", "11.0");
    }
    process::run(&mut command).with_context(|| format!("check the workspace for {TARGET}"))
}

/// Whether the toolchain has a built standard library for the target.
fn has_built_library() -> Result<bool> {
    let folder = rust_src::rustc(&["--print", "target-libdir", "--target", TARGET])?;
    Ok(Path::new(folder.trim()).exists())
}

fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), PathBuf::from)
        .join("check-macos")
}
