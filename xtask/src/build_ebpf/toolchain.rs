//! What building the probes takes besides Rust: the source of `core`, and the BPF linker.
//!
//! Both are looked for first. The linker is built against the compiler's own LLVM, so that it
//! understands what the compiler writes, and stands in the cache folder: nothing of the user's is
//! replaced.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::{cargo, run};
use crate::rust_src;
use crate::tools::cache_folder;

/// The BPF linker's version on crates.io.
const LINKER_VERSION: &str = "0.13.0";

/// What the build needs.
#[derive(Debug)]
pub(super) struct Toolchain {
    /// The compiler's folder.
    pub(super) sysroot: PathBuf,
    /// The BPF linker.
    pub(super) linker: PathBuf,
}

/// What the compiler says of itself.
struct Compiler {
    sysroot: PathBuf,
    version: String,
    llvm_major: String,
}

impl Toolchain {
    /// Finds what is needed, and installs what is absent.
    ///
    /// # Errors
    /// When something absent cannot be installed.
    pub(super) fn ensure() -> Result<Self> {
        let compiler = Compiler::ask()?;
        rust_src::ensure()?;
        let linker = ensure_linker(&compiler)?;
        Ok(Self { sysroot: compiler.sysroot, linker })
    }
}

impl Compiler {
    fn ask() -> Result<Self> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"]))?;
        let about = output(Command::new(&rustc).arg("-vV"))?;
        let field = |name: &str| {
            let line = about.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned())
                .with_context(|| format!("the compiler does not tell its `{name}`"))
        };
        let llvm = field("LLVM version:")?;
        Ok(Self {
            sysroot: PathBuf::from(sysroot.trim()),
            version: field("release:")?,
            llvm_major: llvm.split('.').next().unwrap_or_default().to_owned(),
        })
    }
}

fn ensure_linker(compiler: &Compiler) -> Result<PathBuf> {
    let name = format!("bpf-linker-{LINKER_VERSION}-rust-{}", compiler.version);
    let folder = cache_folder()?.join(name);
    let linker = folder.join("bin/bpf-linker");
    let works = |linker: &Path| {
        let version = Command::new(linker).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    };
    if works(&linker) {
        return Ok(linker);
    }
    println!("installing bpf-linker {LINKER_VERSION}");
    let library = compiler.sysroot.join("lib");
    let llvm = llvm_library(&library)?;
    let links = folder.join("llvm");
    fs::create_dir_all(&links).with_context(|| format!("cannot make {}", links.display()))?;
    let link = links.join("libLLVM.so");
    if link.is_symlink() {
        fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
    }
    std::os::unix::fs::symlink(llvm, &link)
        .with_context(|| format!("cannot link {}", link.display()))?;
    install_linker(compiler, &folder, &links, &library)?;
    if works(&linker) {
        return Ok(linker);
    }
    bail!("{} does not run", linker.display())
}

fn install_linker(compiler: &Compiler, folder: &Path, links: &Path, library: &Path) -> Result<()> {
    let build = folder.join("build");
    let flags = [
        format!("-Lnative={}", links.display()),
        format!("-Lnative={}", library.display()),
        format!("-Clink-arg=-Wl,-rpath,{}", library.display()),
    ];
    let mut install = cargo();
    install
        .args(["install", "--quiet", "--locked", "--force", "bpf-linker"])
        .args(["--version", LINKER_VERSION, "--no-default-features", "--features"])
        .arg(format!("llvm-{}", compiler.llvm_major))
        .arg("--root")
        .arg(folder)
        .arg("--target-dir")
        .arg(&build)
        .current_dir(folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // Optimizing the linker takes longer than it saves.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env_remove("RUSTFLAGS");
    run(&mut install).context("cannot install bpf-linker")?;
    fs::remove_dir_all(&build).context("cannot remove what the build left")
}

/// The compiler's own LLVM.
fn llvm_library(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()));
    let is_llvm = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("libLLVM.so") || (name.starts_with("libLLVM-") && name.ends_with(".so"))
    };
    // The versioned one is the library itself; the other may be a linker script.
    let mut found: Vec<PathBuf> = entries.filter(is_llvm).collect();
    found.sort_by_key(|path| !path.to_string_lossy().contains(".so."));
    let first = found.into_iter().next();
    first.with_context(|| format!("no LLVM library in {}", folder.display()))
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let output = command.output().with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!("{} ended with {}", program.display(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
