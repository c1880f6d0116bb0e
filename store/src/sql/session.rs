//! The way in: a session runs statements and hands their rows to a sink.

use std::ffi::c_int;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, ErrorCode, Statement};

use crate::schema::TableSchema;
use crate::sql::direct::Passed;
use crate::sql::error::{SqlError, nearest, position};
use crate::sql::extension::{Extensions, TableFunctionEntry};
use crate::sql::state::StateTableEntry;
use crate::sql::statement::Context;
use crate::sql::walk::Shown;
use crate::sql::{authorizer, direct, function_table, functions, script, vtab};
use crate::{Damage, Reader};

/// Steps of SQLite's machine between two looks at the clock: about a millisecond.
const PROGRESS_STEPS: c_int = 20_000;

/// What a session shows.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The data folder. It is opened when a statement first reads a table of events.
    pub data_dir: PathBuf,
    /// The tables of events.
    pub events: &'static [&'static TableSchema],
    /// The state tables.
    pub states: &'static [StateTableEntry],
}

/// Runs statements over the tables of a store and of the host. Read-only.
///
/// ```
/// use std::io;
/// use bygone_store::sql::{ResultColumn, ResultSink, Session, SessionOptions};
/// use rusqlite::types::ValueRef;
///
/// struct Print;
///
/// impl ResultSink for Print {
///     fn start(&mut self, columns: &[ResultColumn]) -> io::Result<()> {
///         assert_eq!(columns[0].name, "answer");
///         Ok(())
///     }
///     fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
///         assert_eq!(values, [ValueRef::Integer(42)]);
///         Ok(())
///     }
///     fn end(&mut self) -> io::Result<()> {
///         Ok(())
///     }
/// }
///
/// let options = SessionOptions { data_dir: "/nowhere".into(), events: &[], states: &[] };
/// Session::open(options)?.execute("SELECT 6 * 7 AS answer", &mut Print)?;
/// # Ok::<(), bygone_store::sql::SqlError>(())
/// ```
pub struct Session {
    connection: Connection,
    context: Arc<Context>,
    tables: Vec<&'static TableSchema>,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name: the alias, or what SQLite makes of the expression.
    pub name: String,
    /// The declared type of the table's column that it is, `None` for any other expression.
    pub declared_type: Option<String>,
}

/// Takes the results of statements, one after the other.
pub trait ResultSink {
    /// A result begins.
    ///
    /// # Errors
    /// When it cannot be written; the statement ends then.
    fn start(&mut self, columns: &[ResultColumn]) -> io::Result<()>;

    /// A row of it.
    ///
    /// # Errors
    /// Likewise.
    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()>;

    /// It is complete.
    ///
    /// # Errors
    /// Likewise.
    fn end(&mut self) -> io::Result<()>;
}

/// What is to be known about results beside their rows.
#[derive(Clone, Debug, Default)]
pub struct Executed {
    /// Files found missing or damaged, each once.
    pub damage: Vec<Damage>,
    /// Tables of events that were read and the times, in nanoseconds since the Unix epoch, over
    /// which they were.
    pub scanned: Vec<(&'static str, RangeInclusive<i64>)>,
}

/// Interrupts a session's statement from another thread.
#[derive(Clone)]
pub struct InterruptHandle {
    sqlite: Arc<rusqlite::InterruptHandle>,
    flag: Arc<AtomicBool>,
}

impl InterruptHandle {
    /// Ends the running statement with [`SqlError::Interrupted`]; does nothing when there is none.
    pub fn interrupt(&self) {
        self.flag.store(true, Ordering::Release);
        self.sqlite.interrupt();
    }
}

impl Session {
    /// Sets SQLite up with the tables. Reads nothing of the data folder.
    ///
    /// # Errors
    /// When SQLite refuses; two tables of one name are an error too.
    pub fn open(options: SessionOptions) -> Result<Self, SqlError> {
        let context = Arc::new(Context::new(options.data_dir));
        let events = options.events.iter().map(|schema| Shown::Events(schema));
        let tables: Vec<Shown> = events.chain(options.states.iter().map(Shown::State)).collect();
        let connection = connect(&tables, &context).map_err(SqlError::Setup)?;
        let tables = tables.into_iter().map(Shown::schema).collect();
        Ok(Self { connection, context, tables })
    }

