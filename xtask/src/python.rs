//! The Python packages that read our segments in tests and benchmarks: other programs' readers.
//!
//! They are installed by pip into a folder of their own in the cache, which needs neither a virtual
//! environment nor rights, and are found through `PYTHONPATH`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::run;
use crate::tools::cache_folder;

/// The variable that names their folder to tests and benchmarks.
pub(crate) const PACKAGES: &str = "BYGONE_PYTHON_PACKAGES";

/// The packages, each at one version.
const PINNED: [&str; 2] = ["duckdb==2.0.1", "pyarrow==26.0.1"];

/// The folder of the packages, which are installed when absent.
///
/// # Errors
/// When they cannot be installed: without Python 3 and pip, or without network.
pub(crate) fn packages() -> Result<PathBuf> {
    let folder = folder()?;
    if folder.exists() {
        return Ok(folder);
    }
    // Several may install at once; the first to finish counts.
    let temporary = cache_folder()?.join(format!("python/{}.tmp", std::process::id()));
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--root-user-action", "ignore"]);
    pip.args(["--only-binary", ":all:", "--target"]).arg(&temporary).args(PINNED);
    run(&mut pip).context("install Python packages")?;
    if std::fs::rename(&temporary, &folder).is_err() {
        std::fs::remove_dir_all(&temporary).context("remove Python packages")?;
        if !folder.exists() {
            bail!("the Python packages cannot be put at {}", folder.display());
        }
    }
    Ok(folder)
}

/// The folder of the packages where they are installed.
///
/// # Errors
/// When there is no home folder.
pub(crate) fn installed() -> Result<Option<PathBuf>> {
    Ok(Some(folder()?).filter(|folder| folder.exists()))
}

fn folder() -> Result<PathBuf> {
    Ok(cache_folder()?.join(format!("python/{}", PINNED.join("-").replace("==", "-"))))
}
