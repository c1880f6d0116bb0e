//! Which processes are not recorded, as `exclude_paths` and its like in `[process]` say.
//!
//! A path is that of one program (or cgroup), or with `/%%` at its end all that lies below it. It is
//! compared name by name with what the kernel walks, so that other wildcards are not possible.

use std::path::Path;

use bygone_probe_abi::RULE_BYTES_MAX;

use super::text::lossless;

/// Why a path cannot be excluded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExcludeError {
    /// It does not begin with `/`.
    #[error("`{0}` is not an absolute path: write it from `/` on")]
    Relative(String),
    /// It has `.` or `..` as a component.
    #[error("`{0}` has `.` or `..` in it: write the path without them")]
    Dots(String),
    /// A wildcard stands elsewhere than at its end.
    #[error(
        "`{0}` has a wildcard other than `%%` as its last component: name one path, or all below \
         one as in \"/opt/build/%%\""
    )]
    Wildcard(String),
    /// It is the root.
    #[error("`{0}` is everything: to record no processes at all, set enabled = false instead")]
    Everything(String),
    /// It has more bytes than the kernel's programs compare.
    #[error("`{0}` is longer than {RULE_BYTES_MAX} bytes: name a folder above it")]
    Long(String),
}

/// A path that is excluded, or one below which all is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExcludedPath {
    /// From the root, without a slash at its end.
    path: String,
    is_below: bool,
}

impl ExcludedPath {
    /// Reads one as it is written in the configuration.
    ///
    /// ```
    /// use bygone::host::exclude::ExcludedPath;
    ///
    /// let build = ExcludedPath::parse("/opt/build/%%").unwrap();
    /// assert!(build.covers("/opt/build/bin/cc") && !build.covers("/opt/builder/cc"));
    /// ```
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn parse(text: &str) -> Result<Self, ExcludeError> {
        let rest = text.strip_prefix('/').ok_or_else(|| ExcludeError::Relative(text.to_owned()))?;
        let mut names: Vec<&str> = rest.split('/').filter(|name| !name.is_empty()).collect();
        let is_below = names.last().is_some_and(|name| ["%%", "**"].contains(name));
        if is_below {
            names.pop();
        }
        if names.iter().any(|name| [".", ".."].contains(name)) {
            return Err(ExcludeError::Dots(text.to_owned()));
        }
        if names.iter().any(|name| name.contains(['%', '*'])) {
            return Err(ExcludeError::Wildcard(text.to_owned()));
        }
        if names.is_empty() {
            return Err(ExcludeError::Everything(text.to_owned()));
        }
        let path = format!("/{}", names.join("/"));
        // As walked, a terminator stands in the place of each slash.
        if path.len() > RULE_BYTES_MAX {
            return Err(ExcludeError::Long(text.to_owned()));
        }
        Ok(Self { path, is_below })
    }

    /// Follows symbolic links in the folders of the path, as the kernel did when it came to the file.
    /// The last component stays: where it is a link, no program has that path, which is said in the
    /// log, since what it leads to may be more than was meant.
    #[must_use]
    fn resolved(self, key: &str) -> Self {
        let path = Path::new(&self.path);
        let (folder, name) = match (self.is_below, path.parent(), path.file_name()) {
            (false, Some(folder), Some(name)) => (folder, Some(name)),
            _ => (path, None),
        };
        let Ok(folder) = folder.canonicalize() else {
            return self;
        };
        let resolved = name.map_or_else(|| folder.clone(), |name| folder.join(name));
        if name.is_some() && resolved.is_symlink() {
            let target = resolved.canonicalize().unwrap_or_default();
            tracing::warn!(
                key,
                path = self.path,
                leads_to = %target.display(),
                "A path to exclude is a link, so that no program has it; name what it leads to"
            );
        }
        match resolved.into_os_string().into_string() {
            Ok(path) if path.len() <= RULE_BYTES_MAX && path.len() > 1 => Self { path, ..self },
            _ => self,
        }
    }

    /// Whether a path is this one or below it. What is no absolute path is not.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        let own = lossless(self.path.as_bytes());
        match path.strip_prefix(&own) {
            Some(rest) => rest.is_empty() || (self.is_below && rest.starts_with('/')),
            None => false,
        }
    }

    /// Whether all below the path is excluded, too.
    #[must_use]
    pub const fn is_below(&self) -> bool {
        self.is_below
    }

    /// The names as the kernel's programs write them: the last first, each with a terminator.
    #[must_use]
    pub fn names(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.path.len());
        for name in self.path.split('/').rev().filter(|name| !name.is_empty()) {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
        }
        bytes
    }
}

/// All that is excluded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions {
    /// Programs.
    pub paths: Vec<ExcludedPath>,
    /// Programs of which what they start is excluded.
    pub parents: Vec<ExcludedPath>,
    /// Real user ids.
    pub users: Vec<u32>,
    /// Cgroups.
    pub cgroups: Vec<ExcludedPath>,
}

