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
use create_diff_object::emit::Emitted;
use create_diff_object::emit::mcount;
use create_diff_object::explain::report::NoticeReport;
use create_diff_object::explain::report::ObjectReport;
use create_diff_object::explain::report::Outcome;
use create_diff_object::explain::report::RefusalReport;
use create_diff_object::explain::report::Report;
use create_diff_object::kernel::parent::ParentSymbols;
use create_diff_object::normalize::record_sizes::RecordSizes;
use create_diff_object::notices::Notice;
use kpatch_elf::ObjectFile;
use kpatch_elf::ReadError;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use shipped_kernel::symvers;

use arguments::Arguments;
use arguments::Format;
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
        Ok(Outcome::Changed) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(2),
        Ok(Outcome::Unchanged) => ExitCode::from(3),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(1)
        }
    }
}

/// Compares, and says what came of it.
fn run(arguments: &Arguments) -> Result<Outcome> {
    // As kpatch calls it: both objects are the same file of two trees.
    let name = arguments.original.file_name().unwrap_or(arguments.original.as_os_str());
    let name = name.to_string_lossy();
    let mut report = Report::new(Outcome::Unchanged);
    match compare(arguments, &name, &mut report) {
        Err(error) => match error.downcast::<Refusals>() {
            Ok(Refusals(refusals)) => {
                report.outcome = Outcome::Refused;
                report.refusals = refusals.iter().map(RefusalReport::from).collect();
                if arguments.format == Format::Text {
                    eprintln!("{}", Refusals(refusals));
                }
            }
            Err(error) => return Err(error),
        },
        Ok(outcome) => report.outcome = outcome,
    }
    if arguments.format == Format::Json {
        print!("{}", report.to_json());
    }
    Ok(report.outcome)
}

fn compare(arguments: &Arguments, name: &str, report: &mut Report) -> Result<Outcome> {
    let is_text = arguments.format == Format::Text;
    let (original, patched) =
        rayon::join(|| read(name, &arguments.original), || read(name, &arguments.patched));
    let (original, patched) = (original?, patched?);
    let sizes = RecordSizes::from_variables(|name| std::env::var(name).ok());
    let sizes = sizes.map_err(anyhow::Error::msg)?;
    let examined = create_diff_object::examine_objects_with(name, &original, &patched, &sizes)?;
    let Examined { difference, refusals } = examined;
    if arguments.debug {
        debug(arguments, name, &difference.details());
    }
    if arguments.explain || !is_text {
        let mut explained = difference.explain();
        explained.patches = arguments.parent.as_deref().map(symvers::module_name);
        let is_empty = explained.is_empty();
        report.objects = if is_empty { Vec::new() } else { vec![explained] };
    }
    // Explained is also what is refused.
    let explanation: String = report.objects.iter().map(ObjectReport::text).collect();
    let answer = Refusals::none_or(refusals, ()).map_err(anyhow::Error::from);
    let answer = answer.and_then(|()| write(arguments, (&original, &patched), &difference));
    if is_text && answer.is_ok() {
        for function in difference.changed_functions() {
            println!("{name}: changed function: {function}");
        }
        for function in difference.new_functions() {
            println!("{name}: new function: {function}");
        }
    }
    if is_text {
        print!("{explanation}");
    }
    let notices = answer?;
    // Of the other objects of the patch nothing is known.
    let outliving = difference.outliving(&|_| false);
    if is_text {
        notices.iter().for_each(|notice| eprintln!("warning: {notice}"));
        for place in &outliving {
            eprintln!("warning: {place}: the module must stay loaded once it was enabled");
        }
    }
    report.pins = outliving.iter().map(NoticeReport::from).collect();
    report.notices = notices.iter().map(NoticeReport::from).collect();
    if difference.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    report.output = arguments.output.as_ref().map(|path| path.display().to_string());
    Ok(Outcome::Changed)
}

/// Details stay out of the way of a document on standard output.
fn debug(arguments: &Arguments, name: &str, lines: &[String]) {
    for line in lines {
        match arguments.format {
            Format::Text => println!("{name}: {line}"),
            Format::Json => eprintln!("{name}: {line}"),
        }
    }
}

/// Writes the output, if there is anything to write and somewhere to write it to.
fn write(
    arguments: &Arguments,
    pair: (&ObjectFile, &ObjectFile),
    difference: &Difference<'_>,
) -> Result<Vec<Notice>> {
    let mut notices = difference.notices();
    if let Some(output) = arguments.output.as_deref().filter(|_| !difference.is_empty()) {
        let mut emitted = emit(arguments, pair, difference)?;
        // kpatch links the output into its module without running the kernel's tools on it again.
        mcount::complete(&mut emitted.object);
        notices.extend(emitted.notices);
        let bytes = kpatch_elf::write(&emitted.object).context("cannot write the difference")?;
        output::write(output, &bytes)?;
    }
    Ok(notices)
}

/// The object to write, with what the parent says of the kernel.
fn emit(
    arguments: &Arguments,
    pair: (&ObjectFile, &ObjectFile),
    difference: &Difference<'_>,
) -> Result<Emitted> {
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
        debug(arguments, difference.name, &noting.into_notes());
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
