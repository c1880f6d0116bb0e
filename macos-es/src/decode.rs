//! Copying a message into types that own what they hold.
//!
//! Nothing of the message is kept, so that the callback need not retain it. A message that cannot
//! be decoded keeps its place in the sequence, and is therefore not mistaken for one that the
//! system dropped.

#![expect(unsafe_code, reason = "the event's type decides which event the union holds")]

use crate::layout::{
    EVENT_TYPE_NOTIFY_EXEC, EVENT_TYPE_NOTIFY_EXIT, EVENT_TYPE_NOTIFY_FORK, RawAuditToken,
    RawTimespec, RawTimeval,
};
use crate::message::{
    AuditToken, EsClass, EsEvent, EsExec, EsExit, EsFile, EsFork, EsHeader, EsMessage, EsProcess,
    EsSequence, EsStat,
};
use crate::view::{
    ARGUMENTS_BYTES_MAX, ExecArguments, ExecView, FileView, MessageView, ProcessView,
};

const NS_PER_SECOND: i64 = 1_000_000_000;

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Versions start at 1.
    #[error("message version {version} is unknown")]
    Version {
        /// The version.
        version: u32,
    },
    /// Not one of the events subscribed to.
    #[error("event type {event_type} was not asked for")]
    EventType {
        /// The type.
        event_type: u32,
    },
    /// A field that is always set is null.
    #[error("{field} is null")]
    NullPointer {
        /// The field.
        field: &'static str,
    },
    /// A pointer that cannot lead to what it should.
    #[error("{field} is not aligned")]
    MisalignedPointer {
        /// The field.
        field: &'static str,
    },
    /// A string longer than any the system makes.
    #[error("{field} has {length} bytes, more than {bytes_max}")]
    StringLength {
        /// The field.
        field: &'static str,
        /// The length in bytes.
        length: usize,
        /// The bound in bytes.
        bytes_max: usize,
    },
    /// A time that is no time.
    #[error("{field} is {sec} s and {fraction} of a second, which is no time")]
    Time {
        /// The field.
        field: &'static str,
        /// Whole seconds.
        sec: i64,
        /// Nanoseconds or microseconds.
        fraction: i64,
    },
    /// More arguments than the system allows.
    #[error("{count} arguments, more than {ARGUMENTS_BYTES_MAX}")]
    ArgumentCount {
        /// How many.
        count: u32,
    },
}

/// A message that cannot be decoded, with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("decode a message")]
pub struct DecodeFailure {
    /// Its place in the sequence, unless the version is unknown.
    pub sequence: Option<EsSequence>,
    /// When it happened, in nanoseconds since the Unix epoch, where that can be read.
    pub time_ns: Option<i64>,
    /// What is wrong.
    #[source]
    pub error: DecodeError,
}

/// Copies a message out of the system's memory.
///
/// # Errors
/// When the message is not one that the system makes, see [`DecodeError`].
pub fn decode(
    view: MessageView<'_>,
    arguments: &impl ExecArguments,
) -> Result<EsMessage, Box<DecodeFailure>> {
    let version = view.version();
    if version == 0 {
        let error = DecodeError::Version { version };
        return Err(Box::new(DecodeFailure { sequence: None, time_ns: None, error }));
    }
    let sequence = EsSequence {
        class: class_of(view.event_type()),
        seq_num: view.seq_num(),
        global_seq_num: view.global_seq_num(),
    };
    let time = time_ns(view.time(), "time");
    let failed = |error| {
        let time_ns = time.as_ref().ok().copied();
        Box::new(DecodeFailure { sequence: Some(sequence), time_ns, error })
    };
    let time_ns = time.clone().map_err(failed)?;
    let header = EsHeader {
        version,
        time_ns,
        mach_time: view.mach_time(),
        thread_id: view.thread_id().map_err(failed)?,
        sequence,
    };
    let process = view.process().and_then(|process| process_of(&process)).map_err(failed)?;
    let event = event_of(&view, arguments).map_err(failed)?;
    Ok(EsMessage { header, process, event })
}

const fn class_of(event_type: u32) -> Option<EsClass> {
    match event_type {
        EVENT_TYPE_NOTIFY_EXEC => Some(EsClass::Exec),
        EVENT_TYPE_NOTIFY_FORK => Some(EsClass::Fork),
        EVENT_TYPE_NOTIFY_EXIT => Some(EsClass::Exit),
        _ => None,
    }
}

