//! Time bounds: from a comparison with `time` or `time_ns` to a range of nanoseconds.
//!
//! SQLite hands over the right side of a comparison as it stands: it applies no affinity. Both
//! columns have integer affinity, so text that reads as a number counts as that number, and
//! integers compare with reals exactly. `time` is `time_ns` rounded down to whole seconds, which
//! makes its comparisons these, with G = 10⁹ and `s` a whole number:
//!
//! | `time` | `time_ns` |
//! | --- | --- |
//! | `= s`, `IS s` | `>= s·G` and `<= s·G + G − 1` |
//! | `> s` | `>= (s + 1)·G` |
//! | `>= s` | `>= s·G` |
//! | `< s` | `<= s·G − 1` |
//! | `<= s` | `<= s·G + G − 1` |
//!
//! The rounding is towards minus infinity, so the table also holds before 1970.
//!
//! A blob is greater than every time. Text that is no number is too, which nobody who writes
//! `time > 'yesterday'` wants to know; it is refused, in words that say what to write. So is text
//! that reads as a number of which the last bit is uncertain.
//!
//! **Invariant:** a range holds exactly the times for which the comparison is true.

use std::ops::RangeInclusive;

use rusqlite::types::ValueRef;

use crate::sql::operator::Operator;

/// Nanoseconds in a second.
pub(super) const SECOND_NS: i64 = 1_000_000_000;

/// Reals from here on are not told apart from their neighbours by every decimal spelling.
const EXACT_REAL_MAX: f64 = 9_007_199_254_740_992.0;

/// A column that a bound is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TimeColumn {
    /// Whole seconds.
    Seconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// The times that are left, in nanoseconds; empty when `min > max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeRange {
    pub(super) min: i64,
    pub(super) max: i64,
}

impl TimeRange {
    /// All times.
    pub(super) const ALL: Self = Self { min: i64::MIN, max: i64::MAX };

    /// No time.
    const EMPTY: Self = Self { min: i64::MAX, max: i64::MIN };

    pub(super) const fn is_empty(self) -> bool {
        self.min > self.max
    }

    pub(super) const fn inclusive(self) -> RangeInclusive<i64> {
        self.min..=self.max
    }

    /// What is left when `column operator value` holds; `None` when the value is text that is not
    /// compared with times.
    pub(super) fn narrow(
        self,
        column: TimeColumn,
        operator: Operator,
        value: ValueRef<'_>,
    ) -> Option<Self> {
        let bounds = match value {
            ValueRef::Null => return Some(Self::EMPTY),
            ValueRef::Integer(integer) => whole(operator, integer.into()),
            ValueRef::Real(real) => fraction(operator, real),
            ValueRef::Text(text) => match number(text)? {
                Number::Integer(integer) => whole(operator, integer.into()),
                Number::Real(real) => fraction(operator, real),
            },
            ValueRef::Blob(_) => match operator {
                Operator::Less | Operator::LessOrEqual => return Some(self),
                _ => return Some(Self::EMPTY),
            },
        };
        let Some((min, max)) = bounds else {
            return Some(Self::EMPTY);
        };
        Some(match column {
            TimeColumn::Nanoseconds => self.intersect(min, max),
            TimeColumn::Seconds => {
                let second = i128::from(SECOND_NS);
                let max = max.map(|max| max * second + (second - 1));
                self.intersect(min.map(|min| min * second), max)
            }
        })
    }

    /// Whether it has every time of the other.
    pub(super) const fn covers(self, other: Self) -> bool {
        self.min <= other.min && other.max <= self.max
    }

    fn intersect(self, min: Option<i128>, max: Option<i128>) -> Self {
        let min = min.map_or(i128::from(self.min), |min| min.max(self.min.into()));
        let max = max.map_or(i128::from(self.max), |max| max.min(self.max.into()));
        // Both fit once each lies between the other side's bounds.
        match (i64::try_from(min), i64::try_from(max)) {
            (Ok(min), Ok(max)) if min <= max => Self { min, max },
            _ => Self::EMPTY,
        }
    }
}

/// Least and greatest whole number for which a comparison holds; `None` as a bound is infinite.
type Bounds = (Option<i128>, Option<i128>);

