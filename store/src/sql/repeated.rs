//! Scans of events that a statement repeats, such as the inner side of a join.
//!
//! From its third time on, a scan with the same plan is answered from rows kept in memory. What to
//! keep follows from how its arguments changed so far: those that did not change still narrow the
//! kept rows; those that did are looked up among them. When the range of time changes, as in a join
//! by nearness, rows of a window around it are kept: all times when there is room, else as large a
//! power of two of nanoseconds as fits, and the last few windows.
//!
//! **Invariant:** the kept rows have every row that the scan would yield.

use std::sync::Arc;

use rusqlite::types::{Value, ValueRef as SqlValue};

use crate::limits::{SCANS_BEFORE_KEEPING, WINDOWS_MAX};
use crate::sql::bounds::TimeRange;
use crate::sql::kept::Kept;

/// The right side of a term.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Argument {
    One(Value),
    /// The members of an `IN`.
    Many(Arc<[Value]>),
}

/// A value of SQLite's, owned. Text that is no UTF-8 becomes a blob: to every column here it is
/// as one, greater than all numbers and equal to nothing.
pub(super) fn owned(value: SqlValue<'_>) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Integer(integer) => Value::Integer(integer),
        SqlValue::Real(real) => Value::Real(real),
        SqlValue::Text(bytes) => std::str::from_utf8(bytes)
            .map_or_else(|_| Value::Blob(bytes.to_vec()), |text| Value::Text(text.to_owned())),
        SqlValue::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

impl Argument {
    /// The values, borrowed.
    pub(super) fn values(&self) -> Vec<SqlValue<'_>> {
        match self {
            Self::One(value) => vec![value.into()],
            Self::Many(values) => values.iter().map(SqlValue::from).collect(),
        }
    }
}

/// What a scan is asked for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) range: TimeRange,
    /// Per term of the plan that is no bound of the time.
    pub(super) arguments: Vec<Argument>,
}

/// Kept rows and what they were read for.
#[derive(Clone)]
pub(super) struct Near {
    pub(super) kept: Arc<Kept>,
    range: TimeRange,
    /// Whether the rows are in order of time, so that a part of the range can be found.
    by_time: bool,
    /// Per argument, what it was when rows were narrowed by it.
    fixed: Vec<Option<Argument>>,
    /// Memory that is counted for the rows, in bytes.
    bytes: usize,
}

impl Near {
    /// Memory that is counted for the rows and their indexes, in bytes.
    fn held(&self) -> usize {
        self.bytes + self.kept.index_bytes()
    }

    /// Whether the kept rows answer a request.
    pub(super) fn serves(&self, request: &Request) -> bool {
        let covers = self.by_time && self.range.covers(request.range);
        (covers || self.range == request.range)
            && self
                .fixed
                .iter()
                .zip(&request.arguments)
                .all(|(fixed, asked)| fixed.as_ref().is_none_or(|fixed| fixed == asked))
    }

    /// Whether a request's range may be a part of the kept one.
    pub(super) fn is_wider(&self, range: TimeRange) -> bool {
        self.range != range
    }

    /// Whether an argument is still to be looked for among the kept rows.
    pub(super) fn varies(&self, argument: usize) -> bool {
        self.fixed.get(argument).is_none_or(Option::is_none)
    }
}

/// What to read to answer a scan from kept rows.
#[derive(Debug)]
pub(super) struct Keep {
    pub(super) range: TimeRange,
    /// Per argument, its value when it narrows the rows.
    pub(super) fixed: Vec<Option<Argument>>,
    /// Whether other ranges will be asked of the rows.
    pub(super) by_time: bool,
}

/// How a scan is to be answered.
pub(super) enum Answer {
    /// From the store.
    Scan,
    /// From these rows.
    Kept(Near),
    /// From rows to be read for it.
    Keep(Keep),
}

/// A scan that can be repeated.
pub(super) struct Repeated {
    times: u32,
    range: TimeRange,
    range_varies: bool,
    /// Per argument, its value as long as that did not change.
    fixed: Vec<Option<Argument>>,
    near: Vec<Near>,
    /// Whether the rows do not fit into memory.
    too_large: bool,
}

impl Repeated {
    /// At the first time.
    pub(super) fn first(request: &Request) -> Self {
        Self {
            times: 1,
            range: request.range,
            range_varies: false,
            fixed: request.arguments.iter().cloned().map(Some).collect(),
            near: Vec::new(),
            too_large: false,
        }
    }

    /// At a further time. `rows` estimates the rows in a range, of which `rows_max` fit.
    pub(super) fn again(
        &mut self,
        request: &Request,
        rows: impl Fn(TimeRange) -> u64,
        rows_max: u64,
    ) -> Answer {
        self.times = self.times.saturating_add(1);
        self.range_varies |= self.range != request.range;
        for (fixed, asked) in self.fixed.iter_mut().zip(&request.arguments) {
            if fixed.as_ref().is_some_and(|fixed| fixed != asked) {
                *fixed = None;
            }
        }
        if let Some(near) = self.near.iter().find(|near| near.serves(request)) {
            return Answer::Kept(near.clone());
        }
        if self.too_large || self.times <= SCANS_BEFORE_KEEPING {
            return Answer::Scan;
        }
        let by_time = self.range_varies;
        let range = if by_time { window(request.range, rows, rows_max) } else { request.range };
        Answer::Keep(Keep { range, fixed: self.fixed.clone(), by_time })
    }

