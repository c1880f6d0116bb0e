//! `table`: aligned columns.
//!
//! Aligning needs all rows at once, so the number of rows held is bounded: when
//! [`HELD_ROWS_MAX`] rows or [`HELD_BYTES_MAX`] bytes have come, they are printed and the columns
//! keep these widths (in a pipe they can still grow) for what follows. On a terminal, long values
//! are wrapped to fit its width; a result with too many columns for that is printed as `line`
//! does. In a pipe nothing is fitted, up to 65,535 characters in a column.

use std::io::{self, Write};

use bygone_store::sql::{ResultColumn, ResultSink};
use comfy_table::presets::ASCII_FULL_CONDENSED;
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, Width,
};
use rusqlite::types::ValueRef;

use super::line::LineSink;
use super::value::shown;
use crate::cli::terminal::Screen;
use crate::cli::visible::visible;

/// Rows that are aligned together.
const HELD_ROWS_MAX: usize = 10_000;

/// Bytes of text that are aligned together.
const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The least width of a column on a terminal, its border and padding included, with which a table
/// is still easier to read than lines.
const TERMINAL_COLUMN_WIDTH_MIN: usize = 9;

/// Prints results as tables.
pub(super) struct TableSink<W> {
    out: LineSink<W>,
    screen: Screen,
    /// Whether this result is printed as lines, being too wide for the terminal.
    as_lines: bool,
    held: Held,
    /// The top border of the result's first rows, once they are printed.
    border: Option<String>,
}

/// Rows that wait for being aligned.
#[derive(Default)]
struct Held {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
    bytes: usize,
    /// For each column, whether every value but null so far was a number.
    numeric: Vec<bool>,
}

impl<W: Write> TableSink<W> {
    pub(super) fn new(out: W, screen: Screen) -> Self {
        Self {
            out: LineSink::new(out),
            screen,
            as_lines: false,
            held: Held::default(),
            border: None,
        }
    }

    /// Prints and drops the rows held.
    fn print_held(&mut self) -> io::Result<()> {
        let table = self.held.table(self.screen, self.border.as_deref());
        for line in table.lines() {
            writeln!(self.out.writer(), "{line}")?;
            self.border.get_or_insert(line);
        }
        self.held.rows.clear();
        self.held.bytes = 0;
        Ok(())
    }
}

impl<W: Write> ResultSink for TableSink<W> {
    fn start(&mut self, columns: &[ResultColumn]) -> io::Result<()> {
        self.border = None;
        self.as_lines = match self.screen {
            Screen::Terminal(width) => {
                columns.len().saturating_mul(TERMINAL_COLUMN_WIDTH_MIN) > usize::from(width)
            }
            Screen::Pipe => false,
        };
        if self.as_lines {
            return self.out.start(columns);
        }
        self.held = Held {
            names: columns.iter().map(|column| visible(&column.name).into_owned()).collect(),
            numeric: vec![true; columns.len()],
            ..Held::default()
        };
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        if self.as_lines {
            return self.out.row(values);
        }
        self.held.push(values);
        if self.held.rows.len() >= HELD_ROWS_MAX || self.held.bytes >= HELD_BYTES_MAX {
            self.print_held()?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if !self.as_lines && !self.held.names.is_empty() {
            if self.border.is_none() || !self.held.rows.is_empty() {
                self.print_held()?;
            }
            if let Some(border) = self.border.take() {
                writeln!(self.out.writer(), "{border}")?;
            }
        }
        self.out.end()
    }
}

impl Held {
    fn push(&mut self, values: &[ValueRef<'_>]) {
        let row: Vec<String> = values.iter().map(|value| shown(*value)).collect();
        for (numeric, value) in self.numeric.iter_mut().zip(values) {
            *numeric &= matches!(value, ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_));
        }
        let bytes: usize = row.iter().map(String::len).sum();
        self.bytes = self.bytes.saturating_add(bytes);
        self.rows.push(row);
    }

