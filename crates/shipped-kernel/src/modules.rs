//! The kernel's modules: their files, symbol tables and what they say of themselves.
//!
//! A module's symbol table is the order in which the kernel counts its symbols. Bias: a module is
//! taken as its file is; two files of one name, or one that is damaged, are refused.

mod files;
mod find;
mod relocations;

pub use files::ModuleFiles;
pub use files::built_modules;
pub use find::find_module;
pub use relocations::ModuleRelocation;

use std::fs;
use std::path::Path;

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use object::LittleEndian;
use object::elf;
use object::read::elf::FileHeader;
use object::read::elf::SectionHeader;
use object::read::elf::Sym;

use crate::decompress;
use crate::decompress::Compression;
use crate::image::section_build_id;
use crate::symvers::module_name;

type Header = elf::FileHeader64<LittleEndian>;

/// A kernel module as it is shipped.
#[derive(Debug, Clone)]
pub struct Module {
    /// As the kernel names it (`kvm_intel`).
    pub name: String,
    /// The uncompressed file; a signature may follow the ELF data.
    pub elf: Vec<u8>,
    /// All sections, by index; the first is the empty one.
    pub sections: Vec<ModuleSection>,
    /// The symbol table, by index; the first is the empty one.
    pub symbols: Vec<ModuleSymbol>,
    /// Modules that have to be loaded before, as the kernel names them.
    pub depends: Vec<String>,
    /// The kernel that the module is for: release and some of its options.
    pub vermagic: String,
    /// The GNU build-id note, if there is one.
    pub build_id: Option<Vec<u8>>,
    /// How the file is compressed: `gzip`, `xz`, `zstd`, or not at all.
    pub compression: Option<&'static str>,
}

/// A section of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSection {
    /// Its name.
    pub name: String,
    /// Whether it is part of the loaded module (SHF_ALLOC).
    pub allocated: bool,
}

/// A symbol of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSymbol {
    /// Its name; that of a section or the first entry is empty.
    pub name: String,
    /// Offset in its section.
    pub value: u64,
    /// In bytes.
    pub size: u64,
    /// What it names.
    pub kind: SymbolKind,
    /// Who sees it.
    pub binding: Binding,
    /// Where it is defined.
    pub section: SymbolSection,
}

/// What a symbol names (STT_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are ELF's")]
pub enum SymbolKind {
    NoType,
    Object,
    Function,
    Section,
    File,
    Other,
}

/// Who sees a symbol (STB_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are ELF's")]
pub enum Binding {
    Local,
    Global,
    Weak,
    Other,
}

/// Where a symbol is defined (SHN_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolSection {
    /// In the kernel or another module.
    Undefined,
    /// In this section of [`Module::sections`].
    Index(usize),
    /// In none: absolute, common, or one of the other special cases.
    Special,
}

impl Module {
    /// Reads a module's file, compressed or not.
    ///
    /// # Errors
    /// [`Code::TargetIncomplete`] if it cannot be read or is not a module for x86-64.
    pub fn read(path: &Path) -> Result<Self, Refusals> {
        let name = path.display().to_string();
        let data = fs::read(path)
            .map_err(|error| refuse(Place::object(&name), format!("cannot be read: {error}")))?;
        Self::parse(&name, data)
    }

    /// Reads a module from the bytes of its file; `name` is for messages.
    ///
    /// # Errors
    /// [`Code::TargetIncomplete`] as for [`Module::read`].
    pub fn parse(name: &str, data: Vec<u8>) -> Result<Self, Refusals> {
        let refuse = |message: String| refuse(Place::object(name), message);
        let compression = Compression::of(&data);
        let elf = match compression {
            Some(compression) => decompress::decompress(compression, &data, data.len() * 4)
                .map_err(|error| refuse(format!("cannot be decompressed: {error:#}")))?,
            None => data,
        };
        let module = parse_elf(elf)
            .map_err(|error| refuse(format!("is not a readable module: {error:#}")))?;
        Ok(Self { compression: compression.map(Compression::name), ..module })
    }

    /// Whether a file is a module rather than a kernel's image, by how it begins: a relocatable ELF
    /// file, or a compressed one, which a bootable image is not as a whole.
    pub fn is_one(data: &[u8]) -> bool {
        let relocatable = |data| {
            Header::parse(data).is_ok_and(|header| header.e_type(LittleEndian) == elf::ET_REL)
        };
        Compression::of(data).is_some() || relocatable(data)
    }

