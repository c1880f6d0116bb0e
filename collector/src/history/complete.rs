//! Whether a table is complete over a range of time, and why not.
//!
//! It is when over the whole range, for each class of event that the table is made of: the source in
//! use sees every route (`capabilities`, which is history); the ledger has every ten seconds, with
//! nothing lost, nothing that the kernel skipped unseen, and books that add up; no gap of the source
//! or of all sources overlaps; and the source's watermark has passed the end. What `exclude_paths` and
//! its like left out is missing by choice, and what was merged into summaries is missing one by one:
//! both are reasons. What no table is of, such as changes to files that are not watched, is not missing.
//!
//! **Invariant:** in doubt it is not complete: what is unknown is a reason.

use std::collections::BTreeSet;
use std::ops::Range;

use bygone_store::EventTable;
use bygone_store::sql::{History, ScalarFunction};
use chrono::{DateTime, SecondsFormat};
use rusqlite::types::{Value, ValueRef};

use super::Failure;
use super::books::{Books, GapRow, InUse, LEDGER_NS, LedgerRow};
use crate::events::{Gap, GapReason};
use crate::tables::events::process_summary_events::ProcessSummaryEvents;
use crate::tables::{self, Subscriber};

/// Gaps that are told one by one.
const GAPS_TOLD_MAX: usize = 20;

/// How far one ledger row may begin behind the end of the one before: a clock that was set makes
/// them part, by less than a row that is missing would.
const APART_NS: i64 = 5_000_000_000;

/// The functions of SQL.
pub const FUNCTIONS: &[ScalarFunction] = &[
    ScalarFunction { name: "complete", arguments: 3, call: complete },
    ScalarFunction { name: "incomplete_reasons", arguments: 3, call: incomplete_reasons },
];

/// `complete(table, from_ns, to_ns)`: 1 when the table has every event from one instant on and
/// before another, 0 when it may not. Null when an argument is.
fn complete(history: &History<'_>, arguments: &[ValueRef<'_>]) -> Result<Value, Failure> {
    let reasons = asked("complete", history, arguments)?;
    Ok(reasons.map_or(Value::Null, |reasons| Value::Integer(reasons.is_empty().into())))
}

/// `incomplete_reasons(table, from_ns, to_ns)`: why it may not, a reason on each line; null when it
/// is complete.
fn incomplete_reasons(history: &History<'_>, arguments: &[ValueRef<'_>]) -> Result<Value, Failure> {
    let reasons = asked("incomplete_reasons", history, arguments)?.filter(|all| !all.is_empty());
    Ok(reasons.map_or(Value::Null, |reasons| Value::Text(reasons.join("\n"))))
}

fn asked(
    function: &str,
    history: &History<'_>,
    arguments: &[ValueRef<'_>],
) -> Result<Option<Vec<String>>, Failure> {
    let (name, range) = match arguments {
        [ValueRef::Null, ..] | [_, ValueRef::Null, _] | [_, _, ValueRef::Null] => return Ok(None),
        [ValueRef::Text(name), ValueRef::Integer(from_ns), ValueRef::Integer(to_ns)] => {
            (String::from_utf8_lossy(name), *from_ns..*to_ns)
        }
        _ => {
            return Err(format!(
                "{function}() takes the name of a table of events and two times in nanoseconds, \
                 as ns('10 minutes ago')"
            )
            .into());
        }
    };
    let classes = tables::classes_of(&name)
        .ok_or_else(|| format!("{name} is no table of events; bygone tables lists them"))?;
    if classes.is_empty() {
        return Err(format!("{name} tells of the other tables; ask for one of those").into());
    }
    if range.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let books = Books::read(history, classes, &range)?;
    // What is missing elsewhere because it is in a summary is not missing there.
    let is_summary = name.eq_ignore_ascii_case(ProcessSummaryEvents::SCHEMA.name);
    let summarized = if is_summary { &[] } else { ProcessSummaryEvents::CLASSES };
    Ok(Some(reasons(&books, classes, summarized, &range)))
}

/// Why a range may not be complete for some classes of event; empty when it is. Of those `summarized`,
/// events that were merged are missing.
fn reasons(
    books: &Books,
    classes: &[&str],
    summarized: &[&str],
    range: &Range<i64>,
) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut sources = BTreeSet::new();
    for class in classes {
        for Part { in_use, range: part, is_last } in parts(books, class, range, &mut reasons) {
            let Some(source) = &in_use.source else {
                reasons.push(unwatched(in_use, &part));
                continue;
            };
            sources.insert(source.as_str());
            if !in_use.blind_to.is_empty() {
                reasons.push(blind(in_use, source, &part));
            }
            let rows =
                books.ledger.iter().filter(|row| row.class == *class && row.source == *source);
            reasons.extend(ledger(class, source, rows, summarized.contains(class), &part));
            // What follows another one is told by its gap.
            reasons.extend(watermark(books, class, source, &part).filter(|_| is_last));
        }
    }
    reasons.extend(gaps(books, classes, &sources));
    reasons
}

