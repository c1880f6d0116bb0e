//! The life of processes, from the kernel's process events connector: where programs cannot be loaded.
//!
//! The kernel sends a message for each fork, exec and exit, of processes and threads (`linux/cn_proc.h`).
//! It has ids and times; who that is and what it runs is read from `/proc` when the message comes, and
//! left out when the process has gone by then. Since Linux 6.6 this needs no right at all, before it
//! CAP_NET_ADMIN, and always the host's own pid, user and network namespaces.
//!
//! **Invariants:** an event keeps the time the kernel gave it; each message is booked as stored, filtered
//! or lost (see `books`); a datagram that does not parse is counted, never a panic.

mod books;
mod lives;
mod message;
mod reader;
mod socket;
mod stimulus;

use std::io;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

use self::lives::Lives;
use self::message::{Message, What};
use self::reader::Reader;
use self::socket::{Received, Socket};
use super::privacy::Privacy;
use super::process_ebpf::clock::{Clock, boot_ns};
use super::selection::{Selection, Selector};
use super::{PublishError, Publisher, Sink, Stop};
use crate::events::Capability;
use crate::host::program;

/// Name of this source.
pub const SOURCE: &str = "process_connector";

/// Name of the tier.
const TIER: &str = "proc_connector";

/// How long the kernel may take to tell of a thread that was started.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Messages that are kept while that one is waited for. Each is some 100 bytes.
const EARLY_MAX: usize = 65_536;

/// What can be set about the source.
#[derive(Clone, Debug, Default)]
pub struct ProcessConnectorConfig {
    /// Size of the buffer in the kernel, in bytes, its own bookkeeping included. Without CAP_NET_ADMIN
    /// the system bounds it (`net.core.rmem_max`).
    pub buffer_bytes: u32,
    /// What of arguments and environments is recorded.
    pub privacy: Privacy,
    /// Which events are.
    pub selection: Selection,
}