    /// Name of the section that a symbol is defined in, if it is in one.
    pub fn section_name(&self, symbol: &ModuleSymbol) -> Option<&str> {
        match symbol.section {
            SymbolSection::Index(index) => Some(self.sections.get(index)?.name.as_str()),
            SymbolSection::Undefined | SymbolSection::Special => None,
        }
    }

    /// Whether the kernel keeps a symbol once the module has initialised (`is_core_symbol` in
    /// kernel/module/kallsyms.c with KALLSYMS_ALL, which LIVEPATCH needs). Until then all that are
    /// defined can be found.
    pub fn is_core(&self, symbol: &ModuleSymbol) -> bool {
        let SymbolSection::Index(index) = symbol.section else { return false };
        let Some(section) = self.sections.get(index) else { return false };
        // The loader drops these two, although they are marked as part of the module
        // (`rewrite_section_headers` in kernel/module/main.c).
        let is_dropped = matches!(section.name.as_str(), ".modinfo" | "__versions");
        !symbol.name.is_empty()
            && section.allocated
            && !is_dropped
            && !section.name.starts_with(".init")
    }
}

pub(crate) fn refuse(place: Place, message: String) -> Refusals {
    let hint = "give the modules (`/lib/modules/RELEASE`) of the linux-image package";
    Refusal::new(Code::TargetIncomplete, place, message, hint).into()
}

fn parse_elf(elf: Vec<u8>) -> anyhow::Result<Module> {
    let endian = LittleEndian;
    let data = elf.as_slice();
    let header = Header::parse(data)?;
    anyhow::ensure!(
        !header.is_big_endian()
            && header.e_machine(endian) == elf::EM_X86_64
            && header.e_type(endian) == elf::ET_REL,
        "it is no relocatable file for x86-64"
    );
    let table = header.sections(endian, data)?;
    let mut sections = Vec::with_capacity(table.len());
    let mut modinfo: &[u8] = &[];
    for section in table.iter() {
        let name = std::str::from_utf8(table.section_name(endian, section)?)?.to_string();
        if name == ".modinfo" {
            modinfo = section.data(endian, data)?;
        }
        let allocated = section.sh_flags(endian).contains(elf::SHF_ALLOC);
        sections.push(ModuleSection { name, allocated });
    }
    let symtab = table.symbols(endian, data, elf::SHT_SYMTAB)?;
    let mut symbols = Vec::with_capacity(symtab.len());
    for symbol in symtab.iter() {
        let name = std::str::from_utf8(symtab.symbol_name(endian, symbol)?)?.to_string();
        let place = symbol.st_shndx(endian);
        let section = match place.index() {
            Some(index) => SymbolSection::Index(usize::from(index)),
            None if place == elf::SHN_UNDEF => SymbolSection::Undefined,
            None => SymbolSection::Special,
        };
        symbols.push(ModuleSymbol {
            name,
            value: symbol.st_value(endian),
            size: symbol.st_size(endian),
            kind: match symbol.st_type() {
                elf::STT_NOTYPE => SymbolKind::NoType,
                elf::STT_OBJECT => SymbolKind::Object,
                elf::STT_FUNC => SymbolKind::Function,
                elf::STT_SECTION => SymbolKind::Section,
                elf::STT_FILE => SymbolKind::File,
                _ => SymbolKind::Other,
            },
            binding: match symbol.st_bind() {
                elf::STB_LOCAL => Binding::Local,
                elf::STB_GLOBAL => Binding::Global,
                elf::STB_WEAK => Binding::Weak,
                _ => Binding::Other,
            },
            section,
        });
    }
    anyhow::ensure!(!symbols.is_empty(), "it has no symbol table");
    let info = |key: &str| -> anyhow::Result<Option<&str>> {
        let value = modinfo
            .split(|&byte| byte == 0)
            .find_map(|entry| entry.strip_prefix(key.as_bytes())?.strip_prefix(b"="));
        Ok(value.map(std::str::from_utf8).transpose()?)
    };
    let required = |key: &str| {
        info(key)?.ok_or_else(|| anyhow::anyhow!("it does not say its `{key}` in .modinfo"))
    };
    let name = required("name")?.to_string();
    let vermagic = required("vermagic")?.to_string();
    let depends = required("depends")?.split(',').filter(|name| !name.is_empty());
    let depends = depends.map(module_name).collect();
    let build_id = section_build_id(data)?;
    Ok(Module { name, sections, symbols, depends, vermagic, build_id, compression: None, elf })
}

#[cfg(test)]
pub(crate) mod tests;
