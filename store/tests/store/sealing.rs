//! Rotation and sealing beside readers.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bygone_store::limits::{JOURNALS_MAX, WAITING_JOURNALS_MAX, WINDOW_BYTES_MAX};
use bygone_store::{EventTable, Order, Reader, ScanRequest, Writer, WriterOptions};

use crate::fixture::{
    BOOT_ID, SampleEvents, TABLES, count, files, open_small, read_snapshot, rows, sample, samples,
};

/// Readers at work while journals rotate, are sealed and go: each snapshot is a prefix of what
/// was appended, holds all that was acknowledged before it was taken, and is never shorter than
/// the one before.
#[test]
fn readers_see_every_row_once_while_journals_are_sealed() {
    const ROWS: i64 = 6_000;
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open_small(dir.path(), 8 << 10);
    writer.append(samples(0..10)).unwrap();
    let (acknowledged, done) = (AtomicU64::new(10), AtomicBool::new(false));
    let reader = Reader::open(dir.path()).unwrap();
    let watch = || {
        let mut before = 0;
        let mut snapshots = 0;
        loop {
            let last = done.load(Ordering::SeqCst);
            let expected = acknowledged.load(Ordering::SeqCst);
            let snapshot = reader.snapshot().unwrap();
            let rows = read_snapshot(&snapshot, i64::MIN, i64::MAX);
            let eids: Vec<i64> = rows.iter().map(|(eid, _)| *eid).collect();
            assert_eq!(eids, (1..=rows.len() as i64).collect::<Vec<_>>());
            assert_eq!(count(&snapshot, i64::MIN, i64::MAX), rows.len());
            assert_eq!(snapshot.damage(), []);
            assert!(rows.len() as u64 >= expected && rows.len() >= before);
            before = rows.len();
            snapshots += 1;
            if last {
                assert_eq!(rows.len() as i64, ROWS);
                return snapshots;
            }
        }
    };
    std::thread::scope(|scope| {
        let readers = [scope.spawn(watch), scope.spawn(watch)];
        for start in (10..ROWS).step_by(10) {
            let appended = writer.append(samples(start..start + 10)).unwrap().unwrap();
            acknowledged.store(appended.last_eid as u64, Ordering::SeqCst);
            writer.tick().unwrap();
        }
        writer.close().unwrap();
        done.store(true, Ordering::SeqCst);
        for reader in readers {
            assert!(reader.join().unwrap() > 1);
        }
    });
    assert!(!files(dir.path(), "segments").is_empty());
    assert_eq!(rows(dir.path()), samples(0..ROWS));
}

/// A snapshot stays what it was while its journals are sealed and removed.
#[test]
fn a_snapshot_outlives_its_journals() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open_small(dir.path(), 8 << 10);
    writer.append(samples(0..500)).unwrap();
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    for start in 5..50 {
        writer.append(samples(start * 100..start * 100 + 100)).unwrap();
    }
    writer.close().unwrap();
    assert_eq!(count(&snapshot, i64::MIN, i64::MAX), 500);
    let rows: Vec<_> =
        read_snapshot(&snapshot, i64::MIN, i64::MAX).into_iter().map(|(_, row)| row).collect();
    assert_eq!(rows, samples(0..500));
    assert_eq!(snapshot.damage(), []);
}

/// What other Parquet readers rely on: plain columns, order, page index, bloom filters.
#[test]
fn segments_are_plain_parquet() {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open_small(dir.path(), 8 << 20);
    let mut shuffled = samples(0..3_000);
    shuffled.reverse();
    writer.append(shuffled).unwrap();
    writer.close().unwrap();
    let segment = files(dir.path(), "segments").remove(0);
    let open = || std::fs::File::open(&segment).unwrap();

    let reader = SerializedFileReader::new(open()).unwrap();
    let group = reader.metadata().row_group(0);
    for column in group.columns() {
        let name = column.column_path().string();
        assert_eq!(column.bloom_filter_offset().is_some(), name == "path", "{name}");
        assert!(column.column_index_offset().is_some(), "{name}");
        assert!(column.offset_index_offset().is_some(), "{name}");
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new(open()).unwrap();
    let names: Vec<_> =
        builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let own: Vec<_> = SampleEvents::SCHEMA.stored().map(|(_, column, _)| column.name).collect();
    assert_eq!(names[..own.len()], own);
    assert_eq!(names[own.len()..], ["eid", "boot_id", "clock_offset_ns"]);
    let mut last = i64::MIN;
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        let times = batch.column_by_name("time_ns").unwrap();
        let times = times.as_any().downcast_ref::<arrow::array::Int64Array>().unwrap();
        for time in times.values() {
            assert!(*time >= last);
            last = *time;
        }
    }
    assert_eq!(last, 2_999_000);
}

