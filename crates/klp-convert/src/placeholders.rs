//! Reads the table of placeholders of an intermediate module.
//!
//! The table is authoritative, not the names: functions that objtool knows by name keep it as
//! placeholders. Bias: a record that cannot be understood whole is a refusal.

use std::collections::BTreeMap;

use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::ObjectFile;
use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_elf::SymbolId;
use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_elf::livepatch::PLACEHOLDER_RECORD;
use kpatch_elf::livepatch::PLACEHOLDER_STRINGS;
use kpatch_elf::livepatch::PLACEHOLDERS;
use kpatch_elf::livepatch::Placeholder;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_elf::livepatch::rela_section_name;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use crate::refuse::malformed;
use crate::refuse::name_refusal;

/// The placeholders of a module by their symbols.
pub(crate) type Placeholders = BTreeMap<SymbolId, Placeholder>;

/// Whether the section exists between the differ and the converter only.
pub(crate) fn is_table(section: &Section) -> bool {
    section.name == PLACEHOLDERS || section.name == PLACEHOLDER_STRINGS
}

/// All placeholders that the table records.
pub(crate) fn read_placeholders(object: &ObjectFile) -> Result<Placeholders, Refusals> {
    let mut refusals = Vec::new();
    let mut all = Placeholders::new();
    for (_, section) in object.sections_with_ids().filter(|(_, s)| s.name == PLACEHOLDERS) {
        let record = PLACEHOLDER_RECORD as u64;
        if section.size % record != 0 || section.data.iter().any(|b| *b != 0) {
            let message = format!("`{PLACEHOLDERS}` is not a sequence of empty records");
            refusals.push(malformed("", message));
            continue;
        }
        if section.relocations.len() as u64 != section.size / 8 {
            let message = format!("`{PLACEHOLDERS}` does not have three pointers in each record");
            refusals.push(malformed("", message));
            continue;
        }
        for index in 0..section.size / record {
            let start = index * record;
            match read_record(object, section, start) {
                Ok((id, placeholder)) => match all.get(&id) {
                    Some(other) if *other != placeholder => {
                        let name = &object[id].name;
                        let message = format!(
                            "the placeholder stands for `{}` with `{}` and for `{}` with `{}`",
                            other.symbol,
                            other.applied_with,
                            placeholder.symbol,
                            placeholder.applied_with
                        );
                        refusals.push(malformed(name, message));
                    }
                    _ => {
                        all.insert(id, placeholder);
                    }
                },
                Err(refusal) => refusals.push(*refusal),
            }
        }
    }
    Refusals::none_or(refusals, all)
}

fn read_record(
    object: &ObjectFile,
    section: &Section,
    start: u64,
) -> Result<(SymbolId, Placeholder), Box<Refusal>> {
    let broken = |what: &str| {
        malformed("", format!("the record at {start:#x} of `{PLACEHOLDERS}` has {what}"))
    };
    let end = start + PLACEHOLDER_RECORD as u64;
    let [symbol, applied_with, name] = section.relocations_in(start..end) else {
        return Err(broken("not three pointers").into());
    };
    for (relocation, offset) in [symbol, applied_with, name].into_iter().zip([0, 8, 16]) {
        if relocation.offset != start + offset || relocation.kind != RelocationKind::ABS64 {
            return Err(broken("a field that is not a pointer").into());
        }
    }
    let id = symbol.symbol;
    let placeholder = &object[id];
    if id == SymbolId::NULL || symbol.addend != 0 {
        return Err(broken("no placeholder").into());
    }
    if placeholder.definition != Definition::Undefined || placeholder.binding == Binding::Local {
        let message = "the placeholder is defined in the module itself";
        return Err(malformed(&placeholder.name, message).into());
    }
    let applied_with = string(object, applied_with.symbol, applied_with.addend)
        .ok_or_else(|| broken("an object name that is not a string"))?;
    let text = string(object, name.symbol, name.addend)
        .ok_or_else(|| broken("a symbol name that is not a string"))?;
    let symbol = LivepatchSymbol::parse(&text).map_err(|e| name_refusal(&placeholder.name, &e))?;
    // The kernel's limits hold for this name too; the section's own name adds none.
    rela_section_name(&applied_with, "").map_err(|e| name_refusal(&placeholder.name, &e))?;
    check_objects(&placeholder.name, &applied_with, &symbol)?;
    Ok((id, Placeholder { applied_with, symbol }))
}

/// Which objects' symbols a livepatch relocation section may name (`klp_resolve_symbols` in
/// `kernel/livepatch/core.c`).
pub(crate) fn check_objects(
    name: &str,
    applied_with: &str,
    symbol: &LivepatchSymbol,
) -> Result<(), Box<Refusal>> {
    if applied_with != VMLINUX && symbol.object == VMLINUX {
        let message = format!(
            "`{symbol}` is applied when module `{applied_with}` is loaded: the kernel forbids \
             vmlinux symbols there"
        );
        return Err(malformed(name, message).into());
    }
    if applied_with == VMLINUX && symbol.object != VMLINUX {
        return Err(Refusal::new(
            Code::ModuleDependency,
            Place::default().symbol(name),
            format!("code of vmlinux refers to `{symbol}`, and the module may not be loaded"),
            "vmlinux does not depend on modules: refer to exported symbols of vmlinux only",
        )
        .into());
    }
    Ok(())
}

fn string(object: &ObjectFile, symbol: SymbolId, addend: i64) -> Option<String> {
    let symbol = &object[symbol];
    let id: SectionId = symbol.section()?;
    let section = &object[id];
    if section.name != PLACEHOLDER_STRINGS {
        return None;
    }
    let start = usize::try_from(symbol.value.checked_add_signed(addend)?).ok()?;
    let bytes = section.data.get(start..)?;
    let end = bytes.iter().position(|b| *b == 0)?;
    std::str::from_utf8(&bytes[..end]).ok().map(str::to_owned)
}
