//! Spoils a finished module in one place, for the negative control: a harness that accepts such a
//! module proves nothing.

use anyhow::Context;
use anyhow::Result;
use object::LittleEndian;
use object::elf;
use object::read::elf::FileHeader;
use object::read::elf::Rela;
use object::read::elf::SectionHeader;

/// A copy of `module` in which one addend of a patched function (`.rela.text.<name>`) that points
/// into a section of strings is off by one, so that the function prints another text; and what was
/// changed, in words.
///
/// # Errors
/// When `module` is not a relocatable ELF file, or its code refers to no string.
pub fn wrong_addend(module: &[u8]) -> Result<(Vec<u8>, String)> {
    let header = elf::FileHeader64::<LittleEndian>::parse(module)?;
    let sections = header.sections(LittleEndian, module)?;
    let symbols = sections.symbols(LittleEndian, module, elf::SHT_SYMTAB)?;
    for section in sections.iter() {
        let name = String::from_utf8_lossy(sections.section_name(LittleEndian, section)?);
        // Not the core's and the glue's own code: the functions that replace the kernel's.
        if !name.starts_with(".rela.text.") || name == ".rela.text.unlikely" {
            continue;
        }
        let Some((relas, _)) = section.rela(LittleEndian, module)? else { continue };
        for (i, rela) in relas.iter().enumerate() {
            let Some(index) = rela.symbol(LittleEndian, false) else { continue };
            let symbol = symbols.symbol(index)?;
            let Some(target) = symbols.symbol_section(LittleEndian, symbol, index)? else {
                continue;
            };
            // Linkers and differs may drop the flag that says that it holds strings.
            let target = sections.section_name(LittleEndian, sections.section(target)?)?;
            let target = String::from_utf8_lossy(target);
            if !target.starts_with(".rodata") || !target.contains(".str") {
                continue;
            }
            let at = usize::try_from(section.sh_offset(LittleEndian))? + i * 24 + 16;
            let mut bytes = module.to_vec();
            let field = bytes.get_mut(at..at + 8).context("relocation outside of the file")?;
            let addend = rela.r_addend.get(LittleEndian);
            field.copy_from_slice(&(addend + 1).to_le_bytes());
            let offset = rela.r_offset.get(LittleEndian);
            return Ok((bytes, format!("{name} at {offset:#x}: {addend} is now {}", addend + 1)));
        }
    }
    anyhow::bail!("no relocation of the code points to a string")
}
