//! Proof that objtool ran on the whole module (`tools/objtool/check.c`, `orc_gen.c`).
//!
//! The kernel takes a module without objtool's tables, and the machine then has unreliable stacks,
//! unpatched return thunks or jump-label sites that are not what the kernel expects. What a module
//! must have is told from itself: a jump to the return thunk needs a return site, a table of call
//! sites must name all calls. objtool adds to no table that is there already, so a table made for a
//! part of the module shows here as well. Every kernel that this toolchain serves unwinds with ORC,
//! so each function needs an ORC entry.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use kpatch_elf::ObjectFile;
use kpatch_elf::RelocationKind;
use kpatch_elf::SectionId;
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
use crate::code::table_sites;

/// Size of `struct orc_entry` (`arch/x86/include/asm/orc_types.h`).
const ORC_ENTRY: usize = 6;
/// Code that is copied over other code; objtool's tables name the places where it goes.
const REPLACEMENT: &str = ".altinstr_replacement";

/// Checks that objtool ran on the module.
///
/// # Errors
/// One refusal for each function or place that objtool has not dealt with.
pub fn check_objtool_ran(module: &ObjectFile) -> Result<(), Refusals> {
    let mut refusals = orc(module);
    refusals.extend(branches(module));
    refusals.extend(jump_labels(module));
    Refusals::none_or(refusals, ())
}

fn refusal(place: Place, message: impl Into<String>) -> Refusal {
    let hint = "objtool must run once, on the finished module (`delay-objtool=y` does that)";
    Refusal::new(Code::ObjtoolDidNotRun, place, message, hint)
}

fn refusal_at(module: &ObjectFile, (section, offset): Site, message: &str) -> Refusal {
    let name = match function_at(module, section, offset) {
        Some(function) => &module[function].name,
        None => &module[section].name,
    };
    let message = format!("{message} (section `{}`, offset {offset:#x})", module[section].name);
    refusal(Place::default().symbol(name), message)
}

/// Each function must be covered by an ORC entry that says something. objtool writes an entry where
/// the state changes, so the last one at or before the function counts, which with call padding is
/// in front of it; the entries of gaps and of the end of a section are all zero.
fn orc(module: &ObjectFile) -> Vec<Refusal> {
    let entries = module.section_by_name(".orc_unwind").map(|id| module[id].data.as_slice());
    let mut known: BTreeMap<SectionId, BTreeMap<u64, bool>> = BTreeMap::new();
    for (index, (section, offset)) in table_sites(module, ".orc_unwind_ip", 4, 0) {
        let start = index as usize * ORC_ENTRY;
        let entry = entries.and_then(|data| data.get(start..start + ORC_ENTRY));
        let says_something = entry.is_some_and(|bytes| bytes.iter().any(|b| *b != 0));
        known.entry(section).or_default().insert(offset, says_something);
    }
    functions(module)
        .filter(|(id, (section, start))| {
            let Some(entries) = known.get(section) else { return true };
            let covered = entries.range(..=start).next_back().is_some_and(|(_, says)| *says);
            let end = start.saturating_add(module[*id].size);
            !covered && !entries.range(start..&end).any(|(_, says)| *says)
        })
        .map(|(id, _)| {
            refusal(Place::default().symbol(&module[id].name), "the function has no ORC entry")
        })
        .collect()
}

/// Return sites and call sites.
fn branches(module: &ObjectFile) -> Vec<Refusal> {
    let sites = |name| -> BTreeSet<Site> { table_sites(module, name, 4, 0).map(|t| t.1).collect() };
    let returns = sites(".return_sites");
    // Without the table the kernel has no call-depth tracking, or the module has no calls.
    let calls = module.section_by_name(".call_sites").map(|_| sites(".call_sites"));
    let missing_call = |site: &Site| calls.as_ref().is_some_and(|calls| !calls.contains(site));
    let mut refusals = Vec::new();
    for id in code_sections(module) {
        let section = &module[id];
        if section.name == REPLACEMENT {
            continue;
        }
        let init = section.name.starts_with(".init");
        let livepatch = module.livepatch.iter().filter(|l| l.target == id);
        let mut targets: BTreeMap<u64, &str> = BTreeMap::new();
        let all = section.relocations.iter().chain(livepatch.flat_map(|l| &l.relocations));
        for relocation in all.filter(|r| r.kind.is_pc_relative() && r.kind != RelocationKind::PC64)
        {
            targets.insert(relocation.offset, kernel_name(&module[relocation.symbol].name));
        }
        for instruction in instructions(module, id) {
            let field = (instruction.offset + instruction.len).saturating_sub(4);
            let Some(target) = targets.get(&field) else { continue };
            let site = (id, instruction.offset);
            match instruction.usage {
                Use::Jump if *target == "__x86_return_thunk" && !returns.contains(&site) => {
                    refusals.push(refusal_at(module, site, "a return is not a return site"));
                }
                Use::Call if !init && is_tracked(target) && missing_call(&site) => {
                    refusals.push(refusal_at(module, site, "a call is not a call site"));
                }
                _ => {}
            }
        }
    }
    refusals
}

/// The name by which objtool knew a symbol that the converter has renamed.
fn kernel_name(name: &str) -> &str {
    match name.strip_prefix(".klp.sym.vmlinux.") {
        Some(rest) => rest.split(',').next().unwrap_or(rest),
        None => name,
    }
}

/// Whether objtool lists a call of that function in `.call_sites` (`annotate_call_site`).
fn is_tracked(target: &str) -> bool {
    let profiling =
        ["__sanitizer_cov_", "__asan_", "__kasan_", "__tsan_", "__kcsan_", "__msan_", "__kmsan_"];
    !target.starts_with("__x86_indirect_")
        && !target.starts_with("__SCT__")
        && target != "__fentry__"
        && !profiling.iter().any(|prefix| target.starts_with(prefix))
}

/// A site whose key has bit 1 set (`arch/x86/include/asm/jump_label.h`) was a jump of which objtool
/// makes a no-op of the same length (`handle_jump_alt`).
fn jump_labels(module: &ObjectFile) -> Vec<Refusal> {
    const HACKED: i64 = 2;
    let Some(id) = module.section_by_name("__jump_table") else { return Vec::new() };
    let livepatch = module.livepatch.iter().filter(|l| l.target == id);
    let keys = module[id].relocations.iter().chain(livepatch.flat_map(|l| &l.relocations));
    let hacked: BTreeSet<u64> = keys
        .filter(|r| r.offset % 16 == 8 && r.addend & HACKED != 0)
        .map(|r| r.offset / 16)
        .collect();
    table_sites(module, "__jump_table", 16, 0)
        .filter(|(index, _)| hacked.contains(index))
        .filter(|(_, (section, offset))| {
            let code = module[*section].data.get(*offset as usize..).unwrap_or(&[]);
            !code.starts_with(&[0x66, 0x90]) && !code.starts_with(&[0x0f, 0x1f, 0x44, 0, 0])
        })
        .map(|(_, site)| refusal_at(module, site, "a static branch is not a no-op"))
        .collect()
}
