//! The benchmarks behind `cargo xtask bench`: `bygone-bench [NAME]… [--rows N]… [--part NAME]…
//! [--pairs N] [--spawns N] [--events N] [--idle-seconds N] [--storm-seconds N]`, all when none is
//! named. Measured figures go to standard output.

use std::num::ParseIntError;
use std::str::FromStr;

use anyhow::Context as _;
use bygone_tests::bench::{self, Options, exec, store};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut named, mut options) = (Vec::new(), Options::default());
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--rows" => options.rows.push(number(&value()?)?),
            "--part" => options.exec.parts.push(value()?),
            "--pairs" => options.exec.pairs = number(&value()?)?,
            "--spawns" => options.exec.spawns = number(&value()?)?,
            "--events" => options.exec.events = number(&value()?)?,
            "--idle-seconds" => options.exec.idle_seconds = number(&value()?)?,
            "--storm-seconds" => options.exec.storm_seconds = number(&value()?)?,
            store::CHILD => return store::child(&arguments.collect::<Vec<_>>()),
            exec::CHILD => return exec::child(&arguments.collect::<Vec<_>>()),
            _ => named.push(argument),
        }
    }
    let known = bench::ALL.iter().map(|(name, _)| *name);
    for name in &named {
        anyhow::ensure!(
            known.clone().any(|known| known == name),
            "no benchmark `{name}`; known: {}",
            known.collect::<Vec<_>>().join(", ")
        );
    }
    for (name, run) in bench::ALL {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            run(&options)?;
        }
    }
    Ok(())
}

/// A number, whose digits may be grouped as in Rust.
fn number<T: FromStr<Err = ParseIntError>>(text: &str) -> anyhow::Result<T> {
    text.replace('_', "").parse().with_context(|| format!("{text} is no number"))
}
