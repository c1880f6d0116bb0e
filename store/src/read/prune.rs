//! Leaving out row groups and pages that hold no row a scan wants, by what the file says of them.
//!
//! What a file says of text may be cut: its smallest value is then at least what is said, and its
//! largest at most. So every comparison here asks only whether a value *could* lie within.
//!
//! **Invariant:** a row group or page is left out only when no row of it passes.

use std::ops::{Bound, Range};

use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;

use crate::guard::Unreadable;
use crate::read::predicate::{Check, Predicate};
use crate::read::segment::{OpenSegment, Pages};
use crate::schema::ColumnType;

/// Values of a bloom filter's column that are asked for one by one; with more, most filters would
/// let one through.
const BLOOM_VALUES_MAX: usize = 64;

/// A predicate on a column that a segment has.
pub(super) struct Tested<'a> {
    pub(super) predicate: &'a Predicate,
    pub(super) column_type: ColumnType,
    /// The column's index in the file.
    pub(super) column: usize,
}

/// What is known of some values.
struct Known<'a> {
    rows: u64,
    nulls: Option<u64>,
    bounds: Bounds<'a>,
}

/// At least and at most.
enum Bounds<'a> {
    Unknown,
    Integers(i64, i64),
    Texts(&'a [u8], &'a [u8]),
}

impl Tested<'_> {
    /// Whether a row of a row group can pass by its statistics.
    pub(super) fn may_pass(&self, chunk: &ColumnChunkMetaData) -> bool {
        let rows = u64::try_from(chunk.num_values()).unwrap_or(u64::MAX);
        let statistics = chunk.statistics();
        let bounds = statistics.map_or(Bounds::Unknown, |statistics| self.bounds(statistics));
        let nulls = statistics.and_then(Statistics::null_count_opt);
        self.holds_of(&Known { rows, nulls, bounds })
    }

    /// Whether a row of a row group can pass by its bloom filter.
    pub(super) fn may_be_in(
        &self,
        segment: &OpenSegment,
        group: usize,
    ) -> Result<bool, Unreadable> {
        let count = match &self.predicate.check {
            Check::Integers(integers) => integers.len(),
            Check::Texts(texts) => texts.len(),
            _ => return Ok(true),
        };
        if count > BLOOM_VALUES_MAX {
            return Ok(true);
        }
        let Some(bloom) = segment.bloom(group, self.column)? else {
            return Ok(true);
        };
        let integer = |value: i64| match self.column_type {
            ColumnType::U32 => {
                u32::try_from(value).is_ok_and(|value| bloom.check(&value.cast_signed()))
            }
            ColumnType::I32 => i32::try_from(value).is_ok_and(|value| bloom.check(&value)),
            ColumnType::I64 | ColumnType::U64 => bloom.check(&value),
            _ => true,
        };
        Ok(match &self.predicate.check {
            Check::Integers(integers) => integers.iter().any(|value| integer(*value)),
            Check::Texts(texts) => texts.iter().any(|text| bloom.check(&**text)),
            _ => true,
        })
    }

    /// The rows of a row group whose pages can hold one that passes, ascending.
    pub(super) fn rows(&self, pages: &Pages) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for (index, rows) in pages.rows.iter().enumerate() {
            if !self.holds_of(&self.page(&pages.index, index, rows.len() as u64)) {
                continue;
            }
            match found.last_mut() {
                Some(last) if last.end == rows.start => last.end = rows.end,
                _ => found.push(rows.clone()),
            }
        }
        found
    }

    fn page<'a>(&self, index: &'a ColumnIndexMetaData, page: usize, rows: u64) -> Known<'a> {
        let nulls = index.null_count(page).and_then(|nulls| u64::try_from(nulls).ok());
        let bounds = match index {
            _ if index.is_null_page(page) => Bounds::Unknown,
            ColumnIndexMetaData::BOOLEAN(index) => {
                integers(index.min_value(page), index.max_value(page), |value| i64::from(*value))
            }
            ColumnIndexMetaData::INT32(index) => {
                self.int32(index.min_value(page).copied(), index.max_value(page).copied())
            }
            ColumnIndexMetaData::INT64(index) => {
                self.int64(index.min_value(page).copied(), index.max_value(page).copied())
            }
            ColumnIndexMetaData::BYTE_ARRAY(index) => {
                texts(index.min_value(page), index.max_value(page))
            }
            _ => Bounds::Unknown,
        };
        let nulls = if index.is_null_page(page) { Some(rows) } else { nulls };
        Known { rows, nulls, bounds }
    }

    fn bounds<'a>(&self, statistics: &'a Statistics) -> Bounds<'a> {
        // The old fields of a foreign file have an order of their own.
        if statistics.is_min_max_deprecated() {
            return Bounds::Unknown;
        }
        match statistics {
            Statistics::Boolean(of) => {
                integers(of.min_opt(), of.max_opt(), |value| i64::from(*value))
            }
            Statistics::Int32(of) => self.int32(of.min_opt().copied(), of.max_opt().copied()),
            Statistics::Int64(of) => self.int64(of.min_opt().copied(), of.max_opt().copied()),
            Statistics::ByteArray(_) => {
                texts(statistics.min_bytes_opt(), statistics.max_bytes_opt())
            }
            _ => Bounds::Unknown,
        }
    }

    fn int32<'a>(&self, min: Option<i32>, max: Option<i32>) -> Bounds<'a> {
        let unsigned = self.column_type == ColumnType::U32;
        let value = |value: &i32| match unsigned {
            true => i64::from(value.cast_unsigned()),
            false => i64::from(*value),
        };
        integers(min.as_ref(), max.as_ref(), value)
    }

    fn int64<'a>(&self, min: Option<i64>, max: Option<i64>) -> Bounds<'a> {
        match (min, max) {
            // In two's complement, numbers on both sides of 2^63 have no order that helps.
            (Some(min), Some(max))
                if self.column_type == ColumnType::U64 && min >= 0 && max < 0 =>
            {
                Bounds::Unknown
            }
            (min, max) => integers(min.as_ref(), max.as_ref(), |value| *value),
        }
    }

    fn holds_of(&self, known: &Known<'_>) -> bool {
        let has_values = known.nulls.is_none_or(|nulls| nulls < known.rows);
        match &self.predicate.check {
            // A number that is none (NaN) is null to SQL and not to the file.
            Check::Null => self.column_type == ColumnType::F64 || known.nulls != Some(0),
            Check::NotNull => has_values,
            check => has_values && may_lie_within(check, &known.bounds),
        }
    }
}

