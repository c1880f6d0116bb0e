//! What a scan is asked for: chosen in `xBestIndex`, carried as text, read back in `xFilter`.
//!
//! The text is what `EXPLAIN QUERY PLAN` shows, e.g. `time>=? AND name=? READS time, name BY TIME`.
//! Its terms name the arguments in order; what follows `READS` are the columns that are decoded,
//! `*` those of `SELECT *`, then the order in which rows come, where it matters.

use rusqlite::types::{Value, ValueRef as SqlValue};

use crate::schema::TableSchema;
use crate::sql::bounds::{TimeColumn, TimeRange};
use crate::sql::operator::Operator;
use crate::sql::order::{Shape, Wish};
use crate::sql::values::{self, Kind};

/// A comparison that SQLite offers.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    /// Index of the column; `None` for what is none.
    pub(super) column: Option<usize>,
    /// `None` for what no plan uses.
    pub(super) operator: Option<Operator>,
    /// Whether its right side is known when the scan begins.
    pub(super) usable: bool,
    /// Whether text is compared under `BINARY`.
    pub(super) binary: bool,
    /// Whether it is an `IN`.
    pub(super) list: bool,
    /// The right side, when it is a value written in the statement.
    pub(super) constant: Option<Value>,
}

/// An argument of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// Narrows the time range.
    Bound(TimeColumn, Operator),
    /// Tests another column.
    Test(usize, Operator),
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
    /// How rows come.
    pub(super) shape: Shape,
}

/// Terms in one plan; further comparisons are left to SQLite.
const TERMS_MAX: usize = 32;

/// SQLite checks every comparison again that is not among its first.
const EXACT_MAX: usize = 16;

const READS: &str = " READS ";
const AND: &str = " AND ";

