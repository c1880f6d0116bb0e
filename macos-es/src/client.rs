//! The client of EndpointSecurity, on a thread of its own.
//!
//! How it runs. A client must be deleted on the thread that made it, so one thread makes it, waits
//! to be told to stop, and deletes it. The system calls the handler on a queue of its own, one
//! message after the other; the handler decodes the message on the spot and puts it into the
//! [`Intake`], so that no message is retained beyond the call.
//!
//! **Invariant:** only NOTIFY events are subscribed to. The own process is muted before that, so
//! that Bygone's own work does not feed it.

#![expect(unsafe_code, reason = "messages and arguments come from a C library")]

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::ptr::{self, NonNull};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use endpoint_sec::sys::{
    NewClientError, ReturnError, es_event_exec_t, es_event_type_t, es_exec_arg, es_exec_arg_count,
};
use endpoint_sec::{Client, Message, version};

use crate::decode::decode;
use crate::intake::{Intake, IntakeLimits, IntakeReader, intake};
use crate::layout::{RawExec, RawMessage, RawString};
use crate::message::AuditToken;
use crate::source::{EsSource, Received};
use crate::system::{self, SystemError};
use crate::view::{ExecArguments, MessageView};

/// The events subscribed to.
const EVENTS: [es_event_type_t; 3] = [
    es_event_type_t::ES_EVENT_TYPE_NOTIFY_EXEC,
    es_event_type_t::ES_EVENT_TYPE_NOTIFY_FORK,
    es_event_type_t::ES_EVENT_TYPE_NOTIFY_EXIT,
];

/// Why no client could be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system's version decides how messages are kept.
    #[error("find out the system's version")]
    Version(#[source] SystemError),
    /// The own process could not be named to the system.
    #[error("read the own audit token: kernel code {code}")]
    OwnToken {
        /// A `kern_return_t`.
        code: i32,
    },
    /// The token's words do not mean what [`AuditToken`] says.
    #[error("audit tokens have another order on this system")]
    TokenOrder,
    /// No thread could be started.
    #[error("start a thread for the client")]
    Thread(#[source] std::io::Error),
    /// The thread ended before it said anything.
    #[error("the client's thread ended at once")]
    ThreadEnded,
    /// The system refused a client.
    #[error("{}", refusal(*reason))]
    Refused {
        /// What it said.
        reason: NewClientError,
    },
    /// The own process could not be muted.
    #[error("mute the own process")]
    Mute(#[source] ReturnError),
    /// The events could not be had.
    #[error("subscribe to exec, fork and exit")]
    Subscribe(#[source] ReturnError),
}

/// What to do about a refusal.
const fn refusal(reason: NewClientError) -> &'static str {
    match reason {
        NewClientError::NotEntitled => {
            "the program is not signed with com.apple.developer.endpoint-security.client"
        }
        NewClientError::NotPermitted => {
            "the program lacks Full Disk Access: allow it in System Settings, Privacy & Security"
        }
        NewClientError::NotPrivileged => "EndpointSecurity needs root: run with sudo",
        NewClientError::TooManyClients => "too many clients of EndpointSecurity are running",
        NewClientError::InvalidArgument
        | NewClientError::Internal
        | NewClientError::Unknown(_)
        | NewClientError::ApiUnavailable => "EndpointSecurity failed to make a client",
    }
}

/// Exec, fork and exit of all processes but the own one, as they happen.
#[derive(Debug)]
pub struct EsClient {
    reader: IntakeReader,
    /// Dropping it tells the thread to end.
    stop: Option<SyncSender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl EsClient {
    /// Starts a client. Messages begin to arrive before this returns.
    ///
    /// # Errors
    /// When the system refuses, see [`StartError`].
    pub fn start(limits: IntakeLimits) -> Result<Self, StartError> {
        let (major, minor, patch) = system::version().map_err(StartError::Version)?;
        version::set_runtime_version(major, minor, patch);
        let (intake, reader) = intake(limits);
        let (started_sender, started) = sync_channel(1);
        let (stop, stopped) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("es-client".to_owned())
            .spawn(move || serve(intake, &started_sender, &stopped))
            .map_err(StartError::Thread)?;
        let outcome = started.recv().unwrap_or(Err(StartError::ThreadEnded));
        outcome.map(|()| Self { reader, stop: Some(stop), thread: Some(thread) })
    }
}

impl EsSource for EsClient {
    fn receive(&mut self, wait: Duration) -> Received {
        self.reader.receive(wait)
    }

    fn start_of(&self, pid: u32) -> Option<i64> {
        system::process_start_ns(pid)
    }

    fn stop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has ended the client just the same.
            drop(thread.join());
        }
        // The system may keep the handler, and with it the other end, a little longer.
        self.reader.close();
    }
}

impl Drop for EsClient {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The client's thread: makes the client, waits for the end, deletes it.
fn serve(
    intake: Intake,
    started: &SyncSender<Result<(), StartError>>,
    stopped: &Receiver<Infallible>,
) {
    let (client, outcome) = match connect(intake) {
        Ok(client) => (Some(client), Ok(())),
        Err(error) => (None, Err(error)),
    };
    if started.send(outcome).is_ok() && client.is_some() {
        // Nothing is ever sent: this returns when the other end is dropped.
        while stopped.recv().is_ok() {}
    }
    drop(client);
}

fn connect(intake: Intake) -> Result<Client<'static>, StartError> {
    let own = own_token()?;
    // Nothing of the intake can be seen half changed after a panic: its lock covers each change.
    let intake = AssertUnwindSafe(intake);
    let handler = move |_: &mut Client<'_>, message: Message| {
        let intake: &AssertUnwindSafe<Intake> = &intake;
        // SAFETY: the message is live until the end of this call, and nothing changes it.
        let view = unsafe { MessageView::new(pointer_of(&message)) };
        intake.accept(decode(view, &LibraryArguments));
    };
    let mut client = Client::new(handler).map_err(|reason| StartError::Refused { reason })?;
    client.mute_process(&own).map_err(StartError::Mute)?;
    client.subscribe(&EVENTS).map_err(StartError::Subscribe)?;
    Ok(client)
}

