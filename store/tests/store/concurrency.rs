//! Readers in threads and in another process, while a writer appends, seals and merges.
//!
//! Row `n` has the eid `n + 1`, and its time and all its values follow from `n`; so each answer can
//! be checked exactly, whatever the moment. The writer goes on only after each reader has read
//! again, so that reading and writing stay mixed on any machine. `BYGONE_CONCURRENCY_ROWS` sets how
//! many rows there are: 5,000,000 in a release build take a few minutes.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bygone_store::sql::{ResultColumn, ResultSink, Session, SessionOptions};
use bygone_store::{Writer, WriterOptions};
use rusqlite::types::ValueRef;

use crate::fixture::{BOOT_ID, SampleEvents, TABLES, files, sample};

/// Says how many rows are appended.
const ROWS: &str = "BYGONE_CONCURRENCY_ROWS";
const ROWS_USUALLY: i64 = 28_800;

/// Names the data folder to the reading process.
const CHILD: &str = "BYGONE_CONCURRENCY_CHILD";

/// Readers in threads; one more is a process of its own.
const THREADS: usize = 3;

/// How often the writer waits for all readers to have read again.
const ROUNDS: i64 = 36;

/// Rows of one append.
const BATCH: i64 = 64;

/// Journals that the rows fill, about.
const JOURNALS: u64 = 72;

/// Bytes of a row in a journal, about.
const ROW_BYTES: u64 = 40;

/// How long sealing and merging may take.
const SETTLE_MAX: Duration = Duration::from_secs(300);

/// Nanoseconds between one row's time and the next one's.
const STEP_NS: i64 = 1_000;

/// Rows at the live end that joins are about.
const JOINED: i64 = 300;

/// What the writer tells its readers: three numbers in a file.
struct Board(File);

/// Time of row 0 in nanoseconds since the Unix epoch; set before any reader begins.
const BASE: u64 = 0;
/// Rows that were acknowledged.
const ACKNOWLEDGED: u64 = 8;
/// 1 once no more rows come.
const DONE: u64 = 16;

impl Board {
    fn open(dir: &Path) -> Self {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        Self(options.open(dir.join("board")).unwrap())
    }

    fn set(&self, place: u64, value: i64) {
        self.0.write_all_at(&value.to_le_bytes(), place).unwrap();
    }

    fn value(&self, place: u64) -> i64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, place).unwrap();
        i64::from_le_bytes(bytes)
    }
}

fn row(base_ns: i64, number: i64) -> SampleEvents {
    SampleEvents { time_ns: base_ns + number * STEP_NS, ..sample(number) }
}

/// One reader with its own session.
struct Watcher {
    session: Session,
    board: Board,
    base_ns: i64,
    /// The most rows that an answer has shown.
    seen: i64,
    turn: usize,
}

impl Watcher {
    fn new(dir: &Path, turn: usize) -> Self {
        let options = SessionOptions { data_dir: dir.join("data"), events: TABLES, states: &[] };
        let board = Board::open(dir);
        let base_ns = board.value(BASE);
        Self { session: Session::open(options).unwrap(), board, base_ns, seen: 0, turn }
    }

    /// Reads until no more rows come, and once more; says after each statement that it has read.
    fn watch(mut self, mut read: impl FnMut()) {
        loop {
            let done = self.board.value(DONE) == 1;
            for _ in 0..if done { 5 } else { 1 } {
                let acknowledged = self.board.value(ACKNOWLEDGED);
                match self.turn % 5 {
                    0 => self.count(acknowledged),
                    1 => self.range(acknowledged),
                    2 => self.two_counts(acknowledged),
                    3 => self.self_join(acknowledged),
                    _ => self.nested_loops(acknowledged),
                }
                self.turn += 1;
            }
            read();
            if done {
                assert_eq!(self.seen, self.board.value(ACKNOWLEDGED));
                return;
            }
        }
    }

    fn ask(&self, sql: &str) -> Vec<Vec<i64>> {
        let mut answer = Answer::default();
        let executed = self.session.execute(sql, &mut answer).unwrap_or_else(|error| {
            panic!("{sql}: {error}: {:?}", std::error::Error::source(&error))
        });
        assert_eq!(executed.damage, [], "{sql}");
        answer.0
    }

