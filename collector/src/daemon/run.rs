//! `bygone run`: start-up, the wait, and the stop.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use bygone_store::{Opened, Writer, WriterOptions};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::damage;
use super::expiry;
use super::folder::DataFolder;
use super::sources::{self, Attached, Source, why};
use super::supervise;
use super::time::{clock_offset_ns, now_ns};
use super::writer::WriterLoop;
use crate::config::Config;
use crate::events::{Capability, CollectorEvent, Gap, GapReason};
use crate::host::boot;
use crate::publish::{Batch, CHANNEL_BATCHES_MAX, Events, Sink, Stop};
use crate::tables;

/// The source named in rows that the daemon writes about itself.
const SOURCE: &str = "daemon";

/// Collects until SIGINT, SIGTERM or SIGHUP, then flushes everything and returns.
///
/// # Errors
/// When the store cannot be opened (another daemon holds it, the folder cannot be written), or the
/// writer fails for good.
pub fn run(config: &Config, data_dir: &Path) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    crate::host::allocator::keep_little();
    // Before anything is begun, so that a signal during a long start ends it in order, too.
    let signals = Signals::watch()?;
    let mut options = WriterOptions::new(boot::boot_id().context("reading the boot id")?);
    options.journal_bytes_max = config.store.journal_bytes;
    options.journal_age_max = config.store.journal_age;
    #[cfg(target_os = "linux")]
    {
        options.after_work = crate::host::allocator::give_back;
    }
    options.retention = expiry::retention(&config.retention);
    let (writer, opened) = Writer::open(data_dir, tables::event_schemas(), options)?;
    let folder = DataFolder::open(data_dir)?;
    let (sink, batches) = sync_channel(CHANNEL_BATCHES_MAX);
    let mut sources = sources::list(config, data_dir);
    let tees = sources.iter_mut().filter_map(|source| source.tee.take()).collect();
    let writer_loop = WriterLoop::new(writer, config.store.sync, &opened.last_heartbeat, tees);
    let (writer_thread, writer_ended) = start_writer(writer_loop, batches)?;
    let stop = Stop::default();

    let mut publishers = Vec::new();
    let started = start_publishers(sources, &opened, &sink, &stop, &mut publishers);
    if started.is_ok() {
        tracing::info!(data_dir = %data_dir.display(), "Collecting");
        signals.wait(writer_ended);
    }

    stop.set();
    for publisher in publishers {
        if publisher.join().is_err() {
            tracing::error!("A publisher's supervisor panicked");
        }
    }
    drop(sink);
    let written = writer_thread.join().map_err(|_panic| anyhow!("the store's writer panicked"))?;
    // Before what the writer says: it may have written to a folder that nobody finds.
    let written = match (folder.is_in_place(), written) {
        (Ok(()), written) => written?,
        (Err(gone), Ok(_)) => return Err(gone),
        (Err(gone), Err(error)) => return Err(error.context(gone)),
    };
    match written {
        0 => tracing::info!("Stopped; everything collected is on disk"),
        lost => tracing::warn!(lost, "Stopped; not all could be stored, see the table gaps"),
    }
    started
}

type WriterThread = JoinHandle<anyhow::Result<u64>>;

/// Starts the writer's thread. The receiver resolves when it has ended.
fn start_writer(
    writer: WriterLoop,
    batches: Receiver<Batch>,
) -> anyhow::Result<(WriterThread, oneshot::Receiver<()>)> {
    let (alive, ended) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || {
            let _alive = alive;
            writer.run(&batches)
        })
        .context("starting the writer's thread")?;
    Ok((thread, ended))
}

/// Attaches the sources, says what they can see, and starts their threads.
fn start_publishers(
    sources: Vec<Source>,
    opened: &Opened,
    sink: &Sink,
    stop: &Stop,
    threads: &mut Vec<JoinHandle<()>>,
) -> anyhow::Result<()> {
    let mut attached: Vec<(Source, Attached)> = Vec::new();
    let mut capabilities = Vec::new();
    for source in sources {
        match source.attach() {
            Ok(tier) => {
                capabilities.extend(tier.capabilities());
                attached.push((source, tier));
            }
            Err(refused) => capabilities.extend(source.absent(now_ns(), &why(&refused))),
        }
    }
    capabilities.iter().for_each(announce);

    let mut events: Vec<CollectorEvent> = gaps(opened).map(CollectorEvent::Gap).collect();
    events.extend(capabilities.into_iter().map(CollectorEvent::Capability));
    let batch = Batch {
        source: SOURCE,
        watermark_ns: None,
        clock_offset_ns: clock_offset_ns(),
        events: Events::Collector(events),
    };
    sink.send(batch).map_err(|_closed| anyhow!("the store's writer ended at start"))?;
    for (source, tier) in attached {
        threads.push(supervise::start(source, tier, sink.clone(), stop.clone())?);
    }
    Ok(())
}

/// Says on one line what a kind of event comes from and what is not seen of it.
fn announce(capability: &Capability) {
    let Capability { kind, source, tier, blind_to, reason, .. } = capability;
    let reason = reason.as_deref().unwrap_or_default();
    match (source, tier) {
        (Some(source), Some(tier)) => {
            tracing::info!(kind, source, tier, cannot_see = blind_to, reason, "Watching");
        }
        _ => tracing::warn!(kind, cannot_see = blind_to, reason, "Not watching"),
    }
}

/// What the store says was lost before this start: the time no daemon ran, and damage.
fn gaps(opened: &Opened) -> impl Iterator<Item = Gap> {
    let end_ns = now_ns();
    let down = opened.last_heartbeat.iter().map(move |(source, watermark_ns)| Gap {
        time_ns: *watermark_ns,
        end_ns: end_ns.max(*watermark_ns),
        source: source.clone(),
        reason: GapReason::DaemonDown,
        lost: None,
        detail: None,
    });
    down.chain(opened.recovered.iter().filter_map(damage::gap))
}

/// The signals that end a run.
struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Catches SIGINT, SIGTERM and SIGHUP, which a closed terminal sends, from now on.
    fn watch() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the runtime")?;
        let entered = runtime.enter();
        let interrupt = signal(SignalKind::interrupt()).context("watching SIGINT")?;
        let terminate = signal(SignalKind::terminate()).context("watching SIGTERM")?;
        let hangup = signal(SignalKind::hangup()).context("watching SIGHUP")?;
        drop(entered);
        Ok(Self { runtime, interrupt, terminate, hangup })
    }

    /// Waits for a signal, which may have come already, or for the writer's end.
    fn wait(self, writer_ended: oneshot::Receiver<()>) {
        let Self { runtime, mut interrupt, mut terminate, mut hangup } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => tracing::info!("Stopping on SIGINT"),
                _ = terminate.recv() => tracing::info!("Stopping on SIGTERM"),
                _ = hangup.recv() => tracing::info!("Stopping on SIGHUP"),
                _ = writer_ended => tracing::error!("The store's writer ended"),
            }
        });
    }
}
