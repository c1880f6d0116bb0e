//! What the machines found, judged and shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::image::{DOCTOR_PART, TEST_PARTS};
use super::kernels::Kernel;
use super::serial::{self, Transcript};

/// Instructions that the verifier may go through for one program. It gives up at a million.
const VERIFIED_MAX: u64 = 500_000;

/// The kinds of events whose tests have this in their names, by the module or the test. A test that
/// none of these names is one of all kinds of [`PROCESS_KINDS`].
const KINDS_OF_TESTS: &[(&str, &[&str])] = &[
    ("::images::", &["image"]),
    ("_loaded_object_and_opened_memory", &["image", "ptrace"]),
    ("opening_the_memory", &["ptrace"]),
    ("tracing_and_reading_memory", &["ptrace"]),
    ("a_module_", &["module"]),
    ("fatal_signals_", &["signal"]),
    ("all_signals_", &["signal"]),
    ("a_signal_", &["signal"]),
    ("a_change_of_user_and_a_file_", &["credential", "memfd"]),
    ("a_change_of_user_", &["credential"]),
    ("mounts_are_", &["mount"]),
    ("executable_memory_", &["memory_exec", "memfd"]),
    ("programs_of_others_", &["bpf"]),
    ("files::", &["file"]),
    ("exits::", &["exit"]),
    ("_in_one_exit", &["exit"]),
    ("signals_", &["exit"]),
    ("cpu_time", &["exit"]),
    ("arguments", &["exec"]),
    ("a_script_", &["exec"]),
    ("paths_", &["exec"]),
];

/// What every other test is about.
const PROCESS_KINDS: &[&str] = &["exec", "fork", "exit"];

/// What became of one machine.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The machine's name.
    pub(super) label: String,
    /// The kernel's release, as it says itself.
    release: String,
    /// Per kind of event: its tier, and how many of its tests passed and failed.
    kinds: BTreeMap<String, Kind>,
    /// The sums of the test runs.
    summaries: Vec<String>,
    /// Tests that failed.
    failed: Vec<String>,
    /// Per program, the instructions that the verifier went through; `None` where the kernel does
    /// not tell.
    programs: Vec<(String, Option<u64>)>,
    /// Everything that keeps it from being green.
    pub(super) faults: Vec<String>,
    /// Whether it was booted a second time, not having been green the first.
    pub(super) is_second: bool,
    /// How long it ran.
    pub(super) took: Duration,
    /// What it wrote, where that is kept.
    pub(super) log: Option<PathBuf>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Kind {
    /// `None` when nothing can be recorded.
    tier: Option<String>,
    passed: usize,
    failed: usize,
}

impl Verdict {
    /// A machine that could not be tried.
    pub(super) fn failed(label: String, fault: String) -> Self {
        Self { label, faults: vec![fault], ..Self::default() }
    }

    /// Whether all is well.
    pub(super) fn is_green(&self) -> bool {
        self.faults.is_empty()
    }

    /// What happened, in lines.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{} ({}), {} s", self.label, self.release, self.took.as_secs());
        for line in &self.summaries {
            line_into(&mut text, format_args!("  {line}"));
        }
        for test in &self.failed {
            line_into(&mut text, format_args!("  FAILED {test}"));
        }
        for fault in &self.faults {
            line_into(&mut text, format_args!("  FAULT {fault}"));
        }
        if let Some(log) = &self.log {
            line_into(&mut text, format_args!("  all it wrote: {}", log.display()));
        }
        text
    }
}

/// Judges what a machine wrote.
pub(super) fn judge(
    label: String,
    transcript: &Transcript,
    kernel: &Kernel,
    preempt_full: bool,
) -> Verdict {
    let mut verdict = Verdict { label, ..Verdict::default() };
    if !transcript.done {
        verdict.faults.push("it did not come to its end".to_owned());
    }
    verdict.kernel(transcript, kernel, preempt_full);
    verdict.doctor(transcript);
    for part in TEST_PARTS {
        verdict.tests(transcript, part);
    }
    verdict.programs(transcript);
    verdict.kinds_without_cover();
    verdict
}

impl Verdict {
    /// Whether it ran what was asked for.
    fn kernel(&mut self, transcript: &Transcript, kernel: &Kernel, preempt_full: bool) {
        let first = |name: &str| {
            let part = transcript.part(name).filter(|part| part.succeeded())?;
            part.lines.first().map(|line| line.trim().to_owned())
        };
        self.release = first("kernel").unwrap_or_default();
        if self.release.is_empty() || !self.release.starts_with(kernel.release) {
            self.faults.push(format!("it ran the kernel `{}`", self.release));
        }
        let preemption = first("preemption").unwrap_or_default();
        if preempt_full && !preemption.contains("(full)") {
            self.faults.push(format!("its preemption is `{preemption}`"));
        }
    }

    /// The tiers, from the program's own report.
    fn doctor(&mut self, transcript: &Transcript) {
        let text = transcript.part(DOCTOR_PART).filter(|part| part.succeeded());
        let report =
            text.and_then(|part| serde_json::from_str::<Value>(&part.lines.join("\n")).ok());
        let events = report.as_ref().and_then(|report| report["events"].as_array());
        let Some(events) = events.filter(|events| !events.is_empty()) else {
            self.faults.push("the program did not say what it can record".to_owned());
            return;
        };
        for event in events {
            let tier = event["tier"].as_str().map(str::to_owned);
            let kind = event["kind"].as_str().unwrap_or("?").to_owned();
            self.kinds.insert(kind, Kind { tier, ..Kind::default() });
        }
    }

