//! How the columns of a segment are encoded.
//!
//! The choice is made once per file, from its first rows:
//!
//! - *Integers that repeat* get a dictionary; those of 64 bits that do not (times, row numbers,
//!   starts of processes) are stored as differences from one to the next (`DELTA_BINARY_PACKED`),
//!   which is also what a dictionary that outgrows its limit falls back to. Those of 32 bits are
//!   stored plain: parquet 60.1 cannot step over differences of theirs whose sum does not fit 32
//!   bits.
//! - *Text that repeats* gets a dictionary, so that readers compare numbers instead of text. Text
//!   that hardly repeats is stored value by value: a dictionary of it would cost a hash table and its
//!   numbers, and gain nothing. Plain values compress best: on lifelike command lines zstd makes 10.9
//!   bytes a row of them, 12.2 with the lengths apart, 12.7 with prefixes shared, in the same time.
//!   Higher levels of zstd save another tenth and take four times as long.
//! - Statistics are kept per page, so that every column has a page index.
//!
//! A chunk may begin with a dictionary and go on without; any reader of Parquet copes with that.

use std::collections::HashSet;
use std::hash::Hash;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use crate::limits::{DICTIONARY_BYTES, PAGE_BYTES, PAGE_ROWS, ROW_GROUP_ROWS};

/// Share of values that a bloom filter lets through wrongly.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Rows that are looked at to choose encodings.
const SAMPLE_ROWS: usize = 4096;

/// Of text: the share of different values, in percent, from which a dictionary does not pay.
const TEXT_DISTINCT_PERCENT: usize = 70;

/// Of integers: the same.
const INTEGER_DISTINCT_PERCENT: usize = 30;

/// The settings for a file that begins with the rows of `sample`. `bloom` names the columns that
/// are to have a bloom filter.
pub(super) fn properties(sample: &RecordBatch, bloom: &[String]) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("bygone ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(None)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_statistics_enabled(EnabledStatistics::Page);
    let rows = sample.num_rows().min(SAMPLE_ROWS);
    let sample = sample.slice(0, rows);
    for (field, array) in sample.schema().fields().iter().zip(sample.columns()) {
        let path = ColumnPath::from(field.name().as_str());
        properties = encoding(properties, &path, array);
        if bloom.contains(field.name()) {
            // The filter is folded to the size that the values found need.
            properties = properties
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
                .set_column_bloom_filter_max_ndv(path, ROW_GROUP_ROWS as u64);
        }
    }
    properties.build()
}

fn encoding(
    properties: WriterPropertiesBuilder,
    path: &ColumnPath,
    array: &ArrayRef,
) -> WriterPropertiesBuilder {
    let present = array.len() - array.null_count();
    let (distinct, fallback, percent) = match array.data_type() {
        DataType::Int32 => integers::<Int32Type>(array, Encoding::PLAIN),
        DataType::UInt32 => integers::<UInt32Type>(array, Encoding::PLAIN),
        DataType::Int64 => integers::<Int64Type>(array, Encoding::DELTA_BINARY_PACKED),
        DataType::UInt64 => integers::<UInt64Type>(array, Encoding::DELTA_BINARY_PACKED),
        DataType::Utf8 => texts(array.as_string::<i32>().iter().flatten()),
        DataType::Binary => texts(array.as_binary::<i32>().iter().flatten()),
        DataType::Float64 => {
            let bits = array.as_primitive::<Float64Type>().iter().flatten().map(f64::to_bits);
            (distinct(bits), Encoding::PLAIN, INTEGER_DISTINCT_PERCENT)
        }
        _ => return properties,
    };
    let repeats = present == 0 || distinct * 100 < present * percent;
    properties
        .set_column_encoding(path.clone(), fallback)
        .set_column_dictionary_enabled(path.clone(), repeats)
}

fn integers<T: ArrowPrimitiveType<Native: Hash + Eq>>(
    array: &ArrayRef,
    otherwise: Encoding,
) -> (usize, Encoding, usize) {
    let values = array.as_primitive::<T>().iter().flatten();
    (distinct(values), otherwise, INTEGER_DISTINCT_PERCENT)
}

fn texts<T: Hash + Eq>(values: impl Iterator<Item = T>) -> (usize, Encoding, usize) {
    (distinct(values), Encoding::PLAIN, TEXT_DISTINCT_PERCENT)
}

fn distinct<T: Hash + Eq>(values: impl Iterator<Item = T>) -> usize {
    values.collect::<HashSet<_>>().len()
}
