//! Reading the files: syntax, unknown keys and types are checked file by file, so that an error
//! has a line; then the files are merged in order and the defaults fill the rest.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings::{Config, SECTIONS, Section};
use super::suggest::suggest;

/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "/etc/bygone/bygone.toml";

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum LoadConfig {
    /// A file or the folder `conf.d` cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not TOML, or a value has the wrong type.
    #[error("{}:{line}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, with the key.
        message: String,
    },
    /// A file has a key that nothing reads.
    #[error("{}:{line}: unknown {what} `{key}`{place}{suggestion}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// `section` or `key`.
        what: &'static str,
        /// The key as written.
        key: String,
        /// The section it stands in, in words; empty at the top.
        place: String,
        /// The nearest known key, in words, or all there are.
        suggestion: String,
    },
}

impl Config {
    /// Reads `file`, or [`DEFAULT_FILE`] when it is `None`, and then `conf.d/*.toml` beside it in
    /// the order of their names. Later files override earlier ones setting by setting.
    ///
    /// ```no_run
    /// let config = bygone::config::Config::load(None)?;
    /// println!("{:?}", config.store.sync);
    /// # Ok::<(), bygone::config::LoadConfig>(())
    /// ```
    ///
    /// # Errors
    /// When a file cannot be read, is not TOML, has an unknown key or a value of the wrong type.
    /// That the default file or the folder `conf.d` does not exist is no error.
    pub fn load(file: Option<&Path>) -> Result<Self, LoadConfig> {
        let main = file.unwrap_or(Path::new(DEFAULT_FILE));
        let mut merged = toml::Table::new();
        match fs::read_to_string(main) {
            Ok(text) => merge(&mut merged, check(main, &text)?),
            Err(source) if file.is_none() && source.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(LoadConfig::Read { path: main.to_owned(), source });
            }
        }
        for path in fragments(&main.with_file_name("conf.d"))? {
            let text = fs::read_to_string(&path)
                .map_err(|source| LoadConfig::Read { path: path.clone(), source })?;
            merge(&mut merged, check(&path, &text)?);
        }
        merged.try_into().map_err(|error: toml::de::Error| LoadConfig::Invalid {
            path: main.to_owned(),
            line: 1,
            message: error.message().to_owned(),
        })
    }
}

/// The folder of the data when nothing names one: `/var/lib/bygone` as root, otherwise `bygone`
/// in `$XDG_STATE_HOME` or, without that, in `~/.local/state`. `None` when there is no home.
#[must_use]
pub fn default_data_dir() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/bygone"));
    }
    state_home().map(|state| state.join("bygone"))
}

/// `$XDG_STATE_HOME`, or `~/.local/state`. A relative path is not used, as XDG demands.
pub(crate) fn state_home() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
}

