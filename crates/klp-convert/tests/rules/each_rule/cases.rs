//! One breakage for each rule, in the order of `docs/verify.md`.

use crate::kernel::Spec;
use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::LivepatchRelocations;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_refusal::Code;

const SAVED: &str = ".klp.sym.vmlinux.saved_command_line,0";
const HOOK: &str = ".klp.sym.nf_tables.nft_hook.isra.0,3";
const TEXT: &str = ".klp.rela.vmlinux..text";
const MODULE_DATA: &str = ".klp.rela.nf_tables..data";
const BAD: Code = Code::ModuleMalformed;

/// How a rule is broken.
pub(crate) enum Breakage {
    /// Texts of the fixture's source.
    Source(&'static [(&'static str, &'static str)]),
    /// The converted module.
    Model(fn(&mut ObjectFile)),
    /// The bytes of the file.
    Bytes(fn(&mut Vec<u8>)),
    /// The kernel that the module is held against.
    Kernel(fn(&mut Spec)),
    /// The source, held against the kernel.
    ForKernel(&'static [(&'static str, &'static str)]),
}

use Breakage::Bytes;
use Breakage::ForKernel;
use Breakage::Kernel;
use Breakage::Model;
use Breakage::Source;

fn livepatch<'a>(module: &'a mut ObjectFile, name: &str) -> &'a mut LivepatchRelocations {
    module.livepatch.iter_mut().find(|l| l.name == name).unwrap()
}

fn symbol(module: &ObjectFile, name: &str) -> SymbolId {
    module.symbols_with_ids().find(|(_, s)| s.name == name).unwrap().0
}

fn named<'a>(module: &'a mut ObjectFile, name: &str) -> &'a mut Symbol {
    let id = symbol(module, name);
    &mut module.symbols[id.0 as usize]
}

fn section<'a>(module: &'a mut ObjectFile, name: &str) -> &'a mut Section {
    let id = module.section_by_name(name).unwrap();
    &mut module.sections[id.0 as usize]
}

fn number(bytes: &[u8], at: usize, len: usize) -> usize {
    bytes[at..at + len].iter().rev().fold(0, |n, byte| (n << 8) | usize::from(*byte))
}

/// Offset of the header of the section with that name; the first one for no name.
fn header(bytes: &[u8], name: &str) -> usize {
    let table = number(bytes, 40, 8);
    let names = number(bytes, table + 64 * number(bytes, 62, 2) + 24, 8);
    let is_named = |at: &usize| {
        let start = names + number(bytes, *at, 4);
        bytes[start..].starts_with(&[name.as_bytes(), b"\0"].concat())
    };
    (0..number(bytes, 60, 2)).map(|index| table + 64 * index).find(is_named).unwrap()
}