    /// Keeps rows; gives the memory back, in bytes, that others held.
    pub(super) fn keep(&mut self, kept: Arc<Kept>, keep: Keep, bytes: usize) -> (Near, usize) {
        let Keep { range, fixed, by_time } = keep;
        let near = Near { kept, range, by_time, fixed, bytes };
        let mut freed =
            self.forget(|other| other.fixed != near.fixed || other.by_time != near.by_time);
        while self.near.len() >= WINDOWS_MAX {
            freed += self.near.remove(0).held();
        }
        self.near.push(near.clone());
        (near, freed)
    }

    /// Lets all kept rows go; gives back their memory in bytes.
    pub(super) fn let_go(&mut self) -> usize {
        self.forget(|_| true)
    }

    fn forget(&mut self, what: impl Fn(&Near) -> bool) -> usize {
        let freed = self.near.iter().filter(|near| what(near)).map(Near::held).sum();
        self.near.retain(|near| !what(near));
        freed
    }

    /// Notes that the rows do not fit.
    pub(super) const fn refuse(&mut self) {
        self.too_large = true;
    }
}

/// All times, or the largest aligned window around a range that has at most so many rows; the range
/// itself when none has.
fn window(range: TimeRange, rows: impl Fn(TimeRange) -> u64, rows_max: u64) -> TimeRange {
    if rows(TimeRange::ALL) <= rows_max {
        return TimeRange::ALL;
    }
    // From about nine years down to a second.
    let windows = (30..=58).rev().step_by(2).map(|bits| aligned(range, bits));
    windows.into_iter().find(|window| rows(*window) <= rows_max).unwrap_or(range)
}

fn aligned(range: TimeRange, bits: u32) -> TimeRange {
    let below = (1_i64 << bits) - 1;
    TimeRange { min: range.min & !below, max: range.max | below }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(min: i64, max: i64, arguments: &[i64]) -> Request {
        let arguments = arguments.iter().map(|value| Argument::One(Value::Integer(*value)));
        Request { range: TimeRange { min, max }, arguments: arguments.collect() }
    }

    fn again(repeated: &mut Repeated, request: &Request) -> Answer {
        repeated.again(request, |_| 0, 1)
    }

    #[test]
    fn what_changes_is_looked_up_and_the_rest_narrows() {
        let mut repeated = Repeated::first(&request(0, 9, &[1, 7]));
        assert!(matches!(again(&mut repeated, &request(0, 9, &[2, 7])), Answer::Scan));
        let Answer::Keep(keep) = again(&mut repeated, &request(0, 9, &[3, 7])) else {
            panic!("the third time")
        };
        assert_eq!(keep.range, TimeRange { min: 0, max: 9 });
        let seven = Some(Argument::One(Value::Integer(7)));
        assert_eq!(keep.fixed, [None, seven.clone()]);
        let kept = Arc::new(Kept::new(Vec::new()));
        let (near, freed) = repeated.keep(kept, keep, 100);
        assert_eq!(freed, 0);
        assert!(near.varies(0) && !near.varies(1));
        assert!(matches!(again(&mut repeated, &request(0, 9, &[4, 7])), Answer::Kept(_)));
        let Answer::Keep(keep) = again(&mut repeated, &request(0, 9, &[4, 8])) else {
            panic!("the second argument changed")
        };
        assert_eq!(keep.fixed, [None, None]);
        let (_, freed) = repeated.keep(Arc::new(Kept::new(Vec::new())), keep, 50);
        assert_eq!(freed, 100, "rows for the old value are let go");
    }

    #[test]
    fn a_moving_range_is_kept_in_windows() {
        let mut repeated = Repeated::first(&request(0, 9, &[]));
        repeated.again(&request(1, 10, &[]), |_| 0, 1);
        let rows = |range: TimeRange| {
            u64::try_from((i128::from(range.max) - i128::from(range.min)) >> 40).unwrap()
        };
        let mut windows = Vec::new();
        let narrower = request(2, 5, &[]);
        let whole = Keep { range: TimeRange { min: 0, max: 9 }, fixed: Vec::new(), by_time: false };
        let (near, _) = repeated.keep(Arc::new(Kept::new(Vec::new())), whole, 1);
        assert!(!near.serves(&narrower), "its rows are in no order");
        for start in [1 << 50, (1 << 50) + 5, 1 << 51] {
            let request = request(start, start + 9, &[]);
            match repeated.again(&request, rows, 1000) {
                Answer::Keep(keep) => {
                    assert!(keep.by_time && keep.range.covers(request.range));
                    assert!(rows(keep.range) <= 1000 && rows(keep.range) >= 200);
                    windows.push(keep.range);
                    repeated.keep(Arc::new(Kept::new(Vec::new())), keep, 1);
                }
                Answer::Kept(near) => assert!(near.is_wider(request.range)),
                Answer::Scan => panic!("too early for a scan"),
            }
        }
        assert_eq!(windows.len(), 2, "the second lies in the first's window");
        assert_eq!(window(TimeRange { min: 3, max: 5 }, |_| 9, 1), TimeRange { min: 3, max: 5 });
    }
}
