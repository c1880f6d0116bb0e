//! Filters made ready to run on decoded columns.
//!
//! A text column with a dictionary is tested once per distinct value; the rows then follow by their
//! keys. Batches of one row group share their dictionary, so its answer is kept from one to the
//! next.

use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, Int32Array, Int64Array, StringArray};
use arrow::buffer::BooleanBuffer;
use memchr::memmem;

use crate::columns::ColumnArray;
use crate::read::batch::BootIds;
use crate::read::filter::{Filter, FilterColumn, Test};
use crate::read::pattern::Pattern;
use crate::read::reader::ReadError;
use crate::schema::{ColumnSource, ColumnType, TableSchema};

/// A filter on one column.
#[derive(Debug)]
pub(super) struct Predicate {
    pub(super) column: FilterColumn,
    pub(super) check: Check,
    /// What the dictionary met last says.
    dictionary: Mutex<Option<(StringArray, BooleanBuffer)>>,
}

/// What must hold of a value, for the type of its column.
#[derive(Debug)]
pub(super) enum Check {
    Null,
    NotNull,
    /// Ascending.
    Integers(Vec<i64>),
    IntegerRange(i64, i64),
    /// Ascending.
    Texts(Vec<Box<str>>),
    TextRange(Bound<Box<str>>, Bound<Box<str>>),
    Pattern(Pattern),
    BootPrefix(Vec<u8>),
}

impl Predicate {
    /// Makes a filter ready.
    ///
    /// # Errors
    /// When its column is not a stored one, or its test is none for the column's type.
    pub(super) fn new(table: &'static TableSchema, filter: &Filter) -> Result<Self, ReadError> {
        let (name, fits) = match filter.column {
            FilterColumn::Stored(index) => {
                let column = table.columns.get(index);
                let stored = column.and_then(|column| match column.source {
                    ColumnSource::Stored(column_type) => Some((column.name, column_type)),
                    ColumnSource::Computed(_) => None,
                });
                let (name, column_type) =
                    stored.ok_or(ReadError::Column { table: table.name, index })?;
                (name, fits(column_type, &filter.test))
            }
            FilterColumn::Eid => ("eid", fits(ColumnType::I64, &filter.test)),
            FilterColumn::BootId => ("boot_id", fits_boot_id(&filter.test)),
        };
        if !fits {
            return Err(ReadError::Filter { table: table.name, column: name });
        }
        let check = Check::new(&filter.test);
        Ok(Self { column: filter.column, check, dictionary: Mutex::new(None) })
    }

    /// Which values of a stored column pass.
    pub(super) fn column(&self, column: &ColumnArray) -> BooleanBuffer {
        let rows = column.len();
        match (&self.check, column) {
            (Check::Null, _) => !&not_null(column),
            (Check::NotNull, _) => not_null(column),
            (_, ColumnArray::TextDictionary { keys, values }) => self.by_key(keys, values),
            (check, ColumnArray::Text(array)) => {
                valid(array, BooleanBuffer::collect_bool(rows, |row| check.text(array.value(row))))
            }
            (check, ColumnArray::Bool(array)) => {
                let (one, zero) = (check.integer(1), check.integer(0));
                let passes = |row: usize| if array.value(row) { one } else { zero };
                valid(array, BooleanBuffer::collect_bool(rows, passes))
            }
            (check, ColumnArray::I32(array)) => {
                valid(array, check.integers(array.values(), i64::from))
            }
            (check, ColumnArray::I64(array)) => {
                valid(array, check.integers(array.values(), |value| value))
            }
            (check, ColumnArray::U32(array)) => {
                valid(array, check.integers(array.values(), i64::from))
            }
            (check, ColumnArray::U64(array)) => {
                valid(array, check.integers(array.values(), u64::cast_signed))
            }
            (_, ColumnArray::F64(_) | ColumnArray::Blob(_)) => BooleanBuffer::new_unset(rows),
        }
    }