    /// Adds a program's views and functions to the tables.
    ///
    /// # Errors
    /// When SQLite refuses one, for instance because of its name.
    pub fn with_extensions(mut self, extensions: &'static Extensions) -> Result<Self, SqlError> {
        self.extend(extensions).map_err(SqlError::Setup)?;
        self.tables.extend(extensions.views.iter().map(|view| view.schema));
        self.tables.extend(extensions.table_functions.iter().map(TableFunctionEntry::schema));
        Ok(self)
    }

    fn extend(&mut self, extensions: &'static Extensions) -> rusqlite::Result<()> {
        for entry in extensions.table_functions {
            function_table::register(&self.connection, entry, &self.context)?;
        }
        for function in extensions.functions {
            functions::register_own(&self.connection, function, &self.context)?;
        }
        let none: Option<fn(AuthContext<'_>) -> Authorization> = None;
        self.connection.authorizer(none)?;
        self.connection.pragma_update(None, "query_only", false)?;
        for view in extensions.views {
            self.connection.execute_batch(&view.create())?;
        }
        self.connection.pragma_update(None, "query_only", true)?;
        let names = extensions.functions.iter().map(|function| function.name);
        authorize(&mut self.connection, &self.context, names.collect())
    }

    /// Says which boot state tables are read in: it is part of the identity of the processes that
    /// they show, which is null without it.
    #[must_use]
    pub fn with_boot_id(self, boot_id: [u8; 16]) -> Self {
        self.context.set_boot_id(boot_id);
        self
    }

    /// Reads the tables of events through a reader that is open already, whatever the data folder of
    /// the options: one of another disk.
    #[must_use]
    pub fn with_reader(self, reader: Reader) -> Self {
        self.context.set_reader(reader);
        self
    }

    /// Sets how much memory, in bytes, one statement may use to keep rows of events for repeated
    /// scans, such as the inner side of a join; [`crate::limits::KEPT_BYTES_MAX`] unless set. With
    /// less, such statements are slower and as right.
    #[must_use]
    pub fn with_kept_bytes_max(self, bytes: usize) -> Self {
        self.context.set_kept_bytes_max(bytes);
        self
    }

    /// Sets how much memory, in bytes, one grouping may use for its distinct values;
    /// [`crate::limits::GROUPS_BYTES_MAX`] unless set. With less, rows are read several times, a
    /// part of the values at each.
    #[must_use]
    pub fn with_groups_bytes_max(self, bytes: usize) -> Self {
        self.context.set_groups_bytes_max(bytes);
        self
    }

    /// Sets how long each statement may run, from its preparation to its last row; no limit unless
    /// set. One that runs longer ends with [`SqlError::TimedOut`].
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        self.context.clock().set_timeout(timeout);
        self
    }

    /// Sets how much memory, in bytes, a statement may take; no limit unless set. One that needs
    /// more ends with [`SqlError::TooMuchMemory`]. Half of it may hold rows kept for repeated scans,
    /// unless [`Self::with_kept_bytes_max`] says otherwise afterwards. Counted are rows and values held for it and
    /// SQLite's own memory, which SQLite counts for the whole process: set it only in a process that
    /// runs one statement at a time.
    #[must_use]
    pub fn with_memory_max(self, bytes: usize) -> Self {
        self.context.set_memory_max(bytes);
        self
    }

    /// The data folder.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.context.data_dir()
    }

    /// The tables: those of events, then those of state.
    #[must_use]
    pub fn tables(&self) -> &[&'static TableSchema] {
        &self.tables
    }

    /// A handle to interrupt this session's statements by.
    #[must_use]
    pub fn interrupt_handle(&self) -> InterruptHandle {
        InterruptHandle {
            sqlite: Arc::new(self.connection.get_interrupt_handle()),
            flag: self.context.interrupt_flag(),
        }
    }

    /// Runs one statement, or several separated by semicolons, each on its own snapshot. The sink
    /// gets the result of each.
    ///
    /// # Errors
    /// At the first statement that fails; the sink has what came before. When there are several,
    /// it is [`SqlError::Statement`], which names the one.
    pub fn execute(&self, sql: &str, sink: &mut dyn ResultSink) -> Result<Executed, SqlError> {
        let mut executed = Executed::default();
        let mut batch = Batch::new(&self.connection, sql);
        for number in 1.. {
            self.context.begin();
            let ran = match batch.next() {
                Ok(Some(mut statement)) => self.run(&mut statement, sink),
                Ok(None) => {
                    self.context.end();
                    break;
                }
                Err(error) => Err(Stopped::Sqlite(error)),
            };
            ran.map_err(|stopped| script::locate(self.explain(stopped, sql), sql, number))?;
            let finished = self.context.finish();
            for damage in finished.damage {
                if !executed.damage.contains(&damage) {
                    executed.damage.push(damage);
                }
            }
            executed.scanned.extend(finished.scanned);
        }
        Ok(executed)
    }

