//! All file operations of the store, so that there is one place to inject faults.
//!
//! The names say what is durable: [`create_durable`] and [`rename_durable`] return only when the
//! folder's entry is on disk too.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// Creates a folder that only its owner may enter, unless it exists.
pub(crate) fn create_dir_private(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path)
}

/// Makes a folder's entries durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Creates or empties a file to write to; only its owner may read it.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Opens a file to read and write in place, creating it when it is missing.
pub(crate) fn open_in_place(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Renames a file within one folder and makes that durable. The file's content must be synced.
pub(crate) fn rename_durable(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    sync_dir(to.parent().unwrap_or(Path::new(".")))
}

/// Creates `path` with `content` in one step: it is there whole or not at all, also after a loss
/// of power. Returns the file, positioned at its end.
pub(crate) fn create_durable(path: &Path, content: &[u8]) -> io::Result<File> {
    let temporary = path.with_extension("tmp");
    let mut file = create(&temporary)?;
    file.write_all(content)?;
    file.sync_data()?;
    rename_durable(&temporary, path)?;
    Ok(file)
}

/// Fills `buffer` from `offset` as far as the file goes; says how many bytes were there.
pub(crate) fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads exactly `length` bytes from `offset`.
pub(crate) fn read_exact_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer)
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_all_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// The numbers of the files `<number>.<extension>` in a folder, ascending. Other names are left
/// out; a missing folder has none.
pub(crate) fn numbered(dir: &Path, extension: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for name in names(dir)? {
        let stem = name.strip_suffix(extension).and_then(|name| name.strip_suffix('.'));
        numbers.extend(stem.and_then(number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The number that a name stands for, in the one way in which the store writes it: `01` and `+1`
/// are other files than `1`.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.parse().ok().filter(|number: &u64| number.to_string() == name)
}

/// The runs of numbers that are missing between `through` and the last of `numbers`, which are
/// ascending.
pub(crate) fn missing(through: u64, numbers: &[u64]) -> Vec<(u64, u64)> {
    let mut missing = Vec::new();
    let mut next = through + 1;
    for number in numbers.iter().copied().filter(|number| *number > through) {
        if next < number {
            missing.push((next, number - 1));
        }
        next = number + 1;
    }
    missing
}

/// The names in a folder that are UTF-8; a missing folder has none.
pub(crate) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok());
    }
    Ok(names)
}

/// Sixteen bytes that nobody can guess.
pub(crate) fn random_16() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
