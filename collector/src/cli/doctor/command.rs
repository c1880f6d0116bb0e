//! Asking every part and printing the answers.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bygone_store::{ReadError, Reader};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::folder::Folder;
use super::host::{self, Fact, Right};
use super::losses::Losses;
use crate::cli::audit::LastAudit;
use crate::cli::data::DataArguments;
use crate::cli::log;
use crate::cli::terminal::print;
use crate::cli::visible::visible;
use crate::config::LogLevel;
use crate::daemon::{self, Refusal, SourceReport};

/// Say what can be seen on this host, what not, and why
#[derive(Args, Debug)]
#[command(after_help = "\
Every source is attached for a moment, so that what is said is what bygone run would find when \
started by the same user with the same configuration.

Examples:
  sudo bygone doctor
  bygone doctor -o json")]
pub(in crate::cli) struct DoctorArguments {
    /// Form of the report
    #[arg(short = 'o', long = "output", value_name = "FORM", value_enum, default_value_t)]
    output: Form,
    /// The same as -o json
    #[arg(long, conflicts_with = "output")]
    json: bool,
    #[command(flatten)]
    data: DataArguments,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For reading
    #[default]
    Text,
    /// One object
    Json,
}

/// The whole report.
#[derive(Debug, Serialize)]
struct Report {
    host: Vec<Fact>,
    rights: Vec<Right>,
    events: Vec<SourceReport>,
    data: Folder,
    /// What was lost in the last day, by source; `None` when there is no history to ask.
    losses: Option<Vec<Losses>>,
    /// Why the history cannot be asked.
    losses_error: Option<String>,
    /// The last self-audit, `None` when there was none.
    audit: Option<LastAudit>,
}

pub(in crate::cli) fn run(arguments: &DoctorArguments) -> anyhow::Result<()> {
    log::init(LogLevel::Error);
    let config = arguments.data.load()?;
    let folder = arguments.data.folder(&config)?;
    let (losses, audit, losses_error) = match losses(&arguments.data, &folder) {
        Ok(Some((losses, audit))) => (Some(losses), audit, None),
        Ok(None) => (None, None, None),
        Err(error) => (None, None, Some(format!("{error:#}"))),
    };
    let report = Report {
        losses,
        audit,
        losses_error,
        host: host::facts(),
        rights: host::rights(),
        events: daemon::sources(&config, &folder),
        data: Folder::examine(&folder),
    };
    let text = if arguments.json || arguments.output == Form::Json {
        let mut text = serde_json::to_string_pretty(&report)?;
        text.push('\n');
        text
    } else {
        report.text()
    };
    Ok(print(&text)?)
}

/// What was lost of late, and the last self-audit; `None` when nothing was ever recorded in the folder.
fn losses(
    data: &DataArguments,
    folder: &Path,
) -> anyhow::Result<Option<(Vec<Losses>, Option<LastAudit>)>> {
    match Reader::open(folder) {
        Err(ReadError::NotAStore { .. }) => return Ok(None),
        opened => drop(opened?),
    }
    let session = data.session()?;
    Ok(Some((Losses::of(&session, now_ns())?, LastAudit::of(&session)?)))
}

fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

impl Report {
    fn text(&self) -> String {
        let mut page = Page::default();
        page.heading("host");
        for fact in &self.host {
            page.item(&fact.name, &fact.value);
        }
        if !self.rights.is_empty() {
            page.heading("rights");
        }
        let mut source = "";
        for right in &self.rights {
            if right.source != source {
                source = &right.source;
                page.item(source, "");
            }
            let have = match (right.have, right.needed) {
                (true, _) => "have",
                (false, true) => "MISSING",
                (false, false) => "not needed",
            };
            page.item(&format!("  {}", right.name), &format!("{have}: {}", right.needed_for));
        }
        page.heading("events");
        let mut above = None;
        for source in &self.events {
            page.source(source, above);
            above = Some(source);
        }
        page.heading("data");
        page.item("folder", &self.data.path.display().to_string());
        page.item("state", &self.data.state);
        page.item("collector", &self.data.collector);
        page.heading("losses in the last day");
        match (&self.losses, &self.losses_error) {
            (_, Some(error)) => page.item("not known", error),
            (Some(losses), _) => losses.iter().for_each(|of| page.item(&of.source, &of.words())),
            (None, None) => page.item("", "nothing was ever recorded in the folder"),
        }
        if let Some(audit) = &self.audit {
            page.heading("last self-audit");
            page.item(&audit.source, &audit.words(now_ns()));
        }
        page.0
    }
}

/// Text under headings, names and values in two columns.
#[derive(Default)]
struct Page(String);

impl Page {
    fn heading(&mut self, heading: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.line(format_args!("{heading}"));
    }

    fn item(&mut self, name: &str, value: &str) {
        self.line(format_args!("  {:<20}  {}", visible(name), visible(value)));
    }

