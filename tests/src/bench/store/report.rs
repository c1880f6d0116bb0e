//! The figures: as a table to be read and as JSON to be kept.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::queries::Target;
use crate::bench::{figure, print};

/// Whether more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    More,
    Less,
}

/// One measured thing, per store.
#[derive(Clone, Debug)]
pub(super) struct Measure {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) better: Better,
    /// Rows that it is about.
    pub(super) rows: u64,
    pub(super) bygone: f64,
    pub(super) sqlite: Option<f64>,
    pub(super) sqlite_without_index: Option<f64>,
    pub(super) duckdb: Option<f64>,
    pub(super) duckdb_on_parquet: Option<f64>,
    targets: Vec<(String, bool)>,
}

impl Measure {
    pub(super) fn new(name: &str, unit: &'static str, rows: u64, bygone: f64) -> Self {
        Self {
            name: name.to_owned(),
            unit,
            better: Better::Less,
            rows,
            bygone,
            sqlite: None,
            sqlite_without_index: None,
            duckdb: None,
            duckdb_on_parquet: None,
            targets: Vec::new(),
        }
    }

    /// Notes a target and whether it is reached.
    pub(super) fn target(&mut self, words: impl Into<String>, reached: bool) {
        self.targets.push((words.into(), reached));
    }

    /// Notes a target of a question; one that compares with what was not measured is left out.
    pub(super) fn judge(&mut self, target: Target) {
        match target {
            Target::Milliseconds(most) => self.target(format!("<= {most} ms"), self.bygone <= most),
            Target::NanosecondsPerRow(most) => {
                let per_row = self.bygone * 1e6 / self.rows as f64;
                self.target(format!("<= {most} ns/row ({per_row:.1})"), per_row <= most);
            }
            Target::OfSqlite(part) => {
                if let Some(sqlite) = self.sqlite {
                    self.target(format!("<= {part} x SQLite"), self.bygone <= part * sqlite);
                }
            }
            Target::OfSqliteWithoutIndex(part) => {
                if let Some(sqlite) = self.sqlite_without_index {
                    let words = format!("<= {part} x SQLite without index");
                    self.target(words, self.bygone <= part * sqlite);
                }
            }
        }
    }

    /// How many times better than another store.
    fn ratio(&self, other: Option<f64>) -> String {
        match (other, self.better) {
            (None, _) => String::new(),
            (Some(other), Better::Less) => format!("{:.2}", other / self.bygone),
            (Some(other), Better::More) => format!("{:.2}", self.bygone / other),
        }
    }

    fn line(&self) -> String {
        let cell = |value: Option<f64>| value.map_or_else(String::new, figure);
        let mut targets = String::new();
        for (words, reached) in &self.targets {
            let word = if *reached { "reached" } else { "NOT REACHED" };
            let separator = if targets.is_empty() { "" } else { "; " };
            write!(targets, "{separator}{words}: {word}").expect("a string takes all text");
        }
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.name,
            self.rows,
            self.unit,
            figure(self.bygone),
            cell(self.sqlite),
            self.ratio(self.sqlite),
            cell(self.sqlite_without_index),
            cell(self.duckdb),
            cell(self.duckdb_on_parquet),
            targets,
        )
    }

    pub(super) fn json(&self) -> Value {
        let targets: Vec<Value> = self
            .targets
            .iter()
            .map(|(words, reached)| json!({ "target": words, "reached": reached }))
            .collect();
        json!({
            "name": self.name,
            "unit": self.unit,
            "better": if self.better == Better::More { "more" } else { "less" },
            "rows": self.rows,
            "bygone": self.bygone,
            "sqlite": self.sqlite,
            "sqlite_without_index": self.sqlite_without_index,
            "duckdb": self.duckdb,
            "duckdb_on_parquet": self.duckdb_on_parquet,
            "targets": targets,
        })
    }
}

/// Prints the measures of one run as a Markdown table. The ratio is how many times better than
/// SQLite Bygone is.
pub(super) fn print_all(measures: &[Measure]) {
    print(format_args!(
        "| measure | rows | unit | Bygone | SQLite | ratio | SQLite, no index | DuckDB | DuckDB on \
         our Parquet | targets |\n| --- | --: | --- | --: | --: | --: | --: | --: | --: | --- |"
    ));
    for measure in measures {
        print(format_args!("{}", measure.line()));
    }
    let targets = measures.iter().flat_map(|measure| &measure.targets);
    let (all, reached) =
        targets.fold((0, 0), |(all, reached), (_, met)| (all + 1, reached + usize::from(*met)));
    print(format_args!("{reached} of {all} targets reached"));
}
