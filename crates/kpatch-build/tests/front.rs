//! The traps of compiling parts of a real kernel: each case is a patch to the shipped kernel's
//! source, taken as far as both objects.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use kpatch_build::compile_database::Owner;
use kpatch_refusal::Code;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

/// Sections whose content is not the same on both sides, debug information apart: functions as
/// disassembled with relocations, everything else as bytes.
fn changed_sections(original: &Path, patched: &Path) -> BTreeSet<String> {
    let sections = |object: &Path| -> BTreeSet<(String, String)> {
        let show = |arguments: &[&str], marker: &str| -> Vec<(String, String)> {
            let output = Command::new("objdump").args(arguments).arg(object).output().unwrap();
            assert!(output.status.success());
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let bodies = text.split(marker).skip(1).filter_map(|body| body.split_once(":\n"));
            bodies.map(|(name, body)| (name.to_owned(), body.to_owned())).collect()
        };
        let mut all = show(&["-dr", "--no-show-raw-insn"], "\nDisassembly of section ");
        all.extend(show(&["-s"], "\nContents of section "));
        all.retain(|(name, _)| !name.starts_with(".debug"));
        assert!(all.len() > 8, "objdump shows little of {}", object.display());
        all.into_iter().collect()
    };
    let (old, new) = (sections(original), sections(patched));
    old.symmetric_difference(&new).map(|(name, _)| name.clone()).collect()
}

fn refusals(error: anyhow::Error) -> Vec<Refusal> {
    match error.downcast::<Refusals>() {
        Ok(refusals) => refusals.0,
        Err(error) => panic!("no refusal: {error:?}"),
    }
}

#[test]
fn one_line_changes_one_function() {
    let Some(kernel) = common::kernel() else { return };
    let work = tempfile::tempdir().unwrap();
    let before = std::fs::read(kernel.source.join("net/ipv4/tcp_input.c")).unwrap();
    let new = ["", "\t\t/* not there */", "\t\terr = EHOSTUNREACH;"];
    let patch = kernel.replace("net/ipv4/tcp_input.c", "\t\terr = ECONNREFUSED;", &new);
    let front = kernel.front(work.path(), &[&patch]).unwrap();
    assert_eq!(front.pairs.len(), 1);
    let pair = &front.pairs[0];
    assert_eq!(pair.unit.owner, Owner::Vmlinux);
    let changed = changed_sections(&pair.original, &pair.patched);
    assert_eq!(changed, BTreeSet::from([".text.tcp_reset".to_owned()]));
    assert_eq!(std::fs::read(kernel.source.join("net/ipv4/tcp_input.c")).unwrap(), before);
}

#[test]
fn an_odd_object_path_has_the_right_flags_and_owner() {
    let Some(kernel) = common::kernel() else { return };
    let work = tempfile::tempdir().unwrap();
    let line = "\tr = kvm_vfio_ops_init();";
    let new = "\tr = kvm_vfio_ops_init() ? -EBUSY : 0;";
    let patch = kernel.replace("virt/kvm/kvm_main.c", line, &[new]);
    let front = kernel.front(work.path(), &[&patch]).unwrap();
    let unit = &front.pairs[0].unit;
    assert_eq!(unit.object, "arch/x86/kvm/../../../virt/kvm/kvm_main.o");
    assert_eq!(unit.owner, Owner::Module { name: "kvm".into(), path: "arch/x86/kvm/kvm".into() });
    let changed = changed_sections(&front.pairs[0].original, &front.pairs[0].patched);
    // Newer compilers split the way out of an error off.
    assert!(changed.contains(".text.kvm_init"), "{changed:?}");
    assert!(changed.iter().all(|section| section.ends_with(".kvm_init")), "{changed:?}");
}

#[test]
fn a_file_whose_option_is_off_is_refused_with_the_option() {
    let Some(kernel) = common::kernel() else { return };
    let work = tempfile::tempdir().unwrap();
    let line = "#include <linux/fs.h>";
    let patch = kernel.replace("fs/jfs/inode.c", line, &[line, ""]);
    let refusals = refusals(kernel.front(work.path(), &[&patch]).unwrap_err());
    assert_eq!(refusals[0].code, Code::FileNotBuilt);
    assert!(refusals[0].message.contains("CONFIG_JFS_FS is off"), "{}", refusals[0]);
}

