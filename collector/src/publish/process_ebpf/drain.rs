//! Reading the rings: in which order to publish, what to book.
//!
//! When to look is the business of [`Sleep`]. A look reads the boot clock, drains the rings to where
//! the kernel writes, and releases everything older than the clock's reading less [`SETTLE_NS`], in the
//! order of the records' times. A record that comes later than that keeps its own time and is counted as
//! late.

use super::audit::{self, Audit};
use super::decode::{Decoded, Record, decode, real_ns};
use super::host_paths::HostPaths;
use super::in_exec::InExec;
use super::ledger::{Ledger, Undecodable};
use super::load::Attached;
use super::looks::Looks;
use super::modules::Modules;
use super::parts::Parts;
use super::sleep::{Sleep, nap};
use super::spare::Skips;
use super::{SOURCE, clock, proc_snapshot};
use crate::events::{Action, ActionEvent, CollectorEvent, ExecEvent, Gap, GapReason, ProcessEvent};
use crate::host::process_cache::ProcessCache;
use crate::publish::gathered::Gathered;
use crate::publish::privacy::Privacy;
use crate::publish::rate_limit::RateLimit;
use crate::publish::{BATCH_EVENTS_MAX, Batch, Closed, Events, PublishError, Sink, Stop};

use super::clock::Clock;

