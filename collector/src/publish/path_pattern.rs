//! Patterns of paths, as the section `[file]` has them: which category a path belongs to, and which
//! directories need a watch.
//!
//! `/etc/%%` is `/etc` and everything below it; `/etc/%` is what lies directly in it; `%` also
//! stands for any part of one name (`/home/%/.ssh/%%`, `/etc/%.conf`). A path without a wildcard is
//! that path and, when it is a directory, what lies directly in it. `*` and `**` mean the same as
//! `%` and `%%`.
//!
//! All decisions are made on the path alone, so that they are the same for a directory that does
//! not exist yet.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component as PathPart, Path, PathBuf};
use std::sync::Arc;

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It does not begin with `/`.
    #[error("pattern `{0}` is not an absolute path: write it from `/` on")]
    Relative(String),
    /// It has `.` or `..` as a component.
    #[error("pattern `{0}` has `.` or `..` in it: write the path without them")]
    Dots(String),
    /// `%%` or `**` stands elsewhere than at its end.
    #[error(
        "pattern `{0}` has `%%` elsewhere than as its last component: write `%` for one name there"
    )]
    RecursiveInside(String),
}

/// One component of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Component {
    Literal(OsString),
    /// A name in which each `%` stands for any bytes, none included.
    Glob(Vec<u8>),
}

impl Component {
    fn matches(&self, name: &OsStr) -> bool {
        match self {
            Self::Literal(literal) => literal == name,
            Self::Glob(glob) => glob_matches(glob, name.as_bytes()),
        }
    }
}

/// What a pattern covers once all its components have matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// The path only: its last component is a wildcard.
    Itself,
    /// The path and what lies directly in it.
    Children,
    /// The path and everything below it.
    Below,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    components: Vec<Component>,
    reach: Reach,
}

/// Why a directory is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Entries in it may be covered by a pattern.
    Content,
    /// Only the way to a covered path leads through it.
    Ancestor,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let path = text.strip_prefix('/').ok_or_else(|| PatternError::Relative(text.to_owned()))?;
        let mut components = Vec::new();
        let mut reach = Reach::Children;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if reach == Reach::Below {
                return Err(PatternError::RecursiveInside(text.to_owned()));
            }
            match name {
                "." | ".." => return Err(PatternError::Dots(text.to_owned())),
                "%%" | "**" => reach = Reach::Below,
                name if name.contains("%%") || name.contains("**") => {
                    return Err(PatternError::RecursiveInside(text.to_owned()));
                }
                name if name.contains(['%', '*']) => {
                    components.push(Component::Glob(name.replace('*', "%").into_bytes()));
                    reach = Reach::Itself;
                }
                name => {
                    components.push(Component::Literal(name.into()));
                    reach = Reach::Children;
                }
            }
        }
        Ok(Self { components, reach })
    }

    /// The pattern of one path and what lies in it, whatever bytes its names have.
    fn of_path(path: &Path) -> Self {
        let components = names(path).into_iter().map(|name| Component::Literal(name.into()));
        Self { components: components.collect(), reach: Reach::Children }
    }

    /// Replaces symbolic links in the literal front by what they lead to, as far as it exists, so
    /// that `/bin/%%` and `/usr/bin/%%` are the same directory where `/bin` is a link.
    fn resolve(&mut self) {
        let literals: Vec<&OsStr> = self
            .components
            .iter()
            .map_while(|component| match component {
                Component::Literal(name) => Some(name.as_os_str()),
                Component::Glob(_) => None,
            })
            .collect();
        for count in (1..=literals.len()).rev() {
            let front: PathBuf =
                [OsStr::new("/")].into_iter().chain(literals.iter().take(count).copied()).collect();
            let Ok(resolved) = front.canonicalize() else {
                continue;
            };
            // A link to a file is watched as a link: it is the link that can be changed.
            if !resolved.is_dir() {
                continue;
            }
            let components =
                names(&resolved).into_iter().map(|name| Component::Literal(name.into()));
            self.components.splice(..count, components.collect::<Vec<_>>());
            return;
        }
    }

    /// Whether the pattern's first components match all of `path`, which may be shorter.
    fn leads_through(&self, path: &[&OsStr]) -> bool {
        path.len() <= self.components.len() && self.matches_front(path)
    }

    fn matches_front(&self, path: &[&OsStr]) -> bool {
        self.components.iter().zip(path).all(|(component, name)| component.matches(name))
    }

    fn covers(&self, path: &[&OsStr]) -> bool {
        let Some(depth) = path.len().checked_sub(self.components.len()) else {
            return false;
        };
        let reached = match self.reach {
            Reach::Itself => depth == 0,
            Reach::Children => depth <= 1,
            Reach::Below => true,
        };
        reached && self.matches_front(path)
    }

    /// Whether `path` or something that it lies in matches, whatever the reach.
    fn covers_below(&self, path: &[&OsStr]) -> bool {
        path.len() >= self.components.len() && self.matches_front(path)
    }

    fn role(&self, directory: &[&OsStr]) -> Option<Role> {
        let content = match self.reach {
            Reach::Below => self.covers(directory),
            Reach::Itself => {
                directory.len() + 1 == self.components.len() && self.leads_through(directory)
            }
            Reach::Children => {
                let above = directory.len() + 1 == self.components.len();
                (above || directory.len() == self.components.len()) && self.leads_through(directory)
            }
        };
        if content {
            return Some(Role::Content);
        }
        let above = directory.len() < self.components.len() && self.leads_through(directory);
        above.then_some(Role::Ancestor)
    }
}

