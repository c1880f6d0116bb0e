//! Rows in memory, of either kind of table, and the keys by which equality finds them.

use std::cmp::Ordering;

use arrow::array::Array;
use rusqlite::types::{Null, ToSql, ToSqlOutput, ValueRef as SqlValue};

use crate::ColumnArray;
use crate::guid::{guid, parse_guid};
use crate::sql::bounds::{Number, number};
use crate::sql::values::may_be_number;
use crate::table::ValueRef;

/// A run of rows of one table.
pub(super) trait Block: Send + Sync {
    /// How many rows.
    fn len(&self) -> usize;

    /// The value of a schema's column; null where column or row are out of range.
    fn cell(&self, column: usize, row: usize) -> Cell<'_>;

    /// The number that names the row in every scan of a statement.
    fn rowid(&self, row: usize) -> i64;

    /// When the row happened, in nanoseconds since 1970; `None` where that was not read.
    fn time_ns(&self, row: usize) -> Option<i64>;
}

/// One value, as cheap as it can be had.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    /// A stored value.
    Value(ValueRef<'a>),
    /// A computed integer.
    Integer(i64),
    /// The identity of a process.
    Guid { boot_id: [u8; 16], pid: u32, start_ns: u64 },
    /// The id of a boot.
    BootId([u8; 16]),
}

impl Cell<'_> {
    /// Whether equality with `key` holds.
    pub(super) fn equals(&self, key: &Key) -> bool {
        match (self, key) {
            (Self::Value(ValueRef::Text(text)), Key::Text(key)) => *text == &**key,
            (Self::Guid { boot_id, pid, start_ns }, Key::Guid { boot, pid: of, start_ns: at }) => {
                pid == of && start_ns == at && boot_id.starts_with(boot)
            }
            (_, Key::Integer(key)) => self.integer() == Some(*key),
            _ => false,
        }
    }

    /// How two values of one column of integers or text are ordered; null comes first.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Value(ValueRef::Text(left)), Self::Value(ValueRef::Text(right))) => {
                left.cmp(right)
            }
            (Self::Value(ValueRef::Text(_)), _) => Ordering::Greater,
            (_, Self::Value(ValueRef::Text(_))) => Ordering::Less,
            (left, right) => left.integer().cmp(&right.integer()),
        }
    }

    /// The value as SQL sees it, when it is an integer.
    pub(super) fn integer(&self) -> Option<i64> {
        match *self {
            Self::Integer(value) | Self::Value(ValueRef::I64(value)) => Some(value),
            Self::Value(ValueRef::Bool(value)) => Some(value.into()),
            Self::Value(ValueRef::I32(value)) => Some(value.into()),
            Self::Value(ValueRef::U32(value)) => Some(value.into()),
            Self::Value(ValueRef::U64(value)) => Some(value.cast_signed()),
            _ => None,
        }
    }
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        if let Some(value) = self.integer() {
            return Ok(ToSqlOutput::from(value));
        }
        Ok(match self {
            Self::Value(ValueRef::Text(text)) => ToSqlOutput::from(*text),
            Self::Value(ValueRef::Blob(blob)) => ToSqlOutput::from(*blob),
            Self::Value(ValueRef::F64(value)) => ToSqlOutput::from(*value),
            Self::Guid { boot_id, pid, start_ns } => {
                ToSqlOutput::from(guid(boot_id, *pid, *start_ns))
            }
            Self::BootId(boot_id) => {
                ToSqlOutput::from(format!("{:032x}", u128::from_be_bytes(*boot_id)))
            }
            Self::Value(_) | Self::Integer(_) => ToSqlOutput::from(Null),
        })
    }
}

/// A stored value as SQLite has it: a real that is not a number is null.
#[inline]
pub(super) fn stored_value(column: &ColumnArray, row: usize) -> SqlValue<'_> {
    match column {
        ColumnArray::Bool(array) if has(array, row) => SqlValue::Integer(array.value(row).into()),
        ColumnArray::I32(array) if has(array, row) => SqlValue::Integer(array.value(row).into()),
        ColumnArray::I64(array) if has(array, row) => SqlValue::Integer(array.value(row)),
        ColumnArray::U32(array) if has(array, row) => SqlValue::Integer(array.value(row).into()),
        ColumnArray::U64(array) if has(array, row) => {
            SqlValue::Integer(array.value(row).cast_signed())
        }
        ColumnArray::F64(array) if has(array, row) && !array.value(row).is_nan() => {
            SqlValue::Real(array.value(row))
        }
        ColumnArray::Text(array) if has(array, row) => SqlValue::Text(array.value(row).as_bytes()),
        ColumnArray::TextDictionary { keys, values } if has(keys, row) => {
            match usize::try_from(keys.value(row)) {
                Ok(key) if key < values.len() => SqlValue::Text(values.value(key).as_bytes()),
                _ => SqlValue::Null,
            }
        }
        ColumnArray::Blob(array) if has(array, row) => SqlValue::Blob(array.value(row)),
        _ => SqlValue::Null,
    }
}

/// Whether there is a value.
#[inline]
fn has(array: &impl Array, row: usize) -> bool {
    row < array.len() && array.is_valid(row)
}

