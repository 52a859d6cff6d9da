//! The model: sections, symbols and relocations with typed indices.

use std::fmt;
use std::ops::Index;

/// Index of a section in [`ObjectFile::sections`]. Not the index in the file's header table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionId(pub u32);

/// Index of a symbol in [`ObjectFile::symbols`]. 0 is the null symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolId(pub u32);

impl SymbolId {
    /// The null symbol, which a relocation without symbol refers to.
    pub const NULL: SymbolId = SymbolId(0);
}

/// `sh_type`, reduced to what matters for code that moves between objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SectionKind {
    /// `SHT_PROGBITS`.
    Progbits,
    /// `SHT_NOBITS`: has a size but no bytes in the file.
    Nobits,
    /// `SHT_NOTE`.
    Note,
    /// `SHT_GROUP`: see [`Section::group`].
    Group,
    /// Any other type that carries bytes (`SHT_INIT_ARRAY`, `SHT_X86_64_UNWIND` …).
    Other(u32),
}

/// Relocation types of x86-64 that the kernel's module loader applies, and any other by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelocationKind(pub u32);

impl RelocationKind {
    /// `R_X86_64_NONE`.
    pub const NONE: Self = Self(0);
    /// `R_X86_64_64`: 8 bytes, S + A.
    pub const ABS64: Self = Self(1);
    /// `R_X86_64_PC32`: 4 bytes, S + A - P.
    pub const PC32: Self = Self(2);
    /// `R_X86_64_PLT32`: as PC32 in the kernel.
    pub const PLT32: Self = Self(4);
    /// `R_X86_64_32`: 4 bytes, S + A, zero-extended.
    pub const ABS32: Self = Self(10);
    /// `R_X86_64_32S`: 4 bytes, S + A, sign-extended.
    pub const ABS32S: Self = Self(11);
    /// `R_X86_64_PC16`: 2 bytes, S + A - P.
    pub const PC16: Self = Self(13);
    /// `R_X86_64_PC8`: 1 byte, S + A - P.
    pub const PC8: Self = Self(15);
    /// `R_X86_64_PC64`: 8 bytes, S + A - P.
    pub const PC64: Self = Self(24);

    /// Bytes that the relocation fills; `None` for a type that the kernel does not know
    /// (`arch/x86/kernel/module.c`).
    pub fn width(self) -> Option<usize> {
        match self {
            Self::NONE => Some(0),
            Self::ABS64 | Self::PC64 => Some(8),
            Self::PC32 | Self::PLT32 | Self::ABS32 | Self::ABS32S => Some(4),
            _ => None,
        }
    }

    /// Whether the value is relative to the place.
    pub fn is_pc_relative(self) -> bool {
        matches!(self, Self::PC32 | Self::PLT32 | Self::PC64 | Self::PC16 | Self::PC8)
    }
}

impl fmt::Display for RelocationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("R_X86_64_NONE"),
            Self::ABS64 => f.write_str("R_X86_64_64"),
            Self::PC32 => f.write_str("R_X86_64_PC32"),
            Self::PLT32 => f.write_str("R_X86_64_PLT32"),
            Self::ABS32 => f.write_str("R_X86_64_32"),
            Self::ABS32S => f.write_str("R_X86_64_32S"),
            Self::PC16 => f.write_str("R_X86_64_PC16"),
            Self::PC8 => f.write_str("R_X86_64_PC8"),
            Self::PC64 => f.write_str("R_X86_64_PC64"),
            Self(other) => write!(f, "R_X86_64_<{other}>"),
        }
    }
}

/// One relocation with addend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Relocation {
    /// Where, in bytes from the start of the section.
    pub offset: u64,
    /// How the value is made.
    pub kind: RelocationKind,
    /// What it refers to.
    pub symbol: SymbolId,
    /// What is added.
    pub addend: i64,
}

