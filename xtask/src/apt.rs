//! Packages of Debian's archive, without a trace on the system.
//!
//! apt is run with sources, lists and caches of its own, and packages are only unpacked: the
//! system's sources, lists and installed packages stay as they are, and no rights are needed. The
//! archive is the one that the system's own sources name, mirror or not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process::run;

/// Key of Debian's archive, part of the system's base.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Whether this system has Debian's packages.
pub(crate) fn is_debian() -> bool {
    Path::new(KEYRING).exists()
}

/// The suite that this system was installed from, such as `bookworm`.
///
/// # Errors
/// When the system does not say.
pub(crate) fn own_suite() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("/etc/os-release names no suite")?.trim_matches('"').to_owned())
}

/// apt with sources, lists and caches of its own, which are gone when this is dropped.
pub(crate) struct Apt {
    state: PathBuf,
    /// Debian's name of another architecture than the system's.
    architecture: Option<&'static str>,
    /// Nothing counts as installed, so that a package is fetched with all that it depends on.
    nothing_installed: bool,
}

impl Apt {
    /// Reads the lists of `suites` into the folder `state`, for the system's own architecture or
    /// another.
    ///
    /// # Errors
    /// When this is not Debian, or its archive cannot be reached.
    pub(crate) fn new(
        state: &Path,
        suites: &[&str],
        architecture: Option<&'static str>,
    ) -> Result<Self> {
        ensure!(is_debian(), "this takes packages of Debian, which this system is not");
        let archive = debian_archive()?;
        let apt = Self { state: state.to_owned(), architecture, nothing_installed: false };
        for part in ["lists/partial", "archives/partial"] {
            let path = apt.state.join(part);
            fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        }
        let sources: String = suites
            .iter()
            .map(|suite| format!("deb [signed-by={KEYRING}] {archive} {suite} main\n"))
            .collect();
        fs::write(apt.state.join("sources.list"), sources).context("write the package sources")?;
        fs::write(apt.state.join("none-installed"), "").context("write the state of packages")?;
        run(apt.command("apt-get").args(["-qq", "update"])).context("read the package lists")?;
        Ok(apt)
    }

    /// The same apt, to which nothing counts as installed.
    pub(crate) fn with_nothing_installed(mut self) -> Self {
        self.nothing_installed = true;
        self
    }

    /// One of apt's programs, to be run with this state.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut option = |name: &str, value: &Path| {
            command.arg("-o").arg(format!("{name}={}", value.display()));
        };
        option("Dir::Etc::SourceList", &self.state.join("sources.list"));
        option("Dir::Etc::SourceParts", Path::new("/dev/null"));
        option("Dir::State::Lists", &self.state.join("lists"));
        option("Dir::Cache", &self.state);
        option("Dir::Cache::Archives", &self.state.join("archives"));
        // Lists of packages' pictures and translations, which are half of all bytes.
        option("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", Path::new("false"));
        option("Acquire::Languages", Path::new("none"));
        // Its own user for downloads may not enter a home folder.
        option("APT::Sandbox::User", Path::new("root"));
        if let Some(architecture) = self.architecture {
            option("APT::Architecture", Path::new(architecture));
            option("APT::Architectures", Path::new(architecture));
        }
        if self.nothing_installed || self.architecture.is_some() {
            option("Dir::State::Status", &self.state.join("none-installed"));
        }
        command
    }

    /// What `apt-cache` prints.
    ///
    /// # Errors
    /// When it cannot be started or fails.
    pub(crate) fn cache(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command("apt-cache");
        let output = command.args(arguments).output().context("start apt-cache")?;
        ensure!(
            output.status.success(),
            "apt-cache {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        String::from_utf8(output.stdout).context("read what apt-cache prints")
    }

    /// Downloads packages, each by name, `name=version` or `name/suite`, and nothing else.
    ///
    /// # Errors
    /// When one cannot be had.
    pub(crate) fn download(&self, packages: &[String]) -> Result<()> {
        let mut command = self.command("apt-get");
        command.args(["-qq", "download"]).args(packages);
        run(command.current_dir(self.state.join("archives")))
    }

    /// Downloads packages and all that they depend on and that does not count as installed.
    ///
    /// # Errors
    /// When one cannot be had.
    pub(crate) fn download_with_dependencies(&self, packages: &[&str]) -> Result<()> {
        let mut command = self.command("apt-get");
        command.args(["-qq", "--yes", "--download-only", "--no-install-recommends"]);
        // Downloading takes no lock of the system's, and no rights.
        command.args(["-o", "Debug::NoLocking=true", "install"]).args(packages);
        run(&mut command)
    }

    /// Unpacks what was downloaded; no script of a package is run.
    ///
    /// # Errors
    /// When nothing was downloaded, or a package cannot be unpacked.
    pub(crate) fn unpack(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let mut count = 0;
        for file in fs::read_dir(self.state.join("archives")).context("list the packages")? {
            let package = file.context("list the packages")?.path();
            if package.extension().is_some_and(|extension| extension == "deb") {
                run(Command::new("dpkg").arg("--extract").arg(&package).arg(folder))?;
                fs::remove_file(&package).context("remove the unpacked package")?;
                count += 1;
            }
        }
        ensure!(count > 0, "apt-get downloaded no package");
        Ok(())
    }
}

impl Drop for Apt {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.state) {
            println!("cannot remove {}: {error}", self.state.display());
        }
    }
}

/// The archive that the system's own sources use, mirror or not.
fn debian_archive() -> Result<String> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
        .output()
        .context("start apt-get")?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|uri| uri.trim_end_matches('/'))
        .find(|uri| uri.ends_with("/debian"))
        .map(str::to_owned)
        .context("no Debian archive among the system's package sources")
}
