//! Folders of the cache that are made once and then stay.
//!
//! **Invariant:** a folder is complete when it has its name: it is made under another one. Several
//! may make it at once; the first to finish counts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::tools::cache_folder;

/// The folder `name` of the cache; `make` fills it when it is absent.
///
/// # Errors
/// When `make` fails, or the folder cannot be put in its place.
pub(super) fn folder(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    within(&cache_folder()?, name, make)
}

fn within(cache: &Path, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = cache.join(name);
    if folder.exists() {
        return Ok(folder);
    }
    let temporary = cache.join(format!("{name}.tmp-{}", std::process::id()));
    fs::create_dir_all(&temporary).with_context(|| format!("make {}", temporary.display()))?;
    let made = make(&temporary);
    if made.is_ok() && fs::rename(&temporary, &folder).is_ok() {
        return Ok(folder);
    }
    fs::remove_dir_all(&temporary).context("remove what was half made")?;
    made?;
    ensure!(folder.exists(), "{} cannot be put in its place", folder.display());
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_folder_is_made_once_and_a_failure_leaves_nothing() {
        let cache = std::env::temp_dir().join(format!("bygone-cache-{}", std::process::id()));
        let error = within(&cache, "a/b", |_| bail!("no network")).unwrap_err();
        assert_eq!(error.to_string(), "no network");
        assert_eq!(fs::read_dir(cache.join("a")).unwrap().count(), 0);
        let fill = |folder: &Path| Ok(fs::write(folder.join("file"), "1")?);
        let made = within(&cache, "a/b", fill).unwrap();
        assert_eq!(fs::read(made.join("file")).unwrap(), b"1");
        assert_eq!(within(&cache, "a/b", |_| bail!("made again")).unwrap(), made);
        fs::remove_dir_all(&cache).unwrap();
    }
}
