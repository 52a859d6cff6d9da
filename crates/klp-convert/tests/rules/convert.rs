//! Each rule of the conversion, broken once.

use crate::fixture::intermediate;
use crate::fixture::refused;
use klp_convert::convert;
use kpatch_elf::Definition;
use kpatch_elf::RelocationKind;
use kpatch_elf::SymbolKind;
use kpatch_refusal::Code;

#[test]
fn placeholders_become_livepatch_symbols() {
    let before = intermediate(&[]);
    let module = convert(&before).unwrap();
    let names: Vec<&str> = module.livepatch.iter().map(|l| l.name.as_str()).collect();
    let expected = [
        ".klp.rela.nf_tables..data",
        ".klp.rela.nf_tables..text",
        ".klp.rela.vmlinux..text",
        ".klp.rela.vmlinux.__jump_table",
    ];
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    for relas in &module.livepatch {
        assert!(relas.name.ends_with(&module[relas.target].name), "{}", relas.name);
        for relocation in &relas.relocations {
            let symbol = &module[relocation.symbol];
            assert_eq!(symbol.definition, Definition::Livepatch);
            assert!(symbol.name.starts_with(".klp.sym."), "{}", symbol.name);
        }
    }
    // Two placeholders for one symbol are one symbol now, with the type that one of them had.
    let saved: Vec<_> =
        module.symbols.iter().filter(|s| s.name.contains("saved_command_line")).collect();
    assert_eq!(saved.len(), 1);
    assert_eq!(saved[0].kind, SymbolKind::Object);
    assert!(!module.sections.iter().any(|s| s.name.starts_with(".kpatch.placeholder")));
    // Nothing is lost: every relocation of a loaded section is in one of the two places.
    let count = |o: &kpatch_elf::ObjectFile| {
        let sections = o.sections.iter().filter(|s| !s.name.starts_with(".kpatch.placeholder"));
        let ordinary: usize = sections.filter(|s| s.has(2)).map(|s| s.relocations.len()).sum();
        ordinary + o.livepatch.iter().map(|l| l.relocations.len()).sum::<usize>()
    };
    assert_eq!(count(&module), count(&before));
}

#[test]
fn debug_sections_stay_consistent() {
    let module = convert(&intermediate(&[])).unwrap();
    let debug = &module[module.section_by_name(".debug_info").unwrap()];
    let names: Vec<&str> =
        debug.relocations.iter().map(|r| module[r.symbol].name.as_str()).collect();
    // The reference to the table's strings is gone with them.
    assert_eq!(names, [".klp.sym.vmlinux.saved_command_line,0", "new_show"]);
}

#[test]
fn the_result_does_not_depend_on_chance() {
    let before = intermediate(&[]);
    assert_eq!(convert(&before).unwrap(), convert(&before).unwrap());
}

#[test]
fn what_objtool_has_replaced_is_dropped() {
    let mut before = intermediate(&[]);
    let hook = before.symbols.iter().position(|s| s.name == "ph_hook").unwrap();
    for relocation in before.sections.iter_mut().flat_map(|s| &mut s.relocations) {
        if relocation.symbol.0 as usize == hook && relocation.kind != RelocationKind::ABS64 {
            relocation.kind = RelocationKind::NONE;
        }
    }
    let module = convert(&before).unwrap();
    assert!(module.livepatch.iter().all(|l| l.name != ".klp.rela.nf_tables..text"));
}

#[test]
fn a_second_conversion_is_refused() {
    let module = convert(&intermediate(&[])).unwrap();
    refused(convert(&module), Code::ModuleMalformed, "converted already");
}

#[test]
fn weak_undefined_symbols_are_refused() {
    for stray in ["stray", ".kpatch.placeholder.vmlinux.vmlinux.x.0", ".klp.sym.vmlinux.x,0"] {
        let data = format!("    .weak \"{stray}\"\n    .quad \"{stray}\"\noperations:");
        let module = intermediate(&[("operations:\n", &(data + "\n"))]);
        refused(convert(&module), Code::WeakUndefinedLeft, "address 0");
    }
}

#[test]
fn placeholders_outside_the_table_are_refused() {
    let module =
        intermediate(&[("operations:\n", "operations: .quad .kpatch.placeholder.a.b.c.0\n")]);
    refused(convert(&module), Code::ModuleMalformed, "not in the table");
}

#[test]
fn relocations_that_the_loader_does_not_know_are_refused() {
    let change = ("    movq ph_saved(%rip), %rdi", "    movq ph_saved@GOTPCREL(%rip), %rdi");
    let result = convert(&intermediate(&[change]));
    refused(result, Code::UnsupportedRelocation, "not known to the module loader");
}

#[test]
fn targets_that_are_not_zero_are_refused() {
    for symbol in ["ph_saved", "printk"] {
        let change = format!("operations:\n    .reloc ., R_X86_64_32S, {symbol}\n    .quad 256\n");
        let result = convert(&intermediate(&[("operations:\n", &change)]));
        refused(result, Code::ModuleMalformed, "not zero");
    }
}