/// Content of a `SHT_GROUP` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `GRP_COMDAT` or 0.
    pub flags: u32,
    /// The symbol that names the group.
    pub signature: SymbolId,
    /// Members without their relocation sections, which follow them by themselves.
    pub members: Vec<SectionId>,
}

/// A section with its ordinary relocations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Name.
    pub name: String,
    /// Type.
    pub kind: SectionKind,
    /// `sh_flags`, see [`crate::section_flags`].
    pub flags: u64,
    /// Alignment in bytes, a power of two or 0.
    pub align: u64,
    /// Size of an entry for tables and mergeable sections, else 0.
    pub entry_size: u64,
    /// Size in bytes, also for [`SectionKind::Nobits`].
    pub size: u64,
    /// Bytes; empty for [`SectionKind::Nobits`].
    pub data: Vec<u8>,
    /// Ordinary relocations in ascending order of offset.
    pub relocations: Vec<Relocation>,
    /// The section that `SHF_LINK_ORDER` refers to.
    pub link: Option<SectionId>,
    /// Content of a group section.
    pub group: Option<Group>,
}

impl Section {
    /// An empty `SHT_PROGBITS` section.
    pub fn progbits(name: impl Into<String>, flags: u64, align: u64) -> Self {
        Section {
            name: name.into(),
            kind: SectionKind::Progbits,
            flags,
            align,
            entry_size: 0,
            size: 0,
            data: Vec::new(),
            relocations: Vec::new(),
            link: None,
            group: None,
        }
    }

    /// Whether all of `flags` are set.
    pub fn has(&self, flags: u64) -> bool {
        self.flags & flags == flags
    }

    /// The relocations whose offset is in `range`.
    pub fn relocations_in(&self, range: std::ops::Range<u64>) -> &[Relocation] {
        let start = self.relocations.partition_point(|r| r.offset < range.start);
        let end = self.relocations.partition_point(|r| r.offset < range.end);
        &self.relocations[start..end.max(start)]
    }
}

/// Where a symbol is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Definition {
    /// `SHN_UNDEF`.
    Undefined,
    /// `SHN_ABS`.
    Absolute,
    /// `SHN_COMMON`.
    Common,
    /// `SHN_LIVEPATCH`: the kernel's livepatch core resolves it.
    Livepatch,
    /// In a section, at [`Symbol::value`].
    Section(SectionId),
}

/// `STB_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Binding {
    /// Seen in this object only.
    Local,
    /// Seen by all objects.
    Global,
    /// As global, but gives way to a strong definition.
    Weak,
}

/// `STT_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SymbolKind {
    /// `STT_NOTYPE`.
    None,
    /// `STT_OBJECT`.
    Object,
    /// `STT_FUNC`.
    Function,
    /// `STT_SECTION`.
    Section,
    /// `STT_FILE`.
    File,
    /// Any other.
    Other(u8),
}

/// A symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// Name; empty for section symbols.
    pub name: String,
    /// Offset in its section.
    pub value: u64,
    /// Size in bytes, 0 if unknown.
    pub size: u64,
    /// Visibility between objects.
    pub binding: Binding,
    /// What it names.
    pub kind: SymbolKind,
    /// `st_other`.
    pub other: u8,
    /// Where it is defined.
    pub definition: Definition,
}

impl Symbol {
    /// A symbol without definition.
    pub fn undefined(name: impl Into<String>, binding: Binding) -> Self {
        Symbol {
            name: name.into(),
            value: 0,
            size: 0,
            binding,
            kind: SymbolKind::None,
            other: 0,
            definition: Definition::Undefined,
        }
    }

    /// The section that defines the symbol.
    pub fn section(&self) -> Option<SectionId> {
        match self.definition {
            Definition::Section(id) => Some(id),
            _ => None,
        }
    }

    /// Whether it is a function that this object defines.
    pub fn is_defined_function(&self) -> bool {
        self.kind == SymbolKind::Function && self.section().is_some()
    }
}