fn event_of(
    view: &MessageView<'_>,
    arguments: &impl ExecArguments,
) -> Result<EsEvent, DecodeError> {
    let event_type = view.event_type();
    match class_of(event_type) {
        Some(EsClass::Exec) => {
            // SAFETY: the type is the one of exec.
            let exec = unsafe { view.exec() };
            Ok(EsEvent::Exec(Box::new(exec_of(&exec, arguments)?)))
        }
        Some(EsClass::Fork) => {
            // SAFETY: the type is the one of fork.
            let child = unsafe { view.fork_child() }?;
            Ok(EsEvent::Fork(Box::new(EsFork { child: process_of(&child)? })))
        }
        Some(EsClass::Exit) => {
            // SAFETY: the type is the one of exit.
            let status = unsafe { view.exit_status() };
            Ok(EsEvent::Exit(EsExit { status }))
        }
        None => Err(DecodeError::EventType { event_type }),
    }
}

fn exec_of(view: &ExecView<'_>, arguments: &impl ExecArguments) -> Result<EsExec, DecodeError> {
    let mut exec = EsExec {
        target: process_of(&view.target()?)?,
        exec_path: view.exec_path()?.map(<[u8]>::to_vec),
        script: view.script()?.map(|file| file_of(&file)).transpose()?,
        cwd: view.cwd()?.map(|file| file_of(&file)).transpose()?,
        last_fd: view.last_fd(),
        cpu_type: view.cpu_type(),
        arguments: Vec::new(),
        arguments_bytes: 0,
        arguments_truncated: false,
    };
    let count = view.argument_count(arguments);
    if count as usize > ARGUMENTS_BYTES_MAX {
        return Err(DecodeError::ArgumentCount { count });
    }
    for index in 0..count {
        let Some(argument) = view.argument(arguments, index)? else {
            break;
        };
        exec.arguments_bytes += argument.len() as u64 + 1;
        if exec.arguments_bytes <= ARGUMENTS_BYTES_MAX as u64 {
            exec.arguments.push(argument.to_vec());
        } else {
            exec.arguments_truncated = true;
        }
    }
    Ok(exec)
}

fn process_of(view: &ProcessView<'_>) -> Result<EsProcess, DecodeError> {
    let values = view.values();
    Ok(EsProcess {
        audit_token: token_of(values.audit_token),
        ppid: values.ppid,
        original_ppid: values.original_ppid,
        group_id: values.group_id,
        session_id: values.session_id,
        codesigning_flags: values.codesigning_flags,
        is_platform_binary: values.is_platform_binary,
        is_es_client: values.is_es_client,
        cdhash: values.cdhash,
        signing_id: view.signing_id()?.to_vec(),
        team_id: view.team_id()?.to_vec(),
        executable: file_of(&view.executable()?)?,
        tty: view.tty()?.map(|tty| tty.path().map(<[u8]>::to_vec)).transpose()?,
        start_ns: view.start_time().map(|time| timeval_ns(time, "start_time")).transpose()?,
        responsible: view.responsible().map(token_of),
        parent: view.parent().map(token_of),
    })
}

const fn token_of(raw: RawAuditToken) -> AuditToken {
    AuditToken::from_words(raw.val)
}

fn file_of(view: &FileView<'_>) -> Result<EsFile, DecodeError> {
    let stat = view.stat();
    Ok(EsFile {
        path: view.path()?.to_vec(),
        path_truncated: view.path_truncated(),
        stat: EsStat {
            dev: stat.dev,
            ino: stat.ino,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            size: stat.size,
            atime: stat.atime.sec,
            mtime: stat.mtime.sec,
            ctime: stat.ctime.sec,
            birthtime: stat.birthtime.sec,
        },
    })
}

fn time_ns(time: RawTimespec, field: &'static str) -> Result<i64, DecodeError> {
    let valid = (0..NS_PER_SECOND).contains(&time.nsec);
    valid
        .then(|| time.sec.checked_mul(NS_PER_SECOND)?.checked_add(time.nsec))
        .flatten()
        .ok_or(DecodeError::Time { field, sec: time.sec, fraction: time.nsec })
}

fn timeval_ns(time: RawTimeval, field: &'static str) -> Result<i64, DecodeError> {
    // Out of range stays out of range after the multiplication, which cannot overflow.
    let nsec = i64::from(time.usec) * 1_000;
    time_ns(RawTimespec { sec: time.sec, nsec }, field)
}

#[cfg(test)]
mod tests;
