//! What a scan is asked for: chosen in `xBestIndex`, carried as text, read back in `xFilter`.
//!
//! The text is what `EXPLAIN QUERY PLAN` shows, e.g. `time>=? AND time<? READS pid, path`. Its
//! terms name the arguments in order; what follows `READS` are the columns that are decoded,
//! `*` those of `SELECT *`.

use std::fmt::Write as _;

use crate::schema::TableSchema;
use crate::sql::bounds::{Operator, TimeColumn};
use crate::sql::rows::KeyKind;

/// A comparison that SQLite offers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    /// Index of the column; `None` for the rowid.
    pub(super) column: Option<usize>,
    /// `None` for what no plan uses.
    pub(super) operator: Option<Operator>,
    /// Whether its right side is known when the scan begins.
    pub(super) usable: bool,
    /// Whether text is compared under `BINARY`.
    pub(super) binary: bool,
    /// Whether it is one of the values of an `IN`.
    pub(super) list: bool,
    /// The right side, when it is an integer written in the statement.
    pub(super) constant: Option<i64>,
}

/// An argument of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// Narrows the time range.
    Bound(TimeColumn, Operator),
    /// Looks for one value in a column.
    Key(usize, KeyKind),
}

/// An offer that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Index of the offer.
    pub(super) offer: usize,
    /// What the scan does with its right side.
    pub(super) term: Term,
    /// Whether SQLite need not check it again.
    pub(super) exact: bool,
}

/// A way to scan a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The arguments in order.
    pub(super) terms: Vec<Term>,
    /// Columns that are read, ascending.
    pub(super) reads: Vec<usize>,
}

/// Terms in one plan; further comparisons are left to SQLite.
const TERMS_MAX: usize = 32;

const READS: &str = " READS ";
const AND: &str = " AND ";

impl Plan {
    /// The plan that takes every offer it can use. `columns_used` is SQLite's `colUsed`.
    pub(super) fn choose(
        schema: &TableSchema,
        offers: &[Offer],
        columns_used: u64,
    ) -> (Self, Vec<Taken>) {
        let usable = offers.iter().enumerate().filter(|(_, offer)| offer.usable);
        let taken: Vec<Taken> = usable
            .filter_map(|(index, offer)| {
                let term = Self::term(schema, offer)?;
                let exact = matches!(term, Term::Bound(..)) && offer.constant.is_some();
                Some(Taken { offer: index, term, exact })
            })
            .take(TERMS_MAX)
            .collect();
        let terms = taken.iter().map(|taken| taken.term).collect();
        let reads =
            (0..schema.columns.len()).filter(|index| is_used(columns_used, *index)).collect();
        (Self { terms, reads }, taken)
    }

    fn term(schema: &TableSchema, offer: &Offer) -> Option<Term> {
        let (index, operator) = (offer.column?, offer.operator?);
        if let Some(column) = time_column(schema, index) {
            return Some(Term::Bound(column, operator));
        }
        let kind = KeyKind::of(schema.columns.get(index)?)?;
        let comparable = match kind {
            KeyKind::Integer => true,
            KeyKind::Guid => offer.binary,
            KeyKind::Text => offer.binary && !offer.list,
        };
        (operator == Operator::Equal && comparable).then_some(Term::Key(index, kind))
    }

    /// Whether a term bounds the time range at its start, and at its end.
    pub(super) fn is_bounded(&self) -> (bool, bool) {
        let mut bounded = (false, false);
        for term in &self.terms {
            if let Term::Bound(_, operator) = term {
                bounded.0 |= operator.bounds_start();
                bounded.1 |= operator.bounds_end();
            }
        }
        bounded
    }

    /// The columns of which one value is looked for.
    pub(super) fn keys(&self) -> impl Iterator<Item = usize> {
        self.terms.iter().filter_map(|term| match term {
            Term::Key(column, _) => Some(*column),
            Term::Bound(..) => None,
        })
    }

    /// The plan as text.
    pub(super) fn to_text(&self, schema: &TableSchema) -> String {
        let name = |index: usize| schema.columns.get(index).map_or("?", |column| column.name);
        let mut text = String::new();
        for term in &self.terms {
            if !text.is_empty() {
                text.push_str(AND);
            }
            let (column, operator) = match *term {
                Term::Bound(column, operator) => (name(column_index(schema, column)), operator),
                Term::Key(index, _) => (name(index), Operator::Equal),
            };
            write!(text, "{column}{}?", operator.sql()).expect("a string takes every write");
        }
        text.push_str(READS);
        if self.reads.is_empty() {
            text.push_str("nothing");
        } else if self.reads.iter().copied().eq(shown(schema)) {
            text.push('*');
        } else {
            let names: Vec<&str> = self.reads.iter().copied().map(name).collect();
            text.push_str(&names.join(", "));
        }
        text
    }