/// The files of `conf.d` in the order of their names; none when there is no such folder.
fn fragments(folder: &Path) -> Result<Vec<PathBuf>, LoadConfig> {
    let failed = |source| LoadConfig::Read { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The table of one file, after every check that needs the file's text.
fn check(path: &Path, text: &str) -> Result<toml::Table, LoadConfig> {
    let invalid = |error: &toml::de::Error, key: Option<String>| LoadConfig::Invalid {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line_of(text, span.start)),
        message: match key {
            Some(key) => format!("`{key}`: {}", error.message()),
            None => error.message().to_owned(),
        },
    };
    let document = DeTable::parse(text).map_err(|error| invalid(&error, None))?;
    check_keys(path, text, document.get_ref())?;
    if let Err(error) = toml::from_str::<Config>(text) {
        let key = error.span().and_then(|span| key_at(document.get_ref(), span.start));
        return Err(invalid(&error, key));
    }
    toml::from_str(text).map_err(|error| invalid(&error, None))
}

fn check_keys(path: &Path, text: &str, document: &DeTable<'_>) -> Result<(), LoadConfig> {
    for (key, value) in document {
        let name = key.get_ref().as_ref();
        let Some(section) = SECTIONS.iter().find(|section| section.name == name) else {
            return Err(LoadConfig::UnknownKey {
                path: path.to_owned(),
                line: line_of(text, key.span().start),
                what: if matches!(value.get_ref(), DeValue::Table(_)) { "section" } else { "key" },
                key: name.to_owned(),
                place: String::new(),
                suggestion: suggest_at_top(name),
            });
        };
        match value.get_ref() {
            DeValue::Table(values) => check_section(path, text, section, values)?,
            _ => return Err(no_section(path, text, value, name)),
        }
    }
    Ok(())
}

fn no_section(path: &Path, text: &str, value: &Spanned<DeValue<'_>>, name: &str) -> LoadConfig {
    let found = value.get_ref().type_str();
    LoadConfig::Invalid {
        path: path.to_owned(),
        line: line_of(text, value.span().start),
        message: format!("`{name}`: invalid type: {found}, expected a section, as in [{name}]"),
    }
}

fn check_section(
    path: &Path,
    text: &str,
    section: &Section,
    values: &DeTable<'_>,
) -> Result<(), LoadConfig> {
    for (key, value) in values {
        let name = key.get_ref().as_ref();
        let Some(setting) = section.settings.iter().find(|setting| setting.key == name) else {
            let known = section.settings.iter().map(|setting| setting.key);
            return Err(LoadConfig::UnknownKey {
                path: path.to_owned(),
                line: line_of(text, key.span().start),
                what: "key",
                key: name.to_owned(),
                place: format!(" in [{}]", section.name),
                suggestion: suggest(name, known),
            });
        };
        if setting.open && !matches!(value.get_ref(), DeValue::Table(_)) {
            return Err(no_section(path, text, value, &format!("{}.{name}", section.name)));
        }
    }
    Ok(())
}

/// What may have been meant by a key at the top: a section, or a key that belongs into one.
fn suggest_at_top(name: &str) -> String {
    let home =
        SECTIONS.iter().find(|section| section.settings.iter().any(|setting| setting.key == name));
    match home {
        Some(section) => format!("; it belongs in the section [{}]", section.name),
        None => suggest(name, SECTIONS.iter().map(|section| section.name)),
    }
}

/// The dotted key whose value covers byte `at` of the text.
fn key_at(table: &DeTable<'_>, at: usize) -> Option<String> {
    let covers = |span: std::ops::Range<usize>| span.contains(&at);
    table.iter().find_map(|(key, value): (_, &Spanned<DeValue<'_>>)| {
        let name = key.get_ref().as_ref();
        let inner = match value.get_ref() {
            DeValue::Table(inner) => key_at(inner, at),
            _ => None,
        };
        match inner {
            Some(rest) => Some(format!("{name}.{rest}")),
            None if covers(value.span()) || covers(key.span()) => Some(name.to_owned()),
            None => None,
        }
    })
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count().saturating_add(1)
}

/// Puts `from` over `into`, section by section; a setting is replaced as a whole.
fn merge(into: &mut toml::Table, from: toml::Table) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => old.extend(new),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};

    use super::super::Sync;
    use super::*;

    fn check_error(text: &str, expected: &Expect) {
        let error = check(Path::new("b.toml"), text).unwrap_err();
        expected.assert_eq(&error.to_string());
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest() {
        check_error(
            "[store]\nsync = \"1s\"\njournal_byte = 1\n",
            &expect![
                "b.toml:3: unknown key `journal_byte` in [store]; did you mean `journal_bytes`?"
            ],
        );
        check_error(
            "[proces]\nenabled = true\n",
            &expect!["b.toml:1: unknown section `proces`; did you mean `process`?"],
        );
        check_error(
            "level = \"debug\"\n",
            &expect!["b.toml:1: unknown key `level`; it belongs in the section [log]"],
        );
        check_error(
            "\n[log]\nqqq = 1\n",
            &expect!["b.toml:3: unknown key `qqq` in [log]; known: level"],
        );
    }

    /// The messages of several files, a line each.
    fn check_errors(texts: &[&str], expected: &Expect) {
        let message = |text: &&str| check(Path::new("b.toml"), text).unwrap_err().to_string();
        let messages: Vec<String> = texts.iter().map(message).collect();
        expected.assert_eq(&messages.join("\n"));
    }

    #[test]
    fn wrong_values_are_named() {
        check_errors(
            &[
                "[process]\nenabled = \"yes\"\n",
                "[store]\nsync = \"soon\"\n",
                "[store]\nsync = 1\n",
                "[store]\njournal_age = 300\n",
                "[retention]\nmax_age = 30\n",
                "[retention]\nmax_age = \"30\"\n",
                "[log]\nlevel = \"loud\"\n",
                "[log]\nlevel = 3\n",
            ],
            &expect![[r#"
                b.toml:2: `process.enabled`: invalid type: string "yes", expected a boolean
                b.toml:2: `store.sync`: invalid value: string "soon", expected a duration such as "1s", "always" or "never"
                b.toml:2: `store.sync`: invalid type: integer `1`, expected a duration such as "1s", "always" or "never"
                b.toml:2: `store.journal_age`: invalid type: integer `300`, expected a duration of at least one second such as "5m"
                b.toml:2: `retention.max_age`: invalid type: integer `30`, expected a duration such as "90days"
                b.toml:2: `retention.max_age`: invalid value: string "30", expected a duration such as "90days"
                b.toml:2: `log.level`: invalid value: string "loud", expected one of "error", "warn", "info", "debug" and "trace"
                b.toml:2: `log.level`: invalid type: integer `3`, expected one of "error", "warn", "info", "debug" and "trace""#]],
        );
    }

    #[test]
    fn wrong_sizes_are_named() {
        check_errors(
            &[
                "[process]\nring_bytes = 100000\n",
                "[process]\nring_bytes = \"9MiB\"\n",
                "[store]\njournal_bytes = \"1KiB\"\n",
                "[retention]\nmax_bytes = \"10GB\"\n",
                "[retention]\nmin_free = -1\n",
                "[retention]\nmin_free = 1.5\n",
                "[retention.tables]\ngaps = { max_bytes = true }\n",
            ],
            &expect![[r#"
                b.toml:2: `process.ring_bytes`: invalid value: integer `100000`, expected a power of two between "64KiB" and "1GiB" such as "8MiB"
                b.toml:2: `process.ring_bytes`: invalid value: string "9MiB", expected a power of two between "64KiB" and "1GiB" such as "8MiB"
                b.toml:2: `store.journal_bytes`: invalid value: string "1KiB", expected a size of at least "64KiB" such as "8MiB"
                b.toml:2: `retention.max_bytes`: invalid value: string "10GB", expected a number of bytes or a size such as "10GiB"
                b.toml:2: `retention.min_free`: invalid value: integer `-1`, expected a number of bytes or a size such as "10GiB"
                b.toml:2: `retention.min_free`: invalid type: floating point `1.5`, expected a number of bytes or a size such as "10GiB"
                b.toml:2: `retention.tables.gaps.max_bytes`: invalid type: boolean `true`, expected a number of bytes or a size such as "10GiB""#]],
        );
    }

    #[test]
    fn what_is_no_section_is_named() {
        check_errors(
            &[
                "store = 1\n",
                "[[log]]\nlevel = 3\n",
                "[retention]\nmax_bytes = 1\ntables = 5\n",
                "[retention.tables]\ngaps = 5\n",
                "[file]\ncategories = [\"/etc/%%\"]\n",
            ],
            &expect![[r#"
                b.toml:1: `store`: invalid type: integer, expected a section, as in [store]
                b.toml:1: `log`: invalid type: array, expected a section, as in [log]
                b.toml:3: `retention.tables`: invalid type: integer, expected a section, as in [retention.tables]
                b.toml:2: `retention.tables.gaps`: invalid type: integer `5`, expected bounds such as { max_age = "30days" }
                b.toml:2: `file.categories`: invalid type: array, expected a section, as in [file.categories]"#]],
        );
    }

    #[test]
    fn sizes_are_numbers_or_texts() {
        let text = "[store]\njournal_bytes = \"64KiB\"\n[process]\nring_bytes = \"1 MiB\"\n\
                    [retention]\nmax_bytes = \"20GiB\"\nmin_free = 0\n\
                    tables = { gaps = { max_bytes = \"512MiB\" }, ledger = { max_bytes = 7 } }\n";
        let config: Config = check(Path::new("b.toml"), text).unwrap().try_into().unwrap();
        assert_eq!(config.store.journal_bytes, 64 << 10);
        assert_eq!(config.process.ring_bytes, 1 << 20);
        assert_eq!((config.retention.max_bytes, config.retention.min_free), (20 << 30, 0));
        let bytes: Vec<_> = config.retention.tables.values().map(|table| table.max_bytes).collect();
        assert_eq!(bytes, [Some(512 << 20), Some(7)]);
        let shown = config.to_toml().unwrap();
        for line in
            ["max_bytes = \"20GiB\"", "min_free = 0", "ring_bytes = \"1MiB\"", "max_bytes = 7"]
        {
            assert!(shown.contains(line), "{line}: {shown}");
        }
    }

    #[test]
    fn bounds_of_tables_that_keep_nothing_are_refused() {
        check_errors(
            &[
                "[retention.tables]\ngaps = { max_bytes = 5 }\nproces_events = {}\n",
                "[retention]\ntables = { processes = { max_age = \"1day\" } }\n",
                "[retention.tables.users]\nmax_age = \"1day\"\n",
            ],
            &expect![[r#"
                b.toml:3: `retention.tables.proces_events`: there is no such table; did you mean `process_events`?
                b.toml:2: `retention.tables.processes`: a table of state keeps no history to bound; did you mean `process_events`?
                b.toml:1: `retention.tables.users`: a table of state keeps no history to bound; known: process_events, process_fork_events, process_exit_events, process_summary_events, signal_events, ptrace_events, credential_events, module_events, bpf_events, mount_events, memory_exec_events, memfd_events, image_events, file_events, executable_events, gaps, ledger, capabilities, audits"#]],
        );
    }

    #[test]
    fn patterns_that_cannot_be_used_are_refused() {
        check_errors(
            &[
                "[file]\nexclude = [\n\"/var/log/%%\",\n\"var/tmp\",\n]\n",
                "[file.categories]\nweb = [\"/srv/%%/www\"]\n",
                "[file.categories]\nweb = [\"/srv/../www\"]\n",
                "[file.categories]\netc = [\"/etc/%%\"]\nweb = []\n",
                "[file.categories]\netc = \"/etc\"\n",
                "[file]\nexclude = [5]\n",
                "[file]\nexclude = \"/var\"\n",
            ],
            &expect![[r#"
                b.toml:4: `file.exclude`: pattern `var/tmp` is not an absolute path: write it from `/` on
                b.toml:2: `file.categories.web`: pattern `/srv/%%/www` has `%%` elsewhere than as its last component: write `%` for one name there
                b.toml:2: `file.categories.web`: pattern `/srv/../www` has `.` or `..` in it: write the path without them
                b.toml:3: `file.categories.web`: a category without patterns watches nothing: name one such as "/etc/%%", or leave the category out
                b.toml:2: `file.categories.etc`: invalid type: string "/etc", expected a list of patterns such as ["/etc/%%"]
                b.toml:2: `file.exclude`: invalid type: integer `5`, expected a pattern such as "/etc/%%"
                b.toml:2: `file.exclude`: invalid type: string "/var", expected a list of patterns such as ["/etc/%%"]"#]],
        );
    }

    #[test]
    fn bad_syntax_has_a_line() {
        check_error(
            "[store]\nsync = \n",
            &expect!["b.toml:2: string values must be quoted, expected literal string"],
        );
    }

    #[test]
    fn fragments_override_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bygone.toml");
        fs::write(&file, "[store]\nsync = \"always\"\njournal_bytes = 65536\n").unwrap();
        let conf_d = folder.path().join("conf.d");
        fs::create_dir(&conf_d).unwrap();
        fs::write(conf_d.join("20.toml"), "[store]\nsync = \"5s\"\n").unwrap();
        fs::write(conf_d.join("10.toml"), "[store]\nsync = \"never\"\n[file.categories]\n")
            .unwrap();
        fs::write(conf_d.join("README"), "not read").unwrap();

        let config = Config::load(Some(&file)).unwrap();

        assert_eq!(config.store.sync, Sync::Every(Duration::from_secs(5)));
        assert_eq!(config.store.journal_bytes, 65536);
        assert!(config.file.categories.is_empty());
        assert!(config.process.enabled);
    }

    #[test]
    fn an_error_in_a_fragment_names_the_fragment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bygone.toml");
        fs::write(&file, "").unwrap();
        fs::create_dir(folder.path().join("conf.d")).unwrap();
        fs::write(folder.path().join("conf.d/x.toml"), "[log]\nlevel = 3\n").unwrap();

        let error = Config::load(Some(&file)).unwrap_err().to_string();

        assert!(error.contains("conf.d/x.toml:2: `log.level`"), "{error}");
    }

    #[test]
    fn a_named_file_that_is_missing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = Config::load(Some(&folder.path().join("none.toml"))).unwrap_err();
        assert!(matches!(error, LoadConfig::Read { .. }), "{error:?}");
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bygone.toml");
        fs::write(&file, "").unwrap();
        assert_eq!(Config::load(Some(&file)).unwrap(), Config::default());
    }
}
