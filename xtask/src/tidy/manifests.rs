//! Rules about the `Cargo.toml` files: which package may use which, and one version of each
//! dependency for the whole workspace.

use toml::{Table, Value};

use super::Finding;
use super::source::Source;

/// What each package may use of the others: dependencies point one way.
const MAY_USE: &[(&str, &[&str])] = &[
    ("bygone", &["bygone-macos", "bygone-probe-abi", "bygone-store"]),
    ("bygone-macos", &[]),
    ("bygone-probe-abi", &[]),
    ("bygone-probes", &["bygone-probe-abi"]),
    ("bygone-store", &["bygone-store-derive"]),
    ("bygone-store-derive", &[]),
    ("bygone-store-fuzz", &["bygone-store"]),
    ("bygone-fuzz", &["bygone"]),
    ("bygone-tests", &["bygone", "bygone-probe-abi", "bygone-store"]),
    ("xtask", &["bygone", "bygone-store"]),
];

/// What only tests of a package may use besides.
const TESTS_MAY_USE: &[(&str, &[&str])] = &[("bygone-store-derive", &["bygone-store"])];

/// Packages of the data path, which is threads and bounded channels.
const NO_FUTURES: &[&str] = &["bygone-store", "bygone-store-derive", "bygone-probe-abi"];

const FUTURES: &[&str] = &["tokio", "futures", "async-trait"];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let manifests = sources.iter().filter(|source| {
        source.path.rsplit('/').next() == Some("Cargo.toml") && !source.is_fixture()
    });
    manifests.flat_map(check_manifest).collect()
}

fn check_manifest(source: &Source) -> Vec<Finding> {
    let manifest: Table = match source.text.parse() {
        Ok(manifest) => manifest,
        Err(error) => {
            return vec![Finding::new(source, 0, format!("cannot be parsed: {}", error.message()))];
        }
    };
    let package = manifest.get("package").and_then(|package| package.get("name"));
    let Some(package) = package.and_then(Value::as_str) else {
        return Vec::new();
    };
    let mut messages = Vec::new();
    let Some(may_use) = allowed(MAY_USE, package) else {
        messages.push(format!("say in xtask/src/tidy/manifests.rs what {package} may use"));
        return messages.into_iter().map(|message| Finding::new(source, 0, message)).collect();
    };
    let is_member = !manifest.contains_key("workspace");
    for (kind, name, value) in dependencies(&manifest) {
        let in_tests = kind == "dev-dependencies"
            && allowed(TESTS_MAY_USE, package).is_some_and(|names| names.contains(&name));
        if allowed(MAY_USE, name).is_some() && !may_use.contains(&name) && !in_tests {
            messages.push(format!("{package} may not use {name}"));
        }
        if NO_FUTURES.contains(&package) && FUTURES.contains(&name) {
            messages.push(format!("{package} has no futures, so no {name}"));
        }
        if is_member && value.get("workspace").and_then(Value::as_bool) != Some(true) {
            messages.push(format!("take {name} from [workspace.dependencies]"));
        }
    }
    if is_member && !inherits_lints(&manifest) {
        messages.push("take the workspace's lints: `[lints] workspace = true`".to_owned());
    }
    messages.into_iter().map(|message| Finding::new(source, 0, message)).collect()
}

fn allowed(
    rules: &[(&str, &'static [&'static str])],
    package: &str,
) -> Option<&'static [&'static str]> {
    rules.iter().find(|(name, _)| *name == package).map(|(_, names)| *names)
}

fn inherits_lints(manifest: &Table) -> bool {
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    lints.and_then(Value::as_bool) == Some(true)
}

/// Every dependency as (kind, name, value), those for one platform included.
fn dependencies(manifest: &Table) -> Vec<(&str, &str, &Value)> {
    let platforms = manifest.get("target").and_then(Value::as_table);
    let platforms = platforms.into_iter().flat_map(|targets| targets.values());
    let tables = std::iter::once(manifest).chain(platforms.filter_map(Value::as_table));
    let mut found = Vec::new();
    for table in tables {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let named = table.get(kind).and_then(Value::as_table);
            found.extend(
                named.into_iter().flatten().map(|(name, value)| (kind, name.as_str(), value)),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Source, check};

    fn messages(text: &str) -> Vec<String> {
        let sources = [Source::new("a/Cargo.toml", text)];
        check(&sources).into_iter().map(|finding| finding.message).collect()
    }

    const LINTS: &str = "[lints]\nworkspace = true\n";

    #[test]
    fn the_store_uses_no_other_room() {
        let head = format!("{LINTS}[package]\nname = \"bygone-store\"\n");
        let own = format!("{head}[dependencies]\nbygone-store-derive = {{ workspace = true }}\n");
        assert!(messages(&own).is_empty());
        for kind in ["dependencies", "dev-dependencies", "target.'cfg(unix)'.dependencies"] {
            let other = format!("{head}[{kind}]\nbygone = {{ workspace = true }}\n");
            assert_eq!(messages(&other), ["bygone-store may not use bygone"], "{kind}");
        }
        let futures = format!("{head}[dependencies]\ntokio = {{ workspace = true }}\n");
        assert_eq!(messages(&futures), ["bygone-store has no futures, so no tokio"]);
    }

    #[test]
    fn versions_and_lints_are_the_workspace_s() {
        let text = "[package]\nname = \"xtask\"\n[dependencies]\nanyhow = \"1\"\n";
        assert_eq!(
            messages(text),
            [
                "take anyhow from [workspace.dependencies]",
                "take the workspace's lints: `[lints] workspace = true`"
            ]
        );
    }

    #[test]
    fn an_unknown_package_must_be_placed() {
        let text = "[package]\nname = \"bygone-new\"\n";
        let asked = ["say in xtask/src/tidy/manifests.rs what bygone-new may use"];
        assert_eq!(messages(text), asked);
        assert!(messages("[workspace]\nmembers = []\n").is_empty());
    }
}
