//! `bygone status`: what is stored, and what of it would go.

mod left_out;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use bygone_store::sql::{ResultColumn, ResultSink, Session};
use bygone_store::{Holder, TableUsage, Usage};
use chrono::{DateTime, Local};
use clap::Args;
use rusqlite::types::ValueRef;
use serde_json::json;

use self::left_out::LeftOut;
use super::audit::LastAudit;
use super::data::{DataArguments, open};
use super::failure::Failure;
use super::log;
use super::output::{Format, OutputArguments};
use super::terminal::{Screen, print, stdout};
use crate::config::LogLevel;
use crate::daemon;

const DAY_NS: i64 = 24 * 3_600_000_000_000;

/// How old the last sign of life of a collector that runs may be: it notes one every 5 s.
const SILENT_MAX: Duration = Duration::from_secs(30);

/// Tell what is stored, and whether it is being written
#[derive(Args, Debug)]
#[command(after_help = "\
What is not sealed yet, the last minutes, is counted in bytes alone; what the configuration filters or
merges, up to some twelve seconds ago.

Examples:
  bygone status
  bygone status -o json
  bygone status --retention        what each table holds, and what would go now
  bygone status --retention -o json")]
pub(super) struct StatusArguments {
    /// Print a table: what each table holds, and what the configured retention would give up now
    #[arg(long)]
    retention: bool,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    data: DataArguments,
}

pub(super) fn run(arguments: &StatusArguments) -> Result<(), Failure> {
    log::init(LogLevel::Warn);
    if !arguments.retention && ![Format::Table, Format::Json].contains(&arguments.output.format()) {
        return Err(Failure::usage(anyhow!(
            "without --retention the status is text, or one object with -o json: add --retention, or \
             leave out -o"
        )));
    }
    Ok(tell(arguments)?)
}

fn tell(arguments: &StatusArguments) -> anyhow::Result<()> {
    let config = arguments.data.load()?;
    let data_dir = arguments.data.folder(&config)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ns = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
    let reader = open(&data_dir)?;
    let usage = reader.usage(&daemon::retention(&config.retention), now_ns)?;
    if arguments.retention {
        let mut sink = arguments.output.format().sink(stdout(), Screen::of_stdout());
        return Ok(retention(sink.as_mut(), &usage)?);
    }
    let session = arguments.data.session()?;
    let from_ns = now_ns.saturating_sub(DAY_NS);
    let gaps = gaps(&session, from_ns)?;
    let left_out = LeftOut::since(&session, from_ns)?;
    let audit = LastAudit::of(&session)?;
    let overview = Overview {
        data_dir: &data_dir,
        usage: &usage,
        gaps: &gaps,
        audit: audit.map(|audit| audit.words(now_ns)),
        left_out: &left_out,
        min_free: config.retention.min_free,
        // Its holder writes its process id into it.
        locked: fs::metadata(data_dir.join("lock")).and_then(|lock| lock.modified()).ok(),
        now: SystemTime::now(),
    };
    let text = match arguments.output.format() {
        Format::Json => overview.json()?,
        _ => overview.text(),
    };
    Ok(print(&text)?)
}

/// How many gaps of each reason there are from a time on.
fn gaps(session: &Session, from_ns: i64) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut counted = Counts::default();
    let statement =
        format!("SELECT reason, count(*) FROM gaps WHERE end_ns >= {from_ns} GROUP BY reason");
    session.execute(&statement, &mut counted).context("counting gaps")?;
    Ok(counted.0)
}

/// Reads the result of the statement above.
#[derive(Default)]
struct Counts(BTreeMap<String, u64>);

