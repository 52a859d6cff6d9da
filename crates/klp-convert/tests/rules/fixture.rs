//! Assembles the hand-written intermediate module, whole or with changes.

use kpatch_elf::ObjectFile;
use kpatch_refusal::Code;
use kpatch_refusal::Refusals;
use std::process::Command;

const SOURCE: &str = include_str!("module.s");

/// The module's bytes after replacing texts of its source. Each must occur exactly once.
pub(crate) fn assemble(changes: &[(&str, &str)]) -> Vec<u8> {
    let mut source = SOURCE.to_owned();
    for (from, to) in changes {
        assert_eq!(source.matches(from).count(), 1, "`{from}`");
        source = source.replace(from, to);
    }
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("module.s"), dir.path().join("module.ko"));
    std::fs::write(&input, source).unwrap();
    let run = Command::new("gcc").arg("-c").arg("-o").args([&output, &input]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    std::fs::read(output).unwrap()
}

pub(crate) fn intermediate(changes: &[(&str, &str)]) -> ObjectFile {
    kpatch_elf::read(&assemble(changes)).unwrap()
}

/// Asserts that a refusal with that code and fragment is among the reasons.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Refusals>, code: Code, fragment: &str) {
    let Refusals(all) = result.expect_err(fragment);
    let found = all.iter().any(|r| r.code == code && r.message.contains(fragment));
    assert!(found, "{code} `{fragment}` is not among: {all:#?}");
}
