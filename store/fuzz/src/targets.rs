//! The targets that change a file of a store.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bygone_store::{
    EventTable, Filter, FilterColumn, Order, Reader, RowParts, ScanRequest, Snapshot, TableSchema,
    Test, VerifyRequest, Writer,
};

use crate::disk::MemoryDisk;

/// Rows with every type, with and without nulls.
#[derive(Debug, EventTable)]
struct FuzzEvents {
    /// When.
    #[column(time)]
    time_ns: i64,
    /// Text with a bloom filter.
    #[column(bloom)]
    path: Option<String>,
    /// A small number.
    pid: u32,
    /// A large number.
    start_ns: Option<u64>,
    /// A signed number.
    code: i32,
    /// A real number.
    load: Option<f64>,
    /// A flag.
    flag: bool,
    /// Bytes.
    data: Option<Vec<u8>>,
    /// Text that is never null.
    note: String,
}

static TABLES: &[&TableSchema] = &[FuzzEvents::SCHEMA];

const DIR: &str = "/store";
const BOOT_ID: [u8; 16] = *b"boot of the fuzz";

/// Bytes of a journal's header before its body, and of a frame's header: see the store's `journal`.
const PREFIX_BYTES: usize = 20;
const FRAME_HEADER_BYTES: usize = 64;

fn row(number: i64) -> FuzzEvents {
    FuzzEvents {
        time_ns: number * 1_000,
        path: (number % 3 > 0).then(|| format!("/usr/bin/program-{}", number % 5)),
        pid: number as u32,
        start_ns: (number % 2 > 0).then_some(u64::MAX - number as u64),
        code: -(number as i32),
        load: (number % 4 > 0).then_some(number as f64 / 3.0),
        flag: number % 2 == 0,
        data: (number % 5 > 0).then(|| vec![number as u8; number as usize % 9]),
        note: format!("note {}", number % 7),
    }
}

/// A store with one sealed segment and one journal with rows in it, as a killed writer leaves it.
fn template() -> &'static MemoryDisk {
    static TEMPLATE: OnceLock<MemoryDisk> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let disk = MemoryDisk::default();
        let (mut writer, _) = Writer::open(Path::new(DIR), TABLES, disk.options(BOOT_ID)).unwrap();
        writer.append((0..40).map(row)).unwrap();
        writer.close().unwrap();
        let (mut writer, _) = Writer::open(Path::new(DIR), TABLES, disk.options(BOOT_ID)).unwrap();
        writer.append((40..50).map(row)).unwrap();
        let killed = disk.copied();
        writer.close().unwrap();
        killed
    })
}

/// The one file of a folder of the template.
fn only(folder: &str) -> PathBuf {
    let files = template().below(&Path::new(DIR).join(folder));
    let [file] = files.try_into().unwrap();
    file
}

/// How a store is used.
#[derive(Clone, Copy)]
pub enum Ways {
    /// It is read in all ways, then written to and read again.
    All,
    /// It is read whole and in one other way, of as many as there are.
    One(usize),
}

impl Ways {
    /// By chance: all of them take ten times as long, so they are for one of eight inputs. No byte of
    /// the input says so, as most of what is made of an input that does would say so too.
    pub fn of(data: &[u8]) -> Self {
        let chance = crc32c::crc32c(data) as usize;
        if chance.is_multiple_of(8) { Self::All } else { Self::One(chance / 8) }
    }

    fn have(self, index: usize, count: usize) -> bool {
        match self {
            Self::All => true,
            Self::One(number) => number % count == index,
        }
    }
}

/// What to ask of some columns.
fn filters() -> Vec<Filter> {
    let column = |name: &str| FilterColumn::Stored(FuzzEvents::SCHEMA.column(name).unwrap());
    vec![
        Filter { column: column("path"), test: Test::Texts(vec!["/usr/bin/program-2".into()]) },
        Filter { column: column("note"), test: Test::Like("%5".into()) },
        Filter { column: column("pid"), test: Test::IntegerRange(10, 20) },
        Filter { column: FilterColumn::Eid, test: Test::Integers(vec![7]) },
        Filter { column: column("data"), test: Test::IsNull },
    ]
}