    fn run(&self, statement: &mut Statement<'_>, sink: &mut dyn ResultSink) -> Result<(), Stopped> {
        let columns: Vec<ResultColumn> = statement.columns().map(|found| column(&found)).collect();
        let passed = self.passed(statement);
        let mut rows = statement.query([])?;
        // Made before the sink hears of it: a statement that cannot read leaves nothing behind.
        let mut next = rows.next()?;
        match passed.zip(self.context.take_stream()) {
            None => sink.start(&columns)?,
            Some((Passed::Count, stream)) => {
                let count =
                    stream.count(&self.context).map_err(|error| self.context.fail(error))?;
                sink.start(&columns)?;
                sink.row(&[ValueRef::Integer(count)])?;
                // SQLite has seen no row: its own count is 0.
                next = None;
            }
            Some((Passed::Rows(from), mut stream)) => {
                sink.start(&columns)?;
                loop {
                    stream.each(&from, |values| sink.row(values))?;
                    let more = stream.advance(&self.context);
                    if !more.map_err(|error| self.context.fail(error))? {
                        break;
                    }
                }
            }
        }
        while let Some(row) = next {
            let mut values = Vec::with_capacity(columns.len());
            for index in 0..columns.len() {
                values.push(row.get_ref(index)?);
            }
            sink.row(&values)?;
            next = rows.next()?;
        }
        sink.end()?;
        Ok(())
    }

    /// What is to be done with the rows of a statement's one scan, when SQLite would do no more with
    /// them than pass them on or count them; the scan is then asked to hand them over.
    fn passed(&self, statement: &Statement<'_>) -> Option<Passed> {
        if !self.context.has_one_table() {
            return None;
        }
        let sql = statement.expanded_sql()?;
        // Whatever fails here is SQLite's to do and to tell.
        let passed = direct::passed(&self.connection, &sql).ok().flatten()?;
        self.context.ask_for_stream();
        Some(passed)
    }

    /// Says what an error means, in terms of the statement.
    fn explain(&self, stopped: Stopped, sql: &str) -> SqlError {
        let failure = self.context.take_failure();
        let refused = self.context.take_refused();
        let timed_out = self.context.clock().check().err();
        // Lets go of the snapshot and the rows kept.
        self.context.end();
        let error = match stopped {
            Stopped::Output(error) => return SqlError::Output(error),
            Stopped::Sqlite(error) => error,
        };
        if let Some(failure) = failure {
            return failure;
        }
        if let Some(what) = refused {
            return SqlError::NotAllowed { what };
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => {
                return timed_out.unwrap_or(SqlError::Interrupted);
            }
            Some(ErrorCode::OutOfMemory) => return self.context.too_much(),
            _ => {}
        }
        match error {
            rusqlite::Error::SqlInputError { msg, sql: rest, offset, .. } => {
                self.explain_input(msg, sql, &rest, offset)
            }
            rusqlite::Error::SqliteFailure(_, Some(message)) => self.explain_message(message, sql),
            other => SqlError::Sqlite { message: other.to_string() },
        }
    }

    /// An error at a place: `rest` is the end of `sql` that begins with the failed statement.
    fn explain_input(&self, message: String, sql: &str, rest: &str, offset: i32) -> SqlError {
        if message.starts_with("no such ") {
            return self.explain_message(message, sql);
        }
        let offset = usize::try_from(offset).unwrap_or(0);
        let before = sql.len().saturating_sub(rest.len());
        let (line, column) = position(sql, before + offset);
        SqlError::Syntax { message, line, column }
    }

    fn explain_message(&self, message: String, sql: &str) -> SqlError {
        if let Some(name) = message.strip_prefix("no such table: ") {
            let names = self.tables.iter().map(|table| table.name);
            return SqlError::NoSuchTable { name: name.to_owned(), nearest: nearest(name, names) };
        }
        if let Some(name) = message.strip_prefix("no such column: ") {
            let bare = name.rsplit('.').next().unwrap_or(name);
            let nearest = nearest(bare, self.columns_of(sql));
            return SqlError::NoSuchColumn { name: name.to_owned(), nearest };
        }
        // SQLite refuses to change a virtual table before it asks the authorizer.
        if message.ends_with(" may not be modified") {
            return SqlError::NotAllowed { what: "changing a table".to_owned() };
        }
        SqlError::Sqlite { message }
    }

