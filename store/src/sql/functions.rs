//! SQL functions: instants from text and to text.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};
use rusqlite::Connection;
use rusqlite::functions::{Context as Call, FunctionFlags};
use rusqlite::types::ValueRef;

use crate::sql::statement::Context;
use crate::sql::time::parse_time;

/// Both keep their value within a statement, where `now` stands still, so that SQLite computes
/// them once when their argument is a constant.
const FLAGS: FunctionFlags = FunctionFlags::SQLITE_UTF8
    .union(FunctionFlags::SQLITE_DETERMINISTIC)
    .union(FunctionFlags::SQLITE_INNOCUOUS);

/// Adds the functions to a connection.
pub(super) fn register(connection: &Connection, context: &Arc<Context>) -> rusqlite::Result<()> {
    connection.create_scalar_function("iso", 1, FLAGS, |call| iso(call))?;
    let context = Arc::clone(context);
    connection.create_scalar_function("ns", 1, FLAGS, move |call| ns(call, &context))
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
