//! Every bound of the store, in one place.
//!
//! A bound that is hit is an error, a counted refusal or a forced step, never silent growth.

use std::time::Duration;

/// How often a writer tries to take the lock while nobody writes: one who only asks has it for a
/// moment.
pub const LOCK_ATTEMPTS: u32 = 200;

/// How long it waits in between.
pub const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Rows in one frame of the journal.
pub const FRAME_ROWS_MAX: u32 = 4096;

/// Bytes of encoded rows after which a frame is closed. One row may carry a frame over it, by at
/// most [`ROW_BYTES_MAX`].
pub const FRAME_BYTES: usize = 1 << 20;

/// Bytes of one encoded row. A longer one is refused and counted.
pub const ROW_BYTES_MAX: usize = 8 << 20;

/// Bytes of rows that a reader accepts in one frame.
pub const PAYLOAD_BYTES_MAX: usize = FRAME_BYTES + ROW_BYTES_MAX;

/// Bytes of a journal before the next one is begun, unless the options say otherwise.
pub const JOURNAL_BYTES: u64 = 8 << 20;

/// Age of a journal before the next one is begun, unless the options say otherwise.
pub const JOURNAL_AGE: Duration = Duration::from_secs(5 * 60);

/// Bytes of a journal's header, which holds the schema of every table.
pub const JOURNAL_HEADER_BYTES_MAX: usize = 4 << 20;

/// Bytes of rows that may wait for a sync: they are kept in memory until then, to be written
/// again when the sync fails. The next append forces a sync.
pub const UNSYNCED_BYTES_MAX: usize = 8 << 20;

/// Capacity in bytes that the buffer of unsynced rows keeps once it is empty.
pub const UNSYNCED_BYTES_KEPT: usize = 1 << 20;

/// Numbers that a table leases at a time; at most so many are skipped by an unclean stop.
pub const LEASE_EIDS: u64 = 1_000_000;

/// Tables of one store.
pub const TABLES_MAX: usize = 1024;

/// Columns of one table.
pub const COLUMNS_MAX: usize = 1024;

/// Journals that are full by size are sealed together once so many wait, so that row groups are
/// large, or when the first has waited for [`SEAL_WAIT`].
pub const SEAL_JOURNALS: u64 = 32;

/// How long a journal that is full by size waits for others to be sealed with it.
pub const SEAL_WAIT: Duration = Duration::from_secs(5);

/// Bytes of journals that are sealed together, one journal at least.
pub const SEAL_BYTES_MAX: u64 = 256 << 20;

/// Journals that wait for the sealer before it comes forward among the host's threads and leaves
/// merges for later. Up to two times [`SEAL_JOURNALS`] is the usual run of things.
pub const BEHIND_JOURNALS: usize = 64;

/// Journals that wait for the sealer before the writer makes longer ones instead of more, so that
/// readers can open them all: see [`JOURNALS_MAX`].
pub const WAITING_JOURNALS_MAX: usize = 256;

/// Rows of journals that are decoded at a time to be sealed, as far as frames allow.
pub const WINDOW_BATCH_ROWS: usize = 4 * 1024;

/// Rows that wait, in memory, until no earlier row can follow. When more must wait, the segment
/// ends and another is begun.
pub const WINDOW_ROWS_MAX: usize = 64 * 1024;

/// Memory, in bytes, of the rows that wait so; with more, too, the order begins anew.
pub const WINDOW_BYTES_MAX: usize = 16 << 20;

/// How long before its journal was begun a row may have happened and still not count as late.
pub const LATE_BEFORE: Duration = Duration::from_secs(10 * 60);

/// How long after it was sealed a row may claim to have happened and still not count as out of
/// time.
pub const LATE_AFTER: Duration = Duration::from_secs(10);

/// How long the sealer waits after a failure before it tries the same journal again.
pub const SEAL_RETRY: Duration = Duration::from_secs(10);

/// Rows in one row group of a segment.
pub const ROW_GROUP_ROWS: usize = 128 * 1024;

/// Bytes of a row group in its encoded form, as it waits in memory; it ends when it is longer.
pub const GROUP_BYTES_MAX: usize = 10 << 20;

/// Rows from which a row group is moved whole when segments are merged; smaller ones are encoded
/// anew, unless they have [`MOVE_BYTES_MIN`].
pub const MOVE_ROWS_MIN: usize = 64 * 1024;

/// Bytes, encoded and not compressed, from which a row group is moved whole whatever its rows: wide
/// rows fill [`GROUP_BYTES_MAX`] before they are many.
pub const MOVE_BYTES_MIN: u64 = 4 << 20;

/// Rows of each row group that a merge holds decoded, as far as they have no more than
/// [`MERGE_ROWS_BYTES`].
pub const MERGE_ROWS: usize = 4 * 1024;

/// Memory, in bytes, of the rows of each row group that a merge holds decoded, as far as the rows of
/// the group are alike.
pub const MERGE_ROWS_BYTES: u64 = 4 << 20;

