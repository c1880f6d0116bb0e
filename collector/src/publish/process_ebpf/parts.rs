//! Pieces of long arguments, and environments, until the record of their exec comes.
//!
//! The programs send all pieces before the record, and the reader reads the ring of the records first:
//! so the pieces of every record read are there, or they were lost and the record says so.
//!
//! **Invariants:** at most [`BYTES_MAX`] are kept; pieces that no record asks for are dropped after
//! [`KEPT_NS`]. What does not join without a hole is not kept, and the record's text is marked short.

use std::collections::HashMap;

use bygone_probe_abi as abi;
use zerocopy::FromBytes;

use super::decode::{DecodeError, key};
use crate::events::{ExecEvent, ProcessKey};

/// Bytes of pieces that wait.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long pieces wait for their record, in nanoseconds.
const KEPT_NS: u64 = 2_000_000_000;

/// One exec: its process, and when it was in boot time.
type ExecKey = (ProcessKey, u64);

/// The texts of one exec.
#[derive(Debug, Default)]
struct Texts {
    /// Arguments from [`abi::ARGUMENTS_MAX`] on.
    arguments: Vec<u8>,
    environment: Vec<u8>,
}

/// The pieces that wait.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    waiting: HashMap<ExecKey, Texts>,
    bytes: usize,
}

impl Parts {
    /// Adds the piece in a record of the second ring.
    ///
    /// # Errors
    /// When the bytes are not such a record.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let short = DecodeError::Short { bytes: bytes.len() };
        let (record, text) = abi::PartRecord::read_from_prefix(bytes).ok().ok_or(short)?;
        let header = record.header;
        if header.kind != abi::KIND_PART {
            return Err(DecodeError::Kind { kind: header.kind });
        }
        if header.length as usize != bytes.len() {
            return Err(DecodeError::Length { stated: header.length, bytes: bytes.len() });
        }
        if record.bytes as usize != text.len() {
            return Err(DecodeError::Parts);
        }
        if self.bytes + text.len() > BYTES_MAX {
            return Ok(());
        }
        let texts = self.waiting.entry((key(record.process), header.time_ns)).or_default();
        let (of, from) = match record.what {
            abi::PART_ARGUMENTS => (&mut texts.arguments, abi::ARGUMENTS_MAX),
            abi::PART_ENVIRONMENT => (&mut texts.environment, 0),
            _ => return Err(DecodeError::Parts),
        };
        if record.offset == (from + of.len()) as u64 {
            of.extend_from_slice(text);
            self.bytes += text.len();
        }
        Ok(())
    }

    /// Gives an exec its pieces.
    pub(crate) fn complete(&mut self, exec: &mut ExecEvent, boot_ns: u64) {
        let Some(texts) = self.waiting.remove(&(exec.process, boot_ns)) else {
            return;
        };
        self.bytes -= texts.bytes();
        if let Some(arguments) = &mut exec.arguments
            && arguments.len() == abi::ARGUMENTS_MAX
        {
            arguments.extend_from_slice(&texts.arguments);
            exec.arguments_truncated = arguments.len() as u64 != exec.arguments_bytes;
        }
        if !texts.environment.is_empty() {
            let bytes = texts.environment.len() as u64;
            exec.environment_truncated = Some(bytes) != exec.environment_bytes;
            exec.environment = Some(texts.environment);
        }
        if !exec.arguments_truncated {
            exec.arguments_loss = None;
        }
    }

    /// Drops what has waited too long.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        self.waiting.retain(|(_, boot_ns), _| boot_ns.saturating_add(KEPT_NS) > now_ns);
        self.bytes = self.waiting.values().map(Texts::bytes).sum();
    }
}

impl Texts {
    fn bytes(&self) -> usize {
        self.arguments.len() + self.environment.len()
    }
}

#[cfg(test)]
mod tests {
    use bygone_probe_abi as abi;
    use zerocopy::IntoBytes;

    use super::{BYTES_MAX, KEPT_NS, Parts};
    use crate::events::{ExecEvent, ProcessKey};