/// Why the source cannot be used.
#[derive(Debug, Error)]
pub enum AttachError {
    /// There is no such socket.
    #[error("the kernel offers no connector here")]
    Socket(#[source] io::Error),
    /// The system refuses to send to this user.
    #[error("the capability CAP_NET_ADMIN is missing")]
    NoRight,
    /// The group cannot be joined.
    #[error("cannot join the proc connector's group")]
    Bind(#[source] io::Error),
    /// The buffer cannot be set.
    #[error("cannot set the size of the socket's buffer")]
    Buffer(#[source] io::Error),
    /// The request cannot be sent.
    #[error("cannot ask the proc connector to send")]
    Listen(#[source] io::Error),
    /// The kernel says no.
    #[error("the proc connector refuses")]
    Refused(#[source] io::Error),
    /// The socket fails.
    #[error("cannot read from the proc connector")]
    Read(#[source] io::Error),
    /// Nothing comes.
    #[error(
        "the kernel takes the request and tells of nothing: it was built without \
         CONFIG_PROC_EVENTS, or this is not the host's own pid and user namespace"
    )]
    Silent,
}

impl AttachError {
    /// What the user can do about it, where something can be done.
    #[must_use]
    pub fn mend(&self) -> Option<String> {
        match self {
            Self::NoRight => Some("run as root, with CAP_NET_ADMIN, or on Linux 6.6".to_owned()),
            Self::Socket(_) | Self::Silent => {
                Some("run outside of containers, in the host's namespaces".to_owned())
            }
            Self::Bind(_)
            | Self::Buffer(_)
            | Self::Listen(_)
            | Self::Refused(_)
            | Self::Read(_) => None,
        }
    }
}

/// The source, listening.
#[derive(Debug)]
pub struct ProcessConnector {
    socket: Socket,
    boot: Boot,
    /// Who ran before the first message.
    lives: Lives,
    privacy: Privacy,
    selector: Selector,
    /// Messages that came while the source was proven.
    early: Vec<Message>,
    since_ns: i64,
}

impl ProcessConnector {
    /// Asks the kernel to send, and sees that it does.
    ///
    /// # Errors
    /// In words that say what is missing.
    pub fn attach(config: &ProcessConnectorConfig) -> Result<Self, AttachError> {
        let boot = Boot::read();
        // Before the first message, so that whoever it tells of has a parent.
        let lives = who_runs();
        // Answers to others come as well; the process id tells them apart well enough.
        let ack = std::process::id();
        let socket = Socket::open(usize::try_from(config.buffer_bytes).unwrap_or(0), ack)?;
        let since_ns = boot.real_ns(boot_ns());
        stimulus::touch_each_cpu();
        let early = prove(&socket, ack)?;
        let privacy = config.privacy.clone();
        let selector = Selector::new(config.selection.clone());
        Ok(Self { socket, boot, lives, privacy, selector, early, since_ns })
    }
}

/// All processes, as far as `/proc` shows them.
fn who_runs() -> Lives {
    let mut lives = Lives::default();
    let mut buffer = Vec::new();
    for pid in program::running(&mut buffer).unwrap_or_default().into_keys() {
        if let Some(running) = program::exec_event(pid, false, &mut buffer) {
            lives.remember(running);
        }
    }
    lives
}

/// Reads until a thread of this process shows, or the kernel says no.
fn prove(socket: &Socket, ack: u32) -> Result<Vec<Message>, AttachError> {
    let failed = |error: rustix::io::Errno| AttachError::Read(error.into());
    let mut early = Vec::new();
    let started = Instant::now();
    while started.elapsed() < ANSWER_MAX && early.len() < EARLY_MAX {
        let message = match socket.receive().map_err(failed)? {
            Received::Message(message) => message,
            // What is lost meanwhile shows in the numbers.
            Received::Bad(_) | Received::Overflow => continue,
            Received::Nothing => {
                socket.wait(ANSWER_MAX.saturating_sub(started.elapsed())).map_err(failed)?;
                continue;
            }
        };
        early.push(message);
        match message.what {
            What::Ack { error } if error != 0 && message.ack == ack.wrapping_add(1) => {
                let code = i32::try_from(error).unwrap_or(libc::EIO);
                return Err(match code {
                    libc::EPERM => AttachError::NoRight,
                    code => AttachError::Refused(io::Error::from_raw_os_error(code)),
                });
            }
            What::Fork { child, .. } if child.pid == std::process::id() => return Ok(early),
            _ => {}
        }
    }
    Err(AttachError::Silent)
}

impl Publisher for ProcessConnector {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn capabilities(&self) -> Vec<Capability> {
        let capability = |(kind, blind_to): (&str, String)| Capability {
            time_ns: self.since_ns,
            kind: kind.to_owned(),
            source: Some(SOURCE.to_owned()),
            tier: Some(TIER.to_owned()),
            blind_to,
            reason: None,
        };
        let exec = format!(
            "path, arguments and folder of what ends or starts another program before /proc can be \
             read; scripts by their name; starts to 10 ms only{}",
            program::kept_from_this_user()
        );
        let fork = "who called, when that is not the parent; clone flags; starts to 10 ms only";
        let exit = "CPU time; starts to 10 ms only";
        let all = [("exec", exec), ("fork", fork.to_owned()), ("exit", exit.to_owned())];
        all.into_iter().map(capability).collect()
    }

    fn buffer_bytes(&self) -> Option<u64> {
        self.socket.buffer_bytes()
    }

    fn run(self: Box<Self>, sink: &Sink, stop: &Stop) -> Result<(), PublishError> {
        let Self { socket, boot, lives, privacy, selector, early, .. } = *self;
        Reader::new(socket, boot, lives, privacy, selector, &early).run(sink, stop)
    }
}

/// The clocks: messages have monotonic time, which stands still while the system is suspended.
#[derive(Debug)]
struct Boot {
    clock: Clock,
    /// Boot time less monotonic time.
    suspended_ns: u64,
}

impl Boot {
    fn read() -> Self {
        Self { clock: Clock::new(), suspended_ns: suspended_ns() }
    }

    /// Measures again.
    fn refresh(&mut self) {
        self.clock.refresh();
        let measured = suspended_ns();
        // A smaller one is the better; one that is larger by less than a suspension lasts is not.
        if measured < self.suspended_ns || measured - self.suspended_ns > 1_000_000 {
            self.suspended_ns = measured;
        }
    }

    /// Real time less boot time in nanoseconds.
    fn offset_ns(&self) -> i64 {
        self.clock.offset_ns()
    }

    /// Boot time as nanoseconds since the Unix epoch.
    fn real_ns(&self, boot_ns: u64) -> i64 {
        lives::real_ns(boot_ns, self.offset_ns())
    }

    /// Monotonic time as boot time.
    fn of_monotonic(&self, monotonic_ns: u64) -> u64 {
        monotonic_ns.saturating_add(self.suspended_ns)
    }
}

/// The least of several readings: whatever comes between the two clocks makes it larger.
fn suspended_ns() -> u64 {
    const TRIES: usize = 8;
    let reading = || {
        let time = clock_gettime(ClockId::Monotonic);
        let monotonic_ns = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
        boot_ns().saturating_sub(u64::try_from(monotonic_ns).unwrap_or(0))
    };
    (0..TRIES).map(|_| reading()).min().unwrap_or(0)
}

#[cfg(test)]
#[path = "process_connector/live_tests.rs"]
mod live_tests;
