//! Writes the model as a relocatable file. Section order is kept; each section is followed by its
//! relocations, livepatch relocations come after all others, the tables last. Local symbols come
//! first, as ELF demands, otherwise their order is kept: the kernel's livepatch core relies on final
//! symbol indices (`copy_module_elf` in `kernel/module/livepatch.c`).

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use object::Endianness;
use object::elf;
use object::write::elf::FileHeader;
use object::write::elf::Rel;
use object::write::elf::SectionHeader;
use object::write::elf::SectionIndex;
use object::write::elf::Sym;
use object::write::elf::Writer;

use crate::Binding;
use crate::Definition;
use crate::MOST_ALIGNMENT;
use crate::ObjectFile;
use crate::Relocation;
use crate::SHN_LIVEPATCH;
use crate::SectionId;
use crate::SectionKind;
use crate::SymbolId;
use crate::SymbolKind;
use crate::section_flags;

/// File layout of one section of the model.
struct Layout {
    index: SectionIndex,
    name: object::write::StringId,
    offset: u64,
    rela: Option<RelaLayout>,
}

struct RelaLayout {
    index: SectionIndex,
    name: object::write::StringId,
    offset: u64,
}

/// Writes `object` as an x86-64 relocatable file.
///
/// # Errors
/// When the model refers to sections or symbols that it does not have, a section's size is not that
/// of its bytes, or a name holds a NUL.
pub fn write(object: &ObjectFile) -> Result<Vec<u8>> {
    check(object)?;
    let order = symbol_order(object);
    let mut new_index = vec![0u32; object.symbols.len()];
    for (new, old) in order.iter().enumerate() {
        new_index[old.0 as usize] = new as u32;
    }
    let locals =
        order.iter().take_while(|id| object[**id].binding == Binding::Local).count() as u32;
    let rela_names: Vec<Vec<u8>> =
        object.sections.iter().map(|s| format!(".rela{}", s.name).into_bytes()).collect();

    let mut buffer = Vec::new();
    let mut writer = Writer::new(Endianness::Little, true, &mut buffer);
    writer.reserve_file_header();
    writer.reserve_null_section_index();

    // Names and indices.
    let mut layouts = Vec::with_capacity(object.sections.len());
    for (section, rela_name) in object.sections.iter().zip(&rela_names) {
        let name = writer.add_section_name(section.name.as_bytes());
        let index = writer.reserve_section_index();
        let rela = (!section.relocations.is_empty()).then(|| RelaLayout {
            name: writer.add_section_name(rela_name),
            index: writer.reserve_section_index(),
            offset: 0,
        });
        layouts.push(Layout { index, name, offset: 0, rela });
    }
    let mut livepatch = Vec::with_capacity(object.livepatch.len());
    for relas in &object.livepatch {
        let name = writer.add_section_name(relas.name.as_bytes());
        livepatch.push(RelaLayout { name, index: writer.reserve_section_index(), offset: 0 });
    }
    writer.reserve_symtab_section_index();
    writer.reserve_null_symbol_index();
    let mut names = Vec::with_capacity(order.len());
    for id in order.iter().skip(1) {
        let symbol = &object[*id];
        let name = (!symbol.name.is_empty()).then(|| writer.add_string(symbol.name.as_bytes()));
        names.push(name);
        writer.reserve_symbol_index(symbol.section().map(|s| layouts[s.0 as usize].index));
    }
    // Functions in sections of their own are soon more than symbols can number.
    if writer.symtab_shndx_needed() {
        writer.reserve_symtab_shndx_section_index();
    }
    writer.reserve_strtab_section_index();
    writer.reserve_shstrtab_section_index();

    // File space.
    for (section, layout) in object.sections.iter().zip(&mut layouts) {
        layout.offset = match section.kind {
            SectionKind::Nobits => writer.reserved_len(),
            _ => writer.reserve(file_size(object, section), section.align.max(1)),
        };
        if let Some(rela) = &mut layout.rela {
            rela.offset = writer.reserve(24 * section.relocations.len() as u64, 8);
        }
    }
    for (relas, layout) in object.livepatch.iter().zip(&mut livepatch) {
        layout.offset = writer.reserve(24 * relas.relocations.len() as u64, 8);
    }
    writer.reserve_symtab();
    writer.reserve_symtab_shndx();
    writer.reserve_strtab().context("string table")?;
    writer.reserve_shstrtab().context("section name table")?;
    writer.reserve_section_headers();

    // Bytes, in the order of reservation.
    writer.write_file_header(&FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_REL,
        e_machine: elf::EM_X86_64,
        e_entry: 0,
        e_flags: elf::FileFlags(object.header_flags),
    })?;
    for (section, layout) in object.sections.iter().zip(&layouts) {
        if section.kind != SectionKind::Nobits {
            writer.pad_until(layout.offset);
        }
        if section.kind == SectionKind::Group {
            writer.write(&group_bytes(object, section, &layouts));
        } else {
            writer.write(&section.data);
        }
        if let Some(rela) = &layout.rela {
            writer.pad_until(rela.offset);
            write_relocations(&mut writer, &section.relocations, &new_index);
        }
    }
    for (relas, layout) in object.livepatch.iter().zip(&livepatch) {
        writer.pad_until(layout.offset);
        write_relocations(&mut writer, &relas.relocations, &new_index);
    }
    write_symbols(&mut writer, object, &order, &names, &layouts);
    writer.write_symtab_shndx();
    writer.write_strtab();
    writer.write_shstrtab();

    write_headers(&mut writer, object, &layouts, &livepatch, locals, &new_index);
    Ok(buffer)
}