/// Rows far out of time go to segments of their own, so that they stretch the range of no other.
#[test]
fn rows_far_out_of_time_lie_apart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open_small(dir.path(), 8 << 20);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    let minute = 60_000_000_000;
    let times = [now, 0, now - 5 * minute, now - 20 * minute, now + 60 * minute, now - 1];
    let rows = times.map(|time_ns| SampleEvents { time_ns, ..sample(1) });
    writer.append(rows).unwrap();
    writer.close().unwrap();
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    let mut found: Vec<_> = snapshot
        .segments()
        .map(|file| (file.late, file.rows, file.min_time_ns, file.max_time_ns))
        .collect();
    found.sort_unstable();
    let in_time = (false, 3, now - 5 * minute, now);
    assert_eq!(found, [in_time, (true, 3, 0, now + 60 * minute)]);
    assert_eq!(count(&snapshot, i64::MIN, i64::MAX), 6);
    assert_eq!(count(&snapshot, now - minute, now), 2);
}

/// Rows that must wait for earlier ones are bounded in bytes, too: then the order begins anew, in
/// another segment.
#[test]
fn wide_rows_out_of_order_do_not_pile_up_in_memory() {
    const FRAMES: i64 = 60;
    const ROWS: i64 = 25;
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open_small(dir.path(), 256 << 20);
    for frame in 0..FRAMES {
        // The first row of each frame comes before all others but the first ones.
        let time = |row: i64| if row == 0 { frame } else { (1 + frame) * 1_000_000 + row };
        let note = "x".repeat(40 << 10);
        let row = |row| SampleEvents { time_ns: time(row), note: note.clone(), ..sample(row) };
        writer.append((0..ROWS).map(row)).unwrap();
    }
    writer.close().unwrap();
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    let segments = snapshot.segments().count();
    let least = usize::try_from(FRAMES * ROWS).unwrap() * (40 << 10) / (2 * WINDOW_BYTES_MAX);
    assert!(segments > least, "{segments} segments");
    let time = SampleEvents::SCHEMA.time.unwrap();
    let request = ScanRequest {
        order: Order::Ascending,
        ..ScanRequest::new(i64::MIN..=i64::MAX, vec![time])
    };
    let mut times = Vec::new();
    for batch in snapshot.scan(SampleEvents::SCHEMA, &request).unwrap() {
        times.extend_from_slice(batch.unwrap().time_ns().unwrap().values());
    }
    assert_eq!(times.len() as i64, FRAMES * ROWS);
    assert!(times.is_sorted());
}

/// Journals that fill up quickly are sealed together, in one entry.
#[test]
fn full_journals_are_sealed_together() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = WriterOptions::new(BOOT_ID);
    options.journal_bytes_max = 8 << 10;
    options.seal_wait = Duration::from_secs(3_600);
    let (mut writer, _) = Writer::open(dir.path(), TABLES, options).unwrap();
    for start in (0..3_000).step_by(50) {
        writer.append(samples(start..start + 50)).unwrap();
    }
    assert!(writer.settle(Duration::from_secs(60)).unwrap());
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    let journals: u64 = snapshot.segments().map(|file| file.journal).max().unwrap();
    let segments = snapshot.segments().count() as u64;
    assert!(segments * 3 < journals, "{segments} segments of {journals} journals");
    assert!(snapshot.segments().all(|file| file.first_journal <= file.journal));
    writer.close().unwrap();
    assert_eq!(rows(dir.path()), samples(0..3_000));
}

