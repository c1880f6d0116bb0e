//! SQLite as the store to compare with, at its best documented settings.
//!
//! WAL and `synchronous = NORMAL`, pages of 4 KiB (the default), 256 MiB of cache, 4 GiB mapped,
//! checkpoints after 64 MiB of log instead of 4, transactions of [`super::BATCH`] rows, prepared
//! statements (one per table and transaction), an index on time from the beginning. It keeps one thing less than Bygone: neither
//! boot id nor clock offset. Indexes that only some queries need are made after the bytes were
//! counted.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bygone_store::TableSchema;
use bygone_store::schema::ColumnType;
use rusqlite::Connection;

use super::digest::Digest;
use super::stored::{Stored, TABLES};
use crate::bench::generator::Batch;

pub(super) const SETTINGS: &str = "WAL, synchronous=NORMAL, page_size=4096, cache_size=256 MiB, \
     mmap_size=4 GiB, wal_autocheckpoint=16384 pages, temp_store=MEMORY";

pub(super) struct Sqlite {
    connection: Connection,
    path: PathBuf,
}

impl Sqlite {
    /// Creates the database with its tables and their index on time.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(path).context("create the SQLite database")?;
        connection.execute_batch(
            "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             PRAGMA cache_size = -262144; PRAGMA mmap_size = 4294967296;
             PRAGMA wal_autocheckpoint = 16384; PRAGMA temp_store = MEMORY;",
        )?;
        for table in TABLES {
            connection.execute_batch(&declaration(table))?;
        }
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Appends rows in one transaction.
    pub(super) fn append(&self, batch: &Batch) -> anyhow::Result<()> {
        self.connection.execute_batch("BEGIN")?;
        self.insert(&batch.execs)?;
        self.insert(&batch.forks)?;
        self.insert(&batch.exits)?;
        self.insert(&batch.files)?;
        self.insert(&batch.sockets)?;
        self.connection.execute_batch("COMMIT")?;
        Ok(())
    }

    fn insert<T: Stored>(&self, rows: &[T]) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare(&insertion(T::SCHEMA))?;
        for row in rows {
            row.bind(&mut statement)?;
            statement.raw_execute()?;
        }
        Ok(())
    }

    /// Moves the log into the database.
    pub(super) fn checkpoint(&self) -> anyhow::Result<()> {
        let mut statement = self.connection.prepare("PRAGMA wal_checkpoint(TRUNCATE)")?;
        let busy: i64 = statement.query_row([], |row| row.get(0))?;
        anyhow::ensure!(busy == 0, "the log was not moved");
        Ok(())
    }

    /// Bytes of the database.
    pub(super) fn bytes(&self) -> anyhow::Result<u64> {
        Ok(std::fs::metadata(&self.path)?.len())
    }

    /// Makes the indexes that some queries are measured with.
    pub(super) fn index(&self) -> anyhow::Result<()> {
        self.connection.execute_batch(
            "CREATE INDEX process_events_path ON process_events (path);
             CREATE INDEX process_exit_events_process ON process_exit_events (pid, start_ns);
             ANALYZE;",
        )?;
        Ok(())
    }

    pub(super) fn query(&self, sql: &str) -> anyhow::Result<Digest> {
        let mut statement = self.connection.prepare(sql).with_context(|| sql.to_owned())?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        let mut digest = Digest::default();
        while let Some(row) = rows.next()? {
            digest.rows += 1;
            for column in 0..columns {
                digest.add(row.get_ref(column)?);
            }
        }
        Ok(digest)
    }
}

fn declaration(table: &TableSchema) -> String {
    let columns: Vec<String> = table
        .stored()
        .map(|(_, column, column_type)| {
            let sql = match column_type {
                ColumnType::Text => "TEXT",
                ColumnType::Blob => "BLOB",
                ColumnType::F64 => "REAL",
                _ => "INTEGER",
            };
            format!("{} {sql}{}", column.name, if column.nullable { "" } else { " NOT NULL" })
        })
        .collect();
    let name = table.name;
    format!(
        "CREATE TABLE {name} (eid INTEGER PRIMARY KEY, {});
         CREATE INDEX {name}_time ON {name} (time_ns);",
        columns.join(", ")
    )
}

fn insertion(table: &TableSchema) -> String {
    let names: Vec<&str> = table.stored().map(|(_, column, _)| column.name).collect();
    let marks = vec!["?"; names.len()].join(", ");
    format!("INSERT INTO {} ({}) VALUES ({marks})", table.name, names.join(", "))
}