/// A part of a range and what was in use in it.
struct Part<'a> {
    in_use: &'a InUse,
    range: Range<i64>,
    /// Whether nothing else has come into use since.
    is_last: bool,
}

/// What was in use in the parts of a range. A part before the first record is a reason.
fn parts<'a>(
    books: &'a Books,
    class: &str,
    range: &Range<i64>,
    reasons: &mut Vec<String>,
) -> Vec<Part<'a>> {
    let of_class: Vec<&InUse> = books.in_use.iter().filter(|in_use| in_use.kind == class).collect();
    let ends = of_class.iter().skip(1).map(|next| next.time_ns).chain([i64::MAX]);
    let first = of_class.first().map(|first| first.time_ns);
    if first.is_none_or(|first_ns| first_ns > range.start) {
        reasons.push(match first.filter(|first_ns| *first_ns < range.end) {
            Some(first_ns) => {
                format!("{class}: the history begins at {}", iso(first_ns))
            }
            None => format!("{class}: nothing is recorded of this time"),
        });
    }
    let parts = of_class.iter().zip(ends).map(|(in_use, end_ns)| Part {
        in_use,
        range: range.start.max(in_use.time_ns)..range.end.min(end_ns),
        is_last: end_ns == i64::MAX,
    });
    parts.filter(|part| !part.range.is_empty()).collect()
}

fn unwatched(in_use: &InUse, part: &Range<i64>) -> String {
    let why = in_use.reason.as_deref().unwrap_or("no source is there");
    format!("{}: nothing watched {}: {why}; see bygone doctor", in_use.kind, span(part))
}

fn blind(in_use: &InUse, source: &str, part: &Range<i64>) -> String {
    let tier = in_use.tier.as_deref().unwrap_or("its tier");
    let blind_to = &in_use.blind_to;
    let mut text =
        format!("{}: {source} ({tier}) cannot see {blind_to}, {}", in_use.kind, span(part));
    if let Some(why) = &in_use.reason {
        text.push_str(&format!("; no better one is in use: {why}"));
    }
    text
}

/// What the ledger's rows of one class and source leave open of a part.
fn ledger<'a>(
    class: &str,
    source: &str,
    rows: impl Iterator<Item = &'a LedgerRow>,
    is_summarized: bool,
    part: &Range<i64>,
) -> Vec<String> {
    let mut reasons = Vec::new();
    let (mut counted_ns, mut lost, mut missed, mut unknown, mut wrong) = (part.start, 0, 0, 0, 0);
    let (mut excluded, mut merged) = (0, 0);
    let rows = rows
        .filter(|row| row.time_ns < part.end && row.time_ns.saturating_add(LEDGER_NS) > part.start);
    for row in rows {
        if row.time_ns > counted_ns.saturating_add(APART_NS) {
            reasons.push(uncounted(class, source, &(counted_ns..row.time_ns)));
        }
        counted_ns = counted_ns.max(row.time_ns.saturating_add(LEDGER_NS));
        lost += row.lost;
        missed += row.missed.unwrap_or(0);
        unknown += u64::from(row.missed.is_none());
        excluded += row.excluded;
        merged += if is_summarized { row.merged } else { 0 };
        wrong += u64::from(row.seen != row.stored + row.filtered + row.merged + row.lost);
    }
    if counted_ns < part.end {
        reasons.push(uncounted(class, source, &(counted_ns..part.end)));
    }
    let mut told = |count: u64, what: &str| {
        if count > 0 {
            reasons.push(format!("{class}: {count} {what} {} by {source}; see ledger", span(part)));
        }
    };
    told(lost, "events were lost");
    told(excluded, "events were filtered by configuration ([process] exclude_…)");
    told(merged, "events were merged into process_summary_events");
    told(missed, "times the kernel skipped the program");
    told(unknown, "times ten seconds without the kernel's word on what it skipped");
    told(wrong, "rows of the ledger do not add up");
    reasons
}

fn uncounted(class: &str, source: &str, part: &Range<i64>) -> String {
    format!(
        "{class}: {source} has not counted {}; what is newer than some twelve seconds is counted \
         soon",
        span(part)
    )
}

fn watermark(books: &Books, class: &str, source: &str, part: &Range<i64>) -> Option<String> {
    let mark = books.watermarks.iter().find(|(name, _)| name == source);
    match mark {
        Some((_, mark_ns)) if *mark_ns >= part.end => None,
        Some((_, mark_ns)) => Some(format!(
            "{class}: {source} is recorded up to {} only; ask for a time before, or again while \
             bygone run is running",
            iso(*mark_ns)
        )),
        None => Some(format!("{class}: it is not known up to when {source} is recorded")),
    }
}

