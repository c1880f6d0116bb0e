//! From the bytes of one datagram to what it tells.
//!
//! A datagram is a `struct nlmsghdr`, a `struct cn_msg` and a `struct proc_event`, in the order of the
//! host's bytes (`linux/netlink.h`, `linux/connector.h`, `linux/cn_proc.h`). The last one is a union
//! that grew with time; only what a message has is read from it.
//!
//! **Invariant:** the bytes are hostile: they parse or they are an error, and nothing panics.

/// `CN_IDX_PROC` and `CN_VAL_PROC`.
const PROC_ID: (u32, u32) = (1, 1);

/// Bytes of `struct nlmsghdr`, of `struct cn_msg`, and of `struct proc_event` before its union.
const NETLINK_BYTES: usize = 16;
const CONNECTOR_BYTES: usize = 20;
const EVENT_BYTES: usize = 16;

/// Values of `enum proc_cn_event`.
const NONE: u32 = 0;
const FORK: u32 = 0x1;
const EXEC: u32 = 0x2;
const UID: u32 = 0x4;
const GID: u32 = 0x40;
const EXIT: u32 = 0x8000_0000;

/// Values of `enum proc_cn_mcast_op`.
pub(super) const LISTEN: u32 = 1;
pub(super) const IGNORE: u32 = 2;

/// Why a datagram is not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseError {
    /// It ends before what it must have.
    #[error("the message is cut short: {bytes} bytes")]
    Short {
        /// How many there are.
        bytes: usize,
    },
    /// A length that it states is not the one it has.
    #[error("the message states {stated} bytes and has {bytes}")]
    Length {
        /// What it states.
        stated: usize,
        /// How many there are.
        bytes: usize,
    },
    /// It is another connector's.
    #[error("the message is of connector {index}.{value}")]
    Connector {
        /// Number of the connector.
        index: u32,
        /// Its second number.
        value: u32,
    },
}

/// A thread and its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) tid: u32,
    pub(super) pid: u32,
}

impl Task {
    /// Whether it is the thread that its process began with or, after an exec, the only one.
    pub(super) const fn is_leader(self) -> bool {
        self.tid == self.pid
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The answer to a request of anybody's.
    Ack { error: u32 },
    /// A process or thread was created. The parent is the one that reaps it.
    Fork { parent: u32, child: Task },
    /// A program was started.
    Exec { pid: u32 },
    /// Real and effective user id changed.
    Users { task: Task, real: u32, effective: u32 },
    /// Real and effective group id changed.
    Groups { task: Task, real: u32, effective: u32 },
    /// A thread ended, with a status as that of `wait(2)`.
    Exit { task: Task, status: u32, parent: u32 },
    /// Something of which there is no table: a name, a session, a tracer, a core dump, or what a later
    /// kernel tells.
    Other,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The CPU it was made on; each numbers its own. `u32::MAX`: none.
    pub(super) cpu: u32,
    /// Its number there.
    pub(super) sequence: u32,
    /// What an answer repeats of its request, plus 1.
    pub(super) ack: u32,
    /// When, by the monotonic clock: nanoseconds since boot without suspended time.
    pub(super) monotonic_ns: u64,
    pub(super) what: What,
}

/// Parses one datagram.
///
/// # Errors
/// When it is not a message of the proc connector.
pub(super) fn parse(bytes: &[u8]) -> Result<Message, ParseError> {
    let short = ParseError::Short { bytes: bytes.len() };
    let stated = number(bytes, 0).ok_or(short)? as usize;
    let rest = bytes.get(..stated).and_then(|message| message.get(NETLINK_BYTES..));
    let message = rest.ok_or(ParseError::Length { stated, bytes: bytes.len() })?;
    let connector = |at| number(message, at).ok_or(short);
    let (index, value) = (connector(0)?, connector(4)?);
    if (index, value) != PROC_ID {
        return Err(ParseError::Connector { index, value });
    }
    let (sequence, ack) = (connector(8)?, connector(12)?);
    let length = message.get(16..18).and_then(|bytes| bytes.try_into().ok()).ok_or(short)?;
    let length = usize::from(u16::from_ne_bytes(length));
    let rest = message.get(CONNECTOR_BYTES..).ok_or(short)?;
    let event =
        rest.get(..length).ok_or(ParseError::Length { stated: length, bytes: rest.len() })?;
    let head = |at| number(event, at).ok_or(short);
    let time = event.get(8..16).and_then(|bytes| bytes.try_into().ok()).ok_or(short)?;
    let union = event.get(EVENT_BYTES..).unwrap_or_default();
    Ok(Message {
        cpu: head(4)?,
        sequence,
        ack,
        monotonic_ns: u64::from_ne_bytes(time),
        what: what(head(0)?, union).ok_or(short)?,
    })
}

/// What the union of an event tells; `None` when it is cut short.
fn what(kind: u32, union: &[u8]) -> Option<What> {
    let word = |index: usize| number(union, index * 4);
    let task = |index| Some(Task { tid: word(index)?, pid: word(index + 1)? });
    Some(match kind {
        NONE => What::Ack { error: word(0)? },
        FORK => What::Fork { parent: word(1)?, child: task(2)? },
        EXEC => What::Exec { pid: word(1)? },
        UID => What::Users { task: task(0)?, real: word(2)?, effective: word(3)? },
        GID => What::Groups { task: task(0)?, real: word(2)?, effective: word(3)? },
        // The parent came with Linux 4.18; the last word is its process.
        EXIT => What::Exit { task: task(0)?, status: word(2)?, parent: word(5).unwrap_or(0) },
        _ => What::Other,
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// A request to the proc connector, of which the answer repeats `ack` plus 1.
pub(super) fn request(operation: u32, ack: u32) -> Vec<u8> {
    const OPERATION_BYTES: u16 = 4;
    /// `NLMSG_DONE`, the only type that the connector knows.
    const DONE: u16 = 3;
    let mut bytes = Vec::new();
    let mut word = |word: u32| bytes.extend(word.to_ne_bytes());
    word(NETLINK_BYTES as u32 + CONNECTOR_BYTES as u32 + u32::from(OPERATION_BYTES));
    bytes.extend(DONE.to_ne_bytes());
    bytes.extend([0; 2 + 4 + 4]);
    let mut word = |word: u32| bytes.extend(word.to_ne_bytes());
    word(PROC_ID.0);
    word(PROC_ID.1);
    word(0);
    word(ack);
    bytes.extend(OPERATION_BYTES.to_ne_bytes());
    bytes.extend([0; 2]);
    bytes.extend(operation.to_ne_bytes());
    bytes
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
