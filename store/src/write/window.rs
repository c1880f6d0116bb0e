//! The rows of one table of several journals, in order and in bounded memory.
//!
//! Frames are taken in the order of their smallest time. Decoded rows wait in a window, and are
//! released in order once no unread frame can hold an earlier one: when their time and number are
//! below the smallest time and first number of the next frame. Since frames follow each other in
//! time but for little, few rows wait. When the times of frames overlap so much that too many would
//! wait, all are released and the order begins anew.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::columns;
use crate::damage::Damage;
use crate::journal::index::{FrameAt, FrameIndex};
use crate::journal::read::{Journal, JournalError};
use crate::layout;
use crate::limits::{BATCH_BYTES, WINDOW_BATCH_ROWS, WINDOW_BYTES_MAX, WINDOW_ROWS_MAX};
use crate::manifest::entry::hex;
use crate::rows::{self, RowDecoder, Wanted};
use crate::segment::{BOOT_ID, CLOCK_OFFSET, EID};
use crate::wire::{WireColumn, WireTable};

/// Why the rows of journals cannot be put in order.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WindowError {
    #[error("a journal cannot be read")]
    Journal(#[source] JournalError),
    #[error("rows cannot be sorted")]
    Sort(#[source] ArrowError),
}

/// A journal to be sealed.
pub(super) struct Source {
    pub(super) journal: Journal,
    pub(super) index: Arc<FrameIndex>,
}

/// A frame that is left out.
pub(super) struct Bad {
    pub(super) journal: u64,
    pub(super) damage: Damage,
    /// Whether its checksum is wrong, which the check at the start would have found.
    pub(super) by_checksum: bool,
}

/// A table as the journals have it together: the columns of the newest, then those that only older
/// ones have.
pub(super) struct TableColumns {
    pub(super) name: String,
    /// Name of the time column.
    pub(super) time: String,
    columns: Vec<WireColumn>,
}

impl TableColumns {
    /// The table of this name; `None` when no journal has it.
    pub(super) fn new(sources: &[Source], name: &str) -> Option<Self> {
        let mut table: Option<Self> = None;
        for source in sources.iter().rev() {
            let Some((_, found)) = find(source, name) else { continue };
            let table = table.get_or_insert_with(|| Self {
                name: name.to_owned(),
                time: found.columns.get(found.time).map_or_else(String::new, |c| c.name.clone()),
                columns: Vec::new(),
            });
            for column in &found.columns {
                if table.columns.iter().all(|known| known.name != column.name) {
                    table.columns.push(column.clone());
                }
            }
        }
        table
    }

    /// The columns of its segments.
    pub(super) fn schema(&self) -> SchemaRef {
        let mut fields = Vec::with_capacity(self.columns.len() + 3);
        for column in &self.columns {
            let data_type = columns::data_type(column.column_type);
            fields.push(Field::new(&column.name, data_type, column.nullable));
        }
        let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        fields.push(Field::new(EID, DataType::Int64, false));
        fields.push(Field::new(BOOT_ID, text, false));
        fields.push(Field::new(CLOCK_OFFSET, DataType::Int64, false));
        Arc::new(Schema::new(fields))
    }

    fn wanted(&self) -> Vec<Wanted<'_>> {
        let wanted = self.columns.iter().map(|column| Wanted {
            name: &column.name,
            column_type: column.column_type,
            nullable: column.nullable,
        });
        wanted.collect()
    }
}

/// The table of this name in a journal, and its index.
fn find<'a>(source: &'a Source, name: &str) -> Option<(usize, &'a WireTable)> {
    source.journal.header.tables.iter().enumerate().find(|(_, table)| table.name == name)
}

/// Rows in order.
pub(super) struct Ordered {
    pub(super) batch: RecordBatch,
    /// Whether they may be earlier than those before.
    pub(super) restarts: bool,
}

