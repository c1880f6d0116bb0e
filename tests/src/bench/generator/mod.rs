//! Lifelike rows of a month: processes that start, run programs, touch files, open connections and
//! end. The same seed and number of rows always give the same rows.
//!
//! What is imitated, since stores differ by it:
//! - **Times** lie in 30 days from a Thursday on, with day and night, weekends, a burst of `cron` at
//!   every minute, and builds of a few minutes at 25 times the usual rate (`calendar`). Rows come
//!   nearly in order, as from several CPUs: mostly within 0.2 ms, now and then 3 ms late.
//! - **Processes** are lives: a fork by a process that lives, mostly one exec, sometimes a second
//!   one in the same process or none, files and connections, an exit. They share pid, start and
//!   parent, so that exits join to execs. Pids rise and wrap at 4,194,304. Nine in ten last less
//!   than a second; 97 % exit with 0.
//! - **Repetition**: 3,000 programs whose shares fall as 1/rank, arguments from templates with
//!   counters, hashes and temporary names, a dozen users, forty control groups (`programs`).
//! - **Needles**: two paths that nothing else has, ten rows each: [`NEEDLE_NEAR`] ten lives in a
//!   row in the middle, [`NEEDLE_FAR`] spread evenly. Both carry [`NEEDLE_WORD`] as an argument.
//!
//! Of 100 rows about 28 are execs, 26 exits, 26 forks, 13 files and 8 sockets.
//!
//! **Invariant:** memory does not grow with the number of rows: what is kept are the processes
//! alive and their next rows.

mod calendar;
mod draw;
mod files;
mod life;
mod programs;
mod sockets;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bygone::tables::events::file_events::FileEvents;
use bygone::tables::events::process_events::ProcessEvents;
use bygone::tables::events::process_exit_events::ProcessExitEvents;
use bygone::tables::events::process_fork_events::ProcessForkEvents;

use calendar::Calendar;
use draw::Draw;
use life::{Life, Lives, Parent};
use programs::Programs;
pub use sockets::SocketEvents;

/// When the first row happens: 2026-10-01 00:00:00 UTC, in nanoseconds since the Unix epoch.
pub const START_NS: i64 = 1_790_812_800 * SECOND_NS;

/// Boot-time nanoseconds plus this is real time: the host started three hours before.
pub const CLOCK_OFFSET_NS: i64 = START_NS - 3 * 3_600 * SECOND_NS;

/// A path of ten execs that follow each other.
pub const NEEDLE_NEAR: &str = "/opt/needle/bin/near";

/// A path of ten execs spread over the whole time.
pub const NEEDLE_FAR: &str = "/opt/needle/bin/far";

/// An argument that only execs of the two have.
pub const NEEDLE_WORD: &str = "--xyzzy-needle";

/// The fewest rows for which the needles are as far apart as they should be.
pub const ROWS_MIN: u64 = 10_000;

const SECOND_NS: i64 = 1_000_000_000;
const MILLISECOND_NS: i64 = 1_000_000;

/// Rows that one life makes on average.
const ROWS_PER_LIFE: f64 = 3.86;

/// Execs of each needle.
const NEEDLES: u64 = 10;

/// Pids rise to this and begin again.
const PID_MAX: u32 = 4_194_304;

/// Pids of processes that always live lie below.
const PID_MIN: u32 = 300;

/// Rows of a short time, per table, each in the order in which they came.
#[derive(Debug, Default)]
pub struct Batch {
    /// Execs.
    pub execs: Vec<ProcessEvents>,
    /// Forks.
    pub forks: Vec<ProcessForkEvents>,
    /// Exits.
    pub exits: Vec<ProcessExitEvents>,
    /// Changes to files.
    pub files: Vec<FileEvents>,
    /// Connections.
    pub sockets: Vec<SocketEvents>,
}

impl Batch {
    /// Rows of all tables.
    #[must_use]
    pub fn len(&self) -> usize {
        self.execs.len()
            + self.forks.len()
            + self.exits.len()
            + self.files.len()
            + self.sockets.len()
    }

    /// Whether it has no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is to happen next in a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Fork,
    Exec,
    File,
    Socket,
    Exit,
}

/// A row to come: by when it arrives, then by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Coming {
    arrives_ns: i64,
    number: u64,
    time_ns: i64,
    life: u32,
    step: Step,
}

