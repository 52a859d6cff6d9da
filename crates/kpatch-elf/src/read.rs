//! Reads a relocatable file into the model. What the model cannot hold is an error here, so that no
//! later phase has to wonder.

use std::collections::HashMap;

use object::LittleEndian;
use object::elf;
use object::elf::FileHeader64;
use object::read::SectionIndex;
use object::read::elf::FileHeader;
use object::read::elf::Rela;
use object::read::elf::SectionHeader;
use object::read::elf::SectionTable;
use object::read::elf::Sym;

use crate::Binding;
use crate::Definition;
use crate::Group;
use crate::LivepatchRelocations;
use crate::MOST_ALIGNMENT;
use crate::ObjectFile;
use crate::Relocation;
use crate::RelocationKind;
use crate::SHF_RELA_LIVEPATCH;
use crate::SHN_LIVEPATCH;
use crate::Section;
use crate::SectionId;
use crate::SectionKind;
use crate::Symbol;
use crate::SymbolId;
use crate::SymbolKind;
use crate::foreign;
use crate::section_flags;

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The bytes are not the ELF that they claim to be.
    #[error("malformed ELF: {0}")]
    Malformed(String),
    /// LLVM bitcode: what LTO builds have in place of machine code.
    #[error("LLVM bitcode, not machine code")]
    Bitcode,
    /// What the compiler leaves for link-time optimisation, in place of machine code or beside it.
    #[error("{compiler} for link-time optimisation (section `{section}`)")]
    Intermediate {
        /// Whose code it is.
        compiler: &'static str,
        /// The section that gave it away.
        section: String,
    },
    /// Another machine, class or file type.
    #[error("not an x86-64 relocatable file: {0}")]
    Foreign(String),
    /// Valid ELF that the model has no place for.
    #[error("unsupported ELF feature: {0}")]
    Unsupported(String),
}

type Result<T> = std::result::Result<T, ReadError>;
type Header = FileHeader64<LittleEndian>;
type Sections<'data> = SectionTable<'data, Header, &'data [u8]>;

const LE: LittleEndian = LittleEndian;

impl From<object::read::Error> for ReadError {
    fn from(error: object::read::Error) -> Self {
        ReadError::Malformed(error.to_string())
    }
}

/// Reads a relocatable x86-64 file.
///
/// # Errors
/// A [`ReadError`]; never panics, whatever the bytes are.
pub fn read(data: &[u8]) -> Result<ObjectFile> {
    foreign::check_header(data)?;
    let header = Header::parse(data)?;
    let sections = header.sections(LE, data)?;
    let ids = assign_ids(&sections)?;

    let mut object = ObjectFile { header_flags: header.e_flags(LE).0, ..ObjectFile::default() };
    for (index, section) in sections.enumerate() {
        if ids.contains_key(&index.0) {
            object.sections.push(read_section(&sections, section, &ids, data)?);
        }
    }
    read_symbols(&sections, &ids, data, &mut object)?;
    read_groups(&sections, &ids, data, &mut object)?;
    read_relocations(&sections, &ids, data, &mut object)?;
    Ok(object)
}

/// Which sections of the file become sections of the model.
fn assign_ids(sections: &Sections<'_>) -> Result<HashMap<usize, SectionId>> {
    let mut ids = HashMap::new();
    for (index, section) in sections.enumerate() {
        match section.sh_type(LE) {
            elf::SHT_NULL
            | elf::SHT_SYMTAB
            | elf::SHT_SYMTAB_SHNDX
            | elf::SHT_STRTAB
            | elf::SHT_RELA => continue,
            elf::SHT_REL => {
                return Err(ReadError::Unsupported("relocations without addend".into()));
            }
            _ => {}
        }
        ids.insert(index.0, SectionId(ids.len() as u32));
    }
    Ok(ids)
}

fn text(bytes: &[u8], what: &str) -> Result<String> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| ReadError::Malformed(format!("{what} name is not UTF-8")))
}

fn read_section(
    sections: &Sections<'_>,
    section: &<Header as FileHeader>::SectionHeader,
    ids: &HashMap<usize, SectionId>,
    data: &[u8],
) -> Result<Section> {
    let name = text(sections.section_name(LE, section)?, "section")?;
    foreign::check_section(&name)?;
    let kind = match section.sh_type(LE) {
        elf::SHT_PROGBITS => SectionKind::Progbits,
        elf::SHT_NOBITS => SectionKind::Nobits,
        elf::SHT_NOTE => SectionKind::Note,
        elf::SHT_GROUP => SectionKind::Group,
        other => SectionKind::Other(other.0),
    };
    let flags = section.sh_flags(LE).0;
    let link = if flags & section_flags::LINK_ORDER != 0 && section.sh_link(LE) != 0 {
        let id = ids.get(&(section.sh_link(LE) as usize));
        Some(*id.ok_or_else(|| ReadError::Malformed(format!("link of section `{name}`")))?)
    } else {
        None
    };
    let align = section.sh_addralign(LE);
    if align != 0 && !align.is_power_of_two() {
        return Err(ReadError::Malformed(format!("alignment of section `{name}`")));
    }
    if align > MOST_ALIGNMENT {
        return Err(ReadError::Unsupported(format!(
            "section `{name}` is aligned to {align} bytes"
        )));
    }
    let bytes = if kind == SectionKind::Group { &[][..] } else { section.data(LE, data)? };
    Ok(Section {
        kind,
        flags,
        align,
        entry_size: section.sh_entsize(LE),
        size: if kind == SectionKind::Group { 0 } else { section.sh_size(LE) },
        data: bytes.to_vec(),
        relocations: Vec::new(),
        link,
        group: None,
        name,
    })
}

