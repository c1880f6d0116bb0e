//! A row group that is moved whole from one segment to another.

use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use crate::segment::EID;
use crate::segment::read::SegmentFile;

/// A row group of an open segment, with all that belongs to it.
pub(crate) struct MovableGroup {
    pub(super) file: SegmentFile,
    pub(super) rows: u64,
    /// Smallest and largest time, in nanoseconds since the Unix epoch.
    pub(super) times: (i64, i64),
    /// Smallest and largest eid.
    pub(super) eids: (i64, i64),
    /// Per column what its writer said when it was closed: bloom filter and page index included.
    pub(super) columns: Vec<ColumnCloseResult>,
    bytes: u64,
}

impl MovableGroup {
    /// Reads what belongs to row group `index`. `metadata` must hold the page index; `time` is the
    /// name of the time column.
    pub(crate) fn load(
        file: &SegmentFile,
        metadata: &ParquetMetaData,
        index: usize,
        time: &str,
    ) -> Result<Self, ParquetError> {
        let missing =
            |what: &str| ParquetError::General(format!("row group {index} has no {what}"));
        let group = metadata.row_groups().get(index).ok_or_else(|| missing("place"))?;
        let pages = metadata.page_index_for_row_group(index);
        let mut columns = Vec::with_capacity(group.num_columns());
        for (number, column) in group.columns().iter().enumerate() {
            columns.push(ColumnCloseResult {
                bytes_written: u64::try_from(column.compressed_size()).unwrap_or(0),
                rows_written: u64::try_from(group.num_rows()).unwrap_or(0),
                metadata: column.clone(),
                bloom_filter: Sbbf::read_from_column_chunk(column, file)?,
                column_index: pages.column_index(number).cloned(),
                offset_index: pages.offset_index(number).cloned(),
            });
        }
        Ok(Self {
            file: file.clone(),
            rows: u64::try_from(group.num_rows()).unwrap_or(0),
            times: range(group, time).ok_or_else(|| missing("range of times"))?,
            eids: range(group, EID).ok_or_else(|| missing("range of row numbers"))?,
            bytes: columns.iter().map(|column| column.bytes_written).sum(),
            columns,
        })
    }

    /// Bytes of its columns.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Smallest and largest value of a column of 64-bit integers; `None` when the file does not say.
pub(crate) fn range(group: &RowGroupMetaData, name: &str) -> Option<(i64, i64)> {
    let mut chunks = group.columns().iter();
    let chunk = chunks.find(|chunk| chunk.column_path().string() == name)?;
    match chunk.statistics()? {
        Statistics::Int64(statistics) => {
            statistics.min_opt().copied().zip(statistics.max_opt().copied())
        }
        _ => None,
    }
}
