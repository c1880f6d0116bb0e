//! Reading the socket: when to look, in which order to publish, what to read from `/proc`.
//!
//! `/proc` is read the moment a message comes, for there is not a moment to lose. A program that was
//! started after another in the same process may be what is found there. So an exec is held back until
//! the socket was read to its end once more: if another exec of the process turns up that happened
//! before `/proc` was read, what was read is not of the first one and is thrown away.
//!
//! Messages of several CPUs come a little out of order; they are sorted within [`SETTLE_NS`].

use std::collections::HashMap;
use std::time::Duration;

use super::books::{Books, Class};
use super::lives::{Entry, Lives, Outcome, real_ns};
use super::message::{Message, What};
use super::socket::{Received, Socket};
use super::stimulus::touch_each_cpu;
use super::{Boot, SOURCE};
use crate::events::{ExecEvent, ProcessEvent, ProcessKey};
use crate::host::program;
use crate::host::reconcile::INTERVAL_NS;
use crate::publish::gathered::Gathered;
use crate::publish::privacy::Privacy;
use crate::publish::process_ebpf::clock::boot_ns;
use crate::publish::selection::{Fate, Selector};
use crate::publish::{BATCH_EVENTS_MAX, Batch, Closed, Events, PublishError, Sink, Stop};

/// How long the reader sleeps without a message, so that it sees the wish to stop.
const IDLE: Duration = Duration::from_millis(100);
/// How long it sleeps when messages wait to be released.
const SETTLE: Duration = Duration::from_millis(5);
/// Messages of two CPUs are out of order by less than this, in nanoseconds.
const SETTLE_NS: u64 = 1_000_000;
/// How often clocks, losses and books are looked at.
const CHORES_NS: u64 = 1_000_000_000;
/// How often the last numbers are asked for in a storm that leaves no room for them.
const END_TRIES_MAX: usize = 10;
/// How long a process may take to end whose first thread has ended, when the source ends.
const END_NS_MAX: u64 = 500_000_000;
/// Messages read before some are released, so that a storm does not fill memory.
const DRAIN_MAX: usize = 16_384;
/// Bytes of arguments that are kept of what was read at once, for the same reason. What goes beyond is
/// marked as cut.
const ARGUMENTS_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// An entry on its way to a row.
#[derive(Debug)]
struct Pending {
    boot_ns: u64,
    /// When `/proc` was read for it; 0 when it was not.
    read_ns: u64,
    entry: Entry,
}

/// A look at all processes, until everything told up to its end was taken in.
#[derive(Debug)]
struct Look {
    began_ns: u64,
    ended_ns: u64,
    /// Who ran, and which program.
    live: HashMap<ProcessKey, Option<String>>,
}

/// The reader of the socket.
pub(super) struct Reader {
    socket: Socket,
    boot: Boot,
    books: Books,
    lives: Lives,
    privacy: Privacy,
    selector: Selector,
    pending: Vec<Pending>,
    /// Times of the execs in `pending`, by process.
    execs: HashMap<u32, Vec<u64>>,
    look: Option<Look>,
    /// When all processes are looked at again.
    look_due_ns: u64,
    /// Everything before this boot time was released.
    released_ns: u64,
    chores_ns: u64,
    /// How often the kernel said that it had no room.
    overflows: u64,
    buffer: Vec<u8>,
    /// Rows to be, until they are sent.
    ready: Vec<ProcessEvent>,
    /// What was last said to be complete, in nanoseconds since the Unix epoch.
    watermark_ns: i64,
}

impl Reader {
    /// A reader that begins with who ran before the first message, and with the messages read already.
    pub(super) fn new(
        socket: Socket,
        boot: Boot,
        lives: Lives,
        privacy: Privacy,
        selector: Selector,
        early: &[Message],
    ) -> Self {
        let mut reader = Self {
            socket,
            boot,
            books: Books::default(),
            lives,
            privacy,
            selector,
            pending: Vec::new(),
            execs: HashMap::new(),
            look: None,
            look_due_ns: 0,
            released_ns: 0,
            chores_ns: 0,
            overflows: 0,
            buffer: Vec::new(),
            ready: Vec::new(),
            watermark_ns: 0,
        };
        reader.take(early);
        reader
    }

    /// Reads until told to stop or nobody listens.
    pub(super) fn run(mut self, sink: &Sink, stop: &Stop) -> Result<(), PublishError> {
        while !stop.is_set() {
            let waiting = !self.pending.is_empty() || self.lives.are_ending();
            self.socket.wait(if waiting { SETTLE } else { IDLE })?;
            if self.turn(sink)?.is_err() {
                return Ok(());
            }
        }
        // A closed channel means that nobody is left to be told.
        self.end(sink)?.or(Ok(()))
    }

