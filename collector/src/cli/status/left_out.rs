//! What of the events of processes was left out or merged of late, by the history's own books.

use std::collections::BTreeMap;
use std::io;

use anyhow::Context;
use bygone_store::sql::{ResultColumn, ResultSink, Session};
use rusqlite::types::ValueRef;
use serde::Serialize;

use crate::tables::Subscriber;
use crate::tables::events::process_summary_events::ProcessSummaryEvents;

/// Events by their class, as in the ledger; classes without any are left out.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct LeftOut {
    /// Those that `exclude_paths` and its like leave out.
    pub(super) filtered: BTreeMap<String, u64>,
    /// Those that are in summaries.
    pub(super) merged: BTreeMap<String, u64>,
}

impl LeftOut {
    /// Those from `from_ns` on.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub(super) fn since(session: &Session, from_ns: i64) -> anyhow::Result<Self> {
        let mut counted = Self::default();
        let statement = format!(
            "SELECT class, sum(excluded), sum(merged) FROM ledger WHERE time_ns >= {from_ns} \
             GROUP BY class"
        );
        session.execute(&statement, &mut counted).context("reading the ledger")?;
        counted.merged.retain(|class, _| ProcessSummaryEvents::CLASSES.contains(&class.as_str()));
        Ok(counted)
    }

    /// A line for each of the two of which there is something to tell.
    pub(super) fn text(&self) -> String {
        let line = |name: &str, counts: &BTreeMap<String, u64>, how: &str| {
            let words: Vec<String> =
                counts.iter().map(|(class, count)| format!("{count} {class}")).collect();
            match words.as_slice() {
                [] => String::new(),
                words => format!("{name}{} in the last day, {how}\n", words.join(", ")),
            }
        };
        line("filtered  ", &self.filtered, "by [process] exclude_…")
            + &line("merged    ", &self.merged, "see process_summary_events")
    }
}

impl ResultSink for LeftOut {
    fn start(&mut self, _columns: &[ResultColumn]) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        let [ValueRef::Text(class), counts @ ..] = values else { return Ok(()) };
        let class = String::from_utf8_lossy(class);
        for (map, count) in [&mut self.filtered, &mut self.merged].into_iter().zip(counts) {
            if let ValueRef::Integer(count @ 1..) = count {
                map.insert(class.clone().into_owned(), count.unsigned_abs());
            }
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
    use crate::tables::events::ledger::Ledger;

    fn books(time_ns: i64, class: &str, excluded: u64, merged: u64) -> Ledger {
        Ledger {
            time_ns,
            source: "process_ebpf".to_owned(),
            class: class.to_owned(),
            seen: 9,
            stored: 8 - excluded - merged,
            filtered: excluded + 1,
            merged,
            lost: 0,
            missed: None,
            late: 0,
            excluded,
        }
    }

    #[test]
    fn each_class_is_counted_from_a_time_on() {
        let folder = tempfile::tempdir().unwrap();
        let options = WriterOptions::new([7; 16]);
        let (mut writer, _) =
            Writer::open(folder.path(), tables::event_schemas(), options).unwrap();
        let rows = [
            books(5, "exec", 4, 0),
            books(10, "exec", 3, 2),
            books(20, "exec", 1, 0),
            books(20, "exit", 0, 2),
            books(20, "file", 0, 5),
            books(20, "fork", 0, 0),
        ];
        writer.append(rows).unwrap();
        let options = SessionOptions {
            data_dir: folder.path().to_owned(),
            events: tables::event_schemas(),
            states: tables::state_tables(),
        };
        let counted = LeftOut::since(&Session::open(options).unwrap(), 10).unwrap();
        assert_eq!(counted.filtered, BTreeMap::from([("exec".to_owned(), 4)]));
        let expected = "filtered  4 exec in the last day, by [process] exclude_…\n\
                        merged    2 exec, 2 exit in the last day, see process_summary_events\n";
        assert_eq!(counted.text(), expected);
        assert_eq!(LeftOut::default().text(), "");
    }
}