fn integers<'a, T>(min: Option<&T>, max: Option<&T>, value: impl Fn(&T) -> i64) -> Bounds<'a> {
    match (min, max) {
        (Some(min), Some(max)) => Bounds::Integers(value(min), value(max)),
        _ => Bounds::Unknown,
    }
}

const fn texts<'a>(min: Option<&'a [u8]>, max: Option<&'a [u8]>) -> Bounds<'a> {
    match (min, max) {
        (Some(min), Some(max)) => Bounds::Texts(min, max),
        _ => Bounds::Unknown,
    }
}

/// Whether a value within the bounds can pass.
fn may_lie_within(check: &Check, bounds: &Bounds<'_>) -> bool {
    match (check, bounds) {
        (Check::Integers(wanted), Bounds::Integers(min, max)) => {
            let at = wanted.partition_point(|value| value < min);
            wanted.get(at).is_some_and(|value| value <= max)
        }
        (Check::IntegerRange(from, to), Bounds::Integers(min, max)) => {
            from <= to && from <= max && to >= min
        }
        (Check::Texts(wanted), Bounds::Texts(min, max)) => {
            let at = wanted.partition_point(|text| text.as_bytes() < *min);
            wanted.get(at).is_some_and(|text| text.as_bytes() <= *max)
        }
        (Check::TextRange(from, to), Bounds::Texts(min, max)) => {
            let above = match from {
                Bound::Included(from) => from.as_bytes() <= *max,
                Bound::Excluded(from) => from.as_bytes() < *max,
                Bound::Unbounded => true,
            };
            let below = match to {
                Bound::Included(to) => to.as_bytes() >= *min,
                Bound::Excluded(to) => to.as_bytes() > *min,
                Bound::Unbounded => true,
            };
            above && below
        }
        (Check::Pattern(pattern), Bounds::Texts(min, max)) => {
            may_begin_with(pattern.prefix(), min, max)
        }
        (Check::BootPrefix(prefix), Bounds::Texts(min, max)) => {
            let digits: String = prefix.iter().map(|byte| format!("{byte:02x}")).collect();
            may_begin_with(digits.as_bytes(), min, max)
        }
        _ => true,
    }
}

/// Whether an integer from `min` to `max` can pass.
pub(super) fn integer_may_pass(check: &Check, min: i64, max: i64) -> bool {
    match check {
        Check::Null => false,
        check => may_lie_within(check, &Bounds::Integers(min, max)),
    }
}

/// Whether a text from `min` to `max` can begin with a prefix.
fn may_begin_with(prefix: &[u8], min: &[u8], max: &[u8]) -> bool {
    prefix <= max && (min <= prefix || min.starts_with(prefix))
}

/// The rows that are in both lists, each ascending.
pub(super) fn intersection(left: &[Range<usize>], right: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut both = Vec::new();
    let (mut left, mut right) = (left.iter(), right.iter());
    let mut pair = left.next().zip(right.next());
    while let Some((one, other)) = pair {
        let common = one.start.max(other.start)..one.end.min(other.end);
        if !common.is_empty() {
            both.push(common);
        }
        pair = match one.end <= other.end {
            true => left.next().map(|next| (next, other)),
            false => right.next().map(|next| (one, next)),
        };
    }
    both
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = Vec<Range<usize>>> {
        prop::collection::btree_set(0usize..60, 0..12).prop_map(|edges| {
            let edges: Vec<usize> = edges.into_iter().collect();
            edges.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect()
        })
    }

    proptest! {
        #[test]
        fn an_intersection_holds_what_both_hold(left in ranges(), right in ranges()) {
            let both: Vec<usize> = intersection(&left, &right).into_iter().flatten().collect();
            let within = |ranges: &[Range<usize>], row: &usize| {
                ranges.iter().any(|range| range.contains(row))
            };
            let expected: Vec<usize> =
                (0..60).filter(|row| within(&left, row) && within(&right, row)).collect();
            prop_assert_eq!(both, expected);
        }

        /// The bounds that a file keeps of a text may be any beginning of the smallest, and any
        /// larger text than the largest.
        #[test]
        fn cut_bounds_leave_nothing_out(text in "[ab]{0,6}", cut in 0usize..7, prefix in "[ab]{0,6}") {
            let min = &text.as_bytes()[..cut.min(text.len())];
            let mut max = min.to_vec();
            match max.pop() {
                Some(last) => max.push(last + 1),
                None => max = text.as_bytes().to_vec(),
            }
            prop_assert!(may_begin_with(prefix.as_bytes(), min, &max) || !text.starts_with(&prefix));
            let texts = Bounds::Texts(min, &max);
            prop_assert!(may_lie_within(&Check::Texts(vec![text.clone().into()]), &texts));
            let from = Bound::Included(text.clone().into());
            let to = Bound::Included(text.as_str().into());
            prop_assert!(may_lie_within(&Check::TextRange(from, to), &texts));
        }
    }
}