#[test]
fn sections_read_at_load_take_no_late_relocations() {
    let cases = [
        ("replacement:\n    mfence", "replacement:\n    call ph_hook", "processes the section"),
        ("    .quad ph_key + 2 - .", "    .quad ph_hook + 2 - .", "processes the section"),
        ("    .quad fentry_new_show", "    .quad ph_hook", "processes the section"),
        ("    endbr64\n    nop\n", "    endbr64\n    call ph_hook\n", "freed"),
        ("    .quad new_show, old_show, 0, 0", "    .quad new_show, old_show, ph_hook, 0", "core"),
        ("    .data\n", "    .section .data..percpu,\"aw\"\n    .quad 0\n", "each CPU"),
    ];
    for (from, to, fragment) in cases {
        let result = convert(&intermediate(&[(from, to)]));
        refused(result, Code::UnsupportedSection, fragment);
    }
}

#[test]
fn rewritten_code_takes_no_late_relocations() {
    let cases = [
        ("alternative_site:\n    lfence\n", "    nop\n    nop\n    lfence\n", "alternatives"),
        ("branch_site:\n    .byte 0x66, 0x90\n", "    nop\n", "a static branch"),
        ("return_show:\n", "", "a return thunk"),
        ("fentry_new_show:\n", "", "the ftrace entry"),
    ];
    for (from, to, what) in cases {
        let label = ["alternative_site:", "branch_site:", "return_show:", "fentry_new_show:"]
            .into_iter()
            .find(|label| from.starts_with(label))
            .unwrap();
        let hook = format!("call_hook:\n{label}\n");
        let result = convert(&intermediate(&[(from, to), ("call_hook:\n", &hook)]));
        refused(result, Code::UnsupportedSection, what);
    }
    // The same for vmlinux, whose symbols are known in time.
    let dead = "call_dead:\nalternative_site:\n";
    let early = [("alternative_site:\n", ""), ("call_dead:\n", dead)];
    convert(&intermediate(&early)).unwrap();
}

#[test]
fn an_unknown_layout_of_alternatives_is_refused() {
    let change = ("    .long 7\n    .byte 3, 3", "    .long 7, 7, 7\n    .byte 3, 3");
    refused(convert(&intermediate(&[change])), Code::ModuleMalformed, ".altinstructions");
    // Before Linux 6.3.
    let older = ("    .long 7\n    .byte 3, 3", "    .short 7\n    .byte 3, 3");
    convert(&intermediate(&[older])).unwrap();
}

#[test]
fn names_that_the_kernel_would_cut_are_refused() {
    let long = format!("applied: .asciz \"{}\"", "m".repeat(56));
    let result = convert(&intermediate(&[("applied: .asciz \"nf_tables\"", &long)]));
    refused(result, Code::NameTooLong, "longer than");
    let long = format!(".klp.sym.vmlinux.{},2", "s".repeat(512));
    let result = convert(&intermediate(&[(".klp.sym.vmlinux.sched_schedstats,2", &long)]));
    refused(result, Code::NameTooLong, "longer than");
}

#[test]
fn malformed_tables_are_refused() {
    let cases = [
        ("    .quad ph_key, vmlinux, key", "    .quad ph_key, vmlinux, 0", "three pointers"),
        ("    .quad ph_key, vmlinux, key", "    .quad ph_key, vmlinux", "empty records"),
        ("    .quad ph_key, vmlinux, key", "    .quad ph_key, old_show, key", "not a string"),
        ("    .quad ph_key, vmlinux, key", "    .quad ph_key + 8, vmlinux, key", "no placeholder"),
        (
            "    .quad ph_key, vmlinux, key",
            "    .quad lonely, vmlinux, key",
            "defined in the module",
        ),
        ("    .quad ph_again, vmlinux, saved", "    .quad ph_saved, vmlinux, key", "stands for"),
        (".klp.sym.vmlinux.sched_schedstats,2", ".klp.sym.vmlinux.x,-1", "not a livepatch name"),
        (".klp.sym.vmlinux.sched_schedstats,2", "sched_schedstats", "not a livepatch name"),
        ("applied: .asciz \"nf_tables\"", "applied: .asciz \"nf.tables\"", "ends the name"),
        ("hook: .asciz", "hook: .ascii", "not a string"),
    ];
    for (from, to, fragment) in cases {
        refused(convert(&intermediate(&[(from, to)])), Code::ModuleMalformed, fragment);
    }
}

#[test]
fn objects_must_be_there_when_a_relocation_is_applied() {
    let change = ("    .quad ph_saved, vmlinux, saved\n    .quad ph_key", "    .quad ph_key");
    let late = ("    .quad ph_key, vmlinux, key", "    .quad ph_key, applied, key");
    refused(convert(&intermediate(&[change, late])), Code::ModuleMalformed, "forbids");
    let early = ("    .quad ph_hook, applied, hook", "    .quad ph_hook, vmlinux, hook");
    refused(convert(&intermediate(&[early])), Code::ModuleDependency, "may not be loaded");
}

#[test]
fn loaded_sections_may_not_use_the_tables() {
    let change = ("operations:\n", "operations: .quad vmlinux\n");
    refused(convert(&intermediate(&[change])), Code::ModuleMalformed, "is removed");
}
