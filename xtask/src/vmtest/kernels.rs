//! The kernels, from Debian's packages.
//!
//! They are those that Debian makes for virtual machines: the same source and nearly the same
//! configuration as its others, in packages of a quarter of the size.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use walkdir::WalkDir;

use super::cache;
use crate::apt::Apt;

/// Packages that one kernel may consist of.
const PACKAGES_MAX: usize = 8;

/// What a kernel's packages are called; in newer suites it comes in several.
const PACKAGE_PREFIXES: [&str; 3] = ["linux-image-", "linux-binary-", "linux-modules-"];

/// Modules that are not built in: the machine's disk is a file, and tests mount an overlay.
const MODULES: [&str; 2] = ["loop", "overlay"];

/// The processor of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Architecture {
    /// 64-bit Intel and AMD.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Architecture {
    /// The one that this program runs on.
    pub(super) const fn own() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 }
    }

    /// Debian's name of it.
    pub(super) const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Rust's name of the target.
    pub(super) const fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// What the names of Debian's compilers for it begin with.
    pub(super) const fn tools(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux-gnu",
            Self::Aarch64 => "aarch64-linux-gnu",
        }
    }

    /// Debian's name, where it is not this system's own.
    pub(super) fn foreign(self) -> Option<&'static str> {
        (self != Self::own()).then_some(self.debian())
    }
}

/// A kernel that Debian ships.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// What it is called on the command line.
    pub(super) name: &'static str,
    /// The suite that has it.
    suite: &'static str,
    /// How its release begins; empty where any will do.
    pub(super) release: &'static str,
    /// What it runs on.
    pub(super) architecture: Architecture,
}

/// The kernels, oldest first.
pub(super) const KERNELS: &[Kernel] = &[
    kernel("5.10", "bullseye", "5.10.", Architecture::X86_64),
    kernel("6.1", "bookworm", "6.1.", Architecture::X86_64),
    kernel("6.12", "trixie", "6.12.", Architecture::X86_64),
    kernel("newest", "trixie-backports", "", Architecture::X86_64),
    kernel("6.1-aarch64", "bookworm", "6.1.", Architecture::Aarch64),
];

const fn kernel(
    name: &'static str,
    suite: &'static str,
    release: &'static str,
    architecture: Architecture,
) -> Kernel {
    Kernel { name, suite, release, architecture }
}

/// A kernel's files.
#[derive(Debug)]
pub(super) struct KernelFiles {
    /// What the emulator boots.
    pub(super) image: PathBuf,
    /// Modules, some of them compressed.
    pub(super) modules: Vec<PathBuf>,
}

impl Kernel {
    /// Its files, which are downloaded when absent.
    ///
    /// # Errors
    /// When Debian's archive has no such kernel or cannot be reached.
    pub(super) fn ensure(&self) -> Result<KernelFiles> {
        // Of each form in which files are kept, a folder: here the names of modules.
        let name = format!("kernels/{}-{}", self.name, MODULES.join("-"));
        let folder = cache::folder(&name, |folder| self.fetch(folder))
            .with_context(|| format!("get the kernel {}", self.name))?;
        let mut modules = Vec::new();
        for file in fs::read_dir(&folder).context("list the kernel's files")? {
            let path = file.context("list the kernel's files")?.path();
            if !path.ends_with("vmlinuz") {
                modules.push(path);
            }
        }
        Ok(KernelFiles { image: folder.join("vmlinuz"), modules })
    }

    fn fetch(&self, folder: &Path) -> Result<()> {
        println!("downloading the kernel {} of {}", self.name, self.suite);
        let apt = Apt::new(&folder.join("apt"), &[self.suite], self.architecture.foreign())?;
        let apt = apt.with_nothing_installed();
        apt.download(&self.packages(&apt)?)?;
        let unpacked = folder.join("unpacked");
        apt.unpack(&unpacked)?;
        drop(apt);
        keep(&unpacked, folder)?;
        fs::remove_dir_all(&unpacked).context("remove what is not needed of the kernel")
    }

