//! Which contents were executed.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::events::{ContentDigest, ContentKey};

/// Contents that are remembered, some 30 MB. Of more, those that were met first go.
const CONTENTS_MAX: i64 = 300_000;

/// How often it is looked whether they are too many, in contents.
const CHECK_EVERY: i64 = 1024;

/// Whether a content is remembered.
pub(super) fn knows(connection: &Connection, content: &ContentKey) -> rusqlite::Result<bool> {
    let ContentKey { device, inode, ctime_ns, size } = *content;
    let mut statement = connection.prepare(
        "SELECT 1 FROM contents WHERE device = ? AND inode = ? AND ctime_ns = ? AND size = ?",
    )?;
    let key = params![device.cast_signed(), inode.cast_signed(), ctime_ns, size.cast_signed()];
    Ok(statement.query_row(key, |_| Ok(())).optional()?.is_some())
}

/// Remembers a content.
pub(super) fn remember(
    connection: &Connection,
    content: &ContentKey,
    time_ns: i64,
    digest: Option<&ContentDigest>,
) -> rusqlite::Result<()> {
    remember_at_most(connection, content, time_ns, digest, CONTENTS_MAX)
}

fn remember_at_most(
    connection: &Connection,
    content: &ContentKey,
    time_ns: i64,
    digest: Option<&ContentDigest>,
    contents_max: i64,
) -> rusqlite::Result<()> {
    let ContentKey { device, inode, ctime_ns, size } = *content;
    let mut statement = connection.prepare(
        "INSERT OR REPLACE INTO contents (device, inode, ctime_ns, size, met_ns, sha256) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    let (device, inode, size) = (device.cast_signed(), inode.cast_signed(), size.cast_signed());
    let sha256 = digest.map(|digest| digest.sha256);
    statement.execute(params![device, inode, ctime_ns, size, time_ns, sha256])?;
    let changes = i64::try_from(connection.total_changes()).unwrap_or(0);
    if changes % CHECK_EVERY.min(contents_max) == 0 {
        let count: i64 =
            connection.query_row("SELECT count(*) FROM contents", [], |row| row.get(0))?;
        let over = count - contents_max;
        if over > 0 {
            connection.execute(
                "DELETE FROM contents WHERE met_ns <= (SELECT met_ns FROM contents \
                 ORDER BY met_ns LIMIT 1 OFFSET ?)",
                params![over - 1],
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_were_met_first_go() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(super::super::TABLES).unwrap();
        let content = |inode| ContentKey { device: 1, inode, ctime_ns: 0, size: 0 };
        for inode in 0..50 {
            let met_ns = i64::try_from(inode).unwrap();
            remember_at_most(&connection, &content(inode), met_ns, None, 10).unwrap();
        }
        let known: Vec<u64> =
            (0..50).filter(|inode| knows(&connection, &content(*inode)).unwrap()).collect();
        assert!((10..=20).contains(&known.len()), "{known:?}");
        assert_eq!(known.last(), Some(&49));
        assert!(known.is_sorted() && known.first() >= Some(&30), "{known:?}");
    }
}
