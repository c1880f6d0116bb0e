//! From a comparison on a column that is not the time to filters of the store's scan.
//!
//! SQLite hands over the right side of a comparison as it stands. Before it compares, it applies
//! an affinity that depends on both sides: beside an integer column, text that reads as a number
//! becomes one; beside a text column, a number without affinity becomes text, and one with numeric
//! affinity makes a number of the column. Which of the two it is, is not told. So:
//!
//! | column | value | taken as |
//! | --- | --- | --- |
//! | integer | integer, real, text that is a number | exactly those integers |
//! | text | text that is no number | exactly those texts, by their bytes |
//! | guid | any | exactly the process that the text names; none for other values |
//! | boot id | text that is no number | exactly that boot |
//! | any | null | no row, but with `IS` |
//! | | all others | every row: SQLite decides |
//!
//! **Invariant:** the filters pass every row for which the comparison is true. Where
//! [`Tested::exact`] says so they pass no other.

use std::ops::Bound;

use rusqlite::types::ValueRef as SqlValue;

use crate::schema::{ColumnSource, ColumnType, Computation, TableSchema};
use crate::sql::bounds::{Number, fraction, number, whole};
use crate::sql::operator::Operator;
use crate::sql::rows::{Key, KeyKind, Wanted};
use crate::{Filter, FilterColumn, Test};

/// Bytes of a pattern that is taken over; SQLite refuses `LIKE` with more than 50,000.
const PATTERN_BYTES_MAX: usize = 10_000;

/// How a column is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer(FilterColumn),
    Text(usize),
    /// Of the stored columns of a process id and a start.
    Guid {
        pid: usize,
        start_ns: usize,
    },
    BootId,
    /// Bytes, of which only null is told apart.
    Blob(usize),
    /// An integer that is not stored.
    Computed,
}

impl Kind {
    /// `None` for columns whose comparisons are all left to SQLite: reals, of which those that are
    /// no number are null to it.
    pub(super) fn of(schema: &TableSchema, index: usize) -> Option<Self> {
        Some(match schema.columns.get(index)?.source {
            ColumnSource::Stored(ColumnType::Text) => Self::Text(index),
            ColumnSource::Stored(ColumnType::Blob) => Self::Blob(index),
            ColumnSource::Stored(ColumnType::F64) => return None,
            ColumnSource::Stored(_) => Self::Integer(FilterColumn::Stored(index)),
            ColumnSource::Computed(Computation::Eid) => Self::Integer(FilterColumn::Eid),
            ColumnSource::Computed(Computation::Guid { pid, start_ns }) => {
                Self::Guid { pid, start_ns }
            }
            ColumnSource::Computed(Computation::BootId) => Self::BootId,
            ColumnSource::Computed(
                Computation::Seconds | Computation::Uptime | Computation::BootNs,
            ) => Self::Computed,
        })
    }

    /// How its values are looked up, where they can be.
    pub(super) const fn key(self) -> Option<KeyKind> {
        match self {
            Self::Integer(_) | Self::Computed => Some(KeyKind::Integer),
            Self::Text(_) => Some(KeyKind::Text),
            Self::Guid { .. } => Some(KeyKind::Guid),
            Self::BootId | Self::Blob(_) => None,
        }
    }
}

/// What a comparison asks of the rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked {
    /// No row satisfies it.
    Nothing,
    /// Only rows that pass these can satisfy it.
    Filters(Vec<Filter>),
    /// SQLite must look at every row.
    Anything,
}

/// What a comparison asks, and whether that is all.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tested {
    pub(super) asked: Asked,
    /// Whether every row that passes satisfies the comparison.
    pub(super) exact: bool,
}

impl Tested {
    const ANYTHING: Self = Self { asked: Asked::Anything, exact: false };
    const NOTHING: Self = Self { asked: Asked::Nothing, exact: true };

    const fn exactly(filters: Vec<Filter>) -> Self {
        Self { asked: Asked::Filters(filters), exact: true }
    }
}

