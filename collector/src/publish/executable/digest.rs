//! What is computed of a file's content, in one reading.

use std::io::{self, Read};

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::events::ContentDigest;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// First bytes that are kept.
const HEAD_BYTES: usize = 32;

/// What one reading gave.
#[derive(Debug)]
pub(super) struct Reading {
    /// How much there was.
    pub(super) bytes: u64,
    pub(super) digest: ContentDigest,
    /// The first bytes, as many as were asked for.
    pub(super) beginning: Vec<u8>,
}

/// Reads everything, at most `bytes_max`, and keeps the first `kept_max` bytes; `None` when there is
/// more, or `stop` says to.
///
/// # Errors
/// When it cannot be read.
pub(super) fn digest(
    source: &mut impl Read,
    bytes_max: u64,
    kept_max: usize,
    stop: impl Fn() -> bool,
) -> io::Result<Option<Reading>> {
    let (mut sha256, mut md5) = (Sha256::new(), Md5::new());
    let (mut counts, mut beginning, mut total) = ([0_u64; 256], Vec::new(), 0_u64);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        total = total.saturating_add(count as u64);
        if total > bytes_max || stop() {
            return Ok(None);
        }
        sha256.update(bytes);
        md5.update(bytes);
        let missing = kept_max.max(HEAD_BYTES).saturating_sub(beginning.len());
        beginning.extend(bytes.iter().take(missing));
        for byte in bytes {
            if let Some(count) = counts.get_mut(usize::from(*byte)) {
                *count += 1;
            }
        }
    }
    let digest = ContentDigest {
        sha256: sha256.finalize().into(),
        md5: md5.finalize().into(),
        entropy: entropy(&counts, total),
        head: head(&beginning),
    };
    beginning.truncate(kept_max);
    Ok(Some(Reading { bytes: total, digest, beginning }))
}

/// The first bytes that a digest tells.
pub(super) fn head(beginning: &[u8]) -> Vec<u8> {
    beginning.iter().copied().take(HEAD_BYTES).collect()
}

/// Shannon entropy in bits per byte of content with so many of each byte.
#[expect(clippy::cast_precision_loss, reason = "a share of bytes needs no more than 53 bits")]
fn entropy(counts: &[u64; 256], total: u64) -> f64 {
    let shares =
        counts.iter().filter(|count| **count > 0).map(|count| *count as f64 / total as f64);
    // Not -0, which the sum of nothing is.
    shares.map(|share| -share * share.log2()).sum::<f64>() + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> ContentDigest {
        digest(&mut &*bytes, 1 << 20, 0, || false).unwrap().unwrap().digest
    }

    /// The values are those of `sha256sum` and `md5sum`.
    #[test]
    fn known_contents() {
        let empty = of(b"");
        assert!(empty.sha256.starts_with(&[0xe3, 0xb0, 0xc4, 0x42]) && empty.head.is_empty());
        assert!(empty.md5.starts_with(&[0xd4, 0x1d, 0x8c, 0xd9]));
        assert_eq!(empty.entropy.to_bits(), 0.0_f64.to_bits());
        let abc = of(b"abc");
        assert!(abc.sha256.starts_with(&[0xba, 0x78, 0x16, 0xbf]));
        assert!(abc.md5.starts_with(&[0x90, 0x01, 0x50, 0x98]));
        assert_eq!(abc.head, b"abc");
    }

    #[test]
    fn entropy_is_from_none_to_eight_bits() {
        let every: Vec<u8> = (0..=255).collect();
        assert_eq!(of(&every).entropy, 8.0);
        assert_eq!(of(&[7; 1000]).entropy, 0.0);
        assert_eq!(of(b"abababab").entropy, 1.0);
        assert_eq!(of(&every).head, (0..32).collect::<Vec<u8>>());
    }

    #[test]
    fn reading_ends_at_its_bound_and_when_told() {
        let bytes = vec![1; 200_000];
        assert!(digest(&mut &*bytes, 199_999, 0, || false).unwrap().is_none());
        assert!(digest(&mut &*bytes, 200_000, 0, || true).unwrap().is_none());
        let kept = |kept_max| digest(&mut &*bytes, 200_000, kept_max, || false).unwrap().unwrap();
        assert_eq!((kept(0).bytes, kept(0).beginning.len()), (200_000, 0));
        assert_eq!((kept(100_000).beginning.len(), kept(100_000).digest.head.len()), (100_000, 32));
    }
}
