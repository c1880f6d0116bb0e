//! The sources of events on this system, in the order in which they are started.
//!
//! A source has tiers, the best first, of which the first that can be attached is in use. What that
//! one cannot see and why each better one failed is told in `capabilities`, by a line at start, and
//! by `bygone doctor`; so it is when none can be attached.

use std::path::Path;

use serde::Serialize;

use crate::config::Config;
#[cfg(target_os = "linux")]
use crate::config::{ExecutableConfig, ProcessConfig, ProcessTier};
use crate::events::Capability;
use crate::publish::{Batch, Publisher};

/// Why a tier cannot be attached, and what would mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The tier's source.
    pub source: String,
    /// Why, in words.
    pub reason: String,
    /// What the user can do, where something can be done.
    pub fix: Option<String>,
}

type Attach = Box<dyn Fn() -> Result<Box<dyn Publisher>, Refusal> + Send>;

/// What process sources are there for: the life of processes, which each tier sees, and what they do
/// to others, which some do not.
#[cfg(target_os = "linux")]
const PROCESS_KINDS: &[&str] = &bygone_probe_abi::CLASSES;
/// Likewise.
#[cfg(target_os = "macos")]
const PROCESS_KINDS: &[&str] = &["exec", "fork", "exit"];

/// Sources of which one at a time is in use, the best first.
const LADDERS: &[&[&str]] = &[&["process_ebpf", "process_connector", "process_scan"]];

/// The sources that are not in use when `source` is.
pub(super) fn stand_ins(source: &str) -> impl Iterator<Item = &'static str> {
    let ladder = LADDERS.iter().find(|ladder| ladder.contains(&source));
    ladder.copied().unwrap_or_default().iter().copied().filter(move |tier| *tier != source)
}

/// What is recorded of some kinds of event: the kinds, and the ways to see them.
pub(super) struct Source {
    /// Name of its thread.
    pub(super) name: &'static str,
    kinds: &'static [&'static str],
    /// The best first. The first that can be attached is in use.
    tiers: Vec<Attach>,
    /// Why not all tiers that there are may be used.
    chosen: Option<String>,
    /// For a source of which the events come from those of others: who is shown these.
    pub(super) tee: Option<Tee>,
}

/// Shown every batch before it is stored. It does not wait.
pub(super) type Tee = Box<dyn Fn(&Batch) + Send>;

/// The tier in use.
pub(super) struct Attached {
    pub(super) publisher: Box<dyn Publisher>,
    /// The better ones.
    refused: Vec<Refusal>,
    chosen: Option<String>,
    /// The kinds of event that it should see.
    kinds: &'static [&'static str],
}

impl Source {
    fn new(name: &'static str, kinds: &'static [&'static str], tiers: Vec<Attach>) -> Self {
        Self { name, kinds, tiers, chosen: None, tee: None }
    }

    /// The source of a section that is not enabled.
    fn unless_off(self, section: &'static str, enabled: bool) -> Self {
        if enabled { self } else { Self { tiers: vec![switched_off(section)], ..self } }
    }

    /// Attaches the best tier that can be.
    ///
    /// # Errors
    /// When none can: why each.
    pub(super) fn attach(&self) -> Result<Attached, Vec<Refusal>> {
        let mut refused = Vec::new();
        for tier in &self.tiers {
            match tier() {
                Ok(publisher) => {
                    let (chosen, kinds) = (self.chosen.clone(), self.kinds);
                    return Ok(Attached { publisher, refused, chosen, kinds });
                }
                Err(refusal) => refused.push(refusal),
            }
        }
        Err(refused)
    }

    /// Capabilities of a source that is not there.
    pub(super) fn absent(&self, time_ns: i64, reason: &str) -> Vec<Capability> {
        self.kinds.iter().map(|kind| absent(time_ns, kind, reason)).collect()
    }
}

/// The capability of a kind of event that nothing sees.
fn absent(time_ns: i64, kind: &str, reason: &str) -> Capability {
    Capability {
        time_ns,
        kind: kind.to_owned(),
        source: None,
        tier: None,
        blind_to: format!("every {kind} event"),
        reason: Some(reason.to_owned()),
    }
}

impl Attached {
    /// What the tier says it can see, and the kinds of event that it does not.
    fn own_capabilities(&self) -> Vec<Capability> {
        let mut capabilities = self.publisher.capabilities();
        let is_missing = |kind: &&&str| capabilities.iter().all(|told| told.kind != **kind);
        let reason = format!("{} does not see it", self.publisher.source());
        let others: Vec<Capability> = self
            .kinds
            .iter()
            .filter(is_missing)
            .map(|kind| absent(super::time::now_ns(), kind, &reason))
            .collect();
        capabilities.extend(others);
        capabilities
    }