/// A `.klp.rela.*` section of a finished livepatch module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivepatchRelocations {
    /// `.klp.rela.<object>.<section>`.
    pub name: String,
    /// `sh_flags`.
    pub flags: u64,
    /// The section to patch.
    pub target: SectionId,
    /// The relocations; every symbol is [`Definition::Livepatch`].
    pub relocations: Vec<Relocation>,
}

/// A relocatable file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFile {
    /// All sections but the null section, symbol tables, string tables and relocation sections.
    pub sections: Vec<Section>,
    /// All symbols; the first is the null symbol.
    pub symbols: Vec<Symbol>,
    /// Livepatch relocation sections in file order.
    pub livepatch: Vec<LivepatchRelocations>,
    /// `e_flags`.
    pub header_flags: u32,
}

impl Default for ObjectFile {
    fn default() -> Self {
        let null = Symbol::undefined("", Binding::Local);
        ObjectFile {
            sections: Vec::new(),
            symbols: vec![null],
            livepatch: Vec::new(),
            header_flags: 0,
        }
    }
}

impl ObjectFile {
    /// All sections with their indices.
    pub fn sections_with_ids(&self) -> impl Iterator<Item = (SectionId, &Section)> {
        (0u32..).map(SectionId).zip(&self.sections)
    }

    /// All symbols but the null symbol, with their indices.
    pub fn symbols_with_ids(&self) -> impl Iterator<Item = (SymbolId, &Symbol)> {
        (0u32..).map(SymbolId).zip(&self.symbols).skip(1)
    }

    /// The first section of that name.
    pub fn section_by_name(&self, name: &str) -> Option<SectionId> {
        self.sections_with_ids().find(|(_, section)| section.name == name).map(|(id, _)| id)
    }

    /// The symbols that each section defines.
    pub fn symbols_by_section(&self) -> SymbolsBySection {
        let defined = |id: SymbolId| Some((self[id].section()?, self[id].value, id));
        let mut all: Vec<_> = self.symbols_with_ids().filter_map(|(id, _)| defined(id)).collect();
        all.sort_unstable();
        let mut ends = vec![0; self.sections.len()];
        for (index, (section, ..)) in all.iter().enumerate() {
            ends[section.0 as usize] = index + 1;
        }
        // A section without symbols ends where the one before does.
        let mut end = 0;
        for place in &mut ends {
            end = end.max(*place);
            *place = end;
        }
        SymbolsBySection { ids: all.into_iter().map(|(_, _, id)| id).collect(), ends }
    }

    /// Adds a section.
    pub fn add_section(&mut self, mut section: Section) -> SectionId {
        if section.kind != SectionKind::Nobits {
            section.size = section.data.len() as u64;
        }
        self.sections.push(section);
        SectionId(self.sections.len() as u32 - 1)
    }

    /// Adds a symbol. The order is free: [`crate::write`] puts local symbols first.
    pub fn add_symbol(&mut self, symbol: Symbol) -> SymbolId {
        self.symbols.push(symbol);
        SymbolId(self.symbols.len() as u32 - 1)
    }
}

/// The symbols that each section defines, ordered by value, then by index.
#[derive(Debug)]
pub struct SymbolsBySection {
    /// The symbols of the first section, then those of the second, and so on.
    ids: Vec<SymbolId>,
    /// Where those of each section end.
    ends: Vec<usize>,
}

impl SymbolsBySection {
    /// The symbols of a section.
    pub fn of(&self, section: SectionId) -> &[SymbolId] {
        let index = section.0 as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.ids[start..self.ends[index]]
    }
}

impl Index<SectionId> for ObjectFile {
    type Output = Section;

    fn index(&self, id: SectionId) -> &Section {
        &self.sections[id.0 as usize]
    }
}

impl Index<SymbolId> for ObjectFile {
    type Output = Symbol;

    fn index(&self, id: SymbolId) -> &Symbol {
        &self.symbols[id.0 as usize]
    }
}
