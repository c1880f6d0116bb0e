//! What a plan costs, in bytes to decode.
//!
//! The bytes are those of the files and frames that overlap the range of time as far as it is known,
//! less the share of columns that are not read. What a term leaves of the rows is a guess; what
//! matters is the order of the guesses: a look-up by number, then an equality, then a list, then
//! everything else. An equality whose value only the scan's beginning brings is repeated, and then
//! answered from an index.

use rusqlite::types::ValueRef;

use crate::schema::{ColumnSource, Computation, TableSchema};
use crate::sql::operator::Operator;
use crate::sql::plan::{Offer, Plan, Taken, Term, constant_range};
use crate::sql::statement::Context;
use crate::sql::walk::Shown;

/// Rows that a state table is taken to have before it is read.
const STATE_ROWS: f64 = 1000.0;

/// Bytes that a row of a state table is taken to cost.
const STATE_ROW_BYTES: f64 = 256.0;

/// Rows that a table of events is taken to have when the store cannot be read.
const UNKNOWN_ROWS: f64 = 1e6;

/// Rows and bytes of a plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Rows that it yields.
    pub(super) rows: f64,
    /// What it takes, in bytes to decode.
    pub(super) bytes: f64,
}

/// What a term leaves of the rows and of the bytes.
#[derive(Clone, Copy)]
struct Share {
    rows: f64,
    bytes: f64,
}

/// The cost of a plan.
pub(super) fn estimate(
    shown: Shown,
    context: &Context,
    plan: &Plan,
    offers: &[Offer],
    taken: &[Taken],
) -> Cost {
    let schema = shown.schema();
    let mut cost = match shown {
        Shown::State(_) => Cost { rows: STATE_ROWS, bytes: STATE_ROWS * STATE_ROW_BYTES },
        Shown::Events(_) => of_events(context, schema, offers, taken),
    };
    #[expect(clippy::cast_precision_loss, reason = "columns are few")]
    let columns = (plan.reads.len() + 1) as f64 / (schema.columns.len() + 1) as f64;
    cost.bytes *= columns;
    for taken in taken {
        let constant = offers.get(taken.offer).is_some_and(|offer| offer.constant.is_some());
        let share = share(schema, taken.term, constant);
        cost.rows *= share.rows;
        cost.bytes *= share.bytes;
    }
    Cost { rows: cost.rows.max(1.0), bytes: cost.bytes + cost.rows + 1.0 }
}

fn share(schema: &TableSchema, term: Term, constant: bool) -> Share {
    match term {
        // The bytes of a range that is known are counted already: all of a frame or row group is
        // decoded, few of its rows are in range.
        Term::Bound(_, operator) => match (operator.is_equality(), constant) {
            (true, true) => Share { rows: 1e-3, bytes: 1.0 },
            (true, false) => Share { rows: 1e-3, bytes: 1e-3 },
            (false, true) => Share { rows: 1.0, bytes: 1.0 },
            (false, false) => Share { rows: 0.25, bytes: 0.25 },
        },
        Term::Test(column, Operator::Equal | Operator::Is) if is_number(schema, column) => {
            Share { rows: 1e-7, bytes: 1e-5 }
        }
        Term::Test(_, Operator::Equal | Operator::Is) => Share { rows: 1e-3, bytes: 1e-3 },
        Term::Test(_, Operator::In) => Share { rows: 1e-2, bytes: 1e-2 },
        Term::Test(_, Operator::IsNotNull) => Share { rows: 0.9, bytes: 1.0 },
        Term::Test(..) => Share { rows: 0.25, bytes: 0.5 },
    }
}

/// Whether a column names each row.
fn is_number(schema: &TableSchema, column: usize) -> bool {
    let source = schema.columns.get(column).map(|column| column.source);
    source == Some(ColumnSource::Computed(Computation::Eid))
}

fn of_events(
    context: &Context,
    schema: &'static TableSchema,
    offers: &[Offer],
    taken: &[Taken],
) -> Cost {
    let range = constant_range(offers, taken).unwrap_or(crate::sql::bounds::TimeRange::ALL);
    if range.is_empty() {
        return Cost { rows: 0.0, bytes: 0.0 };
    }
    // A store that cannot be read is an error once it is read; a plan alone needs none.
    let Ok(snapshot) = context.snapshot(schema.name) else {
        return Cost { rows: UNKNOWN_ROWS, bytes: UNKNOWN_ROWS };
    };
    let estimate = snapshot.estimate(schema, &range.inclusive());
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    Cost { rows: estimate.rows as f64, bytes: estimate.bytes as f64 }
}

/// Whether a constant is text that is not compared with times, and with which column it is.
pub(super) fn not_a_time<'a>(offers: &'a [Offer], taken: &[Taken]) -> Option<(Term, ValueRef<'a>)> {
    taken.iter().find_map(|taken| {
        let Term::Bound(column, operator) = taken.term else { return None };
        let value = offers.get(taken.offer)?.constant.as_ref()?.into();
        let narrowed = crate::sql::bounds::TimeRange::ALL.narrow(column, operator, value);
        narrowed.is_none().then_some((taken.term, value))
    })
}
