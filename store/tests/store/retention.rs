//! What is given up, and when.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bygone_store::{Reader, Retention, Writer, WriterOptions};

use crate::fixture::{BOOT_ID, SampleEvents, TABLES, files, read, sample, samples};

const PATIENCE: Duration = Duration::from_secs(60);

fn options(retention: Retention) -> WriterOptions {
    let mut options = WriterOptions::new(BOOT_ID);
    options.seal_wait = Duration::ZERO;
    options.reader_grace = Duration::ZERO;
    options.retention = retention;
    options
}

fn bytes(dir: &Path) -> u64 {
    let sizes = ["journal", "segments"].into_iter().flat_map(|folder| files(dir, folder));
    sizes.map(|path| std::fs::metadata(path).map_or(0, |metadata| metadata.len())).sum()
}

/// Rows of 1970 are older than any bound; those of today are not.
#[test]
fn old_rows_go_and_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let keep = options(Retention::default());
    let (mut writer, _) = Writer::open(dir.path(), TABLES, keep).unwrap();
    writer.append(samples(0..100)).unwrap();
    assert!(writer.settle(PATIENCE).unwrap());
    assert_eq!(writer.take_expired(), []);
    writer.close().unwrap();

    let max_age = Some(Duration::from_secs(3_600));
    let retention = Retention { max_age, ..Retention::default() };
    let reader = Reader::open(dir.path()).unwrap();
    let now_ns = 4_000_000_000_000;
    let usage = reader.usage(&retention, now_ns).unwrap();
    let [table] = usage.tables.as_slice() else { panic!("{usage:?}") };
    assert_eq!((table.rows, table.oldest_ns, table.newest_ns), (100, 0, 99_000));
    let [goes] = usage.goes.as_slice() else { panic!("{usage:?}") };
    assert_eq!((goes.rows, goes.bytes), (100, table.bytes), "what would go is told and stays");
    let keeps = reader.usage(&retention, 3_600_000_000_000).unwrap();
    assert_eq!(keeps.goes, []);
    let bounded = options(retention);
    let (mut writer, _) = Writer::open(dir.path(), TABLES, bounded).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    let today = SampleEvents { time_ns: now, ..sample(100) };
    writer.append([today.clone()]).unwrap();
    assert!(writer.settle(PATIENCE).unwrap());
    let expired = writer.take_expired();
    let [expired] = expired.as_slice() else { panic!("{expired:?}") };
    assert_eq!((expired.table.as_str(), expired.rows, expired.segments), ("sample_events", 100, 1));
    assert_eq!(expired.time_ns, (0, 99_000));
    assert_eq!(writer.take_expired(), [], "it is told once");
    writer.close().unwrap();
    let (found, damage) = read(dir.path());
    assert_eq!(found, [(101, today)]);
    assert_eq!(damage, []);
    assert_eq!(files(dir.path(), "segments").len(), 1);
    // A number is not given again although its row is gone.
    let (mut writer, opened) =
        Writer::open(dir.path(), TABLES, options(Retention::default())).unwrap();
    assert_eq!(opened.recovered, []);
    assert_eq!(writer.append([sample(0)]).unwrap().unwrap().first_eid, 102);
}

/// The oldest go while rows come, and the bound is held all the while: what may be beyond it is the
/// output of one merge, which is no longer than all that is kept, and the journals of the moment.
#[test]
fn a_bound_on_bytes_is_held_while_rows_come() {
    const BYTES: u64 = 30_000;
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(Retention { max_bytes: Some(BYTES), ..Retention::default() });
    options.journal_bytes_max = 8 << 10;
    let (mut writer, _) = Writer::open(dir.path(), TABLES, options).unwrap();
    let mut most = 0;
    let mut gone = 0;
    for start in (0..20_000).step_by(400) {
        writer.append(samples(start..start + 400)).unwrap();
        assert!(writer.settle(PATIENCE).unwrap());
        most = most.max(bytes(dir.path()));
        for expired in writer.take_expired() {
            assert_eq!(expired.table, "sample_events");
            gone += expired.rows;
        }
    }
    assert!(most <= 2 * BYTES, "{most} bytes");
    writer.close().unwrap();
    assert!(gone > 0);
    let (found, damage) = read(dir.path());
    assert_eq!(damage, []);
    assert_eq!(found.len() as u64 + gone, 20_000, "each row is there or told");
    let first = found[0].0;
    let eids: Vec<i64> = found.iter().map(|(eid, _)| *eid).collect();
    assert_eq!(eids, (first..=20_000).collect::<Vec<_>>(), "the oldest are gone");
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    let kept: u64 = snapshot.segments().map(|file| file.bytes).sum();
    assert!(kept > BYTES / 4, "{kept} bytes are much less than may be kept");
}
