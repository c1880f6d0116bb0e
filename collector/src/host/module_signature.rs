//! Who signed a module of the kernel, by the signature behind its file.
//!
//! Such a file ends with a PKCS#7 message, twelve bytes that measure it (`struct module_signature`) and
//! a line of text (`scripts/sign-file.c` in the kernel's source). Of the message the common name of the
//! issuer of the signer's certificate is read, which is what modinfo(8) shows. Nothing is verified: the
//! kernel has, and says so.
//!
//! **Invariants:** at most [`SIGNATURE_BYTES_MAX`] are read; the bytes are hostile, each length in them
//! is compared with what is there, and nothing recurses.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::host::text::lossless;

/// Bytes of a signature at most. One of RSA with 4096 bits has some 700.
pub const SIGNATURE_BYTES_MAX: usize = 64 * 1024;

/// The last line of a signed file.
const MARKER: &[u8] = b"~Module signature appended~\n";
/// Bytes of `struct module_signature`.
const MEASURE_BYTES: usize = 12;
/// `PKEY_ID_PKCS7`, the third byte of that.
const PKCS7: u8 = 2;

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const CONTENT: u8 = 0xa0;
/// Those of text that is ASCII or UTF-8: `UTF8String`, `PrintableString`, `T61String`, `IA5String`.
const TEXTS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];

/// `signedData` of PKCS#7, 1.2.840.113549.1.7.2.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// `commonName` of X.520, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The name of who signed a file; `None` when there is no signature, or it names nobody.
#[must_use]
pub fn signer(file: &File) -> Option<String> {
    let bytes = usize::try_from(file.metadata().ok()?.len()).ok()?;
    let end = read_last::<{ MEASURE_BYTES + MARKER.len() }>(file, bytes)?;
    let length = measure(&end)?;
    let mut message = vec![0; length];
    let start = bytes.checked_sub(end.len())?.checked_sub(length)?;
    file.read_exact_at(&mut message, start as u64).ok()?;
    issuer(&message).map(lossless)
}

/// The last bytes of a file.
fn read_last<const COUNT: usize>(file: &File, bytes: usize) -> Option<[u8; COUNT]> {
    let mut last = [0; COUNT];
    file.read_exact_at(&mut last, bytes.checked_sub(COUNT)? as u64).ok()?;
    Some(last)
}

/// Bytes of the message before what measures it and the marker.
fn measure(end: &[u8]) -> Option<usize> {
    let measure = end.strip_suffix(MARKER)?;
    let [_, _, kind, _, _, _, _, _, length @ ..] = measure else { return None };
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    (*kind == PKCS7 && length <= SIGNATURE_BYTES_MAX).then_some(length)
}

/// The common name of the issuer that the first signer of a message is known by; `None` as well when
/// it is known by the id of a key.
fn issuer(message: &[u8]) -> Option<&[u8]> {
    let mut message = Elements(message).next_of(SEQUENCE)?;
    if message.next_of(OBJECT_IDENTIFIER)?.0 != SIGNED_DATA {
        return None;
    }
    // Version, algorithms and content; certificates and revocations, which are tagged by number and
    // may be left out; signers.
    let signed = message.next_of(CONTENT)?.next_of(SEQUENCE)?;
    let (_, mut signers) = signed.skip(3).find(|(tag, _)| *tag == SET)?;
    let mut signer = signers.next_of(SEQUENCE)?;
    let _version = signer.next()?;
    let mut name = signer.next_of(SEQUENCE)?.next_of(SEQUENCE)?;
    name.find_map(|(_, mut relative)| {
        let mut attribute = relative.next_of(SEQUENCE)?;
        let is_name = attribute.next_of(OBJECT_IDENTIFIER)?.0 == COMMON_NAME;
        let (tag, text) = attribute.next()?;
        (is_name && TEXTS.contains(&tag)).then_some(text.0)
    })
}

/// Elements of DER, one behind the other. Each is its tag and its content; the first that is not whole
/// ends them.
#[derive(Clone, Copy, Debug)]
struct Elements<'a>(&'a [u8]);

impl Elements<'_> {
    /// The content of the next element, if it has this tag.
    fn next_of(&mut self, wanted: u8) -> Option<Self> {
        let (tag, content) = self.next()?;
        (tag == wanted).then_some(content)
    }
}

impl Iterator for Elements<'_> {
    type Item = (u8, Self);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Lengths of more than three bytes are beyond any signature here.
            0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, Self(content)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// The end of a module of Debian's Linux 6.1, from 64 bytes before its signature.
    const SIGNED: &[u8] = include_bytes!("fixtures/module_signature.bin");

    fn signer_of(content: &[u8]) -> Option<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        signer(&file)
    }

    #[test]
    fn the_signer_of_a_module_is_named() {
        assert_eq!(signer_of(SIGNED).as_deref(), Some("Build time autogenerated kernel key"));
    }

    #[test]
    fn what_is_not_signed_has_no_signer() {
        let (unsigned, _) = SIGNED.split_at(64);
        for content in [&[], unsigned, MARKER, &SIGNED[SIGNED.len() - 40..]] {
            assert_eq!(signer_of(content), None);
        }
        // Another kind of signature, and a longer one than there is.
        for (back, value) in [(38, 1), (29, 0xff), (31, 1), (32, 1)] {
            let mut other = SIGNED.to_vec();
            let at = other.len() - back;
            other[at] = value;
            assert_eq!(signer_of(&other), None, "{back} bytes before the end");
        }
    }

    #[test]
    fn garbled_signatures_never_panic() {
        let message = &SIGNED[64..SIGNED.len() - 40];
        let name = issuer(message);
        assert!(name.is_some());
        for at in 0..message.len() {
            assert!(issuer(&message[..at]).is_none(), "cut at {at}");
            for value in [0, 1, 0x30, 0x31, 0x7f, 0x80, 0x83, 0x84, 0xff] {
                let mut garbled = message.to_vec();
                garbled[at] = value;
                let found = issuer(&garbled).map(<[u8]>::len);
                assert!(found.is_none_or(|length| length < message.len()));
            }
        }
    }
}
