//! The thread that reads.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::books::{Books, Outcome};
use super::digest::{Reading, digest};
use super::file::{self, Found, Missing};
use super::inbox::{Inbox, Request};
use super::script::{self, CONTENT_BYTES_MAX};
use super::{Executables, ExecutablesConfig, Memory, Ownership, SOURCE};
use crate::events::{
    CollectorEvent, ContentDigest, ContentKey, ExecutableEvent, ExecutableKind, Gap, GapReason,
    HashStatus, ProgramFile,
};
use crate::publish::{Batch, Closed, Events, Sink, Stop};

/// How long it sleeps without a request, so that it sees the wish to stop.
const IDLE: Duration = Duration::from_millis(100);

/// Requests that are answered before what they gave is sent.
const REQUESTS_MAX: usize = 16;

/// How long after it was sent a content is remembered: the store has synced it by then, unless told
/// to sync never.
const REMEMBER_AFTER: Duration = Duration::from_secs(15);

/// Contents that wait to be remembered; of more, the oldest are remembered at once.
const UNREMEMBERED_MAX: usize = 4096;

/// How long it goes on reading what waits when it is to stop.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long an event waits for its package at most.
const HELD: Duration = Duration::from_secs(10);

/// Events that wait for their package; of more, the oldest are sent without.
const HELD_MAX: usize = 1024;

/// How often it is asked for the packages of those.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// A content that was sent.
struct Sent {
    at: Instant,
    content: ContentKey,
    time_ns: i64,
    digest: Option<ContentDigest>,
}

/// An event that waits for its package.
struct Held {
    since: Instant,
    request: Request,
    event: ExecutableEvent,
}

/// What a request came to.
enum Answer {
    Told(Box<ExecutableEvent>),
    Known,
    /// It was put off, for what may go away soon.
    PutOff,
    /// It was given up because the collector stops.
    Stopped,
}

/// The wish to stop, and how long it may be put off.
struct Patience<'a> {
    stop: &'a Stop,
    until: Cell<Option<Instant>>,
}

impl<'a> Patience<'a> {
    const fn new(stop: &'a Stop) -> Self {
        Self { stop, until: Cell::new(None) }
    }

    /// Whether what waits is to be given up.
    fn is_over(&self) -> bool {
        if !self.stop.is_set() {
            return false;
        }
        let until = self.until.get().unwrap_or_else(|| Instant::now() + STOP_GRACE);
        self.until.set(Some(until));
        Instant::now() >= until
    }
}

/// The one who reads.
pub(super) struct Runner {
    inbox: Arc<Inbox>,
    memory: Box<dyn Memory>,
    config: ExecutablesConfig,
    books: Books,
    own_namespace: Option<u32>,
    /// At most [`HELD_MAX`].
    held: VecDeque<Held>,
    asked: Instant,
    sent: VecDeque<Sent>,
    /// Everything executed before was answered.
    watermark_ns: Option<i64>,
}

impl Runner {
    pub(super) fn new(executables: Executables) -> Self {
        let Executables { inbox, memory, config, since_ns } = executables;
        Self {
            inbox,
            memory,
            config,
            books: Books::new(since_ns),
            own_namespace: file::own_namespace(),
            held: VecDeque::new(),
            asked: Instant::now(),
            sent: VecDeque::new(),
            watermark_ns: None,
        }
    }

    /// Reads until told to stop or nobody listens.
    pub(super) fn run(mut self, sink: &Sink, stop: &Stop) {
        // On Linux the priority is that of the thread.
        if let Err(error) = rustix::process::setpriority_process(None, self.config.niceness) {
            tracing::debug!(error = %error, "Files are read at the usual priority");
        }
        let patience = Patience::new(stop);
        while !stop.is_set() {
            if self.turn(sink, &patience, IDLE).is_err() {
                break;
            }
            self.remember(Instant::now().checked_sub(REMEMBER_AFTER));
        }
        // What still waits is read for a moment, then given up and counted.
        let last = self.turn(sink, &patience, Duration::ZERO);
        // A second one sends what the first one held.
        let last = last.and_then(|()| self.turn(sink, &patience, Duration::ZERO));
        if last.and_then(|()| self.end(sink)).is_err() {
            tracing::debug!("nobody listened to the last contents");
        }
        self.inbox.open(false);
        self.remember(Some(Instant::now()));
    }

