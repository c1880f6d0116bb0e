//! Retention: what the store is told to keep, and what it gave up, as gaps.
//!
//! The store gives up a segment now and then, while the oldest hour of each table ages; a gap is
//! written once a minute and table at most, so that gaps do not become more than what they tell of,
//! and a kill hides no more than a minute's.

use std::time::{Duration, Instant};

use bygone_store::{Expired, Retention, TableRetention};

use crate::config::RetentionConfig;
use crate::events::{Gap, GapReason};

/// How long what was given up is gathered before it is told.
const GATHER: Duration = Duration::from_secs(60);

/// Tables that tell what is known of the others, and go after them.
const KEEP_LAST: [&str; 3] = ["gaps", "ledger", "capabilities"];

/// What the configuration asks the store to keep.
#[must_use]
pub fn retention(config: &RetentionConfig) -> Retention {
    let bound = |age: Duration| (age > Duration::ZERO).then_some(age);
    let tables = config.tables.iter().map(|(name, table)| TableRetention {
        table: name.clone(),
        // A table's own 0 lifts the bound of all.
        max_age: table.max_age.map(|age| bound(age).unwrap_or(Duration::MAX)),
        max_bytes: table.max_bytes.filter(|bytes| *bytes > 0),
    });
    Retention {
        max_age: bound(config.max_age),
        max_bytes: Some(config.max_bytes).filter(|bytes| *bytes > 0),
        min_free: config.min_free,
        tables: tables.collect(),
        keep_last: KEEP_LAST.map(str::to_owned).to_vec(),
    }
}

/// What was given up and is not yet told.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    gathered: Vec<Expired>,
    told_at: Option<Instant>,
}

impl Expiry {
    /// Adds what the store gave up.
    pub(super) fn add(&mut self, expired: Vec<Expired>) {
        for new in expired {
            match self.gathered.iter_mut().find(|known| known.table == new.table) {
                Some(known) => {
                    known.segments += new.segments;
                    known.rows += new.rows;
                    known.bytes += new.bytes;
                    known.time_ns.0 = known.time_ns.0.min(new.time_ns.0);
                    known.time_ns.1 = known.time_ns.1.max(new.time_ns.1);
                }
                None => self.gathered.push(new),
            }
        }
    }

    /// The gaps that are to be written now: the first at once, others gathered, and all when the
    /// daemon ends.
    pub(super) fn take(&mut self, ending: bool) -> Vec<Gap> {
        let recent = self.told_at.is_some_and(|at| at.elapsed() < GATHER);
        if self.gathered.is_empty() || (recent && !ending) {
            return Vec::new();
        }
        self.told_at = Some(Instant::now());
        std::mem::take(&mut self.gathered).iter().map(gap).collect()
    }
}

fn gap(expired: &Expired) -> Gap {
    let Expired { table, segments, rows, bytes, time_ns } = expired;
    Gap {
        time_ns: time_ns.0,
        end_ns: time_ns.1,
        source: "*".to_owned(),
        reason: GapReason::Expired,
        lost: Some(*rows),
        detail: Some(format!("table {table}: {segments} segments of {bytes} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expired(table: &str, rows: u64, from: i64) -> Expired {
        Expired { table: table.to_owned(), segments: 1, rows, bytes: 10, time_ns: (from, from + 5) }
    }

    #[test]
    fn what_goes_within_a_minute_is_one_gap_a_table() {
        let mut expiry = Expiry::default();
        assert_eq!(expiry.take(true), []);
        expiry.add(vec![expired("file_events", 1, 100)]);
        assert_eq!(expiry.take(false).len(), 1, "the first is told at once");
        for second in 1..60 {
            expiry.add(vec![expired("file_events", 2, second), expired("gaps", 1, 1)]);
            assert_eq!(expiry.take(false), []);
        }
        let gaps = expiry.take(true);
        let told: Vec<_> = gaps.iter().map(|gap| (gap.time_ns, gap.end_ns, gap.lost)).collect();
        assert_eq!(told, [(1, 64, Some(118)), (1, 6, Some(59))]);
        let detail = gaps[0].detail.as_deref();
        assert_eq!(detail, Some("table file_events: 59 segments of 590 bytes"));
    }

    #[test]
    fn zero_is_no_bound() {
        let mut config =
            RetentionConfig { max_age: Duration::ZERO, max_bytes: 0, ..RetentionConfig::default() };
        let own =
            crate::config::TableRetentionConfig { max_age: Some(Duration::ZERO), max_bytes: None };
        config.tables.insert("file_events".to_owned(), own);
        let retention = retention(&config);
        assert_eq!((retention.max_age, retention.max_bytes), (None, None));
        assert_eq!(retention.age_of("file_events"), Some(Duration::MAX));
        assert_eq!(retention.age_of("gaps"), None);
    }
}