impl ResultSink for Counts {
    fn start(&mut self, _columns: &[ResultColumn]) -> std::io::Result<()> {
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> std::io::Result<()> {
        if let [ValueRef::Text(reason), ValueRef::Integer(count)] = values {
            let reason = String::from_utf8_lossy(reason).into_owned();
            self.0.insert(reason, count.unsigned_abs());
        }
        Ok(())
    }

    fn end(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the overview is made of.
struct Overview<'a> {
    data_dir: &'a Path,
    usage: &'a Usage,
    gaps: &'a BTreeMap<String, u64>,
    /// The last self-audit, in words.
    audit: Option<String>,
    left_out: &'a LeftOut,
    min_free: u64,
    /// When the lock was last taken.
    locked: Option<SystemTime>,
    now: SystemTime,
}

impl Overview<'_> {
    /// A few lines about all of it.
    fn text(&self) -> String {
        let usage = self.usage;
        let rows: u64 = usage.tables.iter().map(|table| table.rows).sum();
        let segments: u64 = usage.tables.iter().map(|table| table.segments).sum();
        let sealed = bytes_in_words(usage.tables.iter().map(|table| table.bytes).sum());
        let journals = bytes_in_words(usage.journal_bytes);
        let mut text = format!("data      {}\n", self.data_dir.display());
        text += &format!("writer    {}\n", self.writer());
        text += &format!("sealed    {sealed} in {segments} segments, {rows} rows\n");
        text += &format!("journals  {journals} in {} files\n", usage.journals);
        if usage.waiting > 0 {
            let bytes = bytes_in_words(usage.waiting_bytes);
            text += &format!("waiting   {bytes} in {} files to be deleted\n", usage.waiting);
        }
        if let Some(free) = usage.free_bytes {
            text += &format!("free      {}\n", free_in_words(free, self.min_free));
        }
        let words: Vec<String> =
            self.gaps.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let words = if words.is_empty() { "none".to_owned() } else { words.join(", ") };
        text += &format!("gaps      {words} in the last day\n");
        text += &self.left_out.text();
        if let Some(audit) = &self.audit {
            text += &format!("audit     {audit}\n");
        }
        let width = usage.tables.iter().map(|table| table.table.len()).max().unwrap_or(0);
        for table in &usage.tables {
            text += &format!(
                "{:width$}  {:>12} rows  {:>10}  from {} to {}\n",
                table.table,
                table.rows,
                bytes_in_words(table.bytes),
                time_in_words(table.oldest_ns),
                time_in_words(table.newest_ns),
            );
        }
        text
    }

    /// All of it as one object.
    fn json(&self) -> serde_json::Result<String> {
        let usage = self.usage;
        let table = |table: &TableUsage| {
            json!({
                "table": table.table,
                "segments": table.segments,
                "rows": table.rows,
                "bytes": table.bytes,
                "oldest_ns": table.oldest_ns,
                "newest_ns": table.newest_ns,
            })
        };
        let pid = match usage.holder {
            Some(Holder::Process(pid)) => pid,
            Some(Holder::Nobody) | None => None,
        };
        let object = json!({
            "data_dir": self.data_dir.display().to_string(),
            "writer": self.writer(),
            "writer_pid": pid,
            "journal_files": usage.journals,
            "journal_bytes": usage.journal_bytes,
            "waiting_files": usage.waiting,
            "waiting_bytes": usage.waiting_bytes,
            "free_bytes": usage.free_bytes,
            "last_day": {
                "gaps": self.gaps,
                "filtered": self.left_out.filtered,
                "merged": self.left_out.merged,
            },
            "tables": usage.tables.iter().map(table).collect::<Vec<_>>(),
        });
        Ok(serde_json::to_string_pretty(&object)? + "\n")
    }

    /// Whether someone writes: who has the lock does, whatever the age of the last heartbeat; but
    /// one that notes nothing has trouble.
    fn writer(&self) -> String {
        let age = |at: SystemTime| self.now.duration_since(at).unwrap_or_default();
        let words = |age: Duration| humantime::format_duration(Duration::from_secs(age.as_secs()));
        let known = match self.usage.holder {
            Some(Holder::Process(pid)) => {
                let process = pid.map_or_else(String::new, |pid| format!(" as process {pid}"));
                // The last heartbeat before its start was another's.
                return match self.usage.heartbeat.max(self.locked).map(age) {
                    Some(age) if age > SILENT_MAX => format!(
                        "running{process}; it has noted nothing for {}: see its messages, the disk \
                         may be full",
                        words(age)
                    ),
                    _ => format!("running{process}"),
                };
            }
            Some(Holder::Nobody) => "not running",
            None => "not known whether it runs",
        };
        match self.usage.heartbeat.map(age) {
            Some(age) => format!("{known}; its last sign of life was {} ago", words(age)),
            None => format!("{known}; it has noted nothing yet"),
        }
    }
}

/// What is free of the disk, and whether that is less than what is to stay free.
fn free_in_words(free: u64, min_free: u64) -> String {
    let words = bytes_in_words(free);
    if free >= min_free {
        return words;
    }
    let min_free = bytes_in_words(min_free);
    format!("{words}, less than min_free, {min_free}: status --retention tells what goes for it")
}

fn time_in_words(time_ns: i64) -> String {
    DateTime::from_timestamp_nanos(time_ns).with_timezone(&Local).format("%F %T").to_string()
}

/// Bytes in the largest unit in which they are at least one.
fn bytes_in_words(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes} {name}") } else { format!("{value:.1} {name}") }
}

