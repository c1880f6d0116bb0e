//! Columns in memory: what scans yield and what journals and segments are decoded into.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder,
    DictionaryArray, Float64Array, Float64Builder, Int32Array, Int32Builder, Int64Array,
    Int64Builder, StringArray, StringBuilder, UInt32Array, UInt32Builder, UInt64Array,
    UInt64Builder, new_null_array,
};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;

use crate::schema::ColumnType;
use crate::table::ValueRef;

/// The values of one column in one batch.
#[derive(Clone, Debug)]
pub enum ColumnArray {
    /// Of [`ColumnType::Bool`].
    Bool(BooleanArray),
    /// Of [`ColumnType::I32`].
    I32(Int32Array),
    /// Of [`ColumnType::I64`].
    I64(Int64Array),
    /// Of [`ColumnType::U32`].
    U32(UInt32Array),
    /// Of [`ColumnType::U64`].
    U64(UInt64Array),
    /// Of [`ColumnType::F64`].
    F64(Float64Array),
    /// Of [`ColumnType::Text`].
    Text(StringArray),
    /// Of [`ColumnType::Text`], each value once.
    TextDictionary {
        /// Per row, the index into `values`, or null.
        keys: Int32Array,
        /// The distinct values.
        values: StringArray,
    },
    /// Of [`ColumnType::Blob`].
    Blob(BinaryArray),
}

impl ColumnArray {
    /// The value of a row; `Null` for a row out of range.
    #[must_use]
    #[inline]
    pub fn value(&self, row: usize) -> ValueRef<'_> {
        match self {
            Self::Bool(array) => value(array, row, || ValueRef::Bool(array.value(row))),
            Self::I32(array) => value(array, row, || ValueRef::I32(array.value(row))),
            Self::I64(array) => value(array, row, || ValueRef::I64(array.value(row))),
            Self::U32(array) => value(array, row, || ValueRef::U32(array.value(row))),
            Self::U64(array) => value(array, row, || ValueRef::U64(array.value(row))),
            Self::F64(array) => value(array, row, || ValueRef::F64(array.value(row))),
            Self::Text(array) => value(array, row, || ValueRef::Text(array.value(row))),
            Self::TextDictionary { keys, values } => value(keys, row, || {
                let key = usize::try_from(keys.value(row)).ok().filter(|key| *key < values.len());
                key.map_or(ValueRef::Null, |key| ValueRef::Text(values.value(key)))
            }),
            Self::Blob(array) => value(array, row, || ValueRef::Blob(array.value(row))),
        }
    }

    /// How many rows it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_array().len()
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of its rows, in the same memory. The range must be within its rows.
    pub(crate) fn slice(&self, start: usize, count: usize) -> Self {
        match self {
            Self::Bool(array) => Self::Bool(array.slice(start, count)),
            Self::I32(array) => Self::I32(array.slice(start, count)),
            Self::I64(array) => Self::I64(array.slice(start, count)),
            Self::U32(array) => Self::U32(array.slice(start, count)),
            Self::U64(array) => Self::U64(array.slice(start, count)),
            Self::F64(array) => Self::F64(array.slice(start, count)),
            Self::Text(array) => Self::Text(array.slice(start, count)),
            Self::TextDictionary { keys, values } => {
                Self::TextDictionary { keys: keys.slice(start, count), values: values.clone() }
            }
            Self::Blob(array) => Self::Blob(array.slice(start, count)),
        }
    }

    /// The rows of a mask; a dictionary stays whole.
    pub(crate) fn keep(&self, mask: &BooleanArray) -> Result<Self, ArrowError> {
        let kept = filter(self.as_array(), mask)?;
        Ok(self.with(&kept))
    }

    /// An array of the same type as its own, with its dictionary if it has one. Another array
    /// leaves it as it is.
    pub(crate) fn with(&self, array: &ArrayRef) -> Self {
        match self {
            Self::TextDictionary { values, .. } => match array.as_primitive_opt() {
                Some(keys) => Self::TextDictionary { keys: keys.clone(), values: values.clone() },
                None => self.clone(),
            },
            column => Self::of(array, column.column_type()).unwrap_or_else(|| column.clone()),
        }
    }

    /// Memory of its rows, in bytes; of a dictionary, all.
    pub(crate) fn bytes(&self) -> usize {
        let own = |array: &dyn Array| {
            array
                .to_data()
                .get_slice_memory_size()
                .unwrap_or_else(|_| array.get_array_memory_size())
        };
        match self {
            Self::TextDictionary { values, .. } => own(self.as_array()) + own(values),
            column => own(column.as_array()),
        }
    }

    /// The type of the column.
    pub(crate) const fn column_type(&self) -> ColumnType {
        match self {
            Self::Bool(_) => ColumnType::Bool,
            Self::I32(_) => ColumnType::I32,
            Self::I64(_) => ColumnType::I64,
            Self::U32(_) => ColumnType::U32,
            Self::U64(_) => ColumnType::U64,
            Self::F64(_) => ColumnType::F64,
            Self::Text(_) | Self::TextDictionary { .. } => ColumnType::Text,
            Self::Blob(_) => ColumnType::Blob,
        }
    }

    /// The array itself; for a dictionary, its keys.
    pub(crate) fn as_array(&self) -> &dyn Array {
        match self {
            Self::Bool(array) => array,
            Self::I32(array) => array,
            Self::I64(array) => array,
            Self::U32(array) => array,
            Self::U64(array) => array,
            Self::F64(array) => array,
            Self::Text(array) => array,
            Self::TextDictionary { keys, .. } => keys,
            Self::Blob(array) => array,
        }
    }

    /// Takes an array of the type that [`data_type`] names, or of text with a dictionary; `None`
    /// for any other.
    pub(crate) fn of(array: &ArrayRef, column_type: ColumnType) -> Option<Self> {
        Some(match (column_type, array.data_type()) {
            (ColumnType::Bool, DataType::Boolean) => Self::Bool(array.as_boolean().clone()),
            (ColumnType::I32, DataType::Int32) => Self::I32(array.as_primitive().clone()),
            (ColumnType::I64, DataType::Int64) => Self::I64(array.as_primitive().clone()),
            (ColumnType::U32, DataType::UInt32) => Self::U32(array.as_primitive().clone()),
            (ColumnType::U64, DataType::UInt64) => Self::U64(array.as_primitive().clone()),
            (ColumnType::F64, DataType::Float64) => Self::F64(array.as_primitive().clone()),
            (ColumnType::Text, DataType::Utf8) => Self::Text(array.as_string::<i32>().clone()),
            (ColumnType::Text, DataType::Dictionary(_, _)) => {
                let array: &DictionaryArray<Int32Type> = array.as_dictionary_opt()?;
                let values = array.values().as_string_opt::<i32>()?.clone();
                Self::TextDictionary { keys: array.keys().clone(), values }
            }
            (ColumnType::Blob, DataType::Binary) => Self::Blob(array.as_binary::<i32>().clone()),
            _ => return None,
        })
    }
}

