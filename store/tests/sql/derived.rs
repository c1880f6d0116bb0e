//! What the derive makes of a struct.

use bygone_store::schema::{ColumnSource, ColumnType, Computation};
use bygone_store::{Computed, EventTable};

/// Things that happened,
/// told in two lines.
///
/// And a paragraph.
#[derive(EventTable)]
struct BPFThings {
    /// Process id.
    pid: Option<u32>,
    /// Start of the process.
    start_ns: u64,
    /// Identity.
    #[column(guid(pid, start_ns), hidden)]
    #[expect(dead_code, reason = "a computed field holds nothing to be read")]
    guid: Computed,
    /// When,
    /// in nanoseconds.
    #[column(time)]
    time_ns: i64,
    /// A word that Rust keeps for itself.
    #[column(bloom)]
    r#type: Option<String>,
    /// Bytes.
    data: Vec<u8>,
}

#[test]
fn the_schema_follows_from_the_struct() {
    let schema = BPFThings::SCHEMA;
    assert_eq!(schema.name, "bpf_things");
    assert_eq!(schema.doc, "Things that happened, told in two lines. And a paragraph.");
    let columns: Vec<_> = schema.columns.iter().map(|column| column.name).collect();
    let names =
        ["time", "pid", "start_ns", "guid", "time_ns", "type", "data", "eid", "boot_ns", "boot_id"];
    assert_eq!(columns, names);
    assert_eq!(schema.time, Some(4));
    let with = |has: fn(&bygone_store::schema::ColumnSchema) -> bool| {
        let columns = schema.columns.iter().filter(|column| has(column));
        columns.map(|column| column.name).collect::<Vec<_>>()
    };
    assert_eq!(with(|column| column.nullable), ["pid", "guid", "type"]);
    assert_eq!(with(|column| column.hidden), ["guid", "eid", "boot_ns", "boot_id"]);
    assert_eq!(with(|column| column.bloom), ["type"]);
    let source = |index: usize| schema.columns[index].source;
    assert_eq!(source(0), ColumnSource::Computed(Computation::Seconds));
    assert_eq!(source(1), ColumnSource::Stored(ColumnType::U32));
    assert_eq!(source(3), ColumnSource::Computed(Computation::Guid { pid: 1, start_ns: 2 }));
    assert_eq!(source(7), ColumnSource::Computed(Computation::Eid));
    assert_eq!(schema.columns[4].doc, "When, in nanoseconds.");
}

#[test]
fn a_row_is_encoded_as_its_stored_fields() {
    let row = BPFThings {
        pid: None,
        start_ns: 300,
        guid: Computed,
        time_ns: -1,
        r#type: Some("é".to_owned()),
        data: vec![1, 2],
    };
    assert_eq!(row.time_ns(), -1);
    let mut bytes = Vec::new();
    row.encode(&mut bytes);
    assert_eq!(bytes, [0, 251, 44, 1, 1, 1, 2, 0xc3, 0xa9, 2, 1, 2]);
}
