//! Relocation sections, ordinary and livepatch, and the table of patched functions.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use goblin::elf::Reloc;
use goblin::elf::reloc;
use goblin::elf::section_header::SHF_ALLOC;
use goblin::elf::section_header::SHF_INFO_LINK;
use goblin::elf::section_header::SHT_NOBITS;
use goblin::elf::section_header::SHT_REL;
use goblin::elf::section_header::SHT_RELA;
use goblin::elf::sym::STT_FUNC;
use kpatch_elf::SHF_RELA_LIVEPATCH;
use kpatch_elf::SHN_LIVEPATCH;
use kpatch_elf::livepatch::FUNCTION_RECORD;
use kpatch_elf::livepatch::FUNCTIONS;
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
    let width = match relocation.r_type {
        reloc::R_X86_64_NONE => 0,
        reloc::R_X86_64_64 | reloc::R_X86_64_PC64 => 8,
        reloc::R_X86_64_32 | reloc::R_X86_64_32S | reloc::R_X86_64_PC32 | reloc::R_X86_64_PLT32 => {
            4
        }
        other => {
            refusals.push(Refusal::new(
                Code::UnsupportedRelocation,
                Place::default().symbol(target.name),
                format!("relocation type {other} at {at} is not known to the module loader"),
                "the code must be built as the kernel's own (no PIC, no TLS)",
            ));
            return;
        }
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

/// Checks the table that the core reads, if there is one: its functions must have symbols
/// (`klp_init_object_loaded` looks their sizes up), and a section for a module that the patch does
/// not name would never be applied. Gives the number of functions.
pub(super) fn functions(
    image: &Image<'_>,
    bytes: &[u8],
    applied_with: &BTreeMap<String, AppliedWith>,
    refusals: &mut Vec<Refusal>,
) -> usize {
    let tables = image.named(FUNCTIONS);
    if tables.is_empty() {
        return 0;
    }
    let mut objects = BTreeSet::from([VMLINUX.to_owned()]);
    let mut count = 0;
    for table in tables {
        let data = image.sections[table].data;
        if data.len() % FUNCTION_RECORD != 0 {
            refusals.push(broken("", format!("`{FUNCTIONS}` is not a sequence of records")));
        }
        count += data.len() / FUNCTION_RECORD;
        let mut fields = BTreeMap::new();
        for index in 0..image.sections.len() {
            let header = &image.sections[index].header;
            if header.sh_type == SHT_RELA && header.sh_info as usize == table {
                // What is not readable has been reported.
                let relocations = image.relocations(bytes, index).unwrap_or_default();
                fields.extend(relocations.into_iter().map(|r| (r.r_offset, r)));
            }
        }
        for record in 0..data.len() / FUNCTION_RECORD {
            let start = (record * FUNCTION_RECORD) as u64;
            let function = fields.get(&start).and_then(|r| pointed_at(image, r));
            if !function.is_some_and(|(section, offset)| is_function(image, section, offset)) {
                let message = format!("record {record} of `{FUNCTIONS}` names no function");
                refusals.push(broken("", message));
            }
            let old = fields.get(&(start + 8)).and_then(|r| string(image, r));
            if old.is_none_or(str::is_empty) {
                let message = format!("record {record} of `{FUNCTIONS}` has no name to patch");
                refusals.push(broken("", message));
            }
            match fields.get(&(start + 16)).map(|r| string(image, r)) {
                Some(Some(object)) => {
                    objects.insert(object.to_owned());
                }
                Some(None) => {
                    let message = format!("record {record} of `{FUNCTIONS}` has no object name");
                    refusals.push(broken("", message));
                }
                // A null pointer is vmlinux.
                None => {}
            }
        }
    }
    for object in applied_with.keys().filter(|object| !objects.contains(*object)) {
        let message = format!(
            "relocations are to be applied with `{object}`, but no function of it is patched: the \
             kernel would never apply them"
        );
        refusals.push(broken("", message));
    }
    count
}

/// Section and offset that a pointer of a table refers to.
fn pointed_at(image: &Image<'_>, relocation: &Reloc) -> Option<(usize, u64)> {
    let symbol = &image.symbols.get(relocation.r_sym)?.raw;
    let offset = symbol.st_value.checked_add_signed(relocation.r_addend.unwrap_or(0))?;
    let section = symbol.st_shndx;
    (section != 0 && section < image.sections.len()).then_some((section, offset))
}

fn is_function(image: &Image<'_>, section: usize, offset: u64) -> bool {
    image.symbols.iter().any(|s| {
        s.raw.st_type() == STT_FUNC
            && s.raw.st_shndx == section
            && s.raw.st_value == offset
            && s.raw.st_size > 0
            && !s.name.is_empty()
    })
}

fn string<'a>(image: &Image<'a>, relocation: &Reloc) -> Option<&'a str> {
    let (section, offset) = pointed_at(image, relocation)?;
    let bytes = image.sections[section].data.get(usize::try_from(offset).ok()?..)?;
    let end = bytes.iter().position(|b| *b == 0)?;
    std::str::from_utf8(&bytes[..end]).ok()
}
