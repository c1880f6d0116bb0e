//! The list of all tables, and the way from an event to its rows.
//!
//! Adding a table is one file and one line here: the file `events/<name>.rs` holds a struct with
//! `#[derive(EventTable)]` and its [`Subscriber`]; `state/<name>.rs` a struct with
//! `#[derive(StateTable)]` and a function `scan` that reads the whole table.
//!
//! **Invariant:** an event table is a pure function of the event: no I/O, no clock, no
//! operating system.

use bygone_store::sql::StateTableEntry;
use bygone_store::{AppendError, EventTable, TableSchema, Writer};

use crate::publish::{Event, Events};

/// An event table: it turns the events it subscribes to into rows.
pub trait Subscriber: EventTable {
    /// The one type of event it takes, whichever publisher it comes from.
    type Event: Event;

    /// The row for an event, or `None` when this table leaves the event out.
    fn row(event: &Self::Event) -> Option<Self>;
}

/// Declares the modules of the tables and everything that follows from the list.
macro_rules! tables {
    (
        events { $($event:ident :: $event_row:ident,)* }
        state { $($(#[$cfg:meta])* $state:ident :: $state_row:ident,)* }
    ) => {
        /// Event tables: one file each.
        pub mod events { $(pub mod $event;)* }

        /// State tables: one file each.
        pub mod state { $($(#[$cfg])* pub mod $state;)* }

        static EVENT_TABLES: &[&TableSchema] = &[
            $(<events::$event::$event_row as EventTable>::SCHEMA,)*
        ];

        static STATE_TABLES: &[StateTableEntry] = &[
            $($(#[$cfg])* StateTableEntry::new::<state::$state::$state_row>(state::$state::scan),)*
        ];

        /// Appends the rows that each subscriber makes of `events`.
        pub fn append(writer: &mut Writer, events: &Events) -> Outcome {
            let mut outcome = Outcome::default();
            $(append_to::<events::$event::$event_row>(writer, events, &mut outcome);)*
            outcome.refused.sort_unstable();
            outcome.refused.dedup();
            outcome
        }
    };
}

tables! {
    events {
        process_events::ProcessEvents,
        process_fork_events::ProcessForkEvents,
        process_exit_events::ProcessExitEvents,
        file_events::FileEvents,
        gaps::Gaps,
        ledger::Ledger,
        capabilities::Capabilities,
    }
    state {
        #[cfg(target_os = "linux")]
        processes::Processes,
        users::Users,
    }
}

/// The schemas of all event tables, in the order of the list.
#[must_use]
pub fn event_schemas() -> &'static [&'static TableSchema] {
    EVENT_TABLES
}

/// All state tables, in the order of the list.
#[must_use]
pub fn state_tables() -> &'static [StateTableEntry] {
    STATE_TABLES
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Rows that were appended.
    pub rows: u64,
    /// Indices, ascending, of the events of which the store refused a row.
    pub refused: Vec<usize>,
    /// Why it refused the first.
    pub error: Option<AppendError>,
}

fn append_to<T: Subscriber>(writer: &mut Writer, events: &Events, outcome: &mut Outcome) {
    let Some(events) = T::Event::of(events) else { return };
    match writer.append(events.iter().filter_map(T::row)) {
        Ok(appended) => outcome.rows += appended.map_or(0, |appended| appended.rows),
        Err(error) => {
            let wanted = events.iter().enumerate().filter(|(_, event)| T::row(event).is_some());
            outcome.refused.extend(wanted.map(|(index, _)| index));
            outcome.error.get_or_insert(error);
        }
    }
}

/// Type and permission bits as osquery writes them: octal with a leading zero.
fn mode_text(mode: u32) -> String {
    format!("0{mode:o}")
}
