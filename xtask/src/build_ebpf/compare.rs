//! What of a probes' object is stable, and how two of them differ in it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use object::build::elf::{Builder, Section, SectionData};
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget};

/// The object without debug information, which names folders of the machine it was built on and is
/// most of its size. The types of the programs stay: the kernel and the loader read them.
///
/// # Errors
/// When the bytes are not an object.
pub(super) fn stripped(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read64(bytes).context("cannot read the built object")?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    let is_names = |section: &Section<'_>| matches!(section.data, SectionData::SectionString);
    if !builder.sections.iter().any(is_names) {
        // The linker keeps the names of sections and symbols in one table; the writer wants two.
        let names = builder.sections.add();
        names.name = b".shstrtab".as_slice().into();
        names.sh_type = object::elf::SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    builder.delete_orphans();
    let mut out = Vec::new();
    builder.write(&mut out).context("cannot write the built object")?;
    Ok(out)
}

/// In which of their stable parts two objects differ, one line each.
///
/// # Errors
/// When one of them is not an object.
pub(super) fn differences(committed: &[u8], built: &[u8]) -> Result<Vec<String>> {
    let committed = stable_parts(committed).context("cannot read the committed object")?;
    let built = stable_parts(built).context("cannot read the built object")?;
    let names = committed.keys().chain(built.keys().filter(|name| !committed.contains_key(*name)));
    let difference = |name: &String| match (committed.get(name), built.get(name)) {
        (Some(_), None) => Some(format!("{name} is committed and no longer built")),
        (None, Some(_)) => Some(format!("{name} is built and not committed")),
        (old, new) => (old != new).then(|| format!("{name} differs")),
    };
    Ok(names.filter_map(difference).collect())
}

/// Every part that the loader or the kernel takes from an object, by a name for messages.
fn stable_parts(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let file = ElfFile64::<object::Endianness>::parse(bytes)?;
    let mut parts = BTreeMap::new();
    for section in file.sections() {
        let name = section.name()?;
        let is_stable = !name.is_empty()
            && !name.starts_with(".debug_")
            && !name.starts_with(".rel")
            && ![".strtab", ".symtab", ".shstrtab", ".BTF.ext"].contains(&name);
        if !is_stable {
            continue;
        }
        parts.insert(format!("section `{name}`"), section.data()?.to_vec());
        let mut relocations = String::new();
        for (offset, relocation) in section.relocations() {
            let target = match relocation.target() {
                RelocationTarget::Symbol(index) => symbol_name(&file, index)?,
                other => format!("{other:?}"),
            };
            relocations.push_str(&format!("{offset} {target} {:?}\n", relocation.addend()));
        }
        if name != ".BTF" {
            parts.insert(format!("relocations of `{name}`"), relocations.into_bytes());
        }
    }
    for symbol in file.symbols().filter(|symbol| symbol.is_definition()) {
        let place = format!("{:?} {} {}", symbol.section(), symbol.address(), symbol.size());
        let section = symbol.section_index().and_then(|index| file.section_by_index(index).ok());
        let section = section.and_then(|section| section.name().ok().map(str::to_owned));
        if section.as_deref().is_some_and(|name| !name.starts_with(".debug_")) {
            let place = place.split_once(' ').map_or("", |(_, rest)| rest).to_owned();
            let name = symbol.name()?;
            parts.insert(format!("symbol `{name}` of {section:?}"), place.into_bytes());
        }
    }
    Ok(parts)
}

/// Name of a symbol, or of the section that it stands for.
fn symbol_name(
    file: &ElfFile64<'_, object::Endianness>,
    index: object::SymbolIndex,
) -> Result<String> {
    let symbol = file.symbol_by_index(index)?;
    let name = symbol.name()?;
    match symbol.section_index() {
        Some(section) if name.is_empty() => Ok(file.section_by_index(section)?.name()?.to_owned()),
        _ => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{differences, stripped};
    use crate::process::root;

    fn committed() -> Vec<u8> {
        std::fs::read(root().join("ebpf-probes/bygone.bpf.o")).unwrap()
    }

    #[test]
    fn an_object_is_equal_to_itself_and_stripping_changes_nothing_stable() {
        let object = committed();
        assert_eq!(differences(&object, &object).unwrap(), Vec::<String>::new());
        let again = stripped(&object).unwrap();
        assert_eq!(differences(&object, &again).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn one_changed_instruction_is_a_difference() {
        let object = committed();
        let found = object.windows(12).position(|window| window == b"Dual MIT/GPL").unwrap();
        let mut changed = object.clone();
        changed[found] = b'd';
        assert_eq!(differences(&object, &changed).unwrap(), ["section `license` differs"]);
    }

    #[test]
    fn the_committed_object_names_no_folder_of_a_machine() {
        let object = committed();
        for name in ["/home/", "/root/", "/tmp/", "/Users/"] {
            let found = object.windows(name.len()).any(|window| window == name.as_bytes());
            assert!(!found, "{name}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_an_error() {
        assert!(differences(b"no", b"no").is_err());
    }
}
