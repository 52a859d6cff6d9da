//! Where relocations of a module-specific livepatch section must not land.
//!
//! They are applied when the patched module is there, perhaps long after the livepatch module was
//! loaded, and taken back when it goes. What the kernel has read, moved, rewritten or freed by then
//! is out of bounds: see `load_module` and `find_module_sections` in `kernel/module/main.c`,
//! `module_finalize` and `clear_relocate_add` in `arch/x86/kernel/module.c`.

use std::collections::BTreeMap;
use std::ops::Range;

use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_elf::livepatch::Placeholder;
use kpatch_refusal::Code;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use crate::code::Site;
use crate::code::place;
use crate::code::table_sites;
use crate::refuse::at;
use crate::refuse::malformed;

/// Sections that the kernel reads, sorts or copies while the livepatch module is loaded.
/// `__bug_table` and `.call_sites` targets are not here: bug entries are read when a warning fires,
/// and a call that is not resolved yet is left alone by call-depth patching (`patch_dest` in
/// `arch/x86/kernel/callthunks.c` finds no padding in front of it).
const READ_AT_LOAD: &[&str] = &[
    ".altinstr_replacement",
    ".altinstructions",
    ".BTF",
    ".BTF.base",
    ".call_sites",
    ".cfi_sites",
    ".ctors",
    ".gnu.linkonce.this_module",
    ".ibt_endbr_seal",
    ".init_array",
    ".kunit_init_test_suites",
    ".kunit_test_suites",
    ".modinfo",
    ".orc_header",
    ".orc_unwind",
    ".orc_unwind_ip",
    ".parainstructions",
    ".printk_index",
    ".retpoline_sites",
    ".return_sites",
    ".smp_locks",
    ".static_call.text",
    ".static_call_sites",
    "___srcu_struct_ptrs",
    "__bpf_raw_tp_map",
    "__dyndbg",
    "__dyndbg_classes",
    "__ex_table",
    "__jump_table",
    "__kcrctab",
    "__kcrctab_gpl",
    "__ksymtab",
    "__ksymtab_gpl",
    "__mcount_loc",
    "__obsparm",
    "__param",
    "__patchable_function_entries",
    "__trace_printk_fmt",
    "__tracepoints",
    "__tracepoints_ptrs",
    "__versions",
    "_error_injection_whitelist",
    "_ftrace_eval_map",
    "_ftrace_events",
    "_kprobe_blacklist",
];

/// Why a module-specific relocation may not apply to a section of that name; `None` if it may.
pub(crate) fn section_reason(name: &str) -> Option<&'static str> {
    // `module_init_layout_section` in `kernel/module/main.c`.
    if name.starts_with(".init") && name != ".init_array" {
        return Some("the section is freed when the livepatch module is initialised");
    }
    if name.starts_with(".data..percpu") {
        return Some("the section is copied for each CPU when the livepatch module is loaded");
    }
    if name.starts_with(".kpatch.") {
        return Some(
            "the patch module's core reads the section when the livepatch module is loaded",
        );
    }
    READ_AT_LOAD
        .contains(&name)
        .then_some("the kernel processes the section when the livepatch module is loaded")
}