    /// What the tier says it can see, with why it is not a better one.
    pub(super) fn capabilities(&self) -> Vec<Capability> {
        let mut capabilities = self.own_capabilities();
        for capability in &mut capabilities {
            let own = capability.reason.take();
            let better = Some(why(&self.refused)).filter(|reasons| !reasons.is_empty());
            let reasons: Vec<String> =
                [own, self.chosen.clone(), better].into_iter().flatten().collect();
            capability.reason = Some(reasons.join("; ")).filter(|reasons| !reasons.is_empty());
        }
        capabilities
    }
}

/// All reasons on one line.
pub(super) fn why(refused: &[Refusal]) -> String {
    let words = |refusal: &Refusal| match refusal.source.as_str() {
        "" => refusal.reason.clone(),
        source => format!("{source}: {}", refusal.reason),
    };
    refused.iter().map(words).collect::<Vec<String>>().join("; ")
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
    /// Why not all is seen: what the tier in use lacks, or that it was chosen by the configuration.
    pub reason: Option<String>,
    /// The better tiers, or all when none is in use, and why each is not.
    pub refused: Vec<Refusal>,
    /// Size of the kernel's buffer between the events and the collector, where the source has one of
    /// its own.
    pub buffer_bytes: Option<u64>,
}

impl SourceReport {
    fn of(source: &Source) -> Vec<Self> {
        let report = |capability: Capability, refused: &[Refusal], buffer_bytes| Self {
            kind: capability.kind,
            source: capability.source,
            tier: capability.tier,
            blind_to: capability.blind_to,
            reason: capability.reason,
            refused: refused.to_vec(),
            buffer_bytes,
        };
        match source.attach() {
            Ok(attached) => {
                let with_choice = |mut capability: Capability| {
                    capability.reason = capability.reason.or_else(|| attached.chosen.clone());
                    report(capability, &attached.refused, attached.publisher.buffer_bytes())
                };
                attached.own_capabilities().into_iter().map(with_choice).collect()
            }
            Err(refused) => {
                let absent = source.absent(super::time::now_ns(), "");
                let alone = |absent| Self { reason: None, ..report(absent, &refused, None) };
                absent.into_iter().map(alone).collect()
            }
        }
    }
}

/// The sources of this system, in the order in which they are started. One that is switched off is
/// among them and refuses to be attached, so that history says it was not there.
#[cfg(target_os = "linux")]
pub(super) fn list(config: &Config, data_dir: &Path) -> Vec<Source> {
    use crate::publish::file_inotify::{self, FileInotify, FileInotifyConfig};

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
        Err(error) => Err(refusal(file_inotify::SOURCE, error.mend(), error)),
    });
    vec![
        processes(&config.process).unless_off("process", config.process.enabled),
        executables(&config.executable, &config.process.mask, data_dir),
        Source::new("file_inotify", &["file"], vec![files]).unless_off("file", config.file.enabled),
    ]
}

/// What is executed, which the process sources tell of.
#[cfg(target_os = "linux")]
fn executables(config: &ExecutableConfig, mask: &[String], data_dir: &Path) -> Source {
    use std::sync::Arc;

    use super::state_db::StateDb;
    use crate::host::mask::Mask;
    use crate::publish::executable::{self, Executables, ExecutablesConfig, Inbox};

    let inbox = Arc::new(Inbox::new(usize::from(config.queue.get())));
    let shown = Arc::clone(&inbox);
    let data_dir = data_dir.to_owned();
    let settings = ExecutablesConfig {
        bytes_max: config.max_bytes,
        read_network: config.read_network,
        script_content: config.script_content,
        mask: Mask::new(mask),
        niceness: config.niceness.into(),
    };
    let read: Attach = Box::new(move || {
        let memory = Box::new(StateDb::new(&data_dir, settings.niceness));
        let now_ns = super::time::now_ns();
        Ok(Box::new(Executables::attach(Arc::clone(&inbox), memory, settings.clone(), now_ns)))
    });
    let mut source = Source::new(executable::SOURCE, &["executable"], vec![read]);
    source.tee = Some(Box::new(move |batch| shown.offer(batch)));
    source.unless_off("executable", config.enabled)
}