    /// The packages that the kernel consists of: followed from the one that always depends on the
    /// suite's latest.
    fn packages(&self, apt: &Apt) -> Result<Vec<String>> {
        let latest = format!("linux-image-cloud-{}", self.architecture.debian());
        let mut found = BTreeSet::new();
        let mut next = vec![latest];
        while let Some(package) = next.pop() {
            ensure!(found.len() < PACKAGES_MAX, "a kernel of more than {PACKAGES_MAX} packages");
            next.extend(kernel_packages(&apt.cache(&["depends", &package])?));
            found.insert(package);
            next.retain(|package| !found.contains(package));
        }
        Ok(found.into_iter().collect())
    }
}

/// The names of a kernel's packages among what `apt-cache depends` prints, such as
/// `  Depends: linux-image-6.1.0-50-cloud-amd64`.
fn kernel_packages(depends: &str) -> Vec<String> {
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .filter(|name| PACKAGE_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .map(str::to_owned)
        .collect()
}

/// Moves the kernel and the modules that tests use to `folder`.
fn keep(unpacked: &Path, folder: &Path) -> Result<()> {
    let mut found = false;
    for entry in WalkDir::new(unpacked) {
        let path = entry.context("look through the kernel's packages")?.into_path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let is_kernel = name == "vmlinuz" || name.starts_with("vmlinuz-");
        let kept = if is_kernel { "vmlinuz" } else { name };
        let is_module = || MODULES.iter().any(|module| name.starts_with(&format!("{module}.ko")));
        if is_kernel || is_module() {
            fs::rename(&path, folder.join(kept)).with_context(|| format!("keep {name}"))?;
            found |= is_kernel;
        }
    }
    ensure!(found, "there is no kernel in its packages");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_own_packages_are_followed() {
        let one = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-50-cloud-amd64\n";
        assert_eq!(kernel_packages(one), ["linux-image-6.1.0-50-cloud-amd64"]);
        let several = "\
linux-image-7.3.4+deb13-cloud-amd64
  PreDepends: linux-base
 |Depends: dracut
 |Depends: initramfs-tools
  Depends: <linux-initramfs-tool>
    dracut
  Depends: linux-base-7.3.4+deb13-cloud-amd64
  Depends: linux-binary-7.3.4+deb13-cloud-amd64
  Depends: linux-modules-7.3.4+deb13-cloud-amd64
  Suggests: linux-image-doc
";
        assert_eq!(
            kernel_packages(several),
            ["linux-binary-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64"]
        );
        assert!(kernel_packages("").is_empty());
    }

    #[test]
    fn a_kernel_is_kept_wherever_its_package_has_it() {
        let folder = std::env::temp_dir().join(format!("bygone-keep-{}", std::process::id()));
        for (number, place) in
            ["boot/vmlinuz-6.1.0-50", "usr/lib/modules/7.3.4/vmlinuz"].iter().enumerate()
        {
            let target = folder.join(number.to_string());
            let unpacked = target.join("unpacked");
            let modules = unpacked.join("lib/modules/x/kernel");
            fs::create_dir_all(&modules).unwrap();
            fs::write(modules.join("overlay.ko.xz"), "").unwrap();
            fs::write(modules.join("overlayish.ko.xz"), "").unwrap();
            assert!(keep(&unpacked, &target).is_err(), "there is no kernel");
            fs::write(modules.join("overlay.ko.xz"), "").unwrap();
            let image = unpacked.join(place);
            fs::create_dir_all(image.parent().unwrap()).unwrap();
            fs::write(&image, "kernel").unwrap();
            keep(&unpacked, &target).unwrap();
            assert_eq!(fs::read(target.join("vmlinuz")).unwrap(), b"kernel");
            assert!(target.join("overlay.ko.xz").exists());
            assert!(!target.join("overlayish.ko.xz").exists());
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