fn check(object: &ObjectFile) -> Result<()> {
    let known = |id: SectionId| (id.0 as usize) < object.sections.len();
    for symbol in &object.symbols {
        if symbol.section().is_some_and(|id| !known(id)) {
            bail!("symbol `{}` is in a section that does not exist", symbol.name);
        }
    }
    let all = object.sections.iter().flat_map(|s| &s.relocations);
    for relocation in all.chain(object.livepatch.iter().flat_map(|l| &l.relocations)) {
        if relocation.symbol.0 as usize >= object.symbols.len() {
            bail!("a relocation refers to symbol {}, which does not exist", relocation.symbol.0);
        }
    }
    for section in &object.sections {
        let members = section.group.iter().flat_map(|g| &g.members);
        if members.chain(&section.link).any(|id| !known(*id)) {
            bail!("section `{}` refers to a section that does not exist", section.name);
        }
        if section.group.as_ref().is_some_and(|g| g.signature.0 as usize >= object.symbols.len()) {
            bail!("group `{}` is named by a symbol that does not exist", section.name);
        }
        if !(section.align == 0 || section.align.is_power_of_two())
            || section.align > MOST_ALIGNMENT
        {
            bail!("section `{}` is aligned to {} bytes", section.name, section.align);
        }
        let bytes = match section.kind {
            SectionKind::Nobits => 0,
            _ => section.size,
        };
        if bytes != section.data.len() as u64 {
            bail!("section `{}` of {} bytes has {}", section.name, bytes, section.data.len());
        }
    }
    let sections = object.sections.iter().map(|s| &s.name);
    let names = sections.chain(object.symbols.iter().map(|s| &s.name));
    if let Some(name) =
        names.chain(object.livepatch.iter().map(|l| &l.name)).find(|n| n.contains('\0'))
    {
        bail!("the name {name:?} holds a NUL");
    }
    if object.livepatch.iter().any(|l| !known(l.target)) {
        bail!("a livepatch relocation section has no target");
    }
    Ok(())
}

/// Null symbol, other local symbols, then the rest; stable.
fn symbol_order(object: &ObjectFile) -> Vec<SymbolId> {
    let mut order: Vec<SymbolId> = (0..object.symbols.len() as u32).map(SymbolId).collect();
    order.sort_by_key(|id| object[*id].binding != Binding::Local);
    order
}

fn file_size(object: &ObjectFile, section: &crate::Section) -> u64 {
    match &section.group {
        Some(group) => {
            let with_relas =
                group.members.iter().map(|m| if object[*m].relocations.is_empty() { 1 } else { 2 });
            4 + 4 * with_relas.sum::<u64>()
        }
        None => section.data.len() as u64,
    }
}

fn group_bytes(object: &ObjectFile, section: &crate::Section, layouts: &[Layout]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Some(group) = &section.group else { return bytes };
    bytes.extend_from_slice(&group.flags.to_le_bytes());
    for member in &group.members {
        let layout = &layouts[member.0 as usize];
        bytes.extend_from_slice(&layout.index.0.to_le_bytes());
        if let Some(rela) = &layout.rela {
            bytes.extend_from_slice(&rela.index.0.to_le_bytes());
        }
    }
    debug_assert_eq!(bytes.len() as u64, file_size(object, section));
    bytes
}

fn write_relocations(writer: &mut Writer<'_>, relocations: &[Relocation], new_index: &[u32]) {
    for relocation in relocations {
        writer.write_relocation(
            true,
            &Rel {
                r_offset: relocation.offset,
                r_sym: new_index[relocation.symbol.0 as usize],
                r_type: elf::RelocationType(relocation.kind.0),
                r_addend: relocation.addend,
            },
        );
    }
}

