//! Compaction: which segments are merged, and when.
//!
//! Segments of journals (level 0) become about one per hour (level 1), and those about one per day
//! (level 2), so that a month is tens of files per table, and rows of one time lie together:
//!
//! - When an hour is over, and late rows of it can no longer come, its segments of level 0 are
//!   merged, and those of a day when that is over.
//! - Before that, the oldest of level 0 are merged when they are many, or as large together as a
//!   segment may be. Segments that are large already are left alone by later merges: nothing is
//!   gained by joining them.
//! - Segments of rows far out of time are merged only with each other, by their number alone.
//!
//! An input is bounded in files and bytes, so that one merge takes seconds.

use crate::disk::Folder;
use crate::limits::{
    LATE_BEFORE, LATE_SEGMENTS, LEVEL_0_SEGMENTS, MERGE_BYTES_MAX, MERGE_FILES_MAX, MERGE_OPEN_MAX,
    SEGMENT_BYTES_MAX,
};
use crate::manifest::entry::{Entry, SegmentEntry, State};
use crate::manifest::log::ManifestLog;
use crate::manifest::read::ManifestError;
use crate::schema::TableSchema;
use crate::segment::series::{Series, SeriesPlan};
use crate::segment::write::SegmentWriteError;
use crate::write::merge::{self, Input, MergeError};
use crate::write::seal::bloom;

const HOUR_NS: i64 = 3_600_000_000_000;
const DAY_NS: i64 = 24 * HOUR_NS;

/// The highest level.
const LEVEL_MAX: u32 = 2;

/// Segments to be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) table: String,
    /// Level of the result.
    pub(super) level: u32,
    pub(super) inputs: Vec<SegmentEntry>,
}

/// Why segments were not merged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompactError {
    #[error("table {table} has no time column any more")]
    Table { table: String },
    #[error("cannot merge segments of table {table}")]
    Merge { table: String, source: MergeError },
    #[error("cannot write segments of table {table}")]
    Segment { table: String, source: SegmentWriteError },
    #[error("cannot note the merge of segments of table {table}")]
    Manifest { table: String, source: ManifestError },
}

/// What is to be merged next at the instant `now_ns`, in nanoseconds since the Unix epoch. `skip`
/// tells which segments are left alone.
pub(super) fn plan(
    state: &State,
    now_ns: i64,
    skip: &dyn Fn(&SegmentEntry) -> bool,
) -> Option<Job> {
    let mut classes: Vec<((&str, bool), Vec<&SegmentEntry>)> = Vec::new();
    for file in state.files.values().filter(|file| file.level < LEVEL_MAX && !skip(file)) {
        let class = (file.table.as_str(), file.late);
        match classes.iter_mut().find(|(known, _)| *known == class) {
            Some((_, files)) => files.push(file),
            None => classes.push((class, vec![file])),
        }
    }
    classes.into_iter().find_map(|((table, late), mut files)| {
        files.sort_by_key(|file| (file.min_time_ns, file.first_eid));
        let found = if late { plan_late(&files) } else { plan_table(&files, now_ns) };
        let (level, inputs) = found?;
        let inputs = bounded(inputs).into_iter().cloned().collect();
        Some(Job { table: table.to_owned(), level, inputs })
    })
}

/// Of one table's segments in the order of their times.
fn plan_table<'a>(files: &[&'a SegmentEntry], now_ns: i64) -> Option<(u32, Vec<&'a SegmentEntry>)> {
    let small: Vec<&SegmentEntry> = files.iter().copied().filter(|file| is_small(file)).collect();
    for (level, span) in [(1, HOUR_NS), (2, DAY_NS)] {
        let mut rest = small.as_slice();
        while let Some(first) = rest.first() {
            let window = first.min_time_ns.div_euclid(span);
            let of_window = |file: &&&SegmentEntry| file.min_time_ns.div_euclid(span) == window;
            let (inside, after) = rest.split_at(rest.iter().take_while(of_window).count());
            rest = after;
            let late = i64::try_from(LATE_BEFORE.as_nanos()).unwrap_or(0);
            let over = window.saturating_add(1).saturating_mul(span).saturating_add(late);
            let lower = inside.iter().any(|file| file.level < level);
            let inputs: Vec<&SegmentEntry> =
                inside.iter().copied().filter(|file| file.level <= level).collect();
            if over <= now_ns && lower && inputs.len() > 1 {
                return Some((level, inputs));
            }
        }
    }
    let level_0: Vec<&SegmentEntry> =
        files.iter().copied().filter(|file| file.level == 0).collect();
    let bytes: u64 = level_0.iter().map(|file| file.bytes).sum();
    let many = level_0.len() >= LEVEL_0_SEGMENTS || bytes >= SEGMENT_BYTES_MAX;
    (many && level_0.len() > 1).then_some((1, level_0))
}

