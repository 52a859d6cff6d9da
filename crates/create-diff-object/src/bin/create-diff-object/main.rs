//! `create-diff-object`: says what a patch changed in an object, and cuts it out. The command line,
//! the exit codes and the lines on standard output are those of kpatch's tool of this name.

mod arguments;
mod output;
mod parent;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use anyhow::Result;
use clap::Parser;
use create_diff_object::Difference;
use create_diff_object::Examined;
use create_diff_object::parent::ParentSymbols;
use create_diff_object::record_sizes::RecordSizes;
use kpatch_elf::ObjectFile;
use kpatch_elf::ReadError;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use arguments::Arguments;
use parent::Noting;

/// `EX_USAGE` of `sysexits.h`, with which kpatch's tool ends. 2, as usual, would mean "cannot be patched".
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let is_error = error.use_stderr();
            // Nobody is there to be told that nobody listens.
            let _ = error.print();
            return if is_error { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(if error.downcast_ref::<Refusals>().is_some() { 2 } else { 1 })
        }
    }
}

/// Whether anything changed.
fn run(arguments: &Arguments) -> Result<bool> {
    // As kpatch calls it: both objects are the same file of two trees.
    let name = arguments.original.file_name().unwrap_or(arguments.original.as_os_str());
    let name = name.to_string_lossy();
    let original = read(&name, &arguments.original)?;
    let patched = read(&name, &arguments.patched)?;
    let sizes = RecordSizes::from_variables(|name| std::env::var(name).ok());
    let sizes = sizes.map_err(anyhow::Error::msg)?;
    let examined = create_diff_object::examine_objects_with(&name, &original, &patched, &sizes)?;
    let Examined { difference, refusals } = examined;
    if arguments.debug {
        let details = difference.details();
        details.iter().for_each(|line| println!("{name}: {line}"));
    }
    Refusals::none_or(refusals, ())?;
    let mut notices = difference.notices();
    if let Some(output) = arguments.output.as_deref().filter(|_| !difference.is_empty()) {
        let object = emit(arguments, (&original, &patched), &difference)?;
        notices.extend(object.notices);
        let bytes = kpatch_elf::write(&object.object).context("cannot write the difference")?;
        output::write(output, &bytes)?;
    }
    for function in difference.changed_functions() {
        println!("{name}: changed function: {function}");
    }
    for function in difference.new_functions() {
        println!("{name}: new function: {function}");
    }
    for notice in &notices {
        eprintln!("warning: {notice}");
    }
    Ok(!difference.is_empty())
}

/// The object to write, with what the parent says of the kernel.
fn emit(
    arguments: &Arguments,
    pair: (&ObjectFile, &ObjectFile),
    difference: &Difference<'_>,
) -> Result<create_diff_object::emit::Emitted> {
    let parent = arguments.parent.as_deref().unwrap_or_default();
    let path = |path: &Option<std::path::PathBuf>| path.clone().unwrap_or_default();
    let (symbols, exports) = (path(&arguments.symbols), path(&arguments.exports));
    let named = || format!("cannot use `{}`", symbols.display());
    let text = std::fs::read(&symbols).with_context(named)?;
    let exports = parent::exports(&exports)?;
    let known = ParentSymbols::new(parent, pair, &text, exports).with_context(named)?;
    let rules = known.rules();
    let noting = Noting::new(&rules);
    let emitted = difference.emit(&noting);
    if arguments.debug {
        let name = difference.name;
        noting.into_notes().iter().for_each(|note| println!("{name}: {note}"));
    }
    Ok(emitted?)
}

fn read(name: &str, path: &Path) -> Result<ObjectFile> {
    let named = || format!("cannot use `{}`", path.display());
    let bytes = std::fs::read(path).with_context(named)?;
    match kpatch_elf::read(&bytes) {
        Err(
            error @ (ReadError::Bitcode | ReadError::Intermediate { .. } | ReadError::Foreign(_)),
        ) => {
            let place = Place::object(name);
            let hint = "kernels built with LTO or for another machine are not supported";
            let refusal = Refusal::new(Code::NotMachineCode, place, error.to_string(), hint);
            Err(Refusals::from(refusal).into())
        }
        object => object.with_context(named),
    }
}