/// What `column operator value` asks. `values` has the members of an `IN`, else one value.
pub(super) fn test(kind: Kind, operator: Operator, values: &[SqlValue<'_>]) -> Tested {
    let value = values.first().copied().unwrap_or(SqlValue::Null);
    match operator {
        Operator::IsNull => null(kind, true),
        Operator::IsNotNull => null(kind, false),
        Operator::Is if value == SqlValue::Null => null(kind, true),
        Operator::Equal | Operator::Is | Operator::In => equality(kind, values),
        Operator::Like | Operator::Glob => pattern(kind, operator, value),
        _ => range(kind, operator, value),
    }
}

fn filter(column: FilterColumn, test: Test) -> Filter {
    Filter { column, test }
}

fn null(kind: Kind, wanted: bool) -> Tested {
    let stored =
        |column, test: Test| Tested::exactly(vec![filter(FilterColumn::Stored(column), test)]);
    let test = if wanted { Test::IsNull } else { Test::IsNotNull };
    match kind {
        Kind::Integer(column) => Tested::exactly(vec![filter(column, test)]),
        Kind::Text(column) | Kind::Blob(column) => stored(column, test),
        Kind::Guid { pid, start_ns } if !wanted => {
            let part = |column| filter(FilterColumn::Stored(column), Test::IsNotNull);
            Tested::exactly(vec![part(pid), part(start_ns)])
        }
        Kind::Guid { .. } | Kind::BootId | Kind::Computed => Tested::ANYTHING,
    }
}

fn equality(kind: Kind, values: &[SqlValue<'_>]) -> Tested {
    if kind == Kind::BootId {
        return boot(values);
    }
    let Some(key) = kind.key() else { return Tested::ANYTHING };
    let mut keys = Vec::with_capacity(values.len());
    for value in values {
        match key.wanted(*value) {
            Wanted::Nothing => {}
            Wanted::Only(key) => keys.push(key),
            Wanted::Any => return Tested::ANYTHING,
        }
    }
    if keys.is_empty() {
        return Tested::NOTHING;
    }
    keyed(kind, &keys).unwrap_or(Tested::ANYTHING)
}

/// The filters for one of several keys, of which there is one at least.
pub(super) fn keyed(kind: Kind, keys: &[Key]) -> Option<Tested> {
    Some(match kind {
        Kind::Integer(column) => Tested::exactly(vec![filter(column, integers(keys))]),
        Kind::Text(column) => {
            let mut texts: Vec<Box<str>> = keys
                .iter()
                .filter_map(|key| if let Key::Text(text) = key { Some(text.clone()) } else { None })
                .collect();
            texts.sort_unstable();
            texts.dedup();
            Tested::exactly(vec![filter(FilterColumn::Stored(column), Test::Texts(texts))])
        }
        Kind::Guid { pid, start_ns } => processes(pid, start_ns, keys),
        Kind::BootId | Kind::Blob(_) | Kind::Computed => return None,
    })
}

fn integers(keys: &[Key]) -> Test {
    let integer = |key: &Key| if let Key::Integer(value) = key { Some(*value) } else { None };
    list(keys.iter().filter_map(integer).collect())
}

fn list(mut values: Vec<i64>) -> Test {
    values.sort_unstable();
    values.dedup();
    Test::Integers(values)
}

/// Processes are looked for by their parts; with several, also the other pairings of these pass.
fn processes(pid: usize, start_ns: usize, keys: &[Key]) -> Tested {
    let (mut pids, mut starts, mut boots) = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        if let Key::Guid { boot, pid, start_ns } = key {
            pids.push(i64::from(*pid));
            starts.push(start_ns.cast_signed());
            boots.push(*boot);
        }
    }
    boots.sort_unstable();
    boots.dedup();
    let mut filters = vec![
        filter(FilterColumn::Stored(pid), list(pids)),
        filter(FilterColumn::Stored(start_ns), list(starts)),
    ];
    if let [boot] = boots.as_slice() {
        filters.push(filter(FilterColumn::BootId, Test::BootPrefix(boot.to_vec())));
    }
    Tested { asked: Asked::Filters(filters), exact: keys.len() == 1 }
}

fn boot(values: &[SqlValue<'_>]) -> Tested {
    let [SqlValue::Text(text)] = values else {
        return if values == [SqlValue::Null] { Tested::NOTHING } else { Tested::ANYTHING };
    };
    if may_be_number(text) {
        return Tested::ANYTHING;
    }
    let text = std::str::from_utf8(text).unwrap_or_default();
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match u128::from_str_radix(text, 16) {
        Ok(id) if lower && text.len() == 32 => {
            let prefix = Test::BootPrefix(id.to_be_bytes().to_vec());
            Tested::exactly(vec![filter(FilterColumn::BootId, prefix)])
        }
        _ => Tested::NOTHING,
    }
}

fn pattern(kind: Kind, operator: Operator, value: SqlValue<'_>) -> Tested {
    let (Kind::Text(column), SqlValue::Text(text)) = (kind, value) else {
        return if value == SqlValue::Null { Tested::NOTHING } else { Tested::ANYTHING };
    };
    let Ok(text) = std::str::from_utf8(text) else { return Tested::ANYTHING };
    // SQLite's own matching ends at a zero byte.
    if text.len() > PATTERN_BYTES_MAX || text.contains('\0') {
        return Tested::ANYTHING;
    }
    let column = FilterColumn::Stored(column);
    let filters = if operator == Operator::Like {
        vec![filter(column, Test::Like(text.into()))]
    } else {
        vec![filter(column, Test::Glob(text.into()))]
    };
    Tested { asked: Asked::Filters(filters), exact: false }
}

fn range(kind: Kind, operator: Operator, value: SqlValue<'_>) -> Tested {
    if value == SqlValue::Null {
        return Tested::NOTHING;
    }
    match (kind, value) {
        (Kind::Integer(column), _) => integer_range(column, operator, value),
        (Kind::Text(column), SqlValue::Text(text)) if !may_be_number(text) => {
            let Ok(text) = std::str::from_utf8(text) else { return Tested::ANYTHING };
            let text: Box<str> = text.into();
            let (from, to) = match operator {
                Operator::Greater => (Bound::Excluded(text), Bound::Unbounded),
                Operator::GreaterOrEqual => (Bound::Included(text), Bound::Unbounded),
                Operator::Less => (Bound::Unbounded, Bound::Excluded(text)),
                _ => (Bound::Unbounded, Bound::Included(text)),
            };
            let column = FilterColumn::Stored(column);
            Tested::exactly(vec![filter(column, Test::TextRange(from, to))])
        }
        _ => Tested::ANYTHING,
    }
}

fn integer_range(column: FilterColumn, operator: Operator, value: SqlValue<'_>) -> Tested {
    let number = match value {
        SqlValue::Integer(integer) => Number::Integer(integer),
        SqlValue::Real(real) => Number::Real(real),
        SqlValue::Text(text) => match number(text) {
            Some(number) => number,
            None => return Tested::ANYTHING,
        },
        SqlValue::Null | SqlValue::Blob(_) => return Tested::ANYTHING,
    };
    let bounds = match number {
        Number::Integer(integer) => whole(operator, integer.into()),
        Number::Real(real) => fraction(operator, real),
    };
    let Some((min, max)) = bounds else { return Tested::NOTHING };
    let (least, greatest) = (i128::from(i64::MIN), i128::from(i64::MAX));
    let min = min.unwrap_or(least).max(least);
    let max = max.unwrap_or(greatest).min(greatest);
    match (i64::try_from(min), i64::try_from(max)) {
        (Ok(min), Ok(max)) if min <= max => {
            Tested::exactly(vec![filter(column, Test::IntegerRange(min, max))])
        }
        _ => Tested::NOTHING,
    }
}

/// Whether numeric affinity might make a number of a text.
pub(super) fn may_be_number(text: &[u8]) -> bool {
    let digits = |byte: &u8| byte.is_ascii_digit();
    let plain = |byte: &u8| {
        matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
            || matches!(byte, b' ' | b'\t' | b'\n' | b'\x0b' | b'\x0c' | b'\r')
    };
    text.iter().any(digits) && text.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: FilterColumn = FilterColumn::Stored(1);
    const INTEGER: Kind = Kind::Integer(PID);
    const TEXT: Kind = Kind::Text(2);
    const GUID: Kind = Kind::Guid { pid: 1, start_ns: 3 };

    fn one(kind: Kind, operator: Operator, value: SqlValue<'_>) -> Tested {
        test(kind, operator, &[value])
    }

    fn exactly(column: FilterColumn, test: Test) -> Tested {
        Tested::exactly(vec![filter(column, test)])
    }

    #[test]
    fn integers_become_ranges() {
        let range = |min, max| exactly(PID, Test::IntegerRange(min, max));
        let cases = [
            (Operator::Less, SqlValue::Integer(5), range(i64::MIN, 4)),
            (Operator::LessOrEqual, SqlValue::Real(5.5), range(i64::MIN, 5)),
            (Operator::Greater, SqlValue::Text(b" 5.5 "), range(6, i64::MAX)),
            (Operator::GreaterOrEqual, SqlValue::Integer(i64::MAX), range(i64::MAX, i64::MAX)),
            (Operator::Greater, SqlValue::Integer(i64::MAX), Tested::NOTHING),
            (Operator::Less, SqlValue::Real(f64::NEG_INFINITY), Tested::NOTHING),
            (Operator::Less, SqlValue::Null, Tested::NOTHING),
            (Operator::Less, SqlValue::Text(b"x"), Tested::ANYTHING),
            (Operator::Less, SqlValue::Blob(b"x"), Tested::ANYTHING),
        ];
        for (operator, value, expected) in cases {
            assert_eq!(one(INTEGER, operator, value), expected, "{operator:?} {value:?}");
        }
    }

    #[test]
    fn text_that_may_be_a_number_is_left_to_sqlite() {
        let texts = |text: &str| exactly(FilterColumn::Stored(2), Test::Texts(vec![text.into()]));
        assert_eq!(one(TEXT, Operator::Equal, SqlValue::Text(b"a5")), texts("a5"));
        assert_eq!(one(TEXT, Operator::Is, SqlValue::Text(b"")), texts(""));
        for text in ["5", " 5 ", "-5.0", "5e0", "9223372036854775808"] {
            for operator in [Operator::Equal, Operator::Less, Operator::Is] {
                let tested = one(TEXT, operator, SqlValue::Text(text.as_bytes()));
                assert_eq!(tested, Tested::ANYTHING, "{text}");
            }
        }
        assert_eq!(one(TEXT, Operator::Equal, SqlValue::Integer(5)), Tested::ANYTHING);
    }

    #[test]
    fn lists_are_sorted_and_without_null() {
        let values = [3, 1, 3].map(SqlValue::Integer);
        let with_null = [values[0], SqlValue::Null, values[1], values[2]];
        let expected = exactly(PID, Test::Integers(vec![1, 3]));
        assert_eq!(test(INTEGER, Operator::In, &with_null), expected);
        assert_eq!(test(INTEGER, Operator::In, &[]), Tested::NOTHING);
        assert_eq!(test(INTEGER, Operator::In, &[SqlValue::Null]), Tested::NOTHING);
        let mixed = [SqlValue::Text(b"a"), SqlValue::Integer(5)];
        assert_eq!(test(TEXT, Operator::In, &mixed), Tested::ANYTHING);
    }

    #[test]
    fn a_guid_is_its_parts() {
        let first = SqlValue::Text(b"abcdef01-5-32");
        let parts = vec![
            filter(PID, Test::Integers(vec![5])),
            filter(FilterColumn::Stored(3), Test::Integers(vec![0x32])),
            filter(FilterColumn::BootId, Test::BootPrefix(vec![0xab, 0xcd, 0xef, 1])),
        ];
        assert_eq!(one(GUID, Operator::Equal, first), Tested::exactly(parts));
        for value in [SqlValue::Text(b"x"), SqlValue::Integer(5), SqlValue::Blob(b"x")] {
            assert_eq!(one(GUID, Operator::Equal, value), Tested::NOTHING);
        }
        let two = test(GUID, Operator::In, &[first, SqlValue::Text(b"abcdef02-6-32")]);
        assert!(!two.exact, "pid 5 with the other boot passes too");
        assert_eq!(one(GUID, Operator::IsNull, SqlValue::Null), Tested::ANYTHING);
    }

    #[test]
    fn a_boot_id_is_bytes() {
        let text = format!("{:032x}", u128::from_be_bytes(*b"\xab 15 more bytes "));
        let tested = one(Kind::BootId, Operator::Equal, SqlValue::Text(text.as_bytes()));
        let prefix = Test::BootPrefix(b"\xab 15 more bytes ".to_vec());
        assert_eq!(tested, exactly(FilterColumn::BootId, prefix));
        let short = SqlValue::Text(b"abcdef01");
        assert_eq!(one(Kind::BootId, Operator::Equal, short), Tested::NOTHING);
        let upper = text.to_uppercase();
        let upper = SqlValue::Text(upper.as_bytes());
        assert_eq!(one(Kind::BootId, Operator::Equal, upper), Tested::NOTHING);
    }

    #[test]
    fn patterns_are_for_text() {
        let like = one(TEXT, Operator::Like, SqlValue::Text(b"%a_"));
        let expected = vec![filter(FilterColumn::Stored(2), Test::Like("%a_".into()))];
        assert_eq!(like, Tested { asked: Asked::Filters(expected), exact: false });
        assert_eq!(one(INTEGER, Operator::Like, SqlValue::Text(b"5%")), Tested::ANYTHING);
        assert_eq!(one(TEXT, Operator::Glob, SqlValue::Integer(5)), Tested::ANYTHING);
        assert_eq!(one(TEXT, Operator::Like, SqlValue::Null), Tested::NOTHING);
    }
}
