//! Reading the manifest, as far as it can be trusted.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{self, Folder};
use crate::layout;
use crate::limits::MANIFEST_BYTES_MAX;
use crate::manifest::entry::{self, Entry, FORMAT, State};

/// Why the manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The folder cannot be listed.
    #[error("cannot list {path}", path = .path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {path}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written or synced.
    #[error("cannot write {path}", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is longer than any manifest can be.
    #[error("{path} is {bytes} bytes long, which is over the limit", path = .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// A newer program wrote it.
    #[error("{path} has format {format}, newer than this program's {FORMAT}", path = .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
}

/// Where the manifest stands: it changes with every entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Number of the newest manifest file, 0 when there is none.
    pub(crate) number: u64,
    /// Its size in bytes.
    pub(crate) bytes: u64,
}

/// How a manifest ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With a whole entry.
    Whole,
    /// The last line, from this offset on, is incomplete or wrong.
    Torn(u64),
    /// The line at this offset is wrong, and others follow.
    Broken(u64),
}

/// The trusted part of the manifest.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) position: Position,
    /// Number of the file that was read: less than the newest when that one has no checkpoint.
    pub(crate) number: u64,
    /// Format of that file.
    pub(crate) format: u32,
    pub(crate) state: State,
    /// Hash of the last trusted entry.
    pub(crate) head: String,
    pub(crate) ending: Ending,
}

impl Manifest {
    pub(crate) fn is_whole(&self) -> bool {
        self.ending == Ending::Whole && self.number > 0 && self.number == self.position.number
    }
}

/// The numbers of the manifest files, ascending.
pub(crate) fn numbers(dir: &Folder) -> Result<Vec<u64>, ManifestError> {
    let path = layout::manifest_dir(dir.path());
    let names =
        dir.names(&path).map_err(|source| ManifestError::List { path: path.clone(), source })?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| disk::number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Where the manifest stands now.
pub(crate) fn position(dir: &Folder) -> Result<Position, ManifestError> {
    let Some(number) = numbers(dir)?.last().copied() else {
        return Ok(Position::default());
    };
    let path = layout::manifest_path(dir.path(), number);
    match dir.bytes(&path) {
        Ok(bytes) => Ok(Position { number, bytes }),
        Err(source) => Err(ManifestError::Read { path, source }),
    }
}

/// Reads the newest manifest file that opens with a valid checkpoint.
pub(crate) fn read(dir: &Folder) -> Result<Manifest, ManifestError> {
    let numbers = numbers(dir)?;
    let newest = numbers.last().copied().unwrap_or(0);
    let mut position = Position { number: newest, bytes: 0 };
    for number in numbers.into_iter().rev() {
        let path = layout::manifest_path(dir.path(), number);
        let content = read_file(dir, &path)?;
        if number == newest {
            position.bytes = content.len() as u64;
        }
        let parsed = parse(&path, &content)?;
        if parsed.entries > 0 {
            let Parsed { format, state, head, ending, .. } = parsed;
            return Ok(Manifest { position, number, format, state, head, ending });
        }
    }
    let (state, head, ending) = (State::default(), entry::genesis(), Ending::Whole);
    Ok(Manifest { position, number: 0, format: FORMAT, state, head, ending })
}

fn read_file(dir: &Folder, path: &Path) -> Result<Vec<u8>, ManifestError> {
    let failed = |source| ManifestError::Read { path: path.to_path_buf(), source };
    let bytes = dir.bytes(path).map_err(failed)?;
    if bytes > MANIFEST_BYTES_MAX {
        return Err(ManifestError::TooLong { path: path.to_path_buf(), bytes });
    }
    dir.read(path).map_err(failed)
}

struct Parsed {
    format: u32,
    state: State,
    head: String,
    entries: usize,
    ending: Ending,
}

fn parse(path: &Path, content: &[u8]) -> Result<Parsed, ManifestError> {
    let mut parsed = Parsed {
        format: FORMAT,
        state: State::default(),
        head: String::new(),
        entries: 0,
        ending: Ending::Whole,
    };
    let mut offset = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let Some((hash, entry)) = parse_line(&parsed, line) else {
            let last = offset + line.len() == content.len();
            let ending = if last { Ending::Torn } else { Ending::Broken };
            parsed.ending = ending(offset as u64);
            break;
        };
        if let Entry::Checkpoint { format, .. } = &entry {
            if *format > FORMAT {
                return Err(ManifestError::Newer { path: path.to_path_buf(), format: *format });
            }
            parsed.format = *format;
        }
        parsed.state.apply(&entry);
        parsed.head = hash;
        parsed.entries += 1;
        offset += line.len();
    }
    Ok(parsed)
}

/// The hash and the entry of a line, if it is whole and follows what was parsed.
fn parse_line(parsed: &Parsed, line: &[u8]) -> Option<(String, Entry)> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (hash, json) = line.split_once(' ')?;
    let entry: Entry = serde_json::from_str(json).ok()?;
    let previous = match (&entry, parsed.entries) {
        (Entry::Checkpoint { previous_head, .. }, 0) => previous_head,
        (Entry::Checkpoint { .. }, _) | (_, 0) => return None,
        _ => &parsed.head,
    };
    (entry::hash(previous, json) == hash).then(|| (hash.to_owned(), entry))
}