/// The own token, after proof that its words are in the order that decoding takes for granted.
fn own_token() -> Result<endpoint_sec::AuditToken, StartError> {
    // A pid is positive and below 100,000 on this system.
    let pid = std::process::id().cast_signed();
    let token =
        endpoint_sec::AuditToken::from_pid(pid).map_err(|code| StartError::OwnToken { code })?;
    let ours = AuditToken::from_words(token.raw_token().val);
    let theirs = AuditToken {
        auid: token.auid(),
        euid: token.euid(),
        egid: token.egid(),
        ruid: token.ruid(),
        rgid: token.rgid(),
        pid: token.pid().cast_unsigned(),
        asid: token.asid().cast_unsigned(),
        pidversion: token.pidversion().cast_unsigned(),
    };
    if ours == theirs { Ok(token) } else { Err(StartError::TokenOrder) }
}

/// The message's address, which the binding does not show.
fn pointer_of(message: &Message) -> NonNull<RawMessage> {
    const { assert!(size_of::<Message>() == size_of::<NonNull<RawMessage>>()) };
    // SAFETY: in the version of the binding that the workspace pins, `Message` is
    // `repr(transparent)` around this pointer. `layout_check.rs` compares the structures.
    unsafe { ptr::from_ref(message).cast::<NonNull<RawMessage>>().read() }
}

/// Arguments through the system's library.
#[derive(Clone, Copy, Debug)]
struct LibraryArguments;

// SAFETY: the library returns tokens that lead into the message.
unsafe impl ExecArguments for LibraryArguments {
    unsafe fn count(&self, exec: NonNull<RawExec>) -> u32 {
        // SAFETY: the view's exec is the message's, and both structures are the same.
        let exec = unsafe { exec.cast::<es_event_exec_t>().as_ref() };
        // SAFETY: the exec is live.
        unsafe { es_exec_arg_count(exec) }
    }

    unsafe fn argument(&self, exec: NonNull<RawExec>, index: u32) -> RawString {
        // SAFETY: the view's exec is the message's, and both structures are the same.
        let exec = unsafe { exec.cast::<es_event_exec_t>().as_ref() };
        // SAFETY: the exec is live, and the caller has checked the index.
        let token = unsafe { es_exec_arg(exec, index) };
        RawString { length: token.length, data: token.data.cast() }
    }
}
