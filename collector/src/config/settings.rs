//! Every setting with its documentation and default.
//!
//! **Invariant:** the lists of keys and the reference are made from the same lines as the structs,
//! so that they cannot differ from what is read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bounds::TableRetentionConfig;
use super::values::{LogLevel, ProcessTier, Sync};
use crate::host::environment::EnvironmentChoice;
use crate::host::images::ImageChoice;
use crate::host::signals::SignalChoice;

/// Executed files that may wait to be read.
const QUEUE: NonZeroU16 = NonZeroU16::new(1024).expect("it is not zero");

/// One setting, as the reference and the check for unknown keys see it.
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) doc: &'static [&'static str],
    /// Whether its keys are chosen by the user, so that any is known.
    pub(super) open: bool,
}

/// One section of the file.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) settings: &'static [Setting],
}

/// Declares the sections: structs, defaults, and the list of sections.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])*
        section $section:ident: $section_type:ident {
            $(
                $(#[doc = $doc:literal])*
                $(#[serde $serde:tt])?
                $kind:ident $key:ident: $key_type:ty = $default:expr;
            )*
        }
    )*) => {
        /// The whole configuration.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config {
            $($(#[doc = $section_doc])* pub $section: $section_type,)*
        }

        $(
            $(#[doc = $section_doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(default, deny_unknown_fields)]
            pub struct $section_type {
                $($(#[doc = $doc])* $(#[serde $serde])? pub $key: $key_type,)*
            }

            impl Default for $section_type {
                fn default() -> Self {
                    Self { $($key: $default,)* }
                }
            }
        )*

        /// All sections, in the order of the reference.
        pub(super) static SECTIONS: &[Section] = &[$(
            Section {
                name: stringify!($section),
                doc: &[$($section_doc,)*],
                settings: &[$(
                    Setting {
                        key: stringify!($key),
                        doc: &[$($doc,)*],
                        open: settings!(@open $kind),
                    },
                )*],
            },
        )*];
    };
    (@open key) => { false };
    (@open map) => { true };
}

settings! {
    /// Where and how events are kept.
    section store: StoreConfig {
        /// The folder of the data. When it is not set: /var/lib/bygone as root, otherwise
        /// bygone in $XDG_STATE_HOME or, without that, in ~/.local/state.
        #[serde(skip_serializing_if = "Option::is_none")]
        key data_dir: Option<PathBuf> = None;
        /// How long stored events may wait before they are safe from a loss of power: a
        /// duration, "always" (after each write) or "never" (only with the heartbeat, every 5 s).
        key sync: Sync = Sync::Every(Duration::from_secs(1));
        /// Size at which a journal is sealed into segments; at least 64KiB.
        #[serde(with = "super::size::journal")]
        key journal_bytes: u64 = 8 * 1024 * 1024;
        /// Age at which a journal is sealed into segments; at least one second.
        #[serde(with = "super::values::journal_age")]
        key journal_age: Duration = Duration::from_secs(300);
    }
    /// How long and how much is kept. Whole segments go, the oldest first; gaps, ledger and
    /// capabilities go after what they tell of. What goes is a row of the table gaps.
    section retention: RetentionConfig {
        /// The age from which events go; 0s: no age.
        #[serde(with = "super::values::age")]
        key max_age: Duration = Duration::from_secs(90 * 24 * 3600);
        /// Size of all events on disk; 0: no bound.
        #[serde(with = "super::size")]
        key max_bytes: u64 = 10 << 30;
        /// What to leave free of the disk for others: events go when it has less; 0: nothing. On
        /// a small disk half of what is free or theirs is left.
        #[serde(with = "super::size")]
        key min_free: u64 = 1 << 30;
        /// Bounds of single tables, as in
        /// file_events = { max_age = "30days", max_bytes = "1GiB" }.
        /// Such an age takes the place of the one above; a table's size counts in that of all too.
        #[serde(deserialize_with = "super::bounds::tables")]
        map tables: BTreeMap<String, TableRetentionConfig> = BTreeMap::new();
    }
    /// Processes: exec, fork and exit.
    section process: ProcessConfig {
        /// Whether they are recorded.
        key enabled: bool = true;
        /// How they are seen: "ebpf" by programs in the kernel, "connector" by its process events
        /// connector, "scan" by looking at /proc, "auto" by the first of these that can be had.
        key tier: ProcessTier = ProcessTier::Auto;
        /// How often "scan" looks; at least 100ms.
        #[serde(with = "super::values::scan_interval")]
        key scan_interval: Duration = Duration::from_secs(1);
        /// Size of the kernel's buffer between the probes, or the connector, and the collector: a
        /// power of two, at least 64KiB and at most 1GiB.
        #[serde(with = "super::size::ring")]
        key ring_bytes: u32 = 8 * 1024 * 1024;
        /// Size of the kernel's buffer for arguments beyond 8 KiB, and for environments; likewise.
        #[serde(with = "super::size::ring")]
        key bulk_bytes: u32 = 4 * 1024 * 1024;
        /// Which variables of the environment of a program are recorded, in the column env: "none",
        /// "all", or a list of names such as ["LD_PRELOAD", "PATH"].
        #[serde(with = "super::environment")]
        key env: EnvironmentChoice = EnvironmentChoice::None;
        /// Names whose values are recorded as ***: in NAME=VALUE, also behind dashes, and in the word
        /// that follows --NAME, of arguments, environments and scripts, of these also in NAME = VALUE
        /// and NAME: VALUE. Case does not matter and * stands for any text: ["*password*", "*token*"].
        key mask: Vec<String> = Vec::new();
        /// Which signals are recorded: "none", "fatal" (those that end a process, and those that a
        /// process of another user gets) or "all".
        key signals: SignalChoice = SignalChoice::Fatal;
        /// Whether system calls are watched by which processes act on others, on the kernel or on their
        /// own rights: ptrace, process_vm_readv, /proc/PID/mem, setuid and its like, mount, memfd_create,
        /// mmap, mprotect, bpf. It makes every system call of every process some 70 ns slower, and those
        /// that open a file some 130 ns more.
        key syscalls: bool = true;
        /// Which files that are mapped to be executed, such as shared objects, are recorded: "none",
        /// "first" (each content when it is first mapped) or "all" (each mapping). Takes syscalls.
        key images: ImageChoice = ImageChoice::First;
        /// How often the collector does something harmless of each kind itself, as a process of its own,
        /// to see that it is recorded; at least 1s, or 0s: never. A row of the table audits tells of it. In a
        /// pid namespace other than the host's it cannot be done.
        #[serde(with = "super::values::audit_interval")]
        key audit_interval: Duration = Duration::from_secs(60);
        /// Programs whose processes are not recorded, by their paths from the root of their mount
        /// namespace: one, or all below a folder: ["/usr/bin/true", "/opt/build/%%"]. Nor is what they do
        /// until they start another program, or their end. Whoever may write in such a folder is not
        /// recorded there. At most 32.
        #[serde(deserialize_with = "super::excluded::paths")]
        key exclude_paths: Vec<String> = Vec::new();
        /// Programs of which the programs that they start are not recorded, likewise; at most 16.
        #[serde(deserialize_with = "super::excluded::parents")]
        key exclude_parents: Vec<String> = Vec::new();
        /// Users whose programs are not recorded, by real user id or name: ["builder", 1001].
        #[serde(deserialize_with = "super::excluded::users")]
        key exclude_uids: Vec<u32> = Vec::new();
        /// Cgroups in which no programs are recorded, by their paths as in the column cgroup_path:
        /// ["/build.slice/%%"]; at most 16.
        #[serde(deserialize_with = "super::excluded::cgroups")]
        key exclude_cgroups: Vec<String> = Vec::new();
        /// How often one executable file may be started in a second, or its processes fork, with rows of
        /// their own; what is above that is counted in process_summary_events. 0: no limit. Whoever starts
        /// a program often enough hides its other starts in that second. Tier "scan" has no limit.
        key rate_limit: u32 = 0;
    }
    /// The content of what is executed: hashes, entropy, package.
    section executable: ExecutableConfig {
        /// Whether it is read.
        key enabled: bool = true;
        /// Larger files are not read.
        #[serde(with = "super::size")]
        key max_bytes: u64 = 256 << 20;
        /// Whether files on FUSE and network file systems are read.
        key read_network: bool = false;
        /// Whether the first 4 KiB of scripts are recorded, in the column script_content, without the
        /// values that the setting mask names; never from FUSE and network file systems.
        key script_content: bool = false;
        /// Executed files that may wait to be read, 1 to 65535; what does not fit is a gap.
        key queue: NonZeroU16 = QUEUE;
        /// How far the reading stands back behind the rest of the host, 0 to 19 as of nice(1).
        #[serde(deserialize_with = "super::values::niceness")]
        key niceness: u8 = 19;
    }
    /// Changes to files.
    section file: FileConfig {
        /// Whether they are recorded.
        key enabled: bool = true;
        /// Patterns of paths to leave out, written as in categories.
        #[serde(deserialize_with = "super::watched::exclude")]
        key exclude: Vec<String> = Vec::new();
        /// What to watch: a name, which rows carry in the column category, and its patterns.
        /// "/etc/%%" is all below /etc, "/etc/%" only what is directly in it. A file that sets
        /// this replaces the default categories.
        #[serde(deserialize_with = "super::watched::categories")]
        map categories: BTreeMap<String, Vec<String>> = default_categories();
    }
    /// The collector's own messages, which go to standard error.
    section log: LogConfig {
        /// The least important level to write: "error", "warn", "info", "debug" or "trace".
        key level: LogLevel = LogLevel::Info;
    }
}

/// The places whose changes matter most on a host where nothing was configured.
fn default_categories() -> BTreeMap<String, Vec<String>> {
    let category = |name: &str, patterns: &[&str]| {
        (name.to_owned(), patterns.iter().map(|&pattern| pattern.to_owned()).collect())
    };
    BTreeMap::from([
        category("boot", &["/boot/%%"]),
        category("configuration", &["/etc/%%"]),
        category(
            "programs",
            &[
                "/usr/bin/%%",
                "/usr/sbin/%%",
                "/bin/%%",
                "/sbin/%%",
                "/usr/local/bin/%%",
                "/usr/local/sbin/%%",
            ],
        ),
        category("scheduled", &["/var/spool/cron/%%"]),
        category("ssh", &["/root/.ssh/%%", "/home/%/.ssh/%%"]),
    ])
}

impl Config {
    /// The default configuration as TOML, each setting with its documentation.
    #[must_use]
    pub fn reference() -> String {
        let defaults = toml::Table::try_from(Self::default()).unwrap_or_default();
        let mut text = String::from(
            "# The configuration of bygone with all settings at their defaults.\n\
             # Files: /etc/bygone/bygone.toml, then /etc/bygone/conf.d/*.toml in the order of \
             their names.\n\
             # Sizes are texts in KiB, MiB, GiB or TiB, such as \"10GiB\", or numbers of bytes.\n",
        );
        for section in SECTIONS {
            text.push('\n');
            push_comment(&mut text, section.doc);
            let values = defaults.get(section.name).and_then(toml::Value::as_table);
            push_section(&mut text, section, values);
        }
        text
    }

    /// This configuration as TOML.
    ///
    /// # Errors
    /// When a path in it is not UTF-8.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

fn push_section(text: &mut String, section: &Section, values: Option<&toml::Table>) {
    push_line(text, format_args!("[{}]", section.name));
    for setting in section.settings {
        text.push('\n');
        push_comment(text, setting.doc);
        if setting.open {
            push_line(text, format_args!("[{}.{}]", section.name, setting.key));
        }
        match values.and_then(|values| values.get(setting.key)) {
            Some(toml::Value::Table(entries)) => {
                for (name, entry) in entries {
                    push_line(text, format_args!("{name} = {entry}"));
                }
            }
            Some(value) => push_line(text, format_args!("{} = {value}", setting.key)),
            None => push_line(text, format_args!("# {} = \"…\"", setting.key)),
        }
    }
}

fn push_comment(text: &mut String, lines: &[&str]) {
    for line in lines {
        push_line(text, format_args!("#{line}"));
    }
}

fn push_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    writeln!(text, "{line}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_parses_to_the_default() {
        let reference = Config::reference();
        let parsed: Config = toml::from_str(&reference).unwrap();
        assert_eq!(parsed, Config::default(), "{reference}");
    }

    #[test]
    fn reference_names_every_setting_and_its_meaning() {
        let reference = Config::reference();
        for section in SECTIONS {
            for setting in section.settings {
                assert!(reference.contains(setting.key), "{}", setting.key);
                let doc = setting.doc.first().unwrap();
                assert!(reference.contains(doc), "{doc}");
            }
        }
    }

    #[test]
    fn effective_configuration_reads_back() {
        let mut config = Config::default();
        config.store.data_dir = Some(PathBuf::from("/srv/bygone"));
        config.store.sync = Sync::Never;
        config.process.ring_bytes = 65536;
        config.log.level = LogLevel::Debug;
        let day = Some(Duration::from_secs(24 * 3600));
        for (name, max_age, max_bytes) in [
            ("file_events", day, None),
            ("process_events", None, Some(1_000)),
            ("gaps", day, Some(1)),
        ] {
            let table = TableRetentionConfig { max_age, max_bytes };
            config.retention.tables.insert(name.to_owned(), table);
        }
        let parsed: Config = toml::from_str(&config.to_toml().unwrap()).unwrap();
        assert_eq!(parsed, config);
    }

    #[test]
    fn every_serialized_key_is_listed() {
        let mut config = Config::default();
        config.store.data_dir = Some(PathBuf::from("/srv/bygone"));
        let table = toml::Table::try_from(config).unwrap();
        for (section, values) in &table {
            let listed = SECTIONS.iter().find(|listed| listed.name == section).unwrap();
            let keys: Vec<&String> = values.as_table().unwrap().keys().collect();
            assert_eq!(keys.len(), listed.settings.len(), "{section}");
            for key in keys {
                assert!(listed.settings.iter().any(|setting| setting.key == key), "{key}");
            }
        }
    }
}
