//! Handing the programs the rules by which they leave processes out.

use aya::maps::{Array, HashMap, Map, MapData, MapError};
use aya::{Ebpf, EbpfLoader};
use bygone_probe_abi as abi;

use super::attach_error::AttachError;
use crate::host::exclude::{ExcludedPath, Exclusions};

/// Entries of a map that nothing asks.
const UNUSED: u32 = 1;
/// Likewise of one that forgets by itself.
const MARKS_UNUSED: u32 = 128;

/// A rule as the map has it.
type RuleBytes = [u8; size_of::<abi::Rule>()];

/// The rules of a configuration.
#[derive(Debug)]
pub(super) struct Filter {
    rules: Vec<RuleBytes>,
    users: Vec<u32>,
    /// Which kinds there are: `FILTER_…` flags.
    kinds: u32,
    count: u32,
    /// The process that is never left out, nor what it starts; 0 for none.
    exempt_pid: u32,
}

impl Filter {
    /// Those of `exclusions`. Of paths beyond [`abi::RULES_MAX`] none is taken: what is not taken is
    /// recorded.
    pub(super) fn new(exclusions: &Exclusions) -> Self {
        let of = |paths: &[ExcludedPath], what: u32| -> Vec<RuleBytes> {
            paths.iter().map(|path| bytes(&rule(path, what))).collect()
        };
        let mut rules = of(&exclusions.paths, abi::FILTER_PATHS);
        rules.extend(of(&exclusions.parents, abi::FILTER_PARENTS));
        rules.extend(of(&exclusions.cgroups, abi::FILTER_CGROUPS));
        rules.truncate(abi::RULES_MAX as usize);
        let lists = [
            (exclusions.users.is_empty(), abi::FILTER_USERS),
            (exclusions.paths.is_empty(), abi::FILTER_PATHS),
            (exclusions.parents.is_empty(), abi::FILTER_PARENTS),
            (exclusions.cgroups.is_empty(), abi::FILTER_CGROUPS),
        ];
        let there = lists.into_iter().filter(|(is_empty, _)| !is_empty);
        let kinds = there.map(|(_, kind)| kind).sum();
        let count = u32::try_from(rules.len()).unwrap_or(abi::RULES_MAX);
        Self { rules, users: exclusions.users.clone(), kinds, count, exempt_pid: 0 }
    }

    /// Leaves out neither this process nor what it starts: the collector audits itself.
    pub(super) fn without_own(self) -> Self {
        Self { exempt_pid: std::process::id(), ..self }
    }

    /// Whether paths are compared, which takes programs of their own.
    pub(super) const fn has_rules(&self) -> bool {
        self.count > 0
    }

    /// Sets what the programs see as constants, and the sizes of the maps.
    pub(super) fn prepare<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        loader.override_global("FILTERS", &self.kinds, true);
        loader.override_global("COLLECTOR", &self.exempt_pid, true);
        loader.override_global("FILTER_RULES", &self.count, true);
        loader.map_max_entries("RULES", self.count.max(UNUSED));
        loader.map_max_entries(
            "USERS",
            if self.users.is_empty() { UNUSED } else { abi::FILTER_USERS_MAX },
        );
        loader
            .map_max_entries("MARKS", if self.kinds == 0 { MARKS_UNUSED } else { abi::MARKS_MAX });
    }

    /// Fills the maps. Before a program is attached, so that all go by the same rules.
    ///
    /// # Errors
    /// When a map is not there or does not take an entry.
    pub(super) fn fill(&self, ebpf: &mut Ebpf) -> Result<(), AttachError> {
        let failed = |name: &'static str| move |source| AttachError::Map { name, source };
        let mut rules: Array<&mut MapData, RuleBytes> = map(ebpf, "RULES")?;
        for (index, rule) in (0..).zip(&self.rules) {
            rules.set(index, rule, 0).map_err(failed("RULES"))?;
        }
        let mut users: HashMap<&mut MapData, u32, u8> = map(ebpf, "USERS")?;
        for user in &self.users {
            users.insert(user, 1, 0).map_err(failed("USERS"))?;
        }
        Ok(())
    }
}

/// A map that stays where it is: the programs that use it are loaded later.
fn map<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<T, AttachError>
where
    T: TryFrom<&'a mut Map, Error = MapError>,
{
    let map = ebpf.map_mut(name).ok_or(AttachError::Part { name })?;
    T::try_from(map).map_err(|source| AttachError::Map { name, source })
}

