//! `executable_events`, from the publisher that hashes what was executed.

use bygone_store::{Computed, EventTable};

use crate::events::ExecutableEvent;
use crate::host::text::lossless;
use crate::tables::{Subscriber, mode_text};

/// Executed content: one row for the first time that each distinct content of a file runs, or is mapped
/// to be executed (`image_events`), known by device, inode, change time and size, and not again after a restart of the collector. What could
/// not be read is tried again, at most three times. `complete()` speaks of what exec ran: of what was
/// mapped it speaks with `image_events`.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct ExecutableEvents {
    /// When it was executed, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub time_ns: i64,
    /// Path of the file, as `path` in `process_events`; of a script or an image, from the root of the mount namespace
    /// of the process.
    #[column(bloom)]
    pub path: Option<String>,
    /// `program` for a file that the kernel loaded, `script` for one that an interpreter was loaded
    /// for, `image` for one that a process mapped, such as a shared object.
    pub kind: String,
    /// Of a script, the path of its interpreter.
    pub interpreter: Option<String>,
    /// What came of reading it: `hashed`, `hashed_deleted` when it was read through the process that
    /// runs it after its last name was taken away, `hashed_unproven` for a script that was written less
    /// than 10 ms before it ran, so that one more change right after would not show, `changed` when
    /// another file or content was in its place by then, `gone` when it could not be reached any more, `too_large`, `not_read` on FUSE and network
    /// file systems, or `unreadable`.
    pub hash_status: String,
    /// SHA-256 of the content; null unless it was hashed.
    #[column(bloom)]
    pub sha256: Option<String>,
    /// MD5 of the content; null likewise.
    #[column(bloom)]
    pub md5: Option<String>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Shannon entropy of the content in bits per byte, 0 to 8; null likewise. Compressed or encrypted
    /// content is near 8.
    pub entropy: Option<f64>,
    /// The first 32 bytes, in hexadecimal; null likewise. Of a script, after values were masked.
    pub head: Option<String>,
    /// Package manager that knows the file: `dpkg` or `rpm`; null when none does.
    pub package_manager: Option<String>,
    /// The package that the file belongs to; null likewise.
    pub package: Option<String>,
    /// Version of the package.
    pub package_version: Option<String>,
    /// Whether the content is as in the package; null when the package does not say.
    pub package_intact: Option<bool>,
    /// Last change of the content, in seconds since the Unix epoch.
    pub mtime: Option<i64>,
    /// Last change of the metadata in nanoseconds since the Unix epoch, as `exe_ctime` in
    /// `process_events`.
    pub ctime_ns: Option<i64>,
    /// Type and permission bits, in octal.
    pub mode: Option<String>,
    /// Owner.
    pub owner_uid: Option<u32>,
    /// Owning group.
    pub owner_gid: Option<u32>,
    /// Device of the file, as `exe_dev` in `process_events`.
    pub device: Option<u64>,
    /// Inode of the file, as `exe_inode` in `process_events`.
    pub inode: Option<u64>,
    /// Process id of the process that executed it.
    pub pid: u32,
    /// Real user id of that process.
    pub uid: u32,
    /// Start of that process, in nanoseconds since boot.
    #[column(bloom)]
    pub start_ns: u64,
    /// Identity of that process.
    #[column(guid(pid, start_ns))]
    pub guid: Computed,
    /// The first 4 KiB of a script that begins with `#!`, as far as the setting `script_content` of
    /// `[executable]` says; null unless it was hashed, and on FUSE and network file systems. Bytes that
    /// are not UTF-8 are written `\xHH`.
    pub script_content: Option<String>,
    /// Whether values in `script_content` or `head` were replaced by `***`, as the setting `mask` of
    /// `[process]` says.
    pub masked: bool,
}

impl Subscriber for ExecutableEvents {
    type Event = ExecutableEvent;

    const CLASSES: &'static [&'static str] = &["exec", "executable"];

    fn row(event: &ExecutableEvent) -> Option<Self> {
        let (content, digest) = (event.content, event.digest.as_ref());
        let package = event.package.as_ref();
        Some(Self {
            time_ns: event.time_ns,
            path: event.path.clone(),
            kind: event.kind.name().to_owned(),
            interpreter: event.interpreter.clone(),
            hash_status: event.status.name().to_owned(),
            sha256: digest.map(|digest| hex(&digest.sha256)),
            md5: digest.map(|digest| hex(&digest.md5)),
            size: content.map(|content| content.size),
            entropy: digest.map(|digest| digest.entropy),
            head: digest.map(|digest| hex(&digest.head)),
            package_manager: package.map(|package| package.manager.to_owned()),
            package: package.map(|package| package.name.clone()),
            package_version: package.map(|package| package.version.clone()),
            package_intact: package.and_then(|package| package.intact),
            mtime: event.mtime,
            ctime_ns: content.map(|content| content.ctime_ns),
            mode: event.mode.map(mode_text),
            owner_uid: event.owner_uid,
            owner_gid: event.owner_gid,
            device: content.map(|content| content.device),
            inode: content.map(|content| content.inode),
            pid: event.process.pid,
            uid: event.uid,
            start_ns: event.process.start_ns,
            guid: Computed,
            script_content: event.script_content.as_deref().map(script_text),
            masked: event.masked,
        })
    }
}

/// Text without NULs, at which others end it.
fn script_text(bytes: &[u8]) -> String {
    lossless(bytes).replace('\0', r"\x00")
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a `String` cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{hex, script_text};
    use crate::host::text::bytes;

    #[test]
    fn bytes_are_two_digits_each() {
        assert_eq!(hex(&[0x7f, 0x45, 0, 0x0a]), "7f45000a");
        assert_eq!(hex(&[]), "");
    }

    #[test]
    fn a_script_is_text_from_which_its_bytes_can_be_had() {
        let script = b"#!/bin/sh\necho \xc3\xa9\0\xff \\x00\n";
        assert_eq!(script_text(script), "#!/bin/sh\necho \u{e9}\\x00\\xff \\x5cx00\n");
        assert_eq!(bytes(&script_text(script)), script);
    }
}
