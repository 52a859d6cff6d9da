//! Each trace that objtool must leave, taken away once.

use crate::fixture::intermediate;
use crate::fixture::refused;
use klp_convert::check_indirect_targets;
use klp_convert::check_objtool_ran;
use klp_convert::convert;
use kpatch_refusal::Code;

#[test]
fn the_fixture_passes_before_and_after() {
    let module = intermediate(&[]);
    for module in [convert(&module).unwrap(), module] {
        check_objtool_ran(&module).unwrap();
        check_indirect_targets(&module).unwrap();
    }
}

#[test]
fn traces_of_objtool_are_missed() {
    let cases = [
        ("    .long .init.text - .\n", "    .long text_end - .\n", "no ORC entry"),
        ("    .section .orc_unwind_ip", "    .section .orc_elsewhere", "no ORC entry"),
        ("    .long text_end - .\n", "    .long return_show + 5 - .\n", "no ORC entry"),
        ("    .long return_helper - .\n", "", "not a return site"),
        ("    .section .return_sites", "    .section .elsewhere", "not a return site"),
        ("    .long call_puts - .\n", "", "not a call site"),
        ("    .long call_hook - .\n", "", "not a call site"),
        ("    .byte 0x66, 0x90\n", "    .byte 0xeb, 0x00\n", "not a no-op"),
    ];
    for (from, to, fragment) in cases {
        let module = convert(&intermediate(&[(from, to)])).unwrap();
        refused(check_objtool_ran(&module), Code::ObjtoolDidNotRun, fragment);
    }
}

#[test]
fn what_a_configuration_does_not_have_is_not_demanded() {
    let cases = [
        // No call-depth tracking.
        ("    .section .call_sites", "    .section .elsewhere"),
        // A static branch of a kernel without the hack.
        ("    .quad ph_key + 2 - .", "    .quad ph_key - ."),
        // A long no-op.
        ("    .byte 0x66, 0x90\n", "    .byte 0x0f, 0x1f, 0x44, 0, 0\n"),
        // Calls of the ftrace entry are not tracked.
        ("    .long call_dead - .\n", "    .long call_dead - .\n    .long fentry_new_show - .\n"),
    ];
    for change in cases {
        let module = convert(&intermediate(&[change])).unwrap();
        check_objtool_ran(&module).unwrap();
    }
}

#[test]
fn sealed_targets_are_refused() {
    let seal = "    .long lonely - .";
    for function in ["helper", "init_module", "cleanup_module", "new_show", "new_static"] {
        let more = format!("{seal}\n    .long {function} - .");
        let module = convert(&intermediate(&[(seal, &more)])).unwrap();
        refused(check_indirect_targets(&module), Code::IndirectTargetSealed, "IBT seals it");
    }
}

#[test]
fn every_way_to_take_an_address_is_seen() {
    let ways = [
        "    leaq lonely(%rip), %rsi",
        "    movq $lonely, %rsi",
        "    movq $lonely, 8(%rdi)",
        "    cmpq $lonely, ph_saved(%rip)",
        "    movabsq $lonely, %rsi",
        "    pushq $lonely",
    ];
    for way in ways {
        let change = ("    leaq helper(%rip), %rsi", way);
        let module = convert(&intermediate(&[change])).unwrap();
        refused(check_indirect_targets(&module), Code::IndirectTargetSealed, "`new_show` takes");
    }
    let direct = ["    call lonely", "    jmp lonely", "    je lonely", "    nopl lonely(%rip)"];
    for way in direct {
        let change = ("    leaq helper(%rip), %rsi", way);
        check_indirect_targets(&intermediate(&[change])).unwrap();
    }
}

#[test]
fn targets_without_endbr_are_refused() {
    let change = ("helper:\n    endbr64\n", "helper:\n    nop\n");
    let result = check_indirect_targets(&intermediate(&[change]));
    refused(result, Code::IndirectTargetSealed, "without ENDBR64");
    // The padding in front of a function is not the function.
    let change = ("helper:\n    endbr64\n", "    endbr64\nhelper:\n    nop\n");
    let result = check_indirect_targets(&intermediate(&[change]));
    refused(result, Code::IndirectTargetSealed, "without ENDBR64");
}

#[test]
fn callbacks_are_called_and_patched_functions_are_not() {
    let function = ".quad new_static, old_static, patched_module, 1\n";
    let callback =
        "    .section .kpatch.callbacks,\"a\",@progbits\n    .quad new_static, patched_module, 0\n";
    check_indirect_targets(&intermediate(&[])).unwrap();
    let change = (function, format!("{function}{callback}"));
    let result = check_indirect_targets(&intermediate(&[(change.0, &change.1)]));
    refused(result, Code::IndirectTargetSealed, "without ENDBR64");
}