    /// The results of a part that runs tests.
    fn tests(&mut self, transcript: &Transcript, name: &str) {
        let Some(part) = transcript.part(name) else {
            self.faults.push(format!("the part `{name}` was not begun"));
            return;
        };
        let results: Vec<(&str, bool)> =
            part.lines.iter().filter_map(|line| serial::test(line)).collect();
        let passed = results.iter().filter(|(_, passed)| *passed).count();
        let summary = part.lines.iter().find(|line| line.starts_with("test result: "));
        self.summaries.extend(summary.map(|line| format!("{name}: {line}")));
        match part.status {
            Some(0) if passed > 0 && summary.is_some() => {}
            Some(0) => self.faults.push(format!("no test ran in the part `{name}`")),
            Some(status) => {
                self.faults.push(format!("the part `{name}` ended with status {status}"));
            }
            None => self.faults.push(format!("the part `{name}` did not end")),
        }
        for (test, passed) in results {
            if !passed {
                self.failed.push(test.to_owned());
            }
            for kind in kinds_of(test) {
                let Some(kind) = self.kinds.get_mut(*kind) else { continue };
                *(if passed { &mut kind.passed } else { &mut kind.failed }) += 1;
            }
        }
    }

    /// What the verifier went through, from what a test printed.
    fn programs(&mut self, transcript: &Transcript) {
        let lines = transcript.part(TEST_PARTS[0]).map(|part| part.lines.as_slice());
        let found = lines.unwrap_or_default().iter().filter_map(|line| verified(line));
        self.programs = found.collect();
        if self.programs.is_empty() {
            self.faults.push("nothing is known of the programs in the kernel".to_owned());
        }
        for (program, count) in &self.programs {
            if count.is_some_and(|count| count > VERIFIED_MAX) {
                self.faults.push(format!("the program `{program}` is above {VERIFIED_MAX}"));
            }
        }
    }

    /// A kind of which nothing can be recorded is a failure.
    fn kinds_without_cover(&mut self) {
        for (name, kind) in &self.kinds {
            if kind.tier.is_none() {
                self.faults.push(format!("no event of the kind `{name}` can be recorded"));
            }
        }
    }
}

/// What a test is about.
fn kinds_of(test: &str) -> &'static [&'static str] {
    let named = KINDS_OF_TESTS.iter().find(|(part, _)| test.contains(part));
    named.map_or(PROCESS_KINDS, |(_, kinds)| kinds)
}

/// A program's name and what the verifier went through, from a line such as
/// `program exec: 28735 instructions verified, …` or `program exec: unknown instructions …`.
fn verified(line: &str) -> Option<(String, Option<u64>)> {
    let (name, rest) = line.strip_prefix("program ")?.split_once(": ")?;
    let (count, _) = rest.split_once(" instructions verified")?;
    match count {
        "unknown" => Some((name.to_owned(), None)),
        _ => Some((name.to_owned(), Some(count.parse().ok()?))),
    }
}

/// Kernels by kinds of events: the tier, and whether the tests of the kind passed.
pub(super) fn matrix(verdicts: &[Verdict]) -> String {
    let mut kinds: Vec<&str> =
        verdicts.iter().flat_map(|verdict| verdict.kinds.keys()).map(String::as_str).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut rows = vec![["kernel"].iter().chain(&kinds).map(|&cell| cell.to_owned()).collect()];
    for verdict in verdicts {
        let cell = |kind: &&str| verdict.kinds.get(*kind).map_or("-".to_owned(), Kind::cell);
        let mut row = vec![verdict.label.clone()];
        row.extend(kinds.iter().map(cell));
        let end = match (verdict.is_green(), verdict.is_second) {
            (true, false) => "green",
            (true, true) => "green (second try)",
            (false, _) => "RED",
        };
        row.push(end.to_owned());
        rows.push(row);
    }
    table("tiers and tests", &rows)
}

impl Kind {
    fn cell(&self) -> String {
        let tier = self.tier.as_deref().unwrap_or("no tier");
        let of = self.passed + self.failed;
        match (self.failed, self.passed) {
            (0, 0) => format!("{tier}, not tested"),
            (0, passed) => format!("{tier}, {passed} passed"),
            (failed, _) => format!("{tier}, {failed} of {of} FAILED"),
        }
    }
}

/// Kernels by programs: the instructions that the verifier went through.
pub(super) fn programs(verdicts: &[Verdict]) -> String {
    let mut names: Vec<&str> = verdicts
        .iter()
        .flat_map(|verdict| &verdict.programs)
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut rows = vec![
        ["program"]
            .into_iter()
            .map(str::to_owned)
            .chain(verdicts.iter().map(|verdict| verdict.label.clone()))
            .collect::<Vec<_>>(),
    ];
    for name in names {
        let mut row = vec![name.to_owned()];
        row.extend(verdicts.iter().map(|verdict| {
            let found = verdict.programs.iter().find(|(program, _)| program == name);
            match found {
                Some((_, Some(count))) => count.to_string(),
                Some((_, None)) => "not told".to_owned(),
                None => "-".to_owned(),
            }
        }));
        rows.push(row);
    }
    table(&format!("instructions verified (limit {VERIFIED_MAX})"), &rows)
}

/// Rows in columns of equal width.
fn table(title: &str, rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut text = format!("\n{title}");
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(index, cell)| format!("{cell:0$}", width(index)))
            .collect();
        line_into(&mut text, format_args!("  {}", cells.join("  ").trim_end()));
    }
    text
}

/// Adds a line.
fn line_into(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    write!(text, "\n{line}").unwrap_or_default();
}

#[cfg(test)]
mod tests;
