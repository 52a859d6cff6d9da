//! The build-id gate: each rule broken once.

use crate::fixture::intermediate;
use crate::fixture::refused;
use klp_convert::Report;
use klp_convert::convert;
use klp_convert::verify;
use kpatch_elf::write;
use kpatch_refusal::Code;
use kpatch_refusal::Refusals;

/// The fixture with this `.kpatch.gate` and these lines in `.modinfo`, verified.
fn with_gate(table: &str, modinfo: &[&str]) -> Result<Report, Refusals> {
    let name = "    .asciz \"name=probe\"\n";
    let lines: String = modinfo.iter().map(|line| format!("    .asciz \"{line}\"\n")).collect();
    let strings = "patched_module: .asciz \"nf_tables\"\n";
    let more = "kernel: .asciz \"vmlinux\"\nother: .asciz \"ext4\"\nempty: .asciz \"\"\n";
    let gate = format!("{strings}{more}    .section .kpatch.gate,\"a\",@progbits\n{table}\n");
    let saved = "saved: .asciz";
    let meanings = "start: .asciz \".klp.sym.vmlinux.__start_notes,0\"\n\
                    stop: .asciz \".klp.sym.vmlinux.__stop_notes,2\"\n";
    let records = "    .quad ph_hook, applied, hook\n";
    let notes = "    .quad ph_start, vmlinux, start\n    .quad ph_stop, vmlinux, stop\n";
    let weak = "    .weak ph_saved,";
    let changes = [
        (name, format!("{name}{lines}")),
        (strings, gate),
        (saved, format!("{meanings}{saved}")),
        (records, format!("{records}{notes}")),
        (weak, format!("    .weak ph_start, ph_stop\n{weak}")),
    ];
    let changes: Vec<(&str, &str)> = changes.iter().map(|(old, new)| (*old, &**new)).collect();
    verify(&write(&convert(&intermediate(&changes)).unwrap()).unwrap())
}

const OF_KERNEL: &str = "    .quad kernel, ph_start, ph_stop, 20, 0x1111, 0, 0x22, 0\n";
const OF_MODULE: &str = "    .quad patched_module, 0, 0, 2, 0xabcd, 0, 0, 0\n";
const BUILT_FOR: [&str; 2] = [
    "kpatch_built_for=vmlinux:1111000000000000000000000000000022000000",
    "kpatch_built_for=nf_tables:cdab",
];

#[test]
fn a_whole_gate_is_reported() {
    let report = with_gate(&format!("{OF_KERNEL}{OF_MODULE}"), &BUILT_FOR).unwrap();
    assert_eq!(report.built_for, BUILT_FOR.map(|line| &line["kpatch_built_for=".len()..]));
    assert!(report.to_string().contains("built for nf_tables:cdab"));
    // The order is free, and so is whether there is a gate at all.
    with_gate(&format!("{OF_MODULE}{OF_KERNEL}"), &BUILT_FOR).unwrap();
    with_gate("", &[]).unwrap();
    with_gate("", &["kpatch_build_id_check=off"]).unwrap();
}

#[test]
fn table_of_build_ids() {
    let breaks = |table: &str, fragment: &str| {
        refused(with_gate(table, &BUILT_FOR), Code::ModuleMalformed, fragment);
    };
    breaks(OF_KERNEL, "no record of `nf_tables`");
    breaks(OF_MODULE, "no record of `vmlinux`");
    let both = format!("{OF_KERNEL}{OF_MODULE}");
    breaks(&format!("{both}    .quad 0"), "sequence of records");
    breaks(&format!("{both}{OF_MODULE}"), "is the second of `nf_tables`");
    breaks(&format!("{both}    .quad other, 0, 0, 1, 2, 0, 0, 0"), "`ext4`, which is not patched");
    let cases = [
        ("patched_module, 0, 0, 2", "0, 0, 0, 2", "no object name"),
        ("patched_module, 0, 0, 2", "seq_puts, 0, 0, 2", "no object name"),
        ("patched_module, 0, 0, 2", "empty, 0, 0, 2", "no object name"),
        ("0, 0, 2, 0xabcd, 0", "0, 0, 0, 0xabcd, 0", "no build-id"),
        ("0, 0, 2, 0xabcd, 0", "0, 0, 0, 0, 0", "no build-id"),
        ("0, 0, 2, 0xabcd, 0", "0, 0, 33, 0xabcd, 0", "no build-id"),
        ("0, 0, 2, 0xabcd, 0", "0, 0, 2, 0xabcd01, 0", "no build-id"),
        ("0, 0, 2, 0xabcd, 0", "0, 0, 2, 0xabcd, helper", "no build-id"),
        ("module, 0, 0, 2", "module, ph_start, ph_stop, 2", "not the kernel's"),
        ("module, 0, 0, 2", "module, 0, ph_stop, 2", "not the kernel's"),
        ("ph_start, ph_stop", "0, ph_stop", "where the kernel's notes are"),
        ("ph_start, ph_stop", "ph_start, 0", "where the kernel's notes are"),
        ("ph_start, ph_stop", "ph_stop, ph_start", "where the kernel's notes are"),
        ("ph_start, ph_stop", "ph_start, ph_saved", "where the kernel's notes are"),
        ("ph_start, ph_stop", "ph_start, ph_stop + 4", "where the kernel's notes are"),
        ("ph_start, ph_stop", "helper, ph_stop", "where the kernel's notes are"),
    ];
    for (from, to, fragment) in cases {
        assert_eq!(both.matches(from).count(), 1, "`{from}`");
        breaks(&both.replace(from, to), fragment);
    }
}

#[test]
fn modinfo_tells_what_is_checked() {
    let both = format!("{OF_KERNEL}{OF_MODULE}");
    let cases: [(&str, &[&str], &str); 6] = [
        (&both, &BUILT_FOR[..1], "nf_tables:cdab` is in one"),
        (&both, &[], "vmlinux:1111"),
        (&both, &[BUILT_FOR[0], "kpatch_built_for=nf_tables:cdad"], "nf_tables:cdad` is in one"),
        (&both, &[BUILT_FOR[0], BUILT_FOR[1], "kpatch_built_for=ext4:01"], "ext4:01` is in one"),
        ("", &BUILT_FOR[..1], "vmlinux:1111"),
        (&both, &[BUILT_FOR[0], BUILT_FOR[1], "kpatch_build_id_check=off"], "are checked"),
    ];
    for (table, modinfo, fragment) in cases {
        refused(with_gate(table, modinfo), Code::ModuleMalformed, fragment);
    }
}
