//! Relocation sections, ordinary and livepatch.

use std::collections::BTreeMap;

use goblin::elf::Reloc;
use goblin::elf::reloc;
use goblin::elf::section_header::SHF_ALLOC;
use goblin::elf::section_header::SHF_INFO_LINK;
use goblin::elf::section_header::SHT_NOBITS;
use goblin::elf::section_header::SHT_REL;
use goblin::elf::section_header::SHT_RELA;
use kpatch_elf::SHF_RELA_LIVEPATCH;
use kpatch_elf::SHN_LIVEPATCH;
use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_elf::livepatch::rela_section_name;
use kpatch_elf::livepatch::rela_section_object;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use super::AppliedWith;
use super::broken;
use super::image::Image;
use super::image::Section;
use crate::late::section_reason;
use crate::placeholders::check_objects;
use crate::refuse::name_refusal;

/// Bytes that relocations of loaded sections fill: by target, start to end.
type Slots = BTreeMap<usize, BTreeMap<u64, u64>>;

/// Checks all relocation sections.
pub(super) fn check(
    image: &Image<'_>,
    bytes: &[u8],
    refusals: &mut Vec<Refusal>,
) -> BTreeMap<String, AppliedWith> {
    let mut applied_with: BTreeMap<String, AppliedWith> = BTreeMap::new();
    let mut slots = Slots::new();
    for (index, section) in image.sections.iter().enumerate() {
        let named = section.name.starts_with(".klp.rela.");
        let livepatch = section.has(SHF_RELA_LIVEPATCH);
        if named != livepatch {
            let message = format!("name and flags of `{}` do not agree", section.name);
            refusals.push(broken("", message));
            continue;
        }
        let target = image.sections.get(section.header.sh_info as usize);
        match section.header.sh_type {
            SHT_RELA => {}
            SHT_REL if target.is_none_or(Section::is_loaded) => {
                let message = format!("`{}` has relocations without addend", section.name);
                refusals.push(broken("", message));
                continue;
            }
            _ if livepatch => {
                let message = format!("`{}` is not a relocation section", section.name);
                refusals.push(broken("", message));
                continue;
            }
            _ => continue,
        }
        let Some(target) = target else {
            refusals.push(broken("", format!("`{}` has no target", section.name)));
            continue;
        };
        if !target.is_loaded() && !livepatch {
            continue;
        }
        let relocations = match image.relocations(bytes, index) {
            Ok(relocations) => relocations,
            Err(refusal) => {
                refusals.push(*refusal);
                continue;
            }
        };
        let object = if livepatch { header(image, section, target, refusals) } else { None };
        for relocation in &relocations {
            place(section, target, relocation, &mut slots, refusals);
            symbol(image, section, relocation, object, livepatch, refusals);
        }
        if let Some(object) = object {
            let counts = applied_with.entry(object.to_owned()).or_default();
            counts.sections += 1;
            counts.relocations += relocations.len();
        }
    }
    applied_with
}

/// Checks the header of a livepatch relocation section; gives its object.
fn header<'a>(
    image: &Image<'_>,
    section: &Section<'a>,
    target: &Section<'_>,
    refusals: &mut Vec<Refusal>,
) -> Option<&'a str> {
    let name = section.name;
    if !section.has(u64::from(SHF_ALLOC | SHF_INFO_LINK)) {
        refusals.push(broken("", format!("`{name}` lacks SHF_ALLOC or SHF_INFO_LINK")));
    }
    if section.header.sh_link as usize != image.symtab {
        refusals.push(broken("", format!("`{name}` is not linked to the symbol table")));
    }
    if !target.is_loaded() || target.header.sh_type == SHT_NOBITS {
        refusals.push(broken(
            "",
            format!("`{name}` applies to `{}`, which has no loaded bytes", target.name),
        ));
    }
    let object = match rela_section_object(name) {
        Ok(object) => object,
        Err(error) => {
            refusals.push(name_refusal(name, &error));
            return None;
        }
    };
    if rela_section_name(object, target.name).as_deref() != Ok(name) {
        let message = format!("`{name}` applies to `{}`, which its name does not say", target.name);
        refusals.push(broken("", message));
    }
    if object != VMLINUX {
        if let Some(reason) = section_reason(target.name) {
            refusals.push(Refusal::new(
                Code::UnsupportedSection,
                Place::default().symbol(target.name),
                format!("`{name}` is applied when `{object}` is loaded, but {reason}"),
                "patch another function, or avoid the construct",
            ));
        }
    }
    Some(object)
}

