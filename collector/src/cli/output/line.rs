//! `line`: each column on a line of its own, for rows that are wide.

use std::io::{self, Write};

use bygone_store::sql::{ResultColumn, ResultSink};
use rusqlite::types::ValueRef;
use unicode_width::UnicodeWidthStr;

use super::value::shown;
use crate::cli::visible::visible;

/// Prints results as lines `name = value`, with an empty line between rows.
pub(super) struct LineSink<W> {
    out: W,
    /// The names, padded on the left to one width.
    names: Vec<String>,
    first: bool,
}

impl<W: Write> LineSink<W> {
    pub(super) const fn new(out: W) -> Self {
        Self { out, names: Vec::new(), first: true }
    }

    /// Where the lines go.
    pub(super) const fn writer(&mut self) -> &mut W {
        &mut self.out
    }
}

impl<W: Write> ResultSink for LineSink<W> {
    fn start(&mut self, columns: &[ResultColumn]) -> io::Result<()> {
        let names: Vec<_> = columns.iter().map(|column| visible(&column.name)).collect();
        let width = names.iter().map(|name| name.width()).max().unwrap_or(0);
        let padded = |name: &std::borrow::Cow<'_, str>| {
            format!("{}{name}", " ".repeat(width.saturating_sub(name.width())))
        };
        self.names = names.iter().map(padded).collect();
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        if !self.first {
            writeln!(self.out)?;
        }
        self.first = false;
        for (name, value) in self.names.iter().zip(values) {
            writeln!(self.out, "{name} = {}", shown(*value))?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::Format;
    use super::super::value::samples::{EVERY_TYPE, printed};
    use crate::cli::terminal::Screen;

    #[test]
    fn every_type() {
        let (names, rows) = EVERY_TYPE;
        expect![[r#"
             pid = 1
            load = 0.5
            path = /usr/bin/語
             key = 00ff
            lost = NULL

             pid = -9223372036854775808
            load = inf
            path = a\x1b[31m\n"b", c�
             key = 
            lost = 7
        "#]]
        .assert_eq(&printed(Format::Line, Screen::Pipe, names, rows));
    }
}
