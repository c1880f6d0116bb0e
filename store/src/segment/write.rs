//! Writing a segment.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, UInt32Type, UInt64Type};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};

use crate::columns;
use crate::disk::{DiskFile, Folder};
use crate::layout;
use crate::limits::{PAGE_ROWS, ROW_GROUP_ROWS};
use crate::manifest::entry::{SegmentEntry, hex};
use crate::segment::{BOOT_ID, CLOCK_OFFSET, EID, FORMAT, key};
use crate::wire::WireTable;

/// Share of values that a bloom filter lets through wrongly.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Why a segment was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentWriteError {
    #[error("cannot write {path}", path = .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot encode {path}", path = .path.display())]
    Encode { path: PathBuf, source: ParquetError },
    #[error("cannot sort the rows of table {table}")]
    Sort { table: String, source: ArrowError },
}

/// Rows of one table, as decoded from a journal.
pub(crate) struct SegmentRows {
    pub(crate) table: WireTable,
    /// The table's columns, in its order.
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) eid: Int64Array,
    pub(crate) clock_offset_ns: Int64Array,
    pub(crate) boot_id: [u8; 16],
    /// Names of the columns that are to have a bloom filter.
    pub(crate) bloom: Vec<&'static str>,
}

/// Writes rows of journal `journal` to a segment, which is on disk under its name on return.
pub(crate) fn write(
    dir: &Folder,
    journal: u64,
    rows: SegmentRows,
) -> Result<SegmentEntry, SegmentWriteError> {
    let table = rows.table.name.clone();
    let name = layout::segment_name(&table, 0, journal);
    let path = dir.join(&name);
    let sort = |source| SegmentWriteError::Sort { table: table.clone(), source };
    let bloom = rows.bloom.clone();
    let time_column = rows.table.time;
    let batch = sorted(rows).map_err(sort)?;
    let mut entry = SegmentEntry {
        path: name,
        table,
        level: 0,
        journal,
        sha256: String::new(),
        bytes: 0,
        rows: batch.num_rows() as u64,
        first_eid: 0,
        last_eid: 0,
        min_time_ns: 0,
        max_time_ns: 0,
    };
    (entry.min_time_ns, entry.max_time_ns) = bounds(Some(batch.column(time_column)));
    (entry.first_eid, entry.last_eid) = bounds(batch.column_by_name(EID));

    let failed = |source| SegmentWriteError::File { path: path.clone(), source };
    if let Some(parent) = path.parent() {
        dir.create_dir_private(parent).map_err(failed)?;
        dir.sync_dir(&layout::segments_dir(dir.path())).map_err(failed)?;
    }
    let temporary = path.with_extension(layout::TEMPORARY_EXTENSION);
    let file = dir.create(&temporary).map_err(failed)?;
    let encode = |source| SegmentWriteError::Encode { path: path.clone(), source };
    let written = encode_file(file, &batch, properties(&entry, &batch, &bloom)).map_err(encode)?;
    written.file.sync().map_err(failed)?;
    dir.rename_durable(&temporary, &path).map_err(failed)?;
    entry.bytes = written.bytes;
    entry.sha256 = hex(&written.hasher.finalize());
    Ok(entry)
}

/// The rows in order of time, then eid.
fn sorted(rows: SegmentRows) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::with_capacity(rows.columns.len() + 3);
    for column in &rows.table.columns {
        let data_type = columns::data_type(column.column_type);
        fields.push(Field::new(&column.name, data_type, column.nullable));
    }
    let count = rows.eid.len();
    let order = order(rows.columns.get(rows.table.time), &rows.eid);
    let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    fields.push(Field::new(EID, DataType::Int64, false));
    fields.push(Field::new(BOOT_ID, text, false));
    fields.push(Field::new(CLOCK_OFFSET, DataType::Int64, false));

    let boot_ids = Arc::new(StringArray::from_iter_values([hex(&rows.boot_id)]));
    let boot_keys = Int32Array::from(vec![0; count]);
    let boot = DictionaryArray::<Int32Type>::try_new(boot_keys, boot_ids)?;
    let mut arrays = rows.columns;
    arrays.push(Arc::new(rows.eid));
    arrays.push(Arc::new(boot));
    arrays.push(Arc::new(rows.clock_offset_ns));
    if let Some(order) = order {
        for array in &mut arrays {
            *array = take(array, &order, None)?;
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

/// The order of the rows; `None` when they are in order.
fn order(time: Option<&ArrayRef>, eid: &Int64Array) -> Option<UInt32Array> {
    let time = time?.as_primitive_opt::<Int64Type>()?.values();
    let keys: Vec<(i64, i64)> = time.iter().copied().zip(eid.values().iter().copied()).collect();
    if keys.is_sorted() {
        return None;
    }
    let mut order: Vec<u32> = (0..keys.len() as u32).collect();
    order.sort_unstable_by_key(|index| keys[*index as usize]);
    Some(UInt32Array::from(order))
}

fn bounds(column: Option<&ArrayRef>) -> (i64, i64) {
    let values = column.and_then(|column| column.as_primitive_opt::<Int64Type>());
    let values = values.map(|array| array.values().iter().copied());
    let min = values.clone().and_then(Iterator::min);
    min.zip(values.and_then(Iterator::max)).unwrap_or((0, 0))
}

fn properties(entry: &SegmentEntry, batch: &RecordBatch, bloom: &[&str]) -> WriterProperties {
    let metadata = [
        (key::FORMAT, FORMAT.to_string()),
        (key::TABLE, entry.table.clone()),
        (key::LEVEL, entry.level.to_string()),
        (key::JOURNAL, entry.journal.to_string()),
        (key::ROWS, entry.rows.to_string()),
        (key::FIRST_EID, entry.first_eid.to_string()),
        (key::LAST_EID, entry.last_eid.to_string()),
        (key::MIN_TIME, entry.min_time_ns.to_string()),
        (key::MAX_TIME, entry.max_time_ns.to_string()),
    ];
    let metadata = metadata.map(|(key, value)| KeyValue::new(key.to_owned(), value));
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("bygone ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(parquet::basic::ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_key_value_metadata(Some(metadata.to_vec()));
    for name in bloom {
        let Some(distinct) = batch.column_by_name(name).and_then(distinct) else {
            continue;
        };
        let path = ColumnPath::from(*name);
        properties = properties
            .set_column_bloom_filter_enabled(path.clone(), true)
            .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
            .set_column_bloom_filter_max_ndv(path, distinct.max(1) as u64);
    }
    properties.build()
}

/// How many values of a column differ; `None` for types that have no bloom filter.
fn distinct(array: &ArrayRef) -> Option<usize> {
    match array.data_type() {
        DataType::Utf8 => {
            Some(array.as_string::<i32>().iter().flatten().collect::<HashSet<_>>().len())
        }
        DataType::UInt32 => {
            let array = array.as_primitive::<UInt32Type>();
            Some(array.iter().flatten().collect::<HashSet<_>>().len())
        }
        DataType::UInt64 => {
            let array = array.as_primitive::<UInt64Type>();
            Some(array.iter().flatten().collect::<HashSet<_>>().len())
        }
        _ => None,
    }
}

/// A file that is hashed as it is written.
struct Hashed {
    file: Box<dyn DiskFile>,
    hasher: Sha256,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn encode_file(
    file: Box<dyn DiskFile>,
    batch: &RecordBatch,
    properties: WriterProperties,
) -> Result<Hashed, ParquetError> {
    let hashed = Hashed { file, hasher: Sha256::new(), bytes: 0 };
    let mut writer = ArrowWriter::try_new(hashed, batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.into_inner()
}
