//! The queue between those who tell of execs and the one who reads the files.
//!
//! Every exec is offered on the writer's thread, so an exec of content that was met before costs a
//! look into a map. What is new waits in a bounded queue; what does not fit is counted, and offered
//! again at the next exec.
//!
//! **Invariants:** at most `queue_max` wait, and as many of what was found running; at most [`SEEN_MAX`] contents are remembered; offering
//! never waits for the one who reads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::events::{
    Action, ActionEvent, ExecEvent, ExecutableKind, ImageAction, ProcessEvent, ProcessKey,
    ProgramFile,
};
use crate::publish::{Batch, Events};

/// Contents that are remembered as met, some 6 MB. When there are more, all are forgotten: the
/// longer memory then tells which are known.
const SEEN_MAX: usize = 65_536;

/// The bits of a mode that say what kind of file it is, and those of a regular one.
const FORMAT: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// How often a content that could not be read is tried.
const TRIES_MAX: u8 = 3;

/// Something that was executed and is to be read.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) time_ns: i64,
    pub(super) process: ProcessKey,
    pub(super) uid: u32,
    pub(super) snapshot: bool,
    pub(super) kind: ExecutableKind,
    /// As the host sees it. Of a script, as given to exec, behind the root or the working directory of
    /// the process, from the root of the mount namespace.
    pub(super) path: Option<String>,
    /// From the root of the mount namespace, where that is another path.
    pub(super) namespace_path: Option<String>,
    /// Of a script, how much of `path` is the root of the process: what its links start from.
    pub(super) root_len: usize,
    pub(super) interpreter: Option<String>,
    /// Inode of the mount namespace.
    pub(super) mount_namespace: Option<u32>,
    /// The file as it was at exec; `None` for a script.
    pub(super) file: Option<ProgramFile>,
    pub(super) met: Met,
}

/// By what a content is known before it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Met {
    /// Of a program or an image: device, inode, change time in nanoseconds, and size. A source that knows no more than seconds
    /// tells those.
    Program(u64, u64, Option<i64>, Option<u64>),
    /// Mount namespace and path. Whether its content is another one than before, only a look tells.
    Script(Option<u32>, String),
}

/// What the one who reads finds.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) requests: Vec<Request>,
    pub(super) refused: Vec<i64>,
    /// Everything executed before was offered.
    pub(super) offered_ns: Option<i64>,
}

/// A content that was met.
#[derive(Clone, Copy, Debug)]
struct Seen {
    tries: u8,
    /// Whether to take it again.
    again: bool,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Request>,
    /// What was found running: it waits until nothing else does, since it does not go away soon.
    running: VecDeque<Request>,
    seen: HashMap<Met, Seen>,
    /// Times of what did not fit.
    refused: Vec<i64>,
    offered_ns: Option<i64>,
    clock_offset_ns: i64,
    /// Whether somebody reads.
    open: bool,
}

impl State {
    /// Whether a content is new, or to be looked at again.
    fn wants(&self, met: &Met) -> bool {
        self.seen.get(met).is_none_or(|seen| seen.again)
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.refused.is_empty()
    }
}

/// The queue, shared by both sides.
#[derive(Debug)]
pub struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
    queue_max: usize,
}