    /// What is common with the kind `above` is not said again.
    fn source(&mut self, report: &SourceReport, above: Option<&SourceReport>) {
        match (&report.source, &report.tier) {
            (Some(source), Some(tier)) => {
                self.item(&report.kind, &format!("{source}, tier {tier}"));
            }
            (Some(source), None) => self.item(&report.kind, source),
            (None, _) => self.item(&report.kind, "NOT RECORDED"),
        }
        match report.blind_to.as_str() {
            "" => self.item("", "sees every route"),
            blind_to => self.item("", &format!("cannot see: {blind_to}")),
        }
        if let Some(reason) = &report.reason {
            self.item("", &format!("why: {reason}"));
        }
        let is_new =
            |refusal: &&Refusal| above.is_none_or(|above| !above.refused.contains(refusal));
        for Refusal { source, reason, fix } in report.refused.iter().filter(is_new) {
            match source.as_str() {
                "" => self.item("", &format!("why: {reason}")),
                source => self.item("", &format!("not {source}: {reason}")),
            }
            if let Some(fix) = fix {
                self.item("", &format!("to mend it: {fix}"));
            }
        }
        if let Some(bytes) = report.buffer_bytes
            && above.is_none_or(|above| above.buffer_bytes != report.buffer_bytes)
        {
            self.item("", &format!("buffer in the kernel: {} KiB", bytes / 1024));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let line = line.to_string();
        // Writing to a `String` cannot fail.
        writeln!(self.0, "{}", line.trim_end()).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use expect_test::expect;

    use super::*;

    fn events() -> Vec<SourceReport> {
        let exec = SourceReport {
            kind: "exec".into(),
            source: Some("process_ebpf".into()),
            tier: Some("btf_tracepoint".into()),
            blind_to: String::new(),
            reason: None,
            refused: Vec::new(),
            buffer_bytes: Some(8 << 20),
        };
        let exit = SourceReport {
            kind: "exit".into(),
            source: Some("process_scan".into()),
            tier: Some("proc_scan".into()),
            blind_to: "exit codes".into(),
            reason: None,
            refused: vec![Refusal {
                source: "process_ebpf".into(),
                reason: "it may not".into(),
                fix: Some("run as root".into()),
            }],
            buffer_bytes: None,
        };
        let fork = SourceReport { kind: "fork".into(), ..exit.clone() };
        let file = SourceReport {
            kind: "file".into(),
            source: None,
            tier: None,
            blind_to: "every file event".into(),
            reason: None,
            refused: vec![Refusal {
                source: "file_inotify".into(),
                reason: "no watch\x1b[2J left".into(),
                fix: Some("raise fs.inotify.max_user_watches".into()),
            }],
            buffer_bytes: None,
        };
        vec![exec, exit, fork, file]
    }

    fn report() -> Report {
        let fact = |name: &str, value: &str| Fact { name: name.into(), value: value.into() };
        let right = |source: &str, name: &str, have, needed| Right {
            source: source.into(),
            name: name.into(),
            have,
            needed,
            needed_for: "loading the probes".into(),
        };
        Report {
            host: vec![fact("kernel", "6.1.0"), fact("BTF", "yes")],
            rights: vec![
                right("process_ebpf", "CAP_BPF", true, true),
                right("process_ebpf", "CAP_PERFMON", false, true),
                right("process_connector", "CAP_NET_ADMIN", false, false),
            ],
            events: events(),
            data: Folder {
                path: PathBuf::from("/var/lib/bygone"),
                exists: true,
                writable: true,
                collector_pid: Some(7),
                state: "exists, writable".into(),
                collector: "running as process 7".into(),
            },
            losses: Some(vec![Losses {
                source: "process_ebpf".into(),
                seen: 9,
                stored: 7,
                lost: 2,
                gaps: [("ring_full".into(), 1)].into(),
                ..Losses::default()
            }]),
            losses_error: None,
            audit: None,
        }
    }

    #[test]
    fn text_for_reading() {
        expect![[r#"
            host
              kernel                6.1.0
              BTF                   yes

            rights
              process_ebpf
                CAP_BPF             have: loading the probes
                CAP_PERFMON         MISSING: loading the probes
              process_connector
                CAP_NET_ADMIN       not needed: loading the probes

            events
              exec                  process_ebpf, tier btf_tracepoint
                                    sees every route
                                    buffer in the kernel: 8192 KiB
              exit                  process_scan, tier proc_scan
                                    cannot see: exit codes
                                    not process_ebpf: it may not
                                    to mend it: run as root
              fork                  process_scan, tier proc_scan
                                    cannot see: exit codes
              file                  NOT RECORDED
                                    cannot see: every file event
                                    not file_inotify: no watch\x1b[2J left
                                    to mend it: raise fs.inotify.max_user_watches

            data
              folder                /var/lib/bygone
              state                 exists, writable
              collector             running as process 7

            losses in the last day
              process_ebpf          2 of 9 events LOST; gaps: 1 ring_full
        "#]]
        .assert_eq(&report().text());
    }

    #[test]
    fn json_for_programs() {
        let value = serde_json::to_value(report()).unwrap();
        assert_eq!(value["events"][0]["kind"], "exec");
        assert_eq!(value["rights"][1]["have"], false);
        assert_eq!(value["data"]["collector_pid"], 7);
    }
}
