//! Pointers to functions of the kernel: where indirect branches are tracked, such a function must start
//! with ENDBR64, and the kernel must not have sealed it, as it does with all whose address nothing
//! took when it was built (`apply_seal_endbr` in `arch/x86/kernel/alternative.c`).

use std::collections::BTreeMap;

use goblin::elf::Reloc;
use goblin::elf::reloc;
use goblin::elf::section_header::SHN_UNDEF;
use goblin::elf::section_header::SHT_RELA;
use kpatch_elf::SHN_LIVEPATCH;
use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use shipped_kernel::Found;
use shipped_kernel::Text;
use shipped_kernel::symbols;

use super::Shipped;
use super::lookup;
use super::lookup::Symbol;
use crate::ibt::NO_BRANCHES;
use crate::verify::image::Image as File;
use crate::verify::image::Section;

/// Places in assembly that are returned or jumped to, never called (`ANNOTATE_NOENDBR`): C code has
/// their addresses for stacks and comparisons.
const NOT_CALLED: &[&str] = &[
    "__kretprobe_trampoline",
    "arch_rethook_trampoline",
    "common_startup_64",
    "early_idt_handler_array",
    "ftrace_call",
    "ftrace_caller_end",
    "ftrace_caller_op_ptr",
    "ftrace_regs_call",
    "ftrace_regs_caller_end",
    "ftrace_regs_caller_jmp",
    "ftrace_regs_caller_op_ptr",
    "int3_magic",
    "relocate_kernel",
    "ret_from_fork_asm",
    "return_to_handler",
    "secondary_startup_64",
    "secondary_startup_64_no_verify",
    "soft_restart_cpu",
];
/// Trampolines of static calls and thunks, whose addresses are taken to be patched; what the linker
/// script names.
const NOT_FUNCTIONS: &[&str] = &["__SCT__", "__x86_indirect_"];

/// Checks all places that take the address of a function outside the module.
pub(super) fn check(
    file: &File<'_>,
    bytes: &[u8],
    shipped: &Shipped<'_>,
    refusals: &mut Vec<Refusal>,
) {
    let Some(kernel) = &shipped.kernel else { return };
    if kernel.seals.is_empty() {
        return;
    }
    let mut known = BTreeMap::new();
    for (index, section) in file.sections.iter().enumerate() {
        let place = section.header.sh_info as usize;
        let Some(target) = file.sections.get(place) else { continue };
        if section.header.sh_type != SHT_RELA
            || !target.is_loaded()
            || NO_BRANCHES.contains(&target.name)
        {
            continue;
        }
        for relocation in file.relocations(bytes, index).unwrap_or_default() {
            if !takes_address(target, &relocation) {
                continue;
            }
            let reason = known
                .entry(relocation.r_sym)
                .or_insert_with(|| unreachable(file, shipped, relocation.r_sym));
            if let Some(reason) = reason {
                let by = file.name_around(place, relocation.r_offset);
                refusals.push(Refusal::new(
                    Code::NotReachable,
                    Place::default().symbol(file.symbols[relocation.r_sym].name),
                    format!("`{by}` takes the address, but {reason}"),
                    "call the function directly: point to a new function of the patch that does",
                ));
            }
        }
    }
}

/// Whether a relocation makes a pointer to the begin of its symbol.
fn takes_address(target: &Section<'_>, relocation: &Reloc) -> bool {
    let addend = relocation.r_addend.unwrap_or(0);
    match relocation.r_type {
        reloc::R_X86_64_PC32 | reloc::R_X86_64_PLT32 if target.is_code() => {
            // What is relative to the next instruction is a branch, an operand in memory, or `lea`.
            let field = usize::try_from(relocation.r_offset).unwrap_or(usize::MAX);
            let before = field.checked_sub(2).and_then(|start| target.data.get(start..field));
            addend == -4 && matches!(before, Some([0x8d, modrm]) if modrm & 0xc7 == 0x05)
        }
        reloc::R_X86_64_NONE => false,
        _ => addend == 0,
    }
}

/// Why a symbol outside the module cannot be reached by a pointer; `None` if it can, or is no function.
fn unreachable(file: &File<'_>, shipped: &Shipped<'_>, index: usize) -> Option<&'static str> {
    const SEALED: &str = "the kernel has sealed the function against indirect calls, or it has no \
                          ENDBR64";
    let kernel = shipped.kernel.as_ref()?;
    let symbol = file.symbols.get(index)?;
    let (name, found) = if symbol.raw.st_shndx == usize::from(SHN_LIVEPATCH) {
        let meant = LivepatchSymbol::parse(symbol.name).ok()?;
        let LivepatchSymbol { object, name, position } = &meant;
        (name.clone(), lookup::find(&shipped.target, object, name, (*position).into()).ok()??)
    } else if symbol.raw.st_shndx == SHN_UNDEF as usize
        && symbols::find_in_kernel(kernel.kallsyms, symbol.name) == Found::Unique
    {
        (symbol.name.to_owned(), lookup::find(&shipped.target, VMLINUX, symbol.name, 0).ok()??)
    } else {
        return None;
    };
    let is_marker = name.starts_with('_') && (name.ends_with("_start") || name.ends_with("_end"));
    if is_marker
        || matches!(&*name, "_text" | "_stext" | "_etext" | "_sinittext" | "_einittext")
        || NOT_CALLED.contains(&&*name)
        || NOT_FUNCTIONS.iter().any(|prefix| name.starts_with(prefix))
    {
        return None;
    }
    let may_be_called = match found {
        Symbol::Kernel { address, .. } => {
            let text = kernel.text.what_is(address);
            let init_data = text == Text::Init && !matches!(kind_of(&found), 't' | 'T');
            if matches!(text, Text::None | Text::Entry) || init_data {
                return None;
            }
            kernel.seals.may_be_called(kernel.image, address)
        }
        Symbol::Module { module, symbol, section } => {
            let (_, seals) = shipped.modules.get(module.name.as_str())?;
            if kind_of(&found) != 't' {
                return None;
            }
            seals.may_be_called_in(module, section, symbol.value)
        }
    };
    (!may_be_called).then_some(SEALED)
}

fn kind_of(symbol: &Symbol<'_>) -> char {
    symbol.shown().kind
}
