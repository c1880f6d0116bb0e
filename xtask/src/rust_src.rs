//! The source of the standard library, which targets without a built one need.
//!
//! It must be of exactly the compiler's version. rustup has it as a component; where rustup cannot
//! download, Debian's backports carry it as a package, which is unpacked into the cache folder and
//! linked into the toolchain.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::apt::{self, Apt};
use crate::tools::cache_folder;

/// Where Debian carries newer compilers.
const SUITES: [&str; 2] = ["trixie-backports", "trixie"];

/// Makes sure that the toolchain has the source of its standard library.
///
/// # Errors
/// When neither rustup nor Debian has it, or it cannot be put into the toolchain.
pub fn ensure() -> Result<()> {
    let place = sysroot()?.join("lib/rustlib/src/rust");
    if is_complete(&place) {
        return Ok(());
    }
    println!("the standard library's source is absent; asking rustup for it");
    let added = Command::new("rustup").args(["component", "add", "rust-src"]).status();
    if added.is_ok_and(|status| status.success()) && is_complete(&place) {
        return Ok(());
    }
    let version = rustc_version()?;
    let source = from_debian(&version)
        .with_context(|| format!("get the standard library's source of Rust {version}"))?;
    link(&source, &place)
}

/// Whether all that building the standard library needs is there.
fn is_complete(place: &Path) -> bool {
    let library = place.join("library");
    library.join("std/src/lib.rs").exists() && library.join("Cargo.lock").exists()
}

/// Puts the source into the toolchain, in place of a link that leads nowhere.
fn link(source: &Path, place: &Path) -> Result<()> {
    if place.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
        fs::remove_file(place).context("remove the old link to the standard library's source")?;
    }
    ensure!(
        !place.exists(),
        "{} is there but incomplete: remove it and try again",
        place.display()
    );
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    symlink(source, place).with_context(|| format!("make the link {}", place.display()))
}

/// The source from Debian's package of that version, downloaded unless it is cached.
fn from_debian(version: &str) -> Result<PathBuf> {
    let folder = cache_folder()?.join(format!("rust-src-{version}"));
    let source = folder.join("usr/src").join(format!("rustc-{version}"));
    if is_complete(&source) {
        return Ok(source);
    }
    ensure!(
        apt::is_debian(),
        "rustup could not add the component rust-src, and this is not Debian: \
         run `rustup component add rust-src`"
    );
    let apt = Apt::new(&folder.join("apt"), &SUITES, None)?;
    let package_version = version_of(&apt, version)?;
    apt.download(&[format!("rust-src={package_version}")])?;
    apt.unpack(&folder)?;
    drop(apt);
    ensure!(is_complete(&source), "the package has no complete source at {}", source.display());
    Ok(source)
}

/// The package's version for a version of the compiler.
fn version_of(apt: &Apt, version: &str) -> Result<String> {
    let text = apt.cache(&["madison", "rust-src"])?;
    match matching_version(&text, version) {
        Some(found) => Ok(found.to_owned()),
        None => bail!("Debian has no rust-src {version} in {}", SUITES.join(" or ")),
    }
}

/// The second column of a line such as `rust-src | 1.95.0+dfsg1-2~bpo13+1 | …` whose upstream part
/// is `version`.
fn matching_version<'a>(madison: &'a str, version: &str) -> Option<&'a str> {
    madison
        .lines()
        .filter_map(|line| Some(line.split('|').nth(1)?.trim()))
        .find(|found| found.split(['+', '-', '~']).next() == Some(version))
}

/// The folder of the toolchain in use.
fn sysroot() -> Result<PathBuf> {
    Ok(PathBuf::from(rustc(&["--print", "sysroot"])?.trim()))
}

/// The compiler's version, such as `1.95.0`.
fn rustc_version() -> Result<String> {
    let text = rustc(&["--version"])?;
    let version = text.split_whitespace().nth(1);
    version.map(str::to_owned).with_context(|| format!("rustc says {text:?} of its version"))
}

/// What rustc prints.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn rustc(arguments: &[&str]) -> Result<String> {
    let output = Command::new("rustc").args(arguments).output().context("start rustc")?;
    ensure!(output.status.success(), "rustc {} failed", arguments.join(" "));
    String::from_utf8(output.stdout).context("read what rustc prints")
}

#[cfg(test)]
mod tests {
    use super::{is_complete, link, matching_version};
    use std::fs;

    const MADISON: &str = "\
  rust-src | 1.96.0+dfsg1-1~bpo13+1 | mirror trixie-backports/main all Packages
  rust-src | 1.95.0+dfsg1-2~bpo13+1 | mirror trixie-backports/main all Packages
  rust-src | 1.85.0+dfsg3-1 | mirror trixie/main all Packages
";

    #[test]
    fn only_the_same_version_will_do() {
        assert_eq!(matching_version(MADISON, "1.95.0"), Some("1.95.0+dfsg1-2~bpo13+1"));
        assert_eq!(matching_version(MADISON, "1.95"), None);
        assert_eq!(matching_version(MADISON, "1.95.1"), None);
        assert_eq!(matching_version("", "1.95.0"), None);
    }

    #[test]
    fn a_dead_link_is_replaced_and_a_folder_is_not() {
        let folder = std::env::temp_dir().join(format!("bygone-rust-src-{}", std::process::id()));
        let source = folder.join("source");
        fs::create_dir_all(source.join("library/std/src")).unwrap();
        fs::write(source.join("library/std/src/lib.rs"), "").unwrap();
        assert!(!is_complete(&source), "the lock file is absent");
        fs::write(source.join("library/Cargo.lock"), "").unwrap();
        let place = folder.join("rustlib/rust");
        link(&folder.join("nowhere"), &place).unwrap();
        assert!(!is_complete(&place));
        link(&source, &place).unwrap();
        assert!(is_complete(&place));
        fs::remove_file(&place).unwrap();
        fs::create_dir(&place).unwrap();
        let error = link(&source, &place).unwrap_err();
        assert!(error.to_string().ends_with("remove it and try again"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