/// The gaps of some sources, and of all.
fn gaps(books: &Books, classes: &[&str], sources: &BTreeSet<&str>) -> Vec<String> {
    let concerns = |gap: &&GapRow| {
        let detail = gap.detail.as_deref();
        let reason = GapReason::of(&gap.reason);
        let table = reason.and_then(|reason| Gap::table(reason, detail));
        let of_table = table.and_then(tables::classes_of);
        let of_class = reason.and_then(|reason| Gap::class(reason, detail));
        (gap.source == "*" || sources.contains(gap.source.as_str()))
            && of_table.is_none_or(|of| of.iter().any(|class| classes.contains(class)))
            && of_class.is_none_or(|of| classes.contains(&of))
    };
    let all: Vec<&GapRow> = books.gaps.iter().filter(concerns).collect();
    let mut reasons: Vec<String> = all.iter().take(GAPS_TOLD_MAX).map(|gap| told(gap)).collect();
    if let Some(more @ 1..) = all.len().checked_sub(GAPS_TOLD_MAX) {
        reasons.push(format!("{more} gaps more; see SELECT * FROM gaps"));
    }
    reasons
}

fn told(gap: &GapRow) -> String {
    let source = if gap.source == "*" { "all sources" } else { &gap.source };
    let lost = gap.lost.map_or_else(|| "an unknown number".to_owned(), |lost| lost.to_string());
    let mut text = format!(
        "gap of {source} {}: {}, {lost} lost",
        span(&(gap.time_ns..gap.end_ns)),
        gap.reason
    );
    if let Some(detail) = &gap.detail {
        text.push_str(&format!(" ({detail})"));
    }
    if let Some(reason) = GapReason::of(&gap.reason) {
        text.push_str(&format!("; {}", reason.mend()));
    }
    text
}

fn span(range: &Range<i64>) -> String {
    format!("from {} to {}", iso(range.start), iso(range.end))
}

