//! The pages of a row group as the decoder asks for them.
//!
//! Decompression is done here and not by the library's reader of pages, which makes a compressor and
//! a decompressor for each column that it opens, of 5 µs together. A scan of a minute opens some two
//! hundred, and was a seventh quicker with one decompressor per thread.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::Compression;
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length, SerializedPageReader};
use zstd::bulk::Decompressor;
use zstd::zstd_safe::get_frame_content_size;

use crate::limits::{CHUNK_BYTES_MAX, PAGE_BYTES_MAX};
use crate::read::segment::OpenSegment;
use crate::segment::read::{SegmentFile, SegmentStream};

/// The pages of a row group, column by column.
pub(super) struct GroupPages<'a> {
    pub(super) segment: &'a OpenSegment,
    pub(super) group: usize,
    /// Whether pages are read one by one, where the page index says, rather than whole columns.
    pub(super) by_location: bool,
}

impl RowGroups for GroupPages<'_> {
    fn num_rows(&self) -> usize {
        self.segment.rows(self.group)
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>, ParquetError> {
        let chunk = self.segment.chunk(self.group, column);
        let chunk = chunk.ok_or_else(|| ParquetError::General("it lacks a column".to_owned()))?;
        let file = self.segment.file.clone();
        let locations = match self.by_location {
            true => self.segment.locations(chunk)?,
            false => None,
        };
        let (start, length) = chunk.byte_range();
        let bytes = match locations.is_none() && length <= CHUNK_BYTES_MAX {
            true => Some(file.get_bytes(start, usize::try_from(length).unwrap_or(usize::MAX))?),
            false => None,
        };
        let source = Arc::new(ChunkSource { file, start, bytes });
        let rows = self.num_rows();
        let reader: Box<dyn PageReader> = match chunk.compression() {
            Compression::ZSTD(_) => {
                let plain = chunk.clone().into_builder();
                let plain = plain.set_compression(Compression::UNCOMPRESSED).build()?;
                Box::new(Decompressing(SerializedPageReader::new(source, &plain, rows, locations)?))
            }
            _ => Box::new(SerializedPageReader::new(source, chunk, rows, locations)?),
        };
        Ok(Box::new(OneColumn(Some(reader))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.segment.groups().get(self.group).into_iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.segment.metadata
    }
}

/// The pages of one column of one row group.
struct OneColumn(Option<Box<dyn PageReader>>);

impl Iterator for OneColumn {
    type Item = Result<Box<dyn PageReader>, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl PageIterator for OneColumn {}

/// Pages whose reader takes them for uncompressed ones.
struct Decompressing(SerializedPageReader<ChunkSource>);

impl Iterator for Decompressing {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Decompressing {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        self.0.get_next_page()?.map(decompressed).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.0.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.0.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>, ParquetError> {
        self.0.take_deferred_dictionary()?.map(decompressed).transpose()
    }

    fn at_record_boundary(&mut self) -> Result<bool, ParquetError> {
        self.0.at_record_boundary()
    }
}

fn decompressed(mut page: Page) -> Result<Page, ParquetError> {
    match &mut page {
        Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => *buf = decompress(buf)?,
        Page::DataPageV2 { is_compressed: false, .. } => {}
        Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
            // The levels before the values are not compressed.
            let levels = (*def_levels_byte_len as usize) + (*rep_levels_byte_len as usize);
            if levels > buf.len() {
                return Err(ParquetError::General("a page is shorter than it says".to_owned()));
            }
            let values = decompress(&buf.slice(levels..))?;
            *buf = [&buf[..levels], &values].concat().into();
        }
    }
    Ok(page)
}

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The content of a frame of zstd. A page without any value may have none.
fn decompress(frame: &Bytes) -> Result<Bytes, ParquetError> {
    if frame.is_empty() {
        return Ok(Bytes::new());
    }
    let bytes = get_frame_content_size(frame).ok().flatten();
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
    let Some(bytes) = bytes.filter(|bytes| *bytes <= PAGE_BYTES_MAX) else {
        return Err(ParquetError::General("a page does not say its size, or too much".to_owned()));
    };
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        Ok(decompressor.decompress(frame, bytes)?.into())
    })
}

/// A file of which one stretch may be in memory.
struct ChunkSource {
    file: SegmentFile,
    start: u64,
    bytes: Option<Bytes>,
}

impl ChunkSource {
    /// The bytes from an offset on, as far as they are in memory.
    fn loaded(&self, offset: u64) -> Option<Bytes> {
        let bytes = self.bytes.as_ref()?;
        let skip = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        (skip < bytes.len()).then(|| bytes.slice(skip..))
    }
}

impl Length for ChunkSource {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for ChunkSource {
    type T = SegmentStream;

    fn get_read(&self, start: u64) -> Result<SegmentStream, ParquetError> {
        match self.loaded(start) {
            Some(bytes) => Ok(SegmentStream::loaded(bytes)),
            None => self.file.get_read(start),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match self.loaded(start).filter(|bytes| bytes.len() >= length) {
            Some(bytes) => Ok(bytes.slice(..length)),
            None => self.file.get_bytes(start, length),
        }
    }
}
