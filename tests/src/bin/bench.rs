//! The benchmarks behind `cargo xtask bench`: `bygone-bench [write|latency|startup]…`, all when
//! none is named. Measured figures go to standard output, one table each.

use bygone_tests::bench;

fn main() -> anyhow::Result<()> {
    let named: Vec<String> = std::env::args().skip(1).collect();
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
            run()?;
        }
    }
    Ok(())
}