/// Says whether a pattern can be used.
///
/// # Errors
/// When it cannot.
pub fn check(text: &str) -> Result<(), PatternError> {
    Pattern::parse(text).map(drop)
}

/// All patterns of a configuration.
#[derive(Debug)]
pub struct Patterns {
    categories: Vec<(Arc<str>, Vec<Pattern>)>,
    exclude: Vec<Pattern>,
}

impl Patterns {
    /// Reads the patterns of each category and those to leave out; `exclude_paths` are left out as
    /// they are.
    ///
    /// # Errors
    /// When one cannot be used.
    pub fn new(
        categories: &BTreeMap<String, Vec<String>>,
        exclude: &[String],
        exclude_paths: &[PathBuf],
    ) -> Result<Self, PatternError> {
        let parse = |texts: &[String]| -> Result<Vec<Pattern>, PatternError> {
            let mut patterns = Vec::with_capacity(texts.len());
            for text in texts {
                let mut pattern = Pattern::parse(text)?;
                pattern.resolve();
                if !patterns.contains(&pattern) {
                    patterns.push(pattern);
                }
            }
            Ok(patterns)
        };
        let mut parsed = Vec::with_capacity(categories.len());
        for (name, texts) in categories {
            parsed.push((Arc::from(name.as_str()), parse(texts)?));
        }
        let mut exclude = parse(exclude)?;
        for path in exclude_paths {
            let mut pattern = Pattern::of_path(path);
            pattern.resolve();
            exclude.push(pattern);
        }
        Ok(Self { categories: parsed, exclude })
    }

    /// The category that `path` belongs to, `None` when no pattern covers it.
    #[must_use]
    pub fn category(&self, path: &Path) -> Option<&Arc<str>> {
        let names = names(path);
        if self.excluded(&names) {
            return None;
        }
        let covers = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.covers(&names));
        self.categories.iter().find(|(_, patterns)| covers(patterns)).map(|(name, _)| name)
    }

    /// Why the directory `path` is to be watched, `None` when it is not.
    #[must_use]
    pub fn role(&self, path: &Path) -> Option<Role> {
        let names = names(path);
        if self.excluded(&names) {
            return None;
        }
        let mut role = None;
        for pattern in self.categories.iter().flat_map(|(_, patterns)| patterns) {
            match pattern.role(&names) {
                Some(Role::Content) => return Some(Role::Content),
                Some(Role::Ancestor) => role = Some(Role::Ancestor),
                None => {}
            }
        }
        role
    }

    /// Whether everything below `path` is covered, except what is left out.
    #[must_use]
    pub fn covers_all_below(&self, path: &Path) -> bool {
        let names = names(path);
        let recursive = |pattern: &Pattern| pattern.reach == Reach::Below && pattern.covers(&names);
        !self.excluded(&names)
            && self.categories.iter().any(|(_, patterns)| patterns.iter().any(recursive))
    }

    fn excluded(&self, names: &[&OsStr]) -> bool {
        self.exclude.iter().any(|pattern| pattern.covers_below(names))
    }
}

fn names(path: &Path) -> Vec<&OsStr> {
    path.components()
        .filter_map(|part| match part {
            PathPart::Normal(name) => Some(name),
            PathPart::Prefix(_) | PathPart::RootDir | PathPart::CurDir | PathPart::ParentDir => {
                None
            }
        })
        .collect()
}