fn read_symbols(
    sections: &Sections<'_>,
    ids: &HashMap<usize, SectionId>,
    data: &[u8],
    object: &mut ObjectFile,
) -> Result<()> {
    let table = sections.symbols(LE, data, elf::SHT_SYMTAB)?;
    for (index, symbol) in table.enumerate().skip(1) {
        let name = text(table.symbol_name(LE, symbol)?, "symbol")?;
        let shndx = symbol.st_shndx(LE).0;
        let definition = match shndx {
            0 => Definition::Undefined,
            0xfff1 => Definition::Absolute,
            0xfff2 => Definition::Common,
            SHN_LIVEPATCH => Definition::Livepatch,
            // Reserved indices name no section; one of them says that the index is kept elsewhere.
            _ => {
                let section = table.symbol_section(LE, symbol, index)?;
                let id =
                    section.and_then(|SectionIndex(index)| ids.get(&index)).ok_or_else(|| {
                        ReadError::Malformed(format!("symbol `{name}` is in section {shndx:#x}"))
                    })?;
                Definition::Section(*id)
            }
        };
        let binding = match symbol.st_bind() {
            elf::STB_LOCAL => Binding::Local,
            elf::STB_GLOBAL => Binding::Global,
            elf::STB_WEAK => Binding::Weak,
            other => {
                return Err(ReadError::Unsupported(format!("binding {} of `{name}`", other.0)));
            }
        };
        let kind = match symbol.st_type() {
            elf::STT_NOTYPE => SymbolKind::None,
            elf::STT_OBJECT => SymbolKind::Object,
            elf::STT_FUNC => SymbolKind::Function,
            elf::STT_SECTION => SymbolKind::Section,
            elf::STT_FILE => SymbolKind::File,
            other => SymbolKind::Other(other.0),
        };
        object.symbols.push(Symbol {
            value: symbol.st_value(LE),
            size: symbol.st_size(LE),
            binding,
            kind,
            other: symbol.st_other().0,
            definition,
            name,
        });
    }
    Ok(())
}

fn read_groups(
    sections: &Sections<'_>,
    ids: &HashMap<usize, SectionId>,
    data: &[u8],
    object: &mut ObjectFile,
) -> Result<()> {
    for (index, section) in sections.enumerate() {
        let Some((flags, indices)) = section.group(LE, data)? else { continue };
        // Members without an id are relocation sections: they follow their target.
        let members =
            indices.iter().filter_map(|i| ids.get(&(i.get(LE) as usize)).copied()).collect();
        let signature = SymbolId(section.sh_info(LE));
        if signature.0 as usize >= object.symbols.len() {
            return Err(ReadError::Malformed("signature of a section group".into()));
        }
        let id = ids[&index.0];
        let group = Group { flags: flags.0, signature, members };
        object.sections[id.0 as usize].group = Some(group);
    }
    Ok(())
}

fn read_relocations(
    sections: &Sections<'_>,
    ids: &HashMap<usize, SectionId>,
    data: &[u8],
    object: &mut ObjectFile,
) -> Result<()> {
    for section in sections.iter() {
        let Some((relas, _)) = section.rela(LE, data)? else { continue };
        let name = text(sections.section_name(LE, section)?, "section")?;
        let SectionIndex(target) = section.info_link(LE);
        let target = *ids
            .get(&target)
            .ok_or_else(|| ReadError::Malformed(format!("target of section `{name}`")))?;
        let mut relocations = Vec::with_capacity(relas.len());
        for rela in relas {
            relocations.push(read_relocation(rela, &object[target], object.symbols.len(), &name)?);
        }
        let flags = section.sh_flags(LE).0;
        if flags & SHF_RELA_LIVEPATCH != 0 {
            object.livepatch.push(LivepatchRelocations { name, flags, target, relocations });
            continue;
        }
        let place = &mut object.sections[target.0 as usize].relocations;
        if !place.is_empty() {
            return Err(ReadError::Unsupported(format!("a second relocation section `{name}`")));
        }
        // A stable sort: two relocations at one place keep their order.
        relocations.sort_by_key(|r| r.offset);
        *place = relocations;
    }
    Ok(())
}

/// Relocations of a compressed (debug) section count in what it decompresses to: its `Elf64_Chdr` says
/// how long that is.
fn uncompressed_size(section: &Section) -> u64 {
    if !section.has(section_flags::COMPRESSED) {
        return section.size;
    }
    let size = section.data.get(8..).and_then(|rest| rest.first_chunk());
    size.map_or(0, |size| u64::from_le_bytes(*size))
}

fn read_relocation(
    rela: &elf::Rela64<LittleEndian>,
    target: &Section,
    symbols: usize,
    name: &str,
) -> Result<Relocation> {
    let relocation = Relocation {
        offset: rela.r_offset(LE),
        kind: RelocationKind(rela.r_type(LE, false).0),
        symbol: SymbolId(rela.r_sym(LE, false)),
        addend: rela.r_addend(LE),
    };
    if relocation.symbol.0 as usize >= symbols {
        return Err(ReadError::Malformed(format!("symbol index in section `{name}`")));
    }
    let width = relocation.kind.width().unwrap_or(0) as u64;
    if relocation.offset.checked_add(width).is_none_or(|end| end > uncompressed_size(target)) {
        return Err(ReadError::Malformed(format!("offset outside the target in `{name}`")));
    }
    Ok(relocation)
}
