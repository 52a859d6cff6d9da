//! Sections named `.init*` are freed when the module has initialised (`module_init_layout_section`
//! and `do_init_module` in `kernel/module/main.c`): what stays must not refer to them.

use goblin::elf::Reloc;
use goblin::elf::Sym;
use goblin::elf::section_header::SHT_RELA;
use goblin::elf::sym::STT_FUNC;
use kpatch_refusal::Refusal;

use super::broken;
use super::image::Image;
use super::image::Section;
use crate::late::section_reason;

/// What belongs to the code that it refers to: a table that the kernel searches by address, and jumps
/// back from alternatives.
const PART_OF_CODE: &[&str] = &["__bug_table", ".altinstr_aux"];

/// Checks all ordinary relocations of what stays loaded. Tables that the kernel reads while the module
/// is loaded may name code that is freed later.
pub(super) fn check(image: &Image<'_>, bytes: &[u8], refusals: &mut Vec<Refusal>) {
    for (index, section) in image.sections.iter().enumerate() {
        let Some(target) = image.sections.get(section.header.sh_info as usize) else { continue };
        let stays = target.is_loaded()
            && section_reason(target.name).is_none()
            && !PART_OF_CODE.contains(&target.name);
        if section.header.sh_type != SHT_RELA || !stays {
            continue;
        }
        for relocation in image.relocations(bytes, index).unwrap_or_default() {
            let Some(meant) = meant(image, target, &relocation) else { continue };
            let offset = relocation.r_offset;
            let by = image.name_around(section.header.sh_info as usize, offset);
            let target = target.name;
            let message =
                format!("offset {offset:#x} of `{target}` refers to `{meant}`, which is freed");
            refusals.push(broken(by, message));
        }
    }
}

/// The freed section that a relocation refers to. A place within a function, in data, is an entry of
/// its jump table.
fn meant<'a>(image: &Image<'a>, from: &Section<'_>, relocation: &Reloc) -> Option<&'a str> {
    let (section, offset) = image.pointed_at(relocation)?;
    let meant = &image.sections[section];
    if !meant.name.starts_with(".init") {
        return None;
    }
    let begins =
        |raw: &Sym| raw.st_type() == STT_FUNC && raw.st_shndx == section && raw.st_value == offset;
    let refers = from.is_code()
        || !meant.is_code()
        || image.symbols.iter().any(|symbol| begins(&symbol.raw));
    refers.then_some(meant.name)
}