/// Sets a field of a section's header: offset in `Elf64_Shdr`, value.
fn set(bytes: &mut [u8], name: &str, field: usize, value: u32) {
    let at = header(bytes, name) + field;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

const KIND: usize = 4;
const OFFSET: usize = 24;
const SIZE: usize = 32;
const LINK: usize = 40;
const INFO: usize = 44;
const ENTSIZE: usize = 56;

/// Rule, code, what the refusal says, how the rule is broken.
pub(crate) type Case = (&'static str, Code, &'static str, Breakage);

#[rustfmt::skip]
fn file() -> Vec<Case> {
    vec![
        ("elf-header", BAD, "not an x86-64 module", Bytes(|b| b[18] = 40)),
        ("elf-numbering", BAD, "form that the loader refuses", Bytes(|b| b[60..62].fill(0))),
        ("elf-entries", BAD, "form that the loader refuses", Bytes(|b| b[58] = 40)),
        ("elf-null", BAD, "section 0 is not empty", Bytes(|b| set(b, "", SIZE, 1))),
        ("elf-bounds", BAD, "not in the file", Bytes(|b| set(b, ".text", OFFSET, 1 << 30))),
        ("elf-strings", BAD, "does not end with a NUL", Bytes(|b| {
            let size = header(b, ".strtab") + SIZE;
            let less = number(b, size, 4) - 1;
            set(b, ".strtab", SIZE, less as u32);
        })),
        ("elf-end", BAD, "no signature follow", Bytes(|b| b.extend(b"something"))),
        ("symtab-one", BAD, "exactly one symbol table", Bytes(|b| set(b, ".symtab", KIND, 1))),
        ("symtab-form", BAD, "symbol table has a form", Bytes(|b| set(b, ".symtab", ENTSIZE, 16))),
        ("symtab-names", BAD, "has no names", Bytes(|b| set(b, ".symtab", LINK, 1))),
        ("symtab-locals", BAD, "local symbols", Bytes(|b| set(b, ".symtab", INFO, 1))),
        ("modinfo-once", BAD, "2 sections `.modinfo`", Model(|m| {
            m.add_section(Section::progbits(".modinfo", 2, 1));
        })),
        ("this-module-once", BAD, "2 sections `.gnu.linkonce", Model(|m| {
            m.add_section(Section::progbits(".gnu.linkonce.this_module", 3, 64));
        })),
        ("this-module-loaded", BAD, "is not loaded data", Bytes(|b| {
            set(b, ".gnu.linkonce.this_module", 8, 1);
        })),
        ("this-module-name", BAD, "names the module `probe`", Source(&[
            (".asciz \"probe\"", ".asciz \"brobe\"")])),
        ("modinfo-livepatch", BAD, "as livepatch module", Source(&[("livepatch=Y", "live=Y")])),
        ("modinfo-license", BAD, "licence", Source(&[("license=GPL", "license=MIT")])),
        ("modinfo-vermagic", BAD, "which kernel", Source(&[("vermagic=", "magic=")])),
        ("modinfo-name", BAD, "name the module", Source(&[("name=probe", "alias=probe")])),
        ("modinfo-name-length", Code::NameTooLong, "55", Source(&[
            ("name=probe", "name=a123456789b123456789c123456789d123456789e123456789f12345")])),
    ]
}

#[rustfmt::skip]
fn symbols() -> Vec<Case> {
    vec![
        ("sym-form", BAD, "not a livepatch name", Model(|m| {
            named(m, SAVED).name = ".klp.sym.vmlinux.x".into();
        })),
        ("sym-position", BAD, "plain decimal", Model(|m| {
            named(m, SAVED).name = ".klp.sym.vmlinux.saved_command_line,+0".into();
        })),
        ("sym-name-length", Code::NameTooLong, "longer", Model(|m| {
            named(m, SAVED).name = format!(".klp.sym.vmlinux.{},0", "s".repeat(512));
        })),
        ("sym-object-length", Code::NameTooLong, "longer", Model(|m| {
            named(m, HOOK).name = format!(".klp.sym.{}.hook,3", "m".repeat(56));
        })),
        ("sym-global", BAD, "is local", Model(|m| named(m, SAVED).binding = Binding::Local)),
        ("sym-marked", BAD, "not SHN_LIVEPATCH", Model(|m| {
            m.add_symbol(Symbol::undefined(".klp.sym.vmlinux.stray,0", Binding::Global));
        })),
        ("sym-weak", Code::WeakUndefinedLeft, "address 0", Model(|m| {
            m.add_symbol(Symbol::undefined("stray", Binding::Weak));
        })),
        ("sym-left", BAD, "intermediate", Model(|m| {
            m.add_symbol(Symbol::undefined(".kpatch.placeholder.a.b.c.0", Binding::Global));
        })),
        ("sym-common", BAD, "common", Model(|m| {
            let stray = Symbol::undefined("stray", Binding::Global);
            m.add_symbol(Symbol { definition: Definition::Common, ..stray });
        })),
        ("sym-section", BAD, "section 0xfe00", Bytes(|b| {
            // The last symbol is a global one.
            let table = header(b, ".symtab");
            let last = number(b, table + OFFSET, 8) + number(b, table + SIZE, 8) - 24;
            let stray = number(b, table + INFO, 4) * 24 + number(b, table + OFFSET, 8);
            let lonely = (stray..=last).step_by(24).find(|at| {
                let names = number(b, header(b, ".strtab") + OFFSET, 8);
                b[names + number(b, *at, 4)..].starts_with(b"lonely\0")
            });
            let at = lonely.unwrap() + 6;
            b[at..at + 2].copy_from_slice(&0xfe00_u16.to_le_bytes());
        })),
    ]
}

#[rustfmt::skip]
fn relocations() -> Vec<Case> {
    vec![
        ("rela-marked", BAD, "do not agree", Model(|m| livepatch(m, TEXT).name = ".rela.x".into())),
        ("rela-type", BAD, "not a relocation section", Bytes(|b| set(b, TEXT, KIND, 1))),
        ("rela-alloc", BAD, "lacks SHF_ALLOC", Model(|m| livepatch(m, TEXT).flags &= !2)),
        ("rela-link", BAD, "linked to the symbol table", Bytes(|b| set(b, TEXT, LINK, 1))),
        ("rela-target", BAD, "has no target", Bytes(|b| set(b, TEXT, INFO, 999))),
        ("rela-loaded", BAD, "no loaded bytes", Model(|m| {
            let target = m.section_by_name(".debug_info").unwrap();
            let relas = livepatch(m, TEXT);
            relas.target = target;
            relas.name = ".klp.rela.vmlinux..debug_info".into();
            relas.relocations.truncate(1);
            relas.relocations[0].offset = 0;
            section(m, ".debug_info").relocations.clear();
        })),
        ("rela-form", BAD, "not a livepatch name", Model(|m| {
            livepatch(m, TEXT).name = ".klp.rela.vmlinux".into();
        })),
        ("rela-section", BAD, "name does not say", Model(|m| {
            livepatch(m, TEXT).name = ".klp.rela.vmlinux.x".into();
        })),
        ("rela-object-length", Code::NameTooLong, "longer", Model(|m| {
            livepatch(m, TEXT).name = format!(".klp.rela.{}..text", "m".repeat(56));
        })),
        ("rela-object", BAD, "never apply", Model(|m| {
            livepatch(m, MODULE_DATA).name = ".klp.rela.other..data".into();
        })),
        ("rela-entries", BAD, "not a table of relocations", Bytes(|b| {
            set(b, TEXT, ENTSIZE, 16);
        })),
        ("rela-symbols", BAD, "not SHN_LIVEPATCH", Model(|m| {
            let puts = symbol(m, "seq_puts");
            livepatch(m, TEXT).relocations[0].symbol = puts;
        })),
        ("rela-none", BAD, "without effect", Model(|m| {
            livepatch(m, TEXT).relocations[0].kind = RelocationKind::NONE;
        })),
        ("rela-vmlinux", BAD, "forbids", Model(|m| {
            let saved = symbol(m, SAVED);
            livepatch(m, MODULE_DATA).relocations[0].symbol = saved;
        })),
        ("rela-module", Code::ModuleDependency, "may not be loaded", Model(|m| {
            let hook = symbol(m, HOOK);
            livepatch(m, TEXT).relocations[0].symbol = hook;
        })),
        ("rela-special", Code::UnsupportedSection, "is loaded, but", Model(|m| {
            let zeros = Section { data: vec![0; 8], size: 8, ..Section::progbits("__dyndbg", 2, 8) };
            let target = m.add_section(zeros);
            let relas = livepatch(m, MODULE_DATA);
            relas.target = target;
            relas.name = ".klp.rela.nf_tables.__dyndbg".into();
            relas.relocations[0].offset = 0;
        })),
        ("rela-rewritten", Code::UnsupportedSection, "rewrites the bytes", Model(|m| {
            let symbol = symbol(m, "call_hook");
            let kind = RelocationKind::PC32;
            let locks = Section { data: vec![0; 4], size: 4, ..Section::progbits(".smp_locks", 2, 4) };
            let relocations = vec![Relocation { offset: 0, kind, symbol, addend: 1 }];
            m.add_section(Section { relocations, ..locks });
        })),
        ("reloc-livepatch", BAD, "its value is 0", Model(|m| {
            let saved = symbol(m, SAVED);
            section(m, ".data").relocations[0].symbol = saved;
        })),
        ("reloc-addend", BAD, "without addend", Bytes(|b| set(b, ".rela.data", KIND, 9))),
        ("reloc-type", Code::UnsupportedRelocation, "type 9", Model(|m| {
            section(m, ".data").relocations[0].kind = RelocationKind(9);
        })),
        ("reloc-range", BAD, "outside", Model(|m| {
            livepatch(m, TEXT).relocations[0].offset = 1 << 40;
        })),
        ("reloc-symbol", BAD, "which does not exist", Bytes(|b| {
            let at = number(b, header(b, ".rela.data") + OFFSET, 8) + 12;
            b[at..at + 4].copy_from_slice(&9999_u32.to_le_bytes());
        })),
        ("reloc-zero", BAD, "not zero", Model(|m| section(m, ".data").data[0] = 1)),
        ("reloc-overlap", BAD, "overlap", Model(|m| {
            let first = section(m, ".data").relocations[0];
            let near = Relocation { offset: 4, kind: RelocationKind::ABS32, ..first };
            section(m, ".data").relocations.push(near);
        })),
    ]
}

#[rustfmt::skip]
fn content() -> Vec<Case> {
    const FUNCTION: &str = ".quad new_static, old_static";
    const STRINGS: &str = "    .section .kpatch.placeholder_strings,\"a\",@progbits\n";
    vec![
        ("funcs-records", BAD, "sequence of records", Source(&[
            ("old_static, patched_module, 1", "old_static, patched_module, 1, 1")])),
        ("funcs-function", BAD, "names no function", Source(&[
            (FUNCTION, ".quad new_static + 1, old_static")])),
        ("funcs-name", BAD, "no name to patch", Source(&[(FUNCTION, ".quad new_static, 0")])),
        ("funcs-name-length", Code::NameTooLong, "longer", Source(&[
            ("old_show: .asciz \"cmdline_proc_show\"", "old_show: .rept 512\n.ascii \"f\"\n.endr\n.byte 0")])),
        ("funcs-object", BAD, "no object name", Source(&[
            ("new_show, old_show, 0, 0", "new_show, old_show, seq_puts, 0")])),
        ("funcs-object-length", Code::NameTooLong, "longer", Source(&[
            ("new_show, old_show, 0, 0", "new_show, old_show, 9f, 0\n.section .kpatch.strings\n9: .rept 56\n.ascii \"o\"\n.endr\n.byte 0\n.section .kpatch.funcs")])),
        ("funcs-freed", BAD, "names a function that is freed", Source(&[
            ("new_show, old_show, 0, 0", "init_module, old_show, 0, 0")])),
        ("callbacks-records", BAD, "sequence of records", Source(&[
            (STRINGS, "    .section .kpatch.callbacks,\"a\"\n.quad new_show, patched_module, 0, 0\n.section .kpatch.placeholder_strings,\"a\",@progbits\n")])),
        ("callbacks-kind", BAD, "no kind of callback", Source(&[
            (STRINGS, "    .section .kpatch.callbacks,\"a\"\n.quad new_show, patched_module, 4\n.section .kpatch.placeholder_strings,\"a\",@progbits\n")])),
        ("left-sections", BAD, "left of the intermediate", Model(|m| {
            m.add_section(Section::progbits(".kpatch.placeholders", 2, 8));
        })),
        ("runtime-sections", Code::RuntimeConst, "only boot code", Model(|m| {
            m.add_section(Section::progbits("runtime_shift_d_hash_shift", 2, 1));
        })),
        ("runtime-dummy", Code::RuntimeConst, "dummy", Source(&[
            ("    xorl %eax, %eax\n", "    movabsq $0x0123456789abcdef, %r9\n")])),
        ("mcount-function", BAD, "not at a function", Source(&[
            (".quad fentry_new_show", ".quad fentry_new_show, return_show")])),
        ("freed", BAD, "which is freed", Source(&[
            ("    .quad ph_hook\n    .size", "    .quad ph_hook\n    .quad init_module\n    .size")])),
        ("objtool-orc", Code::ObjtoolDidNotRun, "no ORC entry", Source(&[
            ("    .long .exit.text - .\n", "")])),
        ("objtool-returns", Code::ObjtoolDidNotRun, "not a return site", Source(&[
            ("    .long return_helper - .\n", "")])),
        ("objtool-calls", Code::ObjtoolDidNotRun, "not a call site", Source(&[
            ("    .long call_puts - .\n", "")])),
        ("objtool-jumps", Code::ObjtoolDidNotRun, "not a no-op", Source(&[
            ("    .byte 0x66, 0x90\n", "    .byte 0xeb, 0x00\n")])),
        ("ibt-sealed", Code::IndirectTargetSealed, "seals it", Source(&[
            ("    .long lonely - .\n", "    .long helper - .\n")])),
        ("ibt-endbr", Code::IndirectTargetSealed, "without ENDBR64", Source(&[
            ("helper:\n    endbr64\n", "helper:\n    nopl (%rax)\n    nop\n")])),
    ]
}

#[rustfmt::skip]
fn kernel() -> Vec<Case> {
    const NOT_FOR: Code = Code::NotForKernel;
    vec![
        ("for-vermagic", NOT_FOR, "the kernel is `6.12.1-test SMP", Kernel(|k| {
            k.vermagic = "6.12.1-test SMP mod_unload modversions ";
        })),
        ("for-struct-module", NOT_FOR, "`struct module` has 720", Kernel(|k| k.struct_module = 712)),
        ("for-symbol", NOT_FOR, "not in the kernel's symbol table", Kernel(|k| {
            k.renamed = ("saved_command_line", "other");
        })),
        ("for-unique", NOT_FOR, "is 2 times", ForKernel(&[
            ("sched_schedstats,2", "sched_schedstats,0")])),
        ("for-position", NOT_FOR, "there is no position 3", ForKernel(&[
            ("sched_schedstats,2", "sched_schedstats,3")])),
        ("for-module-symbol", NOT_FOR, "not in the symbol table of `nf_tables`", Kernel(|k| {
            k.renamed = ("nft_hook.isra.0", "other");
        })),
        ("for-module", NOT_FOR, "there is no module `nf_table`", ForKernel(&[
            ("patched_module: .asciz \"nf_tables\"", "patched_module: .asciz \"nf_table\""),
            ("applied: .asciz \"nf_tables\"", "applied: .asciz \"nf_table\""),
            (".klp.sym.nf_tables.", ".klp.sym.nf_table."),
        ])),
        ("for-function", NOT_FOR, "`cmdline_proc_show` is not in", Kernel(|k| {
            k.renamed = ("cmdline_proc_show", "other");
        })),
        ("func-ftrace", Code::NoFtraceEntry, "no ftrace entry", Kernel(|k| k.traced = false)),
        ("func-noinstr", Code::NoFtraceEntry, "not be instrumented", Kernel(|k| {
            k.show = "noinstr";
        })),
        ("func-entry", Code::NoFtraceEntry, "in assembly", Kernel(|k| k.show = "entry")),
        ("func-init", Code::InitChanged, "is freed", Kernel(|k| k.show = "init")),
        ("reach-sealed", Code::NotReachable, "takes the address, but the kernel has sealed", ForKernel(&[
            ("    .quad ph_hook\n    .size", "    .quad ph_hook\n    .quad make_task_dead\n    .size")])),
        ("export-there", NOT_FOR, "neither kernel nor modules", Kernel(|k| {
            k.exports[1].0 = "seq_put";
        })),
        ("export-namespace", NOT_FOR, "which is not imported", Kernel(|k| k.exports[1].1 = "SPACE")),
        ("export-version", NOT_FOR, "has CRC 0x22222222 of it", Kernel(|k| k.exports[1].2 = 5)),
        ("export-layout", NOT_FOR, "has CRC 0x11111111 of it", Kernel(|k| k.exports[0].2 = 5)),
    ]
}

/// One breakage for each rule.
pub(crate) fn cases() -> Vec<Case> {
    [file(), symbols(), relocations(), content(), kernel()].into_iter().flatten().collect()
}
