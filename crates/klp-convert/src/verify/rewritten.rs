//! Code that the kernel rewrites must not wait for a module: relocations that are applied when a
//! patched module is loaded find other bytes than zeros there, and taking them back when it goes
//! fails (`__apply_relocate_add` and `clear_relocate_add` in `arch/x86/kernel/module.c`).

use std::collections::BTreeMap;
use std::ops::Range;

use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use kpatch_elf::SHF_RELA_LIVEPATCH;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_elf::livepatch::rela_section_object;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use super::broken;
use super::image::Image;
use super::relocations::width;

/// Tables whose records begin with the place that is rewritten: name, size of a record in bytes.
const TABLES: &[(&str, u64)] = &[
    ("__jump_table", 16),
    (".static_call_sites", 8),
    (".retpoline_sites", 4),
    (".return_sites", 4),
    (".ibt_endbr_seal", 4),
    ("__mcount_loc", 8),
    (".parainstructions", 16),
];

/// Checks all module-specific relocations.
pub(super) fn check(image: &Image<'_>, bytes: &[u8], refusals: &mut Vec<Refusal>) {
    let mut rewritten: BTreeMap<usize, Vec<(Range<u64>, &str)>> = BTreeMap::new();
    let mut add = |(section, start): (usize, u64), len: u64, table| {
        rewritten.entry(section).or_default().push((start..start.saturating_add(len), table));
    };
    for (table, stride) in TABLES {
        for (_, site) in image.sites(bytes, table, *stride) {
            add(site, instruction_len(image, site), table);
        }
    }
    for (_, site) in image.sites(bytes, ".smp_locks", 4) {
        add(site, 1, ".smp_locks");
    }
    match alternatives(image, bytes) {
        Some(all) => all.into_iter().for_each(|(site, len)| add(site, len, ".altinstructions")),
        None => refusals.push(broken("", "the layout of `.altinstructions` is not known")),
    }
    for (index, section) in image.sections.iter().enumerate() {
        let object = rela_section_object(section.name).ok().filter(|object| *object != VMLINUX);
        let target = section.header.sh_info as usize;
        let (Some(object), Some(ranges)) = (object, rewritten.get(&target)) else { continue };
        if !section.has(SHF_RELA_LIVEPATCH) {
            continue;
        }
        for relocation in image.relocations(bytes, index).unwrap_or_default() {
            let offset = relocation.r_offset;
            let end = offset.saturating_add(width(relocation.r_type).unwrap_or(0));
            let hit = ranges.iter().find(|(range, _)| offset < range.end && range.start < end);
            if let Some((_, table)) = hit {
                let by = image.name_around(target, offset);
                refusals.push(Refusal::new(
                    Code::UnsupportedSection,
                    Place::default().symbol(by),
                    format!(
                        "offset {offset:#x} of `{}` is filled when `{object}` is loaded, but the \
                         kernel rewrites the bytes (`{table}`)",
                        image.sections[target].name
                    ),
                    "patch another function, or avoid the construct",
                ));
            }
        }
    }
}

/// Bytes of the instruction at a place, the longest that the kernel writes at once if it is none.
fn instruction_len(image: &Image<'_>, (section, offset): (usize, u64)) -> u64 {
    let code = usize::try_from(offset).ok().and_then(|at| image.sections[section].data.get(at..));
    let instruction = Decoder::new(64, code.unwrap_or_default(), DecoderOptions::NONE).decode();
    if instruction.is_invalid() { 5 } else { instruction.len() as u64 }
}

/// The places of alternatives and their lengths (`struct alt_instr`: two distances, then 14 bytes in
/// all since 6.3; 12 before that, 13 with padding). `None` if the table is of another form.
fn alternatives(image: &Image<'_>, bytes: &[u8]) -> Option<Vec<((usize, u64), u64)>> {
    let mut all = Vec::new();
    for table in image.named(".altinstructions") {
        let data = image.sections[table].data;
        let relocations = image.relocations_of(bytes, table);
        let records = relocations.len() / 2;
        if records == 0 && data.is_empty() {
            continue;
        }
        let stride = data.len().checked_div(records)?;
        let length_at = match stride {
            14 => 12,
            12 | 13 => 10,
            _ => return None,
        };
        if data.len() != stride * records {
            return None;
        }
        for relocation in relocations.iter().filter(|r| r.r_offset % stride as u64 == 0) {
            let at = usize::try_from(relocation.r_offset).ok()?.checked_add(length_at)?;
            all.push((image.pointed_at(relocation)?, u64::from(*data.get(at)?)));
        }
    }
    Some(all)
}
