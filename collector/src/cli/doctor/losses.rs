//! What was lost of late, by the history's own books.

use std::collections::BTreeMap;
use std::io;

use anyhow::Context;
use bygone_store::sql::{ResultColumn, ResultSink, Session};
use rusqlite::types::ValueRef;
use serde::Serialize;

/// How far back is looked.
const DAY_NS: i64 = 24 * 3_600_000_000_000;

/// The books and gaps of one source over the last day.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Losses {
    pub(super) source: String,
    /// Events that the source produced, and what became of them.
    pub(super) seen: u64,
    pub(super) stored: u64,
    pub(super) filtered: u64,
    pub(super) merged: u64,
    pub(super) lost: u64,
    /// Gaps by their reason.
    pub(super) gaps: BTreeMap<String, u64>,
}

impl Losses {
    /// All sources of which there is something to tell, by name.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub(super) fn of(session: &Session, now_ns: i64) -> anyhow::Result<Vec<Self>> {
        let from_ns = now_ns.saturating_sub(DAY_NS);
        let mut all = Sources::default();
        let books = format!(
            "SELECT source, sum(seen), sum(stored), sum(filtered), sum(merged), sum(lost) \
             FROM ledger WHERE time_ns >= {from_ns} GROUP BY source"
        );
        session.execute(&books, &mut all).context("reading the ledger")?;
        let gaps = format!(
            "SELECT source, reason, count(*) FROM gaps WHERE end_ns >= {from_ns} \
             GROUP BY source, reason"
        );
        session.execute(&gaps, &mut all).context("counting gaps")?;
        Ok(all.0.into_values().collect())
    }

    /// One line.
    pub(super) fn words(&self) -> String {
        let counted = match (self.lost, self.seen) {
            (_, 0) => "no events counted".to_owned(),
            (0, seen) => format!("none of {seen} events lost"),
            (lost, seen) => format!("{lost} of {seen} events LOST"),
        };
        let gaps: Vec<String> =
            self.gaps.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        match gaps.as_slice() {
            [] => counted,
            gaps => format!("{counted}; gaps: {}", gaps.join(", ")),
        }
    }
}

/// Reads the results of both statements.
#[derive(Default)]
struct Sources(BTreeMap<String, Losses>);

impl ResultSink for Sources {
    fn start(&mut self, _columns: &[ResultColumn]) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        let text = |value: &ValueRef<'_>| {
            String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned()
        };
        let number = |value: &ValueRef<'_>| value.as_i64().unwrap_or(0).unsigned_abs();
        let [source, rest @ ..] = values else { return Ok(()) };
        let source = text(source);
        let entry =
            self.0.entry(source.clone()).or_insert_with(|| Losses { source, ..Losses::default() });
        match rest {
            [reason, count] => {
                entry.gaps.insert(text(reason), number(count));
            }
            [seen, stored, filtered, merged, lost] => {
                entry.seen = number(seen);
                entry.stored = number(stored);
                entry.filtered = number(filtered);
                entry.merged = number(merged);
                entry.lost = number(lost);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bygone_store::sql::SessionOptions;
    use bygone_store::{Writer, WriterOptions};

    use super::*;
    use crate::tables;
    use crate::tables::events::gaps::Gaps;
    use crate::tables::events::ledger::Ledger;

    const NOW_NS: i64 = 2 * DAY_NS;

    fn gap(time_ns: i64, reason: &str) -> Gaps {
        Gaps {
            time_ns,
            end_ns: time_ns + 1,
            source: "process_scan".to_owned(),
            reason: reason.to_owned(),
            lost: None,
            detail: None,
        }
    }

    fn books(time_ns: i64, lost: u64) -> Ledger {
        Ledger {
            time_ns,
            source: "process_ebpf".to_owned(),
            class: "exec".to_owned(),
            seen: 7,
            stored: 7 - lost,
            filtered: 0,
            merged: 0,
            lost,
            missed: None,
            late: 0,
            excluded: 0,
        }
    }

    #[test]
    fn the_last_day_is_told_by_source() {
        let folder = tempfile::tempdir().unwrap();
        let options = WriterOptions::new([7; 16]);
        let (mut writer, _) =
            Writer::open(folder.path(), tables::event_schemas(), options).unwrap();
        let gaps =
            [gap(NOW_NS - 5, "daemon_down"), gap(NOW_NS - 3, "daemon_down"), gap(9, "expired")];
        writer.append(gaps).unwrap();
        writer.append([books(NOW_NS - 9, 2), books(NOW_NS - 8, 0), books(1, 7)]).unwrap();
        writer.close().unwrap();
        let session = Session::open(SessionOptions {
            data_dir: folder.path().to_owned(),
            events: tables::event_schemas(),
            states: tables::state_tables(),
        });
        let losses = Losses::of(&session.unwrap(), NOW_NS).unwrap();
        let words: Vec<String> =
            losses.iter().map(|of| format!("{}: {}", of.source, of.words())).collect();
        let expected = [
            "process_ebpf: 2 of 14 events LOST",
            "process_scan: no events counted; gaps: 2 daemon_down",
        ];
        assert_eq!(words, expected);
    }
}
