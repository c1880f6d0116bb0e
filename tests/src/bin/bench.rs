//! The benchmarks behind `cargo xtask bench`: `bygone-bench [NAME]… [--rows N]…`, all when none is
//! named. Measured figures go to standard output.

use anyhow::Context as _;
use bygone_tests::bench::{self, Options, store};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut named, mut options) = (Vec::new(), Options::default());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rows" => {
                let rows = arguments.next().context("--rows needs a number")?;
                options.rows.push(rows.replace('_', "").parse().context("--rows is no number")?);
            }
            store::CHILD => return store::child(&arguments.collect::<Vec<_>>()),
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
