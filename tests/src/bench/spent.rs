//! Wall and CPU time.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Wall time, and CPU time of the thread that did the work.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
}

impl Spent {
    pub(super) fn add(&mut self, part: Self) {
        self.wall += part.wall;
        self.cpu += part.cpu;
    }
}

/// Does some work and says what it took, with what it gives.
pub(super) fn time<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Spent)> {
    let (wall, cpu) = (Instant::now(), thread_cpu());
    let result = work()?;
    let spent = Spent { wall: wall.elapsed(), cpu: thread_cpu().saturating_sub(cpu) };
    Ok((result, spent))
}

/// CPU time of the calling thread; the sealer has its own.
pub(super) fn thread_cpu() -> Duration {
    cpu(ClockId::ThreadCPUTime)
}

/// CPU time of all threads of this process.
pub(super) fn process_cpu() -> Duration {
    cpu(ClockId::ProcessCPUTime)
}

fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