    /// The columns of the tables that a statement names.
    fn columns_of(&self, sql: &str) -> impl Iterator<Item = &'static str> {
        let named = |table: &&&'static TableSchema| sql.contains(table.name);
        let columns = self.tables.iter().filter(named).flat_map(|table| table.columns);
        let names: Vec<&'static str> = columns.map(|column| column.name).collect();
        names.into_iter()
    }
}

/// Why a statement stopped.
enum Stopped {
    Sqlite(rusqlite::Error),
    Output(io::Error),
}

impl From<rusqlite::Error> for Stopped {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn column(column: &rusqlite::Column<'_>) -> ResultColumn {
    ResultColumn {
        name: column.name().to_owned(),
        declared_type: column.decl_type().map(str::to_owned),
    }
}

/// A connection that can read the tables and nothing else.
fn connect(tables: &[Shown], context: &Arc<Context>) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    // Nothing is spilled to files that others could read.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "query_only", true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    functions::register(&connection, tables.iter().map(|table| table.schema()).collect(), context)?;
    for table in tables {
        vtab::register(&connection, *table, context)?;
    }
    let clock = Arc::clone(context);
    connection.progress_handler(PROGRESS_STEPS, Some(move || clock.clock().check().is_err()))?;
    authorize(&mut connection, context, Vec::new())?;
    Ok(connection)
}

/// Lets statements read and call functions, among them the program's `own`, and nothing else.
fn authorize(
    connection: &mut Connection,
    context: &Arc<Context>,
    own: Vec<&'static str>,
) -> rusqlite::Result<()> {
    let context = Arc::clone(context);
    connection.authorizer(Some(move |asked: AuthContext<'_>| {
        let decision = authorizer::decide(&asked.action, &own);
        if decision == Authorization::Deny {
            context.refuse(authorizer::describe(&asked.action));
        }
        decision
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::SMALL;

    static TABLES: &[&TableSchema] = &[SMALL];

    /// Fails for every statement when SQLite's programs have another form.
    #[test]
    fn statements_of_one_loop_are_passed_on() {
        let dir = tempfile::tempdir().unwrap();
        let options =
            SessionOptions { data_dir: dir.path().to_owned(), events: TABLES, states: &[] };
        let session = Session::open(options).unwrap();
        let direct = |sql: &str| direct::passed(&session.connection, sql).unwrap();
        let [time_ns, pid, path] =
            ["time_ns", "pid", "path"].map(|name| SMALL.column(name).unwrap());
        for (sql, expected) in [
            ("SELECT path, pid FROM small_events", vec![path, pid]),
            ("SELECT path, path, pid AS p FROM small_events s", vec![path, path, pid]),
            ("SELECT pid FROM small_events WHERE time_ns > ns('2026-01-01')", vec![pid]),
            (
                "SELECT time_ns FROM (SELECT * FROM small_events) WHERE pid = 7 \
                 AND time_ns BETWEEN 1 AND 9 ORDER BY time_ns DESC",
                vec![time_ns],
            ),
        ] {
            assert_eq!(direct(sql), Some(Passed::Rows(expected)), "{sql}");
        }
        for sql in [
            "SELECT count(*) FROM small_events",
            "SELECT count(*) AS n FROM small_events WHERE time_ns > ns('2026-01-01') AND pid = 7",
        ] {
            assert_eq!(direct(sql), Some(Passed::Count), "{sql}");
        }
        for sql in [
            "SELECT pid + 1 FROM small_events",
            "SELECT pid, 1 FROM small_events",
            "SELECT rowid FROM small_events",
            "SELECT pid FROM small_events LIMIT 3",
            "SELECT pid FROM small_events WHERE pid % 2 = 1",
            "SELECT pid FROM small_events ORDER BY path || pid",
            "SELECT count(pid) FROM small_events WHERE pid % 2 = 1",
            "SELECT count(*) + 1 FROM small_events",
            "SELECT count(*), 1 FROM small_events",
            "SELECT count(*), count(*) FROM small_events a, small_events b",
            "SELECT count(*) FROM small_events GROUP BY pid",
            "SELECT a.pid FROM small_events a JOIN small_events b ON a.pid = b.pid",
            "SELECT pid FROM small_events UNION ALL SELECT pid FROM small_events",
            "SELECT (SELECT pid FROM small_events)",
            "SELECT pid FROM small_events WHERE pid IN (SELECT 1)",
        ] {
            assert_eq!(direct(sql), None, "{sql}");
        }
    }
}