/// Rows of a scan, all of whose values are looked at.
fn count(snapshot: &Snapshot, request: &ScanRequest) -> usize {
    let mut rows = 0;
    for batch in snapshot.scan(FuzzEvents::SCHEMA, request).unwrap() {
        let Ok(batch) = batch else { continue };
        for row in 0..batch.len() {
            let values = batch.columns().iter().map(|column| column.value(row));
            rows += usize::from(values.count() == request.columns.len());
        }
    }
    rows
}

/// Reads all columns of all rows, and then fewer in other ways; says how many rows there are.
fn read(disk: &MemoryDisk, ways: Ways) -> Option<usize> {
    let reader = Reader::open_on(Arc::new(disk.clone()), Path::new(DIR)).ok()?;
    let snapshot = reader.snapshot().ok()?;
    let known = snapshot.damage().len();
    let columns: Vec<usize> = FuzzEvents::SCHEMA.stored().map(|(index, _, _)| index).collect();
    let all = ScanRequest::new(i64::MIN..=i64::MAX, columns);
    let rows = count(&snapshot, &all);
    // Of a segment with a damaged column the others can be read.
    let whole = snapshot.damage().len() == known;
    let few = ["path", "load", "time_ns"].map(|name| FuzzEvents::SCHEMA.column(name).unwrap());
    let few = ScanRequest { columns: few.to_vec(), parts: RowParts::default(), ..all };
    let filtered = filters().into_iter().map(|filter| vec![filter]);
    // A segment whose rows are out of order is damaged to those who ask for an order alone.
    let descending = ScanRequest { order: Order::Descending, ..few.clone() };
    let requests =
        filtered.map(|filters| ScanRequest { filters, ..few.clone() }).chain([descending]);
    let requests: Vec<ScanRequest> = requests.collect();
    let count_of_ways = requests.len() + 1;
    for (index, request) in requests.iter().enumerate() {
        if !ways.have(index, count_of_ways) {
            continue;
        }
        let found = count(&snapshot, request);
        assert!(found <= rows || !whole, "{found} of {rows} rows: {request:?}");
    }
    if ways.have(requests.len(), count_of_ways) {
        let _whatever = reader.verify(&VerifyRequest::default(), |_, _| {});
    }
    Some(rows)
}

/// Opens the store to write and closes it, which seals what there is, and reads it again.
fn write(disk: &MemoryDisk) -> Option<usize> {
    let (mut writer, _) = Writer::open(Path::new(DIR), TABLES, disk.options(BOOT_ID)).ok()?;
    writer.append([row(500)]).unwrap();
    writer.close().unwrap();
    read(disk, Ways::All)
}

/// Reads a store with a changed file and, where all ways are wanted, recovers and seals it. Returns
/// the numbers of rows before and after that.
fn live(path: &Path, changed: Vec<u8>, ways: Ways) -> (Option<usize>, Option<usize>) {
    let disk = template().copied();
    disk.put(path, changed);
    let before = read(&disk, ways);
    (before, if matches!(ways, Ways::All) { write(&disk) } else { None })
}

/// Frames of a journal. An input that begins with an even byte is taken as it is; with an odd one
/// it is a sequence of (rows, length in two bytes, payload), each made a frame with right checksums.
pub fn journal(data: &[u8], ways: Ways) {
    let Some((mode, data)) = data.split_first() else { return };
    let path = only("journal");
    let content = template().content(&path);
    let body = u32::from_le_bytes(content[12..16].try_into().unwrap()) as usize;
    let mut changed = content[..PREFIX_BYTES + body].to_vec();
    if mode % 2 > 0 {
        let key = content[PREFIX_BYTES..PREFIX_BYTES + 24].to_vec();
        frames(data, &key, &mut changed);
    } else {
        changed.extend_from_slice(data);
    }
    // Rows of a journal stay the same when they are sealed.
    if let (Some(before), Some(after)) = live(&path, changed, ways) {
        assert_eq!(after, before + 1, "sealing has changed the number of rows");
    }
}

