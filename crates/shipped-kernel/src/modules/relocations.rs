//! Bytes and relocations of a module's sections. They are read when asked for: a module has tens of
//! thousands of relocations, of which a table needs some.

use kpatch_refusal::Place;
use kpatch_refusal::Refusals;
use object::LittleEndian;
use object::elf;
use object::read::elf::FileHeader;
use object::read::elf::Rela;
use object::read::elf::SectionHeader;

use super::Header;
use super::Module;
use super::SymbolSection;
use super::refuse;

/// A relocation of a section (`Elf64_Rela`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModuleRelocation {
    /// Where in the section.
    pub offset: u64,
    /// `R_X86_64_*`.
    pub kind: u32,
    /// Index in [`Module::symbols`].
    pub symbol: usize,
    /// What is added to the symbol's value.
    pub addend: i64,
}

impl Module {
    /// The bytes of the section at an index of [`Module::sections`]; `None` if there is no such
    /// section or its bytes are not in the file.
    pub fn section_data(&self, index: usize) -> Option<&[u8]> {
        let (endian, data) = (LittleEndian, self.elf.as_slice());
        let sections = Header::parse(data).ok()?.sections(endian, data).ok()?;
        sections.section(object::SectionIndex(index)).ok()?.data(endian, data).ok()
    }

    /// The relocations of the section at an index of [`Module::sections`], in the order of the file.
    ///
    /// # Errors
    /// [`TargetIncomplete`](kpatch_refusal::Code::TargetIncomplete) if they cannot be read, or name
    /// a symbol that is not there.
    pub fn relocations(&self, section: usize) -> Result<Vec<ModuleRelocation>, Refusals> {
        self.read_relocations(section).map_err(|error| {
            refuse(Place::object(&self.name), format!("its relocations cannot be read: {error:#}"))
        })
    }

    fn read_relocations(&self, target: usize) -> anyhow::Result<Vec<ModuleRelocation>> {
        let (endian, data) = (LittleEndian, self.elf.as_slice());
        let sections = Header::parse(data)?.sections(endian, data)?;
        let mut all = Vec::new();
        for section in sections.iter() {
            if section.sh_info(endian) as usize != target {
                continue;
            }
            anyhow::ensure!(section.sh_type(endian) != elf::SHT_REL, "they have no addends");
            let Some((relocations, _)) = section.rela(endian, data)? else { continue };
            for relocation in relocations {
                let symbol = relocation.r_sym(endian, false) as usize;
                anyhow::ensure!(symbol < self.symbols.len(), "there is no symbol {symbol}");
                all.push(ModuleRelocation {
                    offset: relocation.r_offset(endian),
                    kind: relocation.r_type(endian, false).0,
                    symbol,
                    addend: relocation.r_addend(endian),
                });
            }
        }
        Ok(all)
    }

    /// Section and offset that a relocation of a table refers to; `None` for what is not defined in
    /// the module. Tables refer with the value itself or its distance from the place: both without
    /// the correction that an instruction needs.
    pub fn target(&self, relocation: &ModuleRelocation) -> Option<(usize, u64)> {
        let symbol = self.symbols.get(relocation.symbol)?;
        match symbol.section {
            SymbolSection::Index(index) if index < self.sections.len() => {
                Some((index, symbol.value.checked_add_signed(relocation.addend)?))
            }
            _ => None,
        }
    }

    /// Indices of all sections of that name.
    pub fn sections_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        let named = move |&index: &usize| self.sections[index].name == name;
        (0..self.sections.len()).filter(named)
    }
}