fn iso(time_ns: i64) -> String {
    DateTime::from_timestamp_nanos(time_ns).to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn in_use(at: i64, source: Option<&str>, blind_to: &str) -> InUse {
        InUse {
            time_ns: at * SECOND,
            kind: "exec".to_owned(),
            source: source.map(str::to_owned),
            tier: source.map(|_| "probe".to_owned()),
            blind_to: blind_to.to_owned(),
            reason: None,
        }
    }

    fn counted(at: i64) -> LedgerRow {
        LedgerRow {
            time_ns: at * SECOND,
            source: "eye".to_owned(),
            class: "exec".to_owned(),
            seen: 5,
            stored: 3,
            filtered: 1,
            excluded: 0,
            merged: 1,
            lost: 0,
            missed: Some(0),
        }
    }

    fn gap(from: i64, to: i64, source: &str, reason: &str, detail: Option<&str>) -> GapRow {
        GapRow {
            time_ns: from * SECOND,
            end_ns: to * SECOND,
            source: source.to_owned(),
            reason: reason.to_owned(),
            lost: None,
            detail: detail.map(str::to_owned),
        }
    }

    /// Complete from 100 to 160.
    fn whole() -> Books {
        Books {
            in_use: vec![in_use(95, Some("eye"), "")],
            gaps: Vec::new(),
            ledger: (9..16).map(|ten| counted(ten * 10)).collect(),
            watermarks: vec![("ear".to_owned(), 0), ("eye".to_owned(), 165 * SECOND)],
        }
    }

    fn of(books: &Books, from: i64, to: i64) -> Vec<String> {
        reasons(books, &["exec"], &[], &(from * SECOND..to * SECOND))
    }

    #[track_caller]
    fn check(books: &Books, from: i64, to: i64, part: &str) {
        let reasons = of(books, from, to);
        assert!(reasons.len() == 1 && reasons.iter().all(|one| one.contains(part)), "{reasons:?}");
    }

    #[test]
    fn all_in_order_is_complete() {
        assert_eq!(of(&whole(), 100, 160), [""; 0]);
        assert_eq!(of(&whole(), 95, 101), [""; 0]);
    }

    #[test]
    fn it_is_not_before_the_first_record_nor_after_the_last() {
        check(&whole(), 94, 160, "the history begins at 1970-01-01T00:01:35.000Z");
        let before = of(&whole(), 10, 20);
        assert_eq!(before, ["exec: nothing is recorded of this time"]);
        check(&whole(), 100, 161, "has not counted from 1970-01-01T00:02:40.000Z");
        let mut books = whole();
        books.ledger.push(counted(160));
        assert_eq!(of(&books, 100, 165), [""; 0]);
        check(&books, 100, 166, "recorded up to 1970-01-01T00:02:45.000Z only");
        books.watermarks.clear();
        check(&books, 100, 160, "not known up to when");
    }

    #[test]
    fn the_tier_of_each_part_counts() {
        let mut books = whole();
        books.in_use.push(in_use(120, Some("eye"), "io_uring"));
        check(&books, 100, 160, "eye (probe) cannot see io_uring, from 1970-01-01T00:02:00.000Z");
        assert_eq!(of(&books, 100, 120), [""; 0]);
        books.in_use.push(in_use(130, None, "every exec"));
        let all = of(&books, 100, 140);
        assert!(
            all.iter().any(|one| one.contains("nothing watched from 1970-01-01T00:02:10")),
            "{all:?}"
        );
        books.in_use.push(in_use(140, Some("eye"), ""));
        books.watermarks.clear();
        assert_eq!(of(&books, 100, 120), [""; 0], "the mark of what was replaced is of no concern");
        books = Books { in_use: books.in_use, ..whole() };
        assert_eq!(of(&books, 140, 160), [""; 0]);
    }

    #[test]
    fn every_ten_seconds_are_counted_and_clean() {
        type Fault = fn(&mut LedgerRow);
        let faults: [(Fault, &str); 5] = [
            (|row| row.excluded = 1, "1 events were filtered by configuration"),
            (|row| (row.lost, row.stored) = (1, 2), "1 events were lost"),
            (|row| row.missed = Some(2), "2 times the kernel skipped"),
            (|row| row.missed = None, "without the kernel's word"),
            (|row| row.seen = 9, "do not add up"),
        ];
        for (fault, part) in faults {
            let mut books = whole();
            books.ledger.iter_mut().filter(|row| row.time_ns == 120 * SECOND).for_each(fault);
            check(&books, 100, 160, part);
            assert_eq!(of(&books, 100, 120), [""; 0]);
            assert_eq!(of(&books, 130, 160), [""; 0]);
        }
        let mut books = whole();
        books.ledger.retain(|row| row.time_ns != 120 * SECOND);
        check(
            &books,
            100,
            160,
            "has not counted from 1970-01-01T00:02:00.000Z to 1970-01-01T00:02:10",
        );
    }

    #[test]
    fn what_is_merged_is_missing_but_in_the_summary() {
        let range = 100 * SECOND..160 * SECOND;
        let merged = reasons(&whole(), &["exec"], &["exec"], &range);
        let [merged] = merged.as_slice() else { panic!("{merged:?}") };
        assert!(merged.contains("6 events were merged into process_summary_events"), "{merged}");
        assert_eq!(reasons(&whole(), &["exec"], &["fork"], &range), [""; 0]);
    }

    #[test]
    fn a_clock_that_is_set_leaves_no_hole() {
        let mut books = whole();
        for row in books.ledger.iter_mut().filter(|row| row.time_ns >= 120 * SECOND) {
            row.time_ns += 3 * SECOND;
        }
        assert_eq!(of(&books, 100, 160), [""; 0]);
    }

    #[test]
    fn gaps_of_the_source_and_of_all_count() {
        for (source, counts) in [("eye", true), ("*", true), ("ear", false)] {
            let mut books = whole();
            books.gaps.push(gap(110, 111, source, "ring_full", Some("exec records")));
            assert_eq!(!of(&books, 100, 160).is_empty(), counts, "{source}");
        }
        let mut books = whole();
        books.gaps.push(gap(110, 111, "eye", "daemon_down", None));
        check(
            &books,
            100,
            160,
            "gap of eye from 1970-01-01T00:01:50.000Z to 1970-01-01T00:01:51.000Z: daemon_down, an \
             unknown number lost; keep bygone run running",
        );
        let mut books = whole();
        books.gaps = (0..30).map(|_| gap(110, 111, "eye", "ring_full", None)).collect();
        assert_eq!(of(&books, 100, 160).len(), 21);
    }

    #[test]
    fn what_failed_an_audit_is_one_class() {
        for (class, counts) in [("exec", true), ("memfd", false)] {
            let mut books = whole();
            let detail = format!("class {class}: what the self-audit did was not recorded");
            books.gaps.push(gap(110, 120, "eye", "audit_failed", Some(&detail)));
            assert_eq!(!of(&books, 100, 160).is_empty(), counts, "{class}");
        }
    }

    #[test]
    fn what_another_table_lost_does_not() {
        for (table, counts) in [("file_events", false), ("process_events", true), ("*", true)] {
            let mut books = whole();
            let detail = format!("table {table}: 2 segments of 9 bytes");
            books.gaps.push(gap(0, 111, "*", "expired", Some(&detail)));
            assert_eq!(!of(&books, 100, 160).is_empty(), counts, "{table}");
        }
    }
}
