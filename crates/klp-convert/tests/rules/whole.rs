//! The converter as a whole: files, exit codes, binutils, damaged input.

use std::path::Path;
use std::process::Command;
use std::process::Output;

use crate::fixture::assemble;
use klp_convert::Target;
use klp_convert::convert_file;

fn run(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_klp-convert")).args(arguments).output().unwrap()
}

#[test]
fn binutils_see_the_documented_form() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in.ko"), dir.path().join("out.ko"));
    std::fs::write(&input, assemble(&[])).unwrap();
    convert_file(&input, &output, &Target::default()).unwrap();
    let run = Command::new("readelf").arg("-WSrs").arg(&output).output().unwrap();
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success() && run.stderr.is_empty(), "{text}");
    let section = text.lines().find(|l| l.contains("] .klp.rela.vmlinux..text")).unwrap();
    assert!(section.contains(" RELA ") && section.contains(" AIo "), "{section}");
    let symbol = text.lines().find(|l| l.ends_with(".klp.sym.vmlinux.sched_schedstats,2")).unwrap();
    assert!(symbol.contains("GLOBAL DEFAULT OS [0xff20]"), "{symbol}");
    assert!(text.contains("Relocation section '.klp.rela.nf_tables..data'"), "{text}");
    assert!(!text.contains("placeholder"), "{text}");
}

#[test]
fn exit_codes_tell_the_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (dir.path().join("good.ko"), dir.path().join("bad.ko"));
    let output = dir.path().join("out.ko");
    std::fs::write(&good, assemble(&[])).unwrap();
    std::fs::write(&bad, assemble(&[("    .long return_helper - .\n", "")])).unwrap();
    let verify = Path::new("verify");

    assert_eq!(run(&[&good, &output]).status.code(), Some(0));
    assert_eq!(run(&[verify, &output]).status.code(), Some(0));
    let whole = std::fs::read(&output).unwrap();

    let refused = run(&[&bad, &output]);
    assert_eq!(refused.status.code(), Some(3));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("KPB0602") && text.contains("`helper`") && text.contains("bad.ko"));
    assert_eq!(run(&[verify, &good]).status.code(), Some(3));

    assert_eq!(run(&[&dir.path().join("missing.ko"), &output]).status.code(), Some(1));
    assert_eq!(run(&[&good, &dir.path().join("missing/out.ko")]).status.code(), Some(1));
    assert_eq!(run(&[&good]).status.code(), Some(2));
    // What was refused or failed has neither touched the output nor left anything.
    assert_eq!(std::fs::read(&output).unwrap(), whole);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn damaged_modules_never_panic() {
    let bytes = assemble(&[]);
    let finished = {
        let module = klp_convert::convert(&kpatch_elf::read(&bytes).unwrap()).unwrap();
        kpatch_elf::write(&module).unwrap()
    };
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let mut converted = 0;
    let mut refused = 0;
    for round in 0..6000 {
        let mut damage = |bytes: &[u8]| {
            let mut damaged = bytes.to_vec();
            for _ in 0..1 + random() % 4 {
                let at = match round % 3 {
                    0 => random() % 64,
                    // The section headers are at the end.
                    1 => damaged.len() - 1 - random() % 4096.min(damaged.len()),
                    _ => random() % damaged.len(),
                };
                damaged[at] = [0, 0xff, 0x80, random() as u8][random() % 4];
            }
            if round % 7 == 0 {
                damaged.truncate(random() % bytes.len());
            }
            damaged
        };
        if let Ok(object) = kpatch_elf::read(&damage(&bytes)) {
            if let Ok(module) = klp_convert::convert(&object) {
                let _ = klp_convert::check_objtool_ran(&module);
                let _ = klp_convert::check_indirect_targets(&module);
                let _ = kpatch_elf::write(&module);
                converted += 1;
            }
        }
        refused += usize::from(klp_convert::verify(&damage(&finished)).is_err());
    }
    // The damage reaches all phases, and most of it is noticed.
    assert!(converted > 100 && refused > 3000, "{converted} {refused}");
}
