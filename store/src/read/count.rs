//! Counting rows by what files say of themselves.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::damage::DamageKind;
use crate::guard::guarded;
use crate::limits::BATCH_ROWS;
use crate::read::journals::JournalPart;
use crate::read::projection::{Projection, Task};
use crate::read::reader::ReadError;
use crate::read::scan::{RowParts, ScanRequest};
use crate::read::segments::SegmentPart;
use crate::read::snapshot::Inner;
use crate::schema::TableSchema;

/// How many rows of a table are in a range of times.
pub(super) fn count(
    snapshot: &Arc<Inner>,
    table: &'static TableSchema,
    time: &RangeInclusive<i64>,
) -> Result<u64, ReadError> {
    let request =
        ScanRequest { parts: RowParts::default(), ..ScanRequest::new(time.clone(), Vec::new()) };
    let projection = Projection::new(table, &request)?;
    let task = Arc::new(Task { snapshot: Arc::clone(snapshot), projection });
    let mut rows = 0;
    for entry in snapshot.segments(table.name, time) {
        snapshot.check_stop()?;
        if task.projection.covers(entry.min_time_ns, entry.max_time_ns) {
            match snapshot.dir.exists(&snapshot.dir.join(&entry.path)) {
                true => rows += entry.rows,
                false => {
                    let detail = "it is not there";
                    snapshot.report_segment(DamageKind::SegmentMissing, entry, detail);
                }
            }
            continue;
        }
        for group in SegmentPart::open(&task, entry)? {
            snapshot.check_stop()?;
            match guarded(|| group.located()) {
                Ok(located) => rows += located.len() as u64,
                Err(error) => group.report(&error),
            }
        }
    }
    for journal in 0..snapshot.journals.len() {
        for frames in JournalPart::frames(&task, journal, BATCH_ROWS) {
            snapshot.check_stop()?;
            rows += frames.count()?;
        }
    }
    Ok(rows)
}
