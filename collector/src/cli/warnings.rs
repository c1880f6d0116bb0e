//! What is to be known about a result: damaged files, and gaps in the range that was read.

use std::io;
use std::path::Path;

use bygone_store::Reader;
use bygone_store::sql::{Executed, ResultColumn, ResultSink, Session};
use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::types::{Value, ValueRef};

use super::terminal::say;
use super::visible::visible;
use crate::tables;

/// Whether a table tells of the gaps in others, and is complete by itself.
fn is_about_the_collector(table: &str) -> bool {
    tables::classes_of(table).is_some_and(<[_]>::is_empty)
}

/// How far the latest watermark may lie behind while a collector runs: it notes one every 5 s.
const BEHIND_NS_MAX: i64 = 30_000_000_000;

/// Prints one line on standard error per damage, one when the range read has gaps, and one when it
/// reaches past the end of the history.
pub(super) fn print(session: &Session, executed: &Executed, warn_of_gaps: bool) {
    for damage in &executed.damage {
        say(&format!("bygone: warning: {}", visible(&damage.to_string())));
    }
    if executed.damage.iter().any(|damage| damage.kind.is_sealed()) {
        say("bygone: warning: bygone verify tells what of the sealed history was changed");
    }
    if !warn_of_gaps {
        return;
    }
    for warning in
        [gaps(session, executed), end(session.data_dir(), executed)].into_iter().flatten()
    {
        say(&format!("bygone: warning: {}", visible(&warning)));
    }
}

/// In words, that the range read reaches past the last watermark of a collector that no longer
/// runs; `None` when it does not. The gap is written when a collector starts again.
fn end(data_dir: &Path, executed: &Executed) -> Option<String> {
    let ranges = executed.scanned.iter().filter(|(table, _)| !is_about_the_collector(table));
    let to_ns = ranges.map(|(_, range)| *range.end()).max()?;
    let watermarks = Reader::open(data_dir).ok()?.heartbeat().ok()?;
    let last_ns = watermarks.iter().map(|(_, watermark_ns)| *watermark_ns).max()?;
    let now_ns = Utc::now().timestamp_nanos_opt()?;
    if to_ns.min(now_ns) <= last_ns.saturating_add(BEHIND_NS_MAX) {
        return None;
    }
    let last = DateTime::from_timestamp_nanos(last_ns).to_rfc3339_opts(SecondsFormat::Secs, true);
    Some(format!("the history ends at {last}: no collector has noted anything since"))
}

/// In words, the gaps in the range that was read; `None` when there are none.
fn gaps(session: &Session, executed: &Executed) -> Option<String> {
    let ranges = executed
        .scanned
        .iter()
        .filter(|(table, _)| !is_about_the_collector(table))
        .map(|(_, range)| range);
    let from_ns = ranges.clone().map(|range| *range.start()).min()?;
    let to_ns = ranges.map(|range| *range.end()).max()?;
    let mut row = FirstRow::default();
    let sql = format!(
        "SELECT count(*), count(lost), CAST(total(lost) AS INTEGER), \
         group_concat(DISTINCT source), group_concat(DISTINCT reason) \
         FROM gaps WHERE time_ns <= {to_ns} AND end_ns >= {from_ns}"
    );
    match session.execute(&sql, &mut row) {
        Ok(_) => words(&row.0),
        Err(error) => {
            let error = anyhow::Error::from(error);
            Some(format!("cannot tell whether the range of time read has gaps: {error:#}"))
        }
    }
}

fn words(row: &[Value]) -> Option<String> {
    let [Value::Integer(gaps), Value::Integer(counted), Value::Integer(lost), sources, reasons] =
        row
    else {
        return None;
    };
    if *gaps == 0 {
        return None;
    }
    let number = if *gaps == 1 { "a gap".to_owned() } else { format!("{gaps} gaps") };
    let lost = match (counted == gaps, lost) {
        (true, 1) => "1 event lost".to_owned(),
        (true, _) => format!("{lost} events lost"),
        (false, 0) => "an unknown number of events lost".to_owned(),
        (false, _) => format!("at least {lost} events lost"),
    };
    let list = |value: &Value| match value {
        Value::Text(text) => text.replace(',', ", "),
        _ => String::new(),
    };
    Some(format!(
        "the range of time read has {number}, {lost} ({}: {}); see SELECT * FROM gaps",
        list(sources),
        list(reasons)
    ))
}

/// Keeps the first row of a result.
#[derive(Default)]
struct FirstRow(Vec<Value>);

impl ResultSink for FirstRow {
    fn start(&mut self, _columns: &[ResultColumn]) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        if self.0.is_empty() {
            self.0 = values.iter().map(|value| owned(*value)).collect();
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn owned(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(gaps: i64, counted: i64, lost: i64, expected: &Expect) {
        let text = |text: &str| Value::Text(text.to_owned());
        let row = [
            Value::Integer(gaps),
            Value::Integer(counted),
            Value::Integer(lost),
            text("process_ebpf,file_inotify"),
            text("ring_full"),
        ];
        expected.assert_eq(&words(&row).unwrap_or_default());
    }

    #[test]
    fn gaps_in_words() {
        check(0, 0, 0, &expect![[""]]);
        check(
            1,
            1,
            1,
            &expect![
                "the range of time read has a gap, 1 event lost (process_ebpf, file_inotify: ring_full); see SELECT * FROM gaps"
            ],
        );
        check(
            2,
            2,
            120,
            &expect![
                "the range of time read has 2 gaps, 120 events lost (process_ebpf, file_inotify: ring_full); see SELECT * FROM gaps"
            ],
        );
        check(
            3,
            2,
            120,
            &expect![
                "the range of time read has 3 gaps, at least 120 events lost (process_ebpf, file_inotify: ring_full); see SELECT * FROM gaps"
            ],
        );
        check(
            1,
            0,
            0,
            &expect![
                "the range of time read has a gap, an unknown number of events lost (process_ebpf, file_inotify: ring_full); see SELECT * FROM gaps"
            ],
        );
    }
}
