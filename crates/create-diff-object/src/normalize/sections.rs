//! The one table of special sections: how entries are delimited, whose they are, and what becomes of
//! them in a patch. What is neither here nor ordinary code or data, and refers into a function that
//! goes into the patch, is a refusal.
//!
//! Sources: the macros that fill the sections (`include/linux/{jump_label,bug,export}.h`,
//! `arch/x86/include/asm/{alternative,asm,jump_label,runtime-const,static_call}.h`,
//! `include/linux/{compiler,objtool}.h`), `scripts/module.lds.S` and `tools/objtool/`.
//! Older forms: `arch/x86/include/asm/paravirt.h` of 6.7, `asm/jump_label.h` of 4.19, `asm/asm.h` of 5.15.

use std::sync::LazyLock;

use kpatch_elf::Section;
use kpatch_elf::SectionKind;
use kpatch_elf::section_flags::ALLOC;
use kpatch_elf::section_flags::EXEC;
use kpatch_elf::section_flags::MERGE;
use kpatch_elf::section_flags::STRINGS;
use kpatch_refusal::Code;

use crate::normalize::patterns::Patterns;
use crate::normalize::record_sizes;

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
    /// Which of [`crate::normalize::record_sizes`] says how long an entry is.
    pub size: Option<&'static str>,
    /// Whether that relocation leads to the end of what the entry is about, not to its beginning.
    pub at_end: bool,
    /// What happens to the entries of a function that goes into the patch.
    pub policy: Policy,
    /// Whether an entry follows from the code that it is about, so that it is no difference by itself,
    /// and is no way by which code is reached.
    pub follows_code: bool,
    /// Whether the last field of an entry names a static key or the key of a static call.
    pub has_key: bool,
    /// A section whose records, as many as there are entries here, belong to these one by one.
    pub beside: Option<&'static str>,
    /// What an entry makes known to the kernel, for entries that stay behind.
    pub announces: Option<&'static str>,
}

/// How long an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntrySize {
    /// As long as it takes to have this many relocations; padding and options change the bytes.
    Relocations(usize),
    /// The same, and the last one may lack padding.
    PaddedRelocations(usize),
    /// Up to the next relocation that leads into code.
    UpToNextCode,
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
    /// No entry goes into the patch; the code that it is about is rewritten to do without.
    Rewrite,
    /// A function with an entry cannot be patched yet.
    Refuse(Code),
}

const fn table(name: &'static str, policy: Policy) -> Table {
    Table {
        name,
        entry: EntrySize::Relocations(1),
        size: None,
        at_end: false,
        policy,
        follows_code: false,
        has_key: false,
        beside: None,
        announces: None,
    }
}

const fn keep(name: &'static str, relocations: usize) -> Table {
    Table { entry: EntrySize::Relocations(relocations), ..table(name, Policy::Keep) }
}

const fn keep_sized(name: &'static str, entry: EntrySize, size: &'static str) -> Table {
    Table { entry, size: Some(size), ..table(name, Policy::Keep) }
}

const fn keep_at_end(name: &'static str) -> Table {
    Table { at_end: true, ..keep(name, 1) }
}

const fn sites(name: &'static str) -> Table {
    Table { follows_code: true, ..keep(name, 1) }
}

const fn drop(name: &'static str) -> Table {
    table(name, Policy::Drop)
}

const fn drop_told(name: &'static str, what: &'static str) -> Table {
    Table { announces: Some(what), ..drop(name) }
}

const fn refuse(name: &'static str, code: Code) -> Table {
    table(name, Policy::Refuse(code))
}

/// `__jump_table`: code, target and key of each static branch.
pub const JUMP_TABLE: &str = "__jump_table";
/// `.static_call_sites`: code and key of each static call (objtool).
pub const STATIC_CALL_SITES: &str = ".static_call_sites";
/// What a function that ftrace can redirect calls first.
pub const FENTRY: &str = "__fentry__";
/// `__mcount_loc`: the calls that ftrace redirects.
pub const MCOUNT_LOC: &str = "__mcount_loc";
/// `.altinstructions`: see `struct alt_instr`.
pub const ALTINSTRUCTIONS: &str = ".altinstructions";
/// `__bug_table`: see `struct bug_entry`.
pub const BUG_TABLE: &str = "__bug_table";
/// `__ex_table`: see `struct exception_table_entry`.
pub const EX_TABLE: &str = "__ex_table";
/// Where ORC entries apply, in the order of [`ORC`] (objtool).
pub const ORC_IP: &str = ".orc_unwind_ip";
/// `struct orc_entry`s (objtool).
pub const ORC: &str = ".orc_unwind";
/// Descriptors of `pr_debug()` and the like, each with its static key: the section's names.
pub const DYNAMIC_DEBUG: &[&str] = &["__dyndbg", "__verbose"];
/// Offset of the line number in `struct bug_entry` (relative pointers, CONFIG_DEBUG_BUGVERBOSE).
pub const BUG_LINE: std::ops::Range<usize> = 8..10;

/// Offset of `replacementlen` in a `struct alt_instr` of `size` bytes: behind two relative pointers,
/// the feature (2 bytes, since 6.3 4 bytes with flags) and `instrlen`. Between 4.1 and 5.13 a length of
/// padding follows.
pub fn alt_replacement_len(size: u64) -> usize {
    if size >= 14 { 13 } else { 11 }
}