/// Bytes that a relocation fills; `None` for those that the module loader does not know
/// (`__write_relocate_add` in `arch/x86/kernel/module.c`).
pub(super) fn width(kind: u32) -> Option<u64> {
    match kind {
        reloc::R_X86_64_NONE => Some(0),
        reloc::R_X86_64_64 | reloc::R_X86_64_PC64 => Some(8),
        reloc::R_X86_64_32 | reloc::R_X86_64_32S | reloc::R_X86_64_PC32 | reloc::R_X86_64_PLT32 => {
            Some(4)
        }
        _ => None,
    }
}

/// Type, range and content of the place; no two relocations at the same bytes.
fn place(
    section: &Section<'_>,
    target: &Section<'_>,
    relocation: &Reloc,
    slots: &mut Slots,
    refusals: &mut Vec<Refusal>,
) {
    let offset = relocation.r_offset;
    let at = format!("offset {offset:#x} of `{}`", target.name);
    let Some(width) = width(relocation.r_type) else {
        refusals.push(Refusal::new(
            Code::UnsupportedRelocation,
            Place::default().symbol(target.name),
            format!(
                "relocation type {} at {at} is not known to the module loader",
                relocation.r_type
            ),
            "the code must be built as the kernel's own (no PIC, no TLS)",
        ));
        return;
    };
    let end = offset.checked_add(width).filter(|end| *end <= target.header.sh_size);
    let Some(end) = end else {
        refusals.push(broken("", format!("`{}` relocates {at}, which is outside", section.name)));
        return;
    };
    if width == 0 {
        return;
    }
    let bytes = target.data.get(offset as usize..end as usize).unwrap_or(&[]);
    if bytes.iter().any(|b| *b != 0) {
        refusals.push(broken("", format!("the bytes to relocate at {at} are not zero")));
    }
    // The section's index is its `sh_info`, which `check` has looked up.
    let taken = slots.entry(section.header.sh_info as usize).or_default();
    let before = taken.range(..end).next_back().is_some_and(|(_, taken_to)| *taken_to > offset);
    if before {
        refusals.push(broken("", format!("two relocations overlap at {at}")));
    }
    taken.insert(offset, end);
}

/// What a relocation refers to.
fn symbol(
    image: &Image<'_>,
    section: &Section<'_>,
    relocation: &Reloc,
    object: Option<&str>,
    livepatch: bool,
    refusals: &mut Vec<Refusal>,
) {
    let Some(symbol) = image.symbols.get(relocation.r_sym) else {
        let message = format!("`{}` refers to symbol {}", section.name, relocation.r_sym);
        refusals.push(broken("", format!("{message}, which does not exist")));
        return;
    };
    let resolved_by_core = symbol.raw.st_shndx == usize::from(SHN_LIVEPATCH);
    match (livepatch, resolved_by_core) {
        (true, false) => {
            let message =
                format!("`{}` refers to a symbol that is not SHN_LIVEPATCH", section.name);
            refusals.push(broken(symbol.name, message));
        }
        (false, true) => {
            let message =
                format!("`{}` refers to a livepatch symbol: its value is 0", section.name);
            refusals.push(broken(symbol.name, message));
        }
        _ => {}
    }
    if livepatch && relocation.r_type == reloc::R_X86_64_NONE {
        let message = format!("`{}` has a relocation without effect", section.name);
        refusals.push(broken(symbol.name, message));
    }
    // A malformed name is reported with the symbol table.
    if let (Some(object), Ok(meant)) = (object, LivepatchSymbol::parse(symbol.name)) {
        refusals.extend(check_objects(symbol.name, object, &meant).err().map(|refusal| *refusal));
    }
}
