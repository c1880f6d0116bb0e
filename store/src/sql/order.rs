//! In which order rows come, and which of SQLite's wishes for one a scan grants.
//!
//! Rows of a table of events come by time, then number, at little cost: segments are sorted so. That
//! order is also one by whole seconds, and in it equal times are adjacent, which is all that
//! `GROUP BY` and `DISTINCT` need.

use crate::Order;
use crate::schema::{ColumnSource, Computation, TableSchema};
use crate::sql::bounds::TimeColumn;
use crate::sql::plan::{Taken, time_column};

/// How rows come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Shape {
    /// In any order.
    #[default]
    Any,
    /// By time, then number.
    Time(Order),
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
    /// How many rows are likely to be wanted.
    pub(super) limit: Option<u64>,
}

const ASCENDING: &str = " BY TIME";
const DESCENDING: &str = " BY TIME DESC";

impl Wish {
    /// The shape that grants the wish for an order; [`Shape::Any`] when none does.
    pub(super) fn shape(&self, schema: &TableSchema, _reads: &[usize], _taken: &[Taken]) -> Shape {
        self.time_order(schema).map_or(Shape::Any, Shape::Time)
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
            Self::Any => Order::Any,
            Self::Time(order) => *order,
        }
    }

    /// Appends the shape to a plan's text.
    pub(super) fn write(&self, _schema: &TableSchema, text: &mut String) {
        match self {
            Self::Any | Self::Time(Order::Any) => {}
            Self::Time(Order::Ascending) => text.push_str(ASCENDING),
            Self::Time(Order::Descending) => text.push_str(DESCENDING),
        }
    }

    /// Takes the shape off the end of a plan's text.
    pub(super) fn parse<'a>(_schema: &TableSchema, text: &'a str) -> Option<(&'a str, Self)> {
        if let Some(rest) = text.strip_suffix(DESCENDING) {
            return Some((rest, Self::Time(Order::Descending)));
        }
        if let Some(rest) = text.strip_suffix(ASCENDING) {
            return Some((rest, Self::Time(Order::Ascending)));
        }
        Some((text, Self::Any))
    }
}
