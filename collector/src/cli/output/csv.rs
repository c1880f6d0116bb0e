//! `csv`: RFC 4180, with a header and CRLF at line ends.

use std::borrow::Cow;
use std::io::{self, Write};

use bygone_store::sql::{ResultColumn, ResultSink};
use csv::{Terminator, Writer, WriterBuilder};
use rusqlite::types::ValueRef;

use super::value::{shown, text};
use crate::cli::terminal::Screen;

/// Prints results as comma-separated values. Null is an empty field.
pub(super) struct CsvSink<W: Write> {
    out: Writer<W>,
    screen: Screen,
}

impl<W: Write> CsvSink<W> {
    pub(super) fn new(out: W, screen: Screen) -> Self {
        let out = WriterBuilder::new().terminator(Terminator::CRLF).flexible(true).from_writer(out);
        Self { out, screen }
    }
}

impl<W: Write> ResultSink for CsvSink<W> {
    fn start(&mut self, columns: &[ResultColumn]) -> io::Result<()> {
        for column in columns {
            write_field(&mut self.out, self.screen, ValueRef::Text(column.name.as_bytes()))?;
        }
        end_record(&mut self.out)
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        for value in values {
            write_field(&mut self.out, self.screen, *value)?;
        }
        end_record(&mut self.out)
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn write_field<W: Write>(
    out: &mut Writer<W>,
    screen: Screen,
    value: ValueRef<'_>,
) -> io::Result<()> {
    let field = match (screen, value) {
        (_, ValueRef::Null) => Cow::Borrowed(""),
        (Screen::Terminal(_), _) => Cow::Owned(shown(value)),
        (Screen::Pipe, _) => text(value).unwrap_or_default(),
    };
    out.write_field(field.as_bytes()).map_err(unwrapped)
}

fn end_record<W: Write>(out: &mut Writer<W>) -> io::Result<()> {
    out.write_record(None::<&[u8]>).map_err(unwrapped)
}

/// The error of the writer below, as it was: the reader of a closed pipe is recognised by it.
fn unwrapped(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::Format;
    use super::super::value::samples::{EVERY_TYPE, printed};
    use super::*;

    #[test]
    fn every_type() {
        let (names, rows) = EVERY_TYPE;
        expect![[r#""pid,load,path,key,lost\r\n1,0.5,/usr/bin/語,00ff,\r\n-9223372036854775808,inf,\"a\u{1b}[31m\n\"\"b\"\", c�\",,7\r\n""#]].assert_eq(&format!("{:?}", printed(Format::Csv, Screen::Pipe, names, rows)));
    }

    #[test]
    fn the_error_of_the_writer_is_kept() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut sink = CsvSink::new(Closed, Screen::Pipe);
        let long = "x".repeat(100_000);
        let error = sink.row(&[ValueRef::Text(long.as_bytes())]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let (names, rows) = EVERY_TYPE;
        let text = printed(Format::Csv, Screen::Terminal(80), names, rows);
        let hostile = |character: char| character.is_control() && !"\r\n".contains(character);
        assert!(!text.contains(hostile), "{text:?}");
        assert_eq!(text.lines().count(), 3, "{text:?}");
    }
}
