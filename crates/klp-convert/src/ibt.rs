//! Indirect branch tracking: what is reached by an indirect call or jump starts with ENDBR64 and is
//! not in `.ibt_endbr_seal`, whose entries the kernel overwrites (`apply_seal_endbr`).
//!
//! The emulator that the tests run on has no IBT, so only this check shows a mistake. Which
//! relocations take an address follows `validate_ibt` in `tools/objtool/check.c`.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use kpatch_elf::ObjectFile;
use kpatch_elf::SectionId;
use kpatch_elf::SymbolId;
use kpatch_elf::livepatch::FUNCTIONS;
use kpatch_elf::section_flags;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use crate::code::Site;
use crate::code::Use;
use crate::code::code_sections;
use crate::code::function_at;
use crate::code::functions;
use crate::code::instructions;
use crate::code::place;
use crate::code::table_sites;

const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
const SEALS: &str = ".ibt_endbr_seal";

/// Sections that name places in the code, but not in order to branch there.
pub(crate) const NO_BRANCHES: &[&str] = &[
    ".altinstructions",
    ".call_sites",
    ".cfi_sites",
    SEALS,
    ".kcfi_traps",
    ".orc_unwind_ip",
    ".parainstructions",
    ".retpoline_sites",
    ".return_sites",
    ".smp_locks",
    ".static_call_sites",
    "__bug_table",
    "__ex_table",
    "__jump_table",
    "__mcount_loc",
    "__patchable_function_entries",
    "_error_injection_whitelist",
    "_kprobe_blacklist",
];

/// Checks that nothing which is reached indirectly is sealed, and, if the module has any ENDBR64 at
/// all, that every such function starts with one.
///
/// New functions of the patch are reached from ftrace by a return, which IBT does not track: static
/// ones have no ENDBR64 and need none. They must not be sealed either, which would show that objtool
/// has not seen the table.
///
/// # Errors
/// One refusal for each function. Trampolines of static calls have no ENDBR64: their addresses are
/// taken to be patched, not to be called.
pub fn check_indirect_targets(module: &ObjectFile) -> Result<(), Refusals> {
    check_indirect_targets_if(module, false)
}

/// The same; `has_ibt` says that the kernel tracks indirect branches, however the module was built.
pub(crate) fn check_indirect_targets_if(
    module: &ObjectFile,
    has_ibt: bool,
) -> Result<(), Refusals> {
    let sealed: BTreeSet<Site> = table_sites(module, SEALS, 4, 0).map(|(_, site)| site).collect();
    let starts: BTreeMap<Site, SymbolId> = functions(module).map(|(id, site)| (site, id)).collect();
    let has_ibt =
        has_ibt || !sealed.is_empty() || starts.keys().any(|site| starts_with_endbr(module, *site));
    if !has_ibt {
        return Ok(());
    }
    let mut refusals = Vec::new();
    for (target, reached) in addresses_taken(module) {
        let name = match starts.get(&target) {
            Some(id) => &module[*id].name,
            None => &module[target.0].name,
        };
        let by = &reached.by;
        if sealed.contains(&target) {
            let message = format!("`{by}` takes the address, but IBT seals it");
            refusals.push(refusal(name, target, message));
        } else if reached.branch
            && starts.contains_key(&target)
            && !name.starts_with("__SCT__")
            && !starts_with_endbr(module, target)
        {
            let message = format!("`{by}` takes the address of a function without ENDBR64");
            refusals.push(refusal(name, target, message));
        }
    }
    Refusals::none_or(refusals, ())
}

fn refusal(name: &str, (_, offset): Site, message: String) -> Refusal {
    Refusal::new(
        Code::IndirectTargetSealed,
        Place::default().symbol(name),
        format!("{message} (offset {offset:#x})"),
        "objtool must run once, on the finished module, and the code must be built with \
         -fcf-protection=branch",
    )
}

fn starts_with_endbr(module: &ObjectFile, (section, offset): Site) -> bool {
    module[section].data.get(offset as usize..).is_some_and(|code| code.starts_with(&ENDBR64))
}

/// Who takes an address.
struct Reached {
    /// Name of the function or section.
    by: String,
    /// Whether it may be the target of an indirect branch, which a return is not.
    branch: bool,
}

/// All places in code whose address something takes.
fn addresses_taken(module: &ObjectFile) -> BTreeMap<Site, Reached> {
    let code: BTreeSet<SectionId> = code_sections(module).collect();
    let mut all = BTreeMap::new();
    let mut add = |site: Site, by: &str, branch: bool| {
        if !code.contains(&site.0) {
            return;
        }
        let reached = all.entry(site).or_insert_with(|| Reached { by: by.to_owned(), branch });
        if branch && !reached.branch {
            *reached = Reached { by: by.to_owned(), branch };
        }
    };
    for (id, section) in module.sections_with_ids() {
        if !section.has(section_flags::ALLOC) {
            continue;
        }
        if code.contains(&id) {
            for (site, from) in taken_by_code(module, id) {
                let by = function_at(module, id, from).map_or(&section.name, |f| &module[f].name);
                add(site, by, true);
            }
        } else if !NO_BRANCHES.contains(&section.name.as_str()) {
            for relocation in section.relocations.iter().filter(|r| r.kind.width() != Some(0)) {
                if let Some(site) = place(module, relocation, 0) {
                    add(site, &section.name, section.name != FUNCTIONS);
                }
            }
        }
    }
    all
}

/// The places whose address an instruction of the section loads, and where the instruction is.
fn taken_by_code(module: &ObjectFile, id: SectionId) -> Vec<(Site, u64)> {
    let section = &module[id];
    let mut taken = Vec::new();
    for instruction in instructions(module, id) {
        if instruction.usage != Use::Value {
            continue;
        }
        let end = instruction.offset + instruction.len;
        for relocation in section.relocations_in(instruction.offset..end) {
            if relocation.kind.width() == Some(0) {
                continue;
            }
            // A value relative to the instruction's end is stored relative to the field.
            let adjust = match relocation.kind.is_pc_relative() {
                true => (end - relocation.offset) as i64,
                false => 0,
            };
            let Some(target) = place(module, relocation, adjust) else { continue };
            // A function's own address in it is "this place", not a pointer to call.
            let own = function_at(module, id, instruction.offset);
            if own.is_some() && own == function_at(module, target.0, target.1) {
                continue;
            }
            taken.push((target, instruction.offset));
        }
    }
    taken
}