    /// Learns the last numbers of all CPUs, so that what they lost is counted, makes rows of everything
    /// up to then, and closes the books.
    pub(super) fn end(&mut self, sink: &Sink) -> Result<Result<(), Closed>, PublishError> {
        for _ in 0..END_TRIES_MAX {
            // What has no room tells no number.
            self.drain_all()?;
            let overflows = self.overflows;
            touch_each_cpu();
            self.drain_all()?;
            if self.overflows == overflows {
                break;
            }
        }
        let end_ns = boot_ns();
        while self.released_ns < end_ns || self.lives.are_ending() {
            if let Err(closed) = self.turn(sink)? {
                return Ok(Err(closed));
            }
            if boot_ns().saturating_sub(end_ns) > END_NS_MAX {
                break;
            }
            self.socket.wait(SETTLE)?;
        }
        let (unsettled, crowded) = self.lives.close();
        for _ in 0..unsettled {
            self.books.filtered(self.boot.real_ns(end_ns));
        }
        tracing::debug!(unsettled, crowded, "processes at the end");
        Ok(self.chores(sink, true))
    }

    /// One round: read, release, compare, and the chores when they are due.
    pub(super) fn turn(&mut self, sink: &Sink) -> Result<Result<(), Closed>, PublishError> {
        let now_ns = boot_ns();
        if self.look.is_none() && now_ns >= self.look_due_ns {
            self.look()?;
        }
        let was_read_to_the_end = self.drain()?;
        let held = self.pending.iter().filter(|pending| pending.read_ns >= now_ns);
        let newest = self.pending.iter().map(|pending| pending.boot_ns).max();
        let read_to_ns = match newest {
            Some(newest_ns) if !was_read_to_the_end => newest_ns.min(now_ns),
            _ => now_ns,
        };
        let limit_ns = held.map(|pending| pending.boot_ns).min().unwrap_or(u64::MAX);
        self.release(limit_ns.min(read_to_ns.saturating_sub(SETTLE_NS)));
        self.settle();
        self.end_look();
        let sent = if now_ns.saturating_sub(self.chores_ns) >= CHORES_NS {
            self.chores_ns = now_ns;
            self.chores(sink, false)
        } else {
            self.send_ready(sink, false)
        };
        Ok(sent)
    }

    /// Reads the socket to its end: true; or as much as fits.
    fn drain(&mut self) -> Result<bool, PublishError> {
        let mut messages = Vec::new();
        let mut at_end = false;
        while messages.len() < DRAIN_MAX && !at_end {
            match self.socket.receive()? {
                Received::Message(message) => messages.push(message),
                Received::Bad(error) => self.books.bad(error.to_string()),
                Received::Overflow => self.overflowed(),
                Received::Nothing => at_end = true,
            }
        }
        self.take(&messages);
        Ok(at_end)
    }

    /// Reads the socket to its end, unless a storm goes on and on.
    fn drain_all(&mut self) -> Result<(), PublishError> {
        const ROUNDS_MAX: usize = 16;
        for _ in 0..ROUNDS_MAX {
            if self.drain()? {
                break;
            }
        }
        Ok(())
    }

    fn overflowed(&mut self) {
        self.overflows += 1;
        self.books.overflow(self.boot.real_ns(boot_ns()));
        self.doubt();
    }

    /// Something was lost: what is known of processes is looked over.
    fn doubt(&mut self) {
        self.lives.forget_threads();
        self.look_due_ns = 0;
    }

    /// Makes entries of messages and reads what `/proc` has to add.
    fn take(&mut self, messages: &[Message]) {
        let first_new = self.pending.len();
        for message in messages {
            let boot_ns = self.boot.of_monotonic(message.monotonic_ns);
            let time_ns = self.boot.real_ns(boot_ns);
            if self.books.number(message.cpu, message.sequence, time_ns) > 0 {
                self.doubt();
            }
            let Some(entry) = self.entry(message.what) else {
                self.books.filtered(time_ns);
                continue;
            };
            if let Entry::Exec { pid, .. } = entry {
                self.execs.entry(pid).or_default().push(boot_ns);
            }
            self.pending.push(Pending { boot_ns, read_ns: 0, entry });
        }
        let mut pending = std::mem::take(&mut self.pending);
        let mut bytes = 0;
        let (execs, others): (Vec<&mut Pending>, Vec<&mut Pending>) = pending
            .iter_mut()
            .skip(first_new)
            .partition(|pending| matches!(pending.entry, Entry::Exec { .. }));
        // A program goes sooner than a start.
        for pending in execs.into_iter().chain(others) {
            self.read_proc(pending);
            if let Entry::Exec { details: Some(details), .. } = &mut pending.entry {
                bytes += details.arguments_bytes;
                if bytes > ARGUMENTS_BYTES_MAX {
                    details.arguments = None;
                    details.arguments_truncated = true;
                }
            }
        }
        self.pending = pending;
    }