/// Makes the rows.
#[derive(Debug)]
pub struct Generator {
    draw: Draw,
    calendar: Calendar,
    programs: Programs,
    lives: Lives,
    coming: BinaryHeap<Reverse<Coming>>,
    /// Rows that are still to be made.
    left: u64,
    lives_expected: u64,
    born: u64,
    numbered: u64,
    next_birth_ns: i64,
    next_pid: u32,
    next_port: u32,
}

impl Generator {
    /// A generator of `rows` rows, at least [`ROWS_MIN`], in a sequence that `seed` determines.
    #[must_use]
    pub fn new(rows: u64, seed: u64) -> Self {
        let rows = rows.max(ROWS_MIN);
        let mut draw = Draw::new(seed);
        let lives_expected = (rows as f64 / ROWS_PER_LIFE) as u64;
        let mut calendar = Calendar::new(lives_expected, &mut draw);
        let next_birth_ns = calendar.next(&mut draw);
        Self {
            programs: Programs::new(&mut draw),
            calendar,
            lives: Lives::default(),
            coming: BinaryHeap::new(),
            left: rows,
            lives_expected,
            born: 0,
            numbered: 0,
            next_birth_ns,
            next_pid: PID_MIN,
            next_port: 0,
            draw,
        }
    }

    /// The next `rows` rows or what is left of them; `None` when there are no more.
    pub fn batch(&mut self, rows: usize) -> Option<Batch> {
        let rows = self.left.min(rows as u64);
        if rows == 0 {
            return None;
        }
        self.left -= rows;
        let mut batch = Batch::default();
        for _ in 0..rows {
            let coming = self.next();
            self.make(coming, &mut batch);
            self.lives.step_done(coming.life);
        }
        Some(batch)
    }

    /// The next row to arrive.
    fn next(&mut self) -> Coming {
        loop {
            match self.coming.peek() {
                // A birth makes rows that arrive at its time or later.
                Some(Reverse(first)) if first.arrives_ns < self.next_birth_ns => {
                    return self.coming.pop().map(|Reverse(first)| first).expect("it was there");
                }
                _ => {
                    let time_ns = self.next_birth_ns;
                    self.next_birth_ns = self.calendar.next(&mut self.draw);
                    self.begin_life(time_ns);
                }
            }
        }
    }

    fn begin_life(&mut self, time_ns: i64) {
        let needle = self.needle();
        self.born += 1;
        let draw = &mut self.draw;
        let program = self.programs.draw(draw);
        let pid = self.next_pid;
        let step = 1 + draw.below(3) as u32;
        self.next_pid = if pid + step > PID_MAX { PID_MIN } else { pid + step };
        let parent = match self.lives.recent(draw) {
            Some(life) if draw.chance(0.7) => Parent { pid: life.pid, start_ns: life.start_ns },
            _ => Parent::daemon(draw),
        };
        let last = self.last_ns(time_ns);
        let draw = &mut self.draw;
        let execs = match needle {
            Some(_) => 1,
            None if draw.chance(0.12) => 0,
            None if draw.chance(0.23) => 2,
            None => 1,
        };
        let files = draw.few(0.5);
        let sockets = draw.few(0.3);
        let life = self.lives.begin(Life {
            pid,
            start_ns: start_ns(time_ns),
            parent,
            program,
            needle,
            uid: self.programs.user(program, draw),
            ending: draw.below(1_000) as u32,
            pending: 2 + execs + files + sockets,
        });
        self.schedule(time_ns, life, Step::Fork);
        for exec in 0..execs {
            let after_ns = 300_000 + self.draw.below(900_000) as i64 + i64::from(exec) * 2_000_000;
            self.schedule((time_ns + after_ns).min(last), life, Step::Exec);
        }
        for (count, step) in [(files, Step::File), (sockets, Step::Socket)] {
            for _ in 0..count {
                let at = time_ns + ((last - time_ns) as f64 * self.draw.share()) as i64;
                self.schedule(at, life, step);
            }
        }
        self.schedule(last, life, Step::Exit);
    }

    /// When a life that begins at `time_ns` ends: nine in ten within a second, few after hours.
    fn last_ns(&mut self, time_ns: i64) -> i64 {
        let (from, to) = match self.draw.below(1_000) {
            0..=599 => (5 * MILLISECOND_NS, 40 * MILLISECOND_NS),
            600..=899 => (40 * MILLISECOND_NS, SECOND_NS),
            900..=989 => (SECOND_NS, 60 * SECOND_NS),
            990..=998 => (60 * SECOND_NS, 1_800 * SECOND_NS),
            _ => (1_800 * SECOND_NS, 36_000 * SECOND_NS),
        };
        time_ns + from + self.draw.below((to - from) as u64) as i64
    }

