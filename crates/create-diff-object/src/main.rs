//! `create-diff-object ORIG.o PATCHED.o`: says which functions a patch changed in an object.
//!
//! Exit codes are kpatch's: 0 something changed, 1 the tool failed, 2 it cannot be patched, 3 no
//! functional change.

use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use anyhow::Result;
use clap::Parser;
use kpatch_elf::ObjectFile;
use kpatch_refusal::Refusals;

/// Compares the same source compiled without and with a patch.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The object compiled without the patch (-ffunction-sections -fdata-sections, before objtool).
    original: PathBuf,
    /// The object compiled with the patch and the same options.
    patched: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(if error.downcast_ref::<Refusals>().is_some() { 2 } else { 1 })
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let original = read(&arguments.original)?;
    let patched = read(&arguments.patched)?;
    let name = arguments.patched.display().to_string();
    let difference = create_diff_object::compare_objects(&name, &original, &patched)?;
    for function in difference.changed_functions() {
        println!("{name}: changed function: {function}");
    }
    for function in difference.new_functions() {
        println!("{name}: new function: {function}");
    }
    for notice in difference.notices() {
        eprintln!("warning: {notice}");
    }
    Ok(!difference.is_empty())
}

fn read(path: &Path) -> Result<ObjectFile> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    kpatch_elf::read(&bytes).with_context(|| format!("cannot use `{}`", path.display()))
}