/// Of one table's segments of rows far out of time.
fn plan_late<'a>(files: &[&'a SegmentEntry]) -> Option<(u32, Vec<&'a SegmentEntry>)> {
    (0..LEVEL_MAX).find_map(|level| {
        let of_level = |file: &&&SegmentEntry| file.level == level && is_small(file);
        let inputs: Vec<&SegmentEntry> = files.iter().filter(of_level).copied().collect();
        let bytes: u64 = inputs.iter().map(|file| file.bytes).sum();
        let many = inputs.len() >= LATE_SEGMENTS || bytes >= SEGMENT_BYTES_MAX;
        (many && inputs.len() > 1).then_some((level + 1, inputs))
    })
}

/// Whether it is worth to be merged.
const fn is_small(file: &SegmentEntry) -> bool {
    file.bytes < SEGMENT_BYTES_MAX / 2
}

/// The first of the inputs, as many as one merge takes; two at least.
fn bounded(mut inputs: Vec<&SegmentEntry>) -> Vec<&SegmentEntry> {
    let mut bytes = 0;
    let count = inputs.iter().take_while(|file| {
        bytes += file.bytes;
        bytes <= MERGE_BYTES_MAX
    });
    inputs.truncate(count.count().clamp(2, MERGE_FILES_MAX));
    inputs
}

