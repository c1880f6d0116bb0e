//! `cargo xtask build-ebpf`: builds the kernel probes and commits their object to the source tree.
//!
//! The object is committed, so that building Bygone needs no BPF linker. With `--check` the probes
//! are built again and compared with the committed object in what is stable: instructions, maps,
//! globals, relocations and types. What a fresh machine lacks is installed (see [`toolchain`]).

mod compare;
mod toolchain;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use self::toolchain::Toolchain;
use crate::process::{cargo, root, run as run_command};

/// The committed object, from the root of the workspace.
const OBJECT: &str = "ebpf-probes/bygone.bpf.o";

/// The target of the probes.
const TARGET: &str = "bpfel-unknown-none";

/// Builds the probes; with `check`, compares them with the committed object instead of replacing
/// it.
///
/// # Errors
/// When something needed cannot be installed, the probes do not build, or the committed object is
/// not what they build to.
pub fn run(check: bool) -> Result<()> {
    let toolchain = Toolchain::ensure()?;
    let built = compare::stripped(&build(&toolchain)?)?;
    let committed = root().join(OBJECT);
    if !check {
        fs::write(&committed, &built)
            .with_context(|| format!("cannot write {}", committed.display()))?;
        println!("{OBJECT}: {} bytes", built.len());
        return Ok(());
    }
    let bytes = fs::read(&committed).with_context(|| format!("cannot read {OBJECT}"))?;
    let differences = compare::differences(&bytes, &built)?;
    if !differences.is_empty() {
        for difference in &differences {
            println!("{OBJECT}: {difference}");
        }
        bail!("{OBJECT} is not what its source builds to; run `cargo xtask build-ebpf`");
    }
    println!("{OBJECT} is what its source builds to");
    Ok(())
}

/// Installs what building the probes needs and this machine lacks.
///
/// # Errors
/// When something cannot be installed.
pub(crate) fn install_toolchain() -> Result<()> {
    let toolchain = Toolchain::ensure()?;
    println!("bpf-linker: {}", toolchain.linker.display());
    Ok(())
}

/// Builds the probes and returns the object.
fn build(toolchain: &Toolchain) -> Result<Vec<u8>> {
    let folder = root().join("ebpf-probes");
    let target = folder.join("target");
    let mut command = cargo();
    command
        .args(["build", "--release", "--locked"])
        .current_dir(&folder)
        // `core` for this target is built from source, which stable compilers do not offer.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &toolchain.linker)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&folder, toolchain)?.join("\x1f"))
        .env_remove("RUSTFLAGS");
    run_command(&mut command)?;
    let object = target.join(TARGET).join("release/bygone");
    fs::read(&object).with_context(|| format!("cannot read {}", object.display()))
}

/// The flags of `ebpf-probes/.cargo/config.toml`, and names for folders that differ between
/// machines: they would get into the object.
fn flags(folder: &Path, toolchain: &Toolchain) -> Result<Vec<String>> {
    let mut flags: Vec<String> =
        ["-C", "debuginfo=2", "-C", "link-arg=--btf"].map(str::to_owned).into();
    let cargo_home = match env::var_os("CARGO_HOME") {
        Some(path) => PathBuf::from(path),
        None => env::home_dir().context("no home folder")?.join(".cargo"),
    };
    let mut names = vec![
        (folder.to_owned(), "probes"),
        (toolchain.sysroot.clone(), "rust"),
        (cargo_home.clone(), "cargo"),
    ];
    // Each registry's folder is called after its host; of several that match, the last counts.
    let registries = fs::read_dir(cargo_home.join("registry/src")).into_iter().flatten();
    names.extend(registries.filter_map(|entry| Some((entry.ok()?.path(), "crates"))));
    for (path, name) in names {
        flags.push(format!("--remap-path-prefix={}=/{name}", path.display()));
    }
    Ok(flags)
}
