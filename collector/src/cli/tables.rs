//! `bygone tables`: the list of tables.

use bygone_store::TableSchema;
use bygone_store::sql::{ResultColumn, ResultSink, StateTableEntry};
use clap::Args;
use rusqlite::types::ValueRef;

use super::output::OutputArguments;
use super::terminal::{Screen, stdout};
use crate::tables;

/// List the tables
#[derive(Args, Debug)]
#[command(after_help = "Tables of events hold history; tables of state show this moment. \
    bygone schema TABLE explains the columns of one.")]
pub(super) struct TablesArguments {
    #[command(flatten)]
    output: OutputArguments,
}

pub(super) fn run(arguments: &TablesArguments) -> anyhow::Result<()> {
    let mut sink = arguments.output.format().sink(stdout(), Screen::of_stdout());
    Ok(list(sink.as_mut(), None)?)
}

/// All tables, those of events first.
pub(super) fn all() -> impl Iterator<Item = &'static TableSchema> {
    tables::event_schemas()
        .iter()
        .copied()
        .chain(tables::state_tables().iter().map(StateTableEntry::schema))
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
    for table in all().filter(|table| part.is_none_or(|part| table.name.contains(part))) {
        let kind = if table.time.is_some() { "events" } else { "state" };
        let columns = i64::try_from(table.columns.len()).unwrap_or(i64::MAX);
        sink.row(&[
            ValueRef::from(table.name),
            ValueRef::from(kind),
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
