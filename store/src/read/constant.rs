//! Columns of a row group in which all rows have the same value, or none has any.
//!
//! The footer says so: smallest and largest value are one, or all are null. Nothing of such a column
//! is read. In a wide table many are: flags, ids of the one boot, what is known of few rows only.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Int32Array, Int64Array,
    StringArray, UInt32Array, UInt64Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;

/// What every row of a column of a row group holds, as an array of one row; `None` when they differ
/// or the file does not say. Text and bytes of which the file gives a part only may differ.
pub(super) fn constant(chunk: &ColumnChunkMetaData, data_type: &DataType) -> Option<ArrayRef> {
    let statistics = chunk.statistics()?;
    let nulls = statistics.null_count_opt()?;
    if i64::try_from(nulls).ok()? == chunk.num_values() {
        return Some(new_null_array(data_type, 1));
    }
    // The old fields of a foreign file have an order of their own.
    if nulls > 0 || statistics.is_min_max_deprecated() {
        return None;
    }
    Some(match (statistics, data_type) {
        (Statistics::Boolean(of), DataType::Boolean) => {
            Arc::new(BooleanArray::from(vec![*only(of.min_opt(), of.max_opt())?]))
        }
        (Statistics::Int32(of), DataType::Int32) => {
            Arc::new(Int32Array::from(vec![*only(of.min_opt(), of.max_opt())?]))
        }
        (Statistics::Int32(of), DataType::UInt32) => {
            Arc::new(UInt32Array::from(vec![only(of.min_opt(), of.max_opt())?.cast_unsigned()]))
        }
        (Statistics::Int64(of), DataType::Int64) => {
            Arc::new(Int64Array::from(vec![*only(of.min_opt(), of.max_opt())?]))
        }
        (Statistics::Int64(of), DataType::UInt64) => {
            Arc::new(UInt64Array::from(vec![only(of.min_opt(), of.max_opt())?.cast_unsigned()]))
        }
        (Statistics::ByteArray(of), DataType::Utf8 | DataType::Binary)
            if of.min_is_exact() && of.max_is_exact() =>
        {
            let bytes = only(of.min_opt(), of.max_opt())?;
            match data_type {
                DataType::Utf8 => Arc::new(StringArray::from(vec![bytes.as_utf8().ok()?])),
                _ => Arc::new(BinaryArray::from_vec(vec![bytes.data()])),
            }
        }
        _ => return None,
    })
}

/// The value that is both smallest and largest.
fn only<'a, T: PartialEq>(smallest: Option<&'a T>, largest: Option<&T>) -> Option<&'a T> {
    smallest.filter(|smallest| Some(*smallest) == largest)
}

/// The value of one row in as many rows. Text comes with a dictionary.
pub(super) fn repeated(one: &ArrayRef, rows: usize) -> Result<ArrayRef, ArrowError> {
    if one.null_count() > 0 {
        return Ok(new_null_array(one.data_type(), rows));
    }
    if *one.data_type() == DataType::Utf8 {
        let keys = Int32Array::from(vec![0; rows]);
        return Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::clone(one))?));
    }
    take(one, &UInt32Array::from(vec![0; rows]), None)
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Float64Array, RecordBatch};
    use arrow::compute::cast;
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    /// Rows of each column, more than one.
    const ROWS: usize = 5;

    /// What is said of a column once it is in a file.
    fn of(column: ArrayRef) -> Option<ArrayRef> {
        let data_type = column.data_type().clone();
        let batch = RecordBatch::try_from_iter_with_nullable([("a", column, true)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        let file = SerializedFileReader::new(Bytes::from(writer.into_inner().unwrap())).unwrap();
        constant(file.metadata().row_group(0).column(0), &data_type)
    }

    #[test]
    fn a_value_in_all_rows_is_found_and_repeated() {
        let long = "x".repeat(60);
        let columns: [ArrayRef; 9] = [
            Arc::new(BooleanArray::from(vec![true; ROWS])),
            Arc::new(Int32Array::from(vec![-7; ROWS])),
            Arc::new(UInt32Array::from(vec![u32::MAX; ROWS])),
            Arc::new(Int64Array::from(vec![i64::MIN; ROWS])),
            Arc::new(UInt64Array::from(vec![u64::MAX; ROWS])),
            Arc::new(StringArray::from(vec![long.as_str(); ROWS])),
            Arc::new(StringArray::from(vec![""; ROWS])),
            Arc::new(BinaryArray::from_vec(vec![b"\xff\0"; ROWS])),
            new_null_array(&DataType::Utf8, ROWS),
        ];
        for column in columns {
            let one = of(Arc::clone(&column)).unwrap();
            assert_eq!(&one, &column.slice(0, 1));
            let all = repeated(&one, ROWS).unwrap();
            assert_eq!(&cast(&all, column.data_type()).unwrap(), &column);
        }
    }

    #[test]
    fn values_that_differ_or_may_differ_are_read() {
        let cut = ["y".repeat(100), "y".repeat(101)].concat();
        let columns: [ArrayRef; 6] = [
            Arc::new(Int64Array::from(vec![1, 1, 2])),
            Arc::new(Int64Array::from(vec![Some(1), None, Some(1)])),
            Arc::new(BooleanArray::from(vec![true, false])),
            Arc::new(StringArray::from(vec![cut.as_str(); ROWS])),
            Arc::new(StringArray::from(vec!["a", "b"])),
            // Both zeros are one number, and the file may say either.
            Arc::new(Float64Array::from(vec![0.0, -0.0])),
        ];
        for column in columns {
            assert!(of(Arc::clone(&column)).is_none(), "{column:?}");
        }
    }

    #[test]
    fn text_is_repeated_by_its_dictionary() {
        let one: ArrayRef = Arc::new(StringArray::from(vec!["once"]));
        let all = repeated(&one, ROWS).unwrap();
        assert_eq!(all.as_dictionary::<Int32Type>().values().len(), 1);
    }
}
