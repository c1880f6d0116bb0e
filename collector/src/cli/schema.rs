//! `bygone schema`: the tables as `CREATE TABLE` statements, with what their columns mean.

use std::fmt::Write as _;

use anyhow::{Context, anyhow};
use bygone_store::TableSchema;
use bygone_store::schema::{ColumnSchema, ColumnSource};
use clap::Args;

use super::tables::{Kind, all, kinds};
use super::terminal::print;

/// How alike two names must be for one to be suggested for the other; 1 is equal.
const SUGGEST_SIMILARITY_MIN: f64 = 0.7;

/// Print the columns of tables and what they mean, as SQL
#[derive(Args, Debug)]
#[command(after_help = "\
A column marked HIDDEN is left out of SELECT * and must be named.

Examples:
  bygone schema process_events
  bygone schema > schema.sql")]
pub(super) struct SchemaArguments {
    /// Table [default: all]
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
}

pub(super) fn run(arguments: &SchemaArguments) -> anyhow::Result<()> {
    let mut text = String::new();
    if arguments.tables.is_empty() {
        text = kinds().map(create).collect::<Vec<_>>().join("\n");
    }
    for (index, name) in arguments.tables.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        text.push_str(&of_table(name)?);
    }
    print(&text).context("cannot write to standard output")
}

/// The statement of the table `name`.
///
/// # Errors
/// When there is no such table; the message names the nearest.
pub(super) fn of_table(name: &str) -> anyhow::Result<String> {
    kinds().find(|(_, table)| table.name == name).map(create).ok_or_else(|| no_such_table(name))
}

fn no_such_table(name: &str) -> anyhow::Error {
    let nearest = all()
        .map(|table| (strsim::jaro_winkler(name, table.name), table.name))
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .filter(|(similarity, _)| *similarity >= SUGGEST_SIMILARITY_MIN);
    match nearest {
        Some((_, nearest)) => anyhow!("no such table: {name}; did you mean {nearest}?"),
        None => anyhow!("no such table: {name}; bygone tables lists them"),
    }
}

fn create((kind, table): (Kind, &TableSchema)) -> String {
    match kind {
        Kind::Events | Kind::State => create_table(table),
        Kind::View(sql) => create_view(table, sql),
        Kind::Function => format!("-- Called as {}.\n{}", call(table), create_table(table)),
    }
}

/// A function as it is called.
fn call(table: &TableSchema) -> String {
    let arguments = table.columns.iter().filter(|column| column.hidden).map(|column| column.name);
    format!("{}({})", table.name, arguments.collect::<Vec<_>>().join(", "))
}

/// The view as a statement that SQLite accepts, documented by comments.
fn create_view(table: &TableSchema, sql: &str) -> String {
    let mut text = format!("-- {}\nCREATE VIEW {} (\n", table.doc, table.name);
    let last = table.columns.len().saturating_sub(1);
    for (index, column) in table.columns.iter().enumerate() {
        let comma = if index == last { "" } else { "," };
        let line = format!("    {}{comma} -- {}: {}\n", column.name, sql_type(column), column.doc);
        text.push_str(&line);
    }
    text.push_str(&format!(") AS\n{};\n", sql.trim_start_matches('\n')));
    text
}

/// The table as a statement that SQLite accepts, documented by comments.
fn create_table(table: &TableSchema) -> String {
    let mut text = format!("-- {}\nCREATE TABLE {} (\n", table.doc, table.name);
    let last = table.columns.len().saturating_sub(1);
    for (index, column) in table.columns.iter().enumerate() {
        let comma = if index == last { "" } else { "," };
        // Writing to a `String` cannot fail.
        writeln!(text, "    {}{comma} -- {}", declaration(column), column.doc).unwrap_or_default();
    }
    text.push_str(");\n");
    text
}

fn declaration(column: &ColumnSchema) -> String {
    let hidden = if column.hidden { " HIDDEN" } else { "" };
    let not_null = if column.nullable { "" } else { " NOT NULL" };
    format!("{} {}{hidden}{not_null}", column.name, sql_type(column))
}

const fn sql_type(column: &ColumnSchema) -> &'static str {
    match column.source {
        ColumnSource::Stored(column_type) => column_type.sql(),
        ColumnSource::Computed(computation) => computation.sql(),
    }
}

#[cfg(test)]
mod tests {
    use bygone_store::schema::{ColumnType, Computation};
    use expect_test::expect;

    use super::*;

    const fn column(name: &'static str, source: ColumnSource, nullable: bool) -> ColumnSchema {
        ColumnSchema { name, doc: "What it is.", source, nullable, hidden: false, bloom: false }
    }

    static TABLE: TableSchema = TableSchema {
        name: "kettle_events",
        doc: "Kettles that boiled: one row per `boil(2)`.",
        columns: &[
            column("time", ColumnSource::Computed(Computation::Seconds), false),
            column("path", ColumnSource::Stored(ColumnType::Text), true),
            ColumnSchema {
                hidden: true,
                ..column("eid", ColumnSource::Computed(Computation::Eid), false)
            },
        ],
        time: Some(0),
    };

    #[test]
    fn statement_with_comments() {
        expect![[r#"
            -- Kettles that boiled: one row per `boil(2)`.
            CREATE TABLE kettle_events (
                time BIGINT NOT NULL, -- What it is.
                path TEXT, -- What it is.
                eid BIGINT HIDDEN NOT NULL -- What it is.
            );
        "#]]
        .assert_eq(&create_table(&TABLE));
    }

    #[test]
    fn sqlite_accepts_every_table() {
        let database = rusqlite::Connection::open_in_memory().unwrap();
        for (kind, table) in kinds() {
            database.execute_batch(&create((kind, table))).unwrap();
            let pragma = format!("SELECT count(*) FROM pragma_table_xinfo('{}')", table.name);
            let columns: i64 = database.query_row(&pragma, [], |row| row.get(0)).unwrap();
            assert_eq!(usize::try_from(columns), Ok(table.columns.len()), "{}", table.name);
        }
    }

    #[test]
    fn an_unknown_table_is_named_with_the_nearest() {
        let near = of_table("proces_events").unwrap_err().to_string();
        assert_eq!(near, "no such table: proces_events; did you mean process_events?");
        let far = of_table("qqq").unwrap_err().to_string();
        assert_eq!(far, "no such table: qqq; bygone tables lists them");
    }
}
