//! Rules about which room knows what: words that may not stand in the code of a folder.

use super::Finding;
use super::source::Source;

/// A word that the code below a folder may not hold.
struct Boundary {
    folder: &'static str,
    word: &'static str,
    reason: &'static str,
}

const BOUNDARIES: &[Boundary] = &[
    Boundary {
        folder: "collector/src/events/",
        word: "target_os",
        reason: "event types know no operating system",
    },
    Boundary {
        folder: "collector/src/tables/events/",
        word: "target_os",
        reason: "event tables know no operating system",
    },
    Boundary {
        folder: "collector/src/publish/",
        word: "rusqlite",
        reason: "publishers know no SQL",
    },
    Boundary {
        folder: "collector/src/publish/",
        word: "bygone_store",
        reason: "publishers know nothing of the store",
    },
    Boundary {
        folder: "store/src/",
        word: "async fn",
        reason: "the data path is threads and bounded channels",
    },
    Boundary {
        folder: "ebpf-probes/abi/src/",
        word: "transmute",
        reason: "bytes become types by a checked read",
    },
];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !source.is_rust() {
        return Vec::new();
    }
    let here = BOUNDARIES.iter().filter(|boundary| source.path.starts_with(boundary.folder));
    here.flat_map(|boundary| {
        let lines = source.code_lines().filter(|(_, line)| line.contains(boundary.word));
        lines.map(|(line, _)| {
            let Boundary { word, reason, .. } = boundary;
            Finding::new(source, line, format!("`{word}` does not belong here: {reason}"))
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{Source, check};

    #[test]
    fn publishers_know_no_store_and_event_tables_no_system() {
        let code = "//! No rusqlite.\nuse bygone_store::Writer;\n";
        let found = check(&Source::new("collector/src/publish/a.rs", code));
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["collector/src/publish/a.rs:2: `bygone_store` does not belong here: \
              publishers know nothing of the store"]
        );
        assert!(check(&Source::new("collector/src/daemon/a.rs", code)).is_empty());
        let code = "#[cfg(target_os = \"linux\")]\nfn a() {}";
        assert_eq!(check(&Source::new("collector/src/tables/events/a.rs", code)).len(), 1);
        assert!(check(&Source::new("collector/src/tables/state/a.rs", code)).is_empty());
    }
}
