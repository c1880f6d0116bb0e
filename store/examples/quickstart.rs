//! A table, a few rows, and a range of them read back.
//!
//! `cargo run -p bygone-store --example quickstart`

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use bygone_store::{EventTable, Reader, ScanRequest, TableSchema, Writer, WriterOptions};

/// Doors that were opened.
#[derive(Debug, EventTable)]
struct DoorEvents {
    /// When it was opened, in nanoseconds since the Unix epoch.
    #[column(time)]
    time_ns: i64,
    /// Which door.
    door: String,
    /// Who opened it; null when that is not known.
    #[column(bloom)]
    person: Option<String>,
}

static TABLES: &[&TableSchema] = &[DoorEvents::SCHEMA];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("bygone-quickstart-{}", std::process::id()));

    // The boot id tells apart rows of different boots; a real program reads the host's.
    let (mut writer, _opened) = Writer::open(&dir, TABLES, WriterOptions::new([1; 16]))?;
    let hour = 3_600_000_000_000;
    let door = |hours: i64, door: &str, person: Option<&str>| DoorEvents {
        time_ns: hours * hour,
        door: door.to_owned(),
        person: person.map(str::to_owned),
    };
    writer.append([door(7, "front", Some("Ada")), door(8, "cellar", None)])?;
    writer.append([door(9, "front", Some("Grace"))])?;
    writer.sync()?;

    // A reader needs nothing but the folder, in this process or in another.
    let schema = DoorEvents::SCHEMA;
    let columns = ["door", "person"].iter().filter_map(|name| schema.column(name)).collect();
    let snapshot = Reader::open(&dir)?.snapshot()?;
    for batch in snapshot.scan(schema, &ScanRequest::new(8 * hour..=9 * hour, columns))? {
        let batch = batch?;
        for row in 0..batch.len() {
            let values: Vec<_> = batch.columns().iter().map(|column| column.value(row)).collect();
            println!("{values:?}");
        }
    }

    writer.close()?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