    fn schedule(&mut self, time_ns: i64, life: u32, step: Step) {
        let late_ns = if self.draw.below(500) == 0 { 3_000_000 } else { 200_000 };
        let arrives_ns = time_ns + self.draw.below(late_ns) as i64;
        let number = self.numbered;
        self.numbered += 1;
        self.coming.push(Reverse(Coming { arrives_ns, number, time_ns, life, step }));
    }

    /// The path of the life to be born when it is a needle.
    fn needle(&self) -> Option<&'static str> {
        let middle = self.lives_expected / 2;
        let apart = self.lives_expected / NEEDLES;
        if (middle..middle + NEEDLES).contains(&self.born) {
            Some(NEEDLE_NEAR)
        } else if self.born % apart == apart / 3 && self.born / apart < NEEDLES {
            Some(NEEDLE_FAR)
        } else {
            None
        }
    }

    fn make(&mut self, coming: Coming, batch: &mut Batch) {
        let (draw, time_ns) = (&mut self.draw, coming.time_ns);
        let life = self.lives.of(coming.life);
        match coming.step {
            Step::Fork => batch.forks.push(life.fork(time_ns, &self.programs)),
            Step::Exec => batch.execs.push(life.exec(time_ns, &self.programs, draw)),
            Step::Exit => batch.exits.push(life.exit(time_ns, &self.programs, draw)),
            Step::File => batch.files.push(files::row(time_ns, life.uid, draw)),
            Step::Socket => {
                self.next_port = (self.next_port + 1) % 28_232;
                let path = self.programs.path(life.program);
                batch.sockets.push(sockets::row(time_ns, life, path, self.next_port, draw));
            }
        }
    }
}

/// Nanoseconds since boot of a real time.
fn start_ns(time_ns: i64) -> u64 {
    (time_ns - CLOCK_OFFSET_NS).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn batches(rows: u64, seed: u64) -> Vec<Batch> {
        let mut generator = Generator::new(rows, seed);
        std::iter::from_fn(|| generator.batch(1_000)).collect()
    }

    #[test]
    fn a_seed_gives_the_same_rows_again() {
        let rows = |seed| -> Vec<ProcessEvents> {
            batches(ROWS_MIN, seed).into_iter().flat_map(|batch| batch.execs).collect()
        };
        assert_eq!(rows(1), rows(1));
        assert_ne!(rows(1), rows(2));
    }

    #[test]
    fn rows_are_as_many_and_as_long_as_said() {
        let batches = batches(100_000, 7);
        assert_eq!(batches.iter().map(Batch::len).sum::<usize>(), 100_000);
        let times: Vec<i64> =
            batches.iter().flat_map(|batch| &batch.execs).map(|row| row.time_ns).collect();
        let disorder = times.windows(2).map(|pair| (pair[0] - pair[1]).max(0)).max();
        assert!(disorder.is_some_and(|ns| 0 < ns && ns <= 3_000_000), "{disorder:?}");
        let days = (times[times.len() - 1] - times[0]) / (86_400 * SECOND_NS);
        assert!((29..=30).contains(&days), "{days}");
        let execs = times.len();
        assert!((26_000..31_000).contains(&execs), "{execs}");
    }

    #[test]
    fn exits_join_to_execs_and_needles_are_ten_each() {
        let batches = batches(100_000, 7);
        let execs = || batches.iter().flat_map(|batch| &batch.execs);
        let begun: HashSet<(u32, u64)> = execs().map(|row| (row.pid, row.start_ns)).collect();
        let exits: Vec<_> = batches.iter().flat_map(|batch| &batch.exits).collect();
        let joined = exits.iter().filter(|row| begun.contains(&(row.pid, row.start_ns))).count();
        assert!(joined * 100 > exits.len() * 85, "{joined} of {}", exits.len());
        let mut paths: HashMap<&str, usize> = HashMap::new();
        for row in execs() {
            *paths.entry(row.path.as_deref().unwrap_or("")).or_default() += 1;
        }
        assert_eq!((paths[NEEDLE_NEAR], paths[NEEDLE_FAR]), (10, 10));
        assert!((1_000..=3_002).contains(&paths.len()), "{}", paths.len());
        let words =
            execs().filter(|row| row.cmdline.as_deref().unwrap_or("").contains(NEEDLE_WORD));
        assert_eq!(words.count(), 20);
    }
}