/// Rows on their way from frames to a segment.
pub(super) struct Window<'a> {
    sources: &'a [Source],
    /// Per source; `None` when it does not have the table.
    decoders: Vec<Option<RowDecoder<'a>>>,
    /// Unread frames with the index of their source.
    frames: VecDeque<(usize, FrameAt)>,
    schema: SchemaRef,
    name: &'a str,
    time: usize,
    /// Rows that wait, in order.
    pending: Option<RecordBatch>,
    restarts: bool,
    pub(super) bad: Vec<Bad>,
}

impl<'a> Window<'a> {
    pub(super) fn new(sources: &'a [Source], table: &'a TableColumns) -> Self {
        let mut decoders = Vec::with_capacity(sources.len());
        let mut frames = Vec::new();
        for (number, source) in sources.iter().enumerate() {
            let found = find(source, &table.name);
            decoders.push(found.map(|(_, found)| RowDecoder::new(found, table.wanted())));
            let id = found.map(|(id, _)| id);
            let of_table = |frame: &&FrameAt| Some(usize::from(frame.header.table)) == id;
            frames.extend(source.index.frames.iter().filter(of_table).map(|at| (number, *at)));
        }
        frames.sort_by_key(|(_, frame)| (frame.header.min_time_ns, frame.header.first_eid));
        let schema = table.schema();
        let time = schema.index_of(&table.time).unwrap_or(usize::MAX);
        Self {
            sources,
            decoders,
            frames: frames.into(),
            schema,
            name: &table.name,
            time,
            pending: None,
            restarts: false,
            bad: Vec::new(),
        }
    }

    pub(super) const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows in the frames that are still to be read.
    pub(super) fn rows(&self) -> usize {
        self.frames.iter().map(|(_, frame)| frame.header.rows as usize).sum()
    }

    /// The next rows; `None` when there are no more.
    pub(super) fn next(&mut self) -> Result<Option<Ordered>, WindowError> {
        loop {
            let mut batches: Vec<RecordBatch> = self.pending.take().into_iter().collect();
            let waiting: usize = batches.iter().map(RecordBatch::num_rows).sum();
            if batches.is_empty() && self.frames.is_empty() {
                return Ok(None);
            }
            self.load(WINDOW_BATCH_ROWS.max(waiting), &mut batches)?;
            let all = self.sorted(&batches).map_err(WindowError::Sort)?;
            let rows = all.num_rows();
            let ready = self.ready(&all);
            let bytes = all.get_array_memory_size();
            if rows - ready > WINDOW_ROWS_MAX || (ready < rows && bytes > WINDOW_BYTES_MAX) {
                let restarts = std::mem::replace(&mut self.restarts, true);
                return Ok(Some(Ordered { batch: all, restarts }));
            }
            self.pending = (ready < rows).then(|| all.slice(ready, rows - ready));
            if ready > 0 {
                let restarts = std::mem::take(&mut self.restarts);
                return Ok(Some(Ordered { batch: all.slice(0, ready), restarts }));
            }
        }
    }

    /// How many of the rows, which are in order, come before every unread one.
    fn ready(&self, batch: &RecordBatch) -> usize {
        let Some((_, next)) = self.frames.front() else {
            return batch.num_rows();
        };
        let bound = (next.header.min_time_ns, next.header.first_eid);
        keys(batch, self.time).partition_point(|key| *key < bound)
    }

    /// Decodes the next frames, about `goal` rows, into a batch per journal.
    fn load(&mut self, goal: usize, out: &mut Vec<RecordBatch>) -> Result<(), WindowError> {
        let mut loaded: Vec<Vec<Loaded>> = self.sources.iter().map(|_| Vec::new()).collect();
        let (mut rows, mut bytes) = (0, 0);
        while rows < goal
            && bytes < BATCH_BYTES
            && let Some((number, frame)) = self.frames.pop_front()
        {
            let (Some(source), Some(loaded)) = (self.sources.get(number), loaded.get_mut(number))
            else {
                continue;
            };
            let payload = source.journal.payload(&frame).map_err(WindowError::Journal)?;
            match payload {
                Some(payload) => {
                    rows += frame.header.rows as usize;
                    bytes += payload.len();
                    loaded.push(Loaded { frame, payload });
                }
                None => self.leave_out(number, &frame, "its checksum is wrong", true),
            }
        }
        for (number, frames) in loaded.into_iter().enumerate() {
            out.extend(self.decode(number, frames).map_err(WindowError::Sort)?);
        }
        Ok(())
    }