/// A program may take this long from its clock reading to the ring, in nanoseconds.
const SETTLE_NS: u64 = 1_000_000;
/// How often clocks, losses and books are looked at.
const CHORES_NS: u64 = 1_000_000_000;
/// A reader away for longer than this has stalled.
const STALL_NS: u64 = 1_000_000_000;
/// Records read before some are released, so that a storm does not fill memory.
const DRAIN_MAX: usize = 65_536;
/// Bytes of events read before some are released, likewise. With those of the last millisecond,
/// which are kept back, and the batches of [`crate::publish::CHANNEL_BATCHES_MAX`], this is what
/// the way from the ring to the writer takes: two times 8 MiB.
const DRAIN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of pieces read at once: twice what the ring holds by default, and so all that was there.
const BULK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How often the rings are read again at the end, a nap apart, while more was seen than came: for 1 s.
const END_TRIES_MAX: u32 = 50;

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO` in include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: u32 = 0xefff_fffc;

/// The reader of the rings.
pub(crate) struct Reader {
    attached: Attached,
    clock: Clock,
    privacy: Privacy,
    parts: Parts,
    limit: RateLimit,
    own_pid: u32,
    cache: ProcessCache,
    host_paths: HostPaths,
    looks: Looks,
    in_exec: InExec,
    modules: Modules,
    ledger: Ledger,
    undecodable: Undecodable,
    /// Read and not yet released.
    pending: Vec<Record>,
    /// Everything before this boot time was released.
    released_ns: u64,
    chores_ns: u64,
    /// When the ring was last read to its end.
    read_ns: u64,
    /// Longest absence since the last chores, in nanoseconds.
    away_ns: u64,
    /// Kernel losses at the last chores.
    lost: u64,
    skips: Skips,
    audit: Audit,
    /// When all links and programs were last there.
    there_ns: u64,
    /// Why it cannot go on: a probe is gone, or does not work any more.
    broken: Option<String>,
    sleep: Sleep,
}

impl Reader {
    pub(crate) fn new(
        attached: Attached,
        clock: Clock,
        privacy: Privacy,
        audit: Audit,
        limit: RateLimit,
    ) -> Self {
        let since_ns = attached.since_ns;
        let mut skips = Skips::default();
        skips.read(attached.skipped_lives(), false);
        nap();
        skips.read(attached.skipped_lives(), false);
        let mut skipped = attached.skipped();
        skips.put_into(&mut skipped);
        let ledger = Ledger::new(SOURCE, attached.counted_ns, skipped);
        Self {
            attached,
            clock,
            privacy,
            parts: Parts::default(),
            limit,
            own_pid: std::process::id(),
            cache: ProcessCache::default(),
            host_paths: HostPaths::new(),
            looks: Looks::new(since_ns),
            in_exec: InExec::default(),
            modules: Modules::default(),
            ledger,
            undecodable: Undecodable::default(),
            pending: Vec::new(),
            released_ns: 0,
            chores_ns: 0,
            read_ns: since_ns,
            away_ns: 0,
            lost: 0,
            skips,
            audit,
            there_ns: since_ns,
            broken: None,
            sleep: Sleep::default(),
        }
    }

    /// Reads until told to stop or nobody listens. A probe that is gone ends it, too, with all that was
    /// read: it is attached anew.
    pub(crate) fn run(mut self, sink: &Sink, stop: &Stop) -> Result<(), PublishError> {
        while !stop.is_set() && self.broken.is_none() {
            self.sleep.until_due(&self.attached)?;
            if let Some(Closed { .. }) = self.turn(sink)?.err() {
                return Ok(());
            }
        }
        if self.end(sink)?.is_err() {
            tracing::debug!("nobody listened to the last events");
        }
        self.broken.map_or(Ok(()), |why| Err(anyhow::Error::msg(why)))
    }

    /// One round: read, release, and the chores when they are due.
    fn turn(&mut self, sink: &Sink) -> Result<Result<(), Closed>, PublishError> {
        let now_ns = clock::boot_ns();
        self.away_ns = self.away_ns.max(now_ns.saturating_sub(self.read_ns));
        let limit_ns = self.drain(now_ns).unwrap_or(now_ns).saturating_sub(SETTLE_NS);
        self.read_ns = clock::boot_ns();
        if let Err(closed) = self.release(sink, limit_ns, limit_ns) {
            return Ok(Err(closed));
        }
        if now_ns.saturating_sub(self.chores_ns) < CHORES_NS {
            return Ok(Ok(()));
        }
        self.chores_ns = now_ns;
        self.chores(sink, limit_ns, None)
    }

    /// Detaches the programs, releases everything and closes every book. The watermark ends where
    /// the first program was detached: what was caught after that is stored, but is not all.
    fn end(&mut self, sink: &Sink) -> Result<Result<(), Closed>, PublishError> {
        self.audit.stop();
        let detach_ns = clock::boot_ns();
        self.attached.detach();
        // Nothing is added to the ring once the programs still at work have ended.
        nap();
        let ended_ns = clock::boot_ns();
        for _ in 0..END_TRIES_MAX {
            while let Some(latest_ns) = self.drain(ended_ns) {
                let limit_ns = latest_ns.saturating_sub(SETTLE_NS);
                if let Err(closed) = self.release(sink, limit_ns, limit_ns.min(detach_ns)) {
                    return Ok(Err(closed));
                }
            }
            if let Err(closed) = self.release(sink, u64::MAX, detach_ns) {
                return Ok(Err(closed));
            }
            // A program that was held up while it wrote its record hides what lies behind that.
            let (counts, left_out) = self.attached.counts();
            self.ledger.take_in(&left_out);
            if self.ledger.is_balanced(&counts) {
                break;
            }
            nap();
        }
        tracing::debug!(evicted = self.cache.evicted(), "process cache at the end");
        self.chores(sink, detach_ns, Some(ended_ns))
    }

    /// Reads the rings to their ends: `None`; or as much as fits, and says up to which boot time.
    fn drain(&mut self, now_ns: u64) -> Option<u64> {
        let known = self.pending.len();
        let latest_ns = self.drain_records(now_ns);
        let found = self.pending.len() > known;
        self.sleep.looked(found, &self.attached.reader_awake);
        // After the records, whose pieces were sent before them.
        let mut bytes = 0;
        while bytes < BULK_BYTES_MAX
            && let Some(item) = self.attached.bulk.next()
        {
            bytes += item.len();
            if let Err(error) = self.parts.add(&item) {
                self.undecodable.add(now_ns, error.to_string());
            }
        }
        for record in self.pending.iter_mut().skip(known) {
            if let Decoded::Life(ProcessEvent::Exec(exec)) = &mut record.event {
                self.parts.complete(exec, record.boot_ns);
                self.privacy.apply(exec);
                if let Some(within) = record.within_mount {
                    self.host_paths.complete(exec, within);
                }
            }
        }
        latest_ns
    }

    /// Reads the rings of records, each to its end; `None` when that was reached of both.
    fn drain_records(&mut self, now_ns: u64) -> Option<u64> {
        let offset_ns = self.clock.offset_ns();
        let rings = [&mut self.attached.ring, &mut self.attached.acts];
        let ends = rings.map(|ring| {
            let mut latest_ns = 0;
            let mut bytes = 0;
            for _ in 0..DRAIN_MAX {
                if bytes >= DRAIN_BYTES_MAX {
                    break;
                }
                let item = ring.next()?;
                match decode(&item, offset_ns) {
                    Ok(record) => {
                        latest_ns = record.boot_ns.max(latest_ns);
                        bytes += record.event.bytes();
                        self.pending.push(record);
                    }
                    Err(error) => {
                        self.ledger.undecodable();
                        self.undecodable.add(now_ns, error.to_string());
                    }
                }
            }
            Some(latest_ns.min(now_ns))
        });
        // What both are read to.
        ends.into_iter().flatten().min()
    }

    /// Publishes what is older than `limit_ns`, and says that all before `watermark_ns` is.
    fn release(&mut self, sink: &Sink, limit_ns: u64, watermark_ns: u64) -> Result<(), Closed> {
        self.pending.sort_by_key(|record| record.boot_ns);
        let ready = self.pending.partition_point(|record| record.boot_ns < limit_ns);
        let records: Vec<Record> = self.pending.drain(..ready).collect();
        // What a storm took is given back.
        self.pending.shrink_to(BATCH_EVENTS_MAX);
        let mut lives: Vec<ProcessEvent> = Vec::new();
        let mut acts: Vec<ActionEvent> = Vec::new();
        for record in records {
            if let Some(found) = self.in_exec.followed_by(&record.event) {
                lives.push(self.found(found));
            }
            match self.publishable(record) {
                Some(Decoded::Life(event)) => lives.push(event),
                Some(Decoded::Act(event, _)) => acts.push(event),
                Some(Decoded::ModuleFile(..) | Decoded::LeftOut(_)) | None => {}
            }
        }
        while let Some(found) = self.in_exec.due(limit_ns) {
            lives.push(self.found(found));
        }
        let mut events = Gathered::default();
        for mut event in lives {
            match &mut event {
                // What ran before is found in no order: the parent may have come after its child.
                ProcessEvent::Exec(exec) if exec.snapshot => self.cache.add_parent(exec),
                ProcessEvent::Exec(_) | ProcessEvent::Fork(_) | ProcessEvent::Exit(_) => {}
            }
            if let Some(full) = events.push(event) {
                self.send(sink, Events::Process(full), None)?;
            }
        }
        while !acts.is_empty() {
            let rest = acts.split_off(acts.len().min(BATCH_EVENTS_MAX));
            self.send(sink, Events::Action(std::mem::replace(&mut acts, rest)), None)?;
        }
        self.released_ns = self.released_ns.max(limit_ns);
        match events.rest() {
            Some(rest) => self.send(sink, Events::Process(rest), Some(watermark_ns)),
            None => Ok(()),
        }
    }

    /// Books a record and completes its event; `None` for a snapshot of what is known already, and for
    /// what is merged with others.
    fn publishable(&mut self, record: Record) -> Option<Decoded> {
        let is_snapshot = record.is_snapshot();
        if self.audit.takes(&record) {
            if !is_snapshot {
                self.ledger.filtered(record.class, record.boot_ns);
            }
            return None;
        }
        let Record { boot_ns, class, event, within_mount: _, in_exec } = record;
        let mut event = match event {
            Decoded::Life(ProcessEvent::Exec(exec)) if is_snapshot => {
                return self.snapshot(exec, boot_ns, in_exec).map(Decoded::Life);
            }
            event => event,
        };
        if self.is_own_program(&event) {
            self.ledger.filtered(class, boot_ns);
            return None;
        }
        if let Decoded::ModuleFile(process, tid, file) = event {
            self.modules.begins(process, tid, file);
            return None;
        }
        match &mut event {
            Decoded::ModuleFile(..) => {}
            Decoded::LeftOut(process) => {
                self.cache.forget(*process);
                self.limit.forget(*process);
                return None;
            }
            Decoded::Act(act, namespace) => {
                self.name_processes(act, *namespace);
                let (actor, tid) = (act.actor, act.tid);
                if let Action::Module(module) = &mut act.action
                    && module.loaded
                {
                    module.file = self.modules.loaded(actor, tid);
                }
            }
            Decoded::Life(ProcessEvent::Exec(exec)) => self.cache.started(exec),
            Decoded::Life(ProcessEvent::Fork(fork)) => {
                self.cache.forked(fork);
            }
            Decoded::Life(ProcessEvent::Exit(exit)) => {
                exit.path = self.cache.ended(exit.process, boot_ns);
            }
        }
        if let Decoded::Life(life) = &event
            && self.limit.merges(life)
        {
            self.ledger.merged(class, boot_ns);
            return None;
        }
        self.ledger.stored(class, boot_ns, boot_ns < self.released_ns);
        Some(event)
    }

    /// Takes in what a look found, and gives what is to be told of.
    fn snapshot(
        &mut self,
        exec: Box<ExecEvent>,
        boot_ns: u64,
        in_exec: bool,
    ) -> Option<ProcessEvent> {
        self.looks.saw(exec.process);
        if self.cache.contains(exec.process) && !self.has_lost_exec(&exec) {
            self.cache.complete(&exec);
            return None;
        }
        let found = self.in_exec.found(exec, boot_ns, in_exec)?;
        Some(self.found(found))
    }

    /// What was found running, and was unknown.
    fn found(&mut self, mut exec: Box<ExecEvent>) -> ProcessEvent {
        proc_snapshot::add_arguments(&mut exec);
        self.privacy.apply(&mut exec);
        self.cache.started(&mut exec);
        let event = ProcessEvent::Exec(exec);
        // It is never merged itself, but what comes of the process may be.
        let _is_merged = self.limit.merges(&event);
        event
    }

    /// Whether a running process runs another program than is known of it: its exec was lost.
    fn has_lost_exec(&self, exec: &ExecEvent) -> bool {
        let known = self.cache.path(exec.process);
        // The host's mount may have come or gone meanwhile: then only the namespace's path is the same.
        let inner = exec.namespace_path.as_deref();
        let is_same = |known: &str, path: &str| {
            known == path || inner == Some(known) || (inner.is_none() && known.ends_with(path))
        };
        known.is_some_and(|known| exec.path.as_deref().is_some_and(|path| !is_same(&known, path)))
    }

    /// Has all processes looked at when that is due.
    fn look(&mut self, now_ns: u64) {
        if !self.looks.is_due(now_ns) {
            return;
        }
        let Some(iterator) = &mut self.attached.iterator else {
            return;
        };
        let written = iterator.run();
        if let Err(error) = &written {
            tracing::warn!(error, "Not all processes could be looked at; trying again");
        }
        self.looks.began(now_ns, written.is_ok());
    }

    /// Whether the collector itself loads a program: it does when it starts.
    fn is_own_program(&self, event: &Decoded) -> bool {
        matches!(event, Decoded::Act(act, _)
            if act.actor.pid == self.own_pid && matches!(act.action, Action::Bpf(_)))
    }

    /// Says what the actor and the target of an act run. A target that the kernel did not tell is known
    /// by its id where the actor names processes as the collector does.
    fn name_processes(&self, act: &mut ActionEvent, namespace: u32) {
        act.path = self.cache.path(act.actor);
        let by_id = match &act.action {
            Action::Access(access) if namespace == INITIAL_PID_NAMESPACE => {
                self.cache.by_pid(access.target_id)
            }
            _ => None,
        };
        if let Some(target) = act.action.target_mut() {
            target.process = target.process.or(by_id);
            target.path = target.process.and_then(|process| self.cache.path(process));
        }
    }

    /// Clocks, losses, books, and a sign of life. After `ended_ns`, if there is such a time, nothing
    /// was counted: all books up to there are closed.
    fn chores(
        &mut self,
        sink: &Sink,
        watermark_ns: u64,
        ended_ns: Option<u64>,
    ) -> Result<Result<(), Closed>, PublishError> {
        let (counts, left_out) = self.attached.counts();
        self.ledger.take_in(&left_out);
        let offset_ns = self.clock.offset_ns();
        let now_ns = clock::boot_ns();
        let mut events = self.stall(&counts, now_ns);
        let detail = (self.away_ns > STALL_NS)
            .then(|| format!("the ring was not read for {} ms", self.away_ns / 1_000_000));
        self.away_ns = 0;
        let was_skipped = self.skips.read(self.attached.skipped_lives(), ended_ns.is_some());
        if was_skipped || self.ledger.has_losses(&counts) {
            self.looks.after_loss(now_ns);
        }
        if ended_ns.is_none() {
            self.look(now_ns);
            events.extend(self.audit(&counts, now_ns));
        }
        let offset = |boot_ns| real_ns(boot_ns, offset_ns);
        let mut ends = self.looks.finish(self.released_ns, &mut self.cache, offset);
        // What nothing else is told of needs no end.
        ends.retain(|end| self.limit.tells_end(end));
        if !ends.is_empty()
            && let Err(closed) = self.send(sink, Events::Process(ends), None)
        {
            return Ok(Err(closed));
        }
        let over_ns = if ended_ns.is_some() { i64::MAX } else { offset(self.released_ns) };
        for summaries in self.limit.take(over_ns) {
            if let Err(closed) = self.send(sink, Events::Summary(summaries), None) {
                return Ok(Err(closed));
            }
        }
        events.extend(self.ledger.losses(&counts, now_ns, offset_ns, detail.as_deref()));
        events.extend(self.undecodable.take(SOURCE, now_ns, offset_ns));
        let all = ended_ns.is_some();
        if all || self.ledger.is_due(watermark_ns) {
            let mut skipped = self.attached.skipped();
            self.skips.put_into(&mut skipped);
            let until_ns = ended_ns.unwrap_or(watermark_ns);
            events.extend(self.ledger.close(&counts, skipped, until_ns, offset_ns, all));
        }
        self.cache.expire(watermark_ns);
        self.parts.expire(now_ns);
        let sent = if events.is_empty() {
            self.send(sink, Events::Process(Vec::new()), Some(watermark_ns))
        } else {
            self.send(sink, Events::Collector(events), Some(watermark_ns))
        };
        self.clock.refresh();
        Ok(sent)
    }

    /// Sees whether all probes are still there, and whether they work.
    fn audit(&mut self, counts: &super::ledger::Counts, now_ns: u64) -> Vec<CollectorEvent> {
        let offset_ns = self.clock.offset_ns();
        let lost = counts.map(|of_class| of_class.iter().map(|[_, lost]| lost).sum());
        let mut events = self.audit.turn(now_ns, self.released_ns, &lost, offset_ns);
        self.broken = self.audit.broken().map(|class| {
            format!("the {class} probe is attached and does not fire any more: attaching it anew")
        });
        let gone = self.attached.gone();
        if gone.is_empty() {
            self.there_ns = now_ns;
        }
        for (class, what) in gone {
            events.push(audit::gap(class, &what, (self.there_ns, now_ns), offset_ns));
            self.broken = Some(format!("{what}: attaching it anew"));
        }
        events
    }

    /// A gap when the reader was away and records were lost meanwhile.
    fn stall(&mut self, counts: &super::ledger::Counts, now_ns: u64) -> Vec<CollectorEvent> {
        let lost = counts.iter().flatten().map(|[_, lost]| lost).sum();
        let grown = lost > self.lost;
        self.lost = lost;
        if self.away_ns <= STALL_NS || !grown {
            return Vec::new();
        }
        let offset_ns = self.clock.offset_ns();
        vec![CollectorEvent::Gap(Gap {
            time_ns: real_ns(now_ns.saturating_sub(self.away_ns + CHORES_NS), offset_ns),
            end_ns: real_ns(now_ns, offset_ns),
            source: SOURCE.to_owned(),
            reason: GapReason::PublisherStalled,
            lost: Some(0),
            detail: Some("what was lost is told by the ring_full gaps of this time".to_owned()),
        })]
    }

    fn send(&self, sink: &Sink, events: Events, watermark: Option<u64>) -> Result<(), Closed> {
        let offset_ns = self.clock.offset_ns();
        sink.send(Batch {
            source: SOURCE,
            watermark_ns: watermark.map(|boot_ns| real_ns(boot_ns, offset_ns)),
            clock_offset_ns: offset_ns,
            events,
        })
    }
}