/// The bytes of code that the kernel may rewrite, by section.
#[derive(Debug)]
pub(crate) struct Late {
    rewritten: BTreeMap<SectionId, Vec<(Range<u64>, &'static str)>>,
}

impl Late {
    /// Collects the rewritten places of a module.
    pub(crate) fn of(object: &ObjectFile) -> Result<Self, Refusals> {
        let mut rewritten: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut add = |(section, start): Site, len: u64, what: &'static str| {
            rewritten.entry(section).or_default().push((start..start.saturating_add(len), what));
        };
        for (site, len) in alternatives(object)? {
            add(site, len, "alternatives");
        }
        // `struct jump_entry`, `struct static_call_site`: the place comes first. Tables of objtool:
        // one 32-bit place each.
        let tables = [
            ("__jump_table", 16, "a static branch"),
            (".static_call_sites", 8, "a static call"),
            (".retpoline_sites", 4, "a retpoline"),
            (".return_sites", 4, "a return thunk"),
            (".ibt_endbr_seal", 4, "an IBT seal"),
            (".smp_locks", 4, "a lock prefix"),
        ];
        for (name, stride, what) in tables {
            for (_, site) in table_sites(object, name, stride, 0) {
                // A lock prefix is one byte in front of an instruction with an address of its own.
                let len = if name == ".smp_locks" { 1 } else { instruction_len(object, site) };
                add(site, len, what);
            }
        }
        for (_, site) in table_sites(object, "__mcount_loc", 8, 0) {
            add(site, 5, "the ftrace entry");
        }
        if let Some(id) = object.section_by_name(".parainstructions") {
            // `struct paravirt_patch_site` (kernels before 6.8): pointer, type, length.
            for (index, site) in table_sites(object, ".parainstructions", 16, 0) {
                let len = object[id].data.get(16 * index as usize + 9).copied().unwrap_or(0);
                add(site, len.into(), "paravirt code");
            }
        }
        Ok(Late { rewritten })
    }

    /// Refuses a module-specific relocation of `section` that the kernel would read too early or
    /// find changed.
    pub(crate) fn check(
        &self,
        object: &ObjectFile,
        section: SectionId,
        relocation: &Relocation,
        placeholder: &Placeholder,
    ) -> Option<Refusal> {
        let module = &placeholder.applied_with;
        let reason = match section_reason(&object[section].name) {
            Some(reason) => reason.to_owned(),
            None => {
                let end = relocation.offset + relocation.kind.width().unwrap_or(0) as u64;
                let ranges = self.rewritten.get(&section)?;
                let (_, what) =
                    ranges.iter().find(|(r, _)| relocation.offset < r.end && r.start < end)?;
                format!("the kernel rewrites the bytes as {what}")
            }
        };
        let message = format!(
            "`{}` is known only when `{module}` is loaded, but {reason}",
            placeholder.symbol
        );
        Some(at(object, section, relocation, Code::UnsupportedSection, &message))
    }
}

/// The place of each alternative and its length (`struct alt_instr` in
/// `arch/x86/include/asm/alternative.h`).
fn alternatives(object: &ObjectFile) -> Result<Vec<(Site, u64)>, Refusals> {
    let mut all = Vec::new();
    let Some(id) = object.section_by_name(".altinstructions") else { return Ok(all) };
    let section: &Section = &object[id];
    if section.data.is_empty() {
        return Ok(all);
    }
    // Two relocations each. 14 bytes since 6.3; 12 before that with 16-bit features, 13 with padding.
    let entries = section.relocations.len() / 2;
    let length_at = |stride: usize| match stride {
        14 => Some(12),
        12 | 13 => Some(10),
        _ => None,
    };
    let stride = section.data.len().checked_div(entries).unwrap_or(0);
    let regular = section.data.len() == stride * entries
        && section.relocations.len() == 2 * entries
        && section
            .relocations
            .iter()
            .enumerate()
            .all(|(i, r)| r.offset as usize == i / 2 * stride + i % 2 * 4);
    let Some(length_at) = length_at(stride).filter(|_| regular) else {
        let message = "the layout of `.altinstructions` is not known";
        return Err(malformed("", message).into());
    };
    for (entry, relocation) in section.relocations.iter().step_by(2).enumerate() {
        let len = section.data[entry * stride + length_at];
        if let Some(site) = place(object, relocation, 0) {
            all.push((site, len.into()));
        }
    }
    Ok(all)
}

/// Bytes of the instruction at a site; the longest that the kernel writes at once if it is none.
fn instruction_len(object: &ObjectFile, (section, offset): Site) -> u64 {
    let data = object[section].data.get(offset as usize..).unwrap_or(&[]);
    let instruction = Decoder::new(64, data, DecoderOptions::NONE).decode();
    if instruction.is_invalid() { 5 } else { instruction.len() as u64 }
}
