//! One open segment: its footer, its columns, and readers over parts of its row groups.
//!
//! The footer is parsed once and kept. Page indexes and bloom filters are read where a scan asks
//! for them, for one column of one row group at a time: that is a short read and a few microseconds
//! each, and most scans need few of them.
//!
//! Text comes with its dictionary where a column of a row group has no page without one, and plain
//! otherwise: to rebuild a dictionary from plain pages would cost more than it saves.

use std::collections::HashMap;
use std::ops::Range;
use std::slice;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, Fields};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowSelection};
use parquet::arrow::{
    FieldLevels, ProjectionMask, parquet_to_arrow_field_levels, parquet_to_arrow_schema,
};
use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::index_reader::{decode_column_index, decode_offset_index};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::ChunkReader;

use crate::guard::Unreadable;
use crate::read::constant::constant;
use crate::read::pages::GroupPages;
use crate::segment::read::SegmentFile;

/// An open segment with its footer.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) file: SegmentFile,
    pub(super) metadata: Arc<ParquetMetaData>,
    /// The columns with the types that they have in memory, text without a dictionary.
    fields: Fields,
    columns: HashMap<String, usize>,
    /// Per column, how it is decoded alone: plain, and with a dictionary.
    levels: Vec<(OnceLock<FieldLevels>, OnceLock<FieldLevels>)>,
}

/// The pages of one column of a row group.
pub(super) struct Pages {
    /// The rows of each, within the row group.
    pub(super) rows: Vec<Range<usize>>,
    /// What is known of the values of each.
    pub(super) index: ColumnIndexMetaData,
}

impl OpenSegment {
    /// Reads the footer.
    pub(super) fn new(file: SegmentFile) -> Result<Self, Unreadable> {
        let metadata = file.metadata()?;
        let schema = metadata.file_metadata().schema_descr();
        let fields = parquet_to_arrow_schema(schema, None).map_err(unreadable)?.fields;
        // One leaf per column; what this program writes is flat.
        if fields.len() != schema.num_columns() {
            return Err(Unreadable("its columns are nested".to_owned()));
        }
        let names = fields.iter().enumerate();
        let columns = names.map(|(index, field)| (field.name().clone(), index)).collect();
        let levels = fields.iter().map(|_| <(OnceLock<_>, OnceLock<_>)>::default()).collect();
        Ok(Self { file, metadata, fields, columns, levels })
    }

    /// Memory that it takes, in bytes, roughly.
    pub(super) fn bytes(&self) -> usize {
        // A field with its name, the name again, and how it is decoded.
        self.metadata.memory_size() + self.fields.len() * 1024
    }

    pub(super) fn groups(&self) -> &[RowGroupMetaData] {
        self.metadata.row_groups()
    }

    /// The index of a column, when it has this type.
    pub(super) fn column(&self, name: &str, data_type: &DataType) -> Option<usize> {
        let index = *self.columns.get(name)?;
        (self.fields.get(index)?.data_type() == data_type).then_some(index)
    }

    pub(super) fn chunk(&self, group: usize, column: usize) -> Option<&ColumnChunkMetaData> {
        self.groups().get(group)?.columns().get(column)
    }

    /// The pages of a column of a row group; `None` when the file does not say.
    pub(super) fn pages(&self, group: usize, column: usize) -> Result<Option<Pages>, Unreadable> {
        let Some(chunk) = self.chunk(group, column) else {
            return Ok(None);
        };
        let (Some(range), Some(locations)) =
            (chunk.column_index_range(), self.locations(chunk).map_err(unreadable)?)
        else {
            return Ok(None);
        };
        let bytes = self.bytes_at(range).map_err(unreadable)?;
        let index = decode_column_index(&bytes, chunk.column_type()).map_err(unreadable)?;
        let total = self.rows(group);
        let starts = locations.iter().map(|page| usize::try_from(page.first_row_index));
        let starts: Result<Vec<usize>, _> = starts.collect();
        let starts = starts.map_err(|_negative| Unreadable("a page begins nowhere".to_owned()))?;
        let ends = starts.iter().skip(1).copied().chain([total]);
        let rows: Vec<_> = starts.iter().copied().zip(ends).map(|(from, to)| from..to).collect();
        let whole = rows.first().is_none_or(|first| first.start == 0)
            && rows.iter().all(|page| page.start <= page.end)
            && index.num_pages() == rows.len() as u64;
        whole
            .then_some(Some(Pages { rows, index }))
            .ok_or_else(|| Unreadable("its page index does not match its pages".to_owned()))
    }

    pub(super) fn locations(
        &self,
        chunk: &ColumnChunkMetaData,
    ) -> Result<Option<Vec<PageLocation>>, ParquetError> {
        let Some(range) = chunk.offset_index_range() else {
            return Ok(None);
        };
        let index = decode_offset_index(&self.bytes_at(range)?)?;
        Ok(Some(index.page_locations().clone()))
    }

