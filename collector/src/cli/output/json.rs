//! `json` and `jsonl`: objects with their keys in the order of the columns.
//!
//! Rows are written as they come: an array of any length needs the memory of one row. Control
//! characters that JSON would allow in a string (DEL, C1 and the marks of direction) are escaped
//! as well, which changes nothing for a reader of JSON and protects a terminal.

use std::io::{self, Write};

use bygone_store::sql::{ResultColumn, ResultSink};
use rusqlite::types::ValueRef;

use super::value::hex;
use crate::cli::visible::is_active;

/// How objects follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// As elements of one array per result.
    Array,
    /// One per line.
    Lines,
}

/// Prints results as JSON.
pub(super) struct JsonSink<W> {
    out: W,
    shape: Shape,
    /// `"name":` of each column, without the same name twice.
    keys: Vec<Vec<u8>>,
    /// Rows of this result so far.
    rows: u64,
    /// The row being written.
    line: Vec<u8>,
}

impl<W: Write> JsonSink<W> {
    pub(super) const fn new(out: W, shape: Shape) -> Self {
        Self { out, shape, keys: Vec::new(), rows: 0, line: Vec::new() }
    }
}

impl<W: Write> ResultSink for JsonSink<W> {
    fn start(&mut self, columns: &[ResultColumn]) -> io::Result<()> {
        self.rows = 0;
        self.keys.clear();
        for name in distinct(columns) {
            let mut key = serde_json::to_vec(&name)?;
            key.push(b':');
            self.keys.push(key);
        }
        if self.shape == Shape::Array {
            self.out.write_all(b"[")?;
        }
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        self.line.clear();
        match self.shape {
            Shape::Array if self.rows > 0 => self.line.extend_from_slice(b",\n"),
            Shape::Array | Shape::Lines => {}
        }
        for (index, (key, value)) in self.keys.iter().zip(values).enumerate() {
            self.line.push(if index == 0 { b'{' } else { b',' });
            self.line.extend_from_slice(key);
            push_value(&mut self.line, *value)?;
        }
        self.line.push(b'}');
        if self.shape == Shape::Lines {
            self.line.push(b'\n');
        }
        self.rows = self.rows.saturating_add(1);
        write_guarded(&mut self.out, &self.line)
    }

    fn end(&mut self) -> io::Result<()> {
        if self.shape == Shape::Array {
            self.out.write_all(b"]\n")?;
        }
        self.out.flush()
    }
}

/// The columns' names, a second `name` as `name_2`, so that no reader drops a value.
fn distinct(columns: &[ResultColumn]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(columns.len());
    for column in columns {
        let taken = |candidate: &str, names: &[String]| {
            names.iter().any(|name| name == candidate)
                || (candidate != column.name && columns.iter().any(|other| other.name == candidate))
        };
        let mut name = column.name.clone();
        let mut number = 1_usize;
        while taken(&name, &names) {
            number = number.saturating_add(1);
            name = format!("{}_{number}", column.name);
        }
        names.push(name);
    }
    names
}

fn push_value(line: &mut Vec<u8>, value: ValueRef<'_>) -> io::Result<()> {
    match value {
        ValueRef::Integer(number) => write!(line, "{number}"),
        ValueRef::Real(number) if number.is_finite() => Ok(serde_json::to_writer(line, &number)?),
        ValueRef::Null | ValueRef::Real(_) => line.write_all(b"null"),
        ValueRef::Text(bytes) => {
            Ok(serde_json::to_writer(line, String::from_utf8_lossy(bytes).as_ref())?)
        }
        ValueRef::Blob(bytes) => write!(line, "\"{}\"", hex(bytes)),
    }
}

/// Writes JSON text with every active character outside ASCII's control range as `\uXXXX`. Those
/// can only stand inside strings.
fn write_guarded(out: &mut impl Write, line: &[u8]) -> io::Result<()> {
    if line.iter().all(|&byte| byte < 0x7f) {
        return out.write_all(line);
    }
    let text = String::from_utf8_lossy(line);
    let mut rest = text.as_ref();
    while let Some(at) = rest.find(|character| character >= '\x7f' && is_active(character)) {
        let (before, from) = rest.split_at(at);
        out.write_all(before.as_bytes())?;
        let mut characters = from.chars();
        if let Some(character) = characters.next() {
            write!(out, "\\u{:04x}", u32::from(character))?;
        }
        rest = characters.as_str();
    }
    out.write_all(rest.as_bytes())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use rusqlite::types::ValueRef;

    use super::super::Format;
    use super::super::value::samples::{EVERY_TYPE, printed};
    use crate::cli::terminal::Screen;

    #[test]
    fn every_type() {
        let (names, rows) = EVERY_TYPE;
        let text = printed(Format::Json, Screen::Pipe, names, rows);
        expect![[r#"
            [{"pid":1,"load":0.5,"path":"/usr/bin/語","key":"00ff","lost":null},
            {"pid":-9223372036854775808,"load":null,"path":"a\u001b[31m\n\"b\", c�","key":"","lost":7}]
        "#]].assert_eq(&text);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value.as_array().unwrap().len(), 2);
    }

    #[test]
    fn lines_are_objects() {
        let (names, rows) = EVERY_TYPE;
        let text = printed(Format::Jsonl, Screen::Pipe, names, rows);
        let objects: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects.len(), 2);
        assert_eq!(objects[0]["path"], "/usr/bin/語");
    }

    #[test]
    fn no_rows_are_an_empty_array() {
        assert_eq!(printed(Format::Json, Screen::Pipe, &["pid"], &[]), "[]\n");
        assert_eq!(printed(Format::Jsonl, Screen::Pipe, &["pid"], &[]), "");
    }

    #[test]
    fn the_same_name_twice_keeps_both_values() {
        let row: &[ValueRef<'_>] = &[1, 2, 3, 4].map(ValueRef::Integer);
        let text = printed(Format::Jsonl, Screen::Pipe, &["pid", "pid", "pid_2", "pid"], &[row]);
        assert_eq!(text, "{\"pid\":1,\"pid_3\":2,\"pid_2\":3,\"pid_4\":4}\n");
    }

    #[test]
    fn control_characters_are_escaped_and_read_back() {
        let hostile = "a\u{7f}\u{9b}2J\u{202e}\u{1b}[2J語";
        let row: &[ValueRef<'_>] = &[ValueRef::Text(hostile.as_bytes())];
        let text = printed(Format::Jsonl, Screen::Terminal(80), &["path"], &[row]);
        expect![[r#"
            {"path":"a\u007f\u009b2J\u202e\u001b[2J語"}
        "#]]
        .assert_eq(&text);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["path"], hostile);
    }
}
