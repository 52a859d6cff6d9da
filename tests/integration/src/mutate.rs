//! Changes a finished module, or a kernel, in one place: for the negative controls (a harness that accepts
//! such a module proves nothing), and for targets that are not what runs.

use anyhow::Context;
use anyhow::Result;
use object::LittleEndian;
use object::elf;
use object::read::elf::FileHeader;
use object::read::elf::Rela;
use object::read::elf::SectionHeader;
use object::read::elf::Sym;

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

/// The C glue, which asserts where its parameters for the in-kernel core are.
const GLUE: &str = include_str!("../../../kmod/templates/glue.c");

/// Where `pin` is in the parameters of the in-kernel core (`struct kpatch_params` of the glue).
fn pin_offset() -> Result<u64> {
    let assertion = "offsetof(struct kpatch_params, pin) == ";
    let (_, rest) = GLUE.split_once(assertion).context("the glue does not say where `pin` is")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().context("the glue does not say where `pin` is")
}

/// A copy of `module` that does not pin itself.
///
/// # Errors
/// When `module` is not a patch module that pins itself.
pub fn unpinned(module: &[u8]) -> Result<Vec<u8>> {
    let header = elf::FileHeader64::<LittleEndian>::parse(module)?;
    let sections = header.sections(LittleEndian, module)?;
    let symbols = sections.symbols(LittleEndian, module, elf::SHT_SYMTAB)?;
    for (index, symbol) in symbols.enumerate() {
        if symbols.symbol_name(LittleEndian, symbol)? != b"kpatch_params" {
            continue;
        }
        let section = symbols
            .symbol_section(LittleEndian, symbol, index)?
            .context("the parameters are in no section")?;
        let section = sections.section(section)?.sh_offset(LittleEndian);
        let at = usize::try_from(section + symbol.st_value(LittleEndian) + pin_offset()?)?;
        let mut bytes = module.to_vec();
        let field = bytes.get_mut(at).context("parameters outside of the file")?;
        anyhow::ensure!(*field == 1, "the module does not pin itself");
        *field = 0;
        return Ok(bytes);
    }
    anyhow::bail!("there is no symbol `kpatch_params`")
}

/// A copy of `elf`, a kernel or a module, with a build-id that is no other's: every byte is [`ANOTHER`]. Each
/// version of a kernel or a module has one of its own, so this is what another build looks like.
///
/// # Errors
/// When the note with the build-id `id` is not there exactly once.
pub fn another_build_id(elf: &[u8], id: &[u8]) -> Result<Vec<u8>> {
    let at = build_id_note(elf, id)?;
    let mut bytes = elf.to_vec();
    bytes[at + NOTE_HEADER.len()..][..id.len()].fill(ANOTHER);
    Ok(bytes)
}

/// A copy of `elf` whose note with the build-id `id` is of a type that nobody knows.
///
/// # Errors
/// As [`another_build_id`].
pub fn no_build_id(elf: &[u8], id: &[u8]) -> Result<Vec<u8>> {
    let at = build_id_note(elf, id)?;
    let mut bytes = elf.to_vec();
    bytes[at + 8] = 99;
    Ok(bytes)
}

/// What [`another_build_id`] consists of.
pub const ANOTHER: u8 = 0xab;

/// Sizes of name and content, type, and name of a note with a build-id of 20 bytes.
const NOTE_HEADER: [u8; 16] = *b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";

fn build_id_note(elf: &[u8], id: &[u8]) -> Result<usize> {
    anyhow::ensure!(id.len() == 20, "a build-id of {} bytes", id.len());
    let note = [&NOTE_HEADER, id].concat();
    let mut places = elf.windows(note.len()).enumerate().filter(|(_, bytes)| *bytes == note);
    let (first, second) = (places.next(), places.next());
    anyhow::ensure!(second.is_none(), "the build-id is there more than once");
    first.map(|(at, _)| at).context("the build-id is not there")
}
