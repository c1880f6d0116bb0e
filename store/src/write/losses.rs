//! What a journal does not hold although it should: stretches without a valid frame.

use std::time::UNIX_EPOCH;

use crate::damage::{Damage, DamageKind};
use crate::journal::index::FrameIndex;
use crate::journal::read::Journal;
use crate::layout;

/// The holes of a journal that takes no more rows, and its tail when that is no whole frame.
pub(super) fn losses(journal: &Journal, index: &FrameIndex) -> Vec<Damage> {
    let name = layout::journal_name(journal.key().number);
    let holes = index.holes.iter().map(|hole| Damage::hole(name.clone(), hole));
    holes.chain(torn_tail(journal, index, &name)).collect()
}

fn torn_tail(journal: &Journal, index: &FrameIndex, name: &str) -> Option<Damage> {
    let rest = index.seen.saturating_sub(index.end);
    if rest == 0 {
        return None;
    }
    let detail = format!("the last {rest} bytes are no whole frame");
    let from = index.frames.last().map_or(journal.header.created_ns, |f| f.header.max_time_ns);
    let modified = journal.file.info().ok().and_then(|info| info.modified);
    let since = modified.and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
    let to = since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(from);
    Some(Damage::new(DamageKind::TornTail, name, detail).times(from, to.max(from)))
}