/// The range of whole numbers in which a comparison with `value` holds.
pub(super) fn whole(operator: Operator, value: i128) -> Option<Bounds> {
    match operator {
        Operator::Equal | Operator::Is => Some((Some(value), Some(value))),
        Operator::Greater => Some((Some(value + 1), None)),
        Operator::GreaterOrEqual => Some((Some(value), None)),
        Operator::Less => Some((None, Some(value - 1))),
        Operator::LessOrEqual => Some((None, Some(value))),
        Operator::In | Operator::Like | Operator::Glob | Operator::IsNull | Operator::IsNotNull => {
            Some((None, None))
        }
    }
}

/// Likewise for a real; `None` when no whole number satisfies the comparison.
pub(super) fn fraction(operator: Operator, value: f64) -> Option<Bounds> {
    if value.is_nan() {
        return None;
    }
    // Far above every i64 already; keeps the products with a second within an i128.
    const FAR: f64 = 1e27;
    let value = value.clamp(-FAR, FAR);
    #[expect(clippy::cast_possible_truncation, reason = "clamped to far within an i128")]
    let (floor, ceil) = (value.floor() as i128, value.ceil() as i128);
    match operator {
        Operator::Equal | Operator::Is if floor != ceil => None,
        Operator::Equal | Operator::Is => whole(operator, floor),
        Operator::Greater | Operator::LessOrEqual => whole(operator, floor),
        Operator::GreaterOrEqual | Operator::Less => whole(operator, ceil),
        _ => whole(operator, 0),
    }
}

/// What text is under integer affinity.
#[derive(Debug, PartialEq)]
pub(super) enum Number {
    Integer(i64),
    Real(f64),
}

