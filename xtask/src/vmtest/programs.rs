//! The programs that are tested: `bygone`, its unit tests and the end-to-end tests.
//!
//! They are built by the command that `cargo xtask test` uses, so that nothing is compiled twice,
//! and are put into the machine at the paths they have here: tests look for each other's programs
//! there. Without the tables for debuggers they have a sixth of the size.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::kernels::Architecture;
use crate::process::{cargo, root, run};
use crate::rust_src;

/// The programs, by their paths.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Programs {
    /// The program itself.
    pub(super) bygone: PathBuf,
    /// What the end-to-end tests start.
    pub(super) subject: PathBuf,
    /// Unit tests of the collector.
    pub(super) unit_tests: PathBuf,
    /// End-to-end tests.
    pub(super) scenarios: PathBuf,
}

/// Builds the programs. For another architecture than this one it takes Debian's cross compiler, for the
/// C code of dependencies and to link, and the source of the standard library.
///
/// # Errors
/// When they do not compile, or cargo does not say where one is.
pub(super) fn build(architecture: Architecture) -> Result<Programs> {
    let mut command = cargo();
    command.args([
        "build",
        "--lib",
        "--bins",
        "--tests",
        "--message-format=json-render-diagnostics",
    ]);
    if architecture == Architecture::own() {
        command.arg("--workspace");
    } else {
        for_another(&mut command, architecture)?;
    }
    let output = command.stderr(Stdio::inherit()).output().context("start cargo")?;
    ensure!(output.status.success(), "the programs do not compile");
    let text = String::from_utf8(output.stdout).context("read what cargo prints")?;
    find(&text)
}

/// What a build for another architecture takes besides.
fn for_another(command: &mut Command, architecture: Architecture) -> Result<()> {
    let tools = architecture.tools();
    let compiler = format!("{tools}-gcc");
    let there = Command::new(&compiler).arg("--version").output();
    ensure!(
        there.is_ok_and(|output| output.status.success()),
        "building for {} takes {compiler}: apt install gcc-{tools}",
        architecture.triple()
    );
    rust_src::ensure()?;
    let variable = architecture.triple().replace('-', "_");
    command
        .args(["--package", "bygone", "--package", "bygone-tests"])
        .args(["--target", architecture.triple(), "-Z", "build-std=std,test,panic_unwind"])
        // A folder of its own: its flags would make other builds start anew.
        .arg("--target-dir")
        .arg(target_dir().join("vmtest").join(architecture.triple()))
        .env("RUSTC_BOOTSTRAP", "1")
        .env(format!("CC_{variable}"), &compiler)
        .env(format!("AR_{variable}"), format!("{tools}-ar"))
        .env(format!("CARGO_TARGET_{}_LINKER", variable.to_uppercase()), &compiler);
    Ok(())
}

/// Looks the programs up in cargo's messages, a JSON object per line.
fn find(messages: &str) -> Result<Programs> {
    let artifacts: Vec<Value> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["executable"].is_string())
        .collect();
    let path = |name: &str, kind: &str, is_test: bool| {
        let found = artifacts.iter().find(|message| {
            let target = &message["target"];
            target["name"] == name
                && target["kind"][0] == kind
                && message["profile"]["test"] == is_test
        });
        let path = found.and_then(|message| message["executable"].as_str());
        path.map(PathBuf::from).with_context(|| format!("cargo built no {kind} {name}"))
    };
    Ok(Programs {
        bygone: path("bygone", "bin", false)?,
        subject: path("bygone-test-subject", "bin", false)?,
        unit_tests: path("bygone", "lib", true)?,
        scenarios: path("scenarios", "test", true)?,
    })
}

impl Programs {
    /// All of them.
    pub(super) fn all(&self) -> [&Path; 4] {
        [&self.bygone, &self.subject, &self.unit_tests, &self.scenarios]
    }
}

/// A program's bytes without its symbols and tables for debuggers.
///
/// # Errors
/// When binutils, which come with every C compiler, are not there, or `folder` cannot be written.
pub(super) fn stripped(
    program: &Path,
    architecture: Architecture,
    folder: &Path,
) -> Result<Vec<u8>> {
    // Another run may do the same.
    let copy = folder.join(format!("stripped-{}", std::process::id()));
    let strip = match architecture {
        own if own == Architecture::own() => "strip".to_owned(),
        other => format!("{}-strip", other.tools()),
    };
    run(Command::new(strip).arg("-o").arg(&copy).arg(program))?;
    let bytes = std::fs::read(&copy).context("read the stripped program")?;
    std::fs::remove_file(&copy).context("remove the stripped program")?;
    Ok(bytes)
}

/// Where builds are.
pub(super) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_their_tests() {
        let message = |name: &str, kind: &str, is_test: bool, path: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"target\":{{\"kind\":[\"{kind}\"],\
                 \"name\":\"{name}\"}},\"profile\":{{\"test\":{is_test}}},\"executable\":\"{path}\"}}\n"
            )
        };
        let mut text = [
            message("bygone", "bin", true, "/t/deps/bygone-1"),
            message("bygone", "bin", false, "/t/bygone"),
            message("bygone", "lib", true, "/t/deps/bygone-2"),
            message("bygone-test-subject", "bin", false, "/t/bygone-test-subject"),
        ]
        .concat();
        text.push_str("not JSON\n{\"executable\":null}\n");
        let error = find(&text).unwrap_err();
        assert_eq!(error.to_string(), "cargo built no test scenarios");
        text.push_str(&message("scenarios", "test", true, "/t/deps/scenarios-3"));
        let programs = find(&text).unwrap();
        let paths =
            ["/t/bygone", "/t/bygone-test-subject", "/t/deps/bygone-2", "/t/deps/scenarios-3"];
        assert_eq!(programs.all(), paths.map(Path::new));
    }
}