/// Merges segments, and notes that others replace them. `stop` is asked now and then.
pub(super) fn compact(
    dir: &Folder,
    manifest: &mut ManifestLog,
    tables: &[&'static TableSchema],
    job: &Job,
    now_ns: i64,
    stop: &dyn Fn() -> bool,
) -> Result<(), CompactError> {
    let table = || job.table.clone();
    let noting = |source| CompactError::Manifest { table: table(), source };
    let merging = |source| CompactError::Merge { table: table(), source };
    // An entry of which it is not known whether it is on disk must not name what is written now.
    manifest.make_ready().map_err(noting)?;
    // A number that was tried is not used again.
    let number = manifest.state.next_number.max(1);
    manifest.state.next_number = number + 1;

    let mut entries = job.inputs.clone();
    // The newest last: its columns come first.
    entries.sort_by_key(|file| file.journal);
    let (inputs, entries) = open(dir, entries, tables, &job.table)?;
    let schema = merge::schema(&inputs).map_err(merging)?;
    let time = time_column(tables, &job.table)?;
    let units = merge::units(&inputs, &schema, &time).map_err(merging)?;
    let first = entries.iter().map(|file| match file.first_journal {
        0 => file.journal,
        first => first,
    });
    let plan = SeriesPlan {
        table: table(),
        level: job.level,
        number,
        late: entries.iter().any(|file| file.late),
        first_journal: first.min().unwrap_or(0),
        journal: entries.iter().map(|file| file.journal).max().unwrap_or(0),
        sealed_ns: entries.iter().map(|file| file.sealed_ns).max().unwrap_or(0),
        journals: Vec::new(),
        replaces: entries.iter().map(|file| file.path.clone()).collect(),
        schema,
        time: time.clone(),
        bloom: bloom(&job.table, tables),
    };
    let mut series = Series::new(dir, plan);
    merge::merge(&inputs, merge::stretches(&units), &time, &mut series, stop).map_err(merging)?;
    let files =
        series.finish().map_err(|source| CompactError::Segment { table: table(), source })?;
    let removes = entries.into_iter().map(|file| file.path).collect();
    let at_ns = manifest.state.next_removal(now_ns);
    let entry = Entry::Compact { at_ns, number, removes, files };
    manifest.append_or_discard(&entry).map_err(noting)
}

/// Opens the inputs; fewer, when too many of them would have to be read at once.
fn open(
    dir: &Folder,
    mut entries: Vec<SegmentEntry>,
    tables: &[&'static TableSchema],
    table: &str,
) -> Result<(Vec<Input>, Vec<SegmentEntry>), CompactError> {
    let merging = |source| CompactError::Merge { table: table.to_owned(), source };
    let mut inputs = Vec::with_capacity(entries.len());
    for entry in &entries {
        inputs.push(Input::open(dir, entry).map_err(merging)?);
    }
    let schema = merge::schema(&inputs).map_err(merging)?;
    let time = time_column(tables, table)?;
    let units = merge::units(&inputs, &schema, &time).map_err(merging)?;
    if merge::depth(&units) > MERGE_OPEN_MAX {
        inputs.truncate(MERGE_OPEN_MAX);
        entries.truncate(MERGE_OPEN_MAX);
    }
    Ok((inputs, entries))
}

fn time_column(tables: &[&'static TableSchema], name: &str) -> Result<String, CompactError> {
    let table = tables.iter().find(|table| table.name == name);
    let column = table.and_then(|table| table.columns.get(table.time?));
    let column = column.map(|column| column.name.to_owned());
    column.ok_or_else(|| CompactError::Table { table: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fixture::{SMALL, Small};
    use crate::limits::{MOVE_ROWS_MIN, ROW_GROUP_ROWS};
    use crate::manifest::read as manifest;
    use crate::read::{Reader, ScanRequest};
    use crate::table::ValueRef;
    use crate::write::{Writer, WriterOptions};

    static TABLES: &[&TableSchema] = &[SMALL];

    const NOW_NS: i64 = 1_764_000_000_000_000_000;

    fn file(number: u64, level: u32, hour: i64, bytes: u64) -> SegmentEntry {
        let min_time_ns = hour * HOUR_NS + i64::try_from(number).unwrap();
        SegmentEntry {
            path: format!("segments/t/{level}-{number}.parquet"),
            table: "t".to_owned(),
            level,
            late: false,
            first_journal: 0,
            journal: number,
            sha256: String::new(),
            bytes,
            rows: 1,
            first_eid: 1,
            last_eid: 1,
            min_time_ns,
            max_time_ns: min_time_ns,
            sealed_ns: min_time_ns,
        }
    }

    /// Level of the result and numbers of the inputs.
    fn planned(files: &[SegmentEntry], now_hour: f64) -> Option<(u32, Vec<u64>)> {
        let mut state = State::default();
        state.add(files);
        let now_ns = (now_hour * HOUR_NS as f64) as i64;
        let job = plan(&state, now_ns, &|_| false)?;
        Some((job.level, job.inputs.iter().map(|file| file.journal).collect()))
    }

    #[test]
    fn an_hour_and_a_day_are_merged_when_they_are_over() {
        let files = [file(1, 0, 48, 10), file(2, 0, 48, 10), file(3, 0, 49, 10)];
        assert_eq!(planned(&files, 49.1), None, "late rows of the hour may still come");
        assert_eq!(planned(&files, 49.2), Some((1, vec![1, 2])));
        let files = [file(1, 1, 48, 10), file(2, 1, 49, 10), file(3, 0, 60, 10)];
        assert_eq!(planned(&files, 72.1), None);
        assert_eq!(planned(&files, 72.2), Some((2, vec![1, 2, 3])));
        let files = [file(1, 2, 48, 10), file(2, 1, 49, 10)];
        assert_eq!(planned(&files, 99.0), None, "one alone stays");
    }

    #[test]
    fn many_or_large_segments_are_merged_before() {
        let count = LEVEL_0_SEGMENTS as u64;
        let many: Vec<_> = (1..=count).map(|number| file(number, 0, 48, 10)).collect();
        assert_eq!(planned(&many[1..], 48.5), None);
        assert_eq!(planned(&many, 48.5), Some((1, (1..=count).collect())));
        let quarter = SEGMENT_BYTES_MAX / 4;
        let large: Vec<_> = (1..=4).map(|number| file(number, 0, 48, quarter)).collect();
        assert_eq!(planned(&large[1..], 48.5), None);
        assert_eq!(planned(&large, 48.5), Some((1, vec![1, 2, 3, 4])));
    }

    #[test]
    fn late_segments_are_merged_with_each_other_alone() {
        let late = |number| SegmentEntry { late: true, ..file(number, 0, 48, 10) };
        let count = LATE_SEGMENTS as u64;
        let mut files: Vec<_> = (1..count).map(late).collect();
        files.push(file(99, 0, 48, 10));
        assert_eq!(planned(&files, 99.0), None);
        files.push(late(count));
        assert_eq!(planned(&files, 99.0), Some((1, (1..=count).collect())));
    }

    #[test]
    fn large_segments_are_left_alone() {
        let files = [file(1, 1, 48, SEGMENT_BYTES_MAX / 2), file(2, 1, 49, 10)];
        assert_eq!(planned(&files, 99.0), None);
    }

    /// Seals each range of numbers by itself.
    fn sealed(dir: &Path, ranges: &[std::ops::Range<u32>]) {
        for range in ranges {
            let (mut writer, _) = Writer::open(dir, TABLES, WriterOptions::new([1; 16])).unwrap();
            let row = |pid: u32| Small {
                time_ns: NOW_NS + i64::from(pid),
                pid,
                path: (!pid.is_multiple_of(3)).then(|| format!("/bin/{}", pid % 500)),
            };
            writer.append(range.clone().map(row)).unwrap();
            writer.close().unwrap();
        }
    }

    /// Merges all segments into one level 1; returns what it holds.
    fn merged(dir: &Path) -> Vec<SegmentEntry> {
        let folder = Folder::real(dir);
        let manifest = manifest::read(&folder).unwrap();
        let mut log = ManifestLog::open(&folder, manifest).unwrap();
        let inputs = log.state.files.values().cloned().collect();
        let job = Job { table: SMALL.name.to_owned(), level: 1, inputs };
        compact(&folder, &mut log, TABLES, &job, NOW_NS, &|| false).unwrap();
        log.state.files.into_values().collect()
    }

    /// The pids in the order in which they lie in the store, checked to be of the right rows.
    fn pids(dir: &Path) -> Vec<u32> {
        let snapshot = Reader::open(dir).unwrap().snapshot().unwrap();
        let columns = SMALL.stored().map(|(index, _, _)| index).collect();
        let request = ScanRequest::new(0..=i64::MAX, columns);
        let mut pids = Vec::new();
        for batch in snapshot.scan(SMALL, &request).unwrap() {
            let batch = batch.unwrap();
            for row in 0..batch.len() {
                let value = |column: usize| batch.columns()[column].value(row);
                let ValueRef::U32(pid) = value(1) else { panic!("{:?}", value(1)) };
                assert_eq!(value(0), ValueRef::I64(NOW_NS + i64::from(pid)));
                let path = format!("/bin/{}", pid % 500);
                let path = if pid % 3 == 0 { ValueRef::Null } else { ValueRef::Text(&path) };
                assert_eq!(value(2), path);
                pids.push(pid);
            }
        }
        assert_eq!(snapshot.damage(), []);
        pids
    }

    /// Rows, and what each column chunk has, of the row groups of a segment.
    fn groups(dir: &Path, file: &SegmentEntry) -> Vec<usize> {
        let file = Input::open(&Folder::real(dir), file).unwrap();
        let metadata = file.metadata();
        let mut rows = Vec::new();
        for (index, group) in metadata.row_groups().iter().enumerate() {
            let pages = metadata.page_index_for_row_group(index);
            for (number, column) in group.columns().iter().enumerate() {
                let name = column.column_path().string();
                let bloom = column.bloom_filter_offset().is_some();
                assert_eq!(bloom, name == "path", "{name} of row group {index}");
                assert!(pages.column_index(number).is_some(), "{name} of row group {index}");
                assert!(pages.offset_index(number).is_some(), "{name} of row group {index}");
            }
            rows.push(group.num_rows() as usize);
        }
        rows
    }

    #[test]
    fn large_row_groups_are_moved_with_their_indexes() {
        let dir = tempfile::tempdir().unwrap();
        let large = MOVE_ROWS_MIN as u32;
        sealed(dir.path(), &[0..large, large..2 * large + 7]);
        let files = merged(dir.path());
        assert_eq!(files.len(), 1);
        assert_eq!(groups(dir.path(), &files[0]), [MOVE_ROWS_MIN, MOVE_ROWS_MIN + 7]);
        assert_eq!((files[0].rows, files[0].level), (u64::from(2 * large + 7), 1));
        assert_eq!((files[0].first_eid, files[0].last_eid), (1, i64::from(2 * large + 7)));
        assert_eq!(pids(dir.path()), (0..2 * large + 7).collect::<Vec<_>>());
    }

    #[test]
    fn small_row_groups_are_joined_and_none_is_left_between_large_ones() {
        let dir = tempfile::tempdir().unwrap();
        let large = MOVE_ROWS_MIN as u32;
        let ends = [0, 10, 30, large + 30, large + 90, 2 * large + 90, 2 * large + 91];
        let ranges: Vec<_> = ends.windows(2).map(|ends| ends[0]..ends[1]).collect();
        sealed(dir.path(), &ranges);
        let files = merged(dir.path());
        let rows = groups(dir.path(), &files[0]);
        assert!(
            rows.iter().all(|rows| (MOVE_ROWS_MIN..=ROW_GROUP_ROWS).contains(rows)),
            "{rows:?}"
        );
        assert_eq!(pids(dir.path()), (0..2 * large + 91).collect::<Vec<_>>());
    }

    #[test]
    fn row_groups_of_wide_rows_are_moved_though_they_have_few() {
        let dir = tempfile::tempdir().unwrap();
        let wide = (4 * MOVE_ROWS_MIN / 10) as u32;
        for numbers in [0..wide, wide..2 * wide] {
            let options = WriterOptions::new([1; 16]);
            let (mut writer, _) = Writer::open(dir.path(), TABLES, options).unwrap();
            let row = |pid: u32| Small {
                time_ns: NOW_NS + i64::from(pid),
                pid,
                path: Some(format!("{pid:0>200}")),
            };
            writer.append(numbers.map(row)).unwrap();
            writer.close().unwrap();
        }
        let files = merged(dir.path());
        assert_eq!(groups(dir.path(), &files[0]), [wide as usize, wide as usize]);
    }

    /// Also when a dictionary holds each text once.
    #[test]
    fn few_wide_rows_are_decoded_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let options = WriterOptions::new([1; 16]);
        let (mut writer, _) = Writer::open(dir.path(), TABLES, options).unwrap();
        let path = Some("x".repeat(40 << 10));
        let row = |pid: u32| Small { time_ns: NOW_NS + i64::from(pid), pid, path: path.clone() };
        writer.append((0..1_000).map(row)).unwrap();
        writer.close().unwrap();
        let folder = Folder::real(dir.path());
        let manifest = manifest::read(&folder).unwrap();
        let file = manifest.state.files.values().next().unwrap();
        let input = Input::open(&folder, file).unwrap();
        let group = input.metadata().row_group(0);
        assert!(group.total_byte_size() < 1 << 20, "it has a dictionary");
        let rows = merge::batch_rows(group);
        assert!((90..=102).contains(&rows), "{rows} rows");
    }

    /// Its hash would be right again.
    #[test]
    fn a_changed_segment_is_not_merged() {
        let dir = tempfile::tempdir().unwrap();
        sealed(dir.path(), &[0..100, 100..200]);
        let folder = Folder::real(dir.path());
        let manifest = manifest::read(&folder).unwrap();
        let mut log = ManifestLog::open(&folder, manifest).unwrap();
        let inputs: Vec<SegmentEntry> = log.state.files.values().cloned().collect();
        let path = folder.join(&inputs[1].path);
        let mut content = std::fs::read(&path).unwrap();
        content[20] ^= 1;
        std::fs::write(&path, content).unwrap();
        let changed = inputs[1].path.clone();
        let job = Job { table: SMALL.name.to_owned(), level: 1, inputs };
        let error = compact(&folder, &mut log, TABLES, &job, NOW_NS, &|| false).unwrap_err();
        let CompactError::Merge { source: MergeError::Read { path, .. }, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(path, changed);
        assert_eq!(log.state.files.len(), 2);
    }

    /// Segments whose times overlap: their rows are put into one order.
    #[test]
    fn rows_of_one_time_come_together() {
        let dir = tempfile::tempdir().unwrap();
        for part in 0..5 {
            let options = WriterOptions::new([part; 16]);
            let (mut writer, _) = Writer::open(dir.path(), TABLES, options).unwrap();
            let pids = (0..9_000).filter(|pid| pid % 5 == u32::from(part) || pid % 100 == 0);
            let rows: Vec<Small> = pids
                .map(|pid| Small { time_ns: NOW_NS + i64::from(pid), pid, path: None })
                .collect();
            writer.append(rows).unwrap();
            writer.close().unwrap();
        }
        let files = merged(dir.path());
        assert_eq!((files.len(), files[0].rows), (1, 9_000 + 4 * 90));
        let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
        let mut keys = Vec::new();
        let mut boots = std::collections::BTreeSet::new();
        for batch in snapshot.scan(SMALL, &ScanRequest::new(0..=i64::MAX, vec![1])).unwrap() {
            let batch = batch.unwrap();
            let (times, eids) = (batch.time_ns().unwrap(), batch.eid().unwrap());
            keys.extend(times.values().iter().copied().zip(eids.values().iter().copied()));
            boots.extend((0..batch.len()).map(|row| batch.boot_id(row).unwrap()[0]));
        }
        assert_eq!(keys.len(), 9_360);
        assert!(keys.is_sorted(), "by time, then number");
        assert_eq!(boots.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }
}