#[test]
fn a_generated_header_is_made() {
    let Some(kernel) = common::kernel() else { return };
    let work = tempfile::tempdir().unwrap();
    let line = "\tavc->avc_cache_threshold = cache_threshold;";
    let file = "security/selinux/avc.c";
    let text = std::fs::read_to_string(kernel.source.join(file)).unwrap();
    let line =
        text.lines().find(|candidate| candidate.contains("= cache_threshold;")).unwrap_or(line);
    let new = "\tselinux_avc.avc_cache_threshold = cache_threshold + 1;";
    let patch = kernel.replace(file, line, &[new]);
    let front = kernel.front(work.path(), &[&patch]).unwrap();
    let changed = changed_sections(&front.pairs[0].original, &front.pairs[0].patched);
    assert_eq!(changed, BTreeSet::from([".text.avc_set_cache_threshold".to_owned()]));
}

#[test]
fn code_of_the_vdso_is_refused() {
    let Some(kernel) = common::kernel() else { return };
    let work = tempfile::tempdir().unwrap();
    let line = "#include <linux/time.h>";
    let patch = kernel.replace("arch/x86/entry/vdso/vclock_gettime.c", line, &[line, ""]);
    let refusals = refusals(kernel.front(work.path(), &[&patch]).unwrap_err());
    assert_eq!(refusals[0].code, Code::NotKernelText, "{}", refusals[0]);
}

#[test]
fn a_c_file_that_others_include_is_compiled_in_them() {
    let Some(kernel) = common::kernel() else { return };
    let work = tempfile::tempdir().unwrap();
    let line = "\t\tcpu_idle_force_poll++;";
    let idle = kernel.replace("kernel/sched/idle.c", line, &["\t\tcpu_idle_force_poll += 2;"]);
    // Compiled by itself and, by inclusion, for 32-bit programs.
    let line = "#include <linux/binfmts.h>";
    let elf = kernel.replace("fs/binfmt_elf.c", line, &[line, ""]);
    let front = kernel.front(work.path(), &[&idle, &elf]).unwrap();
    let objects: Vec<&str> = front.pairs.iter().map(|pair| pair.unit.object.as_str()).collect();
    let expected = ["fs/binfmt_elf.o", "fs/compat_binfmt_elf.o", "kernel/sched/build_policy.o"];
    assert_eq!(objects, expected);
    for pair in &front.pairs[..2] {
        let changed = changed_sections(&pair.original, &pair.patched);
        assert!(changed.is_empty(), "{}: {changed:?}", pair.unit.object);
    }
}

#[test]
fn the_compilers_message_names_the_true_line() {
    let Some(kernel) = common::kernel() else { return };
    let work = tempfile::tempdir().unwrap();
    let file = "fs/proc/cmdline.c";
    let line = "\tseq_puts(m, saved_command_line);";
    let text = std::fs::read_to_string(kernel.source.join(file)).unwrap();
    let at = |line: &str| text.lines().position(|candidate| candidate == line).unwrap() + 1;
    let patch = kernel.replace(file, line, &["", "", "\tseq_puts(m, no_such_name);"]);
    let found = refusals(kernel.front(work.path(), &[&patch]).unwrap_err());
    assert_eq!(found[0].code, Code::DoesNotCompile);
    assert_eq!(found[0].place.to_string(), format!("{file}:{}", at(line) + 2), "{}", found[0]);
    assert!(found[0].message.contains("no_such_name"), "{}", found[0]);
    // An error behind a change, where a line directive is in force.
    let call = "fs_initcall(proc_cmdline_init);";
    let good = kernel.replace(file, "#include <linux/fs.h>", &["#include <linux/fs.h>", "", ""]);
    let bad = kernel.replace(file, call, &["fs_initcall(nothing);"]);
    let found = refusals(kernel.front(work.path(), &[&good, &bad]).unwrap_err());
    assert_eq!(found[0].place.line, Some(at(call) as u32 + 2), "{}", found[0]);
}

#[test]
fn a_hunk_within_a_macro_continuation() {
    let Some(kernel) = common::kernel() else { return };
    let work = tempfile::tempdir().unwrap();
    let line = "#define __si_special(priv) \\";
    let patch = kernel.replace("kernel/signal.c", line, &[line, "\t\\", "\t\\"]);
    let front = kernel.front(work.path(), &[&patch]).unwrap();
    let changed = changed_sections(&front.pairs[0].original, &front.pairs[0].patched);
    assert!(changed.is_empty(), "{changed:?}");
}
