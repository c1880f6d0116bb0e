//! The target that makes up statements.

use std::path::Path;

use bygone_store::limits::{GROUPS_BYTES_MAX, KEPT_BYTES_MAX};
use bygone_store::sql::{Session, SessionOptions};
use bygone_store::{EventTable, Reader, TableSchema, Writer};
use rusqlite::Connection;

use crate::control::{
    BOOT_ID, CLOCK_OFFSET_NS, Chance, Others, Samples, agree, control, others, samples,
};
use crate::disk::MemoryDisk;
use crate::targets::Seed;

static TABLES: &[&TableSchema] = &[Samples::SCHEMA, Others::SCHEMA];

const DIR: &str = "/store";

/// Bytes of an input to begin with; statements of more than so many choices are rare.
const SEED_BYTES: usize = 48;

/// How rows are stored, and how much memory a session has for them.
struct Layout {
    name: &'static str,
    /// Rows of each table. Few, as a join of three tries all combinations, and fewer where its inner
    /// sides are read again for each.
    rows: usize,
    /// Rows that a segment has at most, of each table. The last rows are in a journal.
    segment_rows: usize,
    kept_bytes_max: usize,
    groups_bytes_max: usize,
}

const LAYOUTS: [Layout; 4] = [
    Layout {
        name: "journal",
        rows: 12,
        segment_rows: 12,
        kept_bytes_max: KEPT_BYTES_MAX,
        groups_bytes_max: GROUPS_BYTES_MAX,
    },
    Layout {
        name: "segments",
        rows: 12,
        segment_rows: 5,
        kept_bytes_max: KEPT_BYTES_MAX,
        groups_bytes_max: GROUPS_BYTES_MAX,
    },
    Layout {
        name: "nothing-kept",
        rows: 6,
        segment_rows: 4,
        kept_bytes_max: 0,
        groups_bytes_max: GROUPS_BYTES_MAX,
    },
    Layout {
        name: "few-groups",
        rows: 12,
        segment_rows: 12,
        kept_bytes_max: KEPT_BYTES_MAX,
        groups_bytes_max: 500,
    },
];

thread_local! {
    /// A session and its control of each layout. They cost more than a statement.
    static PAIRS: Vec<(Session, Connection)> = (0..).zip(&LAYOUTS).map(pair).collect();
}

/// A store with rows of its own, and ordinary tables with the same.
fn pair((number, layout): (u64, &Layout)) -> (Session, Connection) {
    let mut chance = Chance::new(number);
    let (samples, others) = (samples(layout.rows, &mut chance), others(layout.rows, &mut chance));
    let disk = MemoryDisk::default();
    let mut killed = disk.clone();
    let parts = samples.chunks(layout.segment_rows).zip(others.chunks(layout.segment_rows));
    for (samples, others) in parts {
        let (mut writer, _) = Writer::open(Path::new(DIR), TABLES, disk.options(BOOT_ID)).unwrap();
        writer.set_clock_offset(CLOCK_OFFSET_NS);
        writer.append(samples.to_vec()).unwrap();
        writer.append(others.to_vec()).unwrap();
        killed = disk.copied();
        writer.close().unwrap();
    }
    let reader = Reader::open_on(std::sync::Arc::new(killed), Path::new(DIR)).unwrap();
    let options = SessionOptions { data_dir: DIR.into(), events: TABLES, states: &[] };
    let session = Session::open(options).unwrap().with_reader(reader);
    let session = session
        .with_kept_bytes_max(layout.kept_bytes_max)
        .with_groups_bytes_max(layout.groups_bytes_max);
    (session, control(&samples, &others))
}

/// A statement. The first byte chooses a layout, each byte after it makes a choice of the statement.
pub fn sql(data: &[u8]) {
    let Some((layout, choices)) = data.split_first() else { return };
    let layout = usize::from(*layout) % LAYOUTS.len();
    PAIRS.with(|pairs| {
        let (session, control) = &pairs[layout];
        agree(session, control, &mut Chance::of_bytes(choices), LAYOUTS[layout].name);
    });
}

/// The inputs that this target begins with: a statement for each layout.
pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |(number, layout): (u8, &Layout)| {
        let mut chance = Chance::new(number.into());
        let choices = (0..SEED_BYTES).map(|_| chance.below(256) as u8);
        ("sql", layout.name, std::iter::once(number).chain(choices).collect())
    };
    (0..).zip(&LAYOUTS).map(seed).collect()
}
