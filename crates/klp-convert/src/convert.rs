//! Intermediate module to livepatch module (`Documentation/livepatch/module-elf-format.rst`).
//!
//! Every relocation against a placeholder in a loaded section moves to a livepatch relocation
//! section; the placeholder becomes a livepatch symbol; the tables go. Debug sections keep their
//! relocations: the kernel does not apply them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::LivepatchRelocations;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::RelocationKind;
use kpatch_elf::SHF_RELA_LIVEPATCH;
use kpatch_elf::SectionId;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_elf::livepatch::rela_section_name;
use kpatch_elf::retain;
use kpatch_elf::section_flags;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use crate::late::Late;
use crate::placeholders::Placeholders;
use crate::placeholders::is_table;
use crate::placeholders::read_placeholders;
use crate::refuse::at;
use crate::refuse::malformed;
use crate::refuse::name_refusal;

/// `sh_flags` of a livepatch relocation section.
pub(crate) const LIVEPATCH_FLAGS: u64 =
    section_flags::ALLOC | section_flags::INFO_LINK | SHF_RELA_LIVEPATCH;

/// Makes the livepatch module.
///
/// # Errors
/// All reasons why the kernel would not load the result, or would load it wrongly.
pub fn convert(intermediate: &ObjectFile) -> Result<ObjectFile, Refusals> {
    if !intermediate.livepatch.is_empty() {
        return Err(malformed("", "the module has been converted already").into());
    }
    let placeholders = read_placeholders(intermediate)?;
    let late = Late::of(intermediate)?;
    let mut refusals = check_relocations(intermediate, &placeholders, &late);
    let merged = merge_by_name(&placeholders);
    let (module, used) = move_relocations(intermediate, &placeholders, &merged, &mut refusals);
    let module = name_symbols(module, &placeholders, &merged);
    let module = retain(
        &module,
        |id| !is_table(&intermediate[id]),
        |id| !placeholders.contains_key(&id) || used.contains(&id),
    )
    .map_err(|error| malformed("", error.to_string()))?;
    refusals.extend(module.symbols_with_ids().filter_map(|(_, s)| left_undefined(s)));
    Refusals::none_or(refusals, module)
}

/// What the kernel's loader and its livepatch core would not apply, or would apply wrongly.
fn check_relocations(
    object: &ObjectFile,
    placeholders: &Placeholders,
    late: &Late,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for (id, section) in object.sections_with_ids() {
        if !section.has(section_flags::ALLOC) || is_table(section) {
            continue;
        }
        for relocation in &section.relocations {
            let Some(width) = relocation.kind.width() else {
                let message = format!("`{}` is not known to the module loader", relocation.kind);
                refusals.push(at(object, id, relocation, Code::UnsupportedRelocation, &message));
                continue;
            };
            let start = relocation.offset as usize;
            let zero =
                section.data.get(start..start + width).is_some_and(|b| b.iter().all(is_zero));
            if !zero && width != 0 {
                let message = "the bytes to relocate are not zero";
                refusals.push(at(object, id, relocation, Code::ModuleMalformed, message));
            }
            match placeholders.get(&relocation.symbol) {
                Some(p) if p.applied_with != VMLINUX && width != 0 => {
                    refusals.extend(late.check(object, id, relocation, p));
                }
                _ => {}
            }
        }
    }
    refusals
}

fn is_zero(byte: &u8) -> bool {
    *byte == 0
}

/// One symbol for each livepatch name: the first placeholder that stands for it.
fn merge_by_name(placeholders: &Placeholders) -> BTreeMap<SymbolId, SymbolId> {
    let mut first = BTreeMap::new();
    placeholders
        .iter()
        .map(|(id, placeholder)| (*id, *first.entry(&placeholder.symbol).or_insert(*id)))
        .collect()
}

/// Moves the relocations of loaded sections, lets those of others follow the merged symbols, and
/// tells which placeholders are still referred to.
fn move_relocations(
    intermediate: &ObjectFile,
    placeholders: &Placeholders,
    merged: &BTreeMap<SymbolId, SymbolId>,
    refusals: &mut Vec<Refusal>,
) -> (ObjectFile, BTreeSet<SymbolId>) {
    let mut module = intermediate.clone();
    let mut used = BTreeSet::new();
    let mut moved: BTreeMap<(&str, SectionId), Vec<Relocation>> = BTreeMap::new();
    for (id, section) in intermediate.sections_with_ids().filter(|(_, s)| !is_table(s)) {
        let mut kept = Vec::with_capacity(section.relocations.len());
        for relocation in &section.relocations {
            let Some(placeholder) = placeholders.get(&relocation.symbol) else {
                kept.push(*relocation);
                continue;
            };
            // objtool leaves R_X86_64_NONE where it has replaced an instruction.
            if relocation.kind == RelocationKind::NONE {
                continue;
            }
            let relocation = Relocation { symbol: merged[&relocation.symbol], ..*relocation };
            used.insert(relocation.symbol);
            if section.has(section_flags::ALLOC) {
                moved.entry((&placeholder.applied_with, id)).or_default().push(relocation);
            } else {
                kept.push(relocation);
            }
        }
        module.sections[id.0 as usize].relocations = kept;
    }
    for ((applied_with, target), relocations) in moved {
        match rela_section_name(applied_with, &intermediate[target].name) {
            Ok(name) => {
                let flags = LIVEPATCH_FLAGS;
                module.livepatch.push(LivepatchRelocations { name, flags, target, relocations });
            }
            Err(error) => refusals.push(name_refusal("", &error)),
        }
    }
    (module, used)
}

/// Gives the placeholders their final form. A type that any of the merged ones has is kept.
fn name_symbols(
    mut module: ObjectFile,
    placeholders: &Placeholders,
    merged: &BTreeMap<SymbolId, SymbolId>,
) -> ObjectFile {
    for (id, placeholder) in placeholders {
        let kind = module[*id].kind;
        let symbol = &mut module.symbols[merged[id].0 as usize];
        symbol.name = placeholder.symbol.to_string();
        symbol.definition = Definition::Livepatch;
        symbol.binding = Binding::Global;
        symbol.value = 0;
        if symbol.kind == SymbolKind::None {
            symbol.kind = kind;
        }
    }
    module
}

/// Refuses what the loader would resolve to 0 in silence, and names that no kernel exports.
fn left_undefined(symbol: &Symbol) -> Option<Refusal> {
    if symbol.definition != Definition::Undefined {
        return None;
    }
    let name = &symbol.name;
    if symbol.binding == Binding::Weak {
        return Some(Refusal::new(
            Code::WeakUndefinedLeft,
            Place::default().symbol(name),
            "the symbol is weak and undefined: the kernel's loader would make it address 0",
            "the symbol needs a definition in the kernel or in the patch",
        ));
    }
    (name.starts_with(".klp.") || name.starts_with(".kpatch."))
        .then(|| malformed(name, "the placeholder is not in the table of placeholders"))
}