/// The end of the last word is the end of the names.
fn rule(path: &ExcludedPath, what: u32) -> abi::Rule {
    let names = path.names();
    let mut bytes = [0; abi::RULE_WORDS * 8];
    let free = bytes.len().saturating_sub(names.len());
    bytes.iter_mut().skip(free).zip(&names).for_each(|(byte, name)| *byte = *name);
    let mut words = [0; abi::RULE_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    let mut mask = [0; 8];
    mask.iter_mut().skip(free % 8).for_each(|byte| *byte = u8::MAX);
    abi::Rule {
        words,
        mask: u64::from_ne_bytes(mask),
        first: u32::try_from(free / 8).unwrap_or(0),
        bytes: u32::try_from(names.len()).unwrap_or(0),
        what,
        reach: if path.is_below() { abi::REACH_BELOW } else { abi::REACH_ITSELF },
    }
}

fn bytes(rule: &abi::Rule) -> RuleBytes {
    let words = rule.words.iter().chain([&rule.mask]).flat_map(|word| word.to_ne_bytes());
    let numbers = [rule.first, rule.bytes, rule.what, rule.reach];
    let all = words.chain(numbers.into_iter().flat_map(u32::to_ne_bytes));
    let mut bytes = [0; size_of::<abi::Rule>()];
    bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the programs do with a rule.
    fn matches(names: &[u8], rule: &abi::Rule) -> bool {
        let mut window = [0xff; abi::RULE_WORDS * 8];
        let kept = names.len().min(window.len());
        let start = window.len() - kept;
        window[start..].copy_from_slice(&names[names.len() - kept..]);
        let own = rule.bytes as usize;
        if names.len() != own
            && (rule.reach != abi::REACH_BELOW
                || names.len() < own
                || window[window.len() - 1 - own] != 0)
        {
            return false;
        }
        let words = window.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word));
        words.zip(rule.words).enumerate().skip(rule.first as usize).all(
            |(index, (word, of_rule))| {
                let mask = if index == rule.first as usize { rule.mask } else { u64::MAX };
                word & mask == of_rule
            },
        )
    }

    #[test]
    fn a_rule_is_a_comparison_of_ends() {
        let check = |text: &str, names: &[u8], expected: bool| {
            let rule = rule(&ExcludedPath::parse(text).unwrap(), abi::FILTER_PATHS);
            assert_eq!(matches(names, &rule), expected, "{text} {}", names.escape_ascii());
        };
        for (text, names, expected) in [
            ("/usr/bin/true", &b"true\0bin\0usr\0"[..], true),
            ("/usr/bin/true", b"xtrue\0bin\0usr\0", false),
            ("/usr/bin/true", b"a\0true\0bin\0usr\0", false),
            ("/usr/bin/true", b"rue\0bin\0usr\0", false),
            ("/usr/bin/%%", b"true\0bin\0usr\0", true),
            ("/usr/bin/%%", b"a\0b\0c\0bin\0usr\0", true),
            ("/usr/bin/%%", b"true\0xbin\0usr\0", false),
            ("/usr/bin/%%", b"true\0bin\0usr\0x\0", false),
            ("/usr/bin/%%", b"bin\0usr\0", true),
            ("/usr/bin/%%", b"usr\0", false),
            ("/a/%%", b"b\0a\0", true),
        ] {
            check(text, names, expected);
        }
        let deep = [&b"leaf\0"[..], &b"d\0".repeat(127)].concat();
        check(&"/d".repeat(127), &deep[5..], true);
        check(&format!("{}/%%", "/d".repeat(127)), &deep, true);
        check(&format!("{}/%%", "/d".repeat(126)), &deep, true);
        check(&format!("{}/%%", "/d".repeat(127)), &deep[7..], false);
    }

    #[test]
    fn every_length_has_its_first_word_and_mask() {
        for length in 1..abi::RULE_BYTES_MAX {
            let text = format!("/{}", "n".repeat(length));
            let rule = rule(&ExcludedPath::parse(&text).unwrap(), abi::FILTER_PATHS);
            assert_eq!(rule.bytes as usize, length + 1);
            let mut names = vec![b'n'; length];
            names.push(0);
            assert!(matches(&names, &rule), "{length}");
            names[0] = b'x';
            assert!(!matches(&names, &rule), "{length}");
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_struct() {
        let rule = rule(&ExcludedPath::parse("/usr/bin/%%").unwrap(), abi::FILTER_PARENTS);
        let bytes = bytes(&rule);
        assert_eq!(&bytes[248..256], b"bin\0usr\0");
        let number = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let at = std::mem::offset_of!(abi::Rule, first);
        assert_eq!([number(at), number(at + 4), number(at + 8), number(at + 12)], [31, 8, 4, 1]);
        assert_eq!(&bytes[std::mem::offset_of!(abi::Rule, mask)..][..8], &[0xff; 8]);
    }

    #[test]
    fn kinds_are_those_that_there_are() {
        let none = Filter::new(&Exclusions::default());
        assert_eq!((none.kinds, none.count, none.has_rules()), (0, 0, false));
        let paths = ["/a".to_owned(), "/b/%%".to_owned()];
        let some = Exclusions::new(&paths, &[], &[7], &["/c".to_owned()]).unwrap();
        let some = Filter::new(&some);
        let kinds = abi::FILTER_USERS | abi::FILTER_PATHS | abi::FILTER_CGROUPS;
        assert_eq!((some.kinds, some.count, some.has_rules()), (kinds, 3, true));
    }
}