    /// Rows never become fewer, and those acknowledged before are there.
    fn saw(&mut self, rows: i64, acknowledged: i64) {
        assert!(rows >= acknowledged, "{rows} rows, {acknowledged} were acknowledged");
        assert!(rows >= self.seen, "{rows} rows, {} were seen before", self.seen);
        self.seen = rows;
    }

    /// All rows: none twice, none left out.
    fn count(&mut self, acknowledged: i64) {
        let answer = self.ask(
            "SELECT count(*), count(DISTINCT eid), min(eid), max(eid), sum(pid) FROM sample_events",
        );
        let rows = answer[0][0];
        let sum = rows * (rows - 1) / 2;
        assert_eq!(answer, [[rows, rows, 1, rows, sum]]);
        self.saw(rows, acknowledged);
    }

    /// A range of acknowledged rows, each with all its values.
    fn range(&mut self, acknowledged: i64) {
        let from = (self.turn as i64 * 7_919) % acknowledged;
        let to = (from + 500).min(acknowledged);
        let at = |number| self.base_ns + number * STEP_NS;
        let answer = self.ask(&format!(
            "SELECT eid, pid, time_ns, substr(note, 6), substr(path, 10) FROM sample_events \
             WHERE time_ns >= {} AND time_ns < {} ORDER BY time_ns",
            at(from),
            at(to)
        ));
        let path = |number: i64| if number % 3 == 0 { NULL } else { number % 7 };
        let expected: Vec<Vec<i64>> =
            (from..to).map(|n| vec![n + 1, n, at(n), n, path(n)]).collect();
        assert_eq!(answer, expected);
    }

    /// Two counts in one statement, of which one looks at every row.
    fn two_counts(&mut self, acknowledged: i64) {
        let answer = self.ask(
            "SELECT (SELECT count(*) FROM sample_events), \
             (SELECT count(*) FROM sample_events WHERE note LIKE 'note %')",
        );
        assert_eq!(answer[0][0], answer[0][1]);
        self.saw(answer[0][0], acknowledged);
    }

    /// The live end joined with itself: each row meets itself alone.
    fn self_join(&mut self, acknowledged: i64) {
        let from = self.base_ns + (acknowledged - JOINED).max(0) * STEP_NS;
        let answer = self.ask(&format!(
            "SELECT (SELECT count(*) FROM sample_events WHERE time_ns >= {from}), \
             (SELECT count(*) FROM sample_events a JOIN sample_events b ON a.eid = b.eid \
             WHERE a.time_ns >= {from} AND b.time_ns >= {from} AND a.note = b.note)"
        ));
        assert_eq!(answer[0][0], answer[0][1]);
        self.saw(answer[0][0] + (acknowledged - JOINED).max(0), acknowledged);
    }

    /// Each row of the live end with those of the next four steps: five each, and fewer for the
    /// last four, whichever rows those are.
    fn nested_loops(&mut self, acknowledged: i64) {
        let from = self.base_ns + (acknowledged - JOINED).max(0) * STEP_NS;
        let answer = self.ask(&format!(
            "SELECT (SELECT count(*) FROM sample_events WHERE time_ns >= {from}), \
             (SELECT count(*) FROM sample_events a CROSS JOIN sample_events b \
             WHERE a.time_ns >= {from} AND b.time_ns BETWEEN a.time_ns AND a.time_ns + {})",
            4 * STEP_NS
        ));
        let rows = answer[0][0];
        assert!(rows >= 4, "{rows}");
        assert_eq!(answer[0][1], 5 * rows - 10);
        self.saw(rows + (acknowledged - JOINED).max(0), acknowledged);
    }
}

/// What stands for null in an answer.
const NULL: i64 = -1;

/// An answer in integers; text is read as one.
#[derive(Default)]
struct Answer(Vec<Vec<i64>>);