impl Exclusions {
    /// Reads the lists of a configuration and follows the links in the paths of programs.
    ///
    /// # Errors
    /// When a path cannot be used.
    pub fn new(
        paths: &[String],
        parents: &[String],
        users: &[u32],
        cgroups: &[String],
    ) -> Result<Self, ExcludeError> {
        let parse = |texts: &[String]| -> Result<Vec<ExcludedPath>, ExcludeError> {
            texts.iter().map(|text| ExcludedPath::parse(text)).collect()
        };
        let programs = |texts: &[String], key: &str| -> Result<Vec<ExcludedPath>, ExcludeError> {
            Ok(parse(texts)?.into_iter().map(|path| path.resolved(key)).collect())
        };
        Ok(Self {
            paths: programs(paths, "exclude_paths")?,
            parents: programs(parents, "exclude_parents")?,
            users: users.to_vec(),
            cgroups: parse(cgroups)?,
        })
    }

    /// Whether nothing is excluded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
            && [&self.paths, &self.parents, &self.cgroups].iter().all(|list| list.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_or_all_below_it() {
        let check = |rule: &str, covered: &[&str], others: &[&str]| {
            let rule = ExcludedPath::parse(rule).unwrap();
            for path in covered {
                assert!(rule.covers(path), "{path}");
            }
            for path in others {
                assert!(!rule.covers(path), "{path}");
            }
        };
        check("/usr/bin/true", &["/usr/bin/true"], &["/usr/bin/true2", "/usr/bin", "true", ""]);
        check("//usr/bin//true/", &["/usr/bin/true"], &["/usr/bin/true/x"]);
        for below in ["/opt/build/%%", "/opt/build/**"] {
            check(
                below,
                &["/opt/build/cc", "/opt/build/a/b", "/opt/build"],
                &["/opt/builder/cc", "/x/opt/build/cc", "opt/build/cc"],
            );
        }
        check("/a\\x41/%%", &["/a\\x5cx41/b"], &["/aA/b"]);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let refused = |text: &str| ExcludedPath::parse(text).unwrap_err();
        assert_eq!(refused("bin/true"), ExcludeError::Relative("bin/true".to_owned()));
        assert_eq!(refused("/a/../b"), ExcludeError::Dots("/a/../b".to_owned()));
        for text in ["/a/%", "/a/%.so/b", "/%%/a", "/a/x%%", "/*/b"] {
            assert_eq!(refused(text), ExcludeError::Wildcard(text.to_owned()));
        }
        for text in ["/", "/%%", "//"] {
            assert_eq!(refused(text), ExcludeError::Everything(text.to_owned()));
        }
        let long = format!("/{}", "a".repeat(RULE_BYTES_MAX));
        assert_eq!(refused(&long), ExcludeError::Long(long.clone()));
        assert!(ExcludedPath::parse(&long[..RULE_BYTES_MAX]).is_ok());
    }

    #[test]
    fn names_are_those_of_a_walk() {
        assert_eq!(ExcludedPath::parse("/usr/bin/%%").unwrap().names(), b"bin\0usr\0");
        assert_eq!(ExcludedPath::parse("/usr/bin/true").unwrap().names(), b"true\0bin\0usr\0");
    }

    #[test]
    fn links_in_folders_are_followed_and_the_last_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("real")).unwrap();
        std::fs::write(real.join("real/tool"), "").unwrap();
        std::os::unix::fs::symlink("real", real.join("link")).unwrap();
        std::os::unix::fs::symlink("tool", real.join("real/alias")).unwrap();
        let own = |end: &str| real.join(end).to_str().unwrap().to_owned();
        let resolved = |written: &str| {
            let of = Exclusions::new(&[own(written)], &[], &[], &[]).unwrap();
            of.paths.into_iter().next().unwrap()
        };
        assert_eq!(resolved("link/tool"), ExcludedPath::parse(&own("real/tool")).unwrap());
        assert_eq!(resolved("link/%%"), ExcludedPath::parse(&own("real/%%")).unwrap());
        assert_eq!(resolved("link/alias"), ExcludedPath::parse(&own("real/alias")).unwrap());
        assert_eq!(resolved("gone/x"), ExcludedPath::parse(&own("gone/x")).unwrap());
        let cgroups = Exclusions::new(&[], &[], &[], &[own("link/%%")]).unwrap().cgroups;
        assert_eq!(cgroups, [ExcludedPath::parse(&own("link/%%")).unwrap()]);
    }

    #[test]
    fn nothing_is_excluded_by_default() {
        assert!(Exclusions::default().is_empty());
        let users = Exclusions { users: vec![0], ..Exclusions::default() };
        assert!(!users.is_empty());
    }
}
