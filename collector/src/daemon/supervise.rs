//! One thread per publisher: it runs the publisher and attaches it anew when it fails.
//!
//! While a source is down, its kinds of event are shown without a source in `capabilities`; the
//! time it was down is one `publisher_down` gap, written when it is back or the daemon stops.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::sources::Source;
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
    publisher: Box<dyn Publisher>,
    sink: Sink,
    stop: Stop,
) -> anyhow::Result<JoinHandle<()>> {
    let name = source.name;
    let supervisor = Supervisor { source, sink, stop };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            if supervisor.run(publisher).is_err() {
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
    fn run(&self, mut publisher: Box<dyn Publisher>) -> Result<(), Box<Closed>> {
        loop {
            let Err(error) = self.publish(publisher) else { return Ok(()) };
            let down_ns = now_ns();
            let reason = format!("{error:#}");
            tracing::error!(source = self.source.name, error = reason, "A publisher failed");
            self.send_capabilities(self.source.absent(down_ns, &reason))?;
            let again = self.attach_again();
            self.send_gap(down_ns, reason)?;
            let Some(attached) = again else { return Ok(()) };
            tracing::info!(source = self.source.name, "The publisher is back");
            self.send_capabilities(attached.capabilities())?;
            publisher = attached;
        }
    }

    /// Runs a publisher to its end; a panic is an error like another.
    fn publish(&self, publisher: Box<dyn Publisher>) -> anyhow::Result<()> {
        let run = AssertUnwindSafe(|| publisher.run(&self.sink, &self.stop));
        catch_unwind(run).unwrap_or_else(|_| Err(anyhow!("the publisher's thread panicked")))
    }

    /// Waits and attaches until that succeeds, or `None` when the daemon stops.
    fn attach_again(&self) -> Option<Box<dyn Publisher>> {
        let mut tried_at = Instant::now();
        while !self.stop.is_set() {
            std::thread::park_timeout(STOP_POLL);
            if tried_at.elapsed() < ATTACH_AGAIN_AFTER {
                continue;
            }
            match (self.source.attach)() {
                Ok(publisher) => return Some(publisher),
                Err(refusal) => tracing::warn!(
                    source = self.source.name,
                    error = refusal.reason,
                    "The source cannot be attached; trying again"
                ),
            }
            tried_at = Instant::now();
        }
        None
    }

    fn send_gap(&self, down_ns: i64, reason: String) -> Result<(), Box<Closed>> {
        self.send(vec![CollectorEvent::Gap(Gap {
            time_ns: down_ns,
            end_ns: now_ns(),
            source: self.source.name.to_owned(),
            reason: GapReason::PublisherDown,
            lost: None,
            detail: Some(reason),
        })])
    }

    fn send_capabilities(&self, capabilities: Vec<Capability>) -> Result<(), Box<Closed>> {
        self.send(capabilities.into_iter().map(CollectorEvent::Capability).collect())
    }

    fn send(&self, events: Vec<CollectorEvent>) -> Result<(), Box<Closed>> {
        let batch = Batch {
            source: self.source.name,
            watermark_ns: None,
            clock_offset_ns: clock_offset_ns(),
            events: Events::Collector(events),
        };
        self.sink.send(batch).map_err(Box::new)
    }
}