/// Appends valid frames around the payloads of `data`. `key` is the journal's number and salt.
fn frames(mut data: &[u8], key: &[u8], out: &mut Vec<u8>) {
    let (number, salt) = key.split_at(8);
    for frame in 0u64.. {
        let Some(([rows, low, high], rest)) = data.split_first_chunk() else { return };
        let length = usize::from(u16::from_le_bytes([*low, *high]) % 2_048).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        data = rest;
        let mut header = b"BYFR".to_vec();
        header.extend_from_slice(&(length as u32).to_le_bytes());
        header.extend_from_slice(&frame.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&u32::from(*rows % 9 + 1).to_le_bytes());
        header.extend_from_slice(&(1_000_000 + frame.cast_signed() * 100).to_le_bytes());
        header.extend_from_slice(&0i64.to_le_bytes());
        header.extend_from_slice(&i64::MAX.to_le_bytes());
        header.extend_from_slice(&0i64.to_le_bytes());
        header.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(salt), number);
        let crc = crc32c::crc32c_append(crc, &header);
        header.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(header.len(), FRAME_HEADER_BYTES);
        out.extend_from_slice(&header);
        out.extend_from_slice(payload);
    }
}

/// A manifest file. An input that begins with an even byte is taken as it is; of one that begins
/// with an odd byte each line is taken for the JSON of an entry and given its right hash.
pub fn manifest(data: &[u8], ways: Ways) {
    let Some((mode, data)) = data.split_first() else { return };
    let mut changed = Vec::new();
    if mode % 2 > 0 {
        let mut head = "0".repeat(64);
        for json in data.split(|byte| *byte == b'\n') {
            head = chained(&head, json);
            changed.extend_from_slice(head.as_bytes());
            changed.push(b' ');
            changed.extend_from_slice(json);
            changed.push(b'\n');
        }
    } else {
        changed.extend_from_slice(data);
    }
    // A manifest with right hashes is believed, whatever it says, so rows may come and go.
    live(&only("manifest"), changed, ways);
}

/// SHA-256 over the hash before, a space and the JSON, in hexadecimal.
fn chained(previous: &str, json: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let mut hasher = Sha256::new();
    hasher.update(previous);
    hasher.update(" ");
    hasher.update(json);
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A whole segment. An input that begins with an even byte is taken as it is; with an odd one it is
/// a sequence of (offset from the end in two bytes, value), which change the real one.
pub fn segment(data: &[u8], ways: Ways) {
    let Some((mode, data)) = data.split_first() else { return };
    let path = only("segments");
    let changed = if mode % 2 > 0 {
        let mut content = template().content(&path);
        for change in data.chunks_exact(3) {
            let back = usize::from(u16::from_le_bytes([change[0], change[1]]));
            let length = content.len();
            content[length - 1 - back % length] ^= change[2];
        }
        content
    } else {
        data.to_vec()
    };
    live(&path, changed, ways);
}

/// An input to begin with: of which target, its name, and what it is.
pub(crate) type Seed = (&'static str, &'static str, Vec<u8>);

/// The inputs that these targets begin with.
pub(crate) fn seeds() -> Vec<Seed> {
    let with_mode = |mode: u8, content: &[u8]| [&[mode], content].concat();
    let journal = template().content(&only("journal"));
    let body = u32::from_le_bytes(journal[12..16].try_into().unwrap()) as usize;
    let frames = &journal[PREFIX_BYTES + body..];
    let payload = &frames[FRAME_HEADER_BYTES..];
    let length = (payload.len() as u16).to_le_bytes();
    let framed = [&[29 % 9, length[0], length[1]], payload].concat();
    let manifest = template().content(&only("manifest"));
    let lines: Vec<&[u8]> = manifest.split(|byte| *byte == b'\n').collect();
    let entries: Vec<&[u8]> = lines.iter().filter_map(|line| line.get(65..)).collect();
    vec![
        ("journal", "frames", with_mode(0, frames)),
        ("journal", "payload", with_mode(1, &framed)),
        ("manifest", "lines", with_mode(0, &manifest)),
        ("manifest", "entries", with_mode(1, &entries.join(&b'\n'))),
        ("segment", "whole", with_mode(0, &template().content(&only("segments")))),
        ("segment", "changes", with_mode(1, &[8, 0, 1, 200, 0, 255])),
    ]
}