    fn turn(
        &mut self,
        sink: &Sink,
        patience: &Patience<'_>,
        limit: Duration,
    ) -> Result<(), Box<Closed>> {
        let requests_max = if patience.stop.is_set() { usize::MAX } else { REQUESTS_MAX };
        let taken = self.inbox.receive(limit, requests_max);
        let (mut events, mut lost) = (self.owned(patience), taken.refused);
        for request in taken.requests {
            match self.answer(&request, patience) {
                Answer::Told(event) => {
                    let mut event = *event;
                    if self.find_owner(&request, &mut event) {
                        events.push((request, event));
                    } else {
                        self.held.push_back(Held { since: Instant::now(), request, event });
                    }
                }
                Answer::Known => {
                    self.count(&request, Outcome::Merged);
                    self.look_again(&request);
                }
                Answer::PutOff => self.inbox.put_back(request),
                // What was found running will be so again.
                Answer::Stopped if request.snapshot => {}
                Answer::Stopped => lost.push(request.time_ns),
            }
        }
        for (request, event) in &events {
            self.count(request, Outcome::Stored);
            self.note(request, event);
            self.look_again(request);
        }
        lost.iter().for_each(|time_ns| self.books.record(*time_ns, Outcome::Lost));
        // What is held is not sent yet.
        let answered_ns = taken.offered_ns.filter(|_| self.held.is_empty());
        self.watermark_ns = answered_ns.or(self.watermark_ns);
        if !events.is_empty() {
            let events = events.into_iter().map(|(_, event)| event).collect();
            self.send(sink, Events::Executable(events))?;
        }
        self.tell(sink, &lost, answered_ns.is_some())
    }

    /// Tells what was lost and what is counted; with `alive`, also that there is nothing to tell.
    fn tell(&mut self, sink: &Sink, lost: &[i64], alive: bool) -> Result<(), Box<Closed>> {
        let mut own: Vec<CollectorEvent> = gap(lost).map(CollectorEvent::Gap).into_iter().collect();
        let closed = self.watermark_ns.map(|watermark_ns| self.books.close(watermark_ns, false));
        own.extend(closed.into_iter().flatten().map(CollectorEvent::Ledger));
        if own.is_empty() && !alive {
            return Ok(());
        }
        self.send(sink, Events::Collector(own))
    }

    /// Those of the held events that need not be held any more.
    fn owned(&mut self, patience: &Patience<'_>) -> Vec<(Request, ExecutableEvent)> {
        let over = patience.stop.is_set();
        if self.held.is_empty() || (!over && self.asked.elapsed() < ASK_EVERY) {
            return Vec::new();
        }
        self.asked = Instant::now();
        let mut released = Vec::new();
        for mut held in std::mem::take(&mut self.held) {
            let is_over = over || self.held.len() >= HELD_MAX || held.since.elapsed() >= HELD;
            if self.find_owner(&held.request, &mut held.event) || is_over {
                released.push((held.request, held.event));
            } else {
                self.held.push_back(held);
            }
        }
        released
    }

    /// Adds the package to an event; false when that is to be asked for later.
    fn find_owner(&mut self, request: &Request, event: &mut ExecutableEvent) -> bool {
        let of_host =
            request.mount_namespace.is_none() || request.mount_namespace == self.own_namespace;
        // What is at the path of a file that could not be looked at may be any.
        let is_found = !matches!(event.status, HashStatus::Changed | HashStatus::Gone);
        let path = request.path.as_deref().filter(|_| of_host && is_found);
        match path.map(|path| self.memory.owner(path, event.digest.as_ref())) {
            Some(Ownership::Later) => return false,
            Some(Ownership::Of(package)) => event.package = Some(package),
            Some(Ownership::Nobody) | None => {}
        }
        true
    }

    fn count(&mut self, request: &Request, outcome: Outcome) {
        if !request.snapshot {
            self.books.record(request.time_ns, outcome);
        }
    }

    /// A script may hold something else at its next exec.
    fn look_again(&self, request: &Request) {
        if request.kind == ExecutableKind::Script {
            self.inbox.look_again(&request.met);
        }
    }

    /// Closes the books.
    fn end(&mut self, sink: &Sink) -> Result<(), Box<Closed>> {
        let Some(watermark_ns) = self.watermark_ns else { return Ok(()) };
        let entries = self.books.close(watermark_ns, true);
        self.send(
            sink,
            Events::Collector(entries.into_iter().map(CollectorEvent::Ledger).collect()),
        )
    }