    /// Whether encoded rows can hold one that passes. Text stands in them as it is, so what is looked
    /// for is there or no row has it; to find that out costs far less than to decode them.
    pub(super) fn may_be_in(&self, encoded: &[u8]) -> bool {
        /// With more texts, decoding is cheaper.
        const TEXTS_MAX: usize = 8;
        match &self.check {
            Check::Texts(texts) if texts.len() <= TEXTS_MAX => {
                texts.iter().any(|text| memmem::find(encoded, text.as_bytes()).is_some())
            }
            _ => true,
        }
    }

    /// Which rows pass by their numbers.
    pub(super) fn eids(&self, eids: &Int64Array) -> BooleanBuffer {
        match self.check {
            Check::Null => BooleanBuffer::new_unset(eids.len()),
            Check::NotNull => BooleanBuffer::new_set(eids.len()),
            _ => self.check.integers(eids.values(), |eid| eid),
        }
    }

    /// Which of `rows` rows pass by their boot ids.
    pub(super) fn boot_ids(&self, boot: &BootIds, rows: usize) -> BooleanBuffer {
        let passes = |id: &[u8; 16]| match &self.check {
            Check::BootPrefix(prefix) => id.starts_with(prefix),
            check => matches!(check, Check::NotNull),
        };
        let passes: Vec<bool> = boot.ids.iter().map(passes).collect();
        match &boot.keys {
            None if passes.first() == Some(&true) => BooleanBuffer::new_set(rows),
            None => BooleanBuffer::new_unset(rows),
            Some(keys) => BooleanBuffer::collect_bool(rows, |row| {
                let key = keys.values().get(row).and_then(|key| usize::try_from(*key).ok());
                key.and_then(|key| passes.get(key)).copied().unwrap_or(false)
            }),
        }
    }

    fn by_key(&self, keys: &Int32Array, values: &StringArray) -> BooleanBuffer {
        if keys.len() < values.len() && self.unknown(values) {
            let by_row = |row: usize| {
                let key = keys.values().get(row).and_then(|key| usize::try_from(*key).ok());
                key.is_some_and(|key| key < values.len() && self.check.text(values.value(key)))
            };
            return valid(keys, BooleanBuffer::collect_bool(keys.len(), by_row));
        }
        let passes = self.distinct(values);
        let by_key = |row: usize| {
            let key = keys.values().get(row).and_then(|key| usize::try_from(*key).ok());
            key.is_some_and(|key| key < passes.len() && passes.value(key))
        };
        valid(keys, BooleanBuffer::collect_bool(keys.len(), by_key))
    }

    /// Whether a dictionary was not met last.
    fn unknown(&self, values: &StringArray) -> bool {
        let known = self.dictionary.lock().unwrap_or_else(PoisonError::into_inner);
        !known.as_ref().is_some_and(|(dictionary, _)| same(dictionary, values))
    }

    /// Which values of a dictionary pass.
    fn distinct(&self, values: &StringArray) -> BooleanBuffer {
        let mut known = self.dictionary.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((dictionary, passes)) = &*known
            && same(dictionary, values)
        {
            return passes.clone();
        }
        let test = |index: usize| values.is_valid(index) && self.check.text(values.value(index));
        let passes = BooleanBuffer::collect_bool(values.len(), test);
        *known = Some((values.clone(), passes.clone()));
        passes
    }
}

/// Whether two arrays are the same memory.
fn same(left: &StringArray, right: &StringArray) -> bool {
    left.len() == right.len()
        && left.values().as_ptr() == right.values().as_ptr()
        && left.offsets().as_ptr() == right.offsets().as_ptr()
}