    /// The entry of a message, `None` when there is none to make.
    fn entry(&self, what: What) -> Option<Entry> {
        Some(match what {
            What::Ack { .. } | What::Other => return None,
            What::Fork { parent, child } if child.is_leader() => {
                Entry::Fork { child: child.pid, start_ns: None, parent, parent_start_ns: None }
            }
            What::Fork { child, .. } => Entry::Thread { pid: child.pid },
            What::Exec { pid } => Entry::Exec { pid, details: None },
            // The ids of the process are those of its first thread.
            What::Users { task, real, effective } if task.is_leader() => {
                Entry::Users { pid: task.pid, real, effective }
            }
            What::Groups { task, real, effective } if task.is_leader() => {
                Entry::Groups { pid: task.pid, real, effective }
            }
            What::Users { .. } | What::Groups { .. } => return None,
            What::Exit { task, status, parent } if task.is_leader() => {
                Entry::Exit { pid: task.pid, status, parent, start_ns: None }
            }
            What::Exit { task, status, .. } => Entry::ThreadExit { pid: task.pid, status },
        })
    }

    /// Reads what `/proc` has to add to an entry.
    fn read_proc(&mut self, pending: &mut Pending) {
        let with_environment = self.privacy.environment.is_read();
        let buffer = &mut self.buffer;
        match &mut pending.entry {
            Entry::Fork { child, start_ns, parent, parent_start_ns } => {
                *start_ns = program::start_ns(*child, buffer);
                if !self.lives.knows(*parent) {
                    *parent_start_ns = program::start_ns(*parent, buffer);
                }
            }
            Entry::Exec { pid, details } => {
                // Of several only the last can be what is there now.
                let last_ns = self.execs.get(pid).and_then(|times| times.iter().max());
                if last_ns.is_none_or(|last_ns| *last_ns <= pending.boot_ns) {
                    *details = program::exec_event(*pid, with_environment, buffer).map(Box::new);
                    pending.read_ns = boot_ns();
                }
            }
            Entry::Exit { pid, start_ns, .. } if !self.lives.knows(*pid) => {
                *start_ns = program::start_ns(*pid, buffer);
            }
            Entry::Thread { .. }
            | Entry::Users { .. }
            | Entry::Groups { .. }
            | Entry::ThreadExit { .. }
            | Entry::Exit { .. }
            | Entry::Found(_) => {}
        }
    }

    /// Makes rows of the entries before `limit_ns`.
    fn release(&mut self, limit_ns: u64) {
        self.pending.sort_by_key(|pending| pending.boot_ns);
        let ready = self.pending.partition_point(|pending| pending.boot_ns < limit_ns);
        let entries: Vec<Pending> = self.pending.drain(..ready).collect();
        self.pending.shrink_to(BATCH_EVENTS_MAX);
        for mut pending in entries {
            self.strip(&mut pending);
            let is_found = matches!(pending.entry, Entry::Found(_));
            let Pending { boot_ns, entry, .. } = pending;
            match self.lives.apply(entry, boot_ns, self.boot.offset_ns()) {
                Outcome::Event(event) => self.publish(event),
                Outcome::Nothing if !is_found => self.books.filtered(self.boot.real_ns(boot_ns)),
                Outcome::Nothing | Outcome::Later => {}
            }
        }
        self.released_ns = self.released_ns.max(limit_ns);
        let released_ns = self.released_ns;
        self.execs.retain(|_, times| {
            times.retain(|time_ns| *time_ns >= released_ns);
            !times.is_empty()
        });
    }

    /// Takes from an exec what was read of it when another exec came before the reading.
    fn strip(&self, pending: &mut Pending) {
        let Entry::Exec { pid, details } = &mut pending.entry else {
            return;
        };
        let between = pending.boot_ns + 1..=pending.read_ns;
        let others = self.execs.get(pid).map(Vec::as_slice).unwrap_or_default();
        if others.iter().any(|time_ns| between.contains(time_ns)) {
            *details = None;
        }
    }

