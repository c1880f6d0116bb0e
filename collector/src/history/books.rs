//! What the collector recorded about itself, as far as a range of time needs it.

use std::ops::{ControlFlow, Range};

use bygone_store::sql::History;
use bygone_store::{EventTable, Test};

use super::Failure;
use super::rows::{ALWAYS, Asked};
use crate::tables::events::capabilities::Capabilities;
use crate::tables::events::gaps::Gaps;
use crate::tables::events::ledger::Ledger;

/// Length of a ledger row's time.
pub(super) const LEDGER_NS: i64 = 10_000_000_000;

/// What was in use for a kind of event from a time on.
#[derive(Clone, Debug, Default)]
pub(super) struct InUse {
    pub(super) time_ns: i64,
    pub(super) kind: String,
    pub(super) source: Option<String>,
    pub(super) tier: Option<String>,
    pub(super) blind_to: String,
    pub(super) reason: Option<String>,
}

/// A row of `gaps`.
#[derive(Clone, Debug)]
pub(super) struct GapRow {
    pub(super) time_ns: i64,
    pub(super) end_ns: i64,
    pub(super) source: String,
    pub(super) reason: String,
    pub(super) lost: Option<u64>,
    pub(super) detail: Option<String>,
}

/// A row of `ledger`.
#[derive(Clone, Debug, Default)]
pub(super) struct LedgerRow {
    pub(super) time_ns: i64,
    pub(super) source: String,
    pub(super) class: String,
    pub(super) seen: u64,
    pub(super) stored: u64,
    pub(super) filtered: u64,
    pub(super) excluded: u64,
    pub(super) merged: u64,
    pub(super) lost: u64,
    pub(super) missed: Option<u64>,
}

/// The collector's own rows, each kind in the order of time.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) in_use: Vec<InUse>,
    pub(super) gaps: Vec<GapRow>,
    pub(super) ledger: Vec<LedgerRow>,
    /// Per source, up to when everything is known and on disk.
    pub(super) watermarks: Vec<(String, i64)>,
}

impl Books {
    /// Reads what concerns a range of time and some kinds of event.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub(super) fn read(
        history: &History<'_>,
        classes: &[&str],
        range: &Range<i64>,
    ) -> Result<Self, Failure> {
        let mut books = Self { watermarks: history.watermarks()?, ..Self::default() };
        let of_classes = || {
            let mut texts: Vec<Box<str>> = classes.iter().map(|class| (*class).into()).collect();
            texts.sort_unstable();
            Test::Texts(texts)
        };
        let columns = &["kind", "source", "tier", "blind_to", "reason"];
        let asked = Asked::all(Capabilities::SCHEMA, columns).with("kind", of_classes());
        let mut in_use = Vec::new();
        asked.each(history, |row| {
            let text = |column| row.text(column).map(str::to_owned);
            in_use.push((
                row.eid(),
                InUse {
                    time_ns: row.time_ns(),
                    kind: text(0).unwrap_or_default(),
                    source: text(1),
                    tier: text(2),
                    blind_to: text(3).unwrap_or_default(),
                    reason: text(4),
                },
            ));
            ControlFlow::Continue(())
        })?;
        in_use.sort_by_key(|(eid, in_use)| (in_use.time_ns, *eid));
        books.in_use = in_use.into_iter().map(|(_, in_use)| in_use).collect();
        books.read_gaps(history, range)?;
        books.read_ledger(history, of_classes(), range)?;
        Ok(books)
    }

    fn read_gaps(&mut self, history: &History<'_>, range: &Range<i64>) -> Result<(), Failure> {
        let columns = &["end_ns", "source", "reason", "lost", "detail"];
        let ends = Test::IntegerRange(range.start, i64::MAX);
        let mut asked = Asked::all(Gaps::SCHEMA, columns).with("end_ns", ends);
        asked.time = *ALWAYS.start()..=range.end.saturating_sub(1);
        asked.each(history, |row| {
            let text = |column| row.text(column).unwrap_or_default().to_owned();
            self.gaps.push(GapRow {
                time_ns: row.time_ns(),
                end_ns: row.i64(0).unwrap_or(i64::MAX),
                source: text(1),
                reason: text(2),
                lost: row.u64(3),
                detail: row.text(4).map(str::to_owned),
            });
            ControlFlow::Continue(())
        })?;
        self.gaps.sort_by_key(|gap| gap.time_ns);
        Ok(())
    }

    fn read_ledger(
        &mut self,
        history: &History<'_>,
        classes: Test,
        range: &Range<i64>,
    ) -> Result<(), Failure> {
        let columns = &[
            "source", "class", "seen", "stored", "filtered", "merged", "lost", "missed", "excluded",
        ];
        let mut asked = Asked::all(Ledger::SCHEMA, columns).with("class", classes);
        asked.time = range.start.saturating_sub(LEDGER_NS)..=range.end.saturating_sub(1);
        asked.each(history, |row| {
            let number = |column| row.u64(column).unwrap_or(0);
            self.ledger.push(LedgerRow {
                time_ns: row.time_ns(),
                source: row.text(0).unwrap_or_default().to_owned(),
                class: row.text(1).unwrap_or_default().to_owned(),
                seen: number(2),
                stored: number(3),
                filtered: number(4),
                merged: number(5),
                lost: number(6),
                missed: row.u64(7),
                excluded: number(8),
            });
            ControlFlow::Continue(())
        })?;
        self.ledger.sort_by_key(|row| row.time_ns);
        Ok(())
    }
}
