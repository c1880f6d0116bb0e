//! Processes on macOS, from EndpointSecurity.
//!
//! How a message becomes an event is in `translate`, what is counted in `books`. Only
//! `ProcessEs::attach` needs macOS: the rest reads any [`EsSource`], and so is tested everywhere.
//!
//! **Order and watermark.** The system hands messages over one by one in the order in which it
//! queued them, which is the order of their times but for the moment between the two. The
//! watermark is the newest time less `LAG_NS`; while nothing happens it stands still.
//!
//! **Loss** is what the client's books say: messages that the system dropped (found at the next
//! message), that found our queue full, or that could not be decoded.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use bygone_macos::{EsLoss, EsMessage, EsSource, Received};

use crate::events::{Capability, CollectorEvent, ProcessEvent};
use crate::publish::gathered::Gathered;
use crate::publish::privacy::Privacy;
use crate::publish::{
    BATCH_EVENTS_MAX, Batch, Closed, Events, PublishError, Publisher, Sink, Stop,
};

use books::Books;
use translate::{TranslateError, Translator};

mod books;
mod translate;

#[cfg(test)]
mod tests;

/// Name of the source.
pub const SOURCE: &str = "process_es";

/// How long one call waits for messages, which bounds how late `stop` is seen.
const WAIT: Duration = Duration::from_millis(100);

/// How far a message's time may lie behind the newest one's when it arrives, in nanoseconds. One
/// that is further behind is stored all the same and counted as late.
const LAG_NS: i64 = 1_000_000_000;

/// Why EndpointSecurity cannot be used.
#[cfg(target_os = "macos")]
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Without the boot time a process has no identity.
    #[error("find out when the system started")]
    BootTime(#[source] bygone_macos::SystemError),
    /// The system gave no client.
    #[error("start a client of EndpointSecurity")]
    Client(#[source] bygone_macos::StartError),
}

/// The publisher.
pub struct ProcessEs {
    source: Box<dyn EsSource>,
    translator: Translator,
    books: Books,
    privacy: Privacy,
    /// When the system started, in nanoseconds since the Unix epoch, as it stood at attach.
    boot_ns: i64,
    /// Newest time of a message.
    newest_ns: Option<i64>,
    /// The watermark last sent.
    watermark_ns: Option<i64>,
}

impl ProcessEs {
    /// Starts a client of EndpointSecurity. What `privacy` leaves out is never sent.
    ///
    /// # Errors
    /// When the system does not let this program be one, see [`bygone_macos::StartError`].
    #[cfg(target_os = "macos")]
    pub fn attach(privacy: Privacy) -> Result<Self, AttachError> {
        let boot_ns = bygone_macos::boot_time_ns().map_err(AttachError::BootTime)?;
        let client = bygone_macos::EsClient::start(bygone_macos::IntakeLimits::default())
            .map_err(AttachError::Client)?;
        Ok(Self::new(Box::new(client), boot_ns, privacy))
    }

    /// Reads `source` on a system that started at `boot_ns`, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn new(source: Box<dyn EsSource>, boot_ns: i64, privacy: Privacy) -> Self {
        Self {
            source,
            translator: Translator::new(boot_ns),
            books: Books::default(),
            privacy,
            boot_ns,
            newest_ns: None,
            watermark_ns: None,
        }
    }

    /// Sends all that one call received.
    fn publish(&mut self, received: Received, sink: &Sink) -> Result<(), Closed> {
        let mut events = Gathered::default();
        let mut gaps: Vec<_> = received.losses.iter().filter_map(|loss| self.lost(loss)).collect();
        for message in received.messages {
            match self.translate(&message) {
                Ok(event) => {
                    if let Some(full) = events.push(event) {
                        self.send(Events::Process(full), None, sink)?;
                    }
                }
                Err(error) => gaps.push(books::undecoded(message.header.time_ns, &error)),
            }
        }
        let watermark_ns = self.newest_ns.and_then(|newest| newest.checked_sub(LAG_NS));
        self.watermark_ns = watermark_ns;
        if let Some(rest) = events.rest() {
            self.send(Events::Process(rest), watermark_ns, sink)?;
        }
        if let Some(watermark_ns) = watermark_ns {
            gaps.extend(self.books.close_before(watermark_ns).map(CollectorEvent::Ledger));
        }
        self.send_collector(gaps, watermark_ns, sink)
    }

    /// Translates a message and takes it into the books.
    fn translate(&mut self, message: &EsMessage) -> Result<ProcessEvent, TranslateError> {
        let (time_ns, class) = (message.header.time_ns, message.event.class());
        let source = &*self.source;
        let translated = self.translator.translate(message, |pid| source.start_of(pid));
        match translated {
            Ok(mut event) => {
                if let ProcessEvent::Exec(exec) = &mut event {
                    self.privacy.apply(exec);
                }
                let late = self.watermark_ns.is_some_and(|watermark| time_ns < watermark);
                self.books.stored(time_ns, class, late);
                self.newest_ns = self.newest_ns.max(Some(time_ns));
                Ok(event)
            }
            Err(error) => {
                self.books.lost(time_ns, class, 1);
                Err(error)
            }
        }
    }

    /// Takes a loss into the books and makes its gap.
    fn lost(&mut self, loss: &EsLoss) -> Option<CollectorEvent> {
        self.books.loss(loss);
        books::gap(loss).map(CollectorEvent::Gap)
    }

    fn send_collector(
        &self,
        mut events: Vec<CollectorEvent>,
        watermark_ns: Option<i64>,
        sink: &Sink,
    ) -> Result<(), Closed> {
        while !events.is_empty() {
            let rest = events.split_off(events.len().min(BATCH_EVENTS_MAX));
            self.send(Events::Collector(events), watermark_ns, sink)?;
            events = rest;
        }
        Ok(())
    }

    fn send(&self, events: Events, watermark_ns: Option<i64>, sink: &Sink) -> Result<(), Closed> {
        sink.send(Batch { source: SOURCE, watermark_ns, clock_offset_ns: self.boot_ns, events })
    }

    /// Sends what the source still holds and the books as they stand.
    fn finish(&mut self, sink: &Sink) -> Result<(), Closed> {
        self.source.stop();
        loop {
            let received = self.source.receive(Duration::ZERO);
            let rest = received.messages.len() + received.losses.len();
            self.publish(received, sink)?;
            if rest == 0 {
                break;
            }
        }
        let entries = self.books.close_all().map(CollectorEvent::Ledger).collect();
        self.send_collector(entries, self.watermark_ns, sink)
    }
}

impl Publisher for ProcessEs {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn capabilities(&self) -> Vec<Capability> {
        let time_ns = now_ns();
        let capability = |class: bygone_macos::EsClass| Capability {
            time_ns,
            kind: class.name().to_owned(),
            source: Some(SOURCE.to_owned()),
            tier: Some("endpoint_security".to_owned()),
            blind_to: "what the collector itself does, and what ran before it started".to_owned(),
            reason: None,
        };
        bygone_macos::EsClass::ALL.into_iter().map(capability).collect()
    }

    fn run(mut self: Box<Self>, sink: &Sink, stop: &Stop) -> Result<(), PublishError> {
        let mut ended = false;
        while !ended && !stop.is_set() {
            let received = self.source.receive(WAIT);
            ended = received.closed;
            if self.publish(received, sink).is_err() {
                return Ok(());
            }
        }
        if self.finish(sink).is_ok() && ended {
            bail!("the client of EndpointSecurity ended by itself");
        }
        Ok(())
    }
}

fn now_ns() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}
