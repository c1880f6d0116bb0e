//! What building the probes takes besides Rust: the source of `core`, and the BPF linker.
//!
//! Both are looked for first. The source comes from rustup, or where rustup has no downloads from
//! Debian's package of the same version, unpacked into the cache folder and linked from the
//! compiler's own folder. The linker is built against the compiler's own LLVM, so that it
//! understands what the compiler writes. No setting of the machine is changed: apt is given lists
//! and folders of its own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::{cargo, run};

/// The BPF linker's version on crates.io.
const LINKER_VERSION: &str = "0.13.0";

/// Suites of Debian that may have the source of the compiler in use.
const SUITES: [&str; 2] = ["trixie-backports", "sid"];

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
        ensure_source(&compiler)?;
        let linker = ensure_linker(&compiler)?;
        Ok(Self {
            sysroot: compiler.sysroot,
            linker,
        })
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

    fn source(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust")
    }

    fn has_source(&self) -> bool {
        self.source().join("library/core/Cargo.toml").is_file()
    }
}

fn ensure_source(compiler: &Compiler) -> Result<()> {
    if compiler.has_source() {
        return Ok(());
    }
    println!("installing the source of core {}", compiler.version);
    // Where there is no rustup, or it has no downloads, the package does the same.
    let rustup = Command::new("rustup")
        .args(["component", "add", "rust-src"])
        .status();
    if rustup.is_ok_and(|status| status.success()) && compiler.has_source() {
        return Ok(());
    }
    let unpacked = debian_source(&compiler.version)
        .context("neither rustup nor Debian gives the source of core (component rust-src)")?;
    let link = compiler.source();
    let folder = link.parent().context("the compiler has no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if link.is_symlink() {
        fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
    } else if link.exists() {
        // What a broken installation left has no library in it.
        fs::remove_dir_all(&link).with_context(|| format!("cannot replace {}", link.display()))?;
    }
    std::os::unix::fs::symlink(&unpacked, &link)
        .with_context(|| format!("cannot link {}", link.display()))?;
    if compiler.has_source() {
        return Ok(());
    }
    bail!(
        "the package that was unpacked to {} has no core",
        unpacked.display()
    )
}

/// Downloads and unpacks Debian's package of the compiler's source; returns where it is.
fn debian_source(version: &str) -> Result<PathBuf> {
    let folder = cache()?.join(format!("rust-src-{version}"));
    let source = folder.join(format!("usr/src/rustc-{version}"));
    if source.join("library/core/Cargo.toml").is_file() {
        return Ok(source);
    }
    let apt = Apt::new(&folder)?;
    run(&mut apt.command("apt-get", &["-qq", "update"]))?;
    let known = output(&mut apt.command("apt-cache", &["madison", "rust-src"]))?;
    let package = known
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|candidate| candidate.starts_with(&format!("{version}+")))
        .with_context(|| format!("no suite of Debian looked at has rust-src {version}"))?;
    let wanted = format!("rust-src={package}");
    run(apt
        .command("apt-get", &["-qq", "download", &wanted])
        .current_dir(&folder))?;
    let archive = fs::read_dir(&folder)
        .context("cannot list the download")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get downloaded nothing")?;
    run(Command::new("dpkg").arg("-x").arg(&archive).arg(&folder))?;
    fs::remove_file(&archive).context("cannot remove the download")?;
    Ok(source)
}

/// apt with a list of sources, an index and a cache of its own.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self> {
        let apt = folder.join("apt");
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(apt.join(part))
                .with_context(|| format!("cannot make {}", apt.display()))?;
        }
        let mirror = debian_mirror();
        let keys = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        let list: String = SUITES
            .iter()
            .map(|suite| format!("deb {keys} {mirror} {suite} main\n"))
            .collect();
        let sources = apt.join("sources.list");
        fs::write(&sources, list).with_context(|| format!("cannot write {}", sources.display()))?;
        let options = vec![
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::lists={}", apt.join("lists").display()),
            format!("Dir::Cache={}", apt.join("cache").display()),
            // The folder of a user is not open to apt's own one.
            "APT::Sandbox::User=root".to_owned(),
        ];
        Ok(Self { options })
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        command.args(args);
        command
    }
}

/// The mirror that this machine's apt uses for Debian, else the public one.
fn debian_mirror() -> String {
    let parts = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten();
    let mut files: Vec<PathBuf> = parts.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.push(PathBuf::from("/etc/apt/sources.list"));
    let texts = files
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    texts
        .filter_map(|text| mirror_in(&text))
        .next()
        .unwrap_or_else(|| "http://deb.debian.org/debian".to_owned())
}

/// The first address in a list of sources whose last part is `debian`.
fn mirror_in(text: &str) -> Option<String> {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace);
    let is_mirror =
        |word: &&str| word.contains("://") && word.trim_end_matches('/').ends_with("/debian");
    words
        .find(is_mirror)
        .map(|word| word.trim_end_matches('/').to_owned())
}

fn ensure_linker(compiler: &Compiler) -> Result<PathBuf> {
    let name = format!("bpf-linker-{LINKER_VERSION}-rust-{}", compiler.version);
    let folder = cache()?.join(name);
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
        .args([
            "--version",
            LINKER_VERSION,
            "--no-default-features",
            "--features",
        ])
        .arg(format!("llvm-{}", compiler.llvm_major))
        .arg("--root")
        .arg(folder)
        .arg("--target-dir")
        .arg(&build)
        .current_dir(folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
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
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        name.starts_with("libLLVM.so") || (name.starts_with("libLLVM-") && name.ends_with(".so"))
    };
    // The versioned one is the library itself; the other may be a linker script.
    let mut found: Vec<PathBuf> = entries.filter(is_llvm).collect();
    found.sort_by_key(|path| !path.to_string_lossy().contains(".so."));
    let first = found.into_iter().next();
    first.with_context(|| format!("no LLVM library in {}", folder.display()))
}

/// Where everything is kept: `$XDG_CACHE_HOME/bygone`, by default under `~/.cache`.
fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => env::home_dir()
            .context("no home folder to keep tools in")?
            .join(".cache"),
    };
    Ok(base.join("bygone"))
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!("{} ended with {}", program.display(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::mirror_in;

    #[test]
    fn the_mirror_is_found_in_both_formats() {
        let new = "Types: deb\n# http://a.example/x/debian\nURIs: http://b.example/debian/\n";
        assert_eq!(mirror_in(new).as_deref(), Some("http://b.example/debian"));
        let old = "deb [signed-by=/k] https://c.example/m/debian bookworm main\n";
        assert_eq!(
            mirror_in(old).as_deref(),
            Some("https://c.example/m/debian")
        );
        assert_eq!(
            mirror_in("deb https://d.example/debian-security bookworm main"),
            None
        );
    }
}
