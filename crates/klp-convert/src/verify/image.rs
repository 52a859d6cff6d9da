//! The finished module as goblin reads it: headers, names, symbols, relocations. Every offset is
//! checked before goblin sees it.

use goblin::container::Container;
use goblin::container::Ctx;
use goblin::container::Endian;
use goblin::elf::Elf;
use goblin::elf::Reloc;
use goblin::elf::RelocSection;
use goblin::elf::SectionHeader;
use goblin::elf::Sym;
use goblin::elf::Symtab;
use goblin::elf::header;
use goblin::elf::section_header;
use kpatch_refusal::Refusal;

use super::broken;

const CTX: Ctx = Ctx { container: Container::Big, le: Endian::Little };

/// A section with its index as position in [`Image::sections`].
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) name: &'a str,
    pub(super) header: SectionHeader,
    /// Empty for sections without bytes in the file.
    pub(super) data: &'a [u8],
}

impl Section<'_> {
    pub(super) fn has(&self, flags: u64) -> bool {
        self.header.sh_flags & flags == flags
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.has(section_header::SHF_ALLOC.into())
    }

    pub(super) fn is_code(&self) -> bool {
        self.has((section_header::SHF_ALLOC | section_header::SHF_EXECINSTR).into())
    }
}

/// A symbol with its index as position in [`Image::symbols`].
#[derive(Debug)]
pub(super) struct Symbol<'a> {
    pub(super) name: &'a str,
    pub(super) raw: Sym,
}

/// A parsed module.
#[derive(Debug)]
pub(super) struct Image<'a> {
    pub(super) sections: Vec<Section<'a>>,
    pub(super) symbols: Vec<Symbol<'a>>,
    /// Section index of the symbol table.
    pub(super) symtab: usize,
    /// Offset behind everything that the headers name.
    pub(super) end: u64,
}

impl<'a> Image<'a> {
    /// Parses the file as the module loader would (`elf_validity_check` in `kernel/module/main.c`).
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Box<Refusal>> {
        let unreadable = |what: &str| broken("", format!("the file is not readable: {what}"));
        let head = Elf::parse_header(bytes).map_err(|e| unreadable(&e.to_string()))?;
        if head.e_ident[header::EI_CLASS] != header::ELFCLASS64
            || head.e_ident[header::EI_DATA] != header::ELFDATA2LSB
            || head.e_machine != header::EM_X86_64
            || head.e_type != header::ET_REL
        {
            return Err(broken("", "the file is not an x86-64 module").into());
        }
        let count = usize::from(head.e_shnum);
        if usize::from(head.e_shentsize) != section_header::section_header64::SIZEOF_SHDR
            || count == 0
            || head.e_shnum >= section_header::SHN_LORESERVE as u16
        {
            return Err(
                broken("", "the section header table has a form that the loader refuses").into()
            );
        }
        let size = count * section_header::section_header64::SIZEOF_SHDR;
        range(bytes, head.e_shoff, size as u64).ok_or_else(|| unreadable("section headers"))?;
        let headers = SectionHeader::parse(bytes, head.e_shoff as usize, count, CTX)
            .map_err(|e| unreadable(&e.to_string()))?;
        let headers = headers.get(..count).ok_or_else(|| unreadable("section headers"))?;
        let mut data = Vec::with_capacity(count);
        for header in headers {
            let none =
                matches!(header.sh_type, section_header::SHT_NULL | section_header::SHT_NOBITS);
            let bytes =
                if none { Some(&[][..]) } else { range(bytes, header.sh_offset, header.sh_size) };
            data.push(bytes.ok_or_else(|| unreadable("a section is not in the file"))?);
        }
        let names = headers
            .get(usize::from(head.e_shstrndx))
            .filter(|h| h.sh_type == section_header::SHT_STRTAB);
        names.ok_or_else(|| unreadable("section names"))?;
        let names = strings(data[usize::from(head.e_shstrndx)])?;
        let mut sections = Vec::with_capacity(count);
        for (header, data) in headers.iter().zip(&data) {
            let name =
                name_at(names, header.sh_name).ok_or_else(|| unreadable("a section name"))?;
            sections.push(Section { name, header: header.clone(), data });
        }
        // The loader holds nothing more against section 0 (`elf_validity_cache_sechdrs`).
        let first = &headers[0];
        if first.sh_type != section_header::SHT_NULL || first.sh_size != 0 || first.sh_addr != 0 {
            return Err(broken("", "section 0 is not empty").into());
        }
        let (symtab, symbols) = parse_symbols(bytes, &sections)?;
        let of_sections = headers.iter().filter(|h| h.sh_type != section_header::SHT_NOBITS);
        let ends = of_sections.map(|h| h.sh_offset.saturating_add(h.sh_size));
        let end = ends.chain([head.e_shoff + size as u64]).max().unwrap_or(0);
        Ok(Image { sections, symbols, symtab, end })
    }

