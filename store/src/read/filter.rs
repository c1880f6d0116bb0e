//! What a scan's rows must hold beside their time.

use std::ops::Bound;

/// A condition on one column. A scan yields exactly the rows for which all of its filters hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Where the value is.
    pub column: FilterColumn,
    /// What must hold of it.
    pub test: Test,
}

/// What a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterColumn {
    /// A stored column, as an index into [`crate::TableSchema::columns`].
    Stored(usize),
    /// The row's number in its table.
    Eid,
    /// The boot id of the host that the row was recorded on, as 16 bytes.
    BootId,
}

/// What must hold of a value. Integers of every type are compared as SQL sees them: booleans as 0
/// and 1, unsigned numbers above [`i64::MAX`] in two's complement. Text is compared by its bytes.
///
/// Null passes [`Self::IsNull`] alone; a floating-point number that is none (NaN) is null, as it is
/// in SQL. A test that no value of the column's type can pass is refused with
/// [`crate::ReadError::Filter`]: tests for integers are for booleans and integers, those for text
/// are for text, and floating-point numbers and bytes have none but [`Self::IsNull`] and
/// [`Self::IsNotNull`].
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// It is null.
    IsNull,
    /// It is not null.
    IsNotNull,
    /// It is one of these integers; ascending, each once.
    Integers(Vec<i64>),
    /// It is an integer from the first to the second.
    IntegerRange(i64, i64),
    /// It is one of these texts; ascending, each once.
    Texts(Vec<Box<str>>),
    /// It is text between these.
    TextRange(Bound<Box<str>>, Bound<Box<str>>),
    /// It matches a pattern of SQLite's `LIKE`: `%` any run, `_` any character, ASCII letters
    /// without regard to case, no escape. As there, a text ends at its first NUL.
    Like(Box<str>),
    /// It matches a pattern of SQLite's `GLOB`: `*` any run, `?` any character, `[…]` a class.
    /// Likewise.
    Glob(Box<str>),
    /// It is a boot id that begins with these bytes.
    BootPrefix(Vec<u8>),
}

/// In which order a scan yields its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// In whichever is cheapest.
    #[default]
    Any,
    /// By time, then number, the oldest first.
    Ascending,
    /// By time, then number, the newest first.
    Descending,
}