impl ResultSink for Answer {
    fn start(&mut self, _: &[ResultColumn]) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        let number = |value: &ValueRef<'_>| match value {
            ValueRef::Integer(number) => *number,
            ValueRef::Null => NULL,
            ValueRef::Text(text) => std::str::from_utf8(text).unwrap().parse().unwrap(),
            other => panic!("{other:?}"),
        };
        self.0.push(values.iter().map(number).collect());
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How often each reader has read.
#[derive(Default)]
struct Progress {
    read: Mutex<[u64; THREADS + 1]>,
    changed: Condvar,
    failed: AtomicBool,
}

impl Progress {
    fn note(&self, reader: usize) {
        self.read.lock().unwrap()[reader] += 1;
        self.changed.notify_all();
    }

    /// Waits until every reader has read again, or one has failed.
    fn wait(&self) {
        let before = *self.read.lock().unwrap();
        let mut now = self.read.lock().unwrap();
        while now.iter().zip(before).any(|(now, before)| *now == before) {
            assert!(!self.failed.load(Ordering::SeqCst), "a reader has failed");
            now = self.changed.wait_timeout(now, Duration::from_millis(100)).unwrap().0;
        }
    }
}

/// Tells the writer when its reader ends by a panic.
struct Alarm<'a>(&'a Progress);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::SeqCst);
        }
    }
}

/// Reads in a process of its own and says so line by line.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn child(dir: &str) {
    Watcher::new(Path::new(dir), 3).watch(|| println!("\nread"));
}

fn run_child(dir: &Path, progress: &Progress) {
    let _alarm = Alarm(progress);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "concurrency::readers_agree_while_rows_come", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if line.unwrap() == "read" {
            progress.note(THREADS);
        }
    }
    assert!(child.wait().unwrap().success(), "the reading process has failed");
}

fn append(writer: &mut Writer, board: &Board, base_ns: i64, numbers: std::ops::Range<i64>) {
    let end = numbers.end;
    let mut from = numbers.start;
    while from < end {
        let to = (from + BATCH).min(end);
        let rows = (from..to).map(|number| row(base_ns, number));
        let appended = writer.append(rows).unwrap().unwrap();
        assert_eq!((appended.first_eid, appended.last_eid), (from + 1, to));
        board.set(ACKNOWLEDGED, to);
        writer.tick().unwrap();
        from = to;
    }
}

#[test]
fn readers_agree_while_rows_come() {
    if let Ok(dir) = std::env::var(CHILD) {
        return child(&dir);
    }
    let rows = std::env::var(ROWS).map_or(ROWS_USUALLY, |rows| rows.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut options = WriterOptions::new(BOOT_ID);
    options.journal_bytes_max = rows as u64 * ROW_BYTES / JOURNALS;
    options.seal_wait = Duration::ZERO;
    // Longer than any statement, and short enough that a long run deletes what was merged.
    options.reader_grace = Duration::from_secs(30);
    let (mut writer, _) = Writer::open(&data, TABLES, options).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let base_ns = now.as_nanos() as i64;
    let board = Board::open(dir.path());
    board.set(BASE, base_ns);
    board.set(DONE, 0);
    append(&mut writer, &board, base_ns, 0..rows / ROUNDS);
    let progress = Progress::default();
    std::thread::scope(|scope| {
        scope.spawn(|| run_child(dir.path(), &progress));
        for reader in 0..THREADS {
            let (dir, progress) = (dir.path(), &progress);
            scope.spawn(move || {
                let _alarm = Alarm(progress);
                Watcher::new(dir, reader).watch(|| progress.note(reader));
            });
        }
        for round in 1..ROUNDS {
            let to = if round == ROUNDS - 1 { rows } else { rows / ROUNDS * (round + 1) };
            append(&mut writer, &board, base_ns, rows / ROUNDS * round..to);
            // Most rounds end with segments, so that there are many to merge; the others leave
            // journals behind.
            if round % 3 != 0 {
                assert!(writer.settle(SETTLE_MAX).unwrap(), "not all is merged");
            }
            progress.wait();
        }
        assert!(writer.settle(SETTLE_MAX).unwrap(), "not all is merged");
        progress.wait();
        board.set(DONE, 1);
    });
    writer.close().unwrap();
    let segments = files(&data, "segments");
    let merged = segments
        .iter()
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("1-"));
    assert!(merged.count() > 0, "nothing was merged: {segments:?}");
}