    /// Says what a request comes to.
    fn answer(&mut self, request: &Request, patience: &Patience<'_>) -> Answer {
        if patience.is_over() {
            return Answer::Stopped;
        }
        if request.file.and_then(content).is_some_and(|content| self.memory.knows(&content)) {
            return Answer::Known;
        }
        let found = match file::find(request, self.own_namespace) {
            Ok(found) => found,
            Err(missing) => {
                let status = match missing {
                    Missing::Changed => HashStatus::Changed,
                    Missing::Gone => HashStatus::Gone,
                };
                return Answer::Told(Box::new(event(request, status)));
            }
        };
        if self.memory.knows(&found.content) {
            return Answer::Known;
        }
        let is_over = || patience.is_over();
        let is_pressed = || request.snapshot && self.inbox.is_pressed();
        let (status, reading) = self.read(&found, request, || is_over() || is_pressed());
        if status == HashStatus::Changed && is_over() {
            return Answer::Stopped;
        }
        if status == HashStatus::Changed && is_pressed() {
            return Answer::PutOff;
        }
        let (digest, script_content, masked) = match reading {
            Some(reading) if request.kind == ExecutableKind::Script => {
                script::recorded(reading, found.elsewhere, &self.config)
            }
            reading => (reading.map(|reading| reading.digest), None, false),
        };
        Answer::Told(Box::new(ExecutableEvent {
            content: request.file.and_then(content).or(Some(found.content)),
            mtime: Some(found.mtime),
            mode: Some(found.mode),
            owner_uid: Some(found.owner_uid),
            owner_gid: Some(found.owner_gid),
            digest,
            script_content,
            masked,
            ..event(request, status)
        }))
    }

    /// Reads a file. What is given up looks as if it had changed.
    fn read(
        &self,
        found: &Found,
        request: &Request,
        give_up: impl Fn() -> bool,
    ) -> (HashStatus, Option<Reading>) {
        if found.elsewhere && !self.config.read_network {
            return (HashStatus::NotRead, None);
        }
        if found.content.size > self.config.bytes_max {
            return (HashStatus::TooLarge, None);
        }
        let Ok(mut opened) = found.open() else { return (HashStatus::Unreadable, None) };
        if !found.is_same(&opened) {
            return (HashStatus::Changed, None);
        }
        let kept_max = if request.kind == ExecutableKind::Script { CONTENT_BYTES_MAX } else { 0 };
        match digest(&mut opened, found.content.size, kept_max, give_up) {
            Ok(Some(reading)) if reading.bytes == found.content.size && found.is_same(&opened) => {
                let status = match () {
                    () if found.is_deleted => HashStatus::HashedDeleted,
                    () if found.is_unproven => HashStatus::HashedUnproven,
                    () => HashStatus::Hashed,
                };
                (status, Some(reading))
            }
            Ok(_) => (HashStatus::Changed, None),
            Err(_) => (HashStatus::Unreadable, None),
        }
    }

    /// Notes what was told, to be remembered or tried again.
    fn note(&mut self, request: &Request, event: &ExecutableEvent) {
        match event.content.filter(|_| event.status.is_final()) {
            Some(content) => self.sent.push_back(Sent {
                at: Instant::now(),
                content,
                time_ns: event.time_ns,
                digest: event.digest.clone(),
            }),
            None => self.inbox.try_again(&request.met),
        }
    }

    /// Remembers what was sent before an instant.
    fn remember(&mut self, before: Option<Instant>) {
        while let Some(sent) = self.sent.front()
            && (before.is_some_and(|before| sent.at <= before)
                || self.sent.len() > UNREMEMBERED_MAX)
        {
            let done = self.memory.remember(&sent.content, sent.time_ns, sent.digest.as_ref());
            if !done && self.sent.len() <= UNREMEMBERED_MAX {
                break;
            }
            self.sent.pop_front();
        }
    }

    fn send(&self, sink: &Sink, events: Events) -> Result<(), Box<Closed>> {
        let batch = Batch {
            source: SOURCE,
            watermark_ns: self.watermark_ns,
            clock_offset_ns: self.inbox.clock_offset_ns(),
            events,
        };
        sink.send(batch).map_err(Box::new)
    }
}

/// The event of a request before its file was looked at.
fn event(request: &Request, status: HashStatus) -> ExecutableEvent {
    let file = request.file;
    ExecutableEvent {
        time_ns: request.time_ns,
        process: request.process,
        uid: request.uid,
        kind: request.kind,
        path: request.path.clone(),
        interpreter: request.interpreter.clone(),
        snapshot: request.snapshot,
        content: file.and_then(content),
        mtime: file.and_then(|file| file.mtime),
        mode: file.map(|file| file.mode),
        owner_uid: file.map(|file| file.owner_uid),
        owner_gid: file.map(|file| file.owner_gid),
        status,
        digest: None,
        package: None,
        script_content: None,
        masked: false,
    }
}

/// The content that an exec tells of, when it tells enough.
fn content(file: ProgramFile) -> Option<ContentKey> {
    let ProgramFile { device, inode, .. } = file;
    Some(ContentKey { device, inode, ctime_ns: file.ctime_ns?, size: file.size? })
}

/// The gap of what was not read; `None` when that is nothing.
fn gap(lost: &[i64]) -> Option<Gap> {
    let (first, last) = (lost.iter().min()?, lost.iter().max()?);
    Some(Gap {
        time_ns: *first,
        end_ns: *last,
        source: SOURCE.to_owned(),
        reason: GapReason::QueueFull,
        lost: Some(lost.len() as u64),
        detail: Some("executed files that could not be read in time".to_owned()),
    })
}