impl Plan {
    /// The plan that takes every offer it can use.
    pub(super) fn choose(
        schema: &TableSchema,
        offers: &[Offer],
        wish: &Wish,
    ) -> (Self, Vec<Taken>) {
        let usable = offers.iter().enumerate().filter(|(_, offer)| offer.usable);
        let mut taken: Vec<Taken> = Vec::new();
        for (index, offer) in usable {
            let Some(term) = term(schema, offer) else { continue };
            let may_omit = index < EXACT_MAX && taken.len() < EXACT_MAX;
            let exact = may_omit && is_exact(schema, term, offer);
            taken.push(Taken { offer: index, term, exact });
            if taken.len() == TERMS_MAX {
                break;
            }
        }
        let terms = taken.iter().map(|taken| taken.term).collect();
        let reads =
            (0..schema.columns.len()).filter(|index| is_used(wish.columns_used, *index)).collect();
        let mut plan = Self { terms, reads, shape: Shape::Any };
        plan.shape = wish.shape(schema, &plan.reads, offers, &taken);
        (plan, taken)
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

    /// Whether a term tests a column for equality, and otherwise.
    pub(super) fn is_tested(&self) -> (bool, bool) {
        let mut tested = (false, false);
        for term in &self.terms {
            if let Term::Test(_, operator) = term {
                tested.0 |= operator.is_equality();
                tested.1 |= !operator.is_equality();
            }
        }
        tested
    }

    /// The plan as text.
    pub(super) fn to_text(&self, schema: &TableSchema) -> String {
        let mut text = String::new();
        for term in &self.terms {
            if !text.is_empty() {
                text.push_str(AND);
            }
            let (column, operator) = match *term {
                Term::Bound(column, operator) => (column_index(schema, column), operator),
                Term::Test(index, operator) => (index, operator),
            };
            text.push_str(name(schema, column));
            text.push_str(operator.text());
        }
        text.push_str(READS);
        if self.reads.is_empty() {
            text.push_str("nothing");
        } else if self.reads.iter().copied().eq(shown(schema)) {
            text.push('*');
        } else {
            let names: Vec<&str> = self.reads.iter().map(|index| name(schema, *index)).collect();
            text.push_str(&names.join(", "));
        }
        self.shape.write(schema, &mut text);
        text
    }

    /// Reads [`Self::to_text`] back; `None` when it is not one of `schema`'s.
    pub(super) fn parse(schema: &TableSchema, text: &str) -> Option<Self> {
        let (terms, rest) = text.split_once(READS)?;
        let terms = terms.split(AND).filter(|term| !term.is_empty());
        let terms = terms.map(|term| parse_term(schema, term)).collect::<Option<_>>()?;
        let (reads, shape) = Shape::parse(schema, rest)?;
        let reads = match reads {
            "nothing" => Vec::new(),
            "*" => shown(schema).collect(),
            names => names.split(", ").map(|name| schema.column(name)).collect::<Option<_>>()?,
        };
        Some(Self { terms, reads, shape })
    }
}

/// What a scan does with an offer, if anything.
fn term(schema: &TableSchema, offer: &Offer) -> Option<Term> {
    let (index, operator) = (offer.column?, offer.operator?);
    if let Some(column) = time_column(schema, index) {
        // The members of an `IN` come one by one, each with its own range.
        return operator.is_comparison().then_some(Term::Bound(column, operator));
    }
    let kind = Kind::of(schema, index)?;
    let of_state = schema.time.is_none();
    let operator = match (operator, offer.list) {
        (Operator::Equal, true) if !of_state => Operator::In,
        (operator, _) => operator,
    };
    let taken = match kind {
        // Rows of state tables are only looked up. SQLite compares a number in an `IN` with text
        // as text on a virtual table, unlike on an ordinary one.
        Kind::Integer(_) | Kind::Guid { .. } if of_state => operator == Operator::Equal,
        Kind::Text(_) if of_state => operator == Operator::Equal && !offer.list,
        _ if of_state => false,
        Kind::Integer(_) => !matches!(operator, Operator::Like | Operator::Glob),
        Kind::Text(_) => true,
        Kind::Guid { .. } => operator.is_equality() || operator == Operator::IsNotNull,
        Kind::BootId => operator.is_equality(),
        Kind::Blob(_) => matches!(operator, Operator::IsNull | Operator::IsNotNull),
        Kind::Computed => operator == Operator::Equal,
    };
    let by_bytes = operator.is_comparison() || operator == Operator::In;
    let collated = matches!(kind, Kind::Text(_) | Kind::Guid { .. } | Kind::BootId) && by_bytes;
    (taken && (offer.binary || !collated)).then_some(Term::Test(index, operator))
}

/// Whether a scan does exactly what an offer asks, whatever the row.
fn is_exact(schema: &TableSchema, term: Term, offer: &Offer) -> bool {
    let Term::Test(index, operator) = term else { return true };
    let Some(kind) = Kind::of(schema, index) else { return false };
    match (kind, operator, &offer.constant) {
        // Whatever the value.
        (Kind::Guid { .. }, Operator::Equal, _) => !offer.list,
        (_, Operator::IsNull | Operator::IsNotNull, _) => {
            values::test(kind, operator, &[SqlValue::Null]).exact
        }
        (_, _, Some(value)) => values::test(kind, operator, &[value.into()]).exact,
        (_, _, None) => false,
    }
}

fn parse_term(schema: &TableSchema, term: &str) -> Option<Term> {
    let end = term.find(['<', '>', '=', ' '])?;
    let (name, operator) = term.split_at_checked(end)?;
    let operator = *Operator::ALL.iter().find(|known| known.text() == operator)?;
    let index = schema.column(name)?;
    match time_column(schema, index) {
        Some(column) => operator.is_comparison().then_some(Term::Bound(column, operator)),
        None => Kind::of(schema, index).map(|_| Term::Test(index, operator)),
    }
}

/// The name of a column.
pub(super) fn name(schema: &TableSchema, index: usize) -> &'static str {
    schema.columns.get(index).map_or("?", |column| column.name)
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
pub(super) fn time_column(schema: &TableSchema, index: usize) -> Option<TimeColumn> {
    let time = schema.time?;
    if index == time {
        return Some(TimeColumn::Nanoseconds);
    }
    (index == SECONDS).then_some(TimeColumn::Seconds)
}

/// Index of `time` in every event table.
const SECONDS: usize = 0;

/// The column that a time column is.
pub(super) fn column_index(schema: &TableSchema, column: TimeColumn) -> usize {
    match column {
        TimeColumn::Seconds => SECONDS,
        TimeColumn::Nanoseconds => schema.time.unwrap_or(SECONDS),
    }
}

/// The range that the constants of a plan leave; `None` when one cannot be compared with times.
pub(super) fn constant_range(offers: &[Offer], taken: &[Taken]) -> Result<TimeRange, Value> {
    let mut range = TimeRange::ALL;
    for taken in taken {
        let Term::Bound(column, operator) = taken.term else { continue };
        let constant = offers.get(taken.offer).and_then(|offer| offer.constant.as_ref());
        let Some(value) = constant else { continue };
        range = range.narrow(column, operator, value.into()).ok_or_else(|| value.clone())?;
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Computed, EventTable, Order};

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

    fn offer(column: &str, operator: Operator, constant: Option<Value>) -> Offer {
        Offer {
            column: Some(Samples::SCHEMA.column(column).unwrap()),
            operator: Some(operator),
            usable: true,
            binary: true,
            list: false,
            constant,
        }
    }

    fn choose(offers: &[Offer], columns_used: u64) -> (Plan, Vec<Taken>) {
        let wish = Wish { columns_used, ..Wish::default() };
        Plan::choose(Samples::SCHEMA, offers, &wish)
    }

    #[test]
    fn only_what_is_exact_whatever_the_row_is_not_checked_again() {
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        let cases = [
            (offer("time", Operator::GreaterOrEqual, Some(Value::Integer(5))), Some(true)),
            (offer("time_ns", Operator::Less, None), Some(true)),
            (offer("time_ns", Operator::IsNull, None), None),
            (offer("pid", Operator::Greater, Some(Value::Integer(1))), Some(true)),
            (offer("pid", Operator::Greater, Some(Value::Real(1.5))), Some(true)),
            (offer("pid", Operator::Greater, text("x")), Some(false)),
            (offer("pid", Operator::Greater, None), Some(false)),
            (offer("pid", Operator::Like, text("1%")), None),
            (offer("guid", Operator::Equal, None), Some(true)),
            (Offer { list: true, ..offer("guid", Operator::Equal, None) }, Some(false)),
            (Offer { binary: false, ..offer("guid", Operator::Equal, None) }, None),
            (offer("guid", Operator::Less, text("x")), None),
            (offer("load", Operator::Equal, Some(Value::Integer(1))), None),
            (offer("path", Operator::Equal, text("/x")), Some(true)),
            (offer("path", Operator::Equal, text("5")), Some(false)),
            (offer("path", Operator::Equal, Some(Value::Integer(5))), Some(false)),
            (offer("path", Operator::Equal, None), Some(false)),
            (offer("path", Operator::Like, text("/x%")), Some(false)),
            (offer("path", Operator::IsNotNull, None), Some(true)),
            (Offer { binary: false, ..offer("path", Operator::Equal, text("/x")) }, None),
            (Offer { usable: false, ..offer("path", Operator::Equal, text("/x")) }, None),
            (Offer { column: None, ..offer("path", Operator::Equal, text("/x")) }, None),
        ];
        for (offer, expected) in cases {
            let (_, taken) = choose(std::slice::from_ref(&offer), 0);
            assert_eq!(taken.first().map(|taken| taken.exact), expected, "{offer:?}");
        }
    }

    #[test]
    fn what_sqlite_checks_anyway_is_not_exact() {
        let offers = vec![offer("time", Operator::Greater, Some(Value::Integer(5))); 20];
        let (_, taken) = choose(&offers, 0);
        assert_eq!(taken.iter().filter(|taken| taken.exact).count(), EXACT_MAX);
    }

    #[test]
    fn every_plan_comes_back() {
        let shapes = [Shape::Any, Shape::Time(Order::Ascending), Shape::Time(Order::Descending)];
        for operator in Operator::ALL {
            let offers =
                ["time_ns", "eid", "path", "guid"].map(|column| offer(column, operator, None));
            for columns_used in [0, 1, u64::MAX] {
                for shape in &shapes {
                    let (mut plan, _) = choose(&offers, columns_used);
                    plan.shape = shape.clone();
                    let text = plan.to_text(Samples::SCHEMA);
                    assert_eq!(Plan::parse(Samples::SCHEMA, &text), Some(plan), "{text}");
                }
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
