//! Sections named `.init*` are freed when the module has initialised (`module_init_layout_section`
//! and `do_init_module` in `kernel/module/main.c`): what stays must not refer to them.

use goblin::elf::section_header::SHT_RELA;
use kpatch_refusal::Refusal;

use super::broken;
use super::image::Image;
use crate::late::section_reason;

/// Tables that the kernel searches by address, and never follows into freed code.
const BY_ADDRESS: &[&str] = &["__bug_table"];

/// Checks all ordinary relocations of what stays loaded. Tables that the kernel reads while the module
/// is loaded may name code that is freed later.
pub(super) fn check(image: &Image<'_>, bytes: &[u8], refusals: &mut Vec<Refusal>) {
    for (index, section) in image.sections.iter().enumerate() {
        let Some(target) = image.sections.get(section.header.sh_info as usize) else { continue };
        let stays = target.is_loaded()
            && section_reason(target.name).is_none()
            && !BY_ADDRESS.contains(&target.name);
        if section.header.sh_type != SHT_RELA || !stays {
            continue;
        }
        for relocation in image.relocations(bytes, index).unwrap_or_default() {
            // The instruction's correction does not change the section.
            let meant = image.symbols.get(relocation.r_sym).map(|symbol| symbol.raw.st_shndx);
            let meant = meant.filter(|meant| *meant != 0).and_then(|m| image.sections.get(m));
            if meant.is_some_and(|meant| meant.name.starts_with(".init")) {
                let offset = relocation.r_offset;
                let by = image.name_around(section.header.sh_info as usize, offset);
                let message = format!(
                    "offset {offset:#x} of `{}` refers to `{}`, which is freed",
                    target.name,
                    meant.map_or("", |meant| meant.name)
                );
                refusals.push(broken(by, message));
            }
        }
    }
}
