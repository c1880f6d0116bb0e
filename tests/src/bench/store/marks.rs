//! Where in time the queries look, so that they find the wanted number of rows.

use crate::bench::generator::Batch;

/// Every how many rows of a table a time is kept.
const EVERY: usize = 50;

/// Times, in nanoseconds since the Unix epoch, of every [`EVERY`]th row of two tables.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub(super) execs: Times,
    pub(super) sockets: Times,
}

impl Marks {
    pub(super) fn note(&mut self, batch: &Batch) {
        self.execs.note(batch.execs.iter().map(|row| row.time_ns));
        self.sockets.note(batch.sockets.iter().map(|row| row.time_ns));
    }
}

/// Times of one table.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) rows: usize,
    marks: Vec<i64>,
}

impl Times {
    fn note(&mut self, times: impl Iterator<Item = i64>) {
        for time_ns in times {
            if self.rows.is_multiple_of(EVERY) {
                self.marks.push(time_ns);
            }
            self.rows += 1;
        }
    }

    /// The times of about `rows` rows that follow each other, the first after `share` (0 to 1) of
    /// all; all times when there are fewer.
    pub(super) fn range(&self, share: f64, rows: usize) -> (i64, i64) {
        let wanted = rows / EVERY;
        if wanted + 1 >= self.marks.len() {
            return (i64::MIN, i64::MAX);
        }
        let first = (self.marks.len() as f64 * share) as usize;
        let first = first.min(self.marks.len() - wanted - 1);
        (self.marks[first], self.marks[first + wanted] - 1)
    }
}
