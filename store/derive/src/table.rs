//! A table as the derives understand it, between the struct and the generated code.

use syn::Ident;

/// Which of the two derives is at work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Event,
    State,
}

/// A struct without mistakes.
pub(crate) struct Table {
    /// The SQL name.
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) fields: Vec<Field>,
    /// Index of the time field in `fields`; always there for an event table, never for a state
    /// table.
    pub(crate) time: Option<usize>,
}

/// One field.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    /// The SQL name.
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) source: Source,
    pub(crate) nullable: bool,
    pub(crate) hidden: bool,
    pub(crate) bloom: bool,
}

/// Where a field's values come from.
pub(crate) enum Source {
    /// The variant of `ColumnType`.
    Stored(&'static str),
    Uptime,
    BootNs,
    /// Indices of the parts in `Table::fields`.
    Guid {
        pid: usize,
        start_ns: usize,
    },
}