/// A row per table.
fn retention(sink: &mut dyn ResultSink, usage: &Usage) -> std::io::Result<()> {
    let names = [
        "table",
        "segments",
        "rows",
        "bytes",
        "bytes_per_day",
        "oldest",
        "newest",
        "going_segments",
        "going_rows",
        "going_bytes",
    ];
    sink.start(&names.map(|name| ResultColumn { name: name.to_owned(), declared_type: None }))?;
    for table in &usage.tables {
        let goes = usage.goes.iter().find(|goes| goes.table == table.table);
        let integer = |value: u64| ValueRef::Integer(i64::try_from(value).unwrap_or(i64::MAX));
        let (oldest, newest) = (time_in_words(table.oldest_ns), time_in_words(table.newest_ns));
        sink.row(&[
            ValueRef::from(table.table.as_str()),
            integer(table.segments),
            integer(table.rows),
            integer(table.bytes),
            integer(bytes_per_day(table)),
            ValueRef::from(oldest.as_str()),
            ValueRef::from(newest.as_str()),
            integer(goes.map_or(0, |goes| goes.segments)),
            integer(goes.map_or(0, |goes| goes.rows)),
            integer(goes.map_or(0, |goes| goes.bytes)),
        ])?;
    }
    sink.end()
}

/// What a table grows by a day, over the time that it covers; all of it when that is no day.
fn bytes_per_day(table: &TableUsage) -> u64 {
    let span = table.newest_ns.saturating_sub(table.oldest_ns).max(DAY_NS);
    let days = span as f64 / DAY_NS as f64;
    (table.bytes as f64 / days).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(span_ns: i64) -> TableUsage {
        TableUsage {
            table: "file_events".to_owned(),
            segments: 3,
            rows: 1_000,
            bytes: 30_000,
            oldest_ns: 0,
            newest_ns: span_ns,
        }
    }

    #[test]
    fn growth_is_that_of_a_day() {
        assert_eq!(bytes_per_day(&table(10 * DAY_NS)), 3_000);
        assert_eq!(bytes_per_day(&table(1)), 30_000);
    }

    #[test]
    fn bytes_are_told_in_their_unit() {
        let words = [0, 999, 1_000, 1_550_000, 10 << 30].map(bytes_in_words);
        assert_eq!(words, ["0 B", "999 B", "1.0 kB", "1.6 MB", "10.7 GB"]);
    }

    #[test]
    fn the_overview_says_who_writes_and_what_is_missing() {
        let now = SystemTime::now();
        let mut usage = Usage {
            tables: vec![table(DAY_NS)],
            journals: 1,
            journal_bytes: 2_000,
            holder: Some(Holder::Process(Some(7))),
            heartbeat: Some(now - Duration::from_secs(3)),
            ..Usage::default()
        };
        let gaps = BTreeMap::from([("ring_full".to_owned(), 2)]);
        let text = overview(&usage, &gaps, now).text();
        assert!(text.contains("writer    running as process 7\n"), "{text}");
        assert!(text.contains("gaps      2 ring_full in the last day\n"), "{text}");
        assert!(text.contains("sealed    30.0 kB in 3 segments, 1000 rows\n"), "{text}");
        let left_out =
            LeftOut { filtered: BTreeMap::from([("exec".to_owned(), 3)]), ..LeftOut::default() };
        let filtering = Overview { left_out: &left_out, ..overview(&usage, &gaps, now) };
        let text = filtering.text();
        assert!(
            text.contains("\nfiltered  3 exec in the last day, by [process] exclude_…\n"),
            "{text}"
        );
        let object: serde_json::Value = serde_json::from_str(&filtering.json().unwrap()).unwrap();
        assert_eq!((&object["writer_pid"], &object["journal_bytes"]), (&json!(7), &json!(2_000)));
        let last_day =
            json!({ "gaps": { "ring_full": 2 }, "filtered": { "exec": 3 }, "merged": {} });
        assert_eq!(object["last_day"], last_day);
        assert_eq!(object["tables"][0]["rows"], 1_000);
        usage.holder = Some(Holder::Nobody);
        let later = now + Duration::from_secs(87);
        let none = BTreeMap::new();
        let text = overview(&usage, &none, later).text();
        assert!(text.contains("not running; its last sign of life was 1m 30s ago\n"), "{text}");
        assert!(text.contains("gaps      none in the last day\n"), "{text}");
    }

    fn overview<'a>(
        usage: &'a Usage,
        gaps: &'a BTreeMap<String, u64>,
        now: SystemTime,
    ) -> Overview<'a> {
        static NONE: LeftOut = LeftOut { filtered: BTreeMap::new(), merged: BTreeMap::new() };
        let data_dir = Path::new("/data");
        let (left_out, audit) = (&NONE, None);
        Overview { data_dir, usage, gaps, audit, left_out, min_free: 0, locked: None, now }
    }

    #[test]
    fn a_writer_that_notes_nothing_is_told() {
        let now = SystemTime::now();
        let ago = |seconds| now - Duration::from_secs(seconds);
        let none = BTreeMap::new();
        let check = |holder, noted: Option<u64>, locked: Option<u64>, expected: &str| {
            let heartbeat = noted.map(ago);
            let usage = Usage { holder: Some(holder), heartbeat, ..Usage::default() };
            let seen = Overview { locked: locked.map(ago), ..overview(&usage, &none, now) };
            assert_eq!(seen.writer(), expected);
        };
        let silent = "; it has noted nothing for 1m 30s: see its messages, the disk may be full";
        let process = Holder::Process(Some(7));
        check(process, Some(30), Some(3600), "running as process 7");
        check(process, Some(90), Some(3600), &format!("running as process 7{silent}"));
        check(process, None, Some(90), &format!("running as process 7{silent}"));
        check(Holder::Process(None), Some(90), None, &format!("running{silent}"));
        check(process, Some(90), Some(2), "running as process 7");
        check(Holder::Nobody, Some(90), None, "not running; its last sign of life was 1m 30s ago");
    }

    #[test]
    fn too_little_free_space_is_told() {
        assert_eq!(free_in_words(1_000, 1_000), "1.0 kB");
        let expected =
            "500.0 MB, less than min_free, 1.1 GB: status --retention tells what goes for it";
        assert_eq!(free_in_words(500_000_000, 1 << 30), expected);
    }

    #[test]
    fn every_table_says_what_goes() {
        let mut usage = Usage { tables: vec![table(DAY_NS)], ..Usage::default() };
        usage.goes.push(bygone_store::Expired {
            table: "file_events".to_owned(),
            segments: 1,
            rows: 10,
            bytes: 300,
            time_ns: (0, 1),
        });
        let mut out = Vec::new();
        let mut sink = Format::Csv.sink(&mut out, Screen::Pipe);
        retention(sink.as_mut(), &usage).unwrap();
        drop(sink);
        let text = String::from_utf8(out).unwrap();
        let row = text.lines().nth(1).unwrap();
        assert!(row.starts_with("file_events,3,1000,30000,30000,"), "{text}");
        assert!(row.ends_with(",1,10,300"), "{text}");
    }
}
