//! Retention: what the store is told to keep, and what it gave up, as gaps.

use std::time::Duration;

use bygone_store::{Expired, Retention, TableRetention};

use crate::config::RetentionConfig;
use crate::events::{Gap, GapReason};

/// Tables that tell what is known of the others, and go after them.
const KEEP_LAST: [&str; 4] = ["gaps", "ledger", "capabilities", "audits"];

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

/// What the store gave up of one table.
pub(super) fn gap(expired: &Expired) -> Gap {
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

    #[test]
    fn a_gap_is_about_its_table() {
        let expired = Expired {
            table: "file_events".to_owned(),
            segments: 2,
            rows: 3,
            bytes: 4,
            time_ns: (5, 6),
        };
        let gap = gap(&expired);
        assert_eq!(Gap::table(gap.reason, gap.detail.as_deref()), Some("file_events"));
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
