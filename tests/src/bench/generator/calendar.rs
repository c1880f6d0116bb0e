//! When processes start: 30 days with day and night, weekends, cron and builds.

use super::draw::Draw;
use super::{SECOND_NS, START_NS};

const DAYS: usize = 30;
const MINUTES_OF_DAY: usize = 24 * 60;
const MINUTES: usize = DAYS * MINUTES_OF_DAY;
const MINUTE_NS: i64 = 60 * SECOND_NS;

/// How much happens in each hour of a working day, relative to noon.
const HOURS: [f64; 24] = [
    0.15, 0.12, 0.12, 0.12, 0.12, 0.15, 0.25, 0.4, 0.7, 0.95, 1.0, 1.0, 1.0, 0.9, 1.0, 1.0, 0.95,
    0.9, 0.7, 0.5, 0.4, 0.35, 0.25, 0.2,
];

/// How much happens on Saturdays and Sundays.
const WEEKEND: f64 = 0.4;

/// Builds a day, and how much more happens during one.
const BUILDS: u64 = 8;
const BUILD: f64 = 25.0;

/// Share of a minute's starts that fall into its first 1.5 seconds.
const CRON_SHARE: f64 = 0.2;
const CRON_NS: f64 = 1.5e9;

/// The starts, one after the other.
#[derive(Debug)]
pub(super) struct Calendar {
    /// Starts before the end of each minute.
    until: Vec<u64>,
    minute: usize,
    /// Starts so far, those of the minute, and how many it has.
    started: u64,
    of_minute: u64,
    in_minute: u64,
}

impl Calendar {
    /// Spreads `starts` over the days.
    pub(super) fn new(starts: u64, draw: &mut Draw) -> Self {
        let weights = weights(draw);
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let until = weights.iter().map(|weight| {
            sum += weight;
            (starts as f64 * (sum / total)) as u64
        });
        let until: Vec<u64> = until.collect();
        let in_minute = until.first().copied().unwrap_or(0);
        Self { until, minute: 0, started: 0, of_minute: 0, in_minute }
    }

    /// When the next process starts, in nanoseconds since the Unix epoch. After the last day the
    /// last minute goes on.
    pub(super) fn next(&mut self, draw: &mut Draw) -> i64 {
        while self.of_minute == self.in_minute && self.minute + 1 < self.until.len() {
            self.minute += 1;
            self.of_minute = 0;
            self.in_minute = self.until[self.minute].saturating_sub(self.started);
        }
        // One in each of as many equal parts, so that they come in order.
        let place = (self.of_minute as f64 + draw.share()) / self.in_minute.max(1) as f64;
        self.of_minute += 1;
        self.started += 1;
        let offset_ns = if place < CRON_SHARE {
            place / CRON_SHARE * CRON_NS
        } else {
            CRON_NS + (place - CRON_SHARE) / (1.0 - CRON_SHARE) * (MINUTE_NS as f64 - CRON_NS)
        };
        START_NS + self.minute as i64 * MINUTE_NS + offset_ns as i64
    }
}

/// How much happens in each minute.
fn weights(draw: &mut Draw) -> Vec<f64> {
    let mut weights = Vec::with_capacity(MINUTES);
    for minute in 0..MINUTES {
        let (day, hour) = (minute / MINUTES_OF_DAY, minute % MINUTES_OF_DAY / 60);
        // The first day is a Thursday.
        let share = if [2, 3].contains(&(day % 7)) { WEEKEND } else { 1.0 };
        // More jobs begin with the hour and with every five minutes.
        let cron = match minute % 60 {
            0 => 3.0,
            five if five % 5 == 0 => 1.5,
            _ => 1.0,
        };
        weights.push(HOURS[hour] * share * cron * (0.7 + 0.6 * draw.share()));
    }
    for day in 0..DAYS {
        for _ in 0..BUILDS {
            // Mostly in working hours, one in eight at night.
            let hour = if draw.below(8) == 0 { 2 } else { 8 + draw.below(11) as usize };
            let first = day * MINUTES_OF_DAY + hour * 60 + draw.below(60) as usize;
            let minutes = 2 + draw.below(5) as usize;
            for weight in weights.iter_mut().skip(first).take(minutes) {
                *weight = BUILD;
            }
        }
    }
    weights
}
