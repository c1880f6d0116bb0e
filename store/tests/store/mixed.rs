//! A table of two versions whose rows hold what is hard to compare: nulls, NaN, empty and non-ASCII
//! text, long texts with equal beginnings (statistics cut them), and the limits of 64-bit numbers.

use std::path::Path;

use bygone_store::{EventTable, TableSchema, ValueRef, Writer, WriterOptions};

use crate::fixture::BOOT_ID;

mod older {
    use bygone_store::EventTable;

    /// The table as an earlier version had it.
    #[derive(Clone, Debug, PartialEq, EventTable)]
    pub(super) struct MixedEvents {
        /// When it happened, in nanoseconds since the Unix epoch.
        #[column(time)]
        pub(super) time_ns: i64,
        /// A number.
        #[column(bloom)]
        pub(super) pid: u32,
        /// Text that may be missing.
        #[column(bloom)]
        pub(super) path: Option<String>,
        /// A column that the next version does not have.
        pub(super) dropped: String,
        /// A signed number.
        pub(super) signed: i64,
    }
}

/// Rows of tests.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub(crate) struct MixedEvents {
    /// When it happened, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub(crate) time_ns: i64,
    /// A number.
    #[column(bloom)]
    pub(crate) pid: u32,
    /// Text that may be missing.
    #[column(bloom)]
    pub(crate) path: Option<String>,
    /// A signed number.
    pub(crate) signed: i64,
    /// A large number, which may be missing.
    #[column(bloom)]
    pub(crate) big: Option<u64>,
    /// A number with a fraction, which may be missing.
    pub(crate) ratio: Option<f64>,
    /// More text.
    pub(crate) name: String,
    /// Yes or no.
    pub(crate) flag: bool,
    /// Bytes.
    pub(crate) bytes: Vec<u8>,
    /// A small number, which may be missing.
    pub(crate) small: Option<i32>,
}

pub(crate) const SCHEMA: &TableSchema = MixedEvents::SCHEMA;

static OLDER: &[&TableSchema] = &[older::MixedEvents::SCHEMA];
static NEWER: &[&TableSchema] = &[SCHEMA];

/// A row as the model has it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) eid: i64,
    pub(crate) boot_id: [u8; 16],
    pub(crate) row: MixedEvents,
}

impl Row {
    pub(crate) fn value(&self, index: usize) -> ValueRef<'_> {
        let row = &self.row;
        match SCHEMA.columns[index].name {
            "time_ns" => ValueRef::I64(row.time_ns),
            "pid" => ValueRef::U32(row.pid),
            "path" => row.path.as_deref().map_or(ValueRef::Null, ValueRef::Text),
            "signed" => ValueRef::I64(row.signed),
            "big" => row.big.map_or(ValueRef::Null, ValueRef::U64),
            "ratio" => row.ratio.map_or(ValueRef::Null, ValueRef::F64),
            "name" => ValueRef::Text(&row.name),
            "flag" => ValueRef::Bool(row.flag),
            "bytes" => ValueRef::Blob(&row.bytes),
            "small" => row.small.map_or(ValueRef::Null, ValueRef::I32),
            other => panic!("no column {other}"),
        }
    }
}

/// Numbers that look random and depend on the seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.roll(all.len() as u64)).unwrap()].clone()
    }
}

pub(crate) const SIGNED: [i64; 7] = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
pub(crate) const BIG: [u64; 6] =
    [0, 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX - 1, u64::MAX];
pub(crate) const SMALL: [i32; 5] = [i32::MIN, -1, 0, 7, i32::MAX];

pub(crate) fn texts() -> Vec<String> {
    let long = "/very/long/".repeat(12);
    let mut texts: Vec<String> = [
        "",
        "/",
        "/usr/bin/sh",
        "/usr/bin/SH",
        "/usr/bin/shä",
        "/usr/local",
        "a%b_c*d?[e]",
        "ÄÖ",
        "\u{10ffff}",
    ]
    .map(String::from)
    .to_vec();
    texts.extend(
        ["", "0", "zz", "\u{10ffff}", "\u{10ffff}\u{10ffff}"].map(|end| format!("{long}{end}")),
    );
    texts.push("\u{10ffff}".repeat(40));
    texts
}

/// How a row's values are spread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// Rows per step of the time.
    pub(crate) per_step: i64,
    /// By how many steps a row may be out of order.
    pub(crate) jitter: u64,
    /// How many process ids and names there are.
    pub(crate) distinct: u64,
}

fn row(dice: &mut Dice, number: i64, spread: Spread, texts: &[String]) -> MixedEvents {
    let jitter = dice.roll(spread.jitter + 1) as i64;
    MixedEvents {
        time_ns: number / spread.per_step - jitter,
        pid: (number as u64 / 50).wrapping_add(dice.roll(3)).wrapping_rem(spread.distinct) as u32,
        path: (dice.roll(5) != 0).then(|| dice.of(texts)),
        signed: dice.of(&SIGNED),
        big: (dice.roll(3) != 0).then(|| dice.of(&BIG)),
        ratio: dice.of(&[None, Some(f64::NAN), Some(-0.0), Some(1.5), Some(f64::INFINITY)]),
        name: match dice.roll(4) {
            0 => dice.of(texts),
            _ => format!("name {}", dice.roll(spread.distinct)),
        },
        flag: dice.roll(2) == 0,
        bytes: vec![dice.roll(256) as u8; dice.roll(3) as usize],
        small: (dice.roll(2) == 0).then(|| dice.of(&SMALL)),
    }
}

/// One stretch of rows: which version wrote it, and whether it ends with a clean stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) older: bool,
    pub(crate) rows: usize,
    pub(crate) sealed: bool,
}

/// Writes the stretches and returns what they hold.
pub(crate) fn write(dir: &Path, seed: u64, spread: Spread, stretches: &[Stretch]) -> Vec<Row> {
    let (mut dice, texts) = (Dice(seed), texts());
    let mut model: Vec<Row> = Vec::new();
    for (index, stretch) in stretches.iter().enumerate() {
        let mut boot_id = BOOT_ID;
        boot_id[0] = (index % 3) as u8;
        let mut options = WriterOptions::new(boot_id);
        options.journal_bytes_max = 1 << 30;
        let tables = if stretch.older { OLDER } else { NEWER };
        let (mut writer, opened) = Writer::open(dir, tables, options).unwrap();
        assert_eq!(opened.recovered, []);
        let mut left = stretch.rows;
        while left > 0 {
            let count = left.min(1 + dice.roll(900) as usize);
            left -= count;
            let start = model.len() as i64;
            let rows =
                (start..start + count as i64).map(|number| row(&mut dice, number, spread, &texts));
            let mut rows: Vec<MixedEvents> = rows.collect();
            let appended = if stretch.older {
                for row in &mut rows {
                    let empty = MixedEvents {
                        big: None,
                        ratio: None,
                        name: String::new(),
                        flag: false,
                        bytes: Vec::new(),
                        small: None,
                        ..row.clone()
                    };
                    *row = empty;
                }
                writer.append(rows.iter().cloned().map(|row| older::MixedEvents {
                    time_ns: row.time_ns,
                    pid: row.pid,
                    path: row.path,
                    dropped: "gone".to_owned(),
                    signed: row.signed,
                }))
            } else {
                writer.append(rows.iter().cloned())
            };
            let first = appended.unwrap().unwrap().first_eid;
            model.extend((first..).zip(rows).map(|(eid, row)| Row { eid, boot_id, row }));
        }
        match stretch.sealed {
            true => writer.close().unwrap(),
            false => drop(writer),
        }
    }
    model
}
