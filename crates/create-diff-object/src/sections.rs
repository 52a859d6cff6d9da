//! The one table of special sections: how entries are delimited, whose they are, and what becomes of
//! them in a patch. What is neither here nor ordinary code or data, and refers into a function that
//! goes into the patch, is a refusal.
//!
//! Sources: the macros that fill the sections (`include/linux/{jump_label,bug,export}.h`,
//! `arch/x86/include/asm/{alternative,asm,jump_label,runtime-const,static_call}.h`,
//! `include/linux/{compiler,objtool}.h`), `scripts/module.lds.S` and `tools/objtool/`.

use std::sync::LazyLock;

use kpatch_elf::Section;
use kpatch_elf::SectionKind;
use kpatch_elf::section_flags::ALLOC;
use kpatch_elf::section_flags::EXEC;
use kpatch_elf::section_flags::MERGE;
use kpatch_elf::section_flags::STRINGS;
use kpatch_refusal::Code;

use crate::patterns::Patterns;

/// What a section is to the differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Neither code nor data of the kernel: debug information, notes, groups.
    Ignored,
    /// Functions and fragments of code.
    Code,
    /// Named and anonymous data.
    Data,
    /// NUL-terminated strings, one beside the other.
    Strings,
    /// Mergeable constants of [`Section::entry_size`] bytes.
    Constants,
    /// Entries that describe places in functions.
    Table(&'static Table),
    /// Not known: fine as long as it says nothing about a function that goes into the patch.
    Unknown,
}

/// A section of entries.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Section name, or with a `*` at the end its beginning.
    pub name: &'static str,
    /// How the section is cut. An entry starts at its first relocation, which says whose entry it is.
    pub entry: EntrySize,
    /// Whether that relocation leads to the end of what the entry is about, not to its beginning.
    pub at_end: bool,
    /// What happens to the entries of a function that goes into the patch.
    pub policy: Policy,
}

/// How long an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntrySize {
    /// As long as it takes to have this many relocations; padding and options change the bytes.
    Relocations(usize),
    /// So many bytes.
    Bytes(u64),
}

/// What happens to table entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The entries of included functions, and only those, go into the patch.
    Keep,
    /// No entry goes into the patch.
    Drop,
    /// A function with an entry cannot be patched yet.
    Refuse(Code),
}

const fn table(name: &'static str, policy: Policy) -> Table {
    Table { name, entry: EntrySize::Relocations(1), at_end: false, policy }
}

const fn keep(name: &'static str, relocations: usize) -> Table {
    Table { entry: EntrySize::Relocations(relocations), ..table(name, Policy::Keep) }
}

const fn keep_at_end(name: &'static str) -> Table {
    Table { at_end: true, ..keep(name, 1) }
}

const fn drop(name: &'static str) -> Table {
    table(name, Policy::Drop)
}

const fn refuse(name: &'static str, code: Code) -> Table {
    table(name, Policy::Refuse(code))
}

/// `__jump_table`: code, target and key of each static branch.
pub const JUMP_TABLE: &str = "__jump_table";
/// `.altinstructions`: see `struct alt_instr`.
pub const ALTINSTRUCTIONS: &str = ".altinstructions";
/// `__bug_table`: see `struct bug_entry`.
pub const BUG_TABLE: &str = "__bug_table";
/// Offset of `replacementlen` in `struct alt_instr` of 6.12.
pub const ALT_REPLACEMENT_LEN: usize = 13;
/// Offset of the line number in `struct bug_entry` (relative pointers, CONFIG_DEBUG_BUGVERBOSE).
pub const BUG_LINE: std::ops::Range<usize> = 8..10;

