//! One thread per publisher: it runs the publisher and attaches it anew when it fails.
//!
//! While a source is down, its kinds of event are shown without a source in `capabilities`; the
//! time it was down is one `publisher_down` gap, written when it is back or the daemon stops.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::sources::{Attached, Source, why};
use super::time::{clock_offset_ns, now_ns};
use crate::events::{Capability, CollectorEvent, Gap, GapReason};
use crate::publish::{Batch, Closed, Events, Publisher, Sink, Stop};

/// How long a failed source is left before it is attached again.
const ATTACH_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How often a waiting supervisor looks at [`Stop`].
const STOP_POLL: Duration = Duration::from_millis(100);

/// Starts the thread of one source whose publisher is attached.
///
/// # Errors
/// When the system cannot start a thread.
pub(super) fn start(
    source: Source,
    attached: Attached,
    sink: Sink,
    stop: Stop,
) -> anyhow::Result<JoinHandle<()>> {
    let name = source.name;
    let supervisor = Supervisor { source, sink, stop };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            if supervisor.run(attached).is_err() {
                tracing::debug!(source = name, "The store's channel is closed");
            }
        })
        .with_context(|| format!("starting the thread of {name}"))
}

struct Supervisor {
    source: Source,
    sink: Sink,
    stop: Stop,
}

impl Supervisor {
    fn run(&self, mut attached: Attached) -> Result<(), Box<Closed>> {
        loop {
            let source = attached.publisher.source();
            let Err(error) = self.publish(attached.publisher) else { return Ok(()) };
            let down_ns = now_ns();
            let reason = format!("{error:#}");
            tracing::error!(source, error = reason, "A publisher failed");
            self.send_capabilities(source, self.source.absent(down_ns, &reason))?;
            let again = self.attach_again();
            self.send_gap(source, down_ns, reason)?;
            let Some(again) = again else { return Ok(()) };
            let source = again.publisher.source();
            tracing::info!(source, "A publisher is back");
            self.send_capabilities(source, again.capabilities())?;
            attached = again;
        }
    }

    /// Runs a publisher to its end; a panic is an error like another.
    fn publish(&self, publisher: Box<dyn Publisher>) -> anyhow::Result<()> {
        let run = AssertUnwindSafe(|| publisher.run(&self.sink, &self.stop));
        catch_unwind(run).unwrap_or_else(|_| Err(anyhow!("the publisher's thread panicked")))
    }

    /// Waits and attaches until that succeeds, or `None` when the daemon stops.
    fn attach_again(&self) -> Option<Attached> {
        let mut tried_at = Instant::now();
        while !self.stop.is_set() {
            std::thread::park_timeout(STOP_POLL);
            if tried_at.elapsed() < ATTACH_AGAIN_AFTER {
                continue;
            }
            match self.source.attach() {
                Ok(attached) => return Some(attached),
                Err(refused) => tracing::warn!(
                    source = self.source.name,
                    error = why(&refused),
                    "The source cannot be attached; trying again"
                ),
            }
            tried_at = Instant::now();
        }
        None
    }

    fn send_gap(
        &self,
        source: &'static str,
        down_ns: i64,
        reason: String,
    ) -> Result<(), Box<Closed>> {
        let gap = CollectorEvent::Gap(Gap {
            time_ns: down_ns,
            end_ns: now_ns(),
            source: source.to_owned(),
            reason: GapReason::PublisherDown,
            lost: None,
            detail: Some(reason),
        });
        self.send(source, vec![gap])
    }

    fn send_capabilities(
        &self,
        source: &'static str,
        capabilities: Vec<Capability>,
    ) -> Result<(), Box<Closed>> {
        self.send(source, capabilities.into_iter().map(CollectorEvent::Capability).collect())
    }

    fn send(&self, source: &'static str, events: Vec<CollectorEvent>) -> Result<(), Box<Closed>> {
        let batch = Batch {
            source,
            watermark_ns: None,
            clock_offset_ns: clock_offset_ns(),
            events: Events::Collector(events),
        };
        self.sink.send(batch).map_err(Box::new)
    }
}