/// The ladder of process sources.
#[cfg(target_os = "linux")]
fn processes(config: &ProcessConfig) -> Source {
    use crate::host::exclude::Exclusions;
    use crate::host::mask::Mask;
    use crate::publish::privacy::Privacy;
    use crate::publish::process_connector::{self, ProcessConnector, ProcessConnectorConfig};
    use crate::publish::process_ebpf::{self, ProcessEbpf, ProcessEbpfConfig};
    use crate::publish::process_scan::{self, ProcessScan, ProcessScanConfig};
    use crate::publish::selection::Selection;

    let exclusions = Exclusions::new(
        &config.exclude_paths,
        &config.exclude_parents,
        &config.exclude_uids,
        &config.exclude_cgroups,
    );
    // The configuration was checked when it was read.
    let exclusions = exclusions.unwrap_or_default();
    let selection = Selection { exclusions: exclusions.clone(), rate_limit: config.rate_limit };
    let privacy = Privacy { environment: config.env.clone(), mask: Mask::new(&config.mask) };
    let settings = ProcessEbpfConfig {
        ring_bytes: config.ring_bytes,
        bulk_bytes: config.bulk_bytes,
        environment: privacy.environment.clone(),
        mask: privacy.mask.clone(),
        signals: config.signals,
        images: config.images,
        calls: config.syscalls,
        audit_interval: Some(config.audit_interval).filter(|interval| !interval.is_zero()),
        selection: selection.clone(),
        ..ProcessEbpfConfig::default()
    };
    let ebpf: Attach = Box::new(move || match ProcessEbpf::attach(&settings) {
        Ok(publisher) => Ok(Box::new(publisher)),
        Err(error) => Err(refusal(process_ebpf::SOURCE, error.mend(), error)),
    });
    let buffer_bytes = config.ring_bytes;
    let settings = ProcessConnectorConfig { buffer_bytes, privacy: privacy.clone(), selection };
    let connector: Attach = Box::new(move || match ProcessConnector::attach(&settings) {
        Ok(publisher) => Ok(Box::new(publisher)),
        Err(error) => Err(refusal(process_connector::SOURCE, error.mend(), error)),
    });
    let settings = ProcessScanConfig { interval: config.scan_interval, privacy, exclusions };
    let scan: Attach = Box::new(move || match ProcessScan::attach(&settings) {
        Ok(publisher) => Ok(Box::new(publisher)),
        Err(error) => Err(refusal(process_scan::SOURCE, error.mend(), error)),
    });
    let ladder =
        [(ProcessTier::Ebpf, ebpf), (ProcessTier::Connector, connector), (ProcessTier::Scan, scan)];
    let wanted = config.tier;
    let tiers = ladder.into_iter().filter(|(tier, _)| [*tier, ProcessTier::Auto].contains(&wanted));
    let mut source =
        Source::new("process", PROCESS_KINDS, tiers.map(|(_, attach)| attach).collect());
    if wanted != ProcessTier::Auto {
        source.chosen = Some(format!("chosen by the configuration: [process] tier = \"{wanted}\""));
    }
    source
}

/// The sources of this system, in the order in which they are started.
#[cfg(target_os = "macos")]
pub(super) fn list(config: &Config, _data_dir: &Path) -> Vec<Source> {
    use crate::host::mask::Mask;
    use crate::publish::privacy::Privacy;
    use crate::publish::process_es::{self, ProcessEs};

    let config = &config.process;
    let privacy = Privacy { environment: config.env.clone(), mask: Mask::new(&config.mask) };
    let processes: Attach = Box::new(move || match ProcessEs::attach(privacy.clone()) {
        Ok(publisher) => Ok(Box::new(publisher)),
        Err(error) => Err(refusal(process_es::SOURCE, None, error)),
    });
    let source = Source::new("process_es", PROCESS_KINDS, vec![processes]);
    vec![source.unless_off("process", config.enabled)]
}