/// Every section of entries that compiled objects of 6.12 carry.
pub const TABLES: &[Table] = &[
    // Code locations that the kernel patches or looks up at run time.
    keep("__mcount_loc", 1),
    keep(BUG_TABLE, 2),
    // Kernels before 5.16 have a third relocation, to a handler, where later ones have a number.
    Table { entry: EntrySize::Bytes(12), ..keep("__ex_table", 2) },
    keep(JUMP_TABLE, 3),
    keep(ALTINSTRUCTIONS, 2),
    keep(".smp_locks", 1),
    // Annotations that objtool reads when it runs on the finished module.
    keep_at_end(".discard.reachable"),
    keep_at_end(".discard.unreachable"),
    keep(".discard.retpoline_safe", 1),
    keep(".discard.noendbr", 1),
    keep(".discard.intra_function_calls", 1),
    keep(".discard.instr_begin", 1),
    keep(".discard.instr_end", 1),
    keep(".discard.validate_unret", 1),
    keep(".discard.unwind_hints", 1),
    keep(".discard.annotate_insn", 1),
    // Positions of call padding; nothing in an x86 kernel reads them.
    drop("__patchable_function_entries"),
    // The export, blacklist, initcall or boot hook of the original stays in force.
    drop(".export_symbol"),
    drop(".discard.addressable"),
    drop("___ksymtab*"),
    drop("_kprobe_blacklist"),
    drop("_error_injection_whitelist"),
    drop(".initcall*"),
    drop(".exitcall.exit"),
    drop(".init.setup"),
    drop(".con_initcall.init"),
    drop(".static_call_tramp_key"),
    drop(".printk_index"),
    drop(".modinfo"),
    drop("__modver"),
    drop("__param"),
    drop("__syscalls_metadata"),
    drop("_ftrace_events"),
    drop("_ftrace_eval_map"),
    drop("__tracepoints_ptrs"),
    drop("__bpf_raw_tp_map"),
    drop(".BTF_ids"),
    drop("__kunit_suites*"),
    drop(".pci_fixup*"),
    drop("__tracepoint_check*"),
    // What the patch's author tells the tools; authors.rs reads it.
    drop(".kpatch.callbacks.*"),
    drop(".kpatch.ignore.*"),
    drop(".kpatch.force"),
    drop(".discard.klp_callback_ptrs"),
    // Constants that only vmlinux' boot code fills in.
    refuse("runtime_ptr_*", Code::RuntimeConst),
    refuse("runtime_shift_*", Code::RuntimeConst),
    refuse("runtime_mask_*", Code::RuntimeConst),
    // Made by objtool: a sign of an object that is not the compiler's own.
    refuse(".orc_unwind*", Code::UnsupportedObject),
    refuse(".return_sites", Code::UnsupportedObject),
    refuse(".retpoline_sites", Code::UnsupportedObject),
    refuse(".call_sites", Code::UnsupportedObject),
    refuse(".static_call_sites", Code::UnsupportedObject),
    refuse(".ibt_endbr_seal", Code::UnsupportedObject),
    refuse(".cfi_sites", Code::UnsupportedObject),
];

/// Sections of data whose pointers to functions mean the original, whoever may be patched: tables of
/// operations, tracepoints, scheduler classes.
const DATA: &[&str] = &[
    ".data*",
    ".bss*",
    ".rodata*",
    ".init.data*",
    ".init.rodata*",
    ".init.bss*",
    ".exit.data*",
    ".ref.data",
    "__tracepoints",
    "__tracepoints_strings",
    "__tracepoint_str",
    "__dyndbg",
    // Its name in older kernels.
    "__verbose",
    "__dyndbg_classes",
    "__ro_after_init",
    "__*_sched_class",
    ".brk*",
    ".vvar*",
    "__lsm_info*",
    ".lsm_info*",
    ".early_lsm_info*",
    "__earlycon_table",
    "__irqchip_of_table*",
    ".apicdrivers",
    ".x86_cpu_dev.init",
    ".altinstr_data",
];

static TABLES_BY_NAME: LazyLock<Patterns<&'static Table>> =
    LazyLock::new(|| TABLES.iter().map(|table| (table.name, table)).collect());
static DATA_BY_NAME: LazyLock<Patterns<()>> =
    LazyLock::new(|| DATA.iter().map(|pattern| (*pattern, ())).collect());

/// What `section` is to the differ.
pub fn classify(section: &Section) -> Class {
    let name = section.name.as_str();
    if let Some(table) = TABLES_BY_NAME.find(name) {
        return Class::Table(table);
    }
    match section.kind {
        SectionKind::Progbits | SectionKind::Nobits if section.has(ALLOC) => {
            if section.has(EXEC) {
                Class::Code
            } else if section.has(MERGE | STRINGS) {
                Class::Strings
            } else if section.has(MERGE) && section.entry_size > 0 {
                Class::Constants
            } else if DATA_BY_NAME.find(name).is_some() {
                Class::Data
            } else {
                Class::Unknown
            }
        }
        SectionKind::Progbits if name.starts_with(".discard") => Class::Unknown,
        _ => Class::Ignored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_listed_twice() {
        for (i, table) in TABLES.iter().enumerate() {
            assert!(TABLES[..i].iter().all(|other| other.name != table.name), "{}", table.name);
        }
    }
}
