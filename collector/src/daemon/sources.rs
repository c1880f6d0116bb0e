//! The sources of events on this system, in the order in which they are started.
//!
//! A source that cannot be attached leaves its kinds of event without one: that is a row in
//! `capabilities` with the reason, a line at start, and a line of `bygone doctor`.

use std::path::Path;

use serde::Serialize;

use crate::config::Config;
use crate::events::Capability;
use crate::publish::Publisher;

/// Why a source cannot be attached, and what would mend it.
pub(super) struct Refusal {
    /// Why, in words.
    pub(super) reason: String,
    /// What the user can do, where something can be done.
    pub(super) fix: Option<String>,
}

type Attach = Box<dyn Fn() -> Result<Box<dyn Publisher>, Refusal> + Send>;

/// What both process sources are there for.
const PROCESS_KINDS: &[&str] = &["exec", "fork", "exit"];

/// One source: its name, the kinds of event it is there for, and how it is attached.
pub(super) struct Source {
    pub(super) name: &'static str,
    pub(super) kinds: &'static [&'static str],
    pub(super) attach: Attach,
}

impl Source {
    /// Capabilities of a source that is not there.
    pub(super) fn absent(&self, time_ns: i64, reason: &str) -> Vec<Capability> {
        let absent = |kind: &&str| Capability {
            time_ns,
            kind: (*kind).to_owned(),
            source: None,
            tier: None,
            blind_to: format!("every {kind} event"),
            reason: Some(reason.to_owned()),
        };
        self.kinds.iter().map(absent).collect()
    }
}

/// One kind of event, as `bygone doctor` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct SourceReport {
    /// Kind of event: `exec`, `fork`, `exit`, `file`.
    pub kind: String,
    /// The source in use, `None` when there is none.
    pub source: Option<String>,
    /// The tier in use, `None` when there is none.
    pub tier: Option<String>,
    /// What the tier cannot see, in words; empty when it sees every route.
    pub blind_to: String,
    /// Why better tiers are not in use; `None` when this is the best.
    pub reason: Option<String>,
    /// What would mend it, where something can be done.
    pub fix: Option<String>,
}

impl SourceReport {
    fn new(capability: Capability, fix: Option<String>) -> Self {
        Self {
            kind: capability.kind,
            source: capability.source,
            tier: capability.tier,
            blind_to: capability.blind_to,
            reason: capability.reason,
            fix,
        }
    }
}

/// The sources of this system, in the order in which they are started. One that is switched off is
/// among them and refuses to be attached, so that history says it was not there.
#[cfg(target_os = "linux")]
pub(super) fn list(config: &Config, data_dir: &Path) -> Vec<Source> {
    use crate::publish::file_inotify::{FileInotify, FileInotifyConfig};
    use crate::publish::process_ebpf::{ProcessEbpf, ProcessEbpfConfig};

    let settings =
        ProcessEbpfConfig { ring_bytes: config.process.ring_bytes, ..ProcessEbpfConfig::default() };
    let processes: Attach = Box::new(move || match ProcessEbpf::attach(&settings) {
        Ok(publisher) => Ok(Box::new(publisher)),
        Err(error) => Err(Refusal { fix: error.mend(), reason: chain(error) }),
    });
    let mut settings = FileInotifyConfig {
        categories: config.file.categories.clone(),
        ..FileInotifyConfig::default()
    };
    settings.exclude.extend(config.file.exclude.iter().cloned());
    // Without `..` in it; doctor asks before the folder is made.
    let own = data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned());
    settings.exclude_paths.push(own);
    let files: Attach = Box::new(move || match FileInotify::attach(&settings) {
        Ok(publisher) => Ok(Box::new(publisher)),
        Err(error) => Err(Refusal { fix: error.mend(), reason: chain(error) }),
    });
    vec![
        Source {
            name: "process_ebpf",
            kinds: PROCESS_KINDS,
            attach: if config.process.enabled { processes } else { switched_off("process") },
        },
        Source {
            name: "file_inotify",
            kinds: &["file"],
            attach: if config.file.enabled { files } else { switched_off("file") },
        },
    ]
}

/// The sources of this system, in the order in which they are started.
#[cfg(target_os = "macos")]
pub(super) fn list(config: &Config, _data_dir: &Path) -> Vec<Source> {
    use crate::publish::process_es::ProcessEs;

    let processes: Attach = Box::new(|| match ProcessEs::attach() {
        Ok(publisher) => Ok(Box::new(publisher)),
        Err(error) => Err(Refusal { fix: None, reason: chain(error) }),
    });
    vec![Source {
        name: "process_es",
        kinds: PROCESS_KINDS,
        attach: if config.process.enabled { processes } else { switched_off("process") },
    }]
}

/// The source of a section that is not enabled.
fn switched_off(section: &'static str) -> Attach {
    Box::new(move || {
        Err(Refusal {
            reason: format!("switched off by the configuration: [{section}] enabled = false"),
            fix: Some(format!("set enabled = true in [{section}]")),
        })
    })
}

/// An error with all its causes, on one line.
fn chain(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

/// Attaches every configured source, says what each can see, and detaches them again.
#[must_use]
pub fn sources(config: &Config, data_dir: &Path) -> Vec<SourceReport> {
    let mut reports = Vec::new();
    for source in list(config, data_dir) {
        let (capabilities, fix) = match (source.attach)() {
            Ok(publisher) => (publisher.capabilities(), None),
            Err(refusal) => (source.absent(super::time::now_ns(), &refusal.reason), refusal.fix),
        };
        let report = |capability| SourceReport::new(capability, fix.clone());
        reports.extend(capabilities.into_iter().map(report));
    }
    reports
}