/// Whether `name` matches `glob`, in which `%` stands for any bytes. Linear in memory, quadratic
/// at worst in time, which names of at most 255 bytes bound.
fn glob_matches(glob: &[u8], name: &[u8]) -> bool {
    let mut pieces = glob.split(|&byte| byte == b'%');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let found = (0..=rest.len()).find_map(|at| rest.get(at..)?.strip_prefix(piece));
        match found {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(watch: &[&str], exclude: &[&str]) -> Patterns {
        let owned =
            |texts: &[&str]| -> Vec<String> { texts.iter().map(|&text| text.to_owned()).collect() };
        let categories = BTreeMap::from([("all".to_owned(), owned(watch))]);
        Patterns::new(&categories, &owned(exclude), &[]).unwrap()
    }

    /// One letter per path: `C`overed or `-`, then the role of a directory: `c`, `a` or `-`.
    fn check(watch: &str, exclude: &[&str], path: &str, expected: &str) {
        let patterns = patterns(&[watch], exclude);
        let path = Path::new(path);
        let covered = if patterns.category(path).is_some() { 'C' } else { '-' };
        let role = match patterns.role(path) {
            Some(Role::Content) => 'c',
            Some(Role::Ancestor) => 'a',
            None => '-',
        };
        assert_eq!(format!("{covered}{role}"), expected, "{watch} on {}", path.display());
    }

    #[test]
    fn recursive_pattern() {
        check("/nope/a/%%", &[], "/", "-a");
        check("/nope/a/%%", &[], "/nope", "-a");
        check("/nope/a/%%", &[], "/nope/b", "--");
        check("/nope/a/%%", &[], "/nope/a", "Cc");
        check("/nope/a/%%", &[], "/nope/a/b/c", "Cc");
        check("/nope/a/**", &[], "/nope/ab", "--");
    }

    #[test]
    fn one_level_pattern() {
        check("/nope/%", &[], "/", "-a");
        check("/nope/%", &[], "/nope", "-c");
        check("/nope/%", &[], "/nope/f", "C-");
        check("/nope/%", &[], "/nope/d/f", "--");
        check("/nope/%.conf", &[], "/nope/a.conf", "C-");
        check("/nope/%.conf", &[], "/nope/a.conf.bak", "--");
    }

    #[test]
    fn literal_pattern() {
        check("/nope/f", &[], "/nope", "-c");
        check("/nope/f", &[], "/nope/f", "Cc");
        check("/nope/f", &[], "/nope/f/g", "C-");
        check("/nope/f", &[], "/nope/g", "--");
    }

    #[test]
    fn wildcard_inside() {
        check("/nope/%/.ssh/%%", &[], "/nope", "-a");
        check("/nope/%/.ssh/%%", &[], "/nope/bob", "-a");
        check("/nope/%/.ssh/%%", &[], "/nope/bob/.ssh", "Cc");
        check("/nope/%/.ssh/%%", &[], "/nope/bob/mail", "--");
    }

    #[test]
    fn exclusion_holds_for_all_below() {
        check("/nope/%%", &["/nope/data"], "/nope/data", "--");
        check("/nope/%%", &["/nope/data"], "/nope/data/journal/1", "--");
        check("/nope/%%", &["/nope/data"], "/nope/database", "Cc");
        check("/nope/%%", &["/nope/%/cache/%%"], "/nope/x/cache/y", "--");
    }

    #[test]
    fn a_path_that_is_no_pattern_can_be_left_out() {
        let categories = BTreeMap::from([("all".to_owned(), vec!["/nope/%%".to_owned()])]);
        let own = [PathBuf::from("/nope/100%%-mine")];
        let patterns = Patterns::new(&categories, &[], &own).unwrap();
        assert!(patterns.category(Path::new("/nope/100%%-mine/journal/1")).is_none());
        assert!(patterns.category(Path::new("/nope/100-not-mine")).is_some());
    }

    #[test]
    fn globs() {
        for (glob, name, expected) in [
            ("%", "", true),
            ("a%c", "abc", true),
            ("a%c", "ac", true),
            ("a%c", "abcd", false),
            ("a%a", "a", false),
            ("%b%b%", "xbxbx", true),
            ("%b%b%", "xbx", false),
            ("%ab", "aab", true),
        ] {
            assert_eq!(glob_matches(glob.as_bytes(), name.as_bytes()), expected, "{glob} {name}");
        }
    }

    #[test]
    fn unusable_patterns_are_named() {
        let error = |text: &str| Pattern::parse(text).unwrap_err().to_string();
        assert_eq!(
            error("etc/%%"),
            "pattern `etc/%%` is not an absolute path: write it from `/` on"
        );
        let dots = "pattern `/a/../b` has `.` or `..` in it: write the path without them";
        assert_eq!(error("/a/../b"), dots);
        let inside = "pattern `/a/%%/b` has `%%` elsewhere than as its last component: write `%` \
                      for one name there";
        assert_eq!(error("/a/%%/b"), inside);
    }

    #[test]
    fn links_in_front_are_resolved() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap().join("usr-bin");
        let link = folder.path().join("bin");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let pattern = |path: &Path| format!("{}/%%", path.display());
        let patterns = patterns(&[&pattern(&link), &pattern(&real)], &[]);
        assert_eq!(patterns.categories[0].1.len(), 1, "one directory, one pattern");
        assert!(patterns.category(&real.join("ls")).is_some());
        assert!(patterns.category(&link.join("ls")).is_none());
    }
}
