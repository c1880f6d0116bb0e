//! Two tables for the unit tests, written by hand so that they depend on no derive.

use crate::schema::{ColumnSchema, ColumnSource, ColumnType, TableSchema};
use crate::table::EventTable;

const fn column(name: &'static str, column_type: ColumnType, nullable: bool) -> ColumnSchema {
    ColumnSchema {
        name,
        doc: "A column.",
        source: ColumnSource::Stored(column_type),
        nullable,
        hidden: false,
        bloom: false,
    }
}

/// A table of three columns.
pub(crate) static SMALL: &TableSchema = &TableSchema {
    name: "small_events",
    doc: "Rows of tests.",
    columns: &[
        column("time_ns", ColumnType::I64, false),
        column("pid", ColumnType::U32, false),
        ColumnSchema { bloom: true, ..column("path", ColumnType::Text, true) },
    ],
    time: Some(0),
};

/// A table with every type, twice.
pub(crate) static EVERYTHING: &TableSchema = &TableSchema {
    name: "everything_events",
    doc: "Rows of tests.",
    columns: &[
        column("a_bool", ColumnType::Bool, false),
        column("a_i32", ColumnType::I32, false),
        column("a_u32", ColumnType::U32, false),
        column("a_u64", ColumnType::U64, false),
        column("a_f64", ColumnType::F64, false),
        column("a_text", ColumnType::Text, false),
        column("a_blob", ColumnType::Blob, false),
        column("time_ns", ColumnType::I64, false),
        column("n_bool", ColumnType::Bool, true),
        column("n_i32", ColumnType::I32, true),
        column("n_i64", ColumnType::I64, true),
        column("n_u32", ColumnType::U32, true),
        column("n_u64", ColumnType::U64, true),
        column("n_f64", ColumnType::F64, true),
        column("n_text", ColumnType::Text, true),
        column("n_blob", ColumnType::Blob, true),
    ],
    time: Some(7),
};

/// A row of [`SMALL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Small {
    pub(crate) time_ns: i64,
    pub(crate) pid: u32,
    pub(crate) path: Option<String>,
}

impl EventTable for Small {
    const SCHEMA: &'static TableSchema = SMALL;

    fn time_ns(&self) -> i64 {
        self.time_ns
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let row = (self.time_ns, self.pid, self.path.as_deref());
        out.extend(bincode::encode_to_vec(row, bincode::config::standard()).unwrap());
    }
}
