//! How fast process rows go through the writer into the journal, on one core.

use std::time::{Duration, Instant};

use bygone::events::ProcessEvent;
use bygone::publish::Events;
use bygone::tables;
use bygone::tables::Subscriber;
use bygone::tables::events::process_events::ProcessEvents;
use bygone_store::{Writer, WriterOptions};
use tempfile::TempDir;

use super::spent::{Spent, time};
use super::{Options, bytes_below, print, rows};

const ROWS: u64 = 1_000_000;

/// Events in one batch: about what the publisher drains at once in a storm.
const BATCH: usize = 512;

/// Events made at a time, so that making them is not measured and they fit in memory.
const PREPARED: u64 = 50_000;

pub(super) fn run(_: &Options) -> anyhow::Result<()> {
    let append_rows = measure(|writer, events| {
        let rows: Vec<ProcessEvents> = events.iter().filter_map(ProcessEvents::row).collect();
        let mut rows = rows.into_iter();
        time(|| {
            while writer.append(rows.by_ref().take(BATCH))?.is_some() {}
            Ok(())
        })
        .map(|((), spent)| spent)
    })?;
    append_rows.print("rows through Writer::append");

    let route = measure(|writer, events| {
        let batches: Vec<Events> =
            events.chunks(BATCH).map(|chunk| Events::Process(chunk.to_vec())).collect();
        time(|| {
            for batch in &batches {
                if let Some(error) = tables::append(writer, batch).error {
                    return Err(error.into());
                }
            }
            Ok(())
        })
        .map(|((), spent)| spent)
    })?;
    route.print("events through subscribers and writer");
    Ok(())
}

struct Measured {
    spent: Spent,
    close: Duration,
    journal_bytes_per_row: f64,
    segment_bytes_per_row: f64,
}

impl Measured {
    fn print(&self, name: &str) {
        let rate = |spent: Duration| ROWS as f64 / spent.as_secs_f64() / 1e6;
        print(format_args!(
            "{name:<44} {ROWS} rows  {:.2} M rows/s wall  {:.2} M rows/s of CPU  journal \
             {:.0} B/row  sealed {:.1} B/row  sync and seal at close {:.2} s",
            rate(self.spent.wall),
            rate(self.spent.cpu),
            self.journal_bytes_per_row,
            self.segment_bytes_per_row,
            self.close.as_secs_f64(),
        ));
    }
}

fn measure(
    append: impl Fn(&mut Writer, &[ProcessEvent]) -> anyhow::Result<Spent>,
) -> anyhow::Result<Measured> {
    let folder = TempDir::new()?;
    let data_dir = folder.path().join("data");
    let options = WriterOptions::new([7; 16]);
    let (mut writer, _) = Writer::open(&data_dir, tables::event_schemas(), options)?;
    let mut spent = Spent::default();
    let mut journal_bytes = 0;
    for first in (0..ROWS).step_by(usize::try_from(PREPARED)?) {
        let events: Vec<ProcessEvent> = (first..first + PREPARED).map(rows::exec).collect();
        let part = append(&mut writer, &events)?;
        spent.add(part);
        if first == 0 {
            journal_bytes = bytes_below(&data_dir)?;
        }
    }
    let closing = Instant::now();
    writer.close()?;
    Ok(Measured {
        spent,
        close: closing.elapsed(),
        journal_bytes_per_row: journal_bytes as f64 / PREPARED as f64,
        segment_bytes_per_row: bytes_below(&data_dir.join("segments"))? as f64 / ROWS as f64,
    })
}
