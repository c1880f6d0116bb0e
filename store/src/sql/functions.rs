//! SQL functions: instants from text and to text, and counts without reading.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};
use rusqlite::Connection;
use rusqlite::functions::{Context as Call, FunctionFlags};
use rusqlite::types::ValueRef;

use crate::schema::TableSchema;
use crate::sql::bounds::TimeRange;
use crate::sql::error::{SqlError, nearest};
use crate::sql::extension::{History, ScalarFunction};
use crate::sql::math;
use crate::sql::statement::Context;
use crate::sql::time::parse_time;

/// All keep their value within a statement, where `now` and the snapshot stand still, so that SQLite
/// computes them once when their arguments are constants.
const FLAGS: FunctionFlags = FunctionFlags::SQLITE_UTF8
    .union(FunctionFlags::SQLITE_DETERMINISTIC)
    .union(FunctionFlags::SQLITE_INNOCUOUS);

/// Adds the functions to a connection.
pub(super) fn register(
    connection: &Connection,
    tables: Vec<&'static TableSchema>,
    context: &Arc<Context>,
) -> rusqlite::Result<()> {
    math::register(connection)?;
    connection.create_scalar_function("iso", 1, FLAGS, |call| iso(call))?;
    let shared = Arc::clone(context);
    connection.create_scalar_function("ns", 1, FLAGS, move |call| ns(call, &shared))?;
    let shared = Arc::clone(context);
    connection.create_scalar_function("row_count", 3, FLAGS, move |call| {
        row_count(call, &tables, &shared)
    })
}

/// Adds a function of the program.
pub(super) fn register_own(
    connection: &Connection,
    function: &'static ScalarFunction,
    context: &Arc<Context>,
) -> rusqlite::Result<()> {
    let shared = Arc::clone(context);
    let ScalarFunction { name, arguments, call } = *function;
    connection.create_scalar_function(name, arguments, FLAGS, move |given| {
        let arguments: Vec<ValueRef<'_>> = (0..given.len()).map(|at| given.get_raw(at)).collect();
        call(&History::new(&shared), &arguments)
            .map_err(|source| shared.fail(shared.function_error(name, source)))
    })
}

/// `row_count(table, from_ns, to_ns)`: how many events the table has from one instant on and before
/// another, in nanoseconds since the Unix epoch; null is no bound. It is answered from what files
/// say of themselves, so that it costs hardly anything at any size; only where the range begins or
/// ends within a file are its times read.
fn row_count(
    call: &Call<'_>,
    tables: &[&'static TableSchema],
    context: &Context,
) -> rusqlite::Result<i64> {
    let name = match call.get_raw(0) {
        ValueRef::Text(text) => String::from_utf8_lossy(text),
        other => return Err(refuse("row_count() takes the name of a table of events", other)),
    };
    let Some(schema) = tables.iter().find(|schema| schema.name.eq_ignore_ascii_case(&name)) else {
        let events = tables.iter().filter(|schema| schema.time.is_some());
        let nearest = nearest(&name, events.map(|schema| schema.name));
        return Err(context.fail(SqlError::NoSuchTable { name: name.into_owned(), nearest }));
    };
    if schema.time.is_none() {
        return Err(context.fail(SqlError::NoHistory { table: schema.name }));
    }
    let bound = |index| match call.get_raw(index) {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(time_ns) => Ok(Some(time_ns)),
        other => Err(refuse("row_count() takes whole nanoseconds since 1970 or null", other)),
    };
    let range = TimeRange {
        min: bound(1)?.unwrap_or(i64::MIN),
        max: match bound(2)? {
            None => i64::MAX,
            Some(i64::MIN) => return Ok(0),
            Some(time_ns) => time_ns - 1,
        },
    };
    if range.is_empty() {
        return Ok(0);
    }
    let count = context.count(schema, range).map_err(|error| context.fail(error))?;
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}

/// `iso(ns)`: nanoseconds since the Unix epoch as RFC 3339 in UTC, with as many digits of the
/// second as it needs (none, 3, 6 or 9). Null gives null.
fn iso(call: &Call<'_>) -> rusqlite::Result<Option<String>> {
    match call.get_raw(0) {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(time_ns) => {
            let time = DateTime::from_timestamp_nanos(time_ns);
            Ok(Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true)))
        }
        other => Err(refuse("iso() takes whole nanoseconds since 1970", other)),
    }
}

/// `ns(text)`: an instant in any form of [`parse_time`], in nanoseconds since the Unix epoch. Null
/// gives null.
fn ns(call: &Call<'_>, context: &Context) -> rusqlite::Result<Option<i64>> {
    match call.get_raw(0) {
        ValueRef::Null => Ok(None),
        ValueRef::Text(text) => parse_time(&String::from_utf8_lossy(text), context.now())
            .map(Some)
            .map_err(|error| rusqlite::Error::UserFunctionError(Box::new(error))),
        other => Err(refuse("ns() takes a time as text", other)),
    }
}

fn refuse(what: &str, value: ValueRef<'_>) -> rusqlite::Error {
    let message = format!("{what}, not a value of type {}", value.data_type());
    rusqlite::Error::UserFunctionError(message.into())
}
