//! `bygone tables`: the list of tables.

use bygone_store::TableSchema;
use bygone_store::sql::{ResultColumn, ResultSink, StateTableEntry, TableFunctionEntry};
use clap::Args;
use rusqlite::types::ValueRef;

use super::output::OutputArguments;
use super::terminal::{Screen, stdout};
use crate::tables;

/// List the tables
#[derive(Args, Debug)]
#[command(
    after_help = "Tables of events hold history; tables of state show this moment. Views are \
    statements over them; functions are tables that take arguments, as in \
    SELECT * FROM process_ancestors('GUID'). bygone schema TABLE explains the columns of one."
)]
pub(super) struct TablesArguments {
    #[command(flatten)]
    output: OutputArguments,
}

pub(super) fn run(arguments: &TablesArguments) -> anyhow::Result<()> {
    let mut sink = arguments.output.format().sink(stdout(), Screen::of_stdout());
    Ok(list(sink.as_mut(), None)?)
}

/// What a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Events,
    State,
    /// With its `SELECT`.
    View(&'static str),
    /// A function whose arguments are its hidden columns.
    Function,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::State => "state",
            Self::View(_) => "view",
            Self::Function => "function",
        }
    }
}

/// All tables, those of events first.
pub(super) fn all() -> impl Iterator<Item = &'static TableSchema> {
    kinds().map(|(_, schema)| schema)
}

/// All tables with what they are.
pub(super) fn kinds() -> impl Iterator<Item = (Kind, &'static TableSchema)> {
    let events = tables::event_schemas().iter().map(|schema| (Kind::Events, *schema));
    let states = tables::state_tables().iter().map(StateTableEntry::schema);
    let views = tables::extensions().views.iter().map(|view| (Kind::View(view.sql), view.schema));
    let functions = tables::extensions().table_functions.iter().map(TableFunctionEntry::schema);
    events
        .chain(states.map(|schema| (Kind::State, schema)))
        .chain(views)
        .chain(functions.map(|schema| (Kind::Function, schema)))
}

/// Prints the list of tables whose names contain `part`.
///
/// # Errors
/// When it cannot be written.
pub(super) fn list(sink: &mut dyn ResultSink, part: Option<&str>) -> std::io::Result<()> {
    sink.start(
        &["name", "kind", "columns", "description"]
            .map(|name| ResultColumn { name: name.to_owned(), declared_type: None }),
    )?;
    let named = |name: &str| part.is_none_or(|part| name.contains(part));
    for (kind, table) in kinds().filter(|(_, table)| named(table.name)) {
        let columns = i64::try_from(table.columns.len()).unwrap_or(i64::MAX);
        sink.row(&[
            ValueRef::from(table.name),
            ValueRef::from(kind.name()),
            ValueRef::Integer(columns),
            ValueRef::from(first_sentence(table.doc)),
        ])?;
    }
    sink.end()
}

fn first_sentence(doc: &str) -> &str {
    doc.split_once(". ").map_or(doc, |(sentence, _)| sentence).trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_sentences() {
        assert_eq!(first_sentence("One row. And more."), "One row");
        assert_eq!(first_sentence("One row."), "One row");
        assert_eq!(first_sentence(""), "");
    }

    #[test]
    fn every_table_is_listed() {
        let mut out = Vec::new();
        let mut sink = super::super::output::Format::Csv.sink(&mut out, Screen::Pipe);
        list(sink.as_mut(), None).unwrap();
        drop(sink);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), all().count() + 1);
        assert!(text.contains("process_events,events,"), "{text}");
    }
}