    /// Reads [`Self::to_text`] back; `None` when it is not one of `schema`'s.
    pub(super) fn parse(schema: &TableSchema, text: &str) -> Option<Self> {
        let (terms, reads) = text.split_once(READS)?;
        let terms = terms.split(AND).filter(|term| !term.is_empty());
        let terms = terms.map(|term| Self::parse_term(schema, term)).collect::<Option<_>>()?;
        let reads = match reads {
            "nothing" => Vec::new(),
            "*" => shown(schema).collect(),
            names => names.split(", ").map(|name| schema.column(name)).collect::<Option<_>>()?,
        };
        Some(Self { terms, reads })
    }

    fn parse_term(schema: &TableSchema, term: &str) -> Option<Term> {
        let term = term.strip_suffix('?')?;
        let end = term.find(['<', '>', '=', ' '])?;
        let (name, operator) = term.split_at_checked(end)?;
        let operator = *Operator::ALL.iter().find(|known| known.sql() == operator)?;
        let index = schema.column(name)?;
        match time_column(schema, index) {
            Some(column) => Some(Term::Bound(column, operator)),
            None => Some(Term::Key(index, KeyKind::of(schema.columns.get(index)?)?)),
        }
    }
}

/// Bit 63 of `colUsed` stands for every column from 63 on.
const fn is_used(columns_used: u64, index: usize) -> bool {
    let bit = if index < 63 { index } else { 63 };
    columns_used >> bit & 1 == 1
}

/// The columns of `SELECT *`.
fn shown(schema: &TableSchema) -> impl Iterator<Item = usize> {
    let columns = schema.columns.iter().enumerate();
    columns.filter(|(_, column)| !column.hidden).map(|(index, _)| index)
}

/// The time column that a column is, if any.
fn time_column(schema: &TableSchema, index: usize) -> Option<TimeColumn> {
    let time = schema.time?;
    if index == time {
        return Some(TimeColumn::Nanoseconds);
    }
    (index == SECONDS).then_some(TimeColumn::Seconds)
}

/// Index of `time` in every event table.
const SECONDS: usize = 0;

fn column_index(schema: &TableSchema, column: TimeColumn) -> usize {
    match column {
        TimeColumn::Seconds => SECONDS,
        TimeColumn::Nanoseconds => schema.time.unwrap_or(SECONDS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Computed, EventTable};

    /// Rows of a test.
    #[derive(EventTable)]
    #[expect(dead_code, reason = "only the schema is used")]
    struct Samples {
        /// Process id.
        pid: u32,
        /// Start of the process.
        start_ns: u64,
        /// When.
        #[column(time)]
        time_ns: i64,
        /// Process.
        #[column(guid(pid, start_ns))]
        guid: Computed,
        /// Load.
        load: f64,
        /// Path.
        path: String,
    }

    fn offer(column: &str, operator: Operator, constant: Option<i64>) -> Offer {
        let column = Some(Samples::SCHEMA.column(column).unwrap());
        Offer {
            column,
            operator: Some(operator),
            usable: true,
            binary: true,
            list: false,
            constant,
        }
    }

    #[test]
    fn takes_times_and_equalities() {
        let offers = [
            offer("time", Operator::GreaterOrEqual, Some(5)),
            offer("time_ns", Operator::Less, None),
            offer("pid", Operator::Greater, Some(1)),
            offer("guid", Operator::Equal, None),
            offer("load", Operator::Equal, None),
            Offer { usable: false, ..offer("path", Operator::Equal, None) },
            Offer { binary: false, ..offer("path", Operator::Equal, None) },
            Offer { column: None, ..offer("path", Operator::Equal, None) },
        ];
        let (plan, taken) = Plan::choose(Samples::SCHEMA, &offers, 0b100_0010);
        let text = plan.to_text(Samples::SCHEMA);
        assert_eq!(text, "time>=? AND time_ns<? AND guid=? READS pid, path");
        assert_eq!(Plan::parse(Samples::SCHEMA, &text), Some(plan.clone()));
        let exact: Vec<_> = taken.iter().map(|taken| (taken.offer, taken.exact)).collect();
        assert_eq!(exact, [(0, true), (1, false), (3, false)]);
        assert_eq!(plan.is_bounded(), (true, true));
    }

    #[test]
    fn every_plan_comes_back() {
        for operator in Operator::ALL {
            let offers = [offer("time_ns", operator, None), offer("eid", operator, None)];
            for columns_used in [0, 1, u64::MAX] {
                let (plan, _) = Plan::choose(Samples::SCHEMA, &offers, columns_used);
                let text = plan.to_text(Samples::SCHEMA);
                assert_eq!(Plan::parse(Samples::SCHEMA, &text), Some(plan), "{text}");
            }
        }
        for text in ["", " READS pidd", "pid>? READS", "x=? READS *", "pid READS *"] {
            assert_eq!(Plan::parse(Samples::SCHEMA, text), None, "{text}");
        }
    }

    #[test]
    fn the_last_bit_is_every_column_from_63_on() {
        assert!(is_used(1 << 63, 63) && is_used(1 << 63, 64) && is_used(1 << 63, 500));
        assert!(!is_used(1 << 63, 62) && is_used(1 << 62, 62) && !is_used(1 << 62, 63));
    }
}
