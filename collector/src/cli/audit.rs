//! The last self-audit, as the history has it.

use std::io;
use std::time::Duration;

use anyhow::Context;
use bygone_store::sql::{ResultColumn, ResultSink, Session};
use rusqlite::types::ValueRef;
use serde::Serialize;

/// What a self-audit found.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct LastAudit {
    /// When it was begun, in nanoseconds since the Unix epoch.
    pub(super) time_ns: i64,
    pub(super) source: String,
    /// Classes of event that were recorded, separated by commas.
    pub(super) passed: String,
    /// Those that were not.
    pub(super) failed: Option<String>,
}

impl LastAudit {
    /// The last one, `None` when there was none.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub(super) fn of(session: &Session) -> anyhow::Result<Option<Self>> {
        let mut last = Last::default();
        let statement =
            "SELECT time_ns, source, passed, failed FROM audits ORDER BY time_ns DESC LIMIT 1";
        session.execute(statement, &mut last).context("reading the audits")?;
        Ok(last.0)
    }

    /// One line.
    pub(super) fn words(&self, now_ns: i64) -> String {
        let ago = Duration::from_nanos(now_ns.saturating_sub(self.time_ns).max(0).unsigned_abs());
        let ago = humantime::format_duration(Duration::from_secs(ago.as_secs()));
        let list = |classes: &str| classes.replace(',', ", ");
        match &self.failed {
            Some(failed) => format!("FAILED {ago} ago: {} not recorded", list(failed)),
            None => format!("passed {ago} ago: {}", list(&self.passed)),
        }
    }
}

/// Reads the result of the statement.
#[derive(Default)]
struct Last(Option<LastAudit>);

impl ResultSink for Last {
    fn start(&mut self, _columns: &[ResultColumn]) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        let text = |value: &ValueRef<'_>| {
            value.as_bytes().ok().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        if let [time, source, passed, failed] = values {
            self.0 = Some(LastAudit {
                time_ns: time.as_i64().unwrap_or(0),
                source: text(source).unwrap_or_default(),
                passed: text(passed).unwrap_or_default(),
                failed: text(failed),
            });
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
    use crate::tables::events::audits::Audits;

    #[test]
    fn the_last_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let options = WriterOptions::new([7; 16]);
        let (mut writer, _) =
            Writer::open(folder.path(), tables::event_schemas(), options).unwrap();
        let audit = |seconds: i64, failed: Option<&str>| Audits {
            time_ns: seconds * 1_000_000_000,
            source: "eye".to_owned(),
            passed: "exec,fork".to_owned(),
            failed: failed.map(str::to_owned),
        };
        let last = || {
            let options = SessionOptions {
                data_dir: folder.path().to_owned(),
                events: tables::event_schemas(),
                states: tables::state_tables(),
            };
            LastAudit::of(&Session::open(options).unwrap()).unwrap()
        };
        assert_eq!(last(), None);
        writer.append([audit(10, Some("memfd")), audit(20, None)]).unwrap();
        let words = last().unwrap().words(90_000_000_000);
        assert_eq!(words, "passed 1m 10s ago: exec, fork");
        writer.append([audit(30, Some("memfd,bpf"))]).unwrap();
        let words = last().unwrap().words(31_500_000_000);
        assert_eq!(words, "FAILED 1s ago: memfd, bpf not recorded");
    }
}
