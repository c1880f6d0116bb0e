//! Questions to the recorded history that are more than a look into one table: what a process came
//! from and what came from it, and whether a stretch of history is complete.
//!
//! They are asked in SQL, as views and functions ([`crate::tables`]); what is here reads the
//! statement's snapshot and is otherwise free of SQL.
//!
//! **Invariant:** every look is bounded, and says so where it ends at its bound.

mod books;
pub mod complete;
pub mod descent;
pub mod life;
mod rows;

use std::error::Error;

use bygone_store::{GuidParts, parse_guid};
use rusqlite::types::Value;

/// Why a question could not be answered.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The process that a function is asked about.
///
/// # Errors
/// When the argument is no guid.
pub fn process_argument(function: &str, arguments: &[Value]) -> Result<GuidParts, Failure> {
    let given = match arguments {
        [Value::Text(text)] => match parse_guid(text) {
            Some(process) => return Ok(process),
            None => format!("'{text}'"),
        },
        _ => "this value".to_owned(),
    };
    Err(format!(
        "{function}() takes the guid of a process, as in the column guid of process_events; \
         {given} is none"
    )
    .into())
}

/// Whole seconds of nanoseconds since the Unix epoch.
#[must_use]
pub const fn seconds(time_ns: i64) -> i64 {
    time_ns.div_euclid(1_000_000_000)
}