    /// The relocations of section `index` if it is `SHT_RELA`.
    pub(super) fn relocations(
        &self,
        bytes: &'a [u8],
        index: usize,
    ) -> Result<Vec<Reloc>, Box<Refusal>> {
        let section = &self.sections[index];
        let size = section.data.len();
        if section.header.sh_entsize != 24 || size % 24 != 0 {
            return Err(
                broken("", format!("`{}` is not a table of relocations", section.name)).into()
            );
        }
        RelocSection::parse(bytes, section.header.sh_offset as usize, size, true, CTX)
            .map(|relocations| relocations.iter().collect())
            .map_err(|e| broken("", format!("`{}` is not readable: {e}", section.name)).into())
    }

    /// The relocations of section `target`, livepatch ones included; what is not readable is left out
    /// here and refused with the sections.
    pub(super) fn relocations_of(&self, bytes: &'a [u8], target: usize) -> Vec<Reloc> {
        let tables = (0..self.sections.len()).filter(|index| {
            let header = &self.sections[*index].header;
            header.sh_type == section_header::SHT_RELA && header.sh_info as usize == target
        });
        tables.flat_map(|index| self.relocations(bytes, index).unwrap_or_default()).collect()
    }

    /// Section and offset that a relocation of a table refers to, if it is in the module.
    pub(super) fn pointed_at(&self, relocation: &Reloc) -> Option<(usize, u64)> {
        let symbol = &self.symbols.get(relocation.r_sym)?.raw;
        let offset = symbol.st_value.checked_add_signed(relocation.r_addend.unwrap_or(0))?;
        let section = symbol.st_shndx;
        (section != 0 && section < self.sections.len()).then_some((section, offset))
    }

    /// The places that a table of records of `stride` bytes names first: record, section and offset.
    pub(super) fn sites(
        &self,
        bytes: &'a [u8],
        name: &str,
        stride: u64,
    ) -> Vec<(u64, (usize, u64))> {
        let relocations = self.named(name).into_iter().flat_map(|t| self.relocations_of(bytes, t));
        relocations
            .filter(|relocation| relocation.r_offset % stride == 0)
            .filter_map(|r| Some((r.r_offset / stride, self.pointed_at(&r)?)))
            .collect()
    }

    /// The name of the function around a place, else that of its section.
    pub(super) fn name_around(&self, section: usize, offset: u64) -> &'a str {
        let around = self.symbols.iter().find(|symbol| {
            let raw = &symbol.raw;
            raw.st_shndx == section
                && raw.st_type() == goblin::elf::sym::STT_FUNC
                && (raw.st_value..raw.st_value.saturating_add(raw.st_size)).contains(&offset)
        });
        around.map_or_else(|| self.sections.get(section).map_or("", |s| s.name), |s| s.name)
    }

    /// The indices of all sections of that name.
    pub(super) fn named(&self, name: &str) -> Vec<usize> {
        (0..self.sections.len()).filter(|i| self.sections[*i].name == name).collect()
    }
}

fn parse_symbols<'a>(
    bytes: &'a [u8],
    sections: &[Section<'a>],
) -> Result<(usize, Vec<Symbol<'a>>), Box<Refusal>> {
    let mut tables =
        (0..sections.len()).filter(|i| sections[*i].header.sh_type == section_header::SHT_SYMTAB);
    let (Some(index), None) = (tables.next(), tables.next()) else {
        return Err(broken("", "the module does not have exactly one symbol table").into());
    };
    let table = &sections[index];
    let size = table.data.len();
    if table.header.sh_entsize != 24 || size % 24 != 0 || size == 0 {
        return Err(broken("", "the symbol table has a form that the loader refuses").into());
    }
    let link = table.header.sh_link as usize;
    let names = sections.get(link).filter(|s| s.header.sh_type == section_header::SHT_STRTAB);
    let names = names.ok_or_else(|| broken("", "the symbol table has no names"))?;
    let names = strings(names.data)?;
    let raw = Symtab::parse(bytes, table.header.sh_offset as usize, size / 24, CTX)
        .map_err(|e| broken("", format!("the symbol table is not readable: {e}")))?;
    let mut symbols = Vec::with_capacity(size / 24);
    for raw in raw.iter() {
        let name = name_at(names, raw.st_name)
            .ok_or_else(|| broken("", format!("symbol {} has no readable name", symbols.len())))?;
        symbols.push(Symbol { name, raw });
    }
    Ok((index, symbols))
}

fn range(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let end = offset.checked_add(size)?;
    bytes.get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)
}

/// A string table. The loader wants a NUL at its end.
fn strings(data: &[u8]) -> Result<&[u8], Box<Refusal>> {
    match data.last() {
        Some(0) => Ok(data),
        _ => Err(broken("", "a string table does not end with a NUL").into()),
    }
}

fn name_at(names: &[u8], offset: usize) -> Option<&str> {
    let name = names.get(offset..)?;
    let end = name.iter().position(|b| *b == 0)?;
    std::str::from_utf8(&name[..end]).ok()
}
