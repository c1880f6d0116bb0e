//! The figures: as a table to be read and as JSON to be kept.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::monitor::Monitor;
use super::statistics::Estimate;
use crate::bench::{figure, print};

/// One measured thing, per program that records.
#[derive(Clone, Debug)]
pub(super) struct Measure {
    name: String,
    unit: &'static str,
    estimates: Vec<(Monitor, Estimate)>,
    targets: Vec<(String, bool)>,
    /// Kept in the JSON.
    details: Value,
}

impl Measure {
    /// Of Bygone, one value.
    pub(super) fn new(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self::of(name, unit, vec![(Monitor::Bygone, Estimate::exact(value))])
    }

    pub(super) fn of(
        name: impl Into<String>,
        unit: &'static str,
        estimates: Vec<(Monitor, Estimate)>,
    ) -> Self {
        let (targets, details) = (Vec::new(), Value::Null);
        Self { name: name.into(), unit, estimates, targets, details }
    }

    /// Notes a target and whether it is reached.
    pub(super) fn target(mut self, words: impl Into<String>, reached: bool) -> Self {
        self.targets.push((words.into(), reached));
        self
    }

    /// Notes that Bygone's value is to be at most this.
    pub(super) fn at_most(self, most: f64) -> Self {
        let value = self.estimate(Monitor::Bygone).map_or(f64::NAN, |estimate| estimate.value);
        let words = if most > 0.0 { format!("<= {most} {}", self.unit) } else { "none".to_owned() };
        self.target(words, value <= most)
    }

    pub(super) fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    pub(super) fn estimate(&self, monitor: Monitor) -> Option<Estimate> {
        self.estimates.iter().find(|(of, _)| *of == monitor).map(|(_, estimate)| *estimate)
    }

    fn line(&self) -> String {
        let mut line = format!("| {} | {} |", self.name, self.unit);
        for monitor in Monitor::ALL {
            let cell = self.estimate(monitor).map_or_else(String::new, cell);
            write!(line, " {cell} |").expect("a string takes all text");
        }
        let targets: Vec<String> = self
            .targets
            .iter()
            .map(|(words, reached)| {
                format!("{words}: {}", if *reached { "reached" } else { "NOT REACHED" })
            })
            .collect();
        write!(line, " {} |", targets.join("; ")).expect("a string takes all text");
        line
    }

    pub(super) fn json(&self) -> Value {
        let estimates: Vec<Value> = self
            .estimates
            .iter()
            .map(|(monitor, estimate)| {
                let (low, high) = (estimate.low, estimate.high);
                json!({ "of": monitor.name(), "value": estimate.value, "low": low, "high": high })
            })
            .collect();
        let targets: Vec<Value> = self
            .targets
            .iter()
            .map(|(words, reached)| json!({ "target": words, "reached": reached }))
            .collect();
        json!({
            "name": self.name,
            "unit": self.unit,
            "estimates": estimates,
            "targets": targets,
            "details": self.details,
        })
    }
}

/// A value with its interval, where it has one.
fn cell(estimate: Estimate) -> String {
    let value = figure(estimate.value);
    if estimate.low < estimate.high {
        format!("{value} ({} to {})", figure(estimate.low), figure(estimate.high))
    } else {
        value
    }
}

/// Prints the measures of one run as a Markdown table.
pub(super) fn print_all(measures: &[Measure]) {
    let (mut names, mut rule) = (String::new(), String::new());
    for monitor in Monitor::ALL {
        write!(names, " {} |", monitor.name()).expect("a string takes all text");
        rule.push_str(" --: |");
    }
    print(format_args!("| measure | unit |{names} targets |\n| --- | --- |{rule} --- |"));
    for measure in measures {
        print(format_args!("{}", measure.line()));
    }
    let targets = measures.iter().flat_map(|measure| &measure.targets);
    let (all, reached) =
        targets.fold((0, 0), |(all, reached), (_, met)| (all + 1, reached + usize::from(*met)));
    print(format_args!("{reached} of {all} targets reached"));
}