    /// Decodes frames of one journal; those that cannot be decoded are left out.
    fn decode(
        &mut self,
        number: usize,
        mut frames: Vec<Loaded>,
    ) -> Result<Option<RecordBatch>, ArrowError> {
        while !frames.is_empty() {
            let Some(Some(decoder)) = self.decoders.get(number) else { break };
            let mut batch = decoder.batch();
            let mut decoded = frames.iter().enumerate().map(|(position, loaded)| {
                let done = batch.decode(&loaded.payload, loaded.frame.header.rows);
                done.map_err(|error| (position, error.to_string()))
            });
            match decoded.find_map(Result::err) {
                None => return self.assemble(number, batch.finish(), &frames).map(Some),
                Some((position, reason)) => {
                    let frame = frames.remove(position).frame;
                    self.leave_out(number, &frame, &reason, false);
                }
            }
        }
        Ok(None)
    }

    /// Adds to decoded columns what the frames' headers say of each row.
    fn assemble(
        &self,
        number: usize,
        mut arrays: Vec<ArrayRef>,
        frames: &[Loaded],
    ) -> Result<RecordBatch, ArrowError> {
        let headers = || frames.iter().map(|loaded| &loaded.frame.header);
        let eids = rows::eids(headers());
        let boot_id = self.sources.get(number).map(|source| source.journal.header.boot_id);
        let boot_ids = StringArray::from_iter_values([hex(&boot_id.unwrap_or_default())]);
        let keys = Int32Array::from(vec![0; eids.len()]);
        let boot = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(boot_ids))?;
        arrays.push(Arc::new(eids));
        arrays.push(Arc::new(boot));
        arrays.push(Arc::new(rows::clock_offsets(headers())));
        RecordBatch::try_new(SchemaRef::clone(&self.schema), arrays)
    }

    fn leave_out(&mut self, number: usize, frame: &FrameAt, why: &str, by_checksum: bool) {
        let journal = self.sources.get(number).map_or(0, |source| source.journal.key().number);
        let file = layout::journal_name(journal);
        let damage = Damage::frame(file, self.name, &frame.header, why);
        self.bad.push(Bad { journal, damage, by_checksum });
    }

    /// All rows of some batches in order.
    fn sorted(&self, batches: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
        let all = match batches {
            [batch] => batch.clone(),
            batches => concat_batches(&self.schema, batches)?,
        };
        sort(&all, self.time)
    }
}

/// A frame and its payload, which matches its checksum.
struct Loaded {
    frame: FrameAt,
    payload: Vec<u8>,
}

/// Time and number of each row.
pub(super) fn keys(batch: &RecordBatch, time: usize) -> Vec<(i64, i64)> {
    let times = batch.columns().get(time).and_then(int64);
    let eids = batch.column_by_name(EID).and_then(int64);
    let pairs = times.zip(eids).map(|(times, eids)| times.iter().zip(eids));
    pairs.into_iter().flatten().map(|(time, eid)| (*time, *eid)).collect()
}

fn int64(array: &ArrayRef) -> Option<&[i64]> {
    array.as_primitive_opt::<Int64Type>().map(|array| array.values().as_ref())
}

/// The rows in the order of time, then number.
pub(super) fn sort(batch: &RecordBatch, time: usize) -> Result<RecordBatch, ArrowError> {
    let keys = keys(batch, time);
    if keys.is_sorted() {
        return Ok(batch.clone());
    }
    let mut order: Vec<(i64, i64, u32)> =
        keys.iter().zip(0..).map(|((time, eid), index)| (*time, *eid, index)).collect();
    order.sort_unstable();
    let order = UInt32Array::from_iter_values(order.iter().map(|(_, _, index)| *index));
    let columns: Result<Vec<ArrayRef>, _> =
        batch.columns().iter().map(|column| take(column, &order, None)).collect();
    RecordBatch::try_new(batch.schema(), columns?)
}
