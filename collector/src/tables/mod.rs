//! The list of all tables, and the way from an event to its rows.
//!
//! Adding a table is one file and one line here: the file `events/<name>.rs` holds a struct with
//! `#[derive(EventTable)]` and its [`Subscriber`]; `state/<name>.rs` a struct with
//! `#[derive(StateTable)]` and a function `scan` that reads the whole table. Likewise
//! `views/<name>.rs` a struct of its columns with its [`ViewTable`], and `functions/<name>.rs` one
//! with its `TableFunction`, whose hidden columns are its arguments.
//!
//! **Invariant:** an event table is a pure function of the event: no I/O, no clock, no
//! operating system.

use bygone_store::sql::{Extensions, StateTableEntry, TableFunctionEntry, View};
use bygone_store::{AppendError, EventTable, StateTable, TableSchema, Writer};

use crate::publish::{Event, Events};

/// An event table: it turns the events it subscribes to into rows.
pub trait Subscriber: EventTable {
    /// The one type of event it takes, whichever publisher it comes from.
    type Event: Event;

    /// The classes of event that the rows are made of, as in the column `class` of the ledger: what
    /// has to be complete for the table to be. None for what tells of other tables.
    const CLASSES: &'static [&'static str];

    /// The row for an event, or `None` when this table leaves the event out.
    fn row(event: &Self::Event) -> Option<Self>;
}

/// A statement under a name. The struct's fields are the statement's columns, in order.
pub trait ViewTable: StateTable {
    /// The `SELECT`.
    const SQL: &'static str;

    /// The classes of event that it shows, as for [`Subscriber`].
    const CLASSES: &'static [&'static str];
}

/// Declares the modules of the tables and everything that follows from the list.
macro_rules! tables {
    (
        events { $($event:ident :: $event_row:ident,)* }
        state { $($(#[$cfg:meta])* $state:ident :: $state_row:ident,)* }
        views { $($view:ident :: $view_row:ident,)* }
        functions { $($function:ident :: $function_row:ident,)* }
    ) => {
        /// Event tables: one file each.
        pub mod events { $(pub mod $event;)* }

        /// State tables: one file each.
        pub mod state { $($(#[$cfg])* pub mod $state;)* }

        /// Views: one file each.
        pub mod views { $(pub mod $view;)* }

        /// Functions that are tables: one file each.
        pub mod functions { $(pub mod $function;)* }

        static EVENT_TABLES: &[&TableSchema] = &[
            $(<events::$event::$event_row as EventTable>::SCHEMA,)*
        ];

        static CLASSES: &[(&str, &[&str])] = &[
            $((
                <events::$event::$event_row as EventTable>::SCHEMA.name,
                <events::$event::$event_row as Subscriber>::CLASSES,
            ),)*
            $((
                <views::$view::$view_row as StateTable>::SCHEMA.name,
                <views::$view::$view_row as ViewTable>::CLASSES,
            ),)*
        ];

        static STATE_TABLES: &[StateTableEntry] = &[
            $($(#[$cfg])* StateTableEntry::new::<state::$state::$state_row>(state::$state::scan),)*
        ];

        static EXTENSIONS: Extensions = Extensions {
            views: &[$(View {
                schema: <views::$view::$view_row as StateTable>::SCHEMA,
                sql: <views::$view::$view_row as ViewTable>::SQL,
            },)*],
            table_functions: &[
                $(TableFunctionEntry::new::<functions::$function::$function_row>(),)*
            ],
            functions: crate::history::complete::FUNCTIONS,
        };

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
        process_summary_events::ProcessSummaryEvents,
        signal_events::SignalEvents,
        ptrace_events::PtraceEvents,
        credential_events::CredentialEvents,
        module_events::ModuleEvents,
        bpf_events::BpfEvents,
        mount_events::MountEvents,
        memory_exec_events::MemoryExecEvents,
        memfd_events::MemfdEvents,
        image_events::ImageEvents,
        file_events::FileEvents,
        executable_events::ExecutableEvents,
        gaps::Gaps,
        ledger::Ledger,
        capabilities::Capabilities,
        audits::Audits,
    }
    state {
        #[cfg(target_os = "linux")]
        processes::Processes,
        users::Users,
    }
    views {
        process_lifetimes::ProcessLifetimes,
        bpf_process_events::BpfProcessEvents,
        es_process_events::EsProcessEvents,
    }
    functions {
        process_ancestors::ProcessAncestors,
        process_descendants::ProcessDescendants,
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

/// The classes of event that a table of events or a view is made of; `None` for any other name.
#[must_use]
pub fn classes_of(name: &str) -> Option<&'static [&'static str]> {
    let of_name = CLASSES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    of_name.map(|(_, classes)| *classes)
}

/// Views and functions.
#[must_use]
pub fn extensions() -> &'static Extensions {
    &EXTENSIONS
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

#[cfg(test)]
mod tests {
    use bygone_store::sql::{Session, SessionOptions};

    use super::*;

    /// A view's columns are those of its statement, in order: each has a name of its own there.
    #[test]
    fn views_have_the_columns_that_they_declare() {
        let folder = tempfile::tempdir().unwrap();
        let options = SessionOptions {
            data_dir: folder.path().to_owned(),
            events: event_schemas(),
            states: state_tables(),
        };
        let session = Session::open(options).unwrap().with_extensions(extensions()).unwrap();
        for view in EXTENSIONS.views {
            let name = view.schema.name;
            // SQLite compares the numbers of columns when the view is first used.
            let plan = format!("EXPLAIN QUERY PLAN SELECT * FROM {name}");
            session.execute(&plan, &mut Nowhere).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    #[test]
    fn every_class_is_known_by_its_table() {
        assert_eq!(classes_of("PROCESS_EVENTS"), Some(&["exec"][..]));
        assert_eq!(classes_of("gaps"), Some(&[][..]));
        assert_eq!(classes_of("users"), None);
    }

    struct Nowhere;

    impl bygone_store::sql::ResultSink for Nowhere {
        fn start(&mut self, _: &[bygone_store::sql::ResultColumn]) -> std::io::Result<()> {
            Ok(())
        }
        fn row(&mut self, _: &[rusqlite::types::ValueRef<'_>]) -> std::io::Result<()> {
            Ok(())
        }
        fn end(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