fn write_symbols(
    writer: &mut Writer<'_>,
    object: &ObjectFile,
    order: &[SymbolId],
    names: &[Option<object::write::StringId>],
    layouts: &[Layout],
) {
    writer.write_null_symbol();
    for (id, name) in order.iter().skip(1).zip(names) {
        let symbol = &object[*id];
        let bind = match symbol.binding {
            Binding::Local => elf::STB_LOCAL,
            Binding::Global => elf::STB_GLOBAL,
            Binding::Weak => elf::STB_WEAK,
        };
        let kind = match symbol.kind {
            SymbolKind::None => elf::STT_NOTYPE,
            SymbolKind::Object => elf::STT_OBJECT,
            SymbolKind::Function => elf::STT_FUNC,
            SymbolKind::Section => elf::STT_SECTION,
            SymbolKind::File => elf::STT_FILE,
            SymbolKind::Other(other) => elf::SymbolType(other),
        };
        let special = match symbol.definition {
            Definition::Undefined | Definition::Section(_) => 0,
            Definition::Absolute => 0xfff1,
            Definition::Common => 0xfff2,
            Definition::Livepatch => SHN_LIVEPATCH,
        };
        let st_name = writer.string_offset(*name);
        writer.write_symbol(&Sym {
            section: symbol.section().map(|s| layouts[s.0 as usize].index.0),
            st_name,
            st_info: elf::SymbolInfo::new(bind, kind),
            st_other: elf::SymbolOther(symbol.other),
            st_shndx: elf::SymbolSection(special),
            st_value: symbol.value,
            st_size: symbol.size,
        });
    }
}

fn write_headers(
    writer: &mut Writer<'_>,
    object: &ObjectFile,
    layouts: &[Layout],
    livepatch: &[RelaLayout],
    locals: u32,
    new_index: &[u32],
) {
    let symtab = writer.symtab_index().0;
    writer.write_null_section_header();
    for (section, layout) in object.sections.iter().zip(layouts) {
        let kind = match section.kind {
            SectionKind::Progbits => elf::SHT_PROGBITS,
            SectionKind::Nobits => elf::SHT_NOBITS,
            SectionKind::Note => elf::SHT_NOTE,
            SectionKind::Group => elf::SHT_GROUP,
            SectionKind::Other(other) => elf::SectionType(other),
        };
        let (link, info) = match &section.group {
            Some(group) => (symtab, new_index[group.signature.0 as usize]),
            None => (section.link.map_or(0, |l| layouts[l.0 as usize].index.0), 0),
        };
        let size = match section.kind {
            SectionKind::Nobits => section.size,
            _ => file_size(object, section),
        };
        let sh_name = writer.section_name_offset(Some(layout.name));
        writer.write_section_header(&SectionHeader {
            sh_name,
            sh_type: kind,
            sh_flags: elf::SectionFlags(section.flags),
            sh_addr: 0,
            sh_offset: layout.offset,
            sh_size: size,
            sh_link: link,
            sh_info: info,
            sh_addralign: section.align,
            sh_entsize: section.entry_size,
        });
        if let Some(rela) = &layout.rela {
            // A group member's relocations belong to the group, too.
            let flags = section_flags::INFO_LINK | (section.flags & section_flags::GROUP);
            rela_header(writer, rela, flags, layout.index.0, section.relocations.len());
        }
    }
    for (relas, layout) in object.livepatch.iter().zip(livepatch) {
        let target = layouts[relas.target.0 as usize].index.0;
        rela_header(writer, layout, relas.flags, target, relas.relocations.len());
    }
    writer.write_symtab_section_header(locals);
    writer.write_symtab_shndx_section_header();
    writer.write_strtab_section_header();
    writer.write_shstrtab_section_header();
}

fn rela_header(writer: &mut Writer<'_>, rela: &RelaLayout, flags: u64, target: u32, count: usize) {
    let sh_name = writer.section_name_offset(Some(rela.name));
    let sh_link = writer.symtab_index().0;
    writer.write_section_header(&SectionHeader {
        sh_name,
        sh_type: elf::SHT_RELA,
        sh_flags: elf::SectionFlags(flags),
        sh_addr: 0,
        sh_offset: rela.offset,
        sh_size: 24 * count as u64,
        sh_link,
        sh_info: target,
        sh_addralign: 8,
        sh_entsize: 24,
    });
}
