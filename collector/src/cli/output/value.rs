//! Values as text.

use std::borrow::Cow;
use std::fmt::Write as _;

use rusqlite::types::ValueRef;

use crate::cli::visible::visible;

/// The value as exact text, `None` for null. Text that is not UTF-8 has its bad bytes replaced by
/// U+FFFD; bytes are written in hexadecimal.
pub(super) fn text(value: ValueRef<'_>) -> Option<Cow<'_, str>> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(Cow::Owned(number.to_string())),
        ValueRef::Real(number) => Some(Cow::Owned(format!("{number:?}"))),
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes)),
        ValueRef::Blob(bytes) => Some(Cow::Owned(hex(bytes))),
    }
}

/// The value as text that is safe to show, `NULL` for null.
pub(super) fn shown(value: ValueRef<'_>) -> String {
    match text(value) {
        None => "NULL".to_owned(),
        Some(Cow::Borrowed(text)) => visible(text).into_owned(),
        Some(Cow::Owned(text)) => match visible(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(escaped) => escaped,
        },
    }
}

/// The bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing to a `String` cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}

/// Results for the tests of all forms.
#[cfg(test)]
pub(super) mod samples {
    use bygone_store::sql::ResultColumn;
    use rusqlite::types::ValueRef;

    use crate::cli::output::Format;
    use crate::cli::terminal::Screen;

    /// A result's columns.
    pub(in super::super) fn columns(names: &[&str]) -> Vec<ResultColumn> {
        let column = |name: &&str| ResultColumn { name: (*name).to_owned(), declared_type: None };
        names.iter().map(column).collect()
    }

    /// What `format` prints of one result.
    pub(in super::super) fn printed(
        format: Format,
        screen: Screen,
        names: &[&str],
        rows: &[&[ValueRef<'_>]],
    ) -> String {
        let mut out = Vec::new();
        let mut sink = format.sink(&mut out, screen);
        sink.start(&columns(names)).unwrap();
        for row in rows {
            sink.row(row).unwrap();
        }
        sink.end().unwrap();
        drop(sink);
        String::from_utf8(out).unwrap()
    }

    /// A value of every type.
    pub(in super::super) const EVERY_TYPE: (&[&str], &[&[ValueRef<'static>]]) = (
        &["pid", "load", "path", "key", "lost"],
        &[
            &[
                ValueRef::Integer(1),
                ValueRef::Real(0.5),
                ValueRef::Text("/usr/bin/語".as_bytes()),
                ValueRef::Blob(&[0, 0xff]),
                ValueRef::Null,
            ],
            &[
                ValueRef::Integer(i64::MIN),
                ValueRef::Real(f64::INFINITY),
                ValueRef::Text(b"a\x1b[31m\n\"b\", c\xff"),
                ValueRef::Blob(&[]),
                ValueRef::Integer(7),
            ],
        ],
    );
}