/// Every section of entries that compiled objects carry, before and after objtool.
pub const TABLES: &[Table] = &[
    // Code locations that the kernel patches or looks up at run time.
    sites(MCOUNT_LOC),
    // Address and, as configured, file and line; kernels from 6.18 on may have a format besides.
    keep_sized(BUG_TABLE, EntrySize::UpToNextCode, record_sizes::BUGS),
    // Kernels before 5.16 have a third relocation, to a handler, where later ones have a number.
    keep_sized(EX_TABLE, EntrySize::Bytes(12), record_sizes::EXCEPTIONS),
    // Relative pointers make 16 bytes; kernels before 4.20 have three of 8 bytes.
    Table {
        has_key: true,
        ..keep_sized(JUMP_TABLE, EntrySize::Relocations(3), record_sizes::JUMPS)
    },
    keep_sized(ALTINSTRUCTIONS, EntrySize::Relocations(2), record_sizes::ALTERNATIVES),
    // Until 6.7; `.balign 8` stands before each entry of 12 bytes, so the last one is shorter.
    keep_sized(".parainstructions", EntrySize::PaddedRelocations(1), record_sizes::PARAVIRT),
    keep(".smp_locks", 1),
    // Made by objtool for the boot code and the module loader. No objtool runs after it.
    Table { beside: Some(ORC), size: Some(record_sizes::UNWIND), ..sites(ORC_IP) },
    drop(ORC),
    // modpost gives every module its own.
    drop(".orc_header"),
    Table {
        has_key: true,
        ..keep_sized(STATIC_CALL_SITES, EntrySize::Relocations(2), record_sizes::STATIC_CALLS)
    },
    sites(".return_sites"),
    sites(".retpoline_sites"),
    sites(".call_sites"),
    sites(".ibt_endbr_seal"),
    sites(".cfi_sites"),
    // Clang's indirect calls with a type check.
    sites(".kcfi_traps"),
    // Annotations that objtool reads when it runs on the finished module.
    keep_at_end(".discard.reachable"),
    keep_at_end(".discard.unreachable"),
    keep(".discard.retpoline_safe", 1),
    keep(".discard.noendbr", 1),
    keep(".discard.ibt_endbr_noseal", 1),
    keep(".discard.intra_function_calls", 1),
    keep(".discard.instr_begin", 1),
    keep(".discard.instr_end", 1),
    keep(".discard.validate_unret", 1),
    keep(".discard.unwind_hints", 1),
    keep(".discard.annotate_insn", 1),
    keep(".discard.ignore_alts", 1),
    keep(".discard.func_stack_frame_non_standard", 1),
    // Positions of call padding; nothing in an x86 kernel reads them.
    drop("__patchable_function_entries"),
    // The linker script of the kernel throws it away.
    drop(".eh_frame"),
    // The export, blacklist, initcall or boot hook of the original stays in force.
    drop_told(".export_symbol", "export"),
    drop(".discard.addressable"),
    drop_told("___ksymtab*", "export"),
    drop("___kcrctab*"),
    drop("_kprobe_blacklist"),
    drop("_error_injection_whitelist"),
    drop(".initcall*"),
    drop(".exitcall.exit"),
    drop(".init.setup"),
    drop(".con_initcall.init"),
    drop(".static_call_tramp_key"),
    drop_told(".printk_index", "entry of the printk index"),
    drop(".modinfo"),
    drop("__modver"),
    drop_told("__param", "module parameter"),
    drop("__syscalls_metadata"),
    drop_told("_ftrace_events", "trace event"),
    drop("_ftrace_eval_map"),
    drop("__tracepoints_ptrs"),
    drop_told("__bpf_raw_tp_map", "raw tracepoint for BPF"),
    drop(".BTF_ids"),
    drop("__kunit_suites*"),
    drop(".pci_fixup*"),
    drop("__tracepoint_check*"),
    // What the patch's author tells the tools; authors.rs reads it.
    drop(".kpatch.callbacks.*"),
    drop(".kpatch.ignore.*"),
    drop(".kpatch.force"),
    drop(".kpatch.states"),
    drop(".discard.klp_callback_ptrs"),
    // Constants that only vmlinux' boot code fills in.
    table("runtime_ptr_*", Policy::Rewrite),
    refuse("runtime_shift_*", Code::RuntimeConst),
    refuse("runtime_mask_*", Code::RuntimeConst),
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
    // Formats of trace_printk(); the module loader keeps them when the module goes.
    "__trace_printk_fmt",
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

/// Sections of the descriptions of UBSAN's checks: gcc's and clang's.
const UBSAN: [&str; 2] = [".data..Lubsan_data", ".data..L__unnamed_"];

/// Whether what a data section holds begins with a `struct source_location` (`lib/ubsan.h`), if it begins
/// with the name of a file.
pub fn is_location(section: &str) -> bool {
    UBSAN.iter().any(|head| section.starts_with(head))
}

/// Where each object of a data section holds the line of its place in the source: the bytes, and a mask
/// for the 64 bits from the first one.
///
/// Sources: `struct _ddebug` (`include/linux/dynamic_debug.h`: 18 bits behind four pointers),
/// `struct codetag` (`include/linux/codetag.h`), `struct source_location` (`lib/ubsan.h`: line and column
/// behind a pointer) at the beginning of what compilers describe a check of UBSAN with.
pub fn line_field(section: &str) -> Option<(std::ops::Range<usize>, u64)> {
    match section {
        "__dyndbg" | "__verbose" => Some((32..36, (1 << 18) - 1)),
        "alloc_tags" => Some((4..8, u64::from(u32::MAX))),
        _ if is_location(section) => Some((8..16, u64::MAX)),
        _ => None,
    }
}

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
