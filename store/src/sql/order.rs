//! In which order rows come, and which of SQLite's wishes for one a scan grants.
//!
//! Rows of a table of events come by time, then number, at little cost: segments are sorted so. That
//! order is also one by whole seconds, and in it equal times are adjacent, which is all that
//! `GROUP BY` and `DISTINCT` need.
//!
//! By other columns, rows are counted per value (`grouped`) where SQLite reads little else: every
//! column that it uses must be one of these, or have no comparison left to check.

use crate::Order;
use crate::schema::{ColumnSource, ColumnType, Computation, TableSchema};
use crate::sql::bounds::TimeColumn;
use crate::sql::plan::{Offer, Taken, Term, column_index, name, time_column};

/// How rows come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Shape {
    /// In any order.
    #[default]
    Any,
    /// By time, then number.
    Time(Order),
    /// By the values of some columns.
    Grouped(Grouping),
}

/// By which columns rows are grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grouping {
    /// Stored columns of integers or text.
    pub(super) columns: Vec<OrderedBy>,
    /// Whether the groups come in order.
    pub(super) sorted: bool,
    /// Whether one row of each group is enough.
    pub(super) once: bool,
}

/// A column of an `ORDER BY`, a `GROUP BY` or a `DISTINCT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderedBy {
    /// Index of the column; `None` for the rowid of a state table.
    pub(super) column: Option<usize>,
    pub(super) descending: bool,
}

/// What SQLite would like beside the rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    /// SQLite's `colUsed`.
    pub(super) columns_used: u64,
    /// The columns in order; empty for no wish.
    pub(super) order: Vec<OrderedBy>,
    /// Whether it is enough when equal rows are adjacent.
    pub(super) grouped: bool,
    /// Whether of rows that are equal in all columns used, one is enough.
    pub(super) distinct: bool,
}

const ASCENDING: &str = " BY TIME";
const DESCENDING: &str = " BY TIME DESC";

/// How a plan writes a grouping, whether it is sorted, and whether one row per group is enough.
const GROUPINGS: [(&str, bool, bool); 4] = [
    // Before the one that it ends with.
    (" SORTED ONCE EACH ", true, true),
    (" ONCE EACH ", false, true),
    (" SORTED BY ", true, false),
    (" GROUPED BY ", false, false),
];

impl Wish {
    /// The shape that grants the wish for an order; [`Shape::Any`] when none does.
    pub(super) fn shape(
        &self,
        schema: &TableSchema,
        reads: &[usize],
        offers: &[Offer],
        taken: &[Taken],
    ) -> Shape {
        if let Some(order) = self.time_order(schema) {
            return Shape::Time(order);
        }
        let grouping = self.grouping(schema, reads);
        let grouping = grouping.filter(|grouping| covers(schema, grouping, reads, taken));
        // What changes from scan to scan is better looked up among kept rows.
        let joined = taken.iter().any(|taken| {
            let constant = offers.get(taken.offer).is_some_and(|offer| offer.constant.is_some());
            matches!(taken.term, Term::Test(_, operator) if operator.is_comparison()) && !constant
        });
        grouping.filter(|_| !joined).map_or(Shape::Any, Shape::Grouped)
    }

    fn grouping(&self, schema: &TableSchema, reads: &[usize]) -> Option<Grouping> {
        let groupable = |by: &OrderedBy| {
            let source = schema.columns.get(by.column?)?.source;
            let ColumnSource::Stored(stored) = source else { return None };
            (!matches!(stored, ColumnType::F64 | ColumnType::Blob)).then_some(())
        };
        self.order.first().filter(|_| schema.time.is_some())?;
        self.order.iter().map(groupable).collect::<Option<()>>()?;
        let mut columns: Vec<OrderedBy> = Vec::new();
        for by in &self.order {
            if columns.iter().all(|known| known.column != by.column) {
                columns.push(*by);
            }
        }
        let by = |column: &usize| columns.iter().any(|by| by.column == Some(*column));
        let once = self.distinct && reads.iter().all(by);
        Some(Grouping { columns, sorted: !self.grouped, once })
    }

