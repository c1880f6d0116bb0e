//! The segments that one step of work writes for one table: as many files as their bound on size,
//! or a break in the order of the rows, makes necessary.

use std::io;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::file::metadata::KeyValue;

use crate::disk::Folder;
use crate::layout;
use crate::limits::{ROW_GROUP_ROWS, SEGMENT_BYTES_MAX};
use crate::manifest::entry::SegmentEntry;
use crate::segment::encode;
use crate::segment::moving::MovableGroup;
use crate::segment::write::{Extent, SegmentWriteError, SegmentWriter, temporary};
use crate::segment::{FORMAT, key};

/// What the files have in common.
#[derive(Clone, Debug)]
pub(crate) struct SeriesPlan {
    pub(crate) table: String,
    pub(crate) level: u32,
    /// The number in their names; each table and level has it once.
    pub(crate) number: u64,
    pub(crate) late: bool,
    pub(crate) first_journal: u64,
    pub(crate) journal: u64,
    pub(crate) sealed_ns: i64,
    /// The journals that were sealed, at level 0.
    pub(crate) journals: Vec<u64>,
    /// Paths of the segments that were merged, at other levels.
    pub(crate) replaces: Vec<String>,
    pub(crate) schema: SchemaRef,
    /// Name of the time column.
    pub(crate) time: String,
    /// Names of the columns that are to have a bloom filter.
    pub(crate) bloom: Vec<String>,
}

/// Segments under construction, one at a time.
pub(crate) struct Series {
    dir: Folder,
    plan: SeriesPlan,
    /// Rows of a row group.
    group_rows_max: usize,
    /// Part that the next file gets.
    part: u32,
    current: Option<SegmentWriter>,
    done: Vec<SegmentEntry>,
}

impl Series {
    /// Nothing is written before there are rows.
    pub(crate) fn new(dir: &Folder, plan: SeriesPlan) -> Self {
        let dir = dir.clone();
        let group_rows_max = ROW_GROUP_ROWS;
        Self { dir, plan, group_rows_max, part: 0, current: None, done: Vec::new() }
    }

    /// Says how many rows are to come, so that they are spread evenly over row groups.
    pub(crate) fn expect(&mut self, rows: usize) {
        self.group_rows_max = rows.div_ceil(rows.div_ceil(ROW_GROUP_ROWS).max(1)).max(1);
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.plan.schema
    }

    /// Adds rows, in order.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), SegmentWriteError> {
        let mut rest = batch.clone();
        while rest.num_rows() > 0 {
            let limit = self.group_rows_max;
            let writer = self.writer(&rest, 0)?;
            let room = limit.saturating_sub(writer.group_rows()).max(1).min(rest.num_rows());
            writer.write(&rest.slice(0, room))?;
            if writer.group_rows() >= limit {
                writer.end_group()?;
            }
            rest = rest.slice(room, rest.num_rows() - room);
        }
        Ok(())
    }

    /// Adds a whole row group of another segment.
    pub(crate) fn move_group(&mut self, group: MovableGroup) -> Result<(), SegmentWriteError> {
        self.end_group()?;
        let bytes = group.bytes();
        let sample = RecordBatch::new_empty(SchemaRef::clone(&self.plan.schema));
        self.writer(&sample, bytes)?.move_group(group)
    }

    /// Ends the row group and the file: the next rows may be earlier.
    pub(crate) fn restart(&mut self) -> Result<(), SegmentWriteError> {
        self.end_file(false)
    }

    /// Ends the row group: the next rows begin another.
    pub(crate) fn end_group(&mut self) -> Result<(), SegmentWriteError> {
        self.current.as_mut().map_or(Ok(()), SegmentWriter::end_group)
    }

    /// The file to write to, which has room for `bytes` more.
    fn writer(
        &mut self,
        sample: &RecordBatch,
        bytes: u64,
    ) -> Result<&mut SegmentWriter, SegmentWriteError> {
        let full = self.current.as_ref().is_some_and(|writer| {
            // A row group that is being encoded may still grow to its bound.
            let after = writer.bytes() + bytes.max(GROUP_BYTES_ROOM);
            writer.group_rows() == 0 && writer.bytes() > HEAD_BYTES && after > SEGMENT_BYTES_MAX
        });
        if full {
            self.end_file(false)?;
        }
        if self.current.is_none() {
            let plan = &self.plan;
            let properties = encode::properties(sample, &plan.bloom);
            let path = self.dir.join(self.name(self.part));
            let schema = SchemaRef::clone(&plan.schema);
            let writer = SegmentWriter::create(&self.dir, path, schema, &plan.time, properties)?;
            self.current = Some(writer);
        }
        #[expect(clippy::expect_used, reason = "it was put there just before")]
        Ok(self.current.as_mut().expect("there is a file"))
    }

    fn name(&self, part: u32) -> String {
        let SeriesPlan { table, late, level, number, .. } = &self.plan;
        layout::segment_name(table, *late, *level, *number, part)
    }

    fn end_file(&mut self, last: bool) -> Result<(), SegmentWriteError> {
        let Some(writer) = self.current.take() else {
            return Ok(());
        };
        let (plan, part) = (&self.plan, self.part);
        let path = self.name(part);
        let finished = writer.finish(|extent| metadata(plan, extent, &path, (part, last)))?;
        let extent = finished.extent;
        self.done.push(SegmentEntry {
            path,
            table: plan.table.clone(),
            level: plan.level,
            late: plan.late,
            first_journal: plan.first_journal,
            journal: plan.journal,
            sha256: finished.sha256,
            bytes: finished.bytes,
            rows: extent.rows,
            first_eid: extent.first_eid,
            last_eid: extent.last_eid,
            min_time_ns: extent.min_time_ns,
            max_time_ns: extent.max_time_ns,
            sealed_ns: plan.sealed_ns,
        });
        self.part += 1;
        Ok(())
    }

    /// Ends the last file. All of them are on disk under their names on return.
    pub(crate) fn finish(mut self) -> Result<Vec<SegmentEntry>, SegmentWriteError> {
        self.end_file(true)?;
        let mut folder = None;
        for file in &self.done {
            let path = self.dir.join(&file.path);
            let renamed = self.dir.rename(&temporary(&path), &path);
            renamed.map_err(|source| SegmentWriteError::File { path: path.clone(), source })?;
            folder = path.parent().map(Path::to_path_buf);
        }
        if let Some(path) = folder {
            let synced = self.dir.sync_dir(&path);
            synced.map_err(|source| SegmentWriteError::File { path, source })?;
        }
        Ok(std::mem::take(&mut self.done))
    }
}

