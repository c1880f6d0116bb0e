//! The choice of a form.

use std::io::Write;

use bygone_store::sql::ResultSink;
use clap::{Args, ValueEnum};

use super::csv::CsvSink;
use super::json::{JsonSink, Shape};
use super::line::LineSink;
use super::table::TableSink;
use crate::cli::terminal::Screen;

/// The form of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// Aligned columns, fitted to the terminal
    #[default]
    Table,
    /// One array of objects
    Json,
    /// One object per line
    Jsonl,
    /// Comma-separated values with a header (RFC 4180)
    Csv,
    /// One column per line
    Line,
}

impl Format {
    /// A sink that prints results in this form to `out`, and flushes it after each result.
    pub(in crate::cli) fn sink<'a>(
        self,
        out: impl Write + 'a,
        screen: Screen,
    ) -> Box<dyn ResultSink + 'a> {
        match self {
            Self::Table => Box::new(TableSink::new(out, screen)),
            Self::Json => Box::new(JsonSink::new(out, Shape::Array)),
            Self::Jsonl => Box::new(JsonSink::new(out, Shape::Lines)),
            Self::Csv => Box::new(CsvSink::new(out, screen)),
            Self::Line => Box::new(LineSink::new(out)),
        }
    }
}

/// `-o FORM` and `--json`.
#[derive(Args, Clone, Copy, Debug)]
pub(in crate::cli) struct OutputArguments {
    /// Form of the results
    #[arg(short = 'o', long = "output", value_name = "FORM", value_enum, default_value_t)]
    output: Format,
    /// The same as -o json
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

impl OutputArguments {
    /// The form asked for.
    pub(in crate::cli) const fn format(self) -> Format {
        if self.json { Format::Json } else { self.output }
    }
}