    /// Publishes the ends that had to wait.
    fn settle(&mut self) {
        for event in self.lives.settle(self.boot.offset_ns(), &mut self.buffer) {
            self.publish(event);
        }
        let now_ns = self.boot.real_ns(boot_ns());
        for _ in 0..self.lives.take_cancelled() {
            self.books.filtered(now_ns);
        }
    }

    /// Looks at all processes; what is made of it waits until all that was told up to now is known.
    fn look(&mut self) -> Result<(), PublishError> {
        self.lives.begin_look();
        let began_ns = boot_ns();
        let running = program::running(&mut self.buffer)?;
        let live = running.into_values().map(|running| (running.process, running.path)).collect();
        let ended_ns = boot_ns();
        self.look = Some(Look { began_ns, ended_ns, live });
        self.look_due_ns = ended_ns + INTERVAL_NS;
        Ok(())
    }

    /// Closes and opens what differs, once everything before the look's end was released.
    fn end_look(&mut self) {
        let Some(look) = self.look.take_if(|look| look.ended_ns < self.released_ns) else {
            return;
        };
        let offset_ns = self.boot.offset_ns();
        let changed = self.lives.changed(&look.live);
        let live = look.live.into_keys();
        let (ends, mut unknown) = self.lives.end_look(live, look.began_ns, offset_ns);
        unknown.extend(changed);
        for end in ends {
            self.publish(end);
        }
        for process in unknown {
            let with_environment = self.privacy.environment.is_read();
            let read = program::exec_event(process.pid, with_environment, &mut self.buffer);
            let Some(mut found) = read else {
                continue;
            };
            if found.process != process {
                continue;
            }
            found.snapshot = true;
            found.time_ns = real_ns(process.start_ns, offset_ns);
            let read_ns = boot_ns();
            let entry = Entry::Found(Box::<ExecEvent>::new(found));
            self.pending.push(Pending { boot_ns: read_ns, read_ns, entry });
        }
    }

    /// Books an event and, unless it is left out or merged, keeps it until it is sent.
    fn publish(&mut self, mut event: ProcessEvent) {
        use crate::publish::Event as _;
        let fate = self.selector.fate(&event);
        if let Some((class, time_ns)) = event.counted() {
            let class = match class {
                "exec" => Class::Exec,
                "fork" => Class::Fork,
                _ => Class::Exit,
            };
            match fate {
                Fate::Told => self.books.stored(class, time_ns, time_ns < self.watermark_ns),
                Fate::Excluded => self.books.excluded(class, time_ns),
                Fate::Merged => self.books.merged(class, time_ns),
            }
        }
        if fate != Fate::Told {
            return;
        }
        if let ProcessEvent::Exec(exec) = &mut event {
            self.privacy.apply(exec);
        }
        self.ready.push(event);
    }

    /// Clocks, losses and books. With `all` they are closed: the source ends.
    fn chores(&mut self, sink: &Sink, all: bool) -> Result<(), Closed> {
        if self.books.is_uncounted() && !all {
            // Read in the next round.
            touch_each_cpu();
        }
        let now_ns = self.boot.real_ns(boot_ns());
        let mut told = self.books.losses(now_ns, all);
        let released_ns = self.boot.real_ns(self.released_ns);
        told.extend(self.books.close(released_ns, all));
        for summaries in self.selector.limit.take(if all { i64::MAX } else { released_ns }) {
            self.send(sink, Events::Summary(summaries), None)?;
        }
        if !told.is_empty() {
            self.send(sink, Events::Collector(told), None)?;
        }
        let sent = self.send_ready(sink, true);
        self.lives.expire(self.released_ns);
        self.boot.refresh();
        sent
    }

    /// Sends the events that are ready, and how far all is told: always with `even_none`, else only
    /// together with events.
    fn send_ready(&mut self, sink: &Sink, even_none: bool) -> Result<(), Closed> {
        let ready = std::mem::take(&mut self.ready);
        if ready.is_empty() && !even_none {
            return Ok(());
        }
        let mut gathered = Gathered::default();
        for event in ready {
            if let Some(full) = gathered.push(event) {
                self.send(sink, Events::Process(full), None)?;
            }
        }
        self.watermark_ns = self.boot.real_ns(self.released_ns);
        let rest = gathered.rest().unwrap_or_default();
        self.send(sink, Events::Process(rest), Some(self.watermark_ns))
    }

    fn send(&self, sink: &Sink, events: Events, watermark_ns: Option<i64>) -> Result<(), Closed> {
        let clock_offset_ns = self.boot.offset_ns();
        sink.send(Batch { source: SOURCE, watermark_ns, clock_offset_ns, events })
    }
}