    const KEY: ProcessKey = ProcessKey { pid: 7, start_ns: 9 };

    fn part(what: u32, offset: u64, text: &[u8]) -> Vec<u8> {
        let bytes = u32::try_from(text.len()).unwrap();
        let record = abi::PartRecord {
            header: abi::Header { kind: abi::KIND_PART, length: 48 + bytes, time_ns: 100 },
            process: abi::Process { pid: KEY.pid, reserved: 0, start_ns: KEY.start_ns },
            offset,
            what,
            bytes,
        };
        [record.as_bytes(), text].concat()
    }

    /// An exec with arguments of so many bytes, of which the record carried the first.
    fn exec(bytes: u64) -> ExecEvent {
        ExecEvent {
            process: KEY,
            arguments: Some(vec![b'a'; abi::ARGUMENTS_MAX]),
            arguments_bytes: bytes,
            arguments_truncated: true,
            arguments_loss: Some("bulk_full"),
            environment_bytes: Some(4),
            environment_truncated: true,
            ..ExecEvent::default()
        }
    }

    #[test]
    fn pieces_join_to_the_whole() {
        let mut parts = Parts::default();
        parts.add(&part(abi::PART_ARGUMENTS, 8192, &[b'b'; 8192])).unwrap();
        parts.add(&part(abi::PART_ARGUMENTS, 16384, b"end\0")).unwrap();
        parts.add(&part(abi::PART_ENVIRONMENT, 0, b"A=b\0")).unwrap();
        let mut exec = exec(16_388);
        parts.complete(&mut exec, 100);
        let arguments = exec.arguments.unwrap();
        assert_eq!((arguments.len(), &arguments[16384..]), (16_388, b"end\0".as_slice()));
        assert_eq!((exec.arguments_truncated, exec.arguments_loss), (false, None));
        assert_eq!(exec.environment.as_deref(), Some(b"A=b\0".as_slice()));
        assert!(!exec.environment_truncated);
        assert_eq!((parts.bytes, parts.waiting.len()), (0, 0));
    }

    #[test]
    fn what_follows_a_hole_is_not_taken_for_the_next() {
        let mut parts = Parts::default();
        parts.add(&part(abi::PART_ARGUMENTS, 8192, b"one")).unwrap();
        parts.add(&part(abi::PART_ARGUMENTS, 9000, b"three")).unwrap();
        let mut exec = exec(9_005);
        parts.complete(&mut exec, 100);
        assert!(exec.arguments.unwrap().ends_with(b"aone"));
        assert_eq!((exec.arguments_truncated, exec.arguments_loss), (true, Some("bulk_full")));
    }

    #[test]
    fn pieces_of_another_exec_of_the_process_are_not_taken() {
        let mut parts = Parts::default();
        parts.add(&part(abi::PART_ARGUMENTS, 8192, b"one")).unwrap();
        let mut exec = exec(8_195);
        parts.complete(&mut exec, 101);
        assert!(exec.arguments_truncated);
        parts.expire(100 + KEPT_NS);
        assert_eq!((parts.bytes, parts.waiting.len()), (0, 0));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut parts = Parts::default();
        let text = [b'x'; 8192];
        for number in 0..4096 {
            parts.add(&part(abi::PART_ENVIRONMENT, number * 8192, &text)).unwrap();
        }
        assert_eq!(parts.bytes, BYTES_MAX);
    }

    #[test]
    fn damaged_pieces_are_errors_at_every_byte() {
        let whole = part(abi::PART_ARGUMENTS, 8192, b"text");
        for cut in 0..whole.len() {
            assert!(Parts::default().add(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for position in 0..48 {
            let mut changed = whole.clone();
            changed[position] ^= 0xff;
            // It may be a piece of something else, but nothing panics.
            let _result = Parts::default().add(&changed);
        }
        let mut unknown = whole;
        unknown[40] = 9;
        assert!(Parts::default().add(&unknown).is_err());
    }
}
