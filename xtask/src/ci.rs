//! `cargo xtask ci`: every check except the tests, each timed, none hiding a later one.
//!
//! **Invariant:** a step that fails does not keep the next from running, and one failure makes
//! the whole fail.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use walkdir::WalkDir;

use crate::build_ebpf;
use crate::check_macos;
use crate::process::{cargo, root, run};
use crate::tidy;
use crate::tools::{CARGO_DENY, CARGO_MACHETE};
use crate::vmtest;

const PROBES_MANIFEST: &str = "ebpf-probes/Cargo.toml";

/// One check.
type Step = fn() -> Result<()>;

/// Each with its name, in the order of their cost.
const STEPS: &[(&str, Step)] = &[
    ("fmt", fmt),
    ("tidy", tidy::run),
    ("machete", machete),
    ("deny", deny),
    ("advisories", advisories),
    ("clippy", clippy),
    ("doc", doc),
    ("build-ebpf", || build_ebpf::run(true)),
    ("check-macos", check_macos::run),
    ("vmtest", vmtest::run_in_ci),
];

/// The names that `cargo xtask ci` takes.
pub(crate) fn step_names() -> Vec<&'static str> {
    STEPS.iter().map(|(name, _)| *name).collect()
}

/// Runs the steps named in `only`, all when it is empty.
///
/// # Errors
/// When a step failed, after all have run.
pub(crate) fn run_steps(only: &[String]) -> Result<()> {
    let chosen = |name: &str| only.is_empty() || only.iter().any(|wanted| wanted == name);
    let mut reports: Vec<(&str, Duration, Result<()>)> = Vec::new();
    for (name, step) in STEPS.iter().filter(|(name, _)| chosen(name)) {
        println!("== {name}");
        let start = Instant::now();
        let result = step();
        reports.push((name, start.elapsed(), result));
    }
    println!();
    let mut failed = Vec::new();
    for (name, took, result) in reports {
        let seconds = took.as_secs_f64();
        match result {
            Ok(()) => println!("{name:12} ok      {seconds:7.1} s"),
            Err(error) => {
                println!("{name:12} FAILED  {seconds:7.1} s  {error:#}");
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Runs all three parts, so that one run shows everything there is to format.
fn fmt() -> Result<()> {
    let members = run(cargo().args(["fmt", "--all", "--check"]));
    // The probes are a workspace of their own.
    let mut probes = cargo();
    probes.args(["fmt", "--check", "--manifest-path", PROBES_MANIFEST]);
    let probes = run(&mut probes);
    let mut tables = Command::new("rustfmt");
    tables.args(["--check", "--edition", "2024"]);
    let tables = run(tables.args(table_files()?).current_dir(root()));
    members.and(probes).and(tables)
}

/// The files of the tables: rustfmt does not find modules that a macro declares.
fn table_files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in WalkDir::new(root().join("collector/src/tables")).sort_by_file_name() {
        let path = entry.context("look for the tables")?.into_path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// Leaves the probes out: cargo-machete takes their workspace for that of `ebpf-probes/abi`.
fn machete() -> Result<()> {
    let mut command = Command::new(CARGO_MACHETE.ensure()?);
    run(command.args(["collector", "macos-es", "store", "tests", "xtask"]).current_dir(root()))
}

fn deny() -> Result<()> {
    let mut command = cargo_deny()?;
    run(command.args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))
}

/// Looks the dependencies up in the RustSec database. It comes from the network; without it there
/// is nothing to look up in, which is said and is not a failure.
fn advisories() -> Result<()> {
    let fetched = cargo_deny()?
        .args(["fetch", "db"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("start cargo-deny")?;
    if !fetched.success() {
        println!("advisories not checked: the RustSec database cannot be fetched");
        return Ok(());
    }
    run(cargo_deny()?.args(["check", "--disable-fetch", "advisories"]))
}

fn cargo_deny() -> Result<Command> {
    let mut command = Command::new(CARGO_DENY.ensure()?);
    command.current_dir(root()).args(["--workspace", "--locked"]);
    Ok(command)
}

fn clippy() -> Result<()> {
    let mut command = cargo();
    command.args(["clippy", "--workspace", "--all-targets", "--locked"]);
    run(command.args(["--", "-D", "warnings"]))
}

fn doc() -> Result<()> {
    let mut command = cargo();
    command.args(["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"]);
    run(command.env("RUSTDOCFLAGS", "-D warnings"))
}