/// Numbers of 32 bits with one large difference from each to the next: a decoder that steps over
/// them adds up more than 32 bits hold.
#[test]
fn numbers_far_apart_are_read_from_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let all: Vec<SampleEvents> = (0..20_000)
        .map(|number| SampleEvents {
            pid: (number as u32).wrapping_mul(0x9e37_79b1),
            ..sample(number)
        })
        .collect();
    let (mut writer, _) = open_small(dir.path(), 8 << 20);
    writer.append(all.clone()).unwrap();
    writer.close().unwrap();
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    for (from, to) in [(11_111, 11_200), (3, 4), (19_990, 19_999)] {
        let found = read_snapshot(&snapshot, from * 1_000, to * 1_000);
        let found: Vec<SampleEvents> = found.into_iter().map(|(_, row)| row).collect();
        assert_eq!(found, all[from as usize..=to as usize]);
    }
    assert_eq!(snapshot.damage(), []);
}

/// Beyond some number of journals a reader would refuse to open them all.
#[test]
fn journals_that_cannot_be_sealed_grow_instead_of_more() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open_small(dir.path(), 100);
    let obstacle = dir.path().join("segments/sample_events");
    std::fs::write(&obstacle, "no folder").unwrap();
    let all = JOURNALS_MAX as i64 + 100;
    for number in 0..all {
        writer.append([sample(number)]).unwrap();
        writer.tick().unwrap();
    }
    assert_eq!(files(dir.path(), "journal").len(), WAITING_JOURNALS_MAX + 1);
    assert_eq!(rows(dir.path()), samples(0..all));
    writer.close().unwrap();
    std::fs::remove_file(&obstacle).unwrap();
    open_small(dir.path(), 100).0.close().unwrap();
    assert_eq!(files(dir.path(), "journal").len(), 0);
    assert_eq!(rows(dir.path()), samples(0..all));
}

#[cfg(target_os = "linux")]
#[test]
fn the_sealer_stands_back() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open_small(dir.path(), 8 << 10);
    // Of proc(5)'s fields the 19th; the first behind the name is the 3rd.
    let niceness = |stat: &str| -> Option<i32> {
        stat.rsplit_once(") ")?.1.split(' ').nth(19 - 3)?.parse().ok()
    };
    let found = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let stats = threads
            .filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).ok());
        let sealers: Vec<String> = stats.filter(|stat| stat.contains("(sealer)")).collect();
        sealers.iter().any(|stat| niceness(stat) == Some(19))
    };
    let begun = Instant::now();
    while !found() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no sealer has niceness 19");
        std::thread::yield_now();
    }
    writer.close().unwrap();
}

/// One very old row in each frame lets more rows wait than there is room for, so that the order
/// begins anew; every file is in order all the same.
#[test]
fn segments_are_in_order_whatever_the_order_of_rows() {
    const FRAMES: i64 = 40;
    const ROWS: i64 = 4_000;
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open_small(dir.path(), u64::MAX);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    for frame in 0..FRAMES {
        let row = |place: i64| {
            let time_ns = now + (frame * ROWS + place) * 100;
            let time_ns = match place {
                0 => 0,
                1..20 => time_ns - 200_000,
                _ => time_ns,
            };
            SampleEvents { time_ns, ..sample(frame * ROWS + place) }
        };
        writer.append((0..ROWS).map(row)).unwrap();
    }
    writer.close().unwrap();
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    for order in [Order::Ascending, Order::Descending] {
        let request = ScanRequest { order, ..ScanRequest::new(i64::MIN..=i64::MAX, Vec::new()) };
        let scan = snapshot.scan(SampleEvents::SCHEMA, &request).unwrap();
        let times: Vec<i64> =
            scan.flat_map(|batch| batch.unwrap().time_ns().unwrap().values().to_vec()).collect();
        assert_eq!(times.len() as i64, FRAMES * ROWS);
        assert!(match order {
            Order::Descending => times.iter().rev().is_sorted(),
            _ => times.is_sorted(),
        });
    }
    assert_eq!(snapshot.damage(), []);
}

/// Who gives memory back after sealing is called then, and not before.
#[test]
fn what_is_to_be_done_after_sealing_is_done() {
    static CALLED: AtomicUsize = AtomicUsize::new(0);
    let dir = tempfile::tempdir().unwrap();
    let mut options = WriterOptions::new(BOOT_ID);
    options.after_work = || {
        CALLED.fetch_add(1, Ordering::SeqCst);
    };
    let (mut writer, _) = Writer::open(dir.path(), TABLES, options).unwrap();
    writer.append(samples(0..10)).unwrap();
    assert_eq!(CALLED.load(Ordering::SeqCst), 0);
    writer.close().unwrap();
    assert_eq!(CALLED.load(Ordering::SeqCst), 1);
}
