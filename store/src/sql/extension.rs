//! What a program adds to the tables of a session: views, functions that are tables, and functions.
//!
//! Each is a `static` entry. A view is a statement under a name, which SQLite plans into the
//! statement that names it, so that comparisons reach the tables behind it. A function that is a
//! table makes its rows from its arguments, which are its hidden columns, and a function makes one
//! value; both read the statement's snapshot through [`History`].

use std::ops::RangeInclusive;

use rusqlite::types::{Value, ValueRef};

use crate::schema::TableSchema;
use crate::sql::bounds::TimeRange;
use crate::sql::rows::Block;
use crate::sql::state::{ScanFailure, StateBlock};
use crate::sql::statement::Context;
use crate::table::StateTable;
use crate::{Scan, ScanRequest};

/// What a program adds to a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extensions {
    /// Views.
    pub views: &'static [View],
    /// Functions that are tables.
    pub table_functions: &'static [TableFunctionEntry],
    /// Functions.
    pub functions: &'static [ScalarFunction],
}

/// A statement under a name.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Its name and columns.
    pub schema: &'static TableSchema,
    /// The `SELECT`, which has these columns in this order.
    pub sql: &'static str,
}

impl View {
    /// The statement that makes it.
    pub(super) fn create(&self) -> String {
        let names = self.schema.columns.iter().map(|column| format!("\"{}\"", column.name));
        let names = names.collect::<Vec<_>>().join(", ");
        format!("CREATE VIEW \"{}\" ({names}) AS {}", self.schema.name, self.sql)
    }
}

/// A function whose result is a table: `SELECT … FROM name(argument, …)`.
///
/// Its hidden columns, in order, are its arguments.
pub trait TableFunction: StateTable + Sync {
    /// The rows for some arguments, none of which is null.
    ///
    /// # Errors
    /// When an argument is none that the function takes, or the history cannot be read.
    fn rows(history: &History<'_>, arguments: &[Value]) -> Result<Vec<Self>, ScanFailure>;
}

/// Makes the rows for some arguments.
type Read = fn(&History<'_>, &[Value]) -> Result<Box<dyn Block>, ScanFailure>;

/// A [`TableFunction`] without its type.
#[derive(Clone, Copy, Debug)]
pub struct TableFunctionEntry {
    schema: &'static TableSchema,
    read: Read,
}

impl TableFunctionEntry {
    /// The entry of a function.
    #[must_use]
    pub const fn new<T: TableFunction>() -> Self {
        Self { schema: T::SCHEMA, read: read_as::<T> }
    }

    /// Its name and columns.
    #[must_use]
    pub const fn schema(&self) -> &'static TableSchema {
        self.schema
    }

    /// The rows for some arguments.
    pub(super) fn read(
        &self,
        history: &History<'_>,
        arguments: &[Value],
    ) -> Result<Box<dyn Block>, ScanFailure> {
        (self.read)(history, arguments)
    }
}

fn read_as<T: TableFunction>(
    history: &History<'_>,
    arguments: &[Value],
) -> Result<Box<dyn Block>, ScanFailure> {
    Ok(Box::new(StateBlock::new(T::rows(history, arguments)?)))
}

/// A function of one value.
#[derive(Clone, Copy, Debug)]
pub struct ScalarFunction {
    /// Its name, in lower case.
    pub name: &'static str,
    /// How many arguments it takes.
    pub arguments: i32,
    /// The value for some arguments. Within a statement it must be the same for the same ones.
    pub call: fn(&History<'_>, &[ValueRef<'_>]) -> Result<Value, ScanFailure>,
}

/// The recorded history as a statement sees it.
pub struct History<'a> {
    context: &'a Context,
}

impl<'a> History<'a> {
    pub(super) const fn new(context: &'a Context) -> Self {
        Self { context }
    }

    /// Reads rows of a table from the statement's snapshot.
    ///
    /// # Errors
    /// When there is no history, or it cannot be read.
    pub fn scan(
        &self,
        table: &'static TableSchema,
        request: &ScanRequest,
    ) -> Result<Scan, ScanFailure> {
        Ok(self.context.scan(table, request)?)
    }

    /// Notes that an answer rests on these times of a table, which are then told with the result.
    pub fn note(&self, table: &'static TableSchema, time: &RangeInclusive<i64>) {
        let range = TimeRange { min: *time.start(), max: *time.end() };
        if !range.is_empty() {
            self.context.note_scan(table.name, range);
        }
    }

    /// Per source, the time up to which everything is known and on disk, in nanoseconds since the
    /// Unix epoch.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn watermarks(&self) -> Result<Vec<(String, i64)>, ScanFailure> {
        Ok(self.context.watermarks()?)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::fixture::SMALL;
    use crate::sql::{ResultColumn, ResultSink, Session, SessionOptions, SqlError};
    use crate::{StateTable, Writer, WriterOptions};

