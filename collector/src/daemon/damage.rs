//! Damage to stored rows, as gaps.

use bygone_store::{Damage, DamageKind};

use super::time::now_ns;
use crate::events::{Gap, GapReason};

/// The gap that a finding is, `None` when it cost no rows. A finding without times is dated to
/// now, when it was made.
pub(super) fn gap(damage: &Damage) -> Option<Gap> {
    if damage.kind == DamageKind::Heartbeat {
        // Until when each source was complete is unknown: it was at the last write, about.
        let (time_ns, end_ns) = damage.time_ns.unwrap_or((now_ns(), now_ns()));
        return Some(Gap {
            time_ns,
            end_ns,
            source: "*".to_owned(),
            reason: GapReason::DaemonDown,
            lost: None,
            detail: Some(format!("file {}: {}", damage.file, damage.detail)),
        });
    }
    if !damage.kind.loses_rows() {
        tracing::warn!(file = damage.file, detail = damage.detail, "Found while opening the store");
        return None;
    }
    let now_ns = now_ns();
    let (time_ns, end_ns) = damage.time_ns.unwrap_or((now_ns, now_ns));
    let table = damage.table.as_deref().unwrap_or("*");
    Some(Gap {
        time_ns,
        end_ns,
        source: "*".to_owned(),
        reason: GapReason::Corrupt,
        lost: damage.rows,
        detail: Some(format!("table {table}, file {}: {}", damage.file, damage.detail)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_about_its_table() {
        for (table, expected) in [(Some("file_events"), Some("file_events")), (None, None)] {
            let damage = Damage {
                kind: DamageKind::Segment,
                file: "segments/file_events/0-1.parquet".to_owned(),
                table: table.map(str::to_owned),
                rows: None,
                time_ns: None,
                detail: "gone".to_owned(),
            };
            let gap = gap(&damage).unwrap();
            assert_eq!(Gap::table(gap.reason, gap.detail.as_deref()), expected);
        }
    }
}