    fn time_order(&self, schema: &TableSchema) -> Option<Order> {
        let descending = self.order.first()?.descending;
        // How much of (second, nanosecond, number) the columns so far fix.
        let mut fixed = 0;
        for by in &self.order {
            if fixed == 3 {
                break;
            }
            if by.descending != descending && !self.grouped {
                return None;
            }
            fixed = fixed.max(match part(schema, by.column?)? {
                Part::Seconds => 1,
                Part::Nanoseconds => 2,
                Part::Number if fixed == 2 => 3,
                Part::Number => return None,
            });
        }
        Some(if descending { Order::Descending } else { Order::Ascending })
    }
}

/// Whether SQLite asks a scan for hardly any columns but those grouped by.
fn covers(schema: &TableSchema, grouping: &Grouping, reads: &[usize], taken: &[Taken]) -> bool {
    let unchecked = |column: usize| {
        let of_column = taken.iter().filter(|taken| match taken.term {
            Term::Bound(bound, _) => column_index(schema, bound) == column,
            Term::Test(tested, _) => tested == column,
        });
        of_column.clone().next().is_some() && of_column.clone().all(|taken| taken.exact)
    };
    let by = |column: usize| grouping.columns.iter().any(|by| by.column == Some(column));
    reads.iter().all(|column| by(*column) || unchecked(*column))
}

/// A part of the order by time, then number.
enum Part {
    Seconds,
    Nanoseconds,
    Number,
}

fn part(schema: &TableSchema, column: usize) -> Option<Part> {
    match time_column(schema, column) {
        Some(TimeColumn::Seconds) => Some(Part::Seconds),
        Some(TimeColumn::Nanoseconds) => Some(Part::Nanoseconds),
        None => {
            let source = schema.columns.get(column)?.source;
            (source == ColumnSource::Computed(Computation::Eid)).then_some(Part::Number)
        }
    }
}

impl Shape {
    /// Whether SQLite's wish for an order is granted.
    pub(super) fn is_ordered(&self) -> bool {
        *self != Self::Any
    }

    /// The order in which the store's scan yields the rows.
    pub(super) const fn scanned(&self) -> Order {
        match self {
            Self::Any | Self::Grouped(_) => Order::Any,
            Self::Time(order) => *order,
        }
    }

    /// Appends the shape to a plan's text.
    pub(super) fn write(&self, schema: &TableSchema, text: &mut String) {
        match self {
            Self::Any | Self::Time(Order::Any) => {}
            Self::Time(Order::Ascending) => text.push_str(ASCENDING),
            Self::Time(Order::Descending) => text.push_str(DESCENDING),
            Self::Grouped(grouping) => {
                let known = GROUPINGS
                    .iter()
                    .find(|(_, sorted, once)| (*sorted, *once) == (grouping.sorted, grouping.once));
                text.push_str(known.map_or("", |(words, ..)| words));
                let columns: Vec<String> = grouping
                    .columns
                    .iter()
                    .map(|by| {
                        let direction = if by.descending { " DESC" } else { "" };
                        format!("{}{direction}", by.column.map_or("?", |index| name(schema, index)))
                    })
                    .collect();
                text.push_str(&columns.join(", "));
            }
        }
    }

    /// Takes the shape off the end of a plan's text.
    pub(super) fn parse<'a>(schema: &TableSchema, text: &'a str) -> Option<(&'a str, Self)> {
        if let Some(rest) = text.strip_suffix(DESCENDING) {
            return Some((rest, Self::Time(Order::Descending)));
        }
        if let Some(rest) = text.strip_suffix(ASCENDING) {
            return Some((rest, Self::Time(Order::Ascending)));
        }
        for (words, sorted, once) in GROUPINGS {
            if let Some((rest, columns)) = text.split_once(words) {
                let columns = columns.split(", ").map(|column| {
                    let (column, descending) = match column.strip_suffix(" DESC") {
                        Some(column) => (column, true),
                        None => (column, false),
                    };
                    Some(OrderedBy { column: Some(schema.column(column)?), descending })
                });
                let columns = columns.collect::<Option<_>>()?;
                return Some((rest, Self::Grouped(Grouping { columns, sorted, once })));
            }
        }
        Some((text, Self::Any))
    }
}
