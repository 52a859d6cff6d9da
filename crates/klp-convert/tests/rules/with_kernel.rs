//! The finished module held against a kernel: what fits, and what is known only in part.

use crate::fixture::intermediate;
use crate::kernel::Spec;
use klp_convert::convert;
use klp_convert::verify;
use kpatch_elf::ObjectFile;
use kpatch_elf::write;
use kpatch_refusal::Code;
use kpatch_refusal::Refusals;
use shipped_kernel::testing::Mutations;

fn finished(changes: &[(&str, &str)]) -> ObjectFile {
    convert(&intermediate(changes)).unwrap()
}

#[test]
fn the_kernel_that_the_module_is_for_takes_it() {
    let report = Spec::default().verify(&write(&finished(&[])).unwrap()).unwrap();
    assert!(report.symbols.iter().all(|symbol| symbol.found.is_some()));
    assert!(report.functions.iter().all(|function| function.found.is_some()));
    let text = report.to_string();
    assert!(text.contains("saved_command_line,0: ffffffff81"), "{text}");
    assert!(text.contains("nft_hook.isra.0,3: .text+0x40 t"), "{text}");
    assert!(text.contains("patches `nft_old`,1 of `nf_tables`: .text+0x60 t"), "{text}");
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.contains(r#""place":{"address":"0xffffffff81"#), "{json}");

    let without = Spec { modules: false, ..Spec::default() };
    let report = without.verify(&write(&finished(&[])).unwrap()).unwrap();
    assert!(report.to_string().contains("nft_hook.isra.0,3: not looked up"), "{report}");
}

#[test]
fn only_pointers_to_what_is_sealed_are_refused() {
    const NOT: Code = Code::NotReachable;
    let verify = |spec: &Spec, changes: &[(&str, &str)]| {
        let result = spec.verify(&write(&finished(changes)).unwrap());
        result.map(|_| ()).map_err(|Refusals(all)| all.iter().map(|r| r.code).collect::<Vec<_>>())
    };
    // `make_task_dead` is sealed; the fixture calls it.
    let call = "    call make_task_dead\n";
    let with =
        |instruction: &str| verify(&Spec::default(), &[(call, &format!("{call}{instruction}"))]);
    assert_eq!(with("jmp make_task_dead\njne make_task_dead\n"), Ok(()));
    assert_eq!(with("leaq make_task_dead(%rip), %r9\n"), Err(vec![NOT]));
    assert_eq!(with("movq $make_task_dead, %rdi\n"), Err(vec![NOT]));
    assert_eq!(with("movabsq $make_task_dead, %rdi\n"), Err(vec![NOT]));
    assert_eq!(with("cmpl $0, make_task_dead(%rip)\n"), Ok(()), "reads what is there");
    assert_eq!(with("leaq make_task_dead+1(%rip), %r9\n"), Ok(()), "not its begin");
    assert_eq!(with("leaq seq_puts(%rip), %rdi\n"), Ok(()), "an export with ENDBR64");
    assert_eq!(with("leaq ph_saved(%rip), %rdi\n"), Ok(()), "data");
    let lea = &[(call, "    call make_task_dead\n    leaq make_task_dead(%rip), %r9\n")];
    assert_eq!(verify(&Spec { ibt: false, ..Spec::default() }, lea), Ok(()), "no IBT");
    // The fixture's data points to a function of the module.
    let sealed = &["lonely", "nft_hook"];
    assert_eq!(verify(&Spec { sealed, ..Spec::default() }, &[]), Err(vec![NOT]));
}

#[test]
fn exports_of_modules_need_them_loaded() {
    use shipped_kernel::symvers;
    let listed = "0x11111111\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n\
        0x22222222\tseq_puts\tdrivers/seq-file\tEXPORT_SYMBOL\t\n\
        0x33333333\t__fentry__\tvmlinux\tEXPORT_SYMBOL\t\n\
        0x44444444\t__x86_return_thunk\tvmlinux\tEXPORT_SYMBOL\tSPACE\n";
    let exports = symvers::parse("Module.symvers", listed).unwrap();
    let verify = |changes: &[(&str, &str)]| {
        let target = klp_convert::Target { exports: Some(&exports), ..Default::default() };
        klp_convert::verify_for(&write(&finished(changes)).unwrap(), &target)
    };
    let Refusals(all) = verify(&[]).unwrap_err();
    assert_eq!(all.len(), 2, "{all:?}");
    let both = "depends=seq-file\"\n    .asciz \"import_ns=SPACE";
    verify(&[("depends=", both)]).unwrap();
    // Without a list the exports of a module that is not given cannot be known.
    let spec = Spec { modules: false, exports: vec![("x", "", 1)], ..Spec::default() };
    assert_eq!(spec.verify(&write(&finished(&[])).unwrap()).unwrap_err().0.len(), 3);
    spec.verify(&write(&finished(&[("depends=", "depends=other")])).unwrap()).unwrap();
}

#[test]
fn a_signature_may_follow() {
    let mut bytes = write(&finished(&[])).unwrap();
    bytes.extend([7; 40]);
    bytes.extend([0, 0, 2, 0, 0, 0, 0, 0]);
    bytes.extend(40_u32.to_be_bytes());
    bytes.extend(b"~Module signature appended~\n");
    verify(&bytes).unwrap();
    bytes.insert(bytes.len() - 60, 7);
    assert!(verify(&bytes).is_err());
}

#[test]
fn each_part_of_a_kernel_is_read_by_its_name() {
    use std::process::Command;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    std::fs::write(file("good.ko"), write(&finished(&[])).unwrap()).unwrap();
    let (image, module) = Spec::default().files();
    std::fs::write(file("vmlinuz"), image).unwrap();
    std::fs::create_dir(file("modules")).unwrap();
    std::fs::write(file("modules/nf-tables.ko"), module).unwrap();
    std::fs::write(file("symvers"), "0x1\tx\tvmlinux\tEXPORT_SYMBOL\n").unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_klp-convert"));
        let run = command.current_dir(dir.path()).args(["verify", "good.ko"]).args(arguments);
        let output = run.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = run(&["--image", "vmlinuz", "--modules", "modules"]);
    assert!(code == Some(0) && text.contains("nft_hook.isra.0,3: .text+0x40 t"), "{text}");
    let (code, text) = run(&["--image", "vmlinuz", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, json["functions"][0]["found"]["kind"].as_str()), (Some(0), Some("t")));
    let (code, text) = run(&["--symvers", "symvers"]);
    assert!(code == Some(3) && text.contains("KPB0608") && text.contains("good.ko"), "{text}");
    assert_eq!(run(&["--image", "good.ko"]).0, Some(3));
    assert_eq!(run(&["--modules", "nowhere"]).0, Some(3));
}

#[test]
fn damaged_modules_never_panic() {
    let bytes = write(&finished(&[])).unwrap();
    let spec = Spec::default();
    let mut refused = 0;
    for data in Mutations::of(&bytes, 400) {
        refused += usize::from(spec.verify(&data).is_err());
        drop(klp_convert::modules_named(&data));
    }
    // One byte at a time reaches further.
    for at in (0..bytes.len()).step_by(31) {
        let mut data = bytes.clone();
        data[at] ^= 0x81;
        refused += usize::from(spec.verify(&data).is_err());
    }
    assert!(refused > 400, "{refused} damaged modules were refused");
}