/// A tier that refuses because its section is not enabled.
fn switched_off(section: &'static str) -> Attach {
    Box::new(move || {
        Err(Refusal {
            source: String::new(),
            reason: format!("switched off by the configuration: [{section}] enabled = false"),
            fix: Some(format!("set enabled = true in [{section}]")),
        })
    })
}

fn refusal(
    source: &str,
    fix: Option<String>,
    error: impl std::error::Error + Send + Sync + 'static,
) -> Refusal {
    Refusal { source: source.to_owned(), reason: chain(error), fix }
}

/// An error with all its causes, on one line.
fn chain(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

/// Attaches every configured source, says what each can see, and detaches them again.
#[must_use]
pub fn sources(config: &Config, data_dir: &Path) -> Vec<SourceReport> {
    list(config, data_dir).iter().flat_map(SourceReport::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::{PublishError, Sink, Stop};

    struct Tier(&'static str);

    impl Publisher for Tier {
        fn source(&self) -> &'static str {
            self.0
        }

        fn capabilities(&self) -> Vec<Capability> {
            vec![Capability {
                time_ns: 0,
                kind: "exec".to_owned(),
                source: Some(self.0.to_owned()),
                tier: Some("tier".to_owned()),
                blind_to: "much".to_owned(),
                reason: None,
            }]
        }

        fn run(self: Box<Self>, _sink: &Sink, _stop: &Stop) -> Result<(), PublishError> {
            Ok(())
        }
    }

    fn tier(source: &'static str, is_there: bool) -> Attach {
        Box::new(move || {
            if is_there {
                return Ok(Box::new(Tier(source)));
            }
            let (reason, fix) = (format!("no {source}"), None);
            Err(Refusal { source: source.to_owned(), reason, fix })
        })
    }

    fn source(tiers: [(&'static str, bool); 3]) -> Source {
        let tiers = tiers.map(|(name, is_there)| tier(name, is_there));
        Source::new("process", PROCESS_KINDS, tiers.into())
    }

    #[test]
    fn the_first_tier_that_can_be_attached_is_in_use() {
        let ladder = source([("a", false), ("b", true), ("c", true)]);
        let attached = ladder.attach().ok().unwrap();
        assert_eq!(attached.publisher.source(), "b");
        let told = attached.capabilities();
        assert_eq!(told[0].reason.as_deref(), Some("a: no a"));
        let report = SourceReport::of(&ladder);
        assert_eq!((report[0].source.as_deref(), report[0].refused.len()), (Some("b"), 1));
        assert_eq!((&report[0].reason, report[0].refused[0].source.as_str()), (&None, "a"));
        let best = source([("a", true), ("b", true), ("c", true)]);
        assert_eq!(best.attach().ok().unwrap().capabilities()[0].reason, None);
    }

    #[test]
    fn without_a_tier_every_kind_is_absent_for_all_reasons() {
        let none = source([("a", false), ("b", false), ("c", false)]);
        let refused = none.attach().err().unwrap();
        assert_eq!(why(&refused), "a: no a; b: no b; c: no c");
        let report = SourceReport::of(&none);
        let kinds: Vec<&str> = report.iter().map(|report| report.kind.as_str()).collect();
        assert_eq!(kinds, PROCESS_KINDS);
        assert!(report.iter().all(|report| report.source.is_none() && report.refused.len() == 3));
        let off = none.unless_off("process", false);
        let refused = off.attach().err().unwrap();
        assert!(why(&refused).starts_with("switched off"), "{refused:?}");
    }

    #[test]
    fn one_of_a_ladder_stands_in_for_the_others() {
        let others: Vec<&str> = stand_ins("process_scan").collect();
        assert_eq!(others, ["process_ebpf", "process_connector"]);
        assert_eq!(stand_ins("file_inotify").count(), 0);
    }
}
