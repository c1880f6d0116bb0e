//! Sizes: a number of bytes, or a text such as `10GiB`.

use std::fmt;

use serde::Serializer;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

const UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// What TOML can hold of a number.
const BYTES_MAX: u64 = i64::MAX.cast_unsigned();

/// The bytes of a text: a whole number, alone or with `KiB`, `MiB`, `GiB` or `TiB`.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match text.get(digits.len()..).unwrap_or_default().trim() {
        "" => 1,
        name => UNITS.iter().find(|(unit, _)| unit.eq_ignore_ascii_case(name))?.1,
    };
    // `parse` would take a sign.
    let number: u64 = digits.parse().ok().filter(|_| !digits.starts_with('+'))?;
    number.checked_mul(unit).filter(|bytes| *bytes <= BYTES_MAX)
}

/// As a text in the largest unit of which it is a whole number, where there is one.
pub(super) fn serialize<N, S>(bytes: &N, serializer: S) -> Result<S::Ok, S::Error>
where
    N: Copy + Into<u64>,
    S: Serializer,
{
    let bytes: u64 = (*bytes).into();
    match UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => serializer.collect_str(&format_args!("{}{name}", bytes / unit)),
        None => serializer.serialize_u64(bytes),
    }
}

/// Any size.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    read(deserializer, "a number of bytes or a size such as \"10GiB\"", Some)
}

/// A size that `accept` makes a value of; `expected` says which those are.
fn read<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &'static str,
    accept: fn(u64) -> Option<T>,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(SizeVisitor { expected, accept })
}

struct SizeVisitor<T> {
    expected: &'static str,
    accept: fn(u64) -> Option<T>,
}

impl<T> Visitor<'_> for SizeVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let bytes = u64::try_from(number).ok();
        let accepted = bytes.and_then(self.accept);
        accepted.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self.expected))
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<T, E> {
        let accepted = (self.accept)(bytes);
        accepted.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(bytes), &self.expected))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let accepted = parse_size(text).and_then(self.accept);
        accepted.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self.expected))
    }
}

/// A size that may be left out.
pub(super) mod optional {
    use super::{Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        bytes: &Option<u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => super::serialize(bytes, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u64>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

/// Smallest journal and smallest ring, in bytes.
const PART_BYTES_MIN: u64 = 64 << 10;

/// Largest ring, in bytes.
const RING_BYTES_MAX: u64 = 1 << 30;

/// The size of a journal.
pub(super) mod journal {
    pub(in super::super) use super::serialize;
    use super::{Deserializer, PART_BYTES_MIN};

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u64, D::Error> {
        let expected = "a size of at least \"64KiB\" such as \"8MiB\"";
        super::read(deserializer, expected, |bytes| (bytes >= PART_BYTES_MIN).then_some(bytes))
    }
}

/// The size of the kernel's ring.
pub(super) mod ring {
    pub(in super::super) use super::serialize;
    use super::{Deserializer, PART_BYTES_MIN, RING_BYTES_MAX};

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u32, D::Error> {
        let expected = "a power of two between \"64KiB\" and \"1GiB\" such as \"8MiB\"";
        super::read(deserializer, expected, |bytes| {
            let allowed =
                bytes.is_power_of_two() && (PART_BYTES_MIN..=RING_BYTES_MAX).contains(&bytes);
            u32::try_from(bytes).ok().filter(|_| allowed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("512MiB", 512 << 20),
            ("2 gib", 2 << 30),
            ("8388608", 8 << 20),
            ("9000KiB", 9000 << 10),
            ("3TiB", 3 << 40),
            ("0", 0),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in
            ["", "MiB", "5MB", "1.5GiB", "-1GiB", "+1GiB", "8388608TiB", "99999999999999999999GiB"]
        {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