    fn bytes_at(&self, range: Range<u64>) -> Result<Bytes, ParquetError> {
        let length = range.end.saturating_sub(range.start);
        self.file.get_bytes(range.start, usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// The bloom filter of a column of a row group; `None` when it has none.
    pub(super) fn bloom(&self, group: usize, column: usize) -> Result<Option<Sbbf>, Unreadable> {
        match self.chunk(group, column).filter(|chunk| chunk.bloom_filter_offset().is_some()) {
            Some(chunk) => Sbbf::read_from_column_chunk(chunk, &self.file).map_err(unreadable),
            None => Ok(None),
        }
    }

    /// How many rows a row group has.
    pub(super) fn rows(&self, group: usize) -> usize {
        let rows = self.groups().get(group).map_or(0, RowGroupMetaData::num_rows);
        usize::try_from(rows).unwrap_or(0)
    }

    /// Decodes some columns of some rows of a row group, batch by batch. The rows are ascending; the
    /// result has the columns in the file's order.
    pub(super) fn read(
        &self,
        group: usize,
        columns: &[usize],
        rows: &[Range<usize>],
        batch_rows: usize,
    ) -> Result<ParquetRecordBatchReader, Unreadable> {
        let levels = self.levels(columns, |column| self.is_dictionary(group, column))?;
        self.reader(group, &levels, rows, batch_rows)
    }

    /// Decodes some columns of some rows of a row group at once, one column after the other: each
    /// has a decompressor of its own, and for few rows the memory of many of them at a time costs
    /// more than the decoding. The result is in the order of the columns.
    pub(super) fn read_at_once(
        &self,
        group: usize,
        columns: &[usize],
        rows: &[Range<usize>],
    ) -> Result<Vec<ArrayRef>, Unreadable> {
        let count: usize = rows.iter().map(ExactSizeIterator::len).sum();
        let mut arrays = Vec::with_capacity(columns.len());
        for column in columns {
            let dictionary = self.is_dictionary(group, *column);
            let known = self.levels.get(*column).map(|both| match dictionary {
                true => &both.1,
                false => &both.0,
            });
            let known = known.ok_or_else(|| Unreadable("it lacks a column".to_owned()))?;
            let levels = match known.get() {
                Some(levels) => levels,
                None => {
                    let levels = self.levels(slice::from_ref(column), |_| dictionary)?;
                    known.get_or_init(|| levels)
                }
            };
            let mut reader = self.reader(group, levels, rows, count.max(1))?;
            let batch = reader.next().transpose();
            let batch = batch.map_err(|error| Unreadable(error.to_string()))?;
            let array = batch.and_then(|batch| batch.columns().first().map(Arc::clone));
            let array = array.filter(|array| array.len() == count);
            arrays.push(array.ok_or_else(|| Unreadable("a column is too short".to_owned()))?);
        }
        Ok(arrays)
    }

    /// What all rows of a column of a row group hold, when the footer says that it is the same.
    pub(super) fn constant(&self, group: usize, column: usize) -> Option<ArrayRef> {
        let chunk = self.chunk(group, column)?;
        constant(chunk, self.fields.get(column)?.data_type())
    }

    fn is_dictionary(&self, group: usize, column: usize) -> bool {
        let is_text = self.fields.get(column).is_some_and(|of| *of.data_type() == DataType::Utf8);
        is_text && self.chunk(group, column).is_some_and(is_dictionary)
    }

    /// How columns are decoded.
    fn levels(
        &self,
        columns: &[usize],
        is_dictionary: impl Fn(usize) -> bool,
    ) -> Result<FieldLevels, Unreadable> {
        let fields = self.fields.iter().enumerate().map(|(index, field)| {
            match columns.contains(&index) && is_dictionary(index) {
                true => Arc::new(Field::new(field.name(), text_dictionary(), field.is_nullable())),
                false => Arc::clone(field),
            }
        });
        let fields: Fields = fields.collect();
        let schema = self.metadata.file_metadata().schema_descr();
        let mask = ProjectionMask::leaves(schema, columns.iter().copied());
        parquet_to_arrow_field_levels(schema, mask, Some(&fields)).map_err(unreadable)
    }

    fn reader(
        &self,
        group: usize,
        levels: &FieldLevels,
        rows: &[Range<usize>],
        batch_rows: usize,
    ) -> Result<ParquetRecordBatchReader, Unreadable> {
        let total = self.rows(group);
        let whole = matches!(rows, [all] if *all == (0..total));
        let selection =
            (!whole).then(|| RowSelection::from_consecutive_ranges(rows.iter().cloned(), total));
        let selected: usize = rows.iter().map(ExactSizeIterator::len).sum();
        let pages = GroupPages { segment: self, group, by_location: selected < total / 2 };
        ParquetRecordBatchReader::try_new_with_row_groups(levels, &pages, batch_rows, selection)
            .map_err(unreadable)
    }
}

pub(super) fn text_dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Whether every page of a column refers to its dictionary.
fn is_dictionary(chunk: &ColumnChunkMetaData) -> bool {
    chunk.dictionary_page_offset().is_some()
        && chunk.page_encoding_stats_mask().is_some_and(|mask| {
            mask.is_only(Encoding::RLE_DICTIONARY) || mask.is_only(Encoding::PLAIN_DICTIONARY)
        })
}

fn unreadable(error: ParquetError) -> Unreadable {
    Unreadable(error.to_string())
}