    /// The rows as a table without its lower border. With the `border` of earlier rows it has no
    /// header, and the columns keep the border's widths.
    fn table(&self, screen: Screen, border: Option<&str>) -> Table {
        let mut table = Table::new();
        let open = ASCII_FULL_CONDENSED
            .header_separator(LineStyle::new('+', '-', '+', '+'))
            .bottom_border(LineStyle::none());
        if let Screen::Terminal(width) = screen {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        if border.is_none() {
            table.load_style(open).set_header(&self.names);
        } else {
            table.load_style(TableStyle { top_border: LineStyle::none(), ..open });
        }
        table.add_rows(&self.rows);
        if let Some(border) = border {
            table.set_constraints(widths(border).map(|width| match screen {
                Screen::Terminal(_) => ColumnConstraint::Absolute(width),
                Screen::Pipe => ColumnConstraint::LowerBoundary(width),
            }));
        }
        for (index, numeric) in self.numeric.iter().enumerate() {
            if *numeric && let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

/// The widths of the columns under a border, their padding included.
fn widths(border: &str) -> impl Iterator<Item = Width> {
    let between = border.split('+').filter(|part| !part.is_empty());
    between.map(|part| Width::Fixed(u16::try_from(part.len()).unwrap_or(u16::MAX)))
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
        expect![[r#"
            +----------------------+------+--------------------+------+------+
            |                  pid | load | path               | key  | lost |
            +----------------------+------+--------------------+------+------+
            |                    1 |  0.5 | /usr/bin/語        | 00ff | NULL |
            | -9223372036854775808 |  inf | a\x1b[31m\n"b", c� |      |    7 |
            +----------------------+------+--------------------+------+------+
        "#]]
        .assert_eq(&printed(Format::Table, Screen::Pipe, names, rows));
    }

    #[test]
    fn no_rows_have_a_header() {
        expect![[r#"
            +-----+------+
            | pid | path |
            +-----+------+
            +-----+------+
        "#]]
        .assert_eq(&printed(Format::Table, Screen::Pipe, &["pid", "path"], &[]));
    }

    #[test]
    fn a_terminal_wraps_to_its_width() {
        let path = "/usr/lib/".repeat(9);
        let row: &[ValueRef<'_>] = &[ValueRef::Integer(7), ValueRef::Text(path.as_bytes())];
        let text = printed(Format::Table, Screen::Terminal(40), &["pid", "path"], &[row]);
        expect![[r#"
            +-----+--------------------------------+
            | pid | path                           |
            +-----+--------------------------------+
            |   7 | /usr/lib//usr/lib//usr/lib//us |
            |     | r/lib//usr/lib//usr/lib//usr/l |
            |     | ib//usr/lib//usr/lib/          |
            +-----+--------------------------------+
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn too_many_columns_for_a_terminal_are_lines() {
        let (names, rows) = EVERY_TYPE;
        let text = printed(Format::Table, Screen::Terminal(40), names, rows);
        assert_eq!(text, printed(Format::Line, Screen::Pipe, names, rows));
    }

    #[test]
    fn rows_past_the_bound_keep_the_widths() {
        let long = "x".repeat(30);
        let rows: Vec<[ValueRef<'_>; 2]> = (0..=HELD_ROWS_MAX)
            .map(|number| {
                let path = if number == 3 { long.as_str() } else { "y" };
                [ValueRef::Integer(7), ValueRef::Text(path.as_bytes())]
            })
            .collect();
        let rows: Vec<&[ValueRef<'_>]> = rows.iter().map(|row| row.as_slice()).collect();
        for screen in [Screen::Pipe, Screen::Terminal(30)] {
            let text = printed(Format::Table, screen, &["pid", "path"], &rows);
            let widths: Vec<usize> = text.lines().map(str::len).collect();
            assert!(widths.iter().all(|&width| width == widths[0]), "{screen:?}");
            assert!(text.trim_end().ends_with('+'), "{screen:?}");
            assert_eq!(text.matches("pid").count(), 1, "{screen:?}");
            let wrapped = if screen == Screen::Pipe { 0 } else { 1 };
            assert_eq!(widths.len(), HELD_ROWS_MAX + 1 + 4 + wrapped, "{screen:?}");
        }
    }
}