impl Drop for Series {
    /// What was not finished goes, with its name or without.
    fn drop(&mut self) {
        let begun = self.current.take().map(|_| self.name(self.part));
        let done = self.done.iter().map(|file| file.path.clone());
        for name in done.chain(begun) {
            let path = self.dir.join(name);
            remove(&self.dir, &temporary(&path));
            remove(&self.dir, &path);
        }
    }
}

/// Removes segments that no entry will name: the next attempt may give its own other names.
pub(crate) fn discard(dir: &Folder, files: &[SegmentEntry]) {
    for file in files {
        remove(dir, &dir.join(&file.path));
    }
}

fn remove(dir: &Folder, path: &Path) {
    match dir.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(error = %error, path = %path.display(), "A left-over stays for now");
        }
        _ => {}
    }
}

/// Bytes that a row group may take in the file.
const GROUP_BYTES_ROOM: u64 = crate::limits::GROUP_BYTES_MAX as u64;

/// Bytes of a file without rows.
const HEAD_BYTES: u64 = 4;

fn metadata(
    plan: &SeriesPlan,
    extent: &Extent,
    path: &str,
    (part, last): (u32, bool),
) -> Vec<KeyValue> {
    let numbers: Vec<String> = plan.journals.iter().map(ToString::to_string).collect();
    let pairs = [
        (key::FORMAT, FORMAT.to_string()),
        (key::TABLE, plan.table.clone()),
        (key::LEVEL, plan.level.to_string()),
        (key::JOURNAL, plan.journal.to_string()),
        (key::ROWS, extent.rows.to_string()),
        (key::FIRST_EID, extent.first_eid.to_string()),
        (key::LAST_EID, extent.last_eid.to_string()),
        (key::MIN_TIME, extent.min_time_ns.to_string()),
        (key::MAX_TIME, extent.max_time_ns.to_string()),
        (key::FIRST_JOURNAL, plan.first_journal.to_string()),
        (key::SEALED, plan.sealed_ns.to_string()),
        (key::LATE, plan.late.to_string()),
        (key::JOURNALS, numbers.join(",")),
        (key::REPLACES, plan.replaces.join("\n")),
        (key::PATH, path.to_owned()),
        (key::PART, part.to_string()),
        (key::LAST, last.to_string()),
    ];
    pairs.map(|(key, value)| KeyValue::new(key.to_owned(), value)).to_vec()
}
