//! Takes sections and symbols out of an object and renumbers what is left.
//!
//! Bias: code and data that are loaded must not lose a reference without notice, so a loaded section
//! that refers to something removed is an error. Debug information may refer to what is gone, as it
//! may after the linker discards a section: there the relocation is dropped and the slot keeps 0.

use crate::Definition;
use crate::ObjectFile;
use crate::Relocation;
use crate::SectionId;
use crate::SymbolId;
use crate::section_flags;

/// Why sections or symbols cannot be removed: something that stays refers to them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetainError {
    /// A relocation of a section that is loaded.
    #[error("section `{section}` refers at offset {offset:#x} to `{symbol}`, which is removed")]
    Relocation {
        /// The section that stays.
        section: String,
        /// Offset of the relocation in bytes.
        offset: u64,
        /// What would be gone.
        symbol: String,
    },
    /// `SHF_LINK_ORDER`, or the symbol that names a group.
    #[error("section `{section}` belongs to a section or symbol that is removed")]
    Section {
        /// The section that stays.
        section: String,
    },
}

/// A copy of `object` with the sections and symbols that the predicates accept, in the same order.
///
/// Symbols that a removed section defines go with it, and so do the livepatch relocations that apply
/// to it. The null symbol always stays.
///
/// # Errors
/// [`RetainError`] when what stays needs what is removed.
pub fn retain(
    object: &ObjectFile,
    keep_section: impl Fn(SectionId) -> bool,
    keep_symbol: impl Fn(SymbolId) -> bool,
) -> Result<ObjectFile, RetainError> {
    let mut kept = 0u32;
    let sections: Vec<Option<SectionId>> = object
        .sections_with_ids()
        .map(|(id, _)| keep_section(id).then(|| next(&mut kept, SectionId)))
        .collect();
    let map_section = |id: SectionId| sections.get(id.0 as usize).copied().flatten();

    let mut kept = 1u32;
    let mut symbols = vec![Some(SymbolId::NULL)];
    symbols.extend(object.symbols_with_ids().map(|(id, symbol)| {
        let home = symbol.section().is_none_or(|s| map_section(s).is_some());
        (home && keep_symbol(id)).then(|| next(&mut kept, SymbolId))
    }));
    let map_symbol = |id: SymbolId| symbols.get(id.0 as usize).copied().flatten();

    let mut out = ObjectFile { header_flags: object.header_flags, ..ObjectFile::default() };
    for (id, section) in object.sections_with_ids() {
        if map_section(id).is_none() {
            continue;
        }
        let gone = || RetainError::Section { section: section.name.clone() };
        let mut section = section.clone();
        section.relocations =
            relocations(object, &section.name, &section.relocations, section.flags, map_symbol)?;
        if let Some(link) = section.link {
            section.link = Some(map_section(link).ok_or_else(gone)?);
        }
        if let Some(group) = &mut section.group {
            group.signature = map_symbol(group.signature).ok_or_else(gone)?;
            group.members = group.members.iter().filter_map(|m| map_section(*m)).collect();
        }
        out.sections.push(section);
    }
    for (id, symbol) in object.symbols_with_ids() {
        if map_symbol(id).is_none() {
            continue;
        }
        let mut symbol = symbol.clone();
        if let Some(section) = symbol.section().and_then(map_section) {
            symbol.definition = Definition::Section(section);
        }
        out.symbols.push(symbol);
    }
    for relas in &object.livepatch {
        let Some(target) = map_section(relas.target) else { continue };
        let mut relas = relas.clone();
        relas.target = target;
        relas.relocations =
            relocations(object, &relas.name, &relas.relocations, section_flags::ALLOC, map_symbol)?;
        out.livepatch.push(relas);
    }
    Ok(out)
}

fn next<T>(count: &mut u32, id: fn(u32) -> T) -> T {
    *count += 1;
    id(*count - 1)
}

fn relocations(
    object: &ObjectFile,
    section: &str,
    old: &[Relocation],
    flags: u64,
    map_symbol: impl Fn(SymbolId) -> Option<SymbolId>,
) -> Result<Vec<Relocation>, RetainError> {
    let mut new = Vec::with_capacity(old.len());
    for relocation in old {
        match map_symbol(relocation.symbol) {
            Some(symbol) => new.push(Relocation { symbol, ..*relocation }),
            None if flags & section_flags::ALLOC == 0 => {}
            None => {
                let symbol = object.symbols.get(relocation.symbol.0 as usize);
                return Err(RetainError::Relocation {
                    section: section.to_owned(),
                    offset: relocation.offset,
                    symbol: symbol.map_or_else(String::new, |s| s.name.clone()),
                });
            }
        }
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Binding;
    use crate::RelocationKind;
    use crate::Section;
    use crate::Symbol;

    /// `.a`, `.b`, `.c`, each 8 bytes with a symbol of its name; `.c` refers to `.b`'s.
    fn three(flags: u64) -> ObjectFile {
        let mut object = ObjectFile::default();
        for name in [".a", ".b", ".c"] {
            let mut section = Section::progbits(name, flags, 8);
            section.data = vec![0; 8];
            let id = object.add_section(section);
            let mut symbol = Symbol::undefined(&name[1..], Binding::Local);
            symbol.definition = Definition::Section(id);
            object.add_symbol(symbol);
        }
        object.sections[2].relocations.push(Relocation {
            offset: 0,
            kind: RelocationKind::ABS64,
            symbol: SymbolId(2),
            addend: 0,
        });
        object
    }

    #[test]
    fn what_stays_is_renumbered() {
        let object = three(section_flags::ALLOC);
        let out = retain(&object, |id| id != SectionId(0), |_| true).unwrap();
        let names: Vec<&str> = out.symbols.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["", "b", "c"]);
        assert_eq!(out.symbols[2].section(), Some(SectionId(1)));
        assert_eq!(out.sections[1].name, ".c");
        assert_eq!(out[out.sections[1].relocations[0].symbol].name, "b");
    }

    #[test]
    fn a_loaded_section_keeps_what_it_needs() {
        let object = three(section_flags::ALLOC);
        let error = retain(&object, |id| id != SectionId(1), |_| true).unwrap_err();
        let expected =
            RetainError::Relocation { section: ".c".into(), offset: 0, symbol: "b".into() };
        assert_eq!(error, expected);
        assert!(retain(&object, |_| true, |id| id != SymbolId(2)).is_err());
    }

    #[test]
    fn debug_information_may_lose_references() {
        let out = retain(&three(0), |id| id != SectionId(1), |_| true).unwrap();
        assert_eq!(out.sections[1].relocations, []);
    }
}