/// A value, unless there is none.
#[inline]
fn value<'a>(array: &impl Array, row: usize, value: impl FnOnce() -> ValueRef<'a>) -> ValueRef<'a> {
    let is_there = row < array.len() && array.is_valid(row);
    if is_there { value() } else { ValueRef::Null }
}

/// The Arrow type of a column's values.
pub(crate) const fn data_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Bool => DataType::Boolean,
        ColumnType::I32 => DataType::Int32,
        ColumnType::I64 => DataType::Int64,
        ColumnType::U32 => DataType::UInt32,
        ColumnType::U64 => DataType::UInt64,
        ColumnType::F64 => DataType::Float64,
        ColumnType::Text => DataType::Utf8,
        ColumnType::Blob => DataType::Binary,
    }
}

/// The values of a column for rows that were written before it existed: null, or zero and empty
/// where it cannot be null.
pub(crate) fn absent(column_type: ColumnType, nullable: bool, rows: usize) -> ArrayRef {
    if nullable {
        return new_null_array(&data_type(column_type), rows);
    }
    match column_type {
        ColumnType::Bool => Arc::new(BooleanArray::from(vec![false; rows])),
        ColumnType::I32 => Arc::new(Int32Array::from(vec![0; rows])),
        ColumnType::I64 => Arc::new(Int64Array::from(vec![0; rows])),
        ColumnType::U32 => Arc::new(UInt32Array::from(vec![0; rows])),
        ColumnType::U64 => Arc::new(UInt64Array::from(vec![0; rows])),
        ColumnType::F64 => Arc::new(Float64Array::from(vec![0.0; rows])),
        ColumnType::Text => Arc::new(StringArray::from_iter_values(std::iter::repeat_n("", rows))),
        ColumnType::Blob => Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n(b"", rows))),
    }
}

/// Grows one column value by value.
pub(crate) enum ColumnBuilder {
    Bool(BooleanBuilder),
    I32(Int32Builder),
    I64(Int64Builder),
    U32(UInt32Builder),
    U64(UInt64Builder),
    F64(Float64Builder),
    Text(StringBuilder),
    Blob(BinaryBuilder),
}

impl ColumnBuilder {
    pub(crate) fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Bool => Self::Bool(BooleanBuilder::new()),
            ColumnType::I32 => Self::I32(Int32Builder::new()),
            ColumnType::I64 => Self::I64(Int64Builder::new()),
            ColumnType::U32 => Self::U32(UInt32Builder::new()),
            ColumnType::U64 => Self::U64(UInt64Builder::new()),
            ColumnType::F64 => Self::F64(Float64Builder::new()),
            ColumnType::Text => Self::Text(StringBuilder::new()),
            ColumnType::Blob => Self::Blob(BinaryBuilder::new()),
        }
    }

    pub(crate) fn append_null(&mut self) {
        match self {
            Self::Bool(builder) => builder.append_null(),
            Self::I32(builder) => builder.append_null(),
            Self::I64(builder) => builder.append_null(),
            Self::U32(builder) => builder.append_null(),
            Self::U64(builder) => builder.append_null(),
            Self::F64(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Blob(builder) => builder.append_null(),
        }
    }

    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::I32(builder) => Arc::new(builder.finish()),
            Self::I64(builder) => Arc::new(builder.finish()),
            Self::U32(builder) => Arc::new(builder.finish()),
            Self::U64(builder) => Arc::new(builder.finish()),
            Self::F64(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Blob(builder) => Arc::new(builder.finish()),
        }
    }
}