impl Inbox {
    /// A queue that holds at most `queue_max`. Nothing is taken until somebody reads.
    #[must_use]
    pub fn new(queue_max: usize) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), queue_max }
    }

    /// Offers what a batch says was executed.
    pub fn offer(&self, batch: &Batch) {
        if !matches!(batch.events, Events::Process(_) | Events::Action(_)) {
            return;
        }
        let mut state = self.state();
        if !state.open {
            return;
        }
        state.clock_offset_ns = batch.clock_offset_ns;
        match &batch.events {
            Events::Process(events) => self.offer_programs(&mut state, events),
            Events::Action(events) => self.offer_images(&mut state, events),
            Events::Collector(_) | Events::File(_) | Events::Executable(_) | Events::Summary(_) => {
            }
        }
        state.offered_ns = state.offered_ns.max(batch.watermark_ns);
        let is_empty = state.is_empty();
        drop(state);
        if !is_empty {
            self.arrived.notify_one();
        }
    }

    fn offer_programs(&self, state: &mut State, events: &[ProcessEvent]) {
        for event in events {
            let ProcessEvent::Exec(exec) = event else { continue };
            for met in [program(exec), script(exec)].into_iter().flatten() {
                if state.wants(&met) {
                    self.take(state, request(exec, met));
                }
            }
        }
    }

    fn offer_images(&self, state: &mut State, events: &[ActionEvent]) {
        for event in events {
            let Action::Image(image) = &event.action else { continue };
            let met = content(&image.file);
            // What is no regular file has no content to be known by.
            if image.file.mode & FORMAT == REGULAR && state.wants(&met) {
                self.take(state, image_request(event, image, met));
            }
        }
    }

    fn take(&self, state: &mut State, request: Request) {
        let queue = if request.snapshot { &mut state.running } else { &mut state.waiting };
        if queue.len() >= self.queue_max {
            // As many as the queue holds are told apart by their times.
            if !request.snapshot && state.refused.len() < self.queue_max {
                state.refused.push(request.time_ns);
            }
            return;
        }
        if state.seen.len() >= SEEN_MAX {
            state.seen.clear();
        }
        let known = state.seen.get(&request.met);
        let tries = known.map_or(0, |seen| seen.tries).saturating_add(1);
        state.seen.insert(request.met.clone(), Seen { tries, again: false });
        queue.push_back(request);
    }

    /// Opens or closes the queue: without a reader nothing is taken.
    pub(super) fn open(&self, open: bool) {
        let mut state = self.state();
        *state = State { open, ..State::default() };
    }

    /// Waits for something, for `limit` at most, and takes up to `requests_max` of it.
    pub(super) fn receive(&self, limit: Duration, requests_max: usize) -> Taken {
        let is_empty = |state: &mut State| state.is_empty();
        let waited = self.arrived.wait_timeout_while(self.state(), limit, is_empty);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let count = state.waiting.len().min(requests_max);
        let mut requests: Vec<Request> = state.waiting.drain(..count).collect();
        if requests.is_empty() {
            requests.extend(state.running.pop_front());
        }
        Taken {
            requests,
            refused: std::mem::take(&mut state.refused),
            // What waits is not done yet.
            offered_ns: state.offered_ns.filter(|_| state.waiting.is_empty()),
        }
    }

    /// Puts something that was found running back, for others.
    pub(super) fn put_back(&self, request: Request) {
        self.state().running.push_back(request);
    }

    /// Whether something waits that may go away soon.
    pub(super) fn is_pressed(&self) -> bool {
        !self.state().waiting.is_empty()
    }

    /// Lets a content that could not be read be offered again, a few times.
    pub(super) fn try_again(&self, met: &Met) {
        if let Some(seen) = self.state().seen.get_mut(met) {
            seen.again = seen.tries < TRIES_MAX;
        }
    }

    /// Lets it be offered again at every exec.
    pub(super) fn look_again(&self, met: &Met) {
        if let Some(seen) = self.state().seen.get_mut(met) {
            seen.again = true;
        }
    }

    /// Boot-time nanoseconds plus this is real time, as was last said.
    pub(super) fn clock_offset_ns(&self) -> i64 {
        self.state().clock_offset_ns
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The program that was executed.
fn program(exec: &ExecEvent) -> Option<Met> {
    exec.file.as_ref().filter(|_| !exec.kernel_thread).map(content)
}

/// What a file is known by.
fn content(file: &ProgramFile) -> Met {
    Met::Program(file.device, file.inode, file.ctime_ns.or(file.ctime), file.size)
}

/// The request for a file that was mapped.
fn image_request(event: &ActionEvent, image: &ImageAction, met: Met) -> Request {
    Request {
        time_ns: event.time_ns,
        process: event.actor,
        uid: event.uid,
        snapshot: false,
        kind: ExecutableKind::Image,
        path: image.path.clone(),
        namespace_path: None,
        root_len: 0,
        interpreter: None,
        mount_namespace: image.mount_namespace,
        file: Some(image.file),
        met,
    }
}

/// The script that it was executed for.
fn script(exec: &ExecEvent) -> Option<Met> {
    let path = absolute(root(exec), exec.cwd.as_deref(), exec.script_path.as_deref()?)?;
    Some(Met::Script(exec.namespaces.map(|namespaces| namespaces.mount), path))
}

/// The root of the process, from that of its mount namespace, as it was at exec: what the program's
/// path has there in front of what it is to the process. Empty when both are the same.
fn root(exec: &ExecEvent) -> &str {
    let path = exec.namespace_path.as_deref().or(exec.path.as_deref()).unwrap_or_default();
    let below = exec.container_path.as_deref().and_then(|below| path.strip_suffix(below));
    below.unwrap_or_default()
}

/// The request for what an exec executed.
fn request(exec: &ExecEvent, met: Met) -> Request {
    let (kind, path, interpreter, file) = match &met {
        Met::Program(..) => (ExecutableKind::Program, exec.path.clone(), None, exec.file),
        Met::Script(_, path) => {
            (ExecutableKind::Script, Some(path.clone()), exec.path.clone(), None)
        }
    };
    let root = root(exec);
    let is_below =
        |path: &String| path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    let root_len = if path.as_ref().is_some_and(is_below) { root.len() } else { 0 };
    Request {
        time_ns: exec.time_ns,
        process: exec.process,
        uid: exec.credentials.uid,
        snapshot: exec.snapshot,
        kind,
        namespace_path: exec.namespace_path.clone().filter(|_| kind == ExecutableKind::Program),
        path,
        root_len,
        interpreter,
        mount_namespace: exec.namespaces.map(|namespaces| namespaces.mount),
        file,
        met,
    }
}

/// A script's path, joined to the root of the process or, when it is relative, to the working
/// directory.
fn absolute(root: &str, cwd: Option<&str>, script: &str) -> Option<String> {
    if script.starts_with('/') {
        return Some(format!("{root}{script}"));
    }
    let script = script.strip_prefix("./").unwrap_or(script);
    let cwd = cwd.filter(|cwd| cwd.starts_with('/'))?;
    Some(format!("{}/{script}", cwd.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Credentials, Namespaces};

    fn exec(time_ns: i64, inode: u64, script: Option<&str>) -> ProcessEvent {
        ProcessEvent::Exec(Box::new(ExecEvent {
            time_ns,
            process: ProcessKey { pid: 5, start_ns: 6 },
            credentials: Credentials { uid: 7, ..Credentials::default() },
            namespaces: Some(Namespaces { mount: 8, ..Namespaces::default() }),
            path: Some("/bin/program".to_owned()),
            script_path: script.map(str::to_owned),
            cwd: Some("/srv".to_owned()),
            file: Some(ProgramFile { device: 1, inode, ..ProgramFile::default() }),
            ..ExecEvent::default()
        }))
    }

    fn offer(inbox: &Inbox, events: &[ProcessEvent], watermark_ns: Option<i64>) {
        let events = Events::Process(events.to_vec());
        inbox.offer(&Batch { source: "eye", watermark_ns, clock_offset_ns: 3, events });
    }

    fn take(inbox: &Inbox) -> Taken {
        inbox.receive(Duration::ZERO, 100)
    }

    #[test]
    fn a_content_is_taken_once_until_it_is_to_be_tried_again() {
        let inbox = Inbox::new(10);
        offer(&inbox, &[exec(1, 1, None)], None);
        assert!(take(&inbox).requests.is_empty(), "nobody reads");
        inbox.open(true);
        offer(&inbox, &[exec(1, 1, None), exec(2, 1, None), exec(3, 2, None)], Some(9));
        let taken = take(&inbox);
        let times: Vec<i64> = taken.requests.iter().map(|request| request.time_ns).collect();
        assert_eq!((times, taken.offered_ns), (vec![1, 3], Some(9)));
        for time_ns in 4..9 {
            inbox.try_again(&Met::Program(1, 1, None, None));
            offer(&inbox, &[exec(time_ns, 1, None)], None);
            let count = take(&inbox).requests.len();
            assert_eq!(count, usize::from(time_ns < 6), "tried three times in all");
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_and_comes_again() {
        let inbox = Inbox::new(2);
        inbox.open(true);
        let all: Vec<ProcessEvent> = (0..5).map(|at| exec(at, 10 + at as u64, None)).collect();
        offer(&inbox, &all, Some(5));
        let first = inbox.receive(Duration::ZERO, 1);
        assert_eq!((first.requests.len(), first.refused), (1, vec![2, 3]));
        assert_eq!(first.offered_ns, None, "one still waits");
        assert_eq!(take(&inbox).offered_ns, Some(5));
        offer(&inbox, &all, None);
        assert_eq!(take(&inbox).requests.len(), 2);
    }

    #[test]
    fn a_mapped_file_is_taken_unless_it_was_executed_before() {
        let image = |inode, mode| ActionEvent {
            time_ns: 5,
            actor: ProcessKey { pid: 5, start_ns: 6 },
            tid: 5,
            uid: 7,
            path: None,
            action: Action::Image(Box::new(ImageAction {
                path: Some("/lib/object.so".to_owned()),
                path_truncated: false,
                file: ProgramFile { device: 1, inode, mode, ..ProgramFile::default() },
                mount_namespace: Some(8),
                writable: false,
            })),
        };
        let inbox = Inbox::new(10);
        inbox.open(true);
        offer(&inbox, &[exec(1, 1, None)], None);
        let events = vec![image(1, 0o100_755), image(2, 0o100_644), image(3, 0o020_666)];
        let events = Events::Action(events);
        inbox.offer(&Batch { source: "eye", watermark_ns: None, clock_offset_ns: 3, events });
        let requests = take(&inbox).requests;
        let [_, object] = requests.as_slice() else { panic!("{requests:?}") };
        assert_eq!(
            (object.kind, object.met.clone()),
            (ExecutableKind::Image, Met::Program(1, 2, None, None))
        );
        assert_eq!(
            (object.path.as_deref(), object.mount_namespace),
            (Some("/lib/object.so"), Some(8))
        );
    }

    #[test]
    fn a_script_is_a_request_of_its_own() {
        let inbox = Inbox::new(10);
        inbox.open(true);
        offer(&inbox, &[exec(1, 1, Some("./run.sh"))], None);
        let requests = take(&inbox).requests;
        let kinds: Vec<_> = requests.iter().map(|request| request.kind).collect();
        assert_eq!(kinds, [ExecutableKind::Program, ExecutableKind::Script]);
        let script = requests.last().unwrap();
        assert_eq!(script.path.as_deref(), Some("/srv/run.sh"));
        assert_eq!(script.interpreter.as_deref(), Some("/bin/program"));
        inbox.look_again(&script.met);
        offer(&inbox, &[exec(2, 1, Some("/srv/run.sh"))], None);
        assert_eq!(take(&inbox).requests.len(), 1, "it may be another content");
        assert_eq!(absolute("", None, "run.sh"), None);
        assert_eq!(absolute("", Some("/"), "run.sh").as_deref(), Some("/run.sh"));
    }

    #[test]
    fn a_script_is_named_from_the_root_of_its_process() {
        let jailed = |script: &str, cwd: &str| {
            let exec = ExecEvent {
                path: Some("/srv/jail/bin/sh".to_owned()),
                container_path: Some("/bin/sh".to_owned()),
                script_path: Some(script.to_owned()),
                cwd: Some(cwd.to_owned()),
                ..ExecEvent::default()
            };
            let request = request(&exec, super::script(&exec).unwrap());
            (request.path.unwrap(), request.root_len)
        };
        let expected = |path: &str, root_len| (path.to_owned(), root_len);
        assert_eq!(jailed("/x.sh", "/"), expected("/srv/jail/x.sh", 9));
        assert_eq!(jailed("x.sh", "/srv/jail/tmp"), expected("/srv/jail/tmp/x.sh", 9));
        assert_eq!(jailed("x.sh", "/srv/jailed"), expected("/srv/jailed/x.sh", 0));
        let contained = ExecEvent {
            path: Some("/var/lib/containers/1/bin/sh".to_owned()),
            namespace_path: Some("/bin/sh".to_owned()),
            container_path: Some("/bin/sh".to_owned()),
            ..ExecEvent::default()
        };
        assert_eq!(root(&contained), "", "its root is that of its mount namespace");
    }
}