/// Row groups that a merge reads at once; with more that overlap in time, fewer segments are
/// merged.
pub const MERGE_OPEN_MAX: usize = 6;

/// Segments that are merged at once.
pub const MERGE_FILES_MAX: usize = 32;

/// Bytes of segments that are merged at once, two segments at least.
pub const MERGE_BYTES_MAX: u64 = 128 << 20;

/// Segments of sealed journals of one table that are merged although their hour is not over.
pub const LEVEL_0_SEGMENTS: usize = 16;

/// Segments of one table with rows far out of time that are merged.
pub const LATE_SEGMENTS: usize = 8;

/// How long a file that others replace stays for readers that pinned it before.
pub const READER_GRACE: Duration = Duration::from_secs(10 * 60);

/// How long segments whose merge could not be written are left alone, while others are merged.
pub const MERGE_RETRY: Duration = Duration::from_secs(10 * 60);

/// How often it is looked whether there is something to merge, to delete or to expire.
pub const MAINTAIN_EVERY: Duration = Duration::from_secs(30);

/// Rows in one page of a segment's column.
pub const PAGE_ROWS: usize = 8 * 1024;

/// Bytes of one page, encoded and not compressed, after which it ends: a reader who wants one row of
/// it decompresses all. The writer looks every thousand rows.
pub const PAGE_BYTES: usize = 128 << 10;

/// Bytes of one page, decompressed, that a reader accepts. A page ends with the row that fills it, of
/// at most [`ROW_BYTES_MAX`] a column, and those of segments before [`PAGE_BYTES`] with 1 MiB.
pub const PAGE_BYTES_MAX: usize = 64 << 20;

/// Bytes of a column's dictionary; beyond it values are stored without.
pub const DICTIONARY_BYTES: usize = 1 << 20;

/// Bytes of a segment; what follows goes to another file.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// Bytes of entries in a manifest file, its checkpoint not counted, before the next one is begun.
pub const MANIFEST_BYTES: u64 = 1 << 20;

/// Bytes that are set aside, at least, for the manifest on a full disk. They are always a multiple.
pub const RESERVE_BYTES_MIN: u64 = 64 << 10;

/// Bytes of a manifest file that a reader accepts.
pub const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// Bytes of each slot of a two-slot file.
pub const SLOT_BYTES: usize = 64 << 10;

/// How often a reader pins its snapshot anew because the writer sealed a journal meanwhile.
pub const PIN_ATTEMPTS: usize = 64;

/// Bytes of one column of a row group that a scan reads at once. Of a longer one it reads page by
/// page.
pub const CHUNK_BYTES_MAX: u64 = 4 << 20;

/// Memory, in bytes, for the footers of the segments that a reader holds open.
pub const FOOTER_BYTES_MAX: usize = 32 << 20;

/// Segments that a reader holds open, over all its snapshots.
pub const OPEN_SEGMENTS_MAX: usize = 128;

/// Journals whose frame index a reader keeps from one snapshot to the next.
pub const JOURNAL_INDEXES_MAX: usize = 64;

/// Rows in one batch of a scan, as far as frames and row groups allow.
pub const BATCH_ROWS: usize = 8 * 1024;

/// Batches that a scan's thread reads ahead.
pub const AHEAD_BATCHES_MAX: usize = 2;

/// Values, rows times columns, that an ordered scan decodes of one row group at once, unless a batch
/// has more.
pub const STRETCH_CELLS_MAX: usize = 1 << 20;

/// Bytes of encoded rows after which a batch of a journal's scan is closed. One frame may carry it
/// over, by at most [`PAYLOAD_BYTES_MAX`].
pub const BATCH_BYTES: usize = 4 << 20;

/// Unsealed journals that a reader opens at once. With more, a writer must seal some first.
pub const JOURNALS_MAX: usize = 512;

/// Entries in a snapshot's list of damage; more are left out.
pub const DAMAGE_MAX: usize = 1024;

/// Memory, in bytes, for rows of events that one SQL statement keeps to answer repeated scans, with
/// their indexes (estimated). Beyond it such scans are read again.
pub const KEPT_BYTES_MAX: usize = 256 << 20;

/// How often a scan of events runs in a statement before its rows are kept.
pub const SCANS_BEFORE_KEEPING: u32 = 2;

/// Different scans of which a statement remembers how often they ran.
pub const SCANS_REMEMBERED_MAX: usize = 4096;

/// Ranges of time per table that a statement remembers to have read; beyond it they are joined.
pub const RANGES_MAX: usize = 64;

/// Windows of time that a statement keeps of one repeated scan whose range moves.
pub const WINDOWS_MAX: usize = 3;

/// Members of one `IN` that a scan takes over; with more, SQLite checks every row.
pub const IN_VALUES_MAX: usize = 1 << 20;

/// Memory, in bytes, for the distinct values of one grouping. With more values, a part of them is
/// counted at a time, each with a scan of its own.
pub const GROUPS_BYTES_MAX: usize = 256 << 20;
