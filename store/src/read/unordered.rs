//! Scans in whichever order is cheapest: segment by segment, then journal by journal.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::guard::guarded;
use crate::limits::BATCH_ROWS;
use crate::manifest::entry::SegmentEntry;
use crate::read::batch::ScanBatch;
use crate::read::journals::{FRAMES_ROWS, Frames, JournalPart};
use crate::read::projection::Task;
use crate::read::reader::ReadError;
use crate::read::segments::{FIRST_ROWS, Group, SegmentPart, take_first};
use crate::read::stretch::Stretch;

/// A scan in no particular order.
#[derive(Debug)]
pub(super) struct Unordered {
    task: Arc<Task>,
    segments: VecDeque<SegmentEntry>,
    /// Row groups of the segment opened last.
    groups: VecDeque<Group>,
    /// What is left of a row group that was begun.
    rest: Option<(Group, Vec<Range<usize>>)>,
    /// Whether no row was read yet.
    first: bool,
    stretch: Option<(Group, Stretch)>,
    frames: VecDeque<Frames>,
}

impl Unordered {
    pub(super) fn new(task: &Arc<Task>) -> Self {
        let projection = &task.projection;
        let segments = task.snapshot.segments(projection.table.name, &projection.time);
        let mut segments: Vec<_> = segments.cloned().collect();
        segments.sort_by_key(|segment| segment.min_time_ns);
        let journals = 0..task.snapshot.journals.len();
        let frames =
            journals.flat_map(|journal| JournalPart::frames(task, journal, FRAMES_ROWS)).collect();
        let (task, segments) = (Arc::clone(task), segments.into());
        Self {
            task,
            segments,
            groups: VecDeque::new(),
            rest: None,
            first: true,
            stretch: None,
            frames,
        }
    }

    /// How many rows there are to look at in what is not begun yet.
    pub(super) fn rows_left(&self) -> u64 {
        let segments = self.segments.iter().map(|segment| segment.rows);
        let groups = self.groups.iter().map(|group| group.rows as u64);
        segments.chain(groups).sum()
    }

    /// The next rows; `None` when there are no more.
    pub(super) fn next(&mut self) -> Result<Option<ScanBatch>, ReadError> {
        loop {
            if let Some(batch) = self.next_of_stretch() {
                return Ok(Some(batch));
            }
            self.task.snapshot.check_stop()?;
            if let Some((group, rows)) = self.rest.take() {
                self.read(group, rows);
                continue;
            }
            if let Some(group) = self.groups.pop_front() {
                self.begin(group);
                continue;
            }
            if let Some(entry) = self.segments.pop_front() {
                self.groups = SegmentPart::open(&self.task, &entry)?.into();
                continue;
            }
            let Some(frames) = self.frames.pop_front() else {
                return Ok(None);
            };
            if let Some(batch) = frames.read()?.filter(|batch| !batch.is_empty()) {
                return Ok(Some(batch));
            }
        }
    }

    fn next_of_stretch(&mut self) -> Option<ScanBatch> {
        let (group, stretch) = self.stretch.as_mut()?;
        match guarded(|| stretch.next()) {
            Ok(Some(batch)) => return Some(batch),
            Ok(None) => {}
            Err(error) => group.report(&error),
        }
        self.stretch = None;
        None
    }

    fn begin(&mut self, group: Group) {
        match guarded(|| group.candidates()) {
            Ok(mut rows) => {
                // Many a scan wants a few rows only; not so one that looks for something. Of few rows
                // a part would cost as much as all.
                let count: usize = rows.iter().map(ExactSizeIterator::len).sum();
                if self.first && count > BATCH_ROWS && !group.tests_rows() {
                    let first = take_first(&mut rows, FIRST_ROWS);
                    self.rest = Some((group.clone(), std::mem::replace(&mut rows, first)));
                }
                self.first = false;
                self.read(group, rows);
            }
            Err(error) => group.report(&error),
        }
    }

    fn read(&mut self, group: Group, rows: Vec<Range<usize>>) {
        if rows.is_empty() {
            return;
        }
        match guarded(|| Stretch::new(&group, rows, BATCH_ROWS)) {
            Ok(stretch) => self.stretch = Some((group, stretch)),
            Err(error) => group.report(&error),
        }
    }
}