const fn fits(column_type: ColumnType, test: &Test) -> bool {
    match test {
        Test::IsNull | Test::IsNotNull => true,
        Test::Integers(_) | Test::IntegerRange(..) => matches!(
            column_type,
            ColumnType::Bool
                | ColumnType::I32
                | ColumnType::I64
                | ColumnType::U32
                | ColumnType::U64
        ),
        Test::Texts(_) | Test::TextRange(..) | Test::Like(_) | Test::Glob(_) => {
            matches!(column_type, ColumnType::Text)
        }
        Test::BootPrefix(_) => false,
    }
}

const fn fits_boot_id(test: &Test) -> bool {
    matches!(test, Test::IsNull | Test::IsNotNull | Test::BootPrefix(_))
}

impl Check {
    fn new(test: &Test) -> Self {
        match test {
            Test::IsNull => Self::Null,
            Test::IsNotNull => Self::NotNull,
            Test::Integers(integers) => {
                let mut integers = integers.clone();
                integers.sort_unstable();
                Self::Integers(integers)
            }
            Test::IntegerRange(from, to) => Self::IntegerRange(*from, *to),
            Test::Texts(texts) => {
                let mut texts = texts.clone();
                texts.sort_unstable();
                Self::Texts(texts)
            }
            Test::TextRange(from, to) => Self::TextRange(from.clone(), to.clone()),
            Test::Like(pattern) => Self::Pattern(Pattern::like(pattern)),
            Test::Glob(pattern) => Self::Pattern(Pattern::glob(pattern)),
            Test::BootPrefix(prefix) => Self::BootPrefix(prefix.clone()),
        }
    }

    fn integer(&self, value: i64) -> bool {
        match self {
            Self::Integers(integers) => integers.binary_search(&value).is_ok(),
            Self::IntegerRange(from, to) => (*from..=*to).contains(&value),
            _ => false,
        }
    }

    fn integers<T: Copy>(&self, values: &[T], signed: impl Fn(T) -> i64) -> BooleanBuffer {
        let all = |passes: &dyn Fn(i64) -> bool| {
            BooleanBuffer::from_iter(values.iter().map(|value| passes(signed(*value))))
        };
        match self {
            Self::Integers(integers) => match integers.as_slice() {
                [only] => {
                    BooleanBuffer::from_iter(values.iter().map(|value| signed(*value) == *only))
                }
                _ => all(&|value| integers.binary_search(&value).is_ok()),
            },
            Self::IntegerRange(from, to) => BooleanBuffer::from_iter(
                values.iter().map(|value| (*from..=*to).contains(&signed(*value))),
            ),
            _ => BooleanBuffer::new_unset(values.len()),
        }
    }

    fn text(&self, text: &str) -> bool {
        match self {
            Self::Texts(texts) => match texts.as_slice() {
                [only] => **only == *text,
                _ => texts.binary_search_by(|known| (**known).cmp(text)).is_ok(),
            },
            Self::TextRange(from, to) => {
                let from_holds = match from {
                    Bound::Included(from) => text >= &**from,
                    Bound::Excluded(from) => text > &**from,
                    Bound::Unbounded => true,
                };
                from_holds
                    && match to {
                        Bound::Included(to) => text <= &**to,
                        Bound::Excluded(to) => text < &**to,
                        Bound::Unbounded => true,
                    }
            }
            Self::Pattern(pattern) => pattern.matches(text),
            _ => false,
        }
    }
}

/// Takes away the rows that are null.
fn valid(array: &dyn Array, passes: BooleanBuffer) -> BooleanBuffer {
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        Some(nulls) => &passes & nulls.inner(),
        None => passes,
    }
}

/// Which values SQL does not see as null. It sees a number that is none (NaN) as null.
fn not_null(column: &ColumnArray) -> BooleanBuffer {
    let passes = match column {
        ColumnArray::F64(array) => {
            BooleanBuffer::from_iter(array.values().iter().map(|value| !value.is_nan()))
        }
        column => BooleanBuffer::new_set(column.len()),
    };
    valid(column.as_array(), passes)
}
