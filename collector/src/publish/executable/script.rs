//! What of a script's content is recorded beside its hashes.
//!
//! **Invariant:** values that are masked leave this source neither in the content nor in the first bytes.

use super::ExecutablesConfig;
use super::digest::{Reading, head};
use crate::events::ContentDigest;

/// Bytes of a script that are recorded.
pub(super) const CONTENT_BYTES_MAX: usize = 4096;

/// The digest, the beginning when it is asked for, and whether something was masked in them.
/// `elsewhere` is whether the script is on a file system that is not read by default.
pub(super) fn recorded(
    reading: Reading,
    elsewhere: bool,
    config: &ExecutablesConfig,
) -> (Option<ContentDigest>, Option<Vec<u8>>, bool) {
    let Reading { digest, beginning, .. } = reading;
    let masked = config.mask.script(&beginning);
    let text = masked.as_deref().unwrap_or(&beginning);
    let head = head(text);
    // What `binfmt_misc` has an interpreter for is no text. FUSE and network file systems are not told
    // from, even if they are to be hashed.
    let is_told = config.script_content && !elsewhere && beginning.starts_with(b"#!");
    let is_masked = masked.is_some() && (is_told || head != digest.head);
    (Some(ContentDigest { head, ..digest }), is_told.then(|| text.to_vec()), is_masked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::mask::Mask;
    use crate::publish::executable::digest::digest;

    #[track_caller]
    fn check(content: &str, (told, elsewhere): (bool, bool), expected: (Option<&str>, &str, bool)) {
        let config = ExecutablesConfig {
            bytes_max: 1 << 20,
            read_network: true,
            script_content: told,
            mask: Mask::new(&["token".to_owned()]),
            niceness: 0,
        };
        let reading = digest(&mut content.as_bytes(), 1 << 20, CONTENT_BYTES_MAX, || false);
        let (digest, text, masked) = recorded(reading.unwrap().unwrap(), elsewhere, &config);
        let text = text.map(|text| String::from_utf8(text).unwrap());
        let head = String::from_utf8(digest.unwrap().head).unwrap();
        assert_eq!((text.as_deref(), head.as_str(), masked), expected);
    }

    #[test]
    fn it_is_told_when_asked_for_and_never_with_what_is_masked() {
        let short = "#!/bin/sh\nTOKEN=abc\nls\n";
        let masked = "#!/bin/sh\nTOKEN=***\nls\n";
        check(short, (true, false), (Some(masked), masked, true));
        check(short, (false, false), (None, masked, true));
        check(short, (true, true), (None, masked, true));
        let plain = "#!/bin/sh\nls\n";
        check(plain, (true, false), (Some(plain), plain, false));
        check("MZ a program", (true, false), (None, "MZ a program", false));
        let late = format!("#!/bin/sh\n{}\nTOKEN=abc\n", "#".repeat(40));
        check(&late, (false, false), (None, &late[..32], false));
    }

    #[test]
    fn it_ends_after_four_kibibytes() {
        let long = format!("#!/bin/sh\n{}", "#".repeat(10_000));
        check(&long, (true, false), (Some(&long[..CONTENT_BYTES_MAX]), &long[..32], false));
    }
}