/// Reads text as SQLite's numeric affinity does; `None` when it is no number, or one whose last
/// bit might be read differently.
pub(super) fn number(text: &[u8]) -> Option<Number> {
    let text = std::str::from_utf8(text).ok()?;
    let text =
        text.trim_matches(|letter| matches!(letter, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r'));
    let plain =
        text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    if !plain {
        return None;
    }
    if let Ok(integer) = text.parse() {
        return Some(Number::Integer(integer));
    }
    let real: f64 = text.parse().ok()?;
    (real.abs() < EXACT_REAL_MAX).then_some(Number::Real(real))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holds(left: i64, operator: Operator, value: ValueRef<'_>) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = match value {
            ValueRef::Integer(right) => left.cmp(&right),
            ValueRef::Real(right) if right >= 9.3e18 => Less,
            ValueRef::Real(right) if right <= -9.3e18 => Greater,
            // Exact: neither side is rounded.
            ValueRef::Real(right) => {
                let (left, whole) = (i128::from(left), right.floor() as i128);
                left.cmp(&whole).then(if right.fract() == 0.0 { Equal } else { Less })
            }
            _ => return false,
        };
        match operator {
            Operator::Equal | Operator::Is => order == Equal,
            Operator::Greater => order == Greater,
            Operator::GreaterOrEqual => order != Less,
            Operator::Less => order == Less,
            Operator::LessOrEqual => order != Greater,
            _ => unreachable!("no comparison"),
        }
    }

    fn edges() -> impl Strategy<Value = i64> {
        let near = |middle: i64| (-2..=2_i64).prop_map(move |step| middle.saturating_add(step));
        prop_oneof![
            near(0),
            near(SECOND_NS),
            near(-SECOND_NS),
            near(-7 * SECOND_NS),
            near(i64::MAX),
            near(i64::MIN),
            any::<i64>(),
        ]
    }

    fn seconds_edges() -> impl Strategy<Value = i64> {
        prop_oneof![
            -9..=9_i64,
            edges(),
            (-2..=2_i64).prop_map(|step| i64::MAX / SECOND_NS + step),
            (-2..=2_i64).prop_map(|step| i64::MIN / SECOND_NS + step),
        ]
    }

    fn reals() -> impl Strategy<Value = f64> {
        prop_oneof![
            (-40..=40_i32).prop_map(|quarters| f64::from(quarters) / 4.0),
            edges().prop_map(|edge| edge as f64),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(1e300),
            Just(-1e300),
        ]
    }

    fn operator() -> impl Strategy<Value = Operator> {
        prop::sample::select(&Operator::ALL[..6])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn nanoseconds_by_integer(time_ns in edges(), operator in operator(), right in edges()) {
            let value = ValueRef::Integer(right);
            let range = TimeRange::ALL.narrow(TimeColumn::Nanoseconds, operator, value).unwrap();
            prop_assert_eq!(range.inclusive().contains(&time_ns), holds(time_ns, operator, value));
        }

        #[test]
        fn nanoseconds_by_real(time_ns in edges(), operator in operator(), right in reals()) {
            let value = ValueRef::Real(right);
            let range = TimeRange::ALL.narrow(TimeColumn::Nanoseconds, operator, value).unwrap();
            prop_assert_eq!(range.inclusive().contains(&time_ns), holds(time_ns, operator, value));
        }

        #[test]
        fn seconds_by_integer(time_ns in edges(), operator in operator(), right in seconds_edges()) {
            let (seconds, value) = (time_ns.div_euclid(SECOND_NS), ValueRef::Integer(right));
            let range = TimeRange::ALL.narrow(TimeColumn::Seconds, operator, value).unwrap();
            prop_assert_eq!(range.inclusive().contains(&time_ns), holds(seconds, operator, value));
        }

        #[test]
        fn seconds_by_real(time_ns in edges(), operator in operator(), right in reals()) {
            let (seconds, value) = (time_ns.div_euclid(SECOND_NS), ValueRef::Real(right));
            let range = TimeRange::ALL.narrow(TimeColumn::Seconds, operator, value).unwrap();
            prop_assert_eq!(range.inclusive().contains(&time_ns), holds(seconds, operator, value));
        }
    }

    fn seconds(operator: Operator, value: ValueRef<'_>) -> (i64, i64) {
        let range = TimeRange::ALL.narrow(TimeColumn::Seconds, operator, value).unwrap();
        (range.min, range.max)
    }

    #[test]
    fn the_rounding_table() {
        let five = ValueRef::Integer(5);
        assert_eq!(seconds(Operator::Equal, five), (5_000_000_000, 5_999_999_999));
        assert_eq!(seconds(Operator::Is, five), (5_000_000_000, 5_999_999_999));
        assert_eq!(seconds(Operator::Greater, five), (6_000_000_000, i64::MAX));
        assert_eq!(seconds(Operator::GreaterOrEqual, five), (5_000_000_000, i64::MAX));
        assert_eq!(seconds(Operator::Less, five), (i64::MIN, 4_999_999_999));
        assert_eq!(seconds(Operator::LessOrEqual, five), (i64::MIN, 5_999_999_999));
        let before_1970 = ValueRef::Integer(-1);
        assert_eq!(seconds(Operator::Equal, before_1970), (-1_000_000_000, -1));
        assert_eq!(seconds(Operator::Less, before_1970), (i64::MIN, -1_000_000_001));
    }

    #[test]
    fn other_types() {
        assert_eq!(
            seconds(Operator::Equal, ValueRef::Text(b" 5 ")),
            (5_000_000_000, 5_999_999_999)
        );
        assert_eq!(seconds(Operator::Greater, ValueRef::Text(b"4.5")), (5_000_000_000, i64::MAX));
        assert_eq!(seconds(Operator::Less, ValueRef::Text(b"5e0")), (i64::MIN, 4_999_999_999));
        assert_eq!(seconds(Operator::Less, ValueRef::Blob(b"5")), (i64::MIN, i64::MAX));
        let narrow = |operator, value| TimeRange::ALL.narrow(TimeColumn::Seconds, operator, value);
        for (operator, value) in [
            (Operator::Is, ValueRef::Null),
            (Operator::Equal, ValueRef::Real(5.5)),
            (Operator::Greater, ValueRef::Blob(b"5")),
        ] {
            assert!(narrow(operator, value).unwrap().is_empty(), "{operator:?} {value:?}");
        }
        assert_eq!(narrow(Operator::Less, ValueRef::Text(b"yesterday")), None);
    }

    #[test]
    fn text_as_a_number() {
        assert_eq!(number(b"-9223372036854775808"), Some(Number::Integer(i64::MIN)));
        assert_eq!(number(b"9223372036854775808"), None, "beyond exact reals");
        assert_eq!(number(b"+7"), Some(Number::Integer(7)));
        assert_eq!(number(b".5"), Some(Number::Real(0.5)));
        for other in [&b""[..], b"0x10", b"inf", b"nan", b"1 2", b"1_000", b"\xff", b"--1"] {
            assert_eq!(number(other), None);
        }
    }
}