/// A value that equality looks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// Every integer type, as SQL sees it.
    Integer(i64),
    /// Text under the collation `BINARY`.
    Text(Box<str>),
    /// A guid, taken apart.
    Guid { boot: [u8; 4], pid: u32, start_ns: u64 },
}

/// How a column is compared by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Integer,
    Text,
    Guid,
}

impl KeyKind {
    /// What a column of this kind must hold to equal `value`.
    ///
    /// `Any` is the answer wherever the affinity that SQLite will apply depends on the other side's
    /// type, which is not told: a number, or text that may be one, beside a text column, text that
    /// is no number beside an integer column, and blobs. Only guids are never in doubt: no text of
    /// one reads as a number.
    pub(super) fn wanted(self, value: SqlValue<'_>) -> Wanted {
        match (self, value) {
            (_, SqlValue::Null) => Wanted::Nothing,
            (Self::Integer, SqlValue::Integer(integer)) => Wanted::Only(Key::Integer(integer)),
            (Self::Integer, SqlValue::Real(real)) => whole(real),
            (Self::Integer, SqlValue::Text(text)) => match number(text) {
                Some(Number::Integer(integer)) => Wanted::Only(Key::Integer(integer)),
                Some(Number::Real(real)) => whole(real),
                None => Wanted::Any,
            },
            (Self::Text, SqlValue::Text(text)) if !may_be_number(text) => std::str::from_utf8(text)
                .map_or(Wanted::Any, |text| Wanted::Only(Key::Text(text.into()))),
            (Self::Guid, SqlValue::Text(text)) => {
                let parts = std::str::from_utf8(text).ok().and_then(parse_guid);
                parts.map_or(Wanted::Nothing, |parts| {
                    let (boot, pid, start_ns) = (parts.boot, parts.pid, parts.start_ns);
                    Wanted::Only(Key::Guid { boot, pid, start_ns })
                })
            }
            (Self::Guid, _) => Wanted::Nothing,
            _ => Wanted::Any,
        }
    }
}

/// What an equality asks of a column.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// No row can satisfy it.
    Nothing,
    /// Only rows with this value can satisfy it.
    Only(Key),
    /// SQLite must look at every row.
    Any,
}

fn whole(real: f64) -> Wanted {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if real.fract() != 0.0 || !(-LIMIT..LIMIT).contains(&real) {
        return Wanted::Nothing;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and within an i64")]
    let integer = real as i64;
    Wanted::Only(Key::Integer(integer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(value: i64) -> Wanted {
        Wanted::Only(Key::Integer(value))
    }

    #[test]
    fn integers_take_numeric_affinity() {
        let cases = [
            (SqlValue::Integer(-3), integer(-3)),
            (SqlValue::Real(5.0), integer(5)),
            (SqlValue::Real(5.5), Wanted::Nothing),
            (SqlValue::Real(f64::INFINITY), Wanted::Nothing),
            (SqlValue::Real(9_223_372_036_854_775_808.0), Wanted::Nothing),
            (SqlValue::Real(-9_223_372_036_854_775_808.0), integer(i64::MIN)),
            (SqlValue::Text(b"05"), integer(5)),
            (SqlValue::Text(b" 5.0 "), integer(5)),
            (SqlValue::Text(b"five"), Wanted::Any),
            (SqlValue::Blob(b"5"), Wanted::Any),
            (SqlValue::Null, Wanted::Nothing),
        ];
        for (value, wanted) in cases {
            assert_eq!(KeyKind::Integer.wanted(value), wanted, "{value:?}");
        }
    }

    #[test]
    fn text_beside_a_number_is_left_to_sqlite() {
        assert_eq!(KeyKind::Text.wanted(SqlValue::Integer(5)), Wanted::Any);
        assert_eq!(KeyKind::Text.wanted(SqlValue::Text(b"a")), Wanted::Only(Key::Text("a".into())));
        assert_eq!(KeyKind::Text.wanted(SqlValue::Text(b"05")), Wanted::Any);
        assert_eq!(KeyKind::Text.wanted(SqlValue::Text(b"\xff")), Wanted::Any);
    }

    #[test]
    fn a_guid_is_taken_apart() {
        let boot_id = *b"\xab\xcd\xef\x01abcdefghijkl";
        let cell = Cell::Guid { boot_id, pid: 4321, start_ns: 1_000_000_007 };
        let text = guid(&boot_id, 4321, 1_000_000_007);
        let Wanted::Only(key) = KeyKind::Guid.wanted(SqlValue::Text(text.as_bytes())) else {
            panic!("a guid is a key");
        };
        assert!(cell.equals(&key));
        let other = Cell::Guid { boot_id: [0; 16], pid: 4321, start_ns: 1_000_000_007 };
        assert!(!other.equals(&key), "another boot");
        assert_eq!(KeyKind::Guid.wanted(SqlValue::Text(b"no guid")), Wanted::Nothing);
    }

    #[test]
    fn unsigned_numbers_are_twos_complement() {
        let cell = Cell::Value(ValueRef::U64(u64::MAX));
        assert!(cell.equals(&Key::Integer(-1)));
        assert_eq!(cell.to_sql().unwrap(), ToSqlOutput::from(-1_i64));
    }
}
