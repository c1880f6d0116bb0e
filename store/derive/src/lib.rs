//! Derives of `bygone-store`: a struct's fields and their comments become a table.
//!
//! `#[derive(EventTable)]` makes a table of events, `#[derive(StateTable)]` a table of the host's
//! state. Both write the schema, from which everything else follows, and the access to the
//! fields. What the struct must look like is said in `bygone_store::EventTable`.
//!
//! **Invariant:** what is wrong with a struct is said at the place where it is wrong and with the
//! mend, all of it at once; beside the errors an empty implementation is emitted, so that the
//! compiler does not also complain that the trait is missing.

mod attribute;
mod expand;
mod parse;
mod table;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

use crate::table::Kind;

/// Makes a struct a row of a table of events.
///
/// Each field is a column of the same name: `bool`, `i32`, `i64`, `u32`, `u64`, `f64`, `String`
/// or `Vec<u8>`, in an `Option` when it can be null, or `Computed` when its value is derived on
/// read. Its `///` comment is the column's documentation. Attributes:
///
/// - `#[column(time)]`: the time of the event, an `i64` of nanoseconds since the Unix epoch;
///   exactly one field has it.
/// - `#[column(bloom)]`: segments carry a bloom filter on it.
/// - `#[column(hidden)]`: `SELECT *` leaves it out.
/// - `#[column(guid(pid, start_ns))]`, on a `Computed` field: the identity of the process whose
///   id and start time are in the named fields.
/// - `#[column(uptime)]`, `#[column(boot_ns)]`, on a `Computed` field: the event's time since
///   boot, in seconds or nanoseconds.
///
/// The columns `time` (first) and `eid`, `boot_ns`, `boot_id` (last, hidden) are added.
#[proc_macro_derive(EventTable, attributes(column))]
pub fn event_table(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::derive(&input, Kind::Event).into()
}

/// Makes a struct a row of a table that shows the host's state.
///
/// Fields are columns as in [`macro@EventTable`]; of the attributes, `hidden` and `guid` exist.
#[proc_macro_derive(StateTable, attributes(column))]
pub fn state_table(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::derive(&input, Kind::State).into()
}