    /// Numbers up to a bound.
    #[derive(StateTable)]
    struct UpTo {
        /// The number.
        number: i64,
        /// The bound.
        #[column(hidden)]
        bound: i64,
    }

    impl TableFunction for UpTo {
        fn rows(_: &History<'_>, arguments: &[Value]) -> Result<Vec<Self>, ScanFailure> {
            let [Value::Integer(bound)] = *arguments else {
                return Err("up_to() takes a whole number".into());
            };
            Ok((1..=bound).map(|number| Self { number, bound }).collect())
        }
    }

    /// Pids of small events.
    #[derive(StateTable)]
    struct SmallPids {
        /// The pid.
        process: u32,
        /// When.
        at_ns: i64,
    }

    static EXTENSIONS: Extensions = Extensions {
        views: &[View { schema: SmallPids::SCHEMA, sql: "SELECT pid, time_ns FROM small_events" }],
        table_functions: &[TableFunctionEntry::new::<UpTo>()],
        functions: &[ScalarFunction {
            name: "watermark",
            arguments: 1,
            call: |history, arguments| {
                let source = arguments.first().and_then(|source| source.as_str().ok());
                let marks = history.watermarks()?;
                let mark = marks.into_iter().find(|(name, _)| Some(name.as_str()) == source);
                Ok(mark.map_or(Value::Null, |(_, time_ns)| Value::Integer(time_ns)))
            },
        }],
    };

    static TABLES: &[&TableSchema] = &[SMALL];

    #[derive(Default)]
    struct Rows(Vec<String>);

    impl ResultSink for Rows {
        fn start(&mut self, _: &[ResultColumn]) -> io::Result<()> {
            Ok(())
        }
        fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
            let text = |value: &ValueRef<'_>| match value {
                ValueRef::Null => "NULL".to_owned(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                ValueRef::Integer(integer) => integer.to_string(),
                other => format!("{other:?}"),
            };
            self.0.push(values.iter().map(text).collect::<Vec<_>>().join("|"));
            Ok(())
        }
        fn end(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn ask(sql: &str) -> Result<Vec<String>, SqlError> {
        let dir = tempfile::tempdir().unwrap();
        let options = WriterOptions::new([7; 16]);
        let (mut writer, _) = Writer::open(dir.path(), TABLES, options).unwrap();
        writer.heartbeat(&[("eye", 77)]).unwrap();
        drop(writer);
        let options =
            SessionOptions { data_dir: dir.path().to_owned(), events: TABLES, states: &[] };
        let session = Session::open(options).unwrap().with_extensions(&EXTENSIONS).unwrap();
        let mut rows = Rows::default();
        session.execute(sql, &mut rows)?;
        Ok(rows.0)
    }

    #[test]
    fn a_function_that_is_a_table_takes_its_arguments_from_anywhere() {
        assert_eq!(ask("SELECT * FROM up_to(3)").unwrap(), ["1", "2", "3"]);
        assert_eq!(ask("SELECT * FROM up_to WHERE bound = 2").unwrap(), ["1", "2"]);
        assert_eq!(ask("SELECT * FROM up_to(3) WHERE number > 2").unwrap(), ["3"]);
        let join = "SELECT a.number, b.number FROM up_to(3) a JOIN up_to(a.number) b \
                    WHERE a.number < 3 ORDER BY 1, 2";
        assert_eq!(ask(join).unwrap(), ["1|1", "2|1", "2|2"]);
        assert_eq!(ask("SELECT count(*) FROM up_to(4), up_to(5)").unwrap(), ["20"]);
        assert_eq!(ask("SELECT count(*) FROM up_to(NULL)").unwrap(), ["0"]);
    }

    #[test]
    fn what_is_wrong_with_arguments_is_said() {
        let message = |sql: &str| {
            let error = ask(sql).unwrap_err();
            format!(
                "{error}: {}",
                std::error::Error::source(&error)
                    .map_or(String::new(), |source| source.to_string())
            )
        };
        let none = message("SELECT * FROM up_to");
        assert!(none.contains("write up_to(bound)"), "{none}");
        let text = message("SELECT * FROM up_to('x')");
        assert!(text.contains("up_to() takes a whole number"), "{text}");
        let less = message("SELECT * FROM up_to WHERE bound > 2");
        assert!(less.contains("write up_to(bound)"), "{less}");
    }

    #[test]
    fn a_view_is_planned_into_the_statement() {
        let plan =
            ask("EXPLAIN QUERY PLAN SELECT process FROM small_pids WHERE at_ns > 5").unwrap();
        assert!(plan.iter().any(|line| line.contains("time_ns>?")), "{plan:?}");
        assert!(ask("CREATE VIEW v AS SELECT 1").is_err(), "a session is read-only afterwards");
        assert!(ask("DROP VIEW small_pids").is_err());
    }

    #[test]
    fn a_function_reads_the_history() {
        let rows = ask("SELECT watermark('eye'), watermark('ear')").unwrap();
        assert_eq!(rows, ["77|NULL"]);
    }
}
