//! The identity of a process as text: `<boot, first 8 hex>-<pid, hex>-<start_ns, hex>`.
//!
//! Pids are reused, and start times are counted from boot; the three together are not. The text
//! can be taken apart again, so that `WHERE guid = …` becomes a search for the pid and the start.

use std::fmt;

/// What a guid says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GuidParts {
    /// First four bytes of the boot id.
    pub boot: [u8; 4],
    /// Process id.
    pub pid: u32,
    /// Start of the process, in nanoseconds since boot.
    pub start_ns: u64,
}

impl fmt::Display for GuidParts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { boot, pid, start_ns } = self;
        write!(formatter, "{:08x}-{pid:x}-{start_ns:x}", u32::from_be_bytes(*boot))
    }
}

/// The guid of a process.
///
/// ```
/// let boot_id = [0xab, 0xcd, 0xef, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13];
/// assert_eq!(bygone_store::guid(&boot_id, 4321, 1_000_000_007), "abcdef01-10e1-3b9aca07");
/// ```
#[must_use]
pub fn guid(boot_id: &[u8; 16], pid: u32, start_ns: u64) -> String {
    let [a, b, c, d, ..] = *boot_id;
    GuidParts { boot: [a, b, c, d], pid, start_ns }.to_string()
}

/// Takes a guid apart; `None` when [`guid`] cannot have written it.
#[must_use]
pub fn parse_guid(text: &str) -> Option<GuidParts> {
    let mut parts = text.split('-');
    let (boot, pid, start_ns) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || boot.len() != 8 {
        return None;
    }
    Some(GuidParts {
        boot: u32::try_from(hex(boot)?).ok()?.to_be_bytes(),
        pid: u32::try_from(canonical(pid)?).ok()?,
        start_ns: canonical(start_ns)?,
    })
}

/// Lower-case hexadecimal digits.
fn hex(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if digits { u64::from_str_radix(text, 16).ok() } else { None }
}

/// Likewise, without leading zeros.
fn canonical(text: &str) -> Option<u64> {
    if text.len() > 1 && text.starts_with('0') { None } else { hex(text) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn comes_back(boot_id: [u8; 16], pid: u32, start_ns: u64) {
            let parts = parse_guid(&guid(&boot_id, pid, start_ns)).unwrap();
            prop_assert_eq!(&parts.boot[..], &boot_id[..4]);
            prop_assert_eq!((parts.pid, parts.start_ns), (pid, start_ns));
        }

        #[test]
        fn only_what_was_written_is_read(text in "[0-9a-fA-F+-]{0,24}") {
            if let Some(parts) = parse_guid(&text) {
                let mut boot_id = [0; 16];
                boot_id[..4].copy_from_slice(&parts.boot);
                prop_assert_eq!(guid(&boot_id, parts.pid, parts.start_ns), text);
            }
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let texts =
            ["", "--", "abcdef01-10e1", "abcdef01-10e1-3-4", "ABCDEF01-1-1", "abcdef01-01-1"];
        for text in texts {
            assert_eq!(parse_guid(text), None, "{text}");
        }
        assert_eq!(parse_guid("abcdef01-100000000-1"), None, "pid above 32 bits");
    }
}
