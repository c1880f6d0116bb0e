//! Numbers in file names, and numbers that nobody can guess.

use std::fs::File;
use std::io::{self, Read};

/// The numbers of the names `<number>.<extension>`, ascending. Other names are left out.
pub(super) fn numbered(names: &[String], extension: &str) -> Vec<u64> {
    let stems = names.iter().filter_map(|name| name.strip_suffix(extension)?.strip_suffix('.'));
    let mut numbers: Vec<u64> = stems.filter_map(number).collect();
    numbers.sort_unstable();
    numbers
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

/// Sixteen bytes that nobody can guess.
pub(crate) fn random_16() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
